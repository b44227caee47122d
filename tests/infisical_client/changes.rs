//! Every change, on both generations, as the server holds it afterwards.

use jiff::{SignedDuration, Timestamp};
use membership_operator::api::SubjectKind;
use membership_operator::core::member::{Change, Entry, Member, Project, Target, Term, Window};
use membership_operator::provider::{Error, Provider, Receipt};
use simulator::worlds::{INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_PROJECT, INFISICAL_REPORTER};
use simulator::{ErrorStyle, Generations, RoleRow};

use crate::{Stage, held, permanent, target, web};

const SERVERS: [(Generations, ErrorStyle); 3] = [
    (Generations::G1, ErrorStyle::October2024),
    (Generations::G1, ErrorStyle::Current),
    (Generations::G1AndG2, ErrorStyle::Current),
];

async fn apply(stage: &Stage, identity: &str, change: Change) -> Result<Receipt, Error> {
    let permit = stage.write().await;
    stage.infisical.apply(&permit, &target(identity), None, &change).await
}

async fn member(stage: &Stage, identity: &str) -> Option<Member> {
    let permit = stage.read().await;
    let listing = stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.unwrap();
    assert!(!listing.partial);
    listing.members.into_iter().find(|member| member.subject_id == identity)
}

#[tokio::test]
async fn every_change_is_carried_out() {
    for (generations, style) in SERVERS {
        let stage = Stage::new().await;
        stage.be(generations, style);
        stage.server().add_custom_role(INFISICAL_PROJECT, "deployer");
        let subject = INFISICAL_DEPLOYER;
        assert_eq!(member(&stage, subject).await, None);
        assert!(apply(&stage, subject, Change::Create(permanent(&["viewer", "deployer"]))).await.is_ok());
        assert_eq!(stage.held(subject), held(&["deployer", "viewer"]), "{generations:?}");
        assert_eq!(member(&stage, subject).await.unwrap().entries.len(), 2);
        assert!(apply(&stage, subject, Change::Replace(permanent(&["member"]))).await.is_ok());
        assert_eq!(stage.held(subject), held(&["member"]), "{generations:?}");
        assert!(apply(&stage, subject, Change::Recreate(permanent(&["viewer"]))).await.is_ok());
        assert_eq!(stage.held(subject), held(&["viewer"]), "{generations:?}");
        for _ in 0..2 {
            assert!(apply(&stage, subject, Change::Remove).await.is_ok(), "a second removal is as good");
        }
        assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, subject), 0);
        assert_eq!(stage.server().logins(), 1);
    }
}

#[tokio::test]
async fn a_temporary_role_ends_at_its_instant_at_the_server() {
    let stage = Stage::new().await;
    let start = stage.server().now().checked_sub(SignedDuration::from_secs(60)).unwrap();
    for (seconds, range) in [(5400, "90m"), (7200, "2h"), (1_209_600, "2w"), (61, "61s")] {
        let end = start.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        let term = Term::Temporary(Window { start, end });
        let entries = vec![Entry::new("viewer", term), Entry::permanent("no-access")];
        let shown = member(&stage, INFISICAL_DEPLOYER).await;
        let change = if shown.is_none() { Change::Create(entries) } else { Change::Replace(entries) };
        apply(&stage, INFISICAL_DEPLOYER, change).await.unwrap();
        let rows = stage.server().roles(INFISICAL_PROJECT, INFISICAL_DEPLOYER);
        let window = rows.iter().find_map(|row| row.temporary.clone()).unwrap();
        assert_eq!((window.range.as_str(), window.end.as_millisecond()), (range, end.as_millisecond()));
        let listed = member(&stage, INFISICAL_DEPLOYER).await.unwrap();
        let ends: Vec<_> = listed.entries.iter().filter_map(|e| e.term.end()).map(|e| e.as_millisecond()).collect();
        assert_eq!(ends, [end.as_millisecond()]);
    }
}

#[tokio::test]
async fn a_list_of_temporary_roles_only_gets_its_base_where_the_server_wants_one() {
    // The old path on a server that refuses it all the same: planned again, with the base.
    let stage = Stage::new().await;
    stage.be(Generations::G1, ErrorStyle::Current);
    let permit = stage.read().await;
    stage.infisical.verify(&permit).await.unwrap();
    assert_eq!(stage.infisical.capabilities(SubjectKind::Identity).permanent_base, None);
    let start = stage.server().now();
    let end = start.checked_add(SignedDuration::from_secs(3600)).unwrap();
    let mut entries = vec![Entry::new("viewer", Term::Temporary(Window { start, end }))];
    let error = apply(&stage, INFISICAL_DEPLOYER, Change::Create(entries.clone())).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error:?}");
    assert_eq!(stage.infisical.capabilities(SubjectKind::Identity).permanent_base, Some("no-access"));
    let error = apply(&stage, INFISICAL_DEPLOYER, Change::Create(entries.clone())).await.unwrap_err();
    assert!(matches!(&error, Error::Rejected { message } if message.contains("no-access")), "{error:?}");
    entries.push(Entry::permanent("no-access"));
    apply(&stage, INFISICAL_DEPLOYER, Change::Create(entries)).await.unwrap();
}

#[tokio::test]
async fn unmanaged_entries_go_back_byte_for_byte() {
    for (generations, style) in SERVERS {
        let stage = Stage::new().await;
        stage.be(generations, style);
        let start: Timestamp = "2026-11-21T16:43:22.799Z".parse().unwrap();
        let subject = INFISICAL_REPORTER;
        for role in ["auditor", "deployer"] {
            stage.server().add_custom_role(INFISICAL_PROJECT, role);
        }
        let unmanaged = vec![
            RoleRow::temporary("auditor", start, "1 hour"),
            RoleRow::temporary("member", start, "1.5h"),
            RoleRow::permanent("viewer"),
        ];
        stage.server().set_roles(INFISICAL_PROJECT, subject, unmanaged);
        let before = stage.server().roles(INFISICAL_PROJECT, subject);
        let mut entries = member(&stage, subject).await.unwrap().entries;
        entries.push(Entry::permanent("deployer"));
        apply(&stage, subject, Change::Replace(entries)).await.unwrap();
        for row in before {
            let after = stage.server().roles(INFISICAL_PROJECT, subject);
            assert!(after.iter().any(|a| a.role == row.role && a.temporary == row.temporary), "{row:?} in {after:?}");
        }
    }
}

#[tokio::test]
async fn several_memberships_of_one_identity_are_one_row_and_become_one() {
    for (generations, style) in SERVERS {
        let stage = Stage::new().await;
        stage.be(generations, style);
        let subject = INFISICAL_REPORTER;
        for roles in [["viewer"], ["admin"], ["member"]] {
            let rows = roles.map(RoleRow::permanent).into();
            stage.server().add_membership(INFISICAL_PROJECT, subject, rows);
        }
        let shown = member(&stage, subject).await.unwrap();
        assert_eq!(shown.memberships, 3);
        let mut roles: Vec<_> = shown.entries.iter().map(|entry| entry.role.as_str()).collect();
        roles.sort_unstable();
        assert_eq!(roles, ["admin", "member", "viewer"]);
        let permit = stage.write().await;
        let wanted = Change::Replace(permanent(&["viewer"]));
        stage.infisical.repair(&permit, &target(subject), None, &wanted, Some(&shown)).await.unwrap();
        assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, subject), 1);
        assert_eq!(stage.held(subject), held(&["viewer"]));
        assert_eq!(stage.server().count("PATCH", ""), 0, "a PATCH would write one of them");
    }
}

#[tokio::test]
async fn refusals_have_one_reason_at_every_server() {
    for (generations, style) in SERVERS {
        let stage = Stage::new().await;
        stage.be(generations, style);
        let unknown = "14e52a07-1cdd-4da3-a32d-8f9c8a80290f";
        let roles = |roles: &[&str]| permanent(roles);
        let case = format!("{generations:?} {style:?}");
        let error = apply(&stage, INFISICAL_DEPLOYER, Change::Replace(roles(&["viewer"]))).await.unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{case}: {error:?}");
        let error = apply(&stage, INFISICAL_OPERATOR, Change::Create(roles(&["viewer"]))).await.unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{case}: {error:?}");
        let error = apply(&stage, unknown, Change::Create(roles(&["viewer"]))).await.unwrap_err();
        assert!(matches!(error, Error::SubjectNotFound { .. }), "{case}: {error:?}");
        let error = apply(&stage, INFISICAL_DEPLOYER, Change::Create(roles(&["viewer", "deployr"]))).await.unwrap_err();
        assert!(
            matches!(&error, Error::RoleNotFound { role, .. } if role.as_deref() == Some("deployr")),
            "{case}: {error:?}"
        );
        assert!(error.to_string().contains("check the slug under Access Control → Roles"), "{error}");
        let elsewhere = Project { organization_id: None, id: unknown.to_owned(), grant_id: None };
        let permit = stage.read().await;
        let error = stage.infisical.list(&permit, &elsewhere, SubjectKind::Identity).await.unwrap_err();
        let gone = style == ErrorStyle::Current;
        assert!(matches!(error, Error::ProjectNotFound { gone: g, .. } if g == gone), "{case}: {error:?}");
        stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["viewer"]);
        let error = apply(&stage, INFISICAL_DEPLOYER, Change::Create(roles(&["viewer"]))).await.unwrap_err();
        assert!(matches!(error, Error::Forbidden { .. }), "{case}: {error:?}");
        stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["member"]);
        let error = apply(&stage, INFISICAL_DEPLOYER, Change::Create(roles(&["admin"]))).await.unwrap_err();
        assert!(matches!(error, Error::Forbidden { .. }), "{case}: {error:?}");
        stage.server().remove_member(INFISICAL_PROJECT, INFISICAL_OPERATOR);
        let error = apply(&stage, INFISICAL_DEPLOYER, Change::Create(roles(&["viewer"]))).await.unwrap_err();
        assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{case}: {error:?}");
    }
}

#[tokio::test]
async fn what_would_be_answered_with_500_is_not_sent() {
    let stage = Stage::new().await;
    let permit = stage.write().await;
    let create = Change::Create(permanent(&["viewer"]));
    for id in ["not-a-uuid", "", "6ec3d92b32514084 9a12ffb509a03ffc", "{6ec3d92b-3251-4084-9a12-ffb509a03ffc}"] {
        let error = stage.infisical.apply(&permit, &target(id), None, &create).await.unwrap_err();
        assert!(matches!(error, Error::SubjectNotFound { .. }), "{error:?}");
        let nowhere = Project { organization_id: None, id: id.to_owned(), grant_id: None };
        let error = stage.infisical.list(&permit, &nowhere, SubjectKind::Identity).await.unwrap_err();
        assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error:?}");
    }
    let user = Target { subject_kind: SubjectKind::User, ..target(INFISICAL_DEPLOYER) };
    assert!(matches!(stage.infisical.apply(&permit, &user, None, &create).await, Err(Error::Rejected { .. })));
    let custom = Change::Create(permanent(&["custom"]));
    let refused = stage.infisical.apply(&permit, &target(INFISICAL_DEPLOYER), None, &custom).await;
    assert!(matches!(refused, Err(Error::Rejected { .. })));
    assert_eq!(stage.server().requests().len(), 0);
    let upper = target(&INFISICAL_DEPLOYER.to_uppercase());
    stage.infisical.apply(&permit, &upper, None, &create).await.unwrap();
    assert_eq!(stage.held(INFISICAL_DEPLOYER), held(&["viewer"]));
}

#[tokio::test]
async fn an_identity_that_is_gone_can_still_be_removed() {
    for (generations, style) in SERVERS {
        let stage = Stage::new().await;
        stage.be(generations, style);
        apply(&stage, INFISICAL_DEPLOYER, Change::Create(permanent(&["viewer"]))).await.unwrap();
        stage.server().delete_identity(INFISICAL_DEPLOYER);
        assert_eq!(member(&stage, INFISICAL_DEPLOYER).await, None);
        assert!(apply(&stage, INFISICAL_DEPLOYER, Change::Remove).await.is_ok(), "{generations:?} {style:?}");
    }
}

#[tokio::test]
async fn a_member_with_the_literal_custom_can_be_repaired_and_removed() {
    for remove in [true, false] {
        let stage = Stage::new().await;
        stage.server().be_october_2024();
        let rows = vec![RoleRow::permanent("viewer"), RoleRow::permanent("custom")];
        stage.server().set_roles(INFISICAL_PROJECT, INFISICAL_REPORTER, rows);
        let shown = member(&stage, INFISICAL_REPORTER).await.unwrap();
        if remove {
            apply(&stage, INFISICAL_REPORTER, Change::Remove).await.unwrap();
            assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, INFISICAL_REPORTER), 0);
        } else {
            apply(&stage, INFISICAL_REPORTER, Change::Replace(shown.entries)).await.unwrap();
            assert_eq!(stage.held(INFISICAL_REPORTER), held(&["viewer"]));
        }
    }
}

#[tokio::test]
async fn a_membership_without_roles_is_repaired_by_the_change_that_finds_it() {
    let stage = Stage::new().await;
    stage.server().be_october_2024();
    stage.server().add_membership(INFISICAL_PROJECT, INFISICAL_REPORTER, Vec::new());
    assert_eq!(member(&stage, INFISICAL_REPORTER).await, None, "it isn't listed");
    apply(&stage, INFISICAL_REPORTER, Change::Create(permanent(&["viewer"]))).await.unwrap();
    assert_eq!(stage.held(INFISICAL_REPORTER), held(&["viewer"]));
    assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, INFISICAL_REPORTER), 1);
}

/// docs/reference/infisical.md, "Roles in answers".
#[tokio::test]
async fn a_renamed_slug_keeps_its_assignments_and_is_read_under_its_new_name() {
    let stage = Stage::new().await;
    apply(&stage, INFISICAL_REPORTER, Change::Create(permanent(&["deployer"]))).await.unwrap();
    stage.server().rename_custom_role(INFISICAL_PROJECT, "deployer", "shipper");
    let shown = member(&stage, INFISICAL_REPORTER).await.unwrap();
    let roles: Vec<&str> = shown.entries.iter().map(|entry| entry.role.as_str()).collect();
    assert_eq!(roles, ["shipper"]);
}

/// docs/reference/infisical.md, "Speed".
#[tokio::test]
async fn a_list_is_one_request_without_limit_since_pages_lose_and_double_rows() {
    let stage = Stage::new().await;
    let twins: Vec<String> = (0..250).map(|n| format!("00000000-0000-4000-8000-{n:012}")).collect();
    for twin in &twins {
        stage.server().add_identity(twin, "twin");
        stage.server().set_roles(INFISICAL_PROJECT, twin, vec![RoleRow::permanent("viewer")]);
    }
    assert!(member(&stage, &twins[0]).await.is_some());
    let lists: Vec<_> =
        stage.server().requests().into_iter().filter(|r| r.path.ends_with("/identity-memberships")).collect();
    assert_eq!(lists.iter().map(|list| list.query.as_str()).collect::<Vec<_>>(), [""]);
    let permit = stage.read().await;
    let listing = stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.unwrap();
    assert!(!listing.partial && twins.iter().all(|twin| listing.members.iter().any(|m| m.subject_id == *twin)));
}
