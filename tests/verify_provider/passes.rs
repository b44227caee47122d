//! What is peculiar to a single run where everything passes.

use jiff::SignedDuration;
use simulator::RoleRow;
use simulator::worlds::{INFISICAL_DEPLOYER, INFISICAL_REPORTER};

use crate::support::{At, Stage};

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
    outcome.prints(&["ok", INFISICAL_REPORTER, "is restored", "expected auditor and deployer"]);
    assert_eq!(stage.world(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_client_secret_is_never_tried_and_a_wrong_token_once() {
    let stage = Stage::new(At::Infisical).await;
    let outcome = stage.run(INFISICAL_DEPLOYER).await;
    let requests = stage.simulator.infisical().requests();
    let logins = requests.iter().filter(|request| request.path.ends_with("/universal-auth/login"));
    assert_eq!(logins.map(|login| login.status).collect::<Vec<_>>(), [Some(200)]);
    // A path that the server doesn't have refuses no caller.
    let refused = |status: Option<u16>| status.is_some_and(|status| status == 401 || status == 403);
    let anonymous = requests.iter().filter(|request| request.caller.is_empty() && refused(request.status));
    assert_eq!(anonymous.count(), 1);
    outcome.prints(&["--", "a wrong client secret", "lock the credential"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_differing_clock_is_reported_and_no_temporary_role_tried() {
    let stage = Stage::new(At::Infisical).await;
    stage.simulator.infisical().set_clock_offset(SignedDuration::from_secs(120));
    let before = stage.world();
    let outcome = stage.run(INFISICAL_DEPLOYER).await;
    assert_eq!(outcome.code, Some(1), "{}", outcome.out);
    outcome.prints(&["FAIL", "clocks", "got a server 1", " s ahead"]);
    outcome.prints(&["--", "a temporary role: skipped"]);
    assert_eq!(outcome.failed().len(), 1, "{}", outcome.out);
    assert_eq!(stage.world(), before);
    assert!(stage.writes().iter().all(|write| !write.contains("temporaryRange")));
}
