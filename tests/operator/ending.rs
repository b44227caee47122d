//! Regardless of what happens to an object, what it granted ends at the recorded instant.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::{Subject, each, in_seconds, time, until};
use crate::support::{SOON, eventually};

/// What happens to an object while its second role runs; the roles are named by the subject's own.
type Change = fn(&Subject) -> Value;

const CHANGES: [(&str, Change); 9] = [
    ("suspended", |_| json!({"suspend": true})),
    ("observing", |_| json!({"managementPolicy": "Observe"})),
    ("suspended-without-it", |subject| json!({"suspend": true, "roles": [{"role": subject.names()[0]}]})),
    ("observing-without-it", |subject| json!({"managementPolicy": "Observe", "roles": [{"role": subject.names()[0]}]})),
    ("suspended-for-good", |subject| {
        let [a, b, ..] = subject.names();
        json!({"suspend": true, "roles": [{"role": a}, {"role": b}]})
    }),
    ("suspended-longer", |subject| {
        let [a, b, ..] = subject.names();
        json!({"suspend": true, "roles": [{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]})
    }),
    ("suspended-later", |subject| {
        let [a, b, ..] = subject.names();
        let temporary = json!({"startTime": in_seconds(0), "duration": "1h"});
        json!({"suspend": true, "roles": [{"role": a}, {"role": b, "temporary": temporary}]})
    }),
    ("orphan", |_| json!({"suspend": true, "deletionPolicy": "Orphan"})),
    ("beside-an-unknown-role", |subject| {
        let [a, b, ..] = subject.names();
        json!({"roles": [{"role": a}, {"role": b, "temporary": {"duration": "7s"}}, {"role": "NOT_A_ROLE"}]})
    }),
];

#[tokio::test]
async fn nothing_that_becomes_of_an_object_keeps_a_role_past_its_end() {
    with_stage(async |stage| {
        let cases = CHANGES.iter().flat_map(|case| stage.both(case.0).map(|subject| (subject, case)));
        each(cases, async |(subject, (case, change))| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "7s"}}])).await;
            subject.has(&[a, b]).await;
            let role = stage.role_is(&subject.object(), b, "Active").await;
            let end = time(&role["expirationTime"]);
            assert_eq!(end, time(&role["startTime"]) + SignedDuration::from_secs(7));
            stage.change(&subject, change(&subject)).await;
            subject.ends(b, end, case).await;
            subject.has_now(&[a], &format!("{case}: after the end"));
            if subject.is_at_infisical() {
                assert!(!subject.listed().contains(b), "{case}: {:#?}", subject.rows());
            }
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_ended_under_suspend_is_not_put_back_by_the_old_spec() {
    in_memory(async |stage| {
        each(stage.both("resumed"), async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "5s"}}])).await;
            subject.has(&[a, b]).await;
            stage.change(&subject, json!({"suspend": true})).await;
            stage.role_is(&subject.object(), b, "Expired").await;
            let written = subject.writes().len();
            stage.change(&subject, json!({"suspend": false})).await;
            stage.ready(&subject.object()).await;
            stage.reconcile_now(&subject.object()).await;
            stage.role_is(&subject.object(), b, "Expired").await;
            let since: Vec<_> = subject.writes().split_off(written);
            assert!(since.iter().all(|write| !write.body.contains(b)), "{b} was sent again: {since:#?}");
            subject.has(&[a]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_last_role_of_a_suspended_object_ends_with_the_membership() {
    in_memory(async |stage| {
        each(stage.both("last"), async |subject| {
            let [_, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": b, "temporary": {"duration": "4s"}}])).await;
            subject.has(&[b]).await;
            stage.change(&subject, json!({"suspend": true})).await;
            subject.is_member(0).await;
            subject.has_now(&[], "after the only role's end");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unmanaged_role_stays_when_a_suspended_objects_role_ends() {
    in_memory(async |stage| {
        each(stage.both("foreign"), async |subject| {
            let [a, b, c, _] = subject.names();
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "5s"}}])).await;
            subject.has(&[a, b]).await;
            let end = time(&stage.role_is(&subject.object(), b, "Active").await["expirationTime"]);
            stage.change(&subject, json!({"suspend": true})).await;
            stage.reason_is(&subject.object(), "Suspended").await;
            if subject.is_at_infisical() {
                let rows = subject.rows().into_iter().chain([simulator::RoleRow::permanent(c)]).collect();
                subject.rows_by_hand(rows);
            } else {
                subject.by_hand(&[a, b, c]);
            }
            subject.ends(b, end, "with an unmanaged role beside it").await;
            subject.has_now(&[a, c], "an end is carried out as Additive would do it");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_comes_while_its_object_is_looked_at_is_not_missed() {
    in_memory(async |stage| {
        // Long enough that even a busy machine has granted all of them by then, one write at a time.
        let end = in_seconds(20);
        let subjects: Vec<_> = (0..24).map(|n| stage.user(&format!("looked-at-{n}"))).collect();
        let roles = |subject: &Subject| json!([{"role": subject.names()[0], "temporary": {"expirationTime": end}}]);
        stage.api.apply(&subjects.iter().map(|subject| subject.declares(roles(subject))).collect::<Vec<_>>()).await;
        each(&subjects, async |subject| subject.has(&subject.names()[..1]).await).await;
        // Each is observed at another moment before the end, so that for some it is between observation and report.
        each(subjects.iter().zip(0..), async |(subject, n)| {
            until(end - SignedDuration::from_millis(5 + 8 * n)).await;
            stage.api.annotate(&subject.object(), "membership.dev/reconcile-at", "just before the end").await;
        })
        .await;
        each(&subjects, async |subject| subject.ends(subject.names()[0], end, "looked at").await).await;
    })
    .await;
}

/// Seen failing without `admit::bring_ends_forward` in `resolve::scene`: the role stays until the end that was admitted.
#[tokio::test(start_paused = true)]
async fn a_spec_that_is_not_admitted_brings_an_end_forward_and_never_puts_it_off() {
    in_memory(async |stage| {
        let may = |roles: &[&str]| json!([stage.rule(roles, json!({}))]);
        stage.centrals(may(&["viewer", "deployer"]), may(&["PROJECT_OWNER_VIEWER", "PROJECT_OWNER"])).await;
        let (suspend, observe) = (json!({"suspend": true}), json!({"managementPolicy": "Observe"}));
        let hour = json!({"duration": "1h"});
        let cases = [
            ("suspended", "Suspended", suspend.clone(), hour.clone()),
            ("suspended-for-good", "Suspended", suspend, Value::Null),
            ("observing", "Observed", observe, hour.clone()),
            ("not-allowed", "NotAllowed", json!({}), hour),
        ];
        let cases = cases.iter().flat_map(|case| stage.both(case.0).map(|subject| (subject, case)));
        each(cases, async |(subject, (case, reason, fields, admitted))| {
            let [a, b, c, _] = subject.names();
            let temporary = |temporary: &Value| match temporary {
                Value::Null => json!({"role": b}),
                temporary => json!({"role": b, "temporary": temporary}),
            };
            stage.api.apply(&[stage.central_object(&subject, json!([{"role": a}, temporary(admitted)]))]).await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
            let end = in_seconds(12);
            let with_end = |end: Value| {
                // The last role is one that no rule allows.
                let mut roles = vec![json!({"role": a}), temporary(&end)];
                roles.extend((*reason == "NotAllowed").then(|| json!({ "role": c })));
                json!({ "roles": roles })
            };
            let mut change = with_end(json!({"expirationTime": end}));
            change.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            stage.change(&subject, change).await;
            stage.reason_is(&subject.object(), reason).await;
            let recorded = |status: &Value| {
                let roles = status["managedRoles"].as_array().cloned().unwrap_or_default();
                roles.iter().any(|role| {
                    role["role"] == b && role["expirationTime"].is_string() && time(&role["expirationTime"]) == end
                })
            };
            eventually(SOON, &format!("{case}: the earlier end of {b} is recorded"), async || {
                let status = stage.api.get(&subject.object()).await["status"].clone();
                if recorded(&status) { Ok(()) } else { Err(format!("{status:#}")) }
            })
            .await;
            // A later end in a spec that is not admitted either does not count any more.
            stage.change(&subject, with_end(json!({"expirationTime": in_seconds(3600)}))).await;
            subject.ends(b, end, case).await;
            stage.reason_is(&subject.object(), reason).await;
            // An object that only observes shows what its spec declares.
            if *case != "observing" {
                let role = stage.role_is(&subject.object(), b, "Expired").await;
                assert_eq!(time(&role["expirationTime"]), end, "{case}: {role:#}");
            }
            subject.has_now(&[a], case);
        })
        .await;
    })
    .await;
}
