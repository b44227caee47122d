//! A credential that can no longer be read: ends and deletions are carried out with the one that was read last.

use serde_json::json;

use super::providers::provider_of;
use crate::in_memory::in_memory;
use crate::stage::{Stage, with_stage};
use crate::subject::{each, time};
use crate::support::assert_contains;

/// Removes the credentials, or the permission to read them, and waits until both providers have detected it.
async fn credentials_are_gone(stage: &Stage, what: &[&str], noticed: &str) {
    for object in what {
        stage.api.ask_to_delete(object).await;
    }
    for name in ["infisical", "zitadel"] {
        let provider = format!("membershipprovider/{name}");
        // A check is due at the next resync; a change triggers it now.
        stage.api.merge(&provider, &json!({"spec": {"resyncInterval": "9m"}})).await;
        let message = stage.has_condition(&provider, "Ready", "False", "Unauthorized").await;
        assert_contains(&message, noticed);
    }
}

#[tokio::test(start_paused = true)]
async fn without_its_secret_what_is_over_still_ends_and_nothing_is_granted() {
    in_memory(async |stage| {
        let subjects = stage.both("ending");
        each(&subjects, async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(subject, json!([{"role": a}, {"role": b, "temporary": {"duration": "20s"}}])).await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
        })
        .await;
        credentials_are_gone(&stage, &["secret/infisical", "secret/zitadel"], "there is no Secret").await;
        each(&subjects, async |subject| {
            let [a, b, c, _] = subject.names();
            let object = subject.object();
            let end = time(&stage.role_is(&object, b, "Active").await["expirationTime"]);
            stage
                .change(
                    subject,
                    json!({"roles": [{"role": a}, {"role": b, "temporary": {"duration": "20s"}}, {"role": c}]}),
                )
                .await;
            stage.reason_is(&object, "ProviderNotReady").await;
            subject.ends(b, end, "without its secret").await;
            subject.has_now(&[a], "without its secret");
            stage.has_condition(&object, "Reconciling", "True", "ProviderNotReady").await;
        })
        .await;
        // It is created again, and everything continues.
        stage.api.apply(&stage.secrets()).await;
        each(&subjects, async |subject| {
            let [a, _, c, _] = subject.names();
            subject.has(&[a, c]).await;
            stage.has_condition(provider_of(subject), "Ready", "True", "Verified").await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn without_the_right_to_read_its_secret_a_deletion_still_revokes() {
    with_stage(async |stage| {
        let subjects = stage.both("deleted");
        each(&subjects, async |subject| {
            let [a, b, c, _] = subject.names();
            subject.by_hand(&[c]);
            let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]);
            stage.api.apply(&[subject.declares_with(roles, json!({"roleManagement": "Additive"}))]).await;
            subject.has(&[a, b, c]).await;
            stage.ready(&subject.object()).await;
        })
        .await;
        credentials_are_gone(&stage, &["rolebinding/membership-operator-secrets"], "kubectl create rolebinding").await;
        each(&subjects, async |subject| {
            let [_, _, c, _] = subject.names();
            stage.delete(&subject.object()).await;
            subject.has_now(&[c], "when its object is gone");
            stage.delete(provider_of(subject)).await;
        })
        .await;
    })
    .await;
}
