//! Members of projects, management v1.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Fault, Order, Scope};

use super::support::{ORG, OTHER_ORG, OWNER, SHOP, Stage, USER, list};
use super::{OWNS, VIEWS, id, in_force};

#[tokio::test]
async fn put_is_order_sensitive() {
    let stage = Stage::new().await;
    stage.post_member(&[OWNS, VIEWS]).await;
    let same = stage.put_member(&[OWNS, VIEWS]).await;
    let other = stage.put_member(&[VIEWS, OWNS]).await;
    assert_eq!(same.body["details"]["sequence"], "2");
    assert_eq!(other.body["details"]["sequence"], "3");
}

#[tokio::test]
async fn an_identical_put_makes_no_event() {
    let stage = Stage::new().await;
    stage.post_member(&[OWNS]).await;
    let first = stage.put_member(&[VIEWS]).await;
    let second = stage.put_member(&[VIEWS]).await;
    assert_eq!(first.body, second.body);
    assert_eq!(stage.simulator.zitadel().sequence(SHOP), 3);
}

#[tokio::test]
async fn a_ghost_put_answers_200() {
    let stage = Stage::new().await;
    stage.post_member(&[OWNS]).await;
    stage.simulator.zitadel().delete_user(USER);
    let put = stage.put_member(&[VIEWS]).await;
    assert_eq!(put.status, 200);
    assert!(stage.search().await.body.get("result").is_none());
    assert!(in_force(&stage).is_empty());
    let posted = stage.post_member(&[VIEWS]).await;
    assert_eq!((posted.status, id(&posted)), (400, "COMMAND-uXHNj"));
}

#[tokio::test]
async fn a_member_of_a_deleted_project_is_a_ghost_too() {
    let stage = Stage::new().await;
    stage.post_member(&[OWNS]).await;
    stage.simulator.zitadel().delete_project(SHOP);
    assert_eq!(stage.put_member(&[VIEWS]).await.status, 200);
    assert!(in_force(&stage).is_empty());
    let project = stage.zitadel(Method::GET, &format!("/{SHOP}"), Value::Null).await;
    assert_eq!(id(&project), "QUERY-fk2fs");
}

#[tokio::test]
async fn a_wrong_org_is_answered_200_and_empty() {
    let stage = Stage::new().await;
    stage.post_member(&[OWNS]).await;
    let url = stage.simulator.zitadel().url();
    let path = format!("/management/v1/projects/{SHOP}/members");
    let header = [("x-zitadel-orgid", OTHER_ORG)];
    let ask = async |method, path: &str, body| stage.send(url, "operator", method, path, &header, body).await.unwrap();
    let searched = ask(Method::POST, &format!("{path}/_search"), json!({})).await;
    assert_eq!(searched.status, 200);
    assert!(searched.body.get("result").is_none() && searched.body["details"].get("totalResult").is_none());
    let deleted = ask(Method::DELETE, &format!("{path}/{USER}"), Value::Null).await;
    assert_eq!((deleted.status, &deleted.body), (200, &json!({"details": {"resourceOwner": OTHER_ORG}})));
    assert_eq!(in_force(&stage), [OWNS], "nothing was deleted");
    let guard = ask(Method::GET, &format!("/management/v1/projects/{SHOP}"), Value::Null).await;
    assert_eq!(id(&guard), "MANAG-SFf2a");
}

#[tokio::test]
async fn an_org_that_never_was_is_refused() {
    let stage = Stage::new().await;
    let url = stage.simulator.zitadel().url();
    let header = [("x-zitadel-orgid", "999999999999999999")];
    let path = "/management/v1/orgs/me";
    let got = stage.send(url, "operator", Method::GET, path, &header, Value::Null).await.unwrap();
    assert_eq!((got.status, id(&got)), (403, "AUTH-Bs7Ds"));
}

#[tokio::test]
async fn a_delete_of_no_member_is_200() {
    let stage = Stage::new().await;
    let never = stage.delete_member().await;
    assert_eq!((never.status, &never.body), (200, &json!({"details": {"resourceOwner": ORG}})));
    stage.post_member(&[OWNS]).await;
    let first = stage.delete_member().await;
    let again = stage.delete_member().await;
    assert_eq!(first.body, again.body, "again: the sequence and the time of the first");
}

#[tokio::test]
async fn the_last_owner_can_be_removed() {
    let stage = Stage::new().await;
    stage.post_member(&[OWNS]).await;
    assert_eq!(stage.delete_member().await.status, 200);
    assert!(in_force(&stage).is_empty());
}

#[tokio::test]
async fn search_and_rights_lag_behind_the_write() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    stage.post_member(&[OWNS]).await;
    zitadel.set_search_lag(Duration::from_secs(3600));
    stage.put_member(&[VIEWS]).await;
    zitadel.set_search_lag(Duration::ZERO);
    assert_eq!(in_force(&stage), [VIEWS]);
    zitadel.set_search_lag(Duration::from_secs(3600));
    let put = stage.put_member(&[OWNS, VIEWS]).await;
    assert_eq!(put.body["details"]["sequence"], "4");
    let row = stage.search().await.body["result"][0].clone();
    assert_eq!((&row["roles"], &row["details"]["sequence"]), (&json!([VIEWS]), &json!("3")));
    assert_eq!(in_force(&stage), [VIEWS], "rights follow the search");
    assert_eq!(zitadel.roles(SHOP, USER), [OWNS, VIEWS], "what the write side has");
    assert_eq!(stage.put_member(&[OWNS, VIEWS]).await.body["details"]["sequence"], "4", "it decides from events");
}

#[tokio::test]
async fn a_lost_write_is_cured_by_a_different_list() {
    let stage = Stage::new().await;
    stage.post_member(&[OWNS]).await;
    stage.simulator.zitadel().order(Order::next(Fault::LostWrite).on("PUT", "/members/"));
    let lost = stage.put_member(&[VIEWS]).await;
    assert_eq!((lost.status, &lost.body["details"]["sequence"]), (200, &json!("3")));
    let row = stage.search().await.body["result"][0].clone();
    assert_eq!((&row["roles"], &row["details"]["sequence"]), (&json!([OWNS]), &json!("2")));
    assert_eq!(in_force(&stage), [OWNS], "and the right is really there still");
    stage.put_member(&[VIEWS]).await;
    assert_eq!(in_force(&stage), [OWNS], "an identical PUT heals nothing");
    stage.put_member(&[VIEWS, VIEWS]).await;
    stage.put_member(&[VIEWS]).await;
    let row = stage.search().await.body["result"][0].clone();
    assert_eq!((&row["roles"], &row["details"]["sequence"]), (&json!([VIEWS]), &json!("5")));
    assert_eq!(in_force(&stage), [VIEWS]);
}

/// concurrency.json, 12 to 19.
#[tokio::test]
async fn a_lost_delete_is_repaired_by_the_third_post_and_delete() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    stage.post_member(&[OWNS]).await;
    zitadel.order(Order::next(Fault::LostWrite).on("DELETE", "/members/"));
    let first = stage.delete_member().await;
    assert_eq!((stage.delete_member().await.body, in_force(&stage)), (first.body, vec![OWNS.to_owned()]));
    assert_eq!(id(&stage.put_member(&[OWNS]).await), "PROJECT-D8JxR");
    for pair in 1..=2 {
        stage.post_member(&[OWNS]).await;
        stage.delete_member().await;
        assert_eq!(in_force(&stage), [OWNS], "pair {pair}: the POST is stuck, and the DELETE behind it");
    }
    stage.post_member(&[OWNS]).await;
    stage.delete_member().await;
    assert!(in_force(&stage).is_empty(), "the fifth try was the last one");
}

/// concurrency.json, 15: each try needs an event of a member, of any project.
#[tokio::test]
async fn a_stuck_post_holds_up_all_member_search_and_others_events_are_tries_too() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    let (other, another) = ("400623434683386999", "400623434683386998");
    zitadel.add_project(other, ORG, "other");
    zitadel.add_project(another, ORG, "another");
    stage.post_member(&[OWNS]).await;
    zitadel.order(Order::next(Fault::LostWrite).on("DELETE", "/members/"));
    stage.delete_member().await;
    stage.post_member(&[OWNS]).await;
    stage.delete_member().await;
    zitadel.set_roles(other, OWNER, &[OWNS]);
    zitadel.set_roles(another, OWNER, &[OWNS]);
    zitadel.rename_project(other, "renamed");
    assert_eq!(in_force(&stage), [OWNS], "four tries");
    assert!(zitadel.projected_roles(other, OWNER).is_empty(), "all member search of the instance is held up");
    zitadel.set_roles(other, OWNER, &[VIEWS]);
    assert!(in_force(&stage).is_empty(), "five tries");
    assert_eq!(zitadel.projected_roles(other, OWNER), [VIEWS]);
    assert_eq!(zitadel.projected_roles(another, OWNER), [OWNS]);
}

/// The roles that an instance has are its configuration's: what was given before stays, and isn't accepted again.
#[tokio::test]
async fn a_role_that_is_not_configured_any_more_is_kept_shown_removed_and_refused() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    let custom = "PROJECT_DEPLOYER";
    zitadel.configure_role(custom);
    stage.post_member(&[custom]).await;
    zitadel.unconfigure_role(custom);
    assert_eq!(stage.search().await.body["result"][0]["roles"], json!([custom]));
    assert_eq!(id(&stage.put_member(&[custom]).await), "PROJECT-3m9d", "even the list that is there");
    assert_eq!(id(&stage.put_member(&[OWNS, custom]).await), "PROJECT-3m9d");
    assert_eq!(stage.delete_member().await.status, 200);
    assert!(in_force(&stage).is_empty());
    assert_eq!(id(&stage.post_member(&[custom]).await), "PROJECT-3m9ds");
}

#[tokio::test]
async fn a_user_without_login_name_is_never_listed() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    zitadel.lose_login_name(USER);
    assert_eq!(stage.post_member(&[OWNS]).await.status, 200);
    assert_eq!(stage.put_member(&[VIEWS]).await.status, 200);
    assert!(stage.search().await.body.get("result").is_none());
    assert_eq!(in_force(&stage), [VIEWS]);
}

#[tokio::test]
async fn a_race_of_two_posts_is_lost_with_another_id() {
    let stage = Stage::new().await;
    let window = Fault::Window(Duration::from_millis(1000));
    stage.simulator.zitadel().order(Order::always(window).on("POST", "/members"));
    let (one, other) = tokio::join!(stage.post_member(&[OWNS]), stage.post_member(&[OWNS]));
    let mut ids = [id(&one), id(&other)];
    ids.sort_unstable();
    assert_eq!(ids, ["", "V3-DKcYh"]);
    assert_eq!(id(&stage.post_member(&[OWNS]).await), "PROJECT-PtXi1", "afterwards it is the usual one");
}

#[tokio::test]
async fn a_collision_writes_nothing_and_succeeds_when_repeated() {
    let stage = Stage::new().await;
    stage.post_member(&[OWNS]).await;
    stage.simulator.zitadel().order(Order::next(Fault::zitadel_collision()).on("PUT", ""));
    let collided = stage.put_member(&[VIEWS]).await;
    assert_eq!((collided.status, &collided.body["code"]), (500, &json!(2)));
    assert!(collided.body["message"].as_str().unwrap().contains("events2_pkey"));
    assert_eq!(in_force(&stage), [OWNS]);
    assert_eq!(stage.put_member(&[VIEWS]).await.status, 200);
}

#[tokio::test]
async fn grant_roles_pass_as_project_roles() {
    let stage = Stage::new().await;
    assert_eq!(stage.post_member(&["PROJECT_GRANT_OWNER"]).await.status, 200);
    assert_eq!(id(&stage.put_member(&["PROJECT_MAINTAINER"]).await), "PROJECT-3m9d");
    stage.simulator.zitadel().configure_role("PROJECT_MAINTAINER");
    assert_eq!(stage.put_member(&["PROJECT_MAINTAINER"]).await.status, 200);
}

#[tokio::test]
async fn the_default_org_lists_global_roles_only() {
    let stage = Stage::new().await;
    let path = "/members/roles/_search";
    let listed = stage.zitadel(Method::POST, path, json!({})).await;
    assert_eq!(listed.body["result"], json!(["PROJECT_OWNER_GLOBAL", "PROJECT_OWNER_VIEWER_GLOBAL"]));
}

#[tokio::test]
async fn a_caller_needs_a_role_for_that_project() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    let path = format!("/management/v1/projects/{SHOP}/members/{USER}");
    let put = || stage.call(zitadel.url(), "subject", Method::PUT, &path, json!({"roles": [VIEWS]}));
    assert_eq!((put().await.status, id(&put().await)), (404, "AUTHZ-cdgFk"));
    let elsewhere = "400623434683386999";
    zitadel.add_project(elsewhere, ORG, "elsewhere");
    zitadel.set_roles(elsewhere, USER, &[OWNS]);
    assert_eq!(id(&put().await), "AUTH-3jknH");
    zitadel.set_roles(elsewhere, USER, &[VIEWS]);
    assert_eq!(id(&put().await), "AUTH-5mWD2");
    zitadel.set_roles(SHOP, USER, &[OWNS]);
    assert_eq!(put().await.status, 200);
    assert_eq!(id(&put().await), "AUTH-5mWD2", "it has just lowered itself");
    zitadel.grant(USER, Scope::Org(ORG.to_owned()), "ORG_OWNER");
    assert_eq!(put().await.status, 200);
}

#[tokio::test]
async fn a_token_ends_with_its_user() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    let call = |token| stage.call(zitadel.url(), token, Method::GET, "/management/v1/orgs/me", Value::Null);
    assert_eq!(id(&call("unknown").await), "AUTH-7fs1e");
    assert_eq!(id(&call("subject").await), "AUTHZ-cdgFk");
    zitadel.deactivate_user(USER);
    assert_eq!(id(&call("subject").await), "AUTH-7fs1e");
    zitadel.revoke_token("operator");
    assert_eq!(id(&call("operator").await), "AUTH-7fs1e");
}

#[tokio::test]
async fn repeated_roles_are_kept_in_v1() {
    let stage = Stage::new().await;
    stage.post_member(&[OWNS, OWNS]).await;
    assert_eq!(stage.search().await.body["result"][0]["roles"], json!([OWNS, OWNS]));
    let roles = stage.simulator.zitadel().effective_roles(SHOP, USER, Timestamp::now());
    assert_eq!(list(&roles), [OWNS]);
}

#[tokio::test]
async fn a_search_without_limit_may_be_cut() {
    let stage = Stage::new().await;
    let zitadel = stage.simulator.zitadel();
    for at in 0..5 {
        let user = format!("40062343471694140{at}");
        zitadel.add_user(&user, ORG, &user);
        zitadel.set_roles(SHOP, &user, &[OWNS]);
    }
    let rows = || async {
        let found = stage.search().await.body;
        (found["result"].as_array().map(Vec::len), found["details"]["totalResult"].clone())
    };
    assert_eq!(rows().await, (Some(5), json!("5")), "the recorded version returns all");
    zitadel.set_page_limits(2, 3);
    assert_eq!(rows().await, (Some(2), json!("5")), "the total tells");
}
