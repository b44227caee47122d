//! Access that can't be removed in one way is removed in the other (docs/reference/infisical.md, "Project-scoped
//! identities").

use membership_operator::api::SubjectKind::{self, Group, Identity, User};
use membership_operator::core::member::Change;
use membership_operator::provider::Error;
use simulator::worlds::{INFISICAL_ADA, INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_OPS, INFISICAL_PROJECT};
use simulator::{Answer, Fault, Order, RoleRow};

use crate::{AGES, Stage, held, permanent};

const SUBJECTS: [(SubjectKind, &str); 3] =
    [(Identity, INFISICAL_DEPLOYER), (User, INFISICAL_ADA), (Group, INFISICAL_OPS)];

fn refused(status: u16, error: &str, message: &str) -> Answer {
    let body = serde_json::json!({"statusCode": status, "error": error, "message": message});
    Answer { status, body, headers: Default::default() }
}

async fn with_admin(generations: simulator::Generations, style: simulator::ErrorStyle, subject: &str) -> Stage {
    let stage = Stage::new().await;
    stage.be(generations, style);
    stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("admin")]);
    stage
}

/// Seen failing without the PATCH of `One::take_away`.
#[tokio::test]
async fn an_identity_that_its_project_manages_is_left_without_access() {
    for (generations, style) in AGES {
        let case = format!("{generations:?} {style:?}");
        let stage = with_admin(generations, style, INFISICAL_DEPLOYER).await;
        stage.server().set_managed_by(INFISICAL_DEPLOYER, INFISICAL_PROJECT);
        let receipt = stage.apply(Identity, INFISICAL_DEPLOYER, Change::Remove).await.unwrap();
        let why = receipt.kept.unwrap_or_else(|| panic!("{case}: nothing says that the membership stays"));
        assert!(why.contains("manages itself"), "{case}: {why}");
        assert_eq!(stage.held(INFISICAL_DEPLOYER), held(&["no-access"]), "{case}");
        // A later grant is a change, also where several memberships are to become one.
        for change in [Change::Replace(permanent(&["viewer"])), Change::Recreate(permanent(&["viewer"]))] {
            stage.apply(Identity, INFISICAL_DEPLOYER, change).await.unwrap();
            assert_eq!(stage.held(INFISICAL_DEPLOYER), held(&["viewer"]), "{case}");
        }
    }
}

#[tokio::test]
async fn any_permanent_refusal_of_a_removal_leaves_every_kind_without_access() {
    for (generations, style) in AGES {
        for (kind, subject) in SUBJECTS {
            for answer in [
                refused(400, "BadRequest", "Something that no server has said yet"),
                refused(403, "PermissionDenied", "You are not allowed to delete on identity"),
                refused(403, "PermissionBoundaryError", "Failed to delete more privileged"),
            ] {
                let case = format!("{kind:?} {generations:?} {style:?} {}", answer.status);
                let stage = with_admin(generations, style, subject).await;
                stage.member(kind, subject).await.unwrap();
                stage.server().order(Order::always(Fault::Status(answer)).on("DELETE", "/"));
                let receipt = stage.apply(kind, subject, Change::Remove).await.unwrap();
                assert!(receipt.kept.is_some(), "{case}");
                assert_eq!(stage.held(subject), held(&["no-access"]), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_refused_both_ways_stays_refused_and_what_is_unclear_stays_unclear() {
    for (generations, style) in AGES {
        for (kind, subject) in SUBJECTS {
            let case = format!("{kind:?} {generations:?} {style:?}");
            let stage = with_admin(generations, style, subject).await;
            stage.member(kind, subject).await.unwrap();
            let refusal = || Fault::Status(refused(403, "PermissionDenied", "You are not allowed to do this"));
            stage.server().order(Order::always(refusal()).on("DELETE", "/"));
            stage.server().order(Order::always(refusal()).on("PATCH", "/"));
            let error = stage.apply(kind, subject, Change::Remove).await.unwrap_err();
            assert!(matches!(error, Error::Forbidden { .. }), "{case}: {error:?}");
            assert_eq!(stage.held(subject), held(&["admin"]), "{case}");
            stage.server().clear_orders();
            // A server that fails has refused nothing.
            stage.server().order(Order::always(Fault::status(503)).on("DELETE", "/"));
            let error = stage.apply(kind, subject, Change::Remove).await.unwrap_err();
            assert!(matches!(error, Error::Unreachable { .. }), "{case}: {error:?}");
            assert_eq!(stage.held(subject), held(&["admin"]), "{case}");
        }
    }
}

#[tokio::test]
async fn the_operators_own_membership_is_never_emptied() {
    let stage = Stage::new().await;
    stage.server().be_current();
    let error = stage.apply(Identity, INFISICAL_OPERATOR, Change::Remove).await.unwrap_err();
    assert!(error.to_string().contains("leave it to others"), "{error}");
    assert_eq!(stage.held(INFISICAL_OPERATOR), held(&["admin"]));
}
