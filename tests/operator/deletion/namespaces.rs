//! A namespace that is deleted by the real namespace controller: Secrets, provider objects and memberships are deleted
//! together, in no order.

use serde_json::json;

use crate::operator::Operator;
use crate::restart::alone;
use crate::stage::{Stage, binary, with_stage};
use crate::subject::{Subject, each, with};
use crate::support::{assert_contains, eventually};
use std::time::Duration;

/// The namespace controller checks every few seconds.
const GOES: Duration = Duration::from_secs(60);

async fn is_gone(stage: &Stage, what: &str) {
    eventually(GOES, &format!("{what} is gone"), async || match stage.api.find(what).await {
        None => Ok(()),
        Some(there) => Err(format!("{:#}", there["status"])),
    })
    .await;
}

/// Subjects of both providers with a permanent and a temporary role, converged.
async fn granted(stage: &Stage, name: &str) -> [Subject; 2] {
    let subjects = stage.both(name);
    each(&subjects, async |subject| {
        let [a, b, ..] = subject.names();
        let roles = json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]);
        stage.declare(subject, roles).await;
        subject.has(&[a, b]).await;
        stage.ready(&subject.object()).await;
    })
    .await;
    subjects
}

/// Deletes the namespace, and checks what is left afterwards.
async fn the_namespace_goes_with_the_access(stage: &Stage, subjects: &[Subject]) {
    let namespace = format!("namespace/{}", stage.namespace());
    stage.api.ask_to_delete(&namespace).await;
    is_gone(stage, &namespace).await;
    for subject in subjects {
        subject.has_now(&[], "when its namespace is gone");
    }
    stage.other_subjects_keep_their_rights();
}

#[tokio::test]
async fn a_namespace_deleted_whole_revokes_what_was_granted_in_it() {
    with_stage(async |stage| {
        let subjects = granted(&stage, "whole").await;
        the_namespace_goes_with_the_access(&stage, &subjects).await;
    })
    .await;
}

#[tokio::test]
async fn the_credential_that_was_read_last_revokes_when_the_secrets_went_first() {
    with_stage(async |stage| {
        let subjects = granted(&stage, "last").await;
        for object in ["secret/infisical", "secret/zitadel", "rolebinding/membership-operator-secrets"] {
            stage.api.ask_to_delete(object).await;
        }
        for name in ["infisical", "zitadel"] {
            let provider = format!("membershipprovider/{name}");
            stage.api.merge(&provider, &json!({"spec": {"resyncInterval": "9m"}})).await;
            stage.has_condition(&provider, "Ready", "False", "Unauthorized").await;
        }
        the_namespace_goes_with_the_access(&stage, &subjects).await;
    })
    .await;
}

#[tokio::test]
async fn after_a_restart_in_between_the_reason_is_visible_and_orphans_may_go() {
    alone(async |plane, stage| {
        plane.start_controller_manager().await.unwrap();
        let operator = Operator::start(plane, binary(), "before").await.unwrap();
        let subjects = granted(&stage, "between").await;
        operator.kill().await.unwrap();
        let namespace = format!("namespace/{}", stage.namespace());
        stage.api.ask_to_delete(&namespace).await;
        for secret in ["secret/infisical", "secret/zitadel"] {
            is_gone(&stage, secret).await;
        }
        let _operator = Operator::start(plane, binary(), "after").await.unwrap();
        each(&subjects, async |subject| {
            let [a, b, ..] = subject.names();
            let object = subject.object();
            let message = stage.has_condition(&object, "Ready", "False", "RevokeFailed").await;
            // The binding may have been deleted as well.
            assert_contains(&message, "Secret");
            assert_contains(&message, "deletionPolicy: Orphan");
            subject.has_now(&[a, b], "while it can't be revoked");
            // The namespace reports what it waits for, too.
            eventually(GOES, "the namespace names the finalizer", async || {
                let waiting = stage.api.get(&namespace).await["status"]["conditions"].to_string();
                if waiting.contains("membership.dev/revoke") { Ok(()) } else { Err(waiting) }
            })
            .await;
        })
        .await;
        // Permanent roles may be left behind; a temporary one may not, if nothing else ends it.
        each(&subjects, async |subject| {
            let [a, ..] = subject.names();
            let fields = with(json!({"spec": {}}), json!({"deletionPolicy": "Orphan", "roles": [{"role": a}]}));
            stage.api.merge(&subject.object(), &fields).await;
        })
        .await;
        each(&subjects, async |subject| {
            let message = stage.has_condition(&subject.object(), "Ready", "False", "RevokeFailed").await;
            assert_contains(&message, "Secret");
            stage.api.annotate(&subject.object(), "membership.dev/abandon", "true").await;
        })
        .await;
        is_gone(&stage, &namespace).await;
    })
    .await;
}
