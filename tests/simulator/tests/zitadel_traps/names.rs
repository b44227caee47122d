//! Ids from names (`docs/reference/zitadel.md`, Names).

use reqwest::Method;
use serde_json::{Value, json};
use simulator::Scope;

use super::support::{Got, ORG, OTHER_ORG, OWNER, SHOP, Stage, USER};
use super::{id, under};

const ADA: &str = "400623434800827430";
const NAMESAKE: &str = "400623434800827431";

async fn stage() -> Stage {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.add_human(ADA, ORG, "ada", "Ada", "Lovelace", "ada@acme.example");
    zitadel.add_human(NAMESAKE, ORG, "ada2", "Ada", "King", "ada@acme.example");
    stage
}

async fn users(stage: &Stage, query: Value) -> Vec<String> {
    let found = under(stage, ORG, Method::POST, "/users/_search", json!({"queries": [query]})).await;
    let rows = found.body["result"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

async fn v2(stage: &Stage, method: Method, path: &str, body: Value) -> Got {
    stage.call(stage.simulator.zitadel().url(), "operator", method, path, body).await
}

#[tokio::test]
async fn an_unknown_method_means_equals() {
    let stage = stage().await;
    let by = async |method: &str| users(&stage, json!({"userNameQuery": {"userName": "ada", "method": method}})).await;
    assert_eq!(by("TEXT_QUERY_METHOD_STARTS_WITH").await, [NAMESAKE, ADA]);
    assert_eq!(by("STARTS_WITH").await, [ADA]);
    assert_eq!(by("").await, [ADA]);
}

#[tokio::test]
async fn a_misspelt_field_matches_everybody_with_contains() {
    let stage = stage().await;
    let by = async |method: &str| {
        users(&stage, json!({"emailQuery": {"email": "nobody@acme.example", "method": method}})).await
    };
    assert!(by("TEXT_QUERY_METHOD_EQUALS").await.is_empty());
    assert_eq!(by("TEXT_QUERY_METHOD_CONTAINS").await, [NAMESAKE, ADA], "every user with an address");
}

#[tokio::test]
async fn an_e_mail_address_is_not_unique() {
    let stage = stage().await;
    let query = json!({"emailQuery": {"emailAddress": "ada@acme.example"}});
    assert_eq!(users(&stage, query).await, [NAMESAKE, ADA]);
    stage.simulator.zitadel().set_email(NAMESAKE, "king@acme.example");
    let query = json!({"emailQuery": {"emailAddress": "ada@acme.example"}});
    assert_eq!(users(&stage, query).await, [ADA]);
}

#[tokio::test]
async fn a_renamed_user_and_project_keep_their_ids() {
    let stage = stage().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.rename_user(ADA, "countess");
    assert!(users(&stage, json!({"userNameQuery": {"userName": "ada"}})).await.is_empty());
    assert_eq!(users(&stage, json!({"loginNameQuery": {"loginName": "countess"}})).await, [ADA]);
    zitadel.rename_project(SHOP, "store");
    let query = json!({"queries": [{"nameQuery": {"name": "store"}}]});
    let found = under(&stage, ORG, Method::POST, "/projects/_search", query).await;
    assert_eq!(found.body["result"][0]["id"], SHOP);
}

#[tokio::test]
async fn a_user_of_another_org_is_not_found_with_another_id() {
    let stage = stage().await;
    let path = format!("/users/{ADA}");
    assert_eq!(under(&stage, ORG, Method::GET, &path, Value::Null).await.status, 200);
    assert_eq!(id(&under(&stage, OTHER_ORG, Method::GET, &path, Value::Null).await), "MANAG-fpo4B");
    stage.simulator.zitadel().delete_user(ADA);
    assert_eq!(id(&under(&stage, ORG, Method::GET, &path, Value::Null).await), "QUERY-Dfbg2");
    let other = v2(&stage, Method::GET, &format!("/v2/users/{USER}"), Value::Null).await;
    assert_eq!(other.body["user"]["userId"], USER, "v2 needs no header");
}

#[tokio::test]
async fn user_names_repeat_where_login_names_end_in_the_domain() {
    let stage = stage().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.set_names_end_in_domain(OTHER_ORG, true);
    zitadel.add_user("400623434800827432", OTHER_ORG, "ci-deployer");
    let by = async |query: Value| {
        let found = v2(&stage, Method::POST, "/v2/users", json!({"queries": [query]})).await;
        found.body["result"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(by(json!({"userNameQuery": {"userName": "ci-deployer"}})).await, 2);
    assert_eq!(by(json!({"loginNameQuery": {"loginName": "ci-deployer"}})).await, 1);
}

#[tokio::test]
async fn v2_counts_projects_that_it_hides_and_not_users() {
    let stage = stage().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.add_project("400623434683386919", OTHER_ORG, "shop");
    zitadel.add_user("400623434800827432", OTHER_ORG, "ci-deployer");
    zitadel.take_rights(OWNER, &Scope::Instance);
    zitadel.grant(OWNER, Scope::Org(ORG.to_owned()), "ORG_OWNER");
    let filter = json!({"filters": [{"projectNameFilter": {"projectName": "shop"}}]});
    let projects = v2(&stage, Method::POST, "/zitadel.project.v2.ProjectService/ListProjects", filter).await.body;
    assert_eq!(projects["projects"].as_array().map(Vec::len), Some(1));
    assert_eq!(projects["pagination"]["totalResult"], "2");
    let query = json!({"queries": [{"userNameQuery": {"userName": "ci-deployer"}}]});
    let users = v2(&stage, Method::POST, "/v2/users", query).await.body;
    assert_eq!(users["details"]["totalResult"], "1");
}

#[tokio::test]
async fn a_user_without_login_name_has_none_to_show() {
    let stage = stage().await;
    stage.simulator.zitadel().lose_login_name(ADA);
    let shown = under(&stage, ORG, Method::GET, &format!("/users/{ADA}"), Value::Null).await;
    assert_eq!((shown.status, shown.body["user"].get("loginNames")), (200, None));
}
