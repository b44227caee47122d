//! Custom roles have ids, which stay when their slugs are changed: in the lists of every age, and asked for where a list
//! doesn't say them.

use std::collections::BTreeMap;

use membership_operator::api::SubjectKind;
use membership_operator::provider::Provider;
use simulator::worlds::{INFISICAL_ADA, INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_OPS, INFISICAL_PROJECT};
use simulator::{ErrorStyle, Fault, Generations, Order, RoleRow};

use crate::{AGES, Stage, web};

const SUBJECTS: [(SubjectKind, &str); 3] = [
    (SubjectKind::Identity, INFISICAL_DEPLOYER),
    (SubjectKind::User, INFISICAL_ADA),
    (SubjectKind::Group, INFISICAL_OPS),
];

/// The ids of a subject's roles, by slug.
async fn ids(stage: &Stage, kind: SubjectKind, subject: &str) -> BTreeMap<String, Option<String>> {
    let member = stage.member(kind, subject).await.unwrap();
    member.entries.into_iter().map(|entry| (entry.role, entry.role_id)).collect()
}

fn requests_for_roles(stage: &Stage) -> usize {
    stage.server().count("GET", "/roles")
}

#[tokio::test]
async fn a_custom_role_keeps_its_id_when_its_slug_is_changed_on_servers_of_every_age() {
    for (generations, style) in AGES {
        for (kind, subject) in SUBJECTS {
            let case = format!("{kind:?} {generations:?} {style:?}");
            let stage = Stage::new().await;
            stage.be(generations, style);
            let id = stage.server().add_custom_role(INFISICAL_PROJECT, "releaser");
            let rows = ["viewer", "releaser"].map(RoleRow::permanent).to_vec();
            stage.server().add_membership(INFISICAL_PROJECT, subject, rows);
            let as_named = |slug: &str| BTreeMap::from([("viewer".into(), None), (slug.to_owned(), Some(id.clone()))]);
            assert_eq!(ids(&stage, kind, subject).await, as_named("releaser"), "{case}");
            stage.server().rename_custom_role(INFISICAL_PROJECT, "releaser", "publisher");
            assert_eq!(ids(&stage, kind, subject).await, as_named("publisher"), "{case}");
            // Another role under the former slug has another id.
            let another = stage.server().add_custom_role(INFISICAL_PROJECT, "releaser");
            let rows = ["viewer", "releaser"].map(RoleRow::permanent).to_vec();
            stage.server().set_roles(INFISICAL_PROJECT, subject, rows);
            assert_eq!(ids(&stage, kind, subject).await["releaser"], Some(another), "{case}");
            let asks = kind == SubjectKind::Identity && matches!(generations, Generations::All | Generations::G3);
            assert_eq!(requests_for_roles(&stage), if asks { 3 } else { 0 }, "{case}");
        }
    }
}

#[tokio::test]
async fn a_list_of_built_in_roles_asks_for_no_ids() {
    let stage = Stage::new().await;
    stage.be(Generations::G3, ErrorStyle::Current);
    stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["admin"]);
    stage.server().add_membership(INFISICAL_PROJECT, INFISICAL_DEPLOYER, vec![RoleRow::permanent("viewer")]);
    assert_eq!(ids(&stage, SubjectKind::Identity, INFISICAL_DEPLOYER).await, BTreeMap::from([("viewer".into(), None)]));
    assert_eq!(requests_for_roles(&stage), 0);
}

#[tokio::test]
async fn a_credential_that_may_not_read_roles_lists_without_their_ids_and_is_asked_again_after_a_check() {
    let stage = Stage::new().await;
    stage.be(Generations::G3, ErrorStyle::Current);
    let server = stage.server();
    let rights = ["identity:read", "identity:create", "identity:edit", "identity:delete"];
    server.add_custom_role_with(INFISICAL_PROJECT, "keeper", "Keeper", &rights);
    server.set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["keeper"]);
    server.add_membership(INFISICAL_PROJECT, INFISICAL_DEPLOYER, vec![RoleRow::permanent("deployer")]);
    let without = BTreeMap::from([("deployer".to_owned(), None)]);
    for _ in 0..3 {
        assert_eq!(ids(&stage, SubjectKind::Identity, INFISICAL_DEPLOYER).await, without);
    }
    assert_eq!(requests_for_roles(&stage), 1, "it isn't asked at each list");
    server.set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["admin"]);
    stage.infisical.verify(&stage.read().await).await.unwrap();
    let found = ids(&stage, SubjectKind::Identity, INFISICAL_DEPLOYER).await;
    assert!(found["deployer"].is_some(), "{found:?}");
}

/// Without the ids a renamed role would count as unmanaged: a list that lacks them is an error.
#[tokio::test]
async fn a_list_whose_role_ids_are_unavailable_fails() {
    let stage = Stage::new().await;
    stage.be(Generations::G3, ErrorStyle::Current);
    stage.server().add_membership(INFISICAL_PROJECT, INFISICAL_DEPLOYER, vec![RoleRow::permanent("deployer")]);
    stage.server().order(Order::next(Fault::status(503)).on("GET", "/roles"));
    let list = stage.infisical.list(&stage.read().await, &web(), SubjectKind::Identity).await;
    assert!(list.is_err(), "{list:?}");
    assert!(ids(&stage, SubjectKind::Identity, INFISICAL_DEPLOYER).await["deployer"].is_some());
}
