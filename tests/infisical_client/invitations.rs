//! Users come in by name, and are mailed for it: only where that is wanted, once, and with nothing left behind.

use std::time::Duration;

use membership_operator::api::SubjectKind::User;
use membership_operator::core::member::Change;
use membership_operator::provider::error::Effect;
use membership_operator::provider::{Error, Provider};
use simulator::worlds::{INFISICAL_ADA, INFISICAL_ADA_EMAIL, INFISICAL_PROJECT};
use simulator::{Answer, ErrorStyle, Fault, Generations, Order, RoleRow};

use crate::{AGES, Stage, held, permanent, web};

const CARL: &str = "957ed1fc-9ef6-49d6-b26f-de6101a4358d";
const CARL_EMAIL: &str = "carl@acme.example";

async fn stage(generations: Generations, style: ErrorStyle) -> Stage {
    let stage = Stage::inviting().await;
    stage.be(generations, style);
    stage.server().add_user(CARL, CARL_EMAIL, "Carl", "Cohn");
    stage
}

async fn invite(stage: &Stage, name: &str) -> Result<String, Error> {
    let permit = stage.write().await;
    stage.infisical.invite(&permit, &web(), name).await
}

async fn create(stage: &Stage, name: Option<&str>, roles: &[&str]) -> Result<(), Error> {
    stage.apply_named(User, INFISICAL_ADA, name, Change::Create(permanent(roles))).await.map(drop)
}

#[tokio::test]
async fn an_invited_user_has_no_rights_and_one_mail() {
    for (generations, style) in AGES {
        let stage = stage(generations, style).await;
        assert_eq!(invite(&stage, INFISICAL_ADA_EMAIL).await.unwrap(), INFISICAL_ADA);
        assert_eq!(stage.held(INFISICAL_ADA), held(&["no-access"]), "{generations:?} {style:?}");
        assert_eq!(invite(&stage, INFISICAL_ADA_EMAIL).await.unwrap(), INFISICAL_ADA, "who is there is only named");
        assert_eq!(stage.server().mails().len(), 1, "{generations:?} {style:?}");
    }
}

#[tokio::test]
async fn a_user_is_created_with_the_roles_that_are_wanted() {
    for (generations, style) in AGES {
        let stage = stage(generations, style).await;
        create(&stage, Some(INFISICAL_ADA_EMAIL), &["viewer"]).await.unwrap();
        assert_eq!(stage.held(INFISICAL_ADA), held(&["viewer"]), "{generations:?} {style:?}");
        assert_eq!(stage.server().mails().len(), 1, "{generations:?} {style:?}");
        let again = create(&stage, Some(INFISICAL_ADA_EMAIL), &["admin"]).await;
        assert!(matches!(again, Err(Error::Changed { .. })), "{again:?}");
        assert_eq!(stage.held(INFISICAL_ADA), held(&["viewer"]));
        assert_eq!(stage.server().mails().len(), 1, "{generations:?} {style:?}");
    }
}

#[tokio::test]
async fn no_user_is_mailed_without_leave_or_name() {
    for (generations, style) in AGES {
        let silent = Stage::new().await;
        silent.be(generations, style);
        let inviting = stage(generations, style).await;
        assert!(!silent.infisical.capabilities(User).invites && inviting.infisical.capabilities(User).invites);
        for (stage, name) in [(&silent, Some(INFISICAL_ADA_EMAIL)), (&silent, None), (&inviting, None)] {
            let error = create(stage, name, &["viewer"]).await.unwrap_err();
            assert!(matches!(&error, Error::Rejected { message } if message.contains("inviteUsers: true")), "{error}");
        }
        assert!(matches!(invite(&silent, INFISICAL_ADA_EMAIL).await, Err(Error::Rejected { .. })));
        for stage in [&silent, &inviting] {
            assert!(stage.server().mails().is_empty());
            assert_eq!(stage.server().count("POST", "/memberships"), 0);
        }
    }
}

#[tokio::test]
async fn a_name_that_would_make_another_account_is_not_sent() {
    for (generations, style) in AGES {
        let stage = stage(generations, style).await;
        let accounts = stage.server().accounts();
        for name in ["typo-name", "ADA@acme.example", ""] {
            let refused = [invite(&stage, name).await.map(drop), create(&stage, Some(name), &["viewer"]).await];
            assert!(refused.iter().all(|r| matches!(r, Err(Error::Rejected { .. }))), "{name:?}: {refused:?}");
        }
        assert_eq!(stage.server().accounts(), accounts);
    }
}

/// October 2024 gives every new user the role `member`, regardless of the request.
#[tokio::test]
async fn a_death_between_the_post_and_the_patch_leaves_no_more_than_the_creation_role() {
    for (generations, style) in AGES {
        for create_too in [false, true] {
            let stage = stage(generations, style).await;
            stage.member(User, INFISICAL_ADA).await;
            stage.server().order(Order::next(Fault::Delay(Duration::from_secs(60))).on("PATCH", "/memberships"));
            let dying = async {
                match create_too {
                    true => create(&stage, Some(INFISICAL_ADA_EMAIL), &["admin"]).await,
                    false => invite(&stage, INFISICAL_ADA_EMAIL).await.map(drop),
                }
            };
            let outcome = tokio::time::timeout(Duration::from_millis(500), dying).await;
            assert!(outcome.is_err(), "{generations:?} {style:?}: {outcome:?}");
            let left = stage.held(INFISICAL_ADA);
            let at_most = stage.infisical.capabilities(User).creation_role.unwrap_or("no-access");
            assert!(left == held(&["no-access"]) || left == held(&[at_most]), "{generations:?} {style:?}: {left:?}");
            if style == ErrorStyle::October2024 {
                assert_eq!(left, held(&["member"]));
            }
            // Who comes next finds it and repairs it, without another mail.
            stage.server().clear_orders();
            stage.apply(User, INFISICAL_ADA, Change::Replace(permanent(&["viewer"]))).await.unwrap();
            assert_eq!(stage.held(INFISICAL_ADA), held(&["viewer"]));
            assert_eq!(stage.server().mails().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_name_that_another_user_has_now_gives_them_nothing() {
    for (generations, style) in AGES {
        for is_member in [false, true] {
            let case = format!("{generations:?} {style:?} {is_member}");
            let stage = stage(generations, style).await;
            if is_member {
                stage.server().add_membership(INFISICAL_PROJECT, CARL, vec![RoleRow::permanent("viewer")]);
            }
            let error = create(&stage, Some(CARL_EMAIL), &["admin"]).await.unwrap_err();
            assert!(
                matches!(&error, Error::SubjectNotFound { message } if message.contains(CARL)),
                "{case}: {error:?}"
            );
            assert_eq!(stage.held(CARL), if is_member { held(&["viewer"]) } else { held(&[]) }, "{case}");
            assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, INFISICAL_ADA), 0, "{case}");
            // It is asked for at each resync: they are mailed once.
            let again = create(&stage, Some(CARL_EMAIL), &["admin"]).await;
            assert!(matches!(again, Err(Error::SubjectNotFound { .. })), "{case}: {again:?}");
            assert_eq!(stage.server().mails().len(), usize::from(!is_member), "{case}");
        }
    }
}

#[tokio::test]
async fn an_invited_user_who_can_not_be_removed_is_left_without_rights_or_reported() {
    let denied = || Fault::Status(Answer::new(403, serde_json::json!({"error": "PermissionDenied", "message": "no"})));
    for patch_too in [false, true] {
        let stage = stage(Generations::G1, ErrorStyle::October2024).await;
        stage.server().order(Order::always(denied()).on("DELETE", "/memberships"));
        if patch_too {
            stage.server().order(Order::always(denied()).on("PATCH", "/memberships"));
        }
        let error = create(&stage, Some(CARL_EMAIL), &["admin"]).await.unwrap_err();
        if patch_too {
            assert_eq!(error.effect(), Effect::Unknown);
            assert!(error.to_string().contains(CARL), "{error}");
        } else {
            assert!(matches!(error, Error::SubjectNotFound { .. }), "{error:?}");
            assert_eq!(stage.held(CARL), held(&["no-access"]));
        }
    }
}

#[tokio::test]
async fn roles_that_are_refused_leave_a_member_without_any_and_no_second_mail() {
    for (generations, style) in AGES {
        let stage = stage(generations, style).await;
        let error = create(&stage, Some(INFISICAL_ADA_EMAIL), &["nope"]).await.unwrap_err();
        assert!(matches!(error, Error::RoleNotFound { .. }), "{generations:?} {style:?}: {error:?}");
        assert_eq!(stage.held(INFISICAL_ADA), held(&["no-access"]), "{generations:?} {style:?}");
        assert!(matches!(create(&stage, Some(INFISICAL_ADA_EMAIL), &["viewer"]).await, Err(Error::Changed { .. })));
        assert_eq!(stage.server().mails().len(), 1, "{generations:?} {style:?}");
    }
}

#[tokio::test]
async fn a_user_whose_creation_role_can_not_be_removed_is_removed_again() {
    let stage = stage(Generations::G1, ErrorStyle::October2024).await;
    let denied = Fault::Status(Answer::new(403, serde_json::json!({"error": "PermissionDenied", "message": "no"})));
    stage.server().order(Order::always(denied.clone()).on("PATCH", "/memberships"));
    let error = invite(&stage, INFISICAL_ADA_EMAIL).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
    assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, INFISICAL_ADA), 0);
    stage.server().order(Order::always(denied).on("DELETE", "/memberships"));
    let error = invite(&stage, INFISICAL_ADA_EMAIL).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "it is left, and has to be written down: {error:?}");
}
