//! ZITADEL's successful responses that are misleading: ghosts, and a wrong organization (docs/reference/zitadel.md,
//! traps 1 and 3).

use serde_json::json;
use simulator::{Answer, Fault, Order, worlds};
use std::time::Duration;

use crate::evidence::{assert_presentable, condition};
use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::support::{assert_contains, changed, eventually};

#[tokio::test]
async fn a_revocation_under_a_wrong_organization_is_not_believed() {
    with_stage(async |stage| {
        let user = stage.user("elsewhere");
        let [a, ..] = user.names();
        stage.declare(&user, json!([{ "role": a }])).await;
        stage.ready(&user.object()).await;
        // The provider object is created again, with an organization that the project isn't in.
        stage.delete_by_force("membershipprovider/zitadel").await;
        let wrong = changed(stage.zitadel_provider(), "/spec/zitadel/organizationId", json!(worlds::ZITADEL_ORG));
        stage.api.ask_to_delete(&user.object()).await;
        stage.has_condition(&user.object(), "Ready", "False", "RevokeFailed").await;
        stage.simulator.zitadel().grant(worlds::ZITADEL_OPERATOR, simulator::Scope::Instance, "IAM_OWNER");
        stage.api.apply(&[wrong]).await;
        stage.has_condition("membershipprovider/zitadel", "Ready", "True", "Verified").await;
        eventually(Duration::from_secs(20), "RevokeFailed that names the organization", async || {
            let there = stage.api.get(&user.object()).await;
            let ready = condition(&there, "Ready").cloned().unwrap_or_default();
            let reported = ready["message"].as_str().unwrap_or_default().contains("organizationId");
            if ready["reason"] == "RevokeFailed" && reported { Ok(()) } else { Err(format!("{:#}", there["status"])) }
        })
        .await;
        user.has_now(&[a], "under a wrong organization");
        stage.delete_by_force("membershipprovider/zitadel").await;
        stage.api.apply(&[stage.zitadel_provider()]).await;
        stage.api.is_gone(&user.object()).await;
        user.has_now(&[], "under the right one");
        stage.other_subjects_keep_their_rights();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_grant_under_a_wrong_organization_says_which_field_to_set() {
    in_memory(async |stage| {
        stage.simulator.zitadel().grant(worlds::ZITADEL_OPERATOR, simulator::Scope::Instance, "IAM_OWNER");
        let user = stage.user("astray");
        let object = user.declares(json!([{"role": user.names()[0]}]));
        stage.api.apply(&[changed(object, "/spec/project/organizationId", json!(worlds::ZITADEL_ORG))]).await;
        let message = stage.is_stalled(&user.object(), "ProjectNotFound").await;
        assert_contains(&message, "organizationId");
        user.has_now(&[], "under a wrong organization");
        stage.delete(&user.object()).await;
    })
    .await;
}

/// The credential's only role went with the project: ZITADEL responds with 403 AUTH-3jknH or 404 AUTHZ-cdgFk from then
/// on, as for a project that still exists.
#[tokio::test(start_paused = true)]
async fn a_deletion_in_a_deleted_project_says_how_to_resolve_it_and_ends_on_proof_or_with_orphan() {
    in_memory(async |stage| {
        let zitadel = stage.simulator.zitadel();
        let own = simulator::Scope::Org(worlds::ZITADEL_PROJECT_ORG.to_owned());
        zitadel.take_rights(worlds::ZITADEL_OPERATOR, &own);
        zitadel.set_roles(worlds::ZITADEL_PROJECT, worlds::ZITADEL_OPERATOR, &["PROJECT_OWNER"]);
        // So that it keeps a role in the organization.
        zitadel.add_project("400623434683300001", worlds::ZITADEL_PROJECT_ORG, "another");
        zitadel.set_roles("400623434683300001", worlds::ZITADEL_OPERATOR, &["PROJECT_OWNER"]);
        let (proven, orphaned) = (stage.user("proven"), stage.user("orphaned"));
        for user in [&proven, &orphaned] {
            stage.declare(user, json!([{"role": user.names()[0]}])).await;
            stage.ready(&user.object()).await;
        }
        zitadel.delete_project(worlds::ZITADEL_PROJECT);
        for user in [&proven, &orphaned] {
            stage.api.ask_to_delete(&user.object()).await;
            let message = stage.has_condition(&user.object(), "Ready", "False", "RevokeFailed").await;
            assert_presentable(&message);
            for word in ["was deleted", "ORG_OWNER_VIEWER", "deletionPolicy to Orphan", "membership.dev/abandon"] {
                assert_contains(&message, word);
            }
            let there = stage.api.get(&user.object()).await;
            assert_eq!(there["metadata"]["finalizers"], json!(["membership.dev/revoke"]), "nothing proves it");
        }
        stage.api.merge(&orphaned.object(), &json!({"spec": {"deletionPolicy": "Orphan"}})).await;
        stage.api.is_gone(&orphaned.object()).await;
        assert!(stage.api.find(&proven.object()).await.is_some(), "nothing proves it yet");
        zitadel.grant(worlds::ZITADEL_OPERATOR, own, "ORG_OWNER_VIEWER");
        stage.api.is_gone(&proven.object()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_ghost_is_not_taken_for_a_member() {
    in_memory(async |stage| {
        let zitadel = stage.simulator.zitadel();
        let user = stage.user("ghost");
        let [a, b, ..] = user.names();
        stage.declare(&user, json!([{ "role": a }])).await;
        stage.ready(&user.object()).await;
        // The user is deleted while search still shows it, and writes still return 200.
        zitadel.set_search_lag(Duration::from_secs(1));
        zitadel.delete_user(&user.id);
        let missing = json!({"code": 5, "message": "User could not be found (QUERY-Dfbg2)", "details": [
            {"@type": "type.googleapis.com/zitadel.v1.ErrorDetail", "id": "QUERY-Dfbg2", "message": "User could not be found"}]});
        zitadel.order(Order::always(Fault::Status(Answer::new(404, missing))).on("GET", &format!("/users/{}", user.id)));
        stage.change(&user, json!({"roles": [{"role": b}]})).await;
        eventually(Duration::from_secs(60), "Stalled SubjectNotFound", async || {
            let there = stage.api.get(&user.object()).await;
            let stalled = condition(&there, "Stalled").cloned().unwrap_or_default();
            if stalled["reason"] == "SubjectNotFound" { Ok(()) } else { Err(format!("{:#}", there["status"])) }
        })
        .await;
        let ghostly = user.carried_out().iter().filter(|request| request.method == "PUT").count();
        assert_eq!(ghostly, 1, "the server accepted one: {:#?}", user.writes());
        user.has_now(&[], "as a ghost");
        stage.reconcile_now(&user.object()).await;
        stage.is_stalled(&user.object(), "SubjectNotFound").await;
        let status = stage.api.get(&user.object()).await["status"].clone();
        assert_eq!(status["activeRoles"], "", "{status:#}");
        stage.delete(&user.object()).await;
    })
    .await;
}
