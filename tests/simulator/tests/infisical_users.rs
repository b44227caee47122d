//! How memberships of users surprise (`docs/reference/infisical.md`, Users and groups); named after the surprise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod support;

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Fault, Mail, Order, OrgRole, RoleRow};
use support::{EMAIL, Got, OPERATOR, PERSON, PROJECT, Stage, list, permanent, slugs, temporary};

const WINDOW: Fault = Fault::Window(Duration::from_millis(1000));

fn v1(rest: &str) -> String {
    format!("/api/v1/workspace/{PROJECT}/memberships{rest}")
}

fn v2() -> String {
    format!("/api/v2/workspace/{PROJECT}/memberships")
}

fn now(rest: &str) -> String {
    format!("/api/v1/projects/{PROJECT}/memberships{rest}")
}

/// The operator's invitation of these e-mail addresses, in October 2024.
async fn invite(stage: &Stage, emails: &[&str]) -> Got {
    stage.at(Method::POST, &v2(), json!({"emails": emails})).await
}

fn member(stage: &Stage, role: &str) -> String {
    let infisical = stage.simulator.infisical();
    infisical.set_roles(PROJECT, PERSON, vec![RoleRow::permanent(role)]);
    infisical.membership_ids(PROJECT, PERSON)[0].clone()
}

fn in_force(stage: &Stage) -> Vec<String> {
    stage.simulator.infisical().effective_roles(PROJECT, PERSON, Timestamp::now()).into_iter().collect()
}

fn mail(to: &str, subject: &str) -> Mail {
    Mail { to: to.to_owned(), subject: subject.to_owned() }
}

#[tokio::test]
async fn a_new_user_is_always_member_in_october_2024() {
    let stage = Stage::october_2024().await;
    let made = stage.at(Method::POST, &v2(), json!({"emails": [EMAIL], "roleSlugs": ["viewer"]})).await;
    assert_eq!((made.status, &made.body["memberships"][0]["userId"]), (200, &json!(PERSON)));
    assert!(made.body["memberships"][0].get("roles").is_none(), "{made:?}");
    assert_eq!(in_force(&stage), ["member"], "roleSlugs is accepted and ignored");
}

#[tokio::test]
async fn role_slugs_count_now() {
    let stage = Stage::new().await;
    let roles = json!({"emails": [EMAIL], "roleSlugs": ["viewer", "deployer"]});
    assert_eq!(stage.at(Method::POST, &now(""), roles).await.status, 200);
    assert_eq!(in_force(&stage), ["deployer", "viewer"]);
    assert_eq!(stage.simulator.infisical().mails(), [mail(EMAIL, "Infisical project invitation")]);
}

#[tokio::test]
async fn who_is_a_member_already_is_left_out_without_a_word() {
    for (stage, path) in [(Stage::october_2024().await, v2()), (Stage::new().await, now(""))] {
        member(&stage, "viewer");
        let again = stage.at(Method::POST, &path, json!({"emails": [EMAIL], "roleSlugs": ["admin"]})).await;
        assert_eq!((again.status, &again.body), (200, &json!({"memberships": []})));
        assert_eq!(in_force(&stage), ["viewer"]);
        assert!(stage.simulator.infisical().mails().is_empty());
    }
}

#[tokio::test]
async fn a_typo_makes_an_account_and_a_mail() {
    let stage = Stage::october_2024().await;
    let infisical = stage.simulator.infisical();
    infisical.set_org_role(OPERATOR, OrgRole::Admin);
    for name in ["adda@acme.example", "ADA@acme.example"] {
        assert_eq!(invite(&stage, &[name]).await.status, 200);
        assert!(infisical.accounts().contains(&name.to_owned()), "another letter case is another name");
    }
    let subject = "Infisical organization invitation";
    assert_eq!(infisical.mails(), [mail("adda@acme.example", subject), mail("ADA@acme.example", subject)]);
    let url = format!("{}/_simulator/mails", infisical.url());
    let shown: Value =
        serde_json::from_str(&stage.client.get(url).send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!((&shown["count"], shown["accounts"].as_array().map(Vec::len)), (&json!(2), Some(3)));
}

#[tokio::test]
async fn inviting_a_user_from_outside_needs_an_administrator_of_the_organization() {
    let stage = Stage::october_2024().await;
    let infisical = stage.simulator.infisical();
    for role in [OrgRole::NoAccess, OrgRole::Member] {
        infisical.set_org_role(OPERATOR, role);
        let refused = invite(&stage, &["new@acme.example"]).await;
        assert_eq!((refused.status, &refused.body["error"]), (403, &json!("PermissionDenied")));
    }
    assert!(infisical.mails().is_empty());
    assert_eq!(infisical.accounts(), [EMAIL]);
}

#[tokio::test]
async fn a_refused_invitation_leaves_an_account_behind_now() {
    let stage = Stage::new().await;
    let refused = stage.at(Method::POST, &now(""), json!({"emails": ["new@acme.example"]})).await;
    assert_eq!((refused.status, &refused.body["error"]), (403, &json!("PermissionDenied")));
    let infisical = stage.simulator.infisical();
    assert!(infisical.accounts().contains(&"new@acme.example".to_owned()));
    assert!(infisical.mails().is_empty());
}

#[tokio::test]
async fn names_in_capitals_are_refused_now() {
    let stage = Stage::new().await;
    let refused = stage.at(Method::POST, &now(""), json!({"emails": ["ADA@acme.example"]})).await;
    assert_eq!((refused.status, &refused.body["error"]), (422, &json!("ValidationFailure")));
}

#[tokio::test]
async fn users_refuse_lists_of_temporary_roles_only() {
    let roles = json!({"roles": [temporary("viewer", "2026-11-21T10:00:00Z", "1h")]});
    for (stage, path, status) in [(Stage::october_2024().await, v1("/"), 401), (Stage::new().await, now("/"), 422)] {
        let id = member(&stage, "viewer");
        let refused = stage.at(Method::PATCH, &format!("{path}{id}"), roles.clone()).await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert_eq!(refused.body["message"][0]["message"], "At least one long lived role is required");
        assert_eq!(in_force(&stage), ["viewer"]);
    }
}

#[tokio::test]
async fn memberships_of_users_go_by_the_memberships_id() {
    let stage = Stage::october_2024().await;
    let id = member(&stage, "viewer");
    let roles = json!({"roles": [permanent("member")]});
    let by_user = stage.at(Method::PATCH, &v1(&format!("/{PERSON}")), roles.clone()).await;
    assert_eq!((by_user.status, &by_user.body["message"]), (403, &json!("Forbidden member update")));
    assert_eq!(stage.at(Method::PATCH, &v1(&format!("/{id}")), roles).await.status, 200);
    assert_eq!(stage.at(Method::DELETE, &v1(&format!("/{id}")), Value::Null).await.status, 200);
    let again = stage.at(Method::DELETE, &v1(&format!("/{id}")), Value::Null).await;
    assert_eq!(again.status, 500, "a missing one is no 404");
    let stage = Stage::new().await;
    let missing = stage.at(Method::DELETE, &now(&format!("/{id}")), Value::Null).await;
    assert_eq!((missing.status, &missing.body["error"]), (404, &json!("NotFound")));
}

#[tokio::test]
async fn edit_alone_makes_any_user_admin_in_october_2024() {
    let (october, current) = (Stage::october_2024().await, Stage::new().await);
    for (stage, path, status) in [(october, v1("/"), 200), (current, now("/"), 403)] {
        let infisical = stage.simulator.infisical();
        infisical.add_custom_role_with(PROJECT, "editor", "Editor", &["member:edit"]);
        infisical.set_caller_roles(PROJECT, OPERATOR, &["editor"]);
        let id = member(&stage, "viewer");
        let raised = stage.at(Method::PATCH, &format!("{path}{id}"), json!({"roles": [permanent("admin")]})).await;
        assert_eq!(raised.status, status, "{raised:?}");
    }
}

#[tokio::test]
async fn two_concurrent_invitations_make_two_memberships() {
    let stage = Stage::october_2024().await;
    stage.simulator.infisical().order(Order::always(WINDOW).on("POST", "/memberships"));
    let (one, other) = tokio::join!(invite(&stage, &[EMAIL]), invite(&stage, &[EMAIL]));
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(stage.simulator.infisical().memberships_of(PROJECT, PERSON), 2);
    let listed = stage.at(Method::GET, &v1(""), Value::Null).await.body;
    assert_eq!(listed["memberships"].as_array().map(Vec::len), Some(2));
    let removed = stage.at(Method::DELETE, &v2(), json!({"emails": [EMAIL]})).await;
    assert_eq!(removed.status, 400, "by name only when there is one of each");
}

#[tokio::test]
async fn a_patch_writes_one_of_a_users_memberships_and_maybe_not_the_one_that_was_named() {
    for (stage, path, left) in [
        (Stage::october_2024().await, v1("/"), ["no-access", "viewer"]),
        (Stage::new().await, now("/"), ["admin", "no-access"]),
    ] {
        let infisical = stage.simulator.infisical();
        infisical.add_membership(PROJECT, PERSON, vec![RoleRow::permanent("viewer")]);
        infisical.add_membership(PROJECT, PERSON, vec![RoleRow::permanent("admin")]);
        let second = infisical.membership_ids(PROJECT, PERSON)[1].clone();
        let roles = json!({"roles": [permanent("no-access")]});
        assert_eq!(stage.at(Method::PATCH, &format!("{path}{second}"), roles).await.status, 200);
        assert_eq!(in_force(&stage), left);
        assert_eq!(stage.at(Method::DELETE, &format!("{path}{second}"), Value::Null).await.status, 200);
        assert_eq!(infisical.memberships_of(PROJECT, PERSON), 1, "DELETE takes one");
    }
}

#[tokio::test]
async fn concurrent_patches_of_a_user_unite_their_roles() {
    let stage = Stage::new().await;
    let id = now(&format!("/{}", member(&stage, "no-access")));
    stage.simulator.infisical().order(Order::always(WINDOW).on("PATCH", ""));
    let patch = |role| stage.at(Method::PATCH, &id, json!({"roles": [permanent(role)]}));
    tokio::join!(patch("viewer"), patch("member"));
    assert_eq!(slugs(&stage.simulator.infisical().roles(PROJECT, PERSON)), ["member", "viewer"]);
}

#[tokio::test]
async fn details_look_names_up_letter_by_letter() {
    let stage = Stage::october_2024().await;
    member(&stage, "viewer");
    let path = v1("/details");
    let look = |name: &str| stage.at(Method::POST, &path, json!({"username": name}));
    assert_eq!(look(EMAIL).await.body["membership"]["userId"], PERSON);
    assert_eq!(look("Ada@acme.example").await.status, 404);
    stage.simulator.infisical().rename_user(PERSON, "lovelace@acme.example");
    assert_eq!(look(EMAIL).await.status, 404);
    assert_eq!(look("lovelace@acme.example").await.body["membership"]["userId"], PERSON);
}

#[tokio::test]
async fn a_user_is_found_by_its_own_id_only_at_the_newest_servers() {
    let stage = Stage::new().await;
    member(&stage, "viewer");
    let path = format!("/api/v1/projects/{PROJECT}/user/{PERSON}/membership");
    assert_eq!(stage.at(Method::GET, &path, Value::Null).await.body["error"], "Not Found");
    stage.simulator.infisical().be_current();
    let found = stage.at(Method::GET, &path, Value::Null).await.body["membership"].clone();
    assert_eq!((&found["user"]["username"], &found["roles"][0]["role"]), (&json!(EMAIL), &json!("viewer")));
    stage.simulator.infisical().delete_user(PERSON);
    assert_eq!(stage.at(Method::GET, &path, Value::Null).await.body["error"], "NotFound");
    assert!(list(&stage.simulator.infisical().effective_roles(PROJECT, PERSON, Timestamp::now())).is_empty());
}
