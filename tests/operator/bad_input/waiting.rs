//! An object whose provider object doesn't exist, or was deleted: it waits, and loses nothing.

use serde_json::json;

use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::each;
use crate::support::{assert_contains, changed};

#[tokio::test]
async fn a_membership_applied_before_its_provider_waits_and_then_converges() {
    with_stage(async |stage| {
        each(stage.both("early"), async |subject| {
            let [a, b, ..] = subject.names();
            let later = format!("later-{}", subject.name);
            subject.by_hand(&[b]);
            stage
                .api
                .apply(&[changed(subject.declares(json!([{ "role": a }])), "/spec/providerRef/name", json!(later))])
                .await;
            let message = stage.waits(&subject.object(), "ProviderNotFound").await;
            assert_contains(&message, &later);
            subject.has_now(&[b], "before the provider is there");
            subject.was_written(0, "before the provider is there");
            let events = stage.api.events(&subject.object()).await;
            assert!(events.is_empty(), "waiting is no failure, but there was {events:#?}");

            let provider =
                if subject.is_at_infisical() { stage.infisical_provider() } else { stage.zitadel_provider() };
            stage.api.apply(&[changed(provider, "/metadata/name", json!(later))]).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[a], "when the provider is there");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_its_provider_a_right_stays_and_a_deletion_waits_until_it_is_back() {
    in_memory(async |stage| {
        each(stage.both("orphan"), async |subject| {
            let [a, ..] = subject.names();
            let (object, provider) = match subject.is_at_infisical() {
                true => (subject.object(), stage.infisical_provider()),
                false => (subject.object(), stage.zitadel_provider()),
            };
            stage.declare(&subject, json!([{ "role": a }])).await;
            stage.ready(&object).await;
            let name = provider["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            stage.delete_by_force(&format!("membershipprovider/{name}")).await;
            stage.has_condition(&object, "Reconciling", "True", "ProviderNotFound").await;
            subject.has_now(&[a], "without its provider");
            stage.api.ask_to_delete(&object).await;
            let message = stage.has_condition(&object, "Ready", "False", "RevokeFailed").await;
            assert_contains(&message, &name);
            subject.has_now(&[a], "while it can't be revoked");
            stage.api.apply(&[provider]).await;
            stage.api.is_gone(&object).await;
            subject.has_now(&[], "when the provider is back");
        })
        .await;
        stage.other_subjects_keep_their_rights();
    })
    .await;
}
