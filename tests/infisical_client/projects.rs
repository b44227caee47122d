//! What a refusal shows about the project: deleted, another organization's, or one whose members are stored elsewhere.

use membership_operator::api::SubjectKind::{self, Group, Identity, User};
use membership_operator::core::member::Change;
use membership_operator::provider::{Error, Provider};
use simulator::worlds::{
    INFISICAL_ADA, INFISICAL_ADA_EMAIL, INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_OPS, INFISICAL_PROJECT,
};
use simulator::{ErrorStyle, RoleRow};

use crate::{AGES, Stage, permanent, web};

const SUBJECTS: [(SubjectKind, &str); 3] =
    [(Identity, INFISICAL_DEPLOYER), (User, INFISICAL_ADA), (Group, INFISICAL_OPS)];

/// Everything that can be asked of a project's members.
async fn everything(stage: &Stage, kind: SubjectKind, subject: &str) -> Vec<(String, Result<(), Error>)> {
    let list = stage.infisical.list(&stage.read().await, &web(), kind).await.map(drop);
    let mut came = vec![("list".to_owned(), list)];
    for change in [
        Change::Create(permanent(&["viewer"])),
        Change::Replace(permanent(&["viewer"])),
        Change::Recreate(permanent(&["viewer"])),
        Change::Remove,
    ] {
        let name = (kind == User).then_some(INFISICAL_ADA_EMAIL);
        let outcome = stage.apply_named(kind, subject, name, change.clone()).await.map(drop);
        came.push((format!("{change:?}"), outcome));
    }
    came
}

/// Seen failing with `Infisical::decided_by_project` returning the refusal as it is.
#[tokio::test]
async fn a_project_that_is_gone_is_proved_gone_for_every_request() {
    for (generations, style) in AGES {
        for (kind, subject) in SUBJECTS {
            let stage = Stage::inviting().await;
            stage.be(generations, style);
            stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("viewer")]);
            stage.member(kind, subject).await.unwrap();
            stage.server().delete_project(INFISICAL_PROJECT);
            for (what, outcome) in everything(&stage, kind, subject).await {
                let case = format!("{what} of {kind:?} {generations:?} {style:?}: {outcome:?}");
                // The removal of what a server says isn't there is done (infisical-june-2025/errors-g1.json, 3).
                if what == "Remove" && outcome.is_ok() {
                    continue;
                }
                let Err(Error::ProjectNotFound { gone, .. }) = outcome else { panic!("{case}") };
                // October 2024 reports it only on the paths of groups.
                assert_eq!(gone, style != ErrorStyle::October2024 || kind == Group, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_project_that_the_operator_is_not_in_is_never_taken_for_gone() {
    for (generations, style) in AGES {
        for (kind, subject) in SUBJECTS {
            let stage = Stage::inviting().await;
            stage.be(generations, style);
            stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("viewer")]);
            stage.server().remove_member(INFISICAL_PROJECT, INFISICAL_OPERATOR);
            for (what, outcome) in everything(&stage, kind, subject).await {
                let case = format!("{what} of {kind:?} {generations:?} {style:?}: {outcome:?}");
                let Err(Error::ProjectNotFound { gone: false, message }) = outcome else { panic!("{case}") };
                assert!(message.contains("is not a member of"), "{case}");
            }
            assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, subject), 1);
        }
    }
}

#[tokio::test]
async fn the_project_is_asked_only_where_an_answer_is_unclear() {
    for (generations, style) in AGES {
        let stage = Stage::new().await;
        stage.be(generations, style);
        let looks = || {
            let paths =
                [format!("/api/v1/workspace/{INFISICAL_PROJECT}"), format!("/api/v1/projects/{INFISICAL_PROJECT}")];
            stage.server().requests().iter().filter(|request| paths.contains(&request.path)).count()
        };
        stage.apply(Identity, INFISICAL_DEPLOYER, Change::Create(permanent(&["viewer"]))).await.unwrap();
        stage.member(Identity, INFISICAL_DEPLOYER).await.unwrap();
        stage.apply(Identity, INFISICAL_DEPLOYER, Change::Remove).await.unwrap();
        stage.apply(Identity, INFISICAL_DEPLOYER, Change::Create(permanent(&["nope"]))).await.unwrap_err();
        assert_eq!(looks(), 0, "{generations:?} {style:?}");
        stage.server().remove_member(INFISICAL_PROJECT, INFISICAL_OPERATOR);
        stage.infisical.list(&stage.read().await, &web(), Identity).await.unwrap_err();
        assert_eq!(looks(), 1, "{generations:?} {style:?}");
    }
}

#[tokio::test]
async fn a_product_whose_members_are_kept_elsewhere_is_named_and_no_right_is_asked_for() {
    for (generations, style) in AGES.into_iter().filter(|(_, style)| *style == ErrorStyle::Current) {
        for (kind, subject) in SUBJECTS {
            let stage = Stage::inviting().await;
            stage.be(generations, style);
            stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("viewer")]);
            stage.member(kind, subject).await.unwrap();
            stage.server().set_product(INFISICAL_PROJECT, "cert-manager");
            for (what, outcome) in everything(&stage, kind, subject).await {
                let Err(Error::Rejected { message }) = &outcome else {
                    panic!("{what} of {kind:?} {generations:?}: {outcome:?}")
                };
                assert!(message.contains("\"cert-manager\", whose members Infisical keeps elsewhere"), "{message}");
                assert!(!message.contains("give it"), "{message}");
            }
            assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, subject), 1);
        }
    }
}
