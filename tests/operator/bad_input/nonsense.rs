//! A provider with invalid responses to all requests: nothing is revoked because of them, requests are repeated with
//! increasing delays, and the messages contain nothing secret.

use jiff::SignedDuration;
use serde_json::json;
use simulator::{Answer, Fault, Order, worlds};

use crate::evidence::{Call, assert_presentable, gaps, sees, writes};
use crate::in_memory::in_memory;
use crate::subject::{Subject, each};
use crate::support::changed;

/// An error that tries to put the subject's provider's secrets, control characters and a long text into a status.
fn noisy(subject: &Subject) -> Fault {
    let secret = if subject.is_at_infisical() { worlds::INFISICAL_CLIENT_SECRET } else { worlds::ZITADEL_TOKEN };
    let (status, token) = (500, worlds::INFISICAL_TOKEN);
    let noise = format!("\u{1b}[31mboom\u{7}\r\n {secret} \u{202e}{token} {}", "noise ".repeat(2000));
    Fault::Status(Answer::new(status, json!({"statusCode": status, "code": 13, "message": noise, "error": noise})))
}

/// Responses that are invalid for every request. None of the requests is carried out.
fn nonsense(subject: &Subject) -> Vec<(&'static str, Fault)> {
    vec![
        ("a web page with 200", Fault::Html),
        ("nothing with 200", Fault::status(200)),
        ("another shape with 200", Fault::Status(Answer::new(200, json!({"hello": "world"})))),
        ("a list with 200", Fault::Status(Answer::new(200, json!([])))),
        ("a noisy 500", noisy(subject)),
        ("a web page with 502", Fault::Status(Answer::new(502, json!("<html>bad gateway</html>")))),
        (
            "a redirect",
            Fault::Status(Answer::new(302, json!(null)).header("location", "https://login.example/?token=x")),
        ),
        ("no answer", Fault::Reset),
    ]
}

fn order(subject: &Subject, call: Call, fault: Fault) -> Order {
    let (method, path) = subject.call(call);
    Order::always(fault).on(method, &path)
}

#[tokio::test(start_paused = true)]
async fn a_list_that_makes_no_sense_revokes_nothing() {
    in_memory(async |stage| {
        each(stage.both("listed"), async |subject| {
            let [a, b, ..] = subject.names();
            let (object, front) = (subject.object(), stage.at(&subject));
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}])).await;
            stage.ready(&object).await;
            let written = writes(front).len();
            let truncated = ("half of the list", Fault::Truncated);
            for (case, fault) in nonsense(&subject).into_iter().chain([truncated]) {
                front.order(order(&subject, Call::List, fault));
                stage.reconcile_now(&object).await;
                let message = stage.waits(&object, "Unreachable").await;
                assert_presentable(&message);
                subject.has_now(&[a, b], case);
                front.clear_orders();
                stage.ready(&object).await;
                subject.has_now(&[a, b], case);
                assert_eq!(writes(front).len(), written, "{}, {case}: {:#?}", subject.name, writes(front));
            }
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_asked_for_and_failed_is_asked_for_again_and_no_older_one_believed() {
    in_memory(async |stage| {
        each(stage.both("asked"), async |subject| {
            let (object, front) = (subject.object(), stage.at(&subject));
            stage.declare(&subject, json!([{"role": subject.names()[0]}])).await;
            stage.ready(&object).await;
            front.order(order(&subject, Call::List, noisy(&subject)));
            stage.reconcile_now(&object).await;
            subject.is_listed(2).await;
            stage.waits(&object, "Unreachable").await;
            front.clear_orders();
            stage.ready(&object).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_came_back_short_revokes_nothing() {
    in_memory(async |stage| {
        each(stage.both("short"), async |subject| {
            let [a, b, ..] = subject.names();
            let (object, front) = (subject.object(), stage.at(&subject));
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}])).await;
            stage.ready(&object).await;
            front.order(order(&subject, Call::List, Fault::PartialList { drop: 100 }));
            stage.reconcile_now(&object).await;
            subject.has_now(&[a, b], "with an empty list");
            front.clear_orders();
            stage.reconcile_now(&object).await;
            stage.ready(&object).await;
            subject.has_now(&[a, b], "with the whole list again");
            let removals = writes(front).into_iter().filter(|request| request.method == "DELETE").count();
            assert_eq!(removals, 0, "{}: {:#?}", subject.name, writes(front));
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_answered_with_nonsense_is_tried_again_until_it_is_done() {
    in_memory(async |stage| {
        each(stage.both("written"), async |subject| {
            let [a, _, c, _] = subject.names();
            let (object, front) = (subject.object(), stage.at(&subject));
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&object).await;
            let lists = [json!([{"role": a}, {"role": c}]), json!([{ "role": a }])];
            for (index, (case, fault)) in nonsense(&subject).into_iter().enumerate() {
                let (before, after): (&[&str], &[&str]) =
                    if index % 2 == 0 { (&[a], &[a, c]) } else { (&[a, c], &[a]) };
                front.order(order(&subject, Call::Change, fault));
                stage.change(&subject, json!({"roles": lists[index % 2]})).await;
                let message = stage.waits(&object, "Unreachable").await;
                assert_presentable(&message);
                subject.has_now(before, case);
                front.clear_orders();
                stage.ready(&object).await;
                subject.has_now(after, case);
            }
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_ever_more_rarely() {
    in_memory(async |stage| {
        each(stage.both("failing"), async |subject| {
            let [a, b, ..] = subject.names();
            let front = stage.at(&subject);
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&subject.object()).await;
            front.order(order(&subject, Call::Change, noisy(&subject)));
            let before = stage.memory().writes_about(&subject.name).len();
            stage.change(&subject, json!({"roles": [{"role": b}]})).await;
            // The first write was the creation.
            sees(&format!("{}: four attempts", subject.name), || subject.writes().len() >= 5).await;
            let gaps = gaps(&subject.writes()[1..]);
            let least = [450, 900, 1800].map(SignedDuration::from_millis);
            assert!(gaps.iter().zip(least).all(|(gap, least)| *gap >= least), "{}: {gaps:?}", subject.name);
            subject.has_now(&[a], "while every change fails");
            // The same failure is reported once, however often it happens.
            let reports = stage.memory().writes_about(&subject.name).split_off(before);
            assert!(reports.len() <= 2, "{}: expected at most 2 writes to Kubernetes: {reports:#?}", subject.name);
            front.clear_orders();
            subject.has(&[b]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_is_answered_with_nonsense_stays_visible_until_it_is_done() {
    in_memory(async |stage| {
        let mut cases: Vec<(Subject, &str, Fault)> = Vec::new();
        for kind in stage.both("gone") {
            for (n, (case, fault)) in nonsense(&kind).into_iter().enumerate() {
                let name = format!("gone-{n}");
                let subject = if kind.is_at_infisical() { stage.identity(&name) } else { stage.user(&name) };
                cases.push((subject, case, fault));
            }
        }
        each(cases.iter(), async |(subject, case, fault)| {
            let [a, ..] = subject.names();
            stage.declare(subject, json!([{ "role": a }])).await;
            stage.ready(&subject.object()).await;
            stage.at(subject).order(order(subject, Call::Remove, fault.clone()));
            stage.api.ask_to_delete(&subject.object()).await;
            let message = stage.has_condition(&subject.object(), "Ready", "False", "RevokeFailed").await;
            assert_presentable(&message);
            subject.has_now(&[a], case);
        })
        .await;
        stage.simulator.infisical().clear_orders();
        stage.simulator.zitadel().clear_orders();
        each(cases.iter(), async |(subject, case, _)| {
            stage.api.is_gone(&subject.object()).await;
            subject.has_now(&[], case);
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_is_answered_with_nonsense_is_reported_by_the_provider() {
    in_memory(async |stage| {
        let infisical = stage.simulator.infisical();
        stage.has_condition("membershipprovider/infisical", "Ready", "True", "Verified").await;
        let some = [0, 2, 4, 7];
        let faults = nonsense(&stage.identity("odd"));
        for (n, (case, fault)) in faults.into_iter().enumerate().filter(|(n, _)| some.contains(n)) {
            let (provider, identity) = (format!("odd-{n}"), stage.identity(&format!("odd-{n}")));
            identity.by_hand(&["auditor"]);
            infisical.clear_requests();
            infisical.order(Order::always(fault).on("POST", "/auth/universal-auth/login"));
            stage.api.apply(&[changed(stage.infisical_provider(), "/metadata/name", json!(provider))]).await;
            let object = identity.declares(json!([{"role": "viewer"}]));
            stage.api.apply(&[changed(object, "/spec/providerRef/name", json!(provider))]).await;
            let message =
                stage.has_condition(&format!("membershipprovider/{provider}"), "Ready", "False", "Unreachable").await;
            assert_presentable(&message);
            assert_presentable(&stage.waits(&identity.object(), "ProviderNotReady").await);
            identity.has_now(&["auditor"], case);
            let logins = infisical.logins();
            assert!(logins <= 4, "{case}: expected a few logins, there were {logins}");
            infisical.clear_orders();
            stage.ready(&identity.object()).await;
            identity.has_now(&["viewer"], case);
        }
    })
    .await;
}
