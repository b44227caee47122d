//! A server that becomes another one while the operator runs.

use membership_operator::api::SubjectKind;
use membership_operator::core::member::Change;
use membership_operator::provider::Provider;
use simulator::worlds::{INFISICAL_ADA, INFISICAL_DEPLOYER, INFISICAL_OPS, INFISICAL_PROJECT, INFISICAL_PROJECT_SLUG};
use simulator::{ErrorStyle, Generations, RoleRow};

use crate::{AGES, Stage, held, permanent, web};

#[tokio::test]
async fn a_path_that_goes_is_looked_for_again_for_each_kind() {
    for (kind, subject) in [
        (SubjectKind::Identity, INFISICAL_DEPLOYER),
        (SubjectKind::User, INFISICAL_ADA),
        (SubjectKind::Group, INFISICAL_OPS),
    ] {
        let stage = Stage::new().await;
        stage.server().be_october_2024();
        stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("viewer")]);
        assert!(stage.member(kind, subject).await.is_some());
        // First to the version that has both, then to one that has dropped the old paths, in the middle of a write.
        for (generations, role) in [(Generations::All, "member"), (Generations::G3, "admin")] {
            stage.be(generations, ErrorStyle::Current);
            stage.apply(kind, subject, Change::Replace(permanent(&[role]))).await.unwrap();
            assert_eq!(stage.held(subject), held(&[role]), "{kind:?} {generations:?}");
            assert!(stage.member(kind, subject).await.is_some());
        }
        assert_eq!(stage.infisical.capabilities(kind).permanent_base, Some("no-access"));
        assert_eq!(stage.infisical.capabilities(kind).creation_role, None);
    }
}

/// Seen failing with every check probing all paths of all families, as before.
#[tokio::test]
async fn a_check_of_the_provider_is_one_read_once_the_path_is_known() {
    for (generations, style) in AGES {
        let case = format!("{generations:?} {style:?}");
        let stage = Stage::new().await;
        stage.be(generations, style);
        let permit = stage.read().await;
        let api = stage.infisical.verify(&permit).await.unwrap().api;
        for kind in [SubjectKind::Identity, SubjectKind::User, SubjectKind::Group] {
            stage.infisical.list(&permit, &web(), kind).await.unwrap();
        }
        stage.infisical.find_project(&permit, INFISICAL_PROJECT_SLUG, None).await.unwrap();
        stage.server().clear_requests();
        for checks in 1..=3 {
            assert_eq!(stage.infisical.verify(&permit).await.unwrap().api, api, "{case}");
            let requests = stage.server().requests();
            assert_eq!(requests.len(), checks, "{case}: {requests:#?}");
        }
    }
}

#[tokio::test]
async fn what_is_known_stands_until_its_route_is_gone() {
    let stage = Stage::new().await;
    stage.server().be_october_2024();
    let permit = stage.read().await;
    assert_eq!(stage.infisical.verify(&permit).await.unwrap().api, "workspace/v2");
    stage.member(SubjectKind::User, INFISICAL_ADA).await;
    stage.member(SubjectKind::Group, INFISICAL_OPS).await;
    // Upgraded: the older paths are still there.
    stage.be(Generations::All, ErrorStyle::Current);
    assert_eq!(stage.infisical.verify(&permit).await.unwrap().api, "workspace/v2");
    assert_eq!(stage.infisical.capabilities(SubjectKind::Group).permanent_base, None);
    // And then they aren't.
    stage.be(Generations::G3, ErrorStyle::Current);
    assert_eq!(stage.infisical.verify(&permit).await.unwrap().api, "projects/v1/memberships");
    assert_eq!(
        stage.infisical.capabilities(SubjectKind::User).creation_role,
        Some("member"),
        "not asked for again yet"
    );
    stage.member(SubjectKind::User, INFISICAL_ADA).await;
    stage.member(SubjectKind::Group, INFISICAL_OPS).await;
    assert_eq!(stage.infisical.capabilities(SubjectKind::User).creation_role, None);
    assert_eq!(stage.infisical.capabilities(SubjectKind::Group).permanent_base, Some("no-access"));
    assert_eq!(stage.infisical.find_project(&permit, INFISICAL_PROJECT_SLUG, None).await.unwrap(), [INFISICAL_PROJECT]);
}
