//! Every kind of subject has the same lifecycle: identities, users and groups of Infisical, members of projects and of
//! project grants of ZITADEL.

use serde_json::json;
use simulator::worlds;

use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::{each, in_seconds, with};

#[tokio::test]
async fn every_kind_is_granted_changed_ended_and_revoked() {
    with_stage(async |stage| {
        each(stage.every("life"), async |subject| {
            let [a, b, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            let end = in_seconds(20);
            let roles = json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}]);
            stage.change(&subject, json!({ "roles": roles })).await;
            subject.has(&[a, b]).await;
            subject.ends(b, end, "beside a permanent role").await;
            subject.has_now(&[a], "after the end");
            stage.delete(&subject.object()).await;
            subject.has_now(&[], "after the deletion");
            assert_eq!(subject.memberships(), 0, "{}: a membership is left", subject.name);
        })
        .await;
        assert_eq!(stage.simulator.infisical().mails().len(), 0, "no mail was sent");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_temporary_role_alone_ends_with_the_membership_for_every_kind() {
    in_memory(async |stage| {
        each(stage.every("alone"), async |subject| {
            let [_, b, ..] = subject.names();
            let end = in_seconds(20);
            stage.declare(&subject, json!([{"role": b, "temporary": {"expirationTime": end}}])).await;
            subject.has(&[b]).await;
            subject.ends(b, end, "alone").await;
            subject.is_member(0).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_change_by_hand_is_put_right_for_every_kind() {
    in_memory(async |stage| {
        each(stage.every("drifts"), async |subject| {
            let [a, b, c, _] = subject.names();
            stage.declare(&subject, json!([{"role": a}])).await;
            subject.has(&[a]).await;
            stage.ready(&subject.object()).await;
            subject.by_hand(&[b, c]);
            stage.reconcile_now(&subject.object()).await;
            subject.has(&[a]).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn unmanaged_roles_stay_with_an_additive_object_of_every_kind() {
    in_memory(async |stage| {
        each(stage.every("beside"), async |subject| {
            let [a, b, ..] = subject.names();
            subject.by_hand(&[a]);
            stage
                .api
                .apply(&[subject.declares_with(json!([{"role": b}]), json!({"roleManagement": "Additive"}))])
                .await;
            subject.has(&[a, b]).await;
            stage.ready(&subject.object()).await;
            stage.delete(&subject.object()).await;
            subject.has_now(&[a], "after the deletion");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_reported_for_every_kind() {
    in_memory(async |stage| {
        each(stage.every("unknown"), async |subject| {
            let [a, ..] = subject.names();
            stage.declare(&subject, json!([{"role": a}, {"role": "no-such-role"}])).await;
            stage.reason_is(&subject.object(), "RoleNotFound").await;
            subject.has(&[a]).await;
            let mut missing = subject.clone();
            missing.name = format!("{}-nobody", subject.name);
            let last = if subject.is_at_infisical() { "ffffffffffff" } else { "999999999999" };
            missing.id.truncate(missing.id.len() - last.len());
            missing.id += last;
            stage.declare(&missing, json!([{"role": a}])).await;
            let ready = stage.reason_is(&missing.object(), reason_of_missing(&subject.name)).await;
            assert!(ready["message"].as_str().is_some_and(|message| message.contains(&missing.id)), "{ready}");
        })
        .await;
    })
    .await;
}

/// Infisical can't show whether a user who isn't in the project exists.
fn reason_of_missing(name: &str) -> &'static str {
    if name.ends_with("-person") { "Rejected" } else { "SubjectNotFound" }
}

#[tokio::test(start_paused = true)]
async fn a_permanently_refused_change_is_not_sent_again_by_another_declaration() {
    in_memory(async |stage| {
        let infisical = stage.simulator.infisical();
        infisical.set_caller_roles(worlds::INFISICAL_PROJECT, worlds::INFISICAL_OPERATOR, &["viewer"]);
        let subject = stage.identity("refused");
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        stage.is_stalled(&subject.object(), "Forbidden").await;
        let sent = subject.writes().len();
        // Observing objects of the same target are created, one after the other: each time the target is observed
        // again.
        for name in ["onlooker-1", "onlooker-2", "onlooker-3"] {
            let onlooker = subject.layer(name, json!([{"role": "viewer"}]));
            stage.api.apply(&[with(onlooker, json!({"managementPolicy": "Observe"}))]).await;
            stage.reason_is(&format!("pm/{name}"), "Observed").await;
        }
        assert_eq!(subject.writes().len(), sent, "asked again though nothing has changed: {:#?}", subject.writes());
        // The permissions exist now: requests succeed.
        infisical.set_caller_roles(worlds::INFISICAL_PROJECT, worlds::INFISICAL_OPERATOR, &["admin"]);
        stage.reconcile_now(&subject.object()).await;
        subject.has(&["viewer"]).await;
    })
    .await;
}
