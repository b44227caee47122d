//! The start of a grant is recorded before the request to the provider, and never moves later.

use control_plane::ControlPlane;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Fault, Order, RoleRow};

use crate::evidence::recorded_roles;
use crate::in_memory::{in_memory, now};
use crate::stage::{Stage, shared, with_stage};
use crate::subject::{Subject, each, in_seconds, time, until};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The operator's writes about an object, from the API server's audit log: the time of each response, and the write.
fn written_down(plane: &ControlPlane, stage: &Stage, object: &str) -> Vec<(Timestamp, String)> {
    let log = std::fs::read_to_string(plane.audit().path()).unwrap();
    let events =
        log.lines().filter(|line| line.contains(stage.namespace())).filter_map(|line| serde_json::from_str(line).ok());
    let about = |event: &Value| {
        event["objectRef"]["namespace"] == stage.namespace()
            && event["objectRef"]["name"] == object
            && event["verb"] == "patch"
            && event["user"]["username"].as_str().is_some_and(|user| user.starts_with("system:serviceaccount:"))
    };
    let of = |event: Value| {
        let what = event["objectRef"]["subresource"].as_str().unwrap_or("object").to_owned();
        (time(&event["stageTimestamp"]), what)
    };
    events.filter(about).map(of).collect()
}

/// The recorded start of a role.
async fn start(stage: &Stage, subject: &Subject, role: &str) -> Timestamp {
    time(&stage.role_is(&subject.object(), role, "Active").await["startTime"])
}

#[tokio::test]
async fn a_start_is_written_down_before_the_first_write_to_the_provider() {
    with_stage(async |stage| {
        each(stage.both("first"), async |subject| {
            let [_, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": b, "temporary": {"duration": "1h"}}])).await;
            subject.has(&[b]).await;
            let granted = subject.writes()[0].at;
            let written = written_down(&shared().await.0, &stage, &subject.name);
            let before: Vec<&str> =
                written.iter().filter(|(at, _)| *at < granted).map(|(_, what)| what.as_str()).collect();
            assert_eq!(
                before,
                ["object"],
                "{}: expected the record with the finalizer, then the provider at {granted}; there was {written:#?}",
                subject.name
            );
            let object = stage.api.get(&subject.object()).await;
            let managed = recorded_roles(&object);
            let recorded = managed.as_array().and_then(|roles| roles.iter().find(|role| role["role"] == b)).unwrap();
            let start = time(&recorded["startTime"]);
            assert!(start <= granted && granted < start + SECOND * 10, "{managed:#}, granted at {granted}");
            assert_eq!(object["metadata"]["finalizers"], json!(["membership.dev/revoke"]));
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_edit_moves_a_recorded_start() {
    in_memory(async |stage| {
        each(stage.both("kept"), async |subject| {
            let [a, b, ..] = subject.names();
            let mut object = subject.declares(json!([{"role": b, "temporary": {"duration": "1h"}}]));
            stage.api.apply(std::slice::from_ref(&object)).await;
            subject.has(&[b]).await;
            let recorded = start(&stage, &subject, b).await;
            // From here on a new start would show.
            until(recorded + SECOND * 2).await;
            type Edit = (&'static str, fn(&mut Value, &str, &str));
            let edits: [Edit; 9] = [
                ("applied again", |_, _, _| {}),
                ("another annotation", |object, _, _| object["metadata"]["annotations"] = json!({"note": "new"})),
                ("another justification", |object, _, _| object["spec"]["justification"] = json!("INC-1")),
                ("another role beside it", |object, a, b| {
                    object["spec"]["roles"] = json!([{"role": a, "temporary": {"duration": "2h"}}, {"role": b, "temporary": {"duration": "1h"}}]);
                }),
                ("the other role permanently", |object, a, b| {
                    object["spec"]["roles"] = json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]);
                }),
                ("Additive", |object, _, _| object["spec"]["roleManagement"] = json!("Additive")),
                ("a longer duration", |object, a, b| {
                    object["spec"]["roles"] = json!([{"role": a}, {"role": b, "temporary": {"duration": "2h"}}]);
                }),
                ("an end besides", |object, a, b| {
                    let end = in_seconds(5400);
                    object["spec"]["roles"] = json!([{"role": a}, {"role": b, "temporary": {"duration": "2h", "expirationTime": end}}]);
                }),
                ("suspended and resumed", |_, _, _| {}),
            ];
            for (edit, change) in edits {
                change(&mut object, a, b);
                stage.api.apply(std::slice::from_ref(&object)).await;
                if edit == "suspended and resumed" {
                    stage.change(&subject, json!({"suspend": true})).await;
                    stage.change(&subject, json!({"suspend": false})).await;
                }
                stage.reconcile_now(&subject.object()).await;
                stage.ready(&subject.object()).await;
                assert_eq!(start(&stage, &subject, b).await, recorded, "{}, {edit}", subject.name);
                if let Some(window) = subject.rows().into_iter().find(|row| row.role == b).and_then(|row| row.temporary) {
                    assert_eq!(window.start, recorded, "{edit}: the start at Infisical");
                }
            }
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_duration_counts_from_the_recorded_start() {
    in_memory(async |stage| {
        each(stage.both("counted"), async |subject| {
            let [a, b, ..] = subject.names();
            let roles = |duration: &str| json!([{"role": a}, {"role": b, "temporary": {"duration": duration}}]);
            stage.declare(&subject, roles("1h")).await;
            subject.has(&[a, b]).await;
            let recorded = start(&stage, &subject, b).await;
            until(recorded + SECOND * 2).await;
            for (duration, seconds) in [("2h", 7200), ("6s", 6)] {
                stage.declare(&subject, roles(duration)).await;
                stage.is_seen(&subject.object()).await;
                stage.ready(&subject.object()).await;
                let role = stage.role_is(&subject.object(), b, "Active").await;
                let end = recorded + SECOND * seconds;
                assert_eq!(time(&role["expirationTime"]), end, "{}, {duration}: {role:#}", subject.name);
                if subject.is_at_infisical() {
                    assert_eq!(subject.end_of(b), Some(end), "{duration}: the end at Infisical");
                }
            }
            subject.ends(b, recorded + SECOND * 6, "6 s from the recorded start").await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_ended_role_is_not_granted_again_by_applying_it_again() {
    in_memory(async |stage| {
        each(stage.both("over"), async |subject| {
            let [a, b, ..] = subject.names();
            let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "4s"}}]);
            stage.declare(&subject, roles.clone()).await;
            subject.has(&[a, b]).await;
            stage.role_is(&subject.object(), b, "Expired").await;
            let written = subject.writes().len();
            stage.declare(&subject, roles).await;
            stage.reconcile_now(&subject.object()).await;
            stage.change(&subject, json!({"justification": "again"})).await;
            stage.reconcile_now(&subject.object()).await;
            stage.role_is(&subject.object(), b, "Expired").await;
            subject.has_now(&[a], "after its object was applied again");
            assert_eq!(subject.writes().len(), written, "expected no further write: {:#?}", subject.writes());
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_start_time_asks_for_a_new_window() {
    in_memory(async |stage| {
        each(stage.both("renewed"), async |subject| {
            let [_, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": b, "temporary": {"duration": "4s"}}])).await;
            subject.has(&[b]).await;
            stage.role_is(&subject.object(), b, "Expired").await;
            let asked = in_seconds(0);
            stage.declare(&subject, json!([{"role": b, "temporary": {"startTime": asked, "duration": "1h"}}])).await;
            subject.has(&[b]).await;
            assert_eq!(start(&stage, &subject, b).await, asked);
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_role_taken_out_and_put_back_is_a_new_request() {
    in_memory(async |stage| {
        let cases = [("running", "1h"), ("ended", "4s")];
        let cases = cases.iter().flat_map(|case| stage.both(case.0).map(|subject| (subject, case)));
        each(cases, async |(subject, (case, duration))| {
            let [a, b, ..] = subject.names();
            let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": duration}}]);
            stage.declare(&subject, roles.clone()).await;
            subject.has(&[a, b]).await;
            let first = start(&stage, &subject, b).await;
            if *case == "ended" {
                stage.role_is(&subject.object(), b, "Expired").await;
            }
            stage.declare(&subject, json!([{"role": a}])).await;
            stage.is_seen(&subject.object()).await;
            subject.has(&[a]).await;
            until(first + SECOND * 2).await;
            stage.declare(&subject, roles).await;
            subject.has(&[a, b]).await;
            let second = start(&stage, &subject, b).await;
            assert!(second > first, "{}: expected a start after {first}, there was {second}", subject.name);
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_object_adopts_an_open_window_at_infisical_and_takes_a_closed_one_for_history() {
    in_memory(async |stage| {
        let minutes = |minutes: i64| in_seconds(-60 * minutes);
        let cases = [
            ("open", "infisical", minutes(10), true),
            ("closed", "infisical", minutes(120), false),
            ("open-and-waiting", "later", minutes(10), true),
        ];
        each(cases, async |(case, provider, began, adopted)| {
            let subject = stage.identity(case);
            subject.rows_by_hand(vec![RoleRow::temporary("admin", began, "1h")]);
            let before = now();
            let roles = json!([{"role": "admin", "temporary": {"duration": "90m"}}]);
            let fields = json!({"providerRef": {"name": provider}});
            stage.api.apply(&[subject.declares_with(roles, fields)]).await;
            if provider == "later" {
                // It only waited, so it is still new.
                stage.reason_is(&subject.object(), "ProviderNotFound").await;
                let mut later = stage.infisical_provider();
                later["metadata"]["name"] = json!(provider);
                stage.api.apply(&[later]).await;
            }
            let role = stage.role_is(&subject.object(), "admin", "Active").await;
            let start = time(&role["startTime"]);
            if adopted {
                assert_eq!(start, began, "{case}: expected the start that the provider knows");
            } else {
                assert!(start >= before - SECOND, "{case}: expected a start of now ({before}), there was {start}");
            }
            subject.has(&["admin"]).await;
            stage.ready(&subject.object()).await;
            assert_eq!(subject.end_of("admin"), Some(start + SECOND * 5400), "{case}: {:#?}", subject.rows());
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_edit_while_a_grant_is_under_way_loses_neither_the_grant_nor_the_new_role() {
    in_memory(async |stage| {
        let slowly = Order::always(Fault::DelayAfter(std::time::Duration::from_secs(1)));
        stage.simulator.infisical().order(slowly.clone().on("POST", "identity-memberships"));
        stage.simulator.zitadel().order(slowly.on("POST", "/members"));
        let cases = [("another-role", false), ("suspended", true)];
        let cases = cases.iter().flat_map(|case| stage.both(case.0).map(|subject| (subject, case)));
        each(cases, async |(subject, (case, suspend))| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            // The provider has carried it out, and the operator doesn't know yet.
            let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]);
            stage.change(&subject, json!({"roles": roles, "suspend": suspend})).await;
            if *suspend {
                stage.reason_is(&subject.object(), "Suspended").await;
                subject.has_now(&[a], case);
            } else {
                subject.has(&[a, b]).await;
                stage.role_is(&subject.object(), b, "Active").await;
            }
            stage.delete(&subject.object()).await;
            subject.has_now(&[], &format!("{case}: after its object was deleted"));
        })
        .await;
    })
    .await;
}
