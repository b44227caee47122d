//! What is due to end is ended first, regardless of what else waits and what else the provider refuses.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use simulator::{Fault, Order, worlds};

use crate::in_memory::in_memory;
use crate::stage::Stage;
use crate::subject::{Subject, each, time};

/// A temporary role in force, and its end.
async fn temporary(stage: &Stage, subject: &Subject) -> (&'static str, jiff::Timestamp) {
    let [role, ..] = subject.names();
    // So that its end relies on a list: there may be unmanaged roles.
    let fields = json!({"roleManagement": "Additive"});
    stage.api.apply(&[subject.declares_with(json!([{"role": role, "temporary": {"duration": "8s"}}]), fields)]).await;
    let end = time(&stage.role_is(&subject.object(), role, "Active").await["expirationTime"]);
    stage.ready(&subject.object()).await;
    (role, end)
}

/// Seen failing with an exchange as urgent as a revocation: the role is in force for as long as the backlog lasts.
#[tokio::test(start_paused = true)]
async fn an_end_waits_behind_no_role_exchange() {
    const WRITE: Duration = Duration::from_millis(700);
    in_memory(async |stage| {
        let zitadel = stage.simulator.zitadel();
        let others: Vec<Subject> = (0..20).map(|n| stage.user(&format!("exchange-{n}"))).collect();
        let [a, b, ..] = others[0].names();
        let declared: Vec<_> = others.iter().map(|other| other.declares(json!([{"role": a}]))).collect();
        stage.api.apply(&declared).await;
        for other in &others {
            stage.ready(&other.object()).await;
        }
        let subject = stage.user("ends");
        let (role, end) = temporary(&stage, &subject).await;
        zitadel.order(Order::always(Fault::Delay(WRITE)).on("PUT", "/members/"));
        let edited: Vec<_> = others.iter().map(|other| other.declares(json!([{"role": b}]))).collect();
        stage.api.apply(&edited).await;
        subject.ends(role, end, "behind role exchanges").await;
        let exchanged = others.iter().filter(|other| other.holds().contains(b)).count();
        assert!(exchanged < others.len(), "no exchange waits any more: the end had nothing to wait behind");
    })
    .await;
}

/// Seen failing with a pause that also delays ends: the role is in force until `Retry-After` has passed.
#[tokio::test(start_paused = true)]
async fn an_answer_that_asks_to_wait_postpones_no_end() {
    in_memory(async |stage| {
        each(stage.both("paused"), async |subject| {
            let front = stage.at(&subject);
            let (role, end) = temporary(&stage, &subject).await;
            let (method, path) = match subject.is_at_infisical() {
                true => ("GET", format!("*/{}/identity-memberships", worlds::INFISICAL_PROJECT)),
                false => ("POST", format!("*/{}/members/_search", worlds::ZITADEL_PROJECT)),
            };
            // Another object has the project listed.
            front.order(Order::next_n(2, Fault::infisical_rate_limited(120)).on(method, &path));
            let other = if subject.is_at_infisical() { stage.identity("other") } else { stage.user("other") };
            other.by_hand(&[other.names()[1]]);
            stage.declare(&other, json!([{"role": other.names()[1]}])).await;
            stage.reason_is(&other.object(), "RateLimited").await;
            let gone = subject.loses(role).await;
            let late = gone.duration_since(end);
            assert!(late < SignedDuration::from_secs(25), "{}: {late:#} late", subject.name);
        })
        .await;
    })
    .await;
}

/// Seen failing with the pass that has to wait returning only after the wait.
#[tokio::test(start_paused = true)]
async fn an_end_that_has_to_wait_is_attempted_again_within_ten_seconds() {
    in_memory(async |stage| {
        // Infisical ends temporary roles itself.
        let subject = stage.user("waiting");
        let (role, end) = temporary(&stage, &subject).await;
        stage.at(&subject).order(Order::next(Fault::infisical_rate_limited(120)).on("DELETE", &subject.id));
        let late = subject.loses(role).await.duration_since(end);
        assert!(late > SignedDuration::from_secs(5), "{late:#}: it didn't have to wait");
        assert!(late < SignedDuration::from_secs(25), "{late:#} late");
    })
    .await;
}

/// Seen failing without `Pass::end_unlisted`: nothing is sent until the list succeeds.
#[tokio::test(start_paused = true)]
async fn an_end_is_sent_while_lists_fail_and_writes_work() {
    in_memory(async |stage| {
        // Infisical ends temporary roles itself.
        let subject = stage.user("unlisted");
        let (role, end) = temporary(&stage, &subject).await;
        let zitadel = stage.simulator.zitadel();
        let lists = format!("*/{}/members/_search", worlds::ZITADEL_PROJECT);
        zitadel.order(Order::always(Fault::status(503)).on("POST", &lists));
        let late = subject.loses(role).await.duration_since(end);
        assert!(late < SignedDuration::from_secs(12), "{late:#} late");
        let held = stage.api.get(&subject.object()).await["status"]["roles"][0]["state"].clone();
        assert_eq!(held, "Active", "nothing has confirmed the end");
        zitadel.clear_orders();
        stage.role_is(&subject.object(), role, "Expired").await;
    })
    .await;
}
