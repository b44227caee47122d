//! How memberships of groups surprise (`docs/reference/infisical.md`, Users and groups); named after the surprise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod support;

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Fault, Order, RoleRow};
use support::{GROUP, PERSON, PROJECT, Stage, permanent, slugs, temporary};

const WINDOW: Fault = Fault::Window(Duration::from_millis(1000));

fn first() -> String {
    format!("/api/v2/workspace/{PROJECT}/groups/{GROUP}")
}

fn second(group: &str) -> String {
    format!("/api/v1/projects/{PROJECT}/groups/{group}")
}

fn third() -> String {
    format!("/api/v1/projects/{PROJECT}/memberships/groups/{GROUP}")
}

fn in_force(stage: &Stage) -> Vec<String> {
    stage.simulator.infisical().effective_roles(PROJECT, GROUP, Timestamp::now()).into_iter().collect()
}

#[tokio::test]
async fn a_groups_name_works_for_post_on_the_second_path_only() {
    let stage = Stage::october_2024().await;
    let by_slug = format!("/api/v2/workspace/{PROJECT}/groups/ops");
    assert_eq!(stage.at(Method::POST, &by_slug, json!({"role": "viewer"})).await.status, 500);
    let stage = Stage::new().await;
    assert_eq!(stage.at(Method::POST, &second("Ops"), json!({"role": "viewer"})).await.status, 200);
    assert_eq!(in_force(&stage), ["viewer"]);
    assert_eq!(stage.at(Method::GET, &second("Ops"), Value::Null).await.status, 500);
    assert_eq!(stage.at(Method::GET, &second(GROUP), Value::Null).await.status, 200);
}

#[tokio::test]
async fn the_newest_path_answers_a_groups_patch_without_the_list_of_roles() {
    let stage = Stage::new().await;
    stage.simulator.infisical().be_current();
    let made = stage.at(Method::POST, &third(), json!({"roles": [permanent("viewer")]})).await.body;
    assert_eq!(made["groupMembership"]["roles"][0]["role"], "viewer");
    let written = stage.at(Method::PATCH, &third(), json!({"roles": [permanent("deployer")]})).await.body;
    assert!(written.get("roles").is_none(), "{written}");
    assert_eq!(written["groupMembership"]["roles"][0]["customRoleSlug"], "deployer");
    let by_name = third().replace(GROUP, "ops");
    assert_eq!(stage.at(Method::GET, &by_name, Value::Null).await.status, 422);
}

#[tokio::test]
async fn only_temporary_roles_are_taken_of_groups_in_october_2024_and_refused_now() {
    let roles = json!({"roles": [temporary("viewer", "2099-01-01T00:00:00Z", "1h")]});
    for (stage, path, status) in [(Stage::october_2024().await, first(), 200), (Stage::new().await, second(GROUP), 400)]
    {
        stage.simulator.infisical().set_roles(PROJECT, GROUP, vec![RoleRow::permanent("no-access")]);
        assert_eq!(stage.at(Method::PATCH, &path, roles.clone()).await.status, status);
    }
}

#[tokio::test]
async fn a_missing_project_is_404_for_groups_even_in_october_2024() {
    let stage = Stage::october_2024().await;
    stage.simulator.infisical().delete_project(PROJECT);
    let missing = stage.at(Method::GET, &first(), Value::Null).await;
    assert_eq!((missing.status, &missing.body["error"]), (404, &json!("NotFound")));
}

#[tokio::test]
async fn a_group_of_no_member_is_404_in_october_2024_and_400_now() {
    for (stage, path, status) in [(Stage::october_2024().await, first(), 404), (Stage::new().await, second(GROUP), 400)]
    {
        let roles = json!({"roles": [permanent("viewer")]});
        assert_eq!(stage.at(Method::PATCH, &path, roles).await.status, status, "no member");
        assert_eq!(stage.at(Method::DELETE, &path, Value::Null).await.status, status);
        stage.simulator.infisical().delete_group(GROUP);
        assert_eq!(stage.at(Method::POST, &path, json!({"role": "viewer"})).await.status, status, "no group");
    }
}

#[tokio::test]
async fn a_group_without_roles_is_hidden_until_a_patch_repairs_it() {
    let stage = Stage::october_2024().await;
    assert_eq!(stage.at(Method::POST, &first(), json!({"roles": []})).await.status, 200);
    assert_eq!(stage.at(Method::GET, &first(), Value::Null).await.status, 404);
    assert_eq!(stage.at(Method::POST, &first(), json!({"role": "viewer"})).await.status, 400, "it is there");
    assert_eq!(stage.at(Method::PATCH, &first(), json!({"roles": [permanent("viewer")]})).await.status, 200);
    assert_eq!(in_force(&stage), ["viewer"]);
}

#[tokio::test]
async fn two_concurrent_posts_make_two_memberships_of_a_group() {
    let stage = Stage::october_2024().await;
    let infisical = stage.simulator.infisical();
    infisical.order(Order::always(WINDOW).on("POST", "/groups/"));
    let path = first();
    let join = || stage.at(Method::POST, &path, json!({"role": "admin"}));
    let (one, other) = tokio::join!(join(), join());
    assert_eq!((one.status, other.status, infisical.memberships_of(PROJECT, GROUP)), (200, 200, 2));
    stage.at(Method::PATCH, &path, json!({"roles": [permanent("viewer")]})).await;
    assert_eq!(in_force(&stage), ["admin", "viewer"], "PATCH writes one of them");
    assert_eq!(stage.at(Method::DELETE, &path, Value::Null).await.status, 200);
    assert_eq!(infisical.memberships_of(PROJECT, GROUP), 0, "DELETE removes both");
}

#[tokio::test]
async fn concurrent_patches_of_a_group_unite_their_roles() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.set_roles(PROJECT, GROUP, vec![RoleRow::permanent("no-access")]);
    infisical.order(Order::always(WINDOW).on("PATCH", ""));
    let path = second(GROUP);
    let patch = |role| stage.at(Method::PATCH, &path, json!({"roles": [permanent(role)]}));
    tokio::join!(patch("viewer"), patch("deployer"));
    assert_eq!(slugs(&infisical.roles(PROJECT, GROUP)), ["deployer", "viewer"]);
}

#[tokio::test]
async fn a_groups_users_have_its_rights_and_are_not_listed() {
    let stage = Stage::october_2024().await;
    let infisical = stage.simulator.infisical();
    infisical.set_roles(PROJECT, GROUP, vec![RoleRow::permanent("viewer")]);
    infisical.add_token("ada", PERSON);
    let path = format!("/api/v1/workspace/{PROJECT}/memberships");
    let look = || stage.call(infisical.url(), "ada", Method::GET, &path, Value::Null);
    assert_eq!(look().await.body["error"], "User not a part of the specified project");
    infisical.add_to_group(GROUP, PERSON);
    assert_eq!(look().await.body, json!({"memberships": []}));
}
