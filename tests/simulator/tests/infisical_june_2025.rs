//! How an Infisical of June 2025 surprises (`docs/reference/infisical.md`, "A server of June 2025"), and what projects
//! and identities of other products do on every server; named after the surprise. What was recorded is replayed by
//! `make test-contracts`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod support;

use std::time::Duration;

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::RoleRow;
use support::{IDENTITY, OPERATOR, PROJECT, Stage, permanent};

async fn june() -> Stage {
    let stage = Stage::new().await;
    stage.simulator.infisical().be_june_2025();
    stage
}

#[tokio::test]
async fn a_deleted_project_is_refused_like_anothers_and_only_its_own_route_differs() {
    let stage = june().await;
    stage.simulator.infisical().set_caller_roles("0e1b7a52-0000-4000-8000-000000000001", IDENTITY, &["viewer"]);
    stage.simulator.infisical().delete_project(PROJECT);
    for (project, status) in [(PROJECT, 404), ("0e1b7a52-0000-4000-8000-000000000001", 403)] {
        let list =
            stage.at(Method::GET, &format!("/api/v2/workspace/{project}/identity-memberships"), Value::Null).await;
        let error = format!("Identity is not a member of the specified project with ID '{project}'");
        assert_eq!((list.status, &list.body["error"]), (403, &json!(error)));
        assert_eq!(stage.at(Method::GET, &format!("/api/v1/workspace/{project}"), Value::Null).await.status, status);
    }
}

#[tokio::test]
async fn giving_nothing_needs_the_right_to_grant_too_and_removing_does_not() {
    let stage = june().await;
    let infisical = stage.simulator.infisical();
    let rights = ["identity:read", "identity:create", "identity:edit", "identity:delete"];
    infisical.add_custom_role_with(PROJECT, "four", "Four", &rights);
    infisical.set_caller_roles(PROJECT, OPERATOR, &["four"]);
    infisical.set_roles(PROJECT, IDENTITY, vec![RoleRow::permanent("admin")]);
    let lowered = stage.patch(json!({"roles": [permanent("no-access")]})).await;
    assert_eq!((lowered.status, &lowered.body["error"]), (403, &json!("PermissionBoundaryError")));
    assert_eq!(stage.delete().await.status, 200);
    // An organization that is older than March 2025 compares rights instead.
    infisical.set_new_privileges(Some(false));
    infisical.set_roles(PROJECT, IDENTITY, vec![RoleRow::permanent("admin")]);
    assert_eq!(stage.patch(json!({"roles": [permanent("no-access")]})).await.status, 200);
    // A current server doesn't ask for the right to give nothing.
    infisical.be_current();
    infisical.set_new_privileges(Some(true));
    assert_eq!(stage.patch(json!({"roles": [permanent("no-access")]})).await.status, 200);
    assert_eq!(stage.patch(json!({"roles": [permanent("viewer")]})).await.status, 403);
}

#[tokio::test]
async fn a_token_past_its_life_is_refused_in_the_same_words_again_and_again() {
    let stage = june().await;
    let infisical = stage.simulator.infisical();
    infisical.add_client("client", "secret", OPERATOR);
    infisical.set_token_lives("client", Duration::from_secs(60), Duration::from_secs(600));
    let login = format!("{}/api/v1/auth/universal-auth/login", infisical.url());
    let body = json!({"clientId": "client", "clientSecret": "secret"});
    let granted: Value = stage.client.post(login).json(&body).send().await.unwrap().json().await.unwrap();
    infisical.set_clock_offset(SignedDuration::from_secs(61));
    for _ in 0..2 {
        let url = format!("{}/api/v1/workspace/{PROJECT}", infisical.url());
        let answer = stage.client.get(url).bearer_auth(granted["accessToken"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.json::<Value>().await.unwrap()["error"], "TokenError");
    }
}

#[tokio::test]
async fn an_identity_that_its_project_manages_can_be_changed_and_not_removed() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.set_managed_by(IDENTITY, PROJECT);
    infisical.set_roles(PROJECT, IDENTITY, vec![RoleRow::permanent("admin")]);
    let removed = stage.delete().await;
    let message = "Failed to delete project membership for a project scoped identity";
    assert_eq!((removed.status, &removed.body["message"]), (400, &json!(message)));
    assert_eq!(stage.patch(json!({"roles": [permanent("no-access")]})).await.status, 200);
}

#[tokio::test]
async fn the_members_of_a_certificate_manager_project_are_kept_elsewhere() {
    let stage = Stage::new().await;
    stage.simulator.infisical().be_current();
    stage.simulator.infisical().set_product(PROJECT, "cert-manager");
    for path in ["identity-memberships", "memberships", "groups", "memberships/identities", "roles"] {
        let list = stage.at(Method::GET, &format!("/api/v1/projects/{PROJECT}/{path}"), Value::Null).await;
        assert_eq!((list.status, &list.body["error"]), (403, &json!("ForbiddenError")), "{path}");
    }
    let project = stage.at(Method::GET, &format!("/api/v1/projects/{PROJECT}"), Value::Null).await;
    assert_eq!((project.status, &project.body["project"]["type"]), (200, &json!("cert-manager")));
}

#[tokio::test]
async fn a_custom_role_that_is_renamed_keeps_its_id_and_its_assignments() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    assert_eq!(stage.post(json!({"roles": [permanent("deployer")]})).await.status, 200);
    let before = stage.get().await.body["identityMembership"]["roles"][0].clone();
    let renamed = json!({"project": PROJECT, "slug": "deployer", "newSlug": "releaser"});
    let url = format!("{}/_simulator/custom-roles", infisical.url());
    assert_eq!(stage.client.post(url).json(&renamed).send().await.unwrap().status(), 204);
    let after = stage.get().await.body["identityMembership"]["roles"][0].clone();
    assert_eq!((&after["customRoleId"], &after["customRoleSlug"]), (&before["customRoleId"], &json!("releaser")));
    assert_eq!(stage.patch(json!({"roles": [permanent("deployer")]})).await.status, 404, "no role has that slug now");
}
