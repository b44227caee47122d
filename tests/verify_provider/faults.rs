//! A server that misbehaves makes steps fail, the report shows how, and the server is left as it was found as far as it
//! allows that.

use serde_json::json;
use simulator::worlds::{INFISICAL_DEPLOYER, INFISICAL_ON_CALL, INFISICAL_PROJECT, ZITADEL_ADA, ZITADEL_GRACE};
use simulator::{Answer, Fault, Order};

use crate::support::{At, Stage, side_by_side};

fn forbidden() -> Fault {
    Fault::Status(Answer::new(
        403,
        json!({"statusCode": 403, "error": "PermissionDenied", "message": "You are not allowed to edit identity"}),
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_midway_is_reported_and_what_was_there_is_put_back() {
    let faults = [Fault::Reset, Fault::ResetAfter, Fault::Html, Fault::Status(Answer::new(502, json!("bad gateway")))];
    side_by_side(faults, async |fault| {
        let stage = Stage::new(At::Infisical).await;
        let before = stage.world();
        stage.simulator.infisical().order(Order::nth(2, fault.clone()).on("PATCH", ""));
        let outcome = stage.run(INFISICAL_ON_CALL).await;
        assert_eq!(outcome.code, Some(1), "{fault:?}: {}", outcome.out);
        outcome.prints(&["FAIL", "got Unreachable"]);
        outcome.prints(&["ok", "is restored", "got viewer"]);
        outcome.prints(&["FAIL", "all steps", "cannot be used"]);
        assert_eq!(stage.world(), before, "{fault:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_write_fails_its_step_and_is_cured_in_the_end() {
    let cases = [("PUT", ZITADEL_ADA), ("POST", ZITADEL_ADA), ("DELETE", ZITADEL_ADA), ("PUT", ZITADEL_GRACE)];
    side_by_side(cases, async |(method, subject)| {
        let stage = Stage::new(At::Zitadel).await;
        let before = stage.world();
        let path = if method == "POST" { "*/members" } else { "/members/" };
        stage.simulator.zitadel().order(Order::next(Fault::LostWrite).on(method, path));
        let outcome = stage.run(subject).await;
        assert_eq!(outcome.code, Some(1), "{method}: {}", outcome.out);
        outcome.prints(&["FAIL", "a list that shows", "although the server accepted"]);
        outcome.prints(&["ok", "is restored"]);
        assert_eq!(stage.world(), before, "{method}: {}", outcome.out);
        let written = stage.simulator.zitadel().roles(stage.project(), ZITADEL_ADA);
        assert!(written.is_empty(), "{method}: a member that no list shows has {written:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rights_are_reported_step_by_step() {
    let stage = Stage::new(At::Infisical).await;
    let before = stage.world();
    stage.simulator.infisical().order(Order::always(forbidden()).on("POST", "identity-memberships"));
    let outcome = stage.run(INFISICAL_DEPLOYER).await;
    assert_eq!(outcome.code, Some(1));
    outcome.prints(&["FAIL", "a first role is granted", "expected viewer", "got Forbidden", "lacks a permission"]);
    outcome.prints(&["FAIL", "a role that does not exist", "expected RoleNotFound; got Forbidden"]);
    assert_eq!(stage.world(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_put_back_is_named_with_how_to_undo_it() {
    let stage = Stage::new(At::Infisical).await;
    stage.simulator.infisical().order(Order::always(forbidden()).on("DELETE", ""));
    let outcome = stage.run(INFISICAL_DEPLOYER).await;
    assert_eq!(outcome.code, Some(1), "{}", outcome.out);
    // What can't be removed is left without access, which isn't what was there before.
    outcome.prints(&["FAIL", "revoked", "expected no membership; got no-access"]);
    outcome.prints(&["FAIL", "is restored", "expected no membership; got no-access"]);
    let held = stage.simulator.infisical().roles(INFISICAL_PROJECT, INFISICAL_DEPLOYER);
    let role = held.first().map(|row| row.role.clone()).unwrap_or_default();
    outcome.prints(&["LEFT", &format!("holds {role}"), &format!("remove Identity {INFISICAL_DEPLOYER} from project")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_waited_out() {
    let stage = Stage::new(At::Infisical).await;
    let limited = Answer::new(429, json!({"statusCode": 429, "error": "RateLimitExceeded", "message": "wait"}));
    stage.simulator.infisical().order(Order::nth(1, Fault::Status(limited.header("retry-after", "1"))).on("PATCH", ""));
    let outcome = stage.run(INFISICAL_DEPLOYER).await;
    assert_eq!((outcome.code, outcome.failed()), (Some(0), Vec::<&str>::new()), "{}", outcome.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_refused_is_tried_once_and_nothing_else_is() {
    let stage = Stage::new(At::Infisical).await;
    let wrong = format!("--client-secret-file={}", stage.file("wrong-secret"));
    let mut arguments = stage.confirmed(INFISICAL_DEPLOYER);
    arguments.retain(|argument| !argument.starts_with("--client-secret-file"));
    arguments.push(wrong);
    let outcome = stage.run_with(&arguments).await;
    assert_eq!(outcome.code, Some(1), "{}", outcome.errors);
    outcome.prints(&["FAIL", "sign in", "got Unauthorized"]);
    assert_eq!(stage.simulator.infisical().count("", "*"), 1);
}
