//! Users are known by membership ids, which change behind the operator's back.

use membership_operator::api::SubjectKind::User;
use membership_operator::core::member::Change;
use membership_operator::provider::error::Effect;
use membership_operator::provider::{Error, Provider};
use simulator::worlds::{INFISICAL_ADA, INFISICAL_PROJECT};
use simulator::{ErrorStyle, Fault, Generations, Order, RoleRow};

use crate::{AGES, Stage, held, permanent};

async fn with_ada(generations: Generations, style: ErrorStyle) -> Stage {
    let stage = Stage::new().await;
    stage.be(generations, style);
    stage.server().add_membership(INFISICAL_PROJECT, INFISICAL_ADA, vec![RoleRow::permanent("viewer")]);
    stage.member(User, INFISICAL_ADA).await.unwrap();
    stage
}

#[tokio::test]
async fn a_membership_that_was_created_again_since_the_list_is_found() {
    for (generations, style) in AGES {
        for change in [Change::Replace(permanent(&["member"])), Change::Remove] {
            let stage = with_ada(generations, style).await;
            stage.server().remove_member(INFISICAL_PROJECT, INFISICAL_ADA);
            stage.server().add_membership(INFISICAL_PROJECT, INFISICAL_ADA, vec![RoleRow::permanent("admin")]);
            let outcome = stage.apply(User, INFISICAL_ADA, change.clone()).await;
            let case = format!("{change:?} {generations:?} {style:?}: {outcome:?}");
            if style != ErrorStyle::Current && change == Change::Remove {
                // A missing membership is a failure there: the write is retried, on the list that was read.
                assert_eq!(outcome.unwrap_err().effect(), Effect::Unknown, "{case}");
                stage.apply(User, INFISICAL_ADA, change.clone()).await.unwrap();
            } else {
                outcome.unwrap();
            }
            let wanted = if change == Change::Remove { held(&[]) } else { held(&["member"]) };
            assert_eq!(stage.held(INFISICAL_ADA), wanted, "{case}");
        }
    }
}

#[tokio::test]
async fn a_membership_id_from_a_list_costs_no_other_list() {
    let stage = with_ada(Generations::All, ErrorStyle::Current).await;
    let lists = || stage.server().count("GET", "/memberships");
    let before = lists();
    stage.apply(User, INFISICAL_ADA, Change::Replace(permanent(&["member"]))).await.unwrap();
    assert_eq!(lists(), before);
    stage.apply(User, INFISICAL_ADA, Change::Replace(permanent(&["viewer"]))).await.unwrap();
    assert_eq!(lists(), before + 1, "after a write it is checked again");
}

#[tokio::test]
async fn a_user_who_is_gone_is_removed_already() {
    for (generations, style) in AGES {
        let stage = with_ada(generations, style).await;
        stage.server().remove_member(INFISICAL_PROJECT, INFISICAL_ADA);
        stage.apply(User, INFISICAL_ADA, Change::Remove).await.unwrap();
        for change in [Change::Replace(permanent(&["viewer"])), Change::Recreate(permanent(&["viewer"]))] {
            let error = stage.apply(User, INFISICAL_ADA, change).await.unwrap_err();
            assert!(matches!(error, Error::Changed { .. }), "{generations:?} {style:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_removal_without_an_answer_is_asked_about() {
    for (fault, carried_out) in [(Fault::ResetAfter, true), (Fault::Reset, false), (Fault::status(500), false)] {
        let stage = with_ada(Generations::All, ErrorStyle::Current).await;
        stage.server().order(Order::next(fault.clone()).on("DELETE", "/memberships"));
        let outcome = stage.apply(User, INFISICAL_ADA, Change::Remove).await;
        assert_eq!(outcome.is_ok(), carried_out, "{fault:?}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.effect(), Effect::Unknown, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_role_that_is_refused_leaves_several_memberships_as_they_were() {
    let stage = with_ada(Generations::All, ErrorStyle::Current).await;
    stage.server().add_membership(INFISICAL_PROJECT, INFISICAL_ADA, vec![RoleRow::permanent("member")]);
    let error = stage.apply(User, INFISICAL_ADA, Change::Recreate(permanent(&["nope"]))).await.unwrap_err();
    assert!(matches!(error, Error::RoleNotFound { .. }), "{error:?}");
    assert_eq!(stage.held(INFISICAL_ADA), held(&["member", "viewer"]));
    assert!(stage.infisical.capabilities(User).permanent_base.is_some());
}
