//! At a server that does what it should, everything passes and nothing is left: every server, every kind of subject.

use simulator::RoleRow;
use simulator::worlds::{
    INFISICAL_ADA, INFISICAL_DEPLOYER, INFISICAL_ON_CALL, INFISICAL_OPS, ZITADEL_ADA, ZITADEL_BARBARA, ZITADEL_GRACE,
    ZITADEL_GRANT,
};

use crate::support::{At, Outcome, Stage, side_by_side};

/// The steps of a whole life.
fn lived(outcome: &Outcome) {
    outcome.prints(&["ok", "a first role is granted"]);
    outcome.prints(&["ok", "the temporary role is gone at its end", "got no membership (1 write)"]);
    outcome.prints(&["ok", "revoked: expected no membership; got no membership (1 write)"]);
    outcome.prints(&["ok", "a subject id that does not exist", "got SubjectNotFound"]);
}

/// Those of a subject who stays a member.
fn stayed(outcome: &Outcome) {
    outcome.prints(&["ok", "a first role replaces what the subject holds", "got viewer (1 write)"]);
    outcome.prints(&["ok", "the temporary role is gone at its end", "got no-access (1 write)"]);
    outcome.prints(&["--", "revoked: skipped", "sends mail"]);
    outcome.prints(&["--", "a subject id that does not exist: skipped"]);
}

/// What all outcomes have in common.
fn common(case: &str, stage: &Stage, outcome: &Outcome) {
    assert_eq!(
        (outcome.code, outcome.failed()),
        (Some(0), Vec::<&str>::new()),
        "{case}\n{}\n{}",
        outcome.out,
        outcome.errors
    );
    assert!(stage.writes().len() >= 5, "{case}: {:#?}", stage.writes());
    outcome.prints(&["ok", "the same declaration again", "no write"]);
    outcome.prints(&["ok", "it is detected as drift"]);
    outcome.prints(&["ok", "a role that does not exist", "got RoleNotFound"]);
    outcome.prints(&["ok", "a subject name that does not exist", "got SubjectNotFound"]);
    outcome.prints(&["ok", "a project id that does not exist", "got "]);
    outcome.prints(&["ok", "an access token that does not exist", "got Unauthorized"]);
    for measured in ["sign in ", "list ", "write ", "confirm ", "end to gone "] {
        outcome.prints(&[measured, " ms"]);
    }
    let last = outcome.out.lines().last().unwrap_or_default();
    let passed = outcome.out.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(last, format!("verify: {passed} passed, 0 failed"), "{case}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_infisical_passes_with_every_kind_of_subject_and_is_left_as_it_was_found() {
    let ages = [
        (At::OldInfisical, "workspace/v2"),
        (At::Infisical, "projects/v1"),
        (At::NewInfisical, "projects/v1/memberships"),
    ];
    let kinds = [("Identity", INFISICAL_DEPLOYER), ("User", INFISICAL_ADA), ("Group", INFISICAL_OPS)];
    let cases = ages.into_iter().flat_map(|age| kinds.map(|kind| (age, kind)));
    side_by_side(cases, async |((at, api), (kind, subject))| {
        let case = format!("{at:?} {kind}");
        let stage = Stage::new(at).await;
        if kind == "User" {
            stage.simulator.infisical().set_roles(stage.project(), subject, vec![RoleRow::permanent("auditor")]);
        }
        let before = stage.world();
        let (project, subject) = (format!("--project-id={}", stage.project()), format!("--subject-id={subject}"));
        let outcome = stage.run_at(&[&project, &subject, "--subject-kind", kind]).await;
        common(&case, &stage, &outcome);
        outcome.prints(&["ok", "sign in", &format!("got {api}")]);
        if kind == "User" {
            stayed(&outcome)
        } else {
            lived(&outcome)
        }
        assert_eq!(stage.world(), before, "{case}");
        assert_eq!(stage.simulator.infisical().mails(), [], "{case}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_zitadel_passes_for_its_projects_and_their_grants_and_is_left_as_it_was_found() {
    let apis = [(At::Zitadel, "management/v1"), (At::ZitadelV2, "internal_permission/v2")];
    let cases = apis.into_iter().flat_map(|api| [(api, None), (api, Some(ZITADEL_GRANT))]);
    side_by_side(cases, async |((at, api), grant)| {
        let case = format!("{at:?} {grant:?}");
        let stage = Stage::new(at).await;
        let before = stage.world();
        let user = if grant.is_some() { ZITADEL_BARBARA } else { ZITADEL_ADA };
        let mut about = vec![format!("--project-id={}", stage.project()), format!("--subject-id={user}")];
        about.extend(grant.map(|grant| format!("--grant-id={grant}")));
        let outcome = stage.run_at(&about.iter().map(String::as_str).collect::<Vec<_>>()).await;
        common(&case, &stage, &outcome);
        lived(&outcome);
        outcome.prints(&["ok", "sign in", &format!("got {api}")]);
        outcome.prints(&["ok", "a grant id that does not exist", "got "]);
        outcome.prints(&["ok", "an organization id that does not exist", "got "]);
        let role = if grant.is_some() { "PROJECT_GRANT_OWNER_VIEWER" } else { "PROJECT_OWNER_VIEWER" };
        outcome.prints(&["ok", "a first role is granted", &format!("got {role} (1 write)")]);
        assert_eq!(stage.world(), before, "{case}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_who_is_a_member_holds_the_same_roles_afterwards() {
    let cases = [(At::Infisical, INFISICAL_ON_CALL, "viewer"), (At::Zitadel, ZITADEL_GRACE, "PROJECT_OWNER_VIEWER")];
    side_by_side(cases, async |(at, subject, role)| {
        let stage = Stage::new(at).await;
        let before = stage.world();
        let outcome = stage.run(subject).await;
        assert_eq!(outcome.code, Some(0), "{}", outcome.out);
        outcome.prints(&["ok", "is restored", &format!("expected {role}; got {role}")]);
        assert_eq!(stage.world(), before);
    })
    .await;
}

/// Nothing is to be written at first then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_holds_the_first_role_already_passes_too() {
    let stage = Stage::new(At::Infisical).await;
    stage.simulator.infisical().set_roles(stage.project(), INFISICAL_ADA, vec![RoleRow::permanent("viewer")]);
    let before = stage.world();
    let project = format!("--project-id={}", stage.project());
    let subject = format!("--subject-id={INFISICAL_ADA}");
    let outcome = stage.run_at(&[&project, &subject, "--subject-kind=User"]).await;
    assert_eq!((outcome.code, outcome.failed()), (Some(0), Vec::<&str>::new()), "{}", outcome.out);
    outcome.prints(&["ok", "a first role replaces what the subject holds", "got viewer (no write)"]);
    assert_eq!(stage.world(), before);
}
