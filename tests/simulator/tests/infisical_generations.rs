//! How the generations of the paths surprise (`docs/reference/infisical.md`, Three generations), and what an upgrade
//! changes; named after the surprise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod support;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{ErrorStyle, Generations, RoleRow};
use support::{IDENTITY, PROJECT, Stage, permanent};

fn third(rest: &str) -> String {
    format!("/api/v1/projects/{PROJECT}/memberships/identities{rest}")
}

async fn newest() -> Stage {
    let stage = Stage::new().await;
    stage.simulator.infisical().be_current();
    stage
}

#[tokio::test]
async fn an_upgrade_brings_paths_and_takes_others_while_the_server_runs() {
    let stage = Stage::october_2024().await;
    let infisical = stage.simulator.infisical();
    infisical.set_roles(PROJECT, IDENTITY, vec![RoleRow::permanent("viewer")]);
    let first = format!("/api/v2/workspace/{PROJECT}/identity-memberships/{IDENTITY}");
    let second = format!("/api/v1/projects/{PROJECT}/identity-memberships/{IDENTITY}");
    let paths = [first, second, third(&format!("/{IDENTITY}"))];
    for (generations, there) in [
        (Generations::G1, [true, false, false]),
        (Generations::G1AndG2, [true, true, false]),
        (Generations::All, [true, true, true]),
        (Generations::G3, [false, false, true]),
    ] {
        let url = format!("{}/_simulator/server", infisical.url());
        let set = stage.client.post(url).json(&json!({"generations": generations, "errorStyle": "current"}));
        assert_eq!(set.send().await.unwrap().status(), 200);
        for (path, there) in paths.iter().zip(there) {
            let got = stage.at(Method::GET, path, Value::Null).await;
            let missing = (got.status, &got.body["error"]) == (404, &json!("Not Found"));
            assert_eq!((got.status == 200, missing), (there, !there), "{path} of {generations:?}: {got:?}");
        }
    }
}

#[tokio::test]
async fn a_server_before_the_third_generation_takes_its_list_for_a_user() {
    let stage = Stage::new().await;
    let list = stage.at(Method::GET, &third(""), Value::Null).await;
    assert_eq!(list.status, 500, "not 404: \"identities\" is read as the id of a membership");
    let one = stage.at(Method::GET, &third(&format!("/{IDENTITY}")), Value::Null).await;
    assert_eq!((one.status, &one.body["error"]), (404, &json!("Not Found")));
    stage.simulator.infisical().set_generations(Generations::G1);
    assert_eq!(stage.at(Method::GET, &third(""), Value::Null).await.body["error"], "Not Found");
}

#[tokio::test]
async fn the_newest_path_answers_without_identity_id_project_and_roles() {
    let stage = newest().await;
    let path = third(&format!("/{IDENTITY}"));
    assert_eq!(stage.at(Method::POST, &path, json!({"roles": [permanent("viewer")]})).await.status, 200);
    let written = stage.at(Method::PATCH, &path, json!({"roles": [permanent("deployer")]})).await.body;
    assert!(written.get("roles").is_none() && written["identityMembership"].get("roles").is_none(), "{written}");
    let shown = stage.at(Method::GET, &path, Value::Null).await.body["identityMembership"].clone();
    assert!(shown.get("identityId").is_none() && shown.get("project").is_none(), "{shown}");
    assert_eq!(shown["identity"]["id"], IDENTITY);
    let role = &shown["roles"][0];
    assert_eq!((&role["role"], &role["customRoleSlug"]), (&json!("custom"), &json!("deployer")));
    let rows = stage.at(Method::GET, &third(""), Value::Null).await.body["identityMemberships"].clone();
    let listed = rows.as_array().unwrap().iter().find(|row| row["identity"]["id"] == IDENTITY).unwrap();
    assert!(listed["roles"][0].get("customRoleId").is_none(), "the list has no ids of roles: {listed}");
    assert_eq!(listed["roles"][0]["customRoleSlug"], "deployer");
}

#[tokio::test]
async fn the_newest_list_has_pages_without_order_and_a_total_of_roles() {
    let stage = newest().await;
    let infisical = stage.simulator.infisical();
    for at in 1..=5 {
        let id = format!("00000000-0000-4000-8000-00000000000{at}");
        infisical.add_identity(&id, &format!("robot-{at}"));
        infisical.set_caller_roles(PROJECT, &id, &["viewer", "member"]);
    }
    let mut seen = BTreeSet::new();
    for offset in [0, 2, 4] {
        let page = stage.at(Method::GET, &third(&format!("?limit=2&offset={offset}")), Value::Null).await.body;
        let ids = page["identityMemberships"].as_array().unwrap().iter().map(|row| row["id"].to_string());
        seen.extend(ids.collect::<Vec<_>>());
    }
    assert!(seen.len() < 6, "pages lose and double rows though nothing was written: {seen:?}");
    let all = stage.at(Method::GET, &third(""), Value::Null).await.body;
    assert_eq!(all["identityMemberships"].as_array().map(Vec::len), Some(6));
    assert_eq!(all["totalCount"], 11, "it counts roles");
    assert_eq!(stage.at(Method::GET, &third("?limit=1001"), Value::Null).await.status, 422);
}

#[tokio::test]
async fn a_delete_removes_one_of_several_memberships_since_the_third_generation() {
    for (generations, left) in [(Generations::G1AndG2, 0), (Generations::All, 1)] {
        let stage = Stage::new().await;
        let infisical = stage.simulator.infisical();
        infisical.be(generations, ErrorStyle::Current);
        infisical.add_membership(PROJECT, IDENTITY, vec![RoleRow::permanent("viewer")]);
        infisical.add_membership(PROJECT, IDENTITY, vec![RoleRow::permanent("admin")]);
        assert_eq!(stage.delete().await.status, 200);
        assert_eq!(infisical.memberships_of(PROJECT, IDENTITY), left, "{generations:?}");
        let again = stage.post(json!({"role": "viewer"})).await;
        assert_eq!(again.status, if left == 0 { 200 } else { 400 }, "already a member");
    }
}
