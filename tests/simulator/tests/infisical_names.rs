//! How names surprise (`docs/reference/infisical.md`, Names); named after the surprise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::OrgRole;
use simulator::worlds::INFISICAL_ORG;
use support::{GROUP, IDENTITY, OPERATOR, PROJECT, Stage};

async fn look(stage: &Stage, path: &str) -> (u16, Value) {
    let got = stage.at(Method::GET, path, Value::Null).await;
    (got.status, got.body)
}

fn identities(search: &str) -> String {
    format!("/api/v2/organizations/{INFISICAL_ORG}/identity-memberships?search={search}")
}

#[tokio::test]
async fn a_project_is_found_by_slug_with_any_role_and_says_its_organization() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.set_caller_roles(PROJECT, OPERATOR, &["no-access"]);
    for path in ["/api/v1/projects/slug/web", "/api/v2/workspace/web"] {
        let (status, body) = look(&stage, path).await;
        assert_eq!((status, &body["id"], &body["orgId"]), (200, &json!(PROJECT), &json!(INFISICAL_ORG)));
    }
    let (_, by_id) = look(&stage, &format!("/api/v1/projects/{PROJECT}")).await;
    assert_eq!(by_id["project"]["slug"], "web");
    infisical.remove_member(PROJECT, OPERATOR);
    assert_eq!(look(&stage, "/api/v1/projects/slug/web").await.0, 403);
}

#[tokio::test]
async fn an_unknown_slug_is_500_in_october_2024_and_404_now() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    assert_eq!(look(&stage, "/api/v2/workspace/nobody").await.0, 404);
    infisical.be_october_2024();
    let (status, body) = look(&stage, "/api/v2/workspace/nobody").await;
    assert_eq!((status, &body["error"]), (500, &json!("Failed to find project by slug")));
    assert_eq!(look(&stage, "/api/v2/workspace/web").await.0, 401, "a slug has five characters at least");
    infisical.rename_project(PROJECT, "web-shop");
    assert_eq!(look(&stage, "/api/v2/workspace/web-shop").await.1["id"], PROJECT);
}

#[tokio::test]
async fn search_takes_wildcards_and_any_part_of_a_name() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.set_org_role(OPERATOR, OrgRole::Member);
    for (at, name) in ["robot", "robot", "robot_2", "robotX2", "Robot%3"].into_iter().enumerate() {
        infisical.add_identity(&format!("00000000-0000-4000-8000-00000000000{at}"), name);
    }
    for (search, found) in [("robot", 5), ("ROBOT", 5), ("robot_2", 2), ("obot%253", 1), ("%25", 7), ("nobody", 0)] {
        assert_eq!(look(&stage, &identities(search)).await.1["totalCount"], found, "{search}");
    }
}

#[tokio::test]
async fn identities_and_groups_of_the_organization_need_a_role_there() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    let group = format!("/api/v1/groups/{GROUP}");
    for path in [&identities("ci"), "/api/v1/groups", &group] {
        let (status, body) = look(&stage, path).await;
        assert_eq!((status, &body["error"]), (403, &json!("PermissionDenied")), "{path}");
    }
    infisical.set_org_role(OPERATOR, OrgRole::Member);
    assert_eq!(look(&stage, &identities("ci")).await.1["identityMemberships"][0]["identityId"], IDENTITY);
    assert_eq!(look(&stage, "/api/v1/groups").await.1[0]["id"], GROUP);
    infisical.rename_group(GROUP, "on-call");
    infisical.rename_identity(IDENTITY, "deployer");
    assert_eq!(look(&stage, &group).await.1["slug"], "on-call");
    assert_eq!(look(&stage, &identities("ci")).await.1["totalCount"], 0);
}

#[tokio::test]
async fn users_of_the_organization_are_200_and_empty_for_an_identity() {
    let stage = Stage::new().await;
    let url = format!("{}/api/v2/organizations/{INFISICAL_ORG}/memberships", stage.simulator.infisical().url());
    let answer = stage.client.get(url).bearer_auth("operator").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "");
}

#[tokio::test]
async fn roles_are_found_by_the_projects_slug_in_october_2024_and_by_its_id_now() {
    let stage = Stage::new().await;
    let slugs = |body: &Value| -> Vec<String> {
        body["roles"].as_array().unwrap().iter().map(|role| role["slug"].as_str().unwrap().to_owned()).collect()
    };
    let wanted = ["admin", "member", "viewer", "no-access", "deployer"];
    assert_eq!(slugs(&look(&stage, &format!("/api/v1/projects/{PROJECT}/roles")).await.1), wanted);
    assert_eq!(slugs(&look(&stage, "/api/v1/workspace/web/roles").await.1), wanted);
    assert_eq!(look(&stage, &format!("/api/v1/workspace/{PROJECT}/roles")).await.0, 500);
}
