//! One test for each way in which Infisical surprises (`docs/reference/infisical.md`); named after the surprise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod support;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{ErrorStyle, Fault, Generations, Order, RoleRow};
use support::{IDENTITY, OPERATOR, PROJECT, Stage, list, permanent, slugs, temporary};

const WINDOW: Fault = Fault::Window(Duration::from_millis(1000));

fn in_force(stage: &Stage, at: Timestamp) -> Vec<String> {
    let effective = stage.simulator.infisical().effective_roles(PROJECT, IDENTITY, at);
    effective.into_iter().collect()
}

#[tokio::test]
async fn a_start_in_the_future_grants_at_once() {
    let stage = Stage::new().await;
    stage.post(json!({"role": "viewer"})).await;
    let roles = json!([permanent("viewer"), temporary("admin", "2099-01-01T00:00:00Z", "1h")]);
    assert_eq!(stage.patch(json!({"roles": roles})).await.status, 200);
    assert_eq!(in_force(&stage, Timestamp::now()), ["admin", "viewer"]);
    let path = format!("/api/v2/workspace/{PROJECT}/identity-memberships/{IDENTITY}");
    let url = stage.simulator.infisical().url();
    let write = stage.call(url, "subject", Method::PATCH, &path, json!({"roles": [permanent("admin")]})).await;
    assert_eq!(write.status, 200, "the server itself grants it as well: {write:?}");
}

#[tokio::test]
async fn a_patch_replaces_the_list_and_changes_the_ids() {
    let stage = Stage::new().await;
    stage.post(json!({"roles": [permanent("viewer"), permanent("deployer")]})).await;
    let roles = json!({"roles": [permanent("viewer")]});
    let first = stage.patch(roles.clone()).await.body["roles"].clone();
    let second = stage.patch(roles).await.body["roles"].clone();
    assert_eq!(second.as_array().map(Vec::len), Some(1));
    assert_ne!(first[0]["id"], second[0]["id"]);
    let shown = stage.get().await.body["identityMembership"].clone();
    assert_eq!(shown["roles"][0]["id"], second[0]["id"]);
    assert_eq!(shown["createdAt"], shown["updatedAt"], "the membership's own times do not move");
}

#[tokio::test]
async fn two_concurrent_patches_unite_their_roles() {
    let stage = Stage::new().await;
    stage.post(json!({"role": "no-access"})).await;
    stage.simulator.infisical().order(Order::always(WINDOW).on("PATCH", ""));
    let (one, other) = tokio::join!(
        stage.patch(json!({"roles": [permanent("viewer")]})),
        stage.patch(json!({"roles": [permanent("deployer")]})),
    );
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(slugs(&stage.simulator.infisical().roles(PROJECT, IDENTITY)), ["deployer", "viewer"]);
}

#[tokio::test]
async fn equal_concurrent_patches_double_a_role() {
    let stage = Stage::new().await;
    stage.post(json!({"role": "no-access"})).await;
    stage.simulator.infisical().order(Order::always(WINDOW).on("PATCH", ""));
    let roles = || json!({"roles": [permanent("viewer")]});
    tokio::join!(stage.patch(roles()), stage.patch(roles()));
    assert_eq!(slugs(&stage.simulator.infisical().roles(PROJECT, IDENTITY)), ["viewer", "viewer"]);
}

#[tokio::test]
async fn a_reader_sees_a_patch_whole_or_not_at_all() {
    let stage = Stage::new().await;
    stage.post(json!({"role": "viewer"})).await;
    stage.simulator.infisical().order(Order::always(WINDOW).on("PATCH", ""));
    let (_, during) = tokio::join!(stage.patch(json!({"roles": [permanent("admin")]})), async {
        stage.arrived("PATCH").await;
        stage.get().await
    });
    assert_eq!(during.body["identityMembership"]["roles"][0]["role"], "viewer");
}

#[tokio::test]
async fn two_concurrent_posts_make_two_memberships() {
    let stage = Stage::october_2024().await;
    stage.simulator.infisical().order(Order::always(WINDOW).on("POST", ""));
    let (one, other) = tokio::join!(stage.post(json!({"role": "admin"})), stage.post(json!({"role": "admin"})));
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(stage.simulator.infisical().memberships_of(PROJECT, IDENTITY), 2);
    let listed = stage.infisical(Method::GET, "?search=ci-deployer", Value::Null).await;
    assert_eq!(listed.body["totalCount"], 2, "the list shows them all");
}

#[tokio::test]
async fn a_patch_writes_only_one_of_two_memberships() {
    let stage = Stage::october_2024().await;
    let infisical = stage.simulator.infisical();
    infisical.add_membership(PROJECT, IDENTITY, vec![RoleRow::permanent("admin")]);
    infisical.add_membership(PROJECT, IDENTITY, vec![RoleRow::permanent("admin")]);
    let patched = stage.patch(json!({"roles": [permanent("no-access")]})).await;
    assert_eq!(patched.status, 200);
    assert_eq!(in_force(&stage, Timestamp::now()), ["admin", "no-access"], "still admin after no-access");
    let shown = stage.get().await.body["identityMembership"].clone();
    assert_eq!(shown["roles"][0]["role"], "admin", "GET shows another one than PATCH wrote");
}

#[tokio::test]
async fn a_delete_removes_all_memberships_of_an_identity() {
    let stage = Stage::october_2024().await;
    let infisical = stage.simulator.infisical();
    infisical.add_membership(PROJECT, IDENTITY, vec![RoleRow::permanent("viewer")]);
    infisical.add_membership(PROJECT, IDENTITY, vec![RoleRow::permanent("deployer")]);
    assert_eq!(stage.delete().await.status, 200);
    assert_eq!(infisical.memberships_of(PROJECT, IDENTITY), 0);
}

#[tokio::test]
async fn a_patch_that_loses_against_a_delete_is_answered_500() {
    let stage = Stage::new().await;
    stage.post(json!({"role": "viewer"})).await;
    stage.simulator.infisical().order(Order::always(WINDOW).on("PATCH", ""));
    let (patched, deleted) = tokio::join!(stage.patch(json!({"roles": [permanent("admin")]})), async {
        stage.arrived("PATCH").await;
        stage.delete().await
    });
    assert_eq!((patched.status, deleted.status), (500, 200));
    assert!(in_force(&stage, Timestamp::now()).is_empty());
}

#[tokio::test]
async fn an_expired_row_stays() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    let start = infisical.now();
    infisical.set_roles(
        PROJECT,
        IDENTITY,
        vec![RoleRow::permanent("viewer"), RoleRow::temporary("admin", start, "1h")],
    );
    let end = infisical.roles(PROJECT, IDENTITY)[1].temporary.clone().unwrap().end;
    assert_eq!(in_force(&stage, end - SignedDuration::from_millis(1)), ["admin", "viewer"]);
    assert_eq!(in_force(&stage, end), ["viewer"], "the end itself is outside");
    infisical.set_clock_offset(SignedDuration::from_hours(2));
    let roles = stage.get().await.body["identityMembership"]["roles"].clone();
    assert_eq!(roles.as_array().map(Vec::len), Some(2), "{roles}");
}

#[tokio::test]
async fn the_literal_custom_locks_out() {
    let stage = Stage::october_2024().await;
    stage.post(json!({"role": "viewer"})).await;
    let patched = stage.patch(json!({"roles": [permanent("viewer"), permanent("custom")]})).await;
    assert_eq!(patched.status, 200);
    assert_eq!(patched.body["roles"][1]["customRoleId"], Value::Null);
    assert!(in_force(&stage, Timestamp::now()).is_empty());
    let path = format!("/api/v2/workspace/{PROJECT}/identity-memberships");
    let url = stage.simulator.infisical().url();
    let theirs = stage.call(url, "subject", Method::GET, &path, Value::Null).await;
    assert_eq!((theirs.status, &theirs.body["error"]), (404, &json!("Custom permission not found")));
    assert_eq!(stage.delete().await.status, 404, "nor can it be removed");
    stage.patch(json!({"roles": [permanent("viewer")]})).await;
    assert_eq!(stage.delete().await.status, 200, "before a PATCH repairs it");
}

#[tokio::test]
async fn a_post_without_roles_leaves_a_broken_row() {
    let stage = Stage::october_2024().await;
    assert_eq!(stage.post(json!({"roles": []})).await.status, 200);
    assert_eq!((stage.get().await.status, stage.delete().await.status), (404, 403));
    assert_eq!(stage.patch(json!({"roles": [permanent("viewer")]})).await.status, 200);
    assert_eq!((stage.get().await.status, stage.delete().await.status), (200, 200));
}

#[tokio::test]
async fn a_post_without_roles_is_refused_by_the_current_server() {
    let stage = Stage::new().await;
    assert_eq!(stage.post(json!({"roles": []})).await.status, 400);
    assert_eq!(stage.patch(json!({"roles": []})).await.status, 422);
}

#[tokio::test]
async fn only_temporary_roles_are_refused_by_the_current_server() {
    let roles = json!({"roles": [temporary("viewer", "2026-11-21T10:00:00Z", "1h")]});
    let current = Stage::new().await;
    current.post(json!({"role": "viewer"})).await;
    let refused = current.patch(roles.clone()).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.body["message"], "Identity must have at least one permanent role");
    let october = Stage::october_2024().await;
    october.post(json!({"role": "viewer"})).await;
    assert_eq!(october.patch(roles).await.status, 200);
}

#[tokio::test]
async fn temporary_fields_without_is_temporary_make_a_permanent_role() {
    let stage = Stage::new().await;
    stage.post(json!({"role": "viewer"})).await;
    let mut role = temporary("admin", "2026-11-21T10:00:00Z", "1h");
    role.as_object_mut().unwrap().remove("isTemporary");
    let patched = stage.patch(json!({"roles": [role]})).await;
    assert_eq!(patched.body["roles"][0]["isTemporary"], false);
    assert_eq!(in_force(&stage, Timestamp::MAX), ["admin"]);
}

#[tokio::test]
async fn one_built_in_role_twice_makes_two_rows_and_one_custom_role_twice_none() {
    let stage = Stage::october_2024().await;
    stage.post(json!({"role": "viewer"})).await;
    let twice = |role| json!({"roles": [permanent(role), permanent(role)]});
    assert_eq!(stage.patch(twice("member")).await.body["roles"].as_array().map(Vec::len), Some(2));
    assert_eq!(stage.patch(twice("deployer")).await.status, 404);
    assert_eq!(slugs(&stage.simulator.infisical().roles(PROJECT, IDENTITY)), ["member", "member"]);
}

#[tokio::test]
async fn a_patch_answers_custom_roles_without_their_slug() {
    let stage = Stage::new().await;
    stage.post(json!({"role": "viewer"})).await;
    let patched = stage.patch(json!({"roles": [permanent("deployer")]})).await.body["roles"][0].clone();
    assert_eq!(patched["role"], "custom");
    assert!(patched["customRoleId"].is_string() && patched.get("customRoleSlug").is_none(), "{patched}");
    let shown = stage.get().await.body["identityMembership"]["roles"][0].clone();
    assert_eq!(shown["customRoleSlug"], "deployer");
}

#[tokio::test]
async fn a_renamed_slug_keeps_its_assignments() {
    let stage = Stage::new().await;
    stage.post(json!({"role": "deployer"})).await;
    stage.simulator.infisical().rename_custom_role(PROJECT, "deployer", "releaser");
    assert_eq!(in_force(&stage, Timestamp::now()), ["releaser"]);
}

#[tokio::test]
async fn a_missing_route_is_not_found_with_a_space() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    let path = format!("/api/v1/projects/{PROJECT}/identity-memberships/{IDENTITY}");
    let ask = || stage.call(infisical.url(), "operator", Method::GET, &path, Value::Null);
    assert_eq!(ask().await.body["error"], "NotFound", "the route is there, the membership is not");
    infisical.set_generations(Generations::G1);
    let missing = ask().await;
    assert_eq!((missing.status, &missing.body["error"]), (404, &json!("Not Found")));
    assert_eq!(missing.body["message"], format!("Route GET:{path} not found"));
}

#[tokio::test]
async fn every_role_that_is_sent_must_be_the_callers_own() {
    let stage = Stage::october_2024().await;
    let infisical = stage.simulator.infisical();
    infisical.set_caller_roles(PROJECT, OPERATOR, &["member"]);
    infisical.set_roles(PROJECT, IDENTITY, vec![RoleRow::permanent("admin")]);
    let again = stage.patch(json!({"roles": [permanent("admin"), permanent("viewer")]})).await;
    assert_eq!(again.status, 403, "also one that the target has already");
    assert_eq!(again.body["message"], "Failed to change to a more privileged role");
    assert_eq!(stage.patch(json!({"roles": [permanent("viewer")]})).await.status, 200, "lowering is free");
    infisical.set_roles(PROJECT, IDENTITY, vec![RoleRow::permanent("admin")]);
    assert_eq!(stage.delete().await.body["message"], "Failed to delete more privileged identity");
}

#[tokio::test]
async fn a_caller_may_do_what_its_roles_in_force_allow() {
    let stage = Stage::october_2024().await;
    let infisical = stage.simulator.infisical();
    infisical.set_caller_roles(PROJECT, OPERATOR, &["viewer"]);
    assert_eq!(stage.infisical(Method::GET, "", Value::Null).await.status, 200);
    assert_eq!(stage.post(json!({})).await.body["message"], "You are not allowed to create on identity");
    let ended = RoleRow::temporary("admin", infisical.now() - SignedDuration::from_hours(2), "1h");
    infisical.set_roles(PROJECT, OPERATOR, vec![ended]);
    assert_eq!(stage.infisical(Method::GET, "", Value::Null).await.body["error"], "PermissionDenied");
    infisical.remove_member(PROJECT, OPERATOR);
    assert_eq!(
        stage.infisical(Method::GET, "", Value::Null).await.body["error"],
        "Identity is not a member of the specified project"
    );
}

#[tokio::test]
async fn a_missing_project_is_403_in_october_2024_and_404_now() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.delete_project(PROJECT);
    let now = stage.get().await;
    assert_eq!(now.status, 404);
    assert!(now.body["message"].as_str().unwrap().starts_with("Project with"), "{now:?}");
    infisical.set_error_style(ErrorStyle::October2024);
    assert_eq!((stage.get().await.status, stage.delete().await.status), (403, 404));
}

#[tokio::test]
async fn no_member_to_change_is_404_in_october_2024_and_400_or_500_now() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    let roles = json!({"roles": [permanent("viewer")]});
    let changed = stage.patch(roles.clone()).await;
    assert_eq!((changed.status, &changed.body["message"]), (400, &json!("Identity doesn't have membership")));
    assert!(changed.body["reqId"].is_string());
    infisical.delete_identity(IDENTITY);
    assert_eq!((stage.patch(roles.clone()).await.status, stage.delete().await.status), (500, 500));
    assert_eq!(stage.post(json!({})).await.status, 400);
    infisical.set_error_style(ErrorStyle::October2024);
    assert_eq!((stage.patch(roles).await.status, stage.delete().await.status), (404, 404));
    assert_eq!(stage.post(json!({})).await.status, 404);
}

#[tokio::test]
async fn an_identity_may_remove_itself_in_october_2024_only() {
    let stage = Stage::new().await;
    let path = format!("/{OPERATOR}");
    let myself = || stage.infisical(Method::DELETE, &path, Value::Null);
    assert_eq!(myself().await.body["message"], "You can't delete your own membership");
    stage.simulator.infisical().be_october_2024();
    assert_eq!(myself().await.status, 200);
    assert_eq!(stage.get().await.status, 403, "it has locked itself out");
}

#[tokio::test]
async fn a_form_error_is_401_in_october_2024_and_422_now() {
    let stage = Stage::new().await;
    assert_eq!(stage.patch(json!({"roles": "admin"})).await.status, 422);
    stage.simulator.infisical().set_error_style(ErrorStyle::October2024);
    assert_eq!(stage.patch(json!({"roles": "admin"})).await.status, 401);
}

#[tokio::test]
async fn offset_without_limit_is_ignored() {
    let stage = Stage::new().await;
    for (at, role) in [(1, "viewer"), (2, "member"), (3, "admin")] {
        let id = format!("00000000-0000-4000-8000-00000000000{at}");
        stage.simulator.infisical().set_caller_roles(PROJECT, &id, &[role]);
    }
    let rows = async |query: &str| {
        let listed = stage.infisical(Method::GET, query, Value::Null).await.body;
        (listed["identityMemberships"].as_array().map(Vec::len), listed["totalCount"].clone())
    };
    assert_eq!(rows("?offset=3").await, (Some(4), json!(4)));
    assert_eq!(rows("?offset=3&limit=2").await, (Some(1), json!(4)));
    assert_eq!(rows("?limit=2").await, (Some(2), json!(4)));
    assert_eq!(stage.infisical(Method::GET, "?limit=20001", Value::Null).await.status, 422);
}

#[tokio::test]
async fn pages_lose_and_double_rows_of_equal_names() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    for at in 1..=6 {
        let id = format!("00000000-0000-4000-8000-00000000000{at}");
        infisical.add_identity(&id, "robot");
        infisical.set_caller_roles(PROJECT, &id, &["viewer"]);
    }
    let mut seen = std::collections::BTreeSet::new();
    for offset in [0, 2, 4, 6] {
        let page = stage.infisical(Method::GET, &format!("?limit=2&offset={offset}"), Value::Null).await.body;
        for row in page["identityMemberships"].as_array().unwrap() {
            seen.insert(row["id"].as_str().unwrap().to_owned());
        }
    }
    assert!(seen.len() < 7, "though nothing was written meanwhile");
    let at_once = stage.infisical(Method::GET, "?limit=20000", Value::Null).await.body;
    assert_eq!(at_once["identityMemberships"].as_array().map(Vec::len), Some(7), "one large request has them all");
}

#[tokio::test]
async fn effective_access_is_over_all_memberships() {
    let stage = Stage::new().await;
    let infisical = stage.simulator.infisical();
    infisical.add_membership(PROJECT, IDENTITY, vec![RoleRow::permanent("viewer")]);
    infisical.add_membership(PROJECT, IDENTITY, vec![RoleRow::permanent("deployer")]);
    let roles = infisical.effective_roles(PROJECT, IDENTITY, Timestamp::now());
    assert_eq!(list(&roles), ["deployer", "viewer"]);
}
