//! managementPolicy: Observe shows what differs and writes nothing, ever.

use serde_json::{Value, json};
use simulator::RoleRow;

use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each, is_empty};
use crate::support::{SOON, eventually};

/// Waits until `status.drift` is this.
async fn drift_is(stage: &Stage, subject: &Subject, expected: Value) {
    eventually(SOON, &format!("{}: status.drift is {expected}", subject.name), async || {
        let status = stage.api.get(&subject.object()).await["status"].clone();
        if status["drift"] == expected { Ok(()) } else { Err(format!("{status:#}")) }
    })
    .await;
}

/// Its object, which only observes, every second.
fn observes(subject: &Subject, roles: Value) -> Value {
    subject.declares_with(roles, json!({"managementPolicy": "Observe", "resyncInterval": "1s"}))
}

#[tokio::test]
async fn observing_shows_what_is_missing_and_what_is_undeclared() {
    with_stage(async |stage| {
        each(stage.both("observed"), async |subject| {
            let [a, b, c, _] = subject.names();
            subject.by_hand(&[b, c]);
            stage.api.apply(&[observes(&subject, json!([{"role": a}, {"role": b}]))]).await;
            let mut expected = [json!({"role": a, "kind": "Missing"}), json!({"role": c, "kind": "Unexpected"})];
            expected.sort_by_key(|drift| drift["role"].to_string());
            drift_is(&stage, &subject, json!(expected)).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Observed").await;
            let text = stage.has_condition(&subject.object(), "Drifted", "True", "Drifted").await;
            assert!(text.contains(a) && text.contains(c), "expected both roles in {text:?}");
            // Another writer corrects it.
            subject.by_hand(&[a, b]);
            drift_is(&stage, &subject, json!([])).await;
            let conditions = stage.api.get(&subject.object()).await["status"]["conditions"].clone();
            assert!(!conditions.to_string().contains("Drifted"), "expected no Drifted, there was {conditions:#}");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn observing_shows_a_window_that_differs() {
    in_memory(async |stage| {
        let subject = stage.identity("observed");
        subject.rows_by_hand(vec![RoleRow::permanent("viewer"), RoleRow::permanent("admin")]);
        let roles = json!([{"role": "viewer"}, {"role": "admin", "temporary": {"duration": "1h"}}]);
        stage.api.apply(&[observes(&subject, roles)]).await;
        drift_is(&stage, &subject, json!([{"role": "admin", "kind": "Different"}])).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn observing_writes_nothing_from_the_first_look_to_the_deletion() {
    in_memory(async |stage| {
        each(stage.both("observed"), async |subject| {
            let [a, b, c, _] = subject.names();
            subject.by_hand(&[a, c]);
            let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "2s"}}]);
            stage.api.apply(&[observes(&subject, roles)]).await;
            stage.reason_is(&subject.object(), "Observed").await;
            subject.is_listed(3).await;
            stage.reconcile_now(&subject.object()).await;
            let object = stage.api.get(&subject.object()).await;
            assert_eq!(object["metadata"]["finalizers"], Value::Null, "nothing was granted, so nothing holds it");
            assert!(is_empty(&object["status"]["managedRoles"]), "{object:#}");
            stage.delete(&subject.object()).await;
            subject.is_listed(0).await;
            subject.has_now(&[a, c], "after an object that only observed was deleted");
            assert!(subject.writes().is_empty(), "expected no write, there was {:#?}", subject.writes());
        })
        .await;
        // Only sign-ins and reads, for all of them.
        let looks = |request: &&simulator::Request| {
            request.method == "GET" || request.path.ends_with("/login") || request.path.ends_with("/_search")
        };
        for requests in [stage.simulator.infisical().requests(), stage.simulator.zitadel().requests()] {
            let others: Vec<_> = requests.iter().filter(|request| !looks(request)).collect();
            assert!(others.is_empty(), "expected only looks, there was {others:#?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_object_turned_to_observe_leaves_what_it_granted_and_repairs_nothing() {
    in_memory(async |stage| {
        each(stage.both("turned"), async |subject| {
            let [a, b, c, _] = subject.names();
            let object = subject.declares_with(json!([{"role": a}, {"role": b}]), json!({"resyncInterval": "1s"}));
            stage.api.apply(&[object]).await;
            subject.has(&[a, b]).await;
            stage.change(&subject, json!({"managementPolicy": "Observe"})).await;
            stage.reason_is(&subject.object(), "Observed").await;
            let written = subject.writes().len();
            subject.by_hand(&[a, c]);
            let mut expected = [json!({"role": b, "kind": "Missing"}), json!({"role": c, "kind": "Unexpected"})];
            expected.sort_by_key(|drift| drift["role"].to_string());
            drift_is(&stage, &subject, json!(expected)).await;
            subject.is_listed(2).await;
            subject.has_now(&[a, c], "while its object only observes");
            assert_eq!(subject.writes().len(), written, "{:#?}", subject.writes());
            // Deleting it revokes what it granted, and nothing else.
            stage.delete(&subject.object()).await;
            subject.has(&[c]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_object_turned_back_to_enforce_puts_everything_right() {
    in_memory(async |stage| {
        each(stage.both("back"), async |subject| {
            let [a, b, ..] = subject.names();
            subject.by_hand(&[b]);
            stage.api.apply(&[observes(&subject, json!([{"role": a}]))]).await;
            stage.has_condition(&subject.object(), "Drifted", "True", "Drifted").await;
            stage.change(&subject, json!({"managementPolicy": "Enforce"})).await;
            subject.has(&[a]).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        })
        .await;
    })
    .await;
}
