//! adoptionPolicy: a declared role that already exists becomes managed (Adopt), or stops the object (Refuse).

use serde_json::json;

use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::{each, time, with};

#[tokio::test]
async fn adopting_makes_a_role_that_was_there_ours() {
    with_stage(async |stage| {
        each(stage.both("adopt"), async |subject| {
            let [a, ..] = subject.names();
            subject.by_hand(&[a]);
            stage.declare(&subject, json!([{"role": a}])).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            assert!(subject.writes().is_empty(), "it was as declared, and there was {:#?}", subject.writes());
            stage.delete(&subject.object()).await;
            subject.has(&[]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_temporary_role_that_was_there_for_good_ends_once_it_is_adopted() {
    in_memory(async |stage| {
        each(stage.both("adopt"), async |subject| {
            let [a, b, ..] = subject.names();
            subject.by_hand(&[a, b]);
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "4s"}}])).await;
            let end = time(&stage.role_is(&subject.object(), b, "Active").await["expirationTime"]);
            subject.ends(b, end, "adopted").await;
            subject.has_now(&[a], "after the adopted role's end");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refusing_stops_at_a_declared_role_that_was_there_and_says_what_to_do() {
    in_memory(async |stage| {
        each(stage.both("refuse"), async |subject| {
            let [a, b, c, _] = subject.names();
            subject.by_hand(&[a, c]);
            let fields = json!({"adoptionPolicy": "Refuse"});
            stage.api.apply(&[subject.declares_with(json!([{"role": a}, {"role": b}]), fields)]).await;
            let message = stage.has_condition(&subject.object(), "Stalled", "True", "AlreadyExists").await;
            stage.has_condition(&subject.object(), "Ready", "False", "AlreadyExists").await;
            for part in [a, "remove it at the provider", "adoptionPolicy: Adopt"] {
                assert!(message.contains(part), "expected {part:?} in {message:?}");
            }
            assert!(!message.contains(c), "{c} isn't declared: {message:?}");
            assert!(subject.writes().is_empty(), "expected no write, there was {:#?}", subject.writes());
            // The advice in the message helps.
            subject.by_hand(&[c]);
            stage.reconcile_now(&subject.object()).await;
            subject.has(&[a, b]).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            // From here on the roles are managed.
            stage.reconcile_now(&subject.object()).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_other_way_out_of_a_refusal_is_to_adopt() {
    in_memory(async |stage| {
        each(stage.both("refuse"), async |subject| {
            let [a, b, ..] = subject.names();
            subject.by_hand(&[a]);
            let fields = json!({"adoptionPolicy": "Refuse"});
            stage.api.apply(&[subject.declares_with(json!([{"role": a}, {"role": b}]), fields)]).await;
            stage.reason_is(&subject.object(), "AlreadyExists").await;
            stage.change(&subject, json!({"adoptionPolicy": "Adopt"})).await;
            subject.has(&[a, b]).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_object_that_is_deleted_leaves_the_role_that_was_there() {
    in_memory(async |stage| {
        each(stage.both("refuse"), async |subject| {
            let [a, ..] = subject.names();
            subject.by_hand(&[a]);
            stage.api.apply(&[subject.declares_with(json!([{"role": a}]), json!({"adoptionPolicy": "Refuse"}))]).await;
            stage.reason_is(&subject.object(), "AlreadyExists").await;
            stage.delete(&subject.object()).await;
            subject.has_now(&[a], "after the object that refused to adopt it was deleted");
            assert!(subject.writes().is_empty(), "expected no write, there was {:#?}", subject.writes());
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_another_of_our_objects_granted_is_no_reason_to_refuse() {
    in_memory(async |stage| {
        each(stage.both("ours"), async |subject| {
            let [a, b, ..] = subject.names();
            let temporary = json!([{"role": a, "temporary": {"duration": "1h"}}]);
            stage.declare(&subject, temporary).await;
            subject.has(&[a]).await;
            let second = format!("second-{}", subject.name);
            let object =
                with(subject.layer(&second, json!([{"role": a}, {"role": b}])), json!({"adoptionPolicy": "Refuse"}));
            stage.api.apply(&[object]).await;
            stage.has_condition(&format!("pm/{second}"), "Ready", "True", "Converged").await;
            subject.has(&[a, b]).await;
        })
        .await;
    })
    .await;
}
