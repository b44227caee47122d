//! At a server that does what it should, everything passes and nothing is left.

use jiff::SignedDuration;
use simulator::RoleRow;
use simulator::worlds::{INFISICAL_DEPLOYER, INFISICAL_ON_CALL, INFISICAL_REPORTER, ZITADEL_ADA, ZITADEL_GRACE};

use crate::support::{At, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_passes_and_is_left_as_it_was_found() {
    let cases = [
        (At::OldInfisical, INFISICAL_DEPLOYER, "workspace/v2"),
        (At::Infisical, INFISICAL_DEPLOYER, "projects/v1"),
        (At::Zitadel, ZITADEL_ADA, "management/v1"),
    ];
    for (at, subject, api) in cases {
        let stage = Stage::new(at).await;
        let before = stage.world();
        let outcome = stage.run(subject).await;
        assert_eq!(
            (outcome.code, outcome.failed()),
            (Some(0), Vec::<&str>::new()),
            "{at:?}\n{}\n{}",
            outcome.out,
            outcome.errors
        );
        assert_eq!(stage.world(), before, "{at:?}");
        assert!(stage.writes().len() >= 8, "{at:?}: {:#?}", stage.writes());
        outcome.says(&["ok", "sign in", api]);
        outcome.says(&["ok", "the same again", "nothing written"]);
        outcome.says(&["ok", "it is gone at its end", "came no membership (1 write)"]);
        outcome.says(&["ok", "it is seen as drift"]);
        outcome.says(&["ok", "a role that nobody has", "came RoleNotFound"]);
        outcome.says(&["ok", "a subject id that nobody has", "came SubjectNotFound"]);
        outcome.says(&["ok", "a project id that nobody has", "came ProjectNotFound"]);
        outcome.says(&["ok", "an access token that nobody has", "came Unauthorized"]);
        for measured in ["sign in ", "list ", "write ", "confirm ", "end to gone "] {
            outcome.says(&[measured, " ms"]);
        }
        let last = outcome.out.lines().last().unwrap_or_default();
        let passed = outcome.out.lines().filter(|line| line.starts_with("ok ")).count();
        assert_eq!(last, format!("verify: {passed} passed, 0 failed"), "{at:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_who_is_a_member_holds_the_same_roles_afterwards() {
    for (at, subject, role) in
        [(At::Infisical, INFISICAL_ON_CALL, "viewer"), (At::Zitadel, ZITADEL_GRACE, "PROJECT_OWNER_VIEWER")]
    {
        let stage = Stage::new(at).await;
        let before = stage.world();
        let outcome = stage.run(subject).await;
        assert_eq!(outcome.code, Some(0), "{}", outcome.out);
        outcome.says(&["ok", "is put back", &format!("expected {role}; came {role}")]);
        assert_eq!(stage.world(), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_subjects_have_their_lives_one_after_another() {
    let stage = Stage::new(At::Infisical).await;
    stage.simulator.infisical().set_roles(
        stage.project(),
        INFISICAL_REPORTER,
        vec![RoleRow::permanent("deployer"), RoleRow::permanent("auditor")],
    );
    let before = stage.world();
    let mut arguments = stage.confirmed(INFISICAL_DEPLOYER);
    arguments.push(format!("--subject-id={}", INFISICAL_REPORTER.to_uppercase()));
    let outcome = stage.run_with(&arguments).await;
    assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.out, outcome.errors);
    outcome.says(&["ok", INFISICAL_REPORTER, "is put back", "expected auditor and deployer"]);
    assert_eq!(stage.world(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_client_secret_is_never_tried_and_a_wrong_token_once() {
    let stage = Stage::new(At::Infisical).await;
    let outcome = stage.run(INFISICAL_DEPLOYER).await;
    let requests = stage.simulator.infisical().requests();
    let logins = requests.iter().filter(|request| request.path.ends_with("/universal-auth/login"));
    assert_eq!(logins.map(|login| login.status).collect::<Vec<_>>(), [Some(200)]);
    let nobody = requests.iter().filter(|request| request.caller.is_empty() && !request.path.ends_with("/login"));
    assert_eq!(nobody.count(), 1);
    outcome.says(&["--", "a wrong client secret", "lock the credential out"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_differs_is_said_and_no_temporary_role_tried() {
    let stage = Stage::new(At::Infisical).await;
    stage.simulator.infisical().set_clock_offset(SignedDuration::from_secs(120));
    let before = stage.world();
    let outcome = stage.run(INFISICAL_DEPLOYER).await;
    assert_eq!(outcome.code, Some(1), "{}", outcome.out);
    outcome.says(&["FAIL", "clocks", "came a server 1", " s ahead"]);
    outcome.says(&["--", "a temporary role: not tried"]);
    assert_eq!(outcome.failed().len(), 1, "{}", outcome.out);
    assert_eq!(stage.world(), before);
    assert!(stage.writes().iter().all(|write| !write.contains("temporaryRange")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_token_is_a_credential_too() {
    let stage = Stage::new(At::Infisical).await;
    let before = stage.world();
    let mut arguments = stage.confirmed(INFISICAL_DEPLOYER);
    arguments.retain(|argument| !argument.starts_with("--client-"));
    arguments.push(format!("--token-file={}", stage.file("infisical-token")));
    let outcome = stage.run_with(&arguments).await;
    assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.out, outcome.errors);
    assert_eq!(stage.world(), before);
    assert!(!outcome.out.contains("a wrong client secret"));
}
