//! Memberships whose removal the provider never allows, while it accepts changes: an identity that a project of
//! Infisical manages itself (docs/reference/infisical.md, "Project-scoped identities").

use serde_json::{Value, json};
use simulator::{ErrorStyle, Generations, RoleRow, worlds};

use crate::in_memory::in_memory;
use crate::restart;
use crate::stage::{Stage, with_stage};
use crate::subject::{Subject, each, in_seconds, is_empty, time};
use crate::support::{SOON, eventually};

/// An identity that its project manages, with an unmanaged role.
fn managed(stage: &Stage, name: &str) -> Subject {
    let subject = stage.identity(name);
    stage.simulator.infisical().set_managed_by(&subject.id, worlds::INFISICAL_PROJECT);
    subject.by_hand(&["viewer"]);
    subject
}

fn left() -> Vec<RoleRow> {
    vec![RoleRow::permanent("no-access")]
}

fn methods(subject: &Subject) -> Vec<String> {
    subject.writes().into_iter().map(|write| write.method).collect()
}

/// Waits for the event that reports it.
async fn is_reported(stage: &Stage, subject: &Subject) {
    eventually(SOON, &format!("an event reports that the membership of {} stays", subject.name), async || {
        let events = stage.api.events(&subject.object()).await;
        let kept = events.iter().find(|event| event["reason"] == "MembershipKept");
        let note = kept.map(|event| event["note"].as_str().unwrap_or_default()).unwrap_or_default();
        if note.contains("manages itself") && note.contains("no-access") { Ok(()) } else { Err(format!("{events:#?}")) }
    })
    .await;
}

/// Seen failing without the PATCH of `One::take_away`: the object is never deleted, the role stays in force.
#[tokio::test]
async fn a_deletion_takes_the_access_away_and_lets_the_object_go() {
    with_stage(async |stage| {
        let subject = managed(&stage, "kept");
        stage.declare(&subject, json!([{"role": "admin"}])).await;
        subject.has(&["admin"]).await;
        stage.ready(&subject.object()).await;
        stage.delete(&subject.object()).await;
        subject.has_now(&[], "after its object was deleted");
        assert_eq!(subject.rows(), left());
        assert_eq!(methods(&subject), ["PATCH", "DELETE", "PATCH"]);
        is_reported(&stage, &subject).await;
        // A later grant changes the membership.
        stage.declare(&subject, json!([{"role": "deployer"}])).await;
        subject.has(&["deployer"]).await;
        stage.ready(&subject.object()).await;
        assert_eq!(subject.rows(), [RoleRow::permanent("deployer")]);
        assert_eq!(methods(&subject)[3..], ["PATCH"]);
    })
    .await;
}

/// Seen failing with `is_without_access` false in `plan::base::settle`: a DELETE and a PATCH at each resync.
#[tokio::test(start_paused = true)]
async fn an_end_takes_the_access_away_and_is_no_drift_and_no_reason_to_write_again() {
    in_memory(async |stage| {
        // As the server is by default, and one that needs no permanent role beside temporary ones.
        for (generations, style) in
            [(Generations::G1AndG2, ErrorStyle::Current), (Generations::G1, ErrorStyle::June2025)]
        {
            stage.simulator.infisical().be(generations, style);
            let subject = managed(&stage, &format!("ended-{style:?}").to_lowercase());
            let roles = json!([{"role": "admin", "temporary": {"duration": "4s"}}]);
            stage.api.apply(&[subject.declares_with(roles, json!({"resyncInterval": "1s"}))]).await;
            let end = time(&stage.role_is(&subject.object(), "admin", "Active").await["expirationTime"]);
            subject.ends("admin", end, "of a managed identity").await;
            is_reported(&stage, &subject).await;
            // The event may be stored before the status.
            eventually(SOON, "the condition reports what stays", async || {
                let message = stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
                if message.contains("remains with the role \"no-access\"") { Ok(()) } else { Err(message) }
            })
            .await;
            let object = stage.api.get(&subject.object()).await;
            let written = subject.writes().len();
            subject.is_listed(3).await;
            let later = stage.api.get(&subject.object()).await;
            assert_eq!(subject.writes().len(), written, "{:#?}", subject.writes());
            assert_eq!(object["metadata"]["resourceVersion"], later["metadata"]["resourceVersion"], "{later:#}");
            let status = &later["status"];
            assert!(is_empty(&status["drift"]) && is_empty(&status["managedRoles"]), "{status:#}");
            assert_eq!(subject.rows(), left());
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_object_takes_what_is_undeclared_and_grants_again_by_a_change() {
    in_memory(async |stage| {
        let subject = managed(&stage, "exclusive");
        subject.by_hand(&["admin"]);
        let start = in_seconds(6);
        let roles = json!([{"role": "deployer", "temporary": {"startTime": start, "duration": "1h"}}]);
        stage.api.apply(&[subject.declares_with(roles, json!({"resyncInterval": "1s"}))]).await;
        subject.has(&[]).await;
        stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        assert_eq!(methods(&subject), ["DELETE", "PATCH"]);
        subject.is_listed(2).await;
        assert_eq!(methods(&subject), ["DELETE", "PATCH"], "and no more of that");
        subject.gains("deployer").await;
        stage.ready(&subject.object()).await;
        assert_eq!(methods(&subject), ["DELETE", "PATCH", "PATCH"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_kind_is_left_without_access_by_a_credential_that_may_not_delete() {
    in_memory(async |stage| {
        let infisical = stage.simulator.infisical();
        let rights =
            ["identity", "member", "groups"].map(|kind| ["read", "create", "edit"].map(|a| format!("{kind}:{a}")));
        let rights: Vec<&str> = rights.iter().flatten().map(String::as_str).collect();
        infisical.add_custom_role_with(worlds::INFISICAL_PROJECT, "undeleting", "Undeleting", &rights);
        infisical.add_custom_role(worlds::INFISICAL_PROJECT, "powerless");
        infisical.set_caller_roles(worlds::INFISICAL_PROJECT, worlds::INFISICAL_OPERATOR, &["undeleting"]);
        let subjects = [stage.identity("undeleted"), stage.person("undeleted"), stage.group("undeleted")];
        each(&subjects, async |subject| {
            stage.declare(subject, json!([{"role": "powerless"}])).await;
            subject.has(&["powerless"]).await;
            stage.ready(&subject.object()).await;
            stage.delete(&subject.object()).await;
            subject.has_now(&[], "after its object was deleted");
            assert_eq!(subject.rows(), left(), "{}", subject.name);
        })
        .await;
    })
    .await;
}

/// What was there when the process died is derived from what the provider shows.
#[tokio::test]
async fn killed_after_the_change_the_next_operator_lets_the_object_go() {
    restart::alone(async |plane, stage| {
        let first = restart::operator(plane).await;
        let (deleted, ended) = (managed(&stage, "deleted"), managed(&stage, "ended"));
        stage.declare(&deleted, json!([{"role": "admin"}])).await;
        let roles = json!([{"role": "admin", "temporary": {"duration": "5s"}}]);
        stage.api.apply(&[ended.declares_with(roles, json!({"resyncInterval": "1s"}))]).await;
        for subject in [&deleted, &ended] {
            subject.has(&["admin"]).await;
            stage.ready(&subject.object()).await;
        }
        first.kill().await.unwrap();
        // The interrupted state: the membership is changed, and no status shows it.
        for subject in [&deleted, &ended] {
            subject.rows_by_hand(left());
        }
        stage.api.ask_to_delete(&deleted.object()).await;
        let second = restart::operator(plane).await;
        stage.api.is_gone(&deleted.object()).await;
        stage.role_is(&ended.object(), "admin", "Expired").await;
        stage.has_condition(&ended.object(), "Ready", "True", "Converged").await;
        eventually(SOON, "nothing is managed any more", async || {
            let status = stage.api.get(&ended.object()).await["status"].clone();
            if is_empty(&status["managedRoles"]) { Ok(()) } else { Err(format!("{status:#}")) }
        })
        .await;
        let written = ended.writes().len();
        ended.is_listed(2).await;
        assert_eq!(ended.writes().len(), written, "{:#?}", ended.writes());
        assert_eq!((deleted.rows(), ended.rows()), (left(), left()));
        let events: Vec<Value> = stage.api.events(&ended.object()).await;
        assert!(events.iter().all(|event| event["reason"] != "Failed"), "{events:#?}");
        second.stop().await.unwrap();
    })
    .await;
}
