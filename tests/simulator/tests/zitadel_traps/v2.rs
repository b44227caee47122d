//! v2: the administrators of projects (`docs/reference/zitadel.md`, v2).

use serde_json::{Value, json};
use simulator::{Fault, Order};

use super::support::{Got, OTHER_ORG, OWNER, SHOP, Stage, USER};
use super::{OWNS, VIEWS, administrators, id, in_force};

async fn write(stage: &Stage, method: &str, roles: &[&str]) -> Got {
    let body = json!({"userId": USER, "resource": {"projectId": SHOP}, "roles": roles});
    administrators(stage, "operator", method, body).await
}

async fn list(stage: &Stage, token: &str, mut body: Value) -> Got {
    if body.get("filters").is_none() && body.get("filter").is_none() {
        body["filters"] = json!([{"resource": {"projectId": SHOP}}]);
    }
    administrators(stage, token, "List", body).await
}

fn rows(got: &Got) -> usize {
    got.body["administrators"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_v2_write_has_a_date_and_no_sequence() {
    let stage = Stage::new().await;
    let created = write(&stage, "Create", &[OWNS]).await;
    let listed = list(&stage, "operator", json!({})).await;
    assert_eq!(listed.body["administrators"][0]["changeDate"], created.body["creationDate"]);
    let changed = write(&stage, "Update", &[VIEWS]).await;
    assert_eq!(changed.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["changeDate"]);
    assert_eq!(write(&stage, "Update", &[VIEWS]).await.body, changed.body, "the same roles: the old date");
    let deleted = write(&stage, "Delete", &[]).await;
    assert_eq!(write(&stage, "Delete", &[]).await.body, deleted.body);
}

#[tokio::test]
async fn v2_finds_the_organization_automatically() {
    let stage = Stage::new().await;
    write(&stage, "Create", &[OWNS]).await;
    let path = "/zitadel.internal_permission.v2.InternalPermissionService/UpdateAdministrator";
    let body = json!({"userId": USER, "resource": {"projectId": SHOP}, "roles": [VIEWS]});
    let header = [("x-zitadel-orgid", OTHER_ORG)];
    let url = stage.simulator.zitadel().url();
    let got = stage.send(url, "operator", reqwest::Method::POST, path, &header, body).await.unwrap();
    assert_eq!(got.status, 200);
    assert_eq!(in_force(&stage), [VIEWS]);
}

#[tokio::test]
async fn a_misspelt_filter_lists_everything() {
    let stage = Stage::new().await;
    write(&stage, "Create", &[OWNS]).await;
    assert_eq!(rows(&list(&stage, "operator", json!({})).await), 1);
    let all = list(&stage, "operator", json!({"filter": [{"resource": {"projectId": SHOP}}]})).await;
    assert_eq!(rows(&all), 2, "the owner of the instance too");
}

#[tokio::test]
async fn without_rights_the_rows_are_hidden_and_counted() {
    let stage = Stage::new().await;
    stage.simulator.zitadel().set_roles(SHOP, OWNER, &[OWNS]);
    let hidden = list(&stage, "subject", json!({})).await;
    assert_eq!((hidden.status, rows(&hidden)), (200, 0));
    assert_eq!(hidden.body["pagination"]["totalResult"], "1");
    write(&stage, "Create", &["PROJECT_GRANT_OWNER"]).await;
    let own = list(&stage, "subject", json!({})).await;
    assert_eq!((rows(&own), &own.body["pagination"]["totalResult"]), (1, &json!("2")), "its own row it sees");
    let short = list(&stage, "subject", json!({"pagination": {"limit": 1, "offset": 1}})).await;
    assert_eq!((rows(&short), &short.body["pagination"]["totalResult"]), (0, &json!("2")), "a page may be short");
}

#[tokio::test]
async fn a_page_of_v2_has_100_rows_and_never_more_than_1000() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    for at in 0..101 {
        let user = format!("400623434716950{at:03}");
        zitadel.add_user(&user, OTHER_ORG, &user);
        zitadel.set_roles(SHOP, &user, &[OWNS]);
    }
    assert_eq!(rows(&list(&stage, "operator", json!({})).await), 100);
    assert_eq!(rows(&list(&stage, "operator", json!({"pagination": {"limit": 0}})).await), 100);
    assert_eq!(rows(&list(&stage, "operator", json!({"pagination": {"limit": 1000}})).await), 101);
    let refused = list(&stage, "operator", json!({"pagination": {"limit": 1001}})).await;
    assert_eq!((refused.status, id(&refused)), (400, "QUERY-4M0fs"));
}

#[tokio::test]
async fn v2_refuses_repeated_roles() {
    let stage = Stage::new().await;
    write(&stage, "Create", &[OWNS]).await;
    let refused = write(&stage, "Update", &[VIEWS, VIEWS]).await;
    assert_eq!((refused.status, &refused.body["code"]), (400, &json!("invalid_argument")));
    assert_eq!(in_force(&stage), [OWNS]);
}

#[tokio::test]
async fn a_v2_lost_write_is_cured_by_another_order() {
    let stage = Stage::new().await;
    write(&stage, "Create", &[VIEWS]).await;
    stage.simulator.zitadel().order(Order::next(Fault::LostWrite).on("POST", "UpdateAdministrator"));
    assert_eq!(write(&stage, "Update", &[OWNS, VIEWS]).await.status, 200);
    let row = list(&stage, "operator", json!({})).await.body["administrators"][0].clone();
    assert_eq!(row["roles"], json!([VIEWS]), "the same projection is underneath");
    write(&stage, "Update", &[OWNS, VIEWS]).await;
    assert_eq!(in_force(&stage), [VIEWS]);
    write(&stage, "Update", &[VIEWS, OWNS]).await;
    assert_eq!(in_force(&stage), [OWNS, VIEWS]);
}

#[tokio::test]
async fn the_ghost_stays_in_v2() {
    let stage = Stage::new().await;
    write(&stage, "Create", &[OWNS]).await;
    stage.simulator.zitadel().delete_user(USER);
    assert_eq!(write(&stage, "Update", &[VIEWS]).await.status, 200);
    assert_eq!(rows(&list(&stage, "operator", json!({})).await), 0);
    assert_eq!(id(&write(&stage, "Create", &[VIEWS]).await), "COMMAND-uXHNj");
}

#[tokio::test]
async fn a_delete_of_no_member_is_200_even_without_rights() {
    let stage = Stage::new().await;
    let body = json!({"userId": OWNER, "resource": {"projectId": SHOP}});
    let unknown = administrators(&stage, "subject", "Delete", body.clone()).await;
    assert_eq!((unknown.status, &unknown.body), (200, &json!({})));
    stage.simulator.zitadel().set_roles(SHOP, OWNER, &[OWNS]);
    let refused = administrators(&stage, "subject", "Delete", body).await;
    assert_eq!((refused.status, &refused.body["code"], id(&refused)), (404, &json!("not_found"), "AUTHZ-cdgFk"));
}
