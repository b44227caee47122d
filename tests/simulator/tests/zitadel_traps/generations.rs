//! Servers of different ages, and one that is upgraded while it runs.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::ServerGeneration;

use super::support::{ORG, OTHER_ORG, SHOP, Stage};
use super::{OWNS, administrators, id, under};

#[tokio::test]
async fn an_identical_put_is_refused_up_to_v3() {
    let stage = Stage::new().await;
    stage.simulator.zitadel().set_generation(ServerGeneration::V3);
    stage.post_member(&[OWNS]).await;
    let same = stage.put_member(&[OWNS]).await;
    assert_eq!((same.status, &same.body["code"], id(&same)), (400, &json!(9), "PROJECT-LiaZi"));
    let empty = stage.put_member(&[]).await;
    assert_eq!((empty.status, &empty.body["code"], id(&empty)), (400, &json!(3), "PROJECT-LiaZi"));
}

#[tokio::test]
async fn v3_has_no_v2_and_a_later_server_may_have_no_v1_members() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.add_project_grant("400623621984226342", SHOP, OTHER_ORG);
    let v1 = async || stage.search().await;
    let of_grant = async || {
        let path = format!("/projects/{SHOP}/grants/400623621984226342/members/_search");
        under(&stage, ORG, Method::POST, &path, json!({})).await.status
    };
    let v2 = async || administrators(&stage, "operator", "List", json!({})).await;
    zitadel.set_generation(ServerGeneration::V3);
    let unknown = v2().await;
    assert_eq!((v1().await.status, unknown.status, unknown.body), (200, 404, json!("404 page not found\n")));
    zitadel.set_generation(ServerGeneration::V4);
    assert_eq!((v1().await.status, of_grant().await, v2().await.status), (200, 200, 200));
    zitadel.set_generation(ServerGeneration::V2Only);
    let gone = v1().await;
    assert_eq!((gone.status, gone.body), (404, json!({"code": 5, "message": "Not Found"})));
    assert_eq!((of_grant().await, v2().await.status), (404, 200));
    let project = under(&stage, ORG, Method::GET, &format!("/projects/{SHOP}"), Value::Null).await;
    assert_eq!(project.status, 200, "a project can still be read");
}

#[tokio::test]
async fn the_generation_is_set_from_outside() {
    let stage = Stage::new().await;
    let url = stage.simulator.zitadel().url();
    let path = "/_simulator/generation";
    let set = stage.call(url, "", Method::POST, path, json!({"generation": "v2Only"})).await;
    assert_eq!((set.status, &set.body), (200, &json!({"generation": "v2Only"})));
    assert_eq!(stage.search().await.status, 404);
}
