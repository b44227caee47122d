//! Subjects and projects by name: looked up as the operator does, and what they stand for is shown.

use simulator::worlds::{
    INFISICAL_ADA, INFISICAL_ADA_EMAIL, INFISICAL_DEPLOYER, INFISICAL_OPS, INFISICAL_PROJECT, INFISICAL_PROJECT_SLUG,
    ZITADEL_ADA, ZITADEL_GRANT, ZITADEL_PROJECT,
};
use simulator::{OrgRole, RoleRow};

use crate::support::{At, Stage, side_by_side};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_shown_with_the_id_that_it_stands_for() {
    let cases = [
        (At::OldInfisical, INFISICAL_PROJECT_SLUG, "Identity", "ci-deployer", INFISICAL_DEPLOYER),
        (At::NewInfisical, INFISICAL_PROJECT_SLUG, "User", INFISICAL_ADA_EMAIL, INFISICAL_ADA),
        (At::NewInfisical, INFISICAL_PROJECT_SLUG, "Group", "ops", INFISICAL_OPS),
        (At::Zitadel, "shop", "User", "ada", ZITADEL_ADA),
        (At::ZitadelV2, "shop", "User", "ada@acme.example", ZITADEL_ADA),
    ];
    side_by_side(cases, async |(at, project, kind, name, id)| {
        let stage = Stage::new(at).await;
        if id == INFISICAL_ADA {
            stage.simulator.infisical().set_roles(INFISICAL_PROJECT, id, vec![RoleRow::permanent("viewer")]);
        }
        let before = stage.world();
        let about = ["--project-name", project, "--subject-kind", kind, "--subject-name", name, "--subject-id", id];
        let outcome = stage.run_at(&about).await;
        assert_eq!((outcome.code, outcome.failed()), (Some(0), vec![]), "{name}\n{}\n{}", outcome.out, outcome.errors);
        outcome.prints(&["ok", &format!("look up project {project:?}"), &format!("got {}", stage.project())]);
        outcome.prints(&["ok", &format!("look up {kind} {name:?}"), &format!("got {id}")]);
        // By name and by id it is one subject, with one life.
        assert_eq!(outcome.out.lines().filter(|line| line.contains("the same declaration again")).count(), 1, "{name}");
        assert_eq!(stage.world(), before, "{name}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_for_nothing_or_for_several_fails_before_anything_is_changed() {
    let (web, shop) = (format!("--project-id={INFISICAL_PROJECT}"), format!("--project-id={ZITADEL_PROJECT}"));
    let wrong_grant = "--grant-id=100000000000000001";
    let cases = [
        (
            At::Infisical,
            vec!["--project-name=typo", "--subject-name=ci-deployer"],
            "ProjectNotFound: there is no project",
        ),
        (At::Infisical, vec![web.as_str(), "--subject-name=typo"], "SubjectNotFound: there is no Identity named"),
        (At::Infisical, vec![&web, "--subject-name=ci-deployer", "--subject-name=twin"], "2 subjects of kind Identity"),
        (At::Zitadel, vec!["--project-name=typo", "--subject-name=ada"], "ProjectNotFound: there is no project"),
        (At::Zitadel, vec![&shop, "--subject-name=typo"], "SubjectNotFound: there is no User named"),
        (At::Zitadel, vec![&shop, wrong_grant, "--subject-name=ada"], "ProjectNotFound: "),
    ];
    side_by_side(cases, async |(at, about, phrase)| {
        let stage = Stage::new(at).await;
        for twin in ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"] {
            stage.simulator.infisical().add_identity(twin, "twin");
        }
        let outcome = stage.run_at(&about).await;
        assert_eq!((outcome.code, stage.writes()), (Some(1), vec![]), "{}\n{}", outcome.out, outcome.errors);
        outcome.prints(&["FAIL", phrase]);
        assert_eq!(outcome.failed().len(), 1, "{}", outcome.out);
    })
    .await;
}

/// A credential without rights in the organization passes all the same, by id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_look_up_names_ids_pass_and_names_are_refused_with_the_reason() {
    let stage = Stage::new(At::Infisical).await;
    stage.simulator.infisical().set_org_role(simulator::worlds::INFISICAL_OPERATOR, OrgRole::NoAccess);
    let outcome = stage.run(INFISICAL_DEPLOYER).await;
    assert_eq!((outcome.code, outcome.failed()), (Some(0), vec![]), "{}", outcome.out);
    outcome.prints(&["ok", "a subject name that does not exist", "got Forbidden"]);
    let project = format!("--project-id={INFISICAL_PROJECT}");
    let outcome = stage.run_at(&[&project, "--subject-name=ci-deployer"]).await;
    assert_eq!(outcome.code, Some(1));
    outcome.prints(&["FAIL", "look up Identity \"ci-deployer\"", "got Forbidden"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_that_conflict_are_refused_without_a_request() {
    let web = format!("--project-id={INFISICAL_PROJECT}");
    let grant = format!("--grant-id={ZITADEL_GRANT}");
    let cases = [
        (At::Infisical, vec![web.as_str(), "--subject-name=x", &grant], "Infisical has no project grants"),
        (At::Infisical, vec![&web, "--project-name=web", "--subject-name=x"], "cannot be used with"),
        (At::Infisical, vec![&web], "--subject-id"),
        (At::Infisical, vec!["--subject-name=x"], "--project-id"),
        (At::Infisical, vec![&web, "--subject-name=x", "--invite-users"], "is for Infisical and --subject-kind User"),
        (At::Infisical, vec![&web, "--subject-kind=User", "--subject-id=x", "--invite-users"], "--subject-name"),
        (At::Zitadel, vec!["--project-name=shop", "--subject-kind=Group", "--subject-name=x"], "has User only"),
        (At::Zitadel, vec!["--project-name=shop", "--subject-name=x", "--grant-id=x"], "digits"),
        (At::Zitadel, vec!["--project-name=shop", "--subject-id=ada"], "digits"),
    ];
    for (at, about, phrase) in cases {
        let stage = Stage::new(at).await;
        let outcome = stage.run_at(&about).await;
        assert_eq!(outcome.code, Some(2), "{about:?}: {}", outcome.out);
        assert!(outcome.errors.contains(phrase), "{about:?}: {}", outcome.errors);
        assert_eq!(stage.simulator.infisical().count("", "*") + stage.simulator.zitadel().count("", "*"), 0);
    }
}
