//! v2's answers to callers of all kinds, as the summary of the recording has them (permissions.json).

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};

use super::support::Stage;
use super::{administrators, id};

const PROJECT: &str = "400624341055704102";
const TARGET: &str = "400624341072546854";

fn contract(path: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../contracts/zitadel").join(path);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn v2_looks_at_rights_in_the_method_with_other_ids() {
    let recorded = contract("permissions.json");
    let file = contract("worlds/permissions.json");
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.load(&serde_json::from_value(file["world"].clone()).unwrap());
    // A user who was added after this part was recorded.
    zitadel.remove_member(PROJECT, "400624345971428390");
    let callers = recorded["summary"].as_array().unwrap();
    for row in callers {
        let caller = row["caller"].as_str().unwrap();
        let token = file["callers"][format!("Bearer token: {caller}")].as_str().unwrap();
        zitadel.set_roles(PROJECT, TARGET, &["PROJECT_OWNER_VIEWER"]);
        let body = json!({"userId": TARGET, "resource": {"projectId": PROJECT}, "roles": ["PROJECT_OWNER"]});
        let updated = administrators(&stage, token, "Update", body).await;
        let shown = format!("{} {}", updated.status, id(&updated));
        assert_eq!(shown.trim(), row["answers"]["v2 update"], "{caller}");
        let body = json!({"filters": [{"resource": {"projectId": PROJECT}}]});
        let listed = administrators(&stage, token, "List", body).await.body;
        let rows = listed["administrators"].as_array().map_or(0, Vec::len);
        let shown = format!("200 rows {rows} total {}", listed["pagination"]["totalResult"].as_str().unwrap());
        assert_eq!(shown, row["answers"]["v2 list"], "{caller}");
    }
    assert_eq!(callers.len(), 17);
}

#[tokio::test]
async fn an_owner_of_one_project_finds_only_that_one_by_name() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.add_project("400623434683386919", super::support::ORG, "shop floor");
    zitadel.set_roles(super::support::SHOP, super::support::USER, &["PROJECT_OWNER"]);
    let body = json!({"queries": [{"nameQuery": {"name": "shop", "method": "TEXT_QUERY_METHOD_STARTS_WITH"}}]});
    let path = "/management/v1/projects/_search";
    let found = stage.call(zitadel.url(), "subject", Method::POST, path, body).await.body;
    assert_eq!(found["details"]["totalResult"], "1");
    assert_eq!(found["result"][0]["name"], "shop");
}
