//! The end of an object: deletionPolicy Delete and Orphan, and the annotation that releases it with its access.

mod credentials;
mod namespaces;
mod providers;

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::{Fault, Order};

use crate::in_memory::in_memory;
use crate::stage::{Stage, shared, with_stage};
use crate::subject::{Subject, each, time};
use crate::support::{SOON, eventually};

/// The provider doesn't carry out any more writes about a subject.
fn writes_fail(stage: &Stage, subject: &Subject) {
    for method in ["PUT", "PATCH", "DELETE"] {
        stage.simulator.infisical().order(Order::always(Fault::status(503)).on(method, &subject.id));
        stage.simulator.zitadel().order(Order::always(Fault::status(503)).on(method, &subject.id));
    }
}

#[tokio::test]
async fn deleting_an_object_revokes_what_it_granted() {
    with_stage(async |stage| {
        each(stage.both("deleted"), async |subject| {
            let [a, b, ..] = subject.names();
            let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]);
            stage.declare(&subject, roles).await;
            subject.has(&[a, b]).await;
            stage.delete(&subject.object()).await;
            // The finalizer is removed after the provider's confirmation: when the object is gone, so is the access.
            subject.has_now(&[], "when its object is gone");
            assert_eq!((subject.memberships(), subject.listed().len()), (0, 0));
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_orphan_leaves_its_permanent_roles() {
    in_memory(async |stage| {
        each(stage.both("orphan"), async |subject| {
            let [a, b, ..] = subject.names();
            let fields = json!({"deletionPolicy": "Orphan"});
            stage.api.apply(&[subject.declares_with(json!([{"role": a}, {"role": b}]), fields)]).await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
            let written = subject.writes().len();
            stage.delete(&subject.object()).await;
            subject.has_now(&[a, b], "after its object was deleted as an orphan");
            assert_eq!(subject.writes().len(), written, "{:#?}", subject.writes());
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_orphan_at_zitadel_takes_its_temporary_roles_along() {
    in_memory(async |stage| {
        let subject = stage.user("orphan");
        let [a, b, ..] = subject.names();
        let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]);
        stage.api.apply(&[subject.declares_with(roles, json!({"deletionPolicy": "Orphan"}))]).await;
        subject.has(&[a, b]).await;
        stage.delete(&subject.object()).await;
        subject.has_now(&[a], "after its object was deleted: nothing else would end the temporary role");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_orphan_at_infisical_leaves_its_temporary_roles_to_end_there() {
    in_memory(async |stage| {
        let subject = stage.identity("orphan");
        let roles = json!([{"role": "viewer"}, {"role": "admin", "temporary": {"duration": "5s"}}]);
        stage.api.apply(&[subject.declares_with(roles, json!({"deletionPolicy": "Orphan"}))]).await;
        subject.has(&["viewer", "admin"]).await;
        let end = time(&stage.role_is(&subject.object(), "admin", "Active").await["expirationTime"]);
        stage.delete(&subject.object()).await;
        assert_eq!(subject.end_of("admin"), Some(end), "{:#?}", subject.rows());
        let gone = subject.loses("admin").await;
        assert!(gone.duration_since(end) < SignedDuration::from_secs(1), "it was to end at {end}, and ended at {gone}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_revoked_keeps_its_object_and_says_why() {
    in_memory(async |stage| {
        each(stage.both("stuck"), async |subject| {
            let [a, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            writes_fail(&stage, &subject);
            stage.api.ask_to_delete(&subject.object()).await;
            let message = stage.has_condition(&subject.object(), "Ready", "False", "RevokeFailed").await;
            assert!(message.contains("503"), "expected the provider's answer in {message:?}");
            stage.has_condition(&subject.object(), "Reconciling", "True", "RevokeFailed").await;
            subject.has_now(&[a], "while the provider refuses the removal");
        })
        .await;
        stage.simulator.infisical().clear_orders();
        stage.simulator.zitadel().clear_orders();
        each(["pm/stuck-infisical", "pm/stuck-zitadel"], async |object| stage.api.is_gone(object).await).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_being_deleted_may_still_become_an_orphan() {
    in_memory(async |stage| {
        each(stage.both("late"), async |subject| {
            let [a, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            writes_fail(&stage, &subject);
            stage.api.ask_to_delete(&subject.object()).await;
            stage.reason_is(&subject.object(), "RevokeFailed").await;
            stage.api.merge(&subject.object(), &json!({"spec": {"deletionPolicy": "Orphan"}})).await;
            stage.api.is_gone(&subject.object()).await;
            subject.has_now(&[a], "after it was released");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn abandoning_lets_an_object_go_while_the_provider_is_away() {
    with_stage(async |stage| {
        let before = abandoned().await;
        each(stage.both("abandoned"), async |subject| {
            let [a, b, ..] = subject.names();
            let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]);
            stage.declare(&subject, roles).await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
            writes_fail(&stage, &subject);
            stage.api.ask_to_delete(&subject.object()).await;
            stage.reason_is(&subject.object(), "RevokeFailed").await;
            stage.api.annotate(&subject.object(), "membership.dev/abandon", "true").await;
            stage.api.is_gone(&subject.object()).await;
            subject.has_now(&[a, b], "after it was abandoned");
            let reported = eventually(SOON, "an event that reports it", async || {
                let events = stage.api.events(&subject.object()).await;
                let reported = events.iter().find(|event| event["reason"] == "Abandoned").cloned();
                reported.ok_or_else(|| format!("{events:#?}"))
            })
            .await;
            let note = reported["note"].as_str().unwrap_or_default();
            assert!(note.contains(a) && note.contains(b) && reported["type"] == "Warning", "{reported:#}");
        })
        .await;
        assert!(abandoned().await >= before + 2.0, "expected two more than {before} in the metrics");
    })
    .await;
}

async fn abandoned() -> f64 {
    let metrics = shared().await.1.metrics().await;
    let line = metrics.lines().find(|line| line.starts_with("membership_abandoned_total "));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_else(|| panic!("no such metric in {metrics}"))
}

#[tokio::test(start_paused = true)]
async fn the_annotation_that_abandons_does_nothing_to_an_object_that_stays() {
    in_memory(async |stage| {
        each(stage.both("kept"), async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.api.annotate(&subject.object(), "membership.dev/abandon", "true").await;
            stage.declare(&subject, json!([{"role": b}])).await;
            subject.has(&[b]).await;
            let object: Value = stage.api.get(&subject.object()).await;
            assert_eq!(object["metadata"]["finalizers"], json!(["membership.dev/revoke"]));
        })
        .await;
    })
    .await;
}
