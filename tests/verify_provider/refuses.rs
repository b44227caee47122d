//! What it refuses to begin, and that nothing was changed then.

use simulator::worlds::{INFISICAL_DEPLOYER, INFISICAL_ON_CALL, INFISICAL_OPERATOR, ZITADEL_ADA, ZITADEL_GRACE};
use simulator::{Fault, Order, RoleRow};

use crate::support::{At, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_confirmation_nothing_is_sent_and_all_is_reported() {
    for (at, subject) in [(At::Infisical, INFISICAL_DEPLOYER), (At::Zitadel, ZITADEL_ADA)] {
        let stage = Stage::new(at).await;
        let outcome = stage.run_with(&stage.arguments(subject)).await;
        assert_eq!(outcome.code, Some(2));
        assert!(outcome.errors.contains("--yes-change-this-project"), "{}", outcome.errors);
        outcome.prints(&[subject, "its roles are revoked during the check"]);
        assert_eq!(stage.simulator.infisical().count("", "*") + stage.simulator.zitadel().count("", "*"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_whose_roles_could_not_be_put_back_exactly_is_refused() {
    type Held = (&'static str, Vec<Vec<RoleRow>>, &'static str);
    let cases: Vec<Held> = vec![
        (
            "a temporary role",
            vec![vec![
                RoleRow::permanent("viewer"),
                RoleRow::temporary("deployer", "2026-01-01T00:00:00Z".parse().unwrap(), "2h"),
            ]],
            "the temporary role \"deployer\"",
        ),
        (
            "two memberships",
            vec![vec![RoleRow::permanent("viewer")], vec![RoleRow::permanent("viewer")]],
            "2 memberships",
        ),
        ("one role twice", vec![vec![RoleRow::permanent("viewer"), RoleRow::permanent("viewer")]], "one role twice"),
    ];
    for (why, memberships, phrase) in cases {
        let stage = Stage::new(At::OldInfisical).await;
        for roles in memberships {
            stage.simulator.infisical().add_membership(stage.project(), INFISICAL_DEPLOYER, roles);
        }
        let before = stage.world();
        let outcome = stage.run(INFISICAL_DEPLOYER).await;
        assert_eq!(outcome.code, Some(2), "{why}: {}\n{}", outcome.out, outcome.errors);
        assert!(
            outcome.errors.contains(phrase) && outcome.errors.contains("choose another subject"),
            "{why}: {}",
            outcome.errors
        );
        assert_eq!((stage.writes(), stage.world()), (Vec::new(), before), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_member_administrator_is_touched_least_of_all_the_one_that_signs_in() {
    for (at, subject, role) in
        [(At::OldInfisical, INFISICAL_OPERATOR, "admin"), (At::Zitadel, ZITADEL_GRACE, "PROJECT_OWNER")]
    {
        let stage = Stage::new(at).await;
        stage.simulator.zitadel().set_roles(stage.project(), ZITADEL_GRACE, &["PROJECT_OWNER"]);
        let outcome = stage.run(subject).await;
        assert_eq!((outcome.code, stage.writes()), (Some(2), Vec::new()), "{}", outcome.out);
        assert!(outcome.errors.contains(&format!("{role:?}, which administers members")), "{}", outcome.errors);
    }
}

/// Its role may be a custom one. Seen failing without the check: the operator revoked its own roles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_that_signs_in_is_refused_under_any_role_name() {
    let stage = Stage::new(At::NewInfisical).await;
    let infisical = stage.simulator.infisical();
    let rights = ["identity:read", "identity:create", "identity:edit", "identity:delete"];
    infisical.add_custom_role_with(stage.project(), "members-admin", "Members admin", &rights);
    infisical.set_roles(stage.project(), INFISICAL_OPERATOR, vec![RoleRow::permanent("members-admin")]);
    let outcome = stage.run(INFISICAL_OPERATOR).await;
    assert_eq!((outcome.code, stage.writes()), (Some(2), Vec::new()), "{}\n{}", outcome.out, outcome.errors);
    assert!(outcome.errors.contains("is the account that signs in"), "{}", outcome.errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_unfit_subject_among_several_stops_all() {
    let stage = Stage::new(At::Infisical).await;
    let twice = vec![RoleRow::permanent("viewer")];
    stage.simulator.infisical().add_membership(stage.project(), INFISICAL_ON_CALL, twice);
    let mut arguments = stage.confirmed(INFISICAL_DEPLOYER);
    arguments.push(format!("--subject-id={INFISICAL_ON_CALL}"));
    let outcome = stage.run_with(&arguments).await;
    assert_eq!((outcome.code, stage.writes()), (Some(2), Vec::new()), "{}", outcome.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_list_that_lacks_the_subject_proves_nothing() {
    let stage = Stage::new(At::Zitadel).await;
    stage.simulator.zitadel().order(Order::always(Fault::PartialList { drop: 1 }).on("POST", "members/_search"));
    let outcome = stage.run(ZITADEL_ADA).await;
    assert_eq!((outcome.code, stage.writes()), (Some(2), Vec::new()), "{}\n{}", outcome.out, outcome.errors);
    outcome.prints(&["FAIL", "list the project's members", "incomplete"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsensical_arguments_are_refused_without_a_request() {
    let stage = Stage::new(At::Infisical).await;
    let right = stage.confirmed(INFISICAL_DEPLOYER);
    let changed = |from: &str, to: &str| {
        right.iter().map(|a| if a.starts_with(from) { to.to_owned() } else { a.clone() }).collect::<Vec<_>>()
    };
    for (arguments, phrase) in [
        (changed("--subject-id", "--subject-id=ci-deployer"), "Infisical's ids are UUIDs"),
        (changed("--project-id", "--project-id=web"), "Infisical's ids are UUIDs"),
        (changed("--allow-http", "--allow-http=example.com"), "--allow-http=127.0.0.1"),
        (changed("--url", "--url=https://me:wrong-hunter2@example.com"), "user name or password"),
        (changed("--temporary", "--temporary=1M"), "is not a duration"),
        (changed("--temporary", "--temporary=1s"), "use 2s to 600s"),
        (changed("--client-secret-file", "--client-secret-file=/nowhere"), "can't be read"),
        (changed("--provider", "--provider=zitadel"), "digits"),
        (
            [changed("--provider", "--provider=zitadel"), vec!["--organization-slug=platform".to_owned()]].concat(),
            "--organization-slug is for Infisical",
        ),
        ([right.clone(), vec!["--role=no-access".to_owned()]].concat(), "name two roles"),
        ([right.clone(), vec!["--role=custom".to_owned()]].concat(), "write the role's own slug"),
        ([right.clone(), vec!["--instance-host=example.com".to_owned()]].concat(), "--instance-host is for ZITADEL"),
        (
            [right.clone(), vec![format!("--token-file={}", stage.file("infisical-token"))]].concat(),
            "cannot be used with",
        ),
        ([right.clone(), vec![format!("--ca-file={}", stage.file("wrong-secret"))]].concat(), "it has no certificate"),
        (changed("--client-id-file", "--identity-id=1"), "--client-id-file"),
        (without(&right, &["--client-id-file", "--client-secret-file"]), "for Infisical give"),
        (
            [
                without(&Stage::new(At::Zitadel).await.confirmed(ZITADEL_ADA), &["--token-file"]),
                vec![format!("--key-file={}", stage.file("wrong-secret"))],
            ]
            .concat(),
            "unchanged",
        ),
    ] {
        let outcome = stage.run_with(&arguments).await;
        assert_eq!(outcome.code, Some(2), "{arguments:?}");
        assert!(outcome.errors.contains(phrase), "{arguments:?}: {}", outcome.errors);
    }
    assert_eq!(stage.simulator.infisical().count("", "*"), 0);
}

fn without(arguments: &[String], names: &[&str]) -> Vec<String> {
    let named = |argument: &String| names.iter().any(|name| argument.starts_with(name));
    arguments.iter().filter(|argument| !named(argument)).cloned().collect()
}
