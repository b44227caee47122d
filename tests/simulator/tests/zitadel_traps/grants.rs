//! Members of grants: what is different about them (`docs/reference/zitadel.md`, Grant members differ).

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Fault, Order, Scope};

use super::support::{Got, ORG, OTHER_ORG, OWNER, SHOP, Stage, USER};
use super::{id, under};

const GRANT: &str = "400623621984226342";
const THIRD: &str = "400623621900340262";
const OWNS: &str = "PROJECT_GRANT_OWNER";
const VIEWS: &str = "PROJECT_GRANT_OWNER_VIEWER";

/// The project is granted to the other organisation.
async fn stage() -> Stage {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.add_org(THIRD, "third");
    zitadel.add_project_grant(GRANT, SHOP, OTHER_ORG);
    stage
}

async fn members(stage: &Stage, org: &str, method: Method, rest: &str, body: Value) -> Got {
    under(stage, org, method, &format!("/projects/{SHOP}/grants/{GRANT}/members{rest}"), body).await
}

async fn post(stage: &Stage, org: &str, roles: &[&str]) -> Got {
    members(stage, org, Method::POST, "", json!({"userId": USER, "roles": roles})).await
}

async fn put(stage: &Stage, org: &str, roles: &[&str]) -> Got {
    members(stage, org, Method::PUT, &format!("/{USER}"), json!({"roles": roles})).await
}

async fn rows(stage: &Stage, org: &str) -> usize {
    let found = members(stage, org, Method::POST, "/_search", json!({})).await;
    found.body["result"].as_array().map_or(0, Vec::len)
}

fn in_force(stage: &Stage) -> Vec<String> {
    stage.simulator.zitadel().effective_roles((SHOP, GRANT), USER, Timestamp::now()).into_iter().collect()
}

#[tokio::test]
async fn an_existing_grant_member_is_404_or_409_by_the_header() {
    let stage = stage().await;
    assert_eq!(post(&stage, OTHER_ORG, &[OWNS]).await.status, 200);
    let owning = post(&stage, ORG, &[OWNS]).await;
    assert_eq!((owning.status, id(&owning)), (404, "PROJECT-37fug"));
    assert_eq!(owning.body["details"][0]["message"], "Errors.AlreadyExists", "only the text tells it from not found");
    for org in [OTHER_ORG, THIRD] {
        let other = post(&stage, org, &[OWNS]).await;
        assert_eq!((other.status, id(&other)), (409, "V3-DKcYh"));
    }
}

#[tokio::test]
async fn writes_work_under_any_header_and_search_under_two() {
    let stage = stage().await;
    post(&stage, THIRD, &[OWNS]).await;
    let written = put(&stage, THIRD, &[VIEWS]).await;
    assert_eq!((written.status, &written.body["details"]["resourceOwner"]), (200, &json!(ORG)));
    assert_eq!([rows(&stage, ORG).await, rows(&stage, OTHER_ORG).await, rows(&stage, THIRD).await], [1, 1, 0]);
    assert_eq!(stage.search().await.body.get("result"), None, "the project's own members are others");
    members(&stage, THIRD, Method::DELETE, &format!("/{USER}"), Value::Null).await;
    assert!(in_force(&stage).is_empty());
}

#[tokio::test]
async fn a_grants_ghost_is_404_unless_the_granted_org_went() {
    let deleted = stage().await;
    post(&deleted, ORG, &[OWNS]).await;
    deleted.simulator.zitadel().delete_user(USER);
    let put_of_deleted = put(&deleted, ORG, &[VIEWS]).await;
    assert_eq!((put_of_deleted.status, id(&put_of_deleted)), (404, "PROJECT-37fug"));

    let removed = stage().await;
    post(&removed, ORG, &[OWNS]).await;
    removed.simulator.zitadel().delete_project_grant(GRANT);
    assert_eq!(id(&put(&removed, ORG, &[VIEWS]).await), "PROJECT-37fug");
    let posted = post(&removed, ORG, &[VIEWS]).await;
    assert_eq!((posted.status, id(&posted)), (404, "PROJECT-D8JxR"), "POST it, says a project's PUT with this id");

    let orphaned = stage().await;
    post(&orphaned, ORG, &[OWNS]).await;
    orphaned.simulator.zitadel().delete_org(OTHER_ORG);
    assert_eq!(put(&orphaned, ORG, &[VIEWS]).await.status, 200);
    assert!(in_force(&orphaned).is_empty(), "200, and nothing is there");
}

#[tokio::test]
async fn a_grant_takes_only_its_own_roles() {
    let stage = stage().await;
    assert_eq!(id(&post(&stage, ORG, &["PROJECT_OWNER"]).await), "PROJECT-m9gKK");
    assert_eq!(id(&post(&stage, ORG, &[]).await), "PROJECT-8fi7G");
    post(&stage, ORG, &[OWNS]).await;
    assert_eq!(id(&put(&stage, ORG, &["PROJECT_OWNER"]).await), "PROJECT-m0sDf");
    assert_eq!(id(&put(&stage, ORG, &[]).await), "PROJECT-109fs");
    let listed = under(&stage, OTHER_ORG, Method::POST, "/projects/grants/members/roles/_search", json!({})).await;
    assert_eq!(listed.body["result"], json!([OWNS, VIEWS]));
}

#[tokio::test]
async fn rights_on_a_grants_members_are_those_in_the_granted_org() {
    let stage = stage().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.take_rights(OWNER, &Scope::Instance);
    zitadel.grant(OWNER, Scope::Org(ORG.to_owned()), "ORG_OWNER");
    assert_eq!(id(&post(&stage, ORG, &[OWNS]).await), "AUTHZ-cdgFk", "the project's owner has none");
    zitadel.set_roles((SHOP, GRANT), OWNER, &[VIEWS]);
    assert_eq!(id(&post(&stage, ORG, &[OWNS]).await), "AUTH-AWfge");
    zitadel.set_roles((SHOP, GRANT), OWNER, &[OWNS]);
    assert_eq!(post(&stage, ORG, &[OWNS]).await.status, 200, "an owner of the grant has");
    zitadel.take_rights(OWNER, &Scope::Org(ORG.to_owned()));
    assert_eq!(put(&stage, OTHER_ORG, &[VIEWS]).await.status, 200, "nothing else is needed");
}

#[tokio::test]
async fn each_side_of_a_grant_reads_its_owner_on_another_path() {
    let stage = stage().await;
    let ask = async |org: &str, path: &str| {
        let path = format!("/{path}/{SHOP}/grants/{GRANT}");
        under(&stage, org, Method::GET, &path, Value::Null).await
    };
    assert_eq!(ask(ORG, "projects").await.body["projectGrant"]["grantedOrgId"], OTHER_ORG);
    assert_eq!(ask(OTHER_ORG, "granted_projects").await.body["grantedProject"]["projectOwnerId"], ORG);
    assert_eq!(id(&ask(THIRD, "projects").await), "MANAG-d3g31");
    assert_eq!(id(&ask(THIRD, "granted_projects").await), "MANAG-drt2a");
    stage.simulator.zitadel().delete_project_grant(GRANT);
    assert_eq!(id(&ask(ORG, "projects").await), "QUERY-n98GGs");
}

#[tokio::test]
async fn a_grants_lost_write_is_cured_like_a_projects() {
    let stage = stage().await;
    post(&stage, ORG, &[OWNS]).await;
    stage.simulator.zitadel().order(Order::next(Fault::LostWrite).on("PUT", "/members/"));
    assert_eq!(put(&stage, ORG, &[VIEWS]).await.status, 200);
    assert_eq!(in_force(&stage), [OWNS]);
    put(&stage, ORG, &[VIEWS]).await;
    assert_eq!(in_force(&stage), [OWNS], "an identical PUT heals nothing");
    put(&stage, ORG, &[VIEWS, VIEWS]).await;
    put(&stage, ORG, &[VIEWS]).await;
    assert_eq!(in_force(&stage), [VIEWS]);
}
