//! Identities, users and groups on servers of every age, as the server holds them afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use membership_operator::api::SubjectKind;
use membership_operator::core::member::{Change, Entry, Project, Target, Term, Window};
use membership_operator::provider::{Error, Provider};
use simulator::worlds::{INFISICAL_ADA, INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_OPS, INFISICAL_PROJECT};
use simulator::{Fault, Generations, Order, RoleRow};
use tokio::task::JoinSet;

use crate::{AGES, Stage, held, permanent, target};

const SUBJECTS: [(SubjectKind, &str); 3] = [
    (SubjectKind::Identity, INFISICAL_DEPLOYER),
    (SubjectKind::User, INFISICAL_ADA),
    (SubjectKind::Group, INFISICAL_OPS),
];

/// A member with these memberships, created in any way.
fn join(stage: &Stage, subject: &str, memberships: &[&str]) {
    for role in memberships {
        stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent(role)]);
    }
}

#[tokio::test]
async fn every_change_of_every_kind_is_carried_out() {
    for (generations, style) in AGES {
        for (kind, subject) in SUBJECTS {
            let case = format!("{kind:?} {generations:?} {style:?}");
            let stage = Stage::new().await;
            stage.be(generations, style);
            assert_eq!(stage.member(kind, subject).await, None, "{case}");
            if kind == SubjectKind::User {
                join(&stage, subject, &["member"]);
            } else {
                stage.apply(kind, subject, Change::Create(permanent(&["viewer", "deployer"]))).await.unwrap();
                assert_eq!(stage.held(subject), held(&["deployer", "viewer"]), "{case}");
                let shown = stage.member(kind, subject).await.unwrap();
                let roles: Vec<_> = shown.entries.iter().map(|entry| entry.role.as_str()).collect();
                assert_eq!(roles, ["viewer", "deployer"], "{case}: a custom role has its slug");
            }
            stage.apply(kind, subject, Change::Replace(permanent(&["viewer"]))).await.unwrap();
            assert_eq!(stage.held(subject), held(&["viewer"]), "{case}");
            stage.apply(kind, subject, Change::Recreate(permanent(&["admin"]))).await.unwrap();
            assert_eq!(stage.held(subject), held(&["admin"]), "{case}");
            for _ in 0..2 {
                stage.apply(kind, subject, Change::Remove).await.unwrap();
                assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, subject), 0, "{case}");
            }
            assert!(stage.server().mails().is_empty(), "{case}");
        }
    }
}

#[tokio::test]
async fn several_memberships_of_one_subject_become_one_or_none() {
    for (generations, style) in AGES {
        for (kind, subject) in SUBJECTS {
            for wanted in [Change::Recreate(permanent(&["viewer"])), Change::Remove] {
                let case = format!("{kind:?} {generations:?} {style:?} {wanted:?}");
                let stage = Stage::new().await;
                stage.be(generations, style);
                join(&stage, subject, &["viewer", "admin", "member", "admin"]);
                assert_eq!(stage.member(kind, subject).await.unwrap().memberships, 4, "{case}");
                stage.apply(kind, subject, wanted.clone()).await.unwrap();
                let left = usize::from(wanted != Change::Remove);
                assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, subject), left, "{case}");
                assert_eq!(stage.held(subject), if left == 1 { held(&["viewer"]) } else { held(&[]) }, "{case}");
                assert!(stage.server().mails().is_empty(), "{case}");
                if kind == SubjectKind::User {
                    assert_eq!(stage.server().count("POST", "/memberships"), 0, "{case}: no user is invited again");
                }
            }
        }
    }
}

/// At any interruption, what is in force is the former state, the wanted state, or less.
#[tokio::test]
async fn a_repair_that_is_interrupted_grants_nothing_more() {
    // All of them at once: each waits for its timeout.
    let mut deaths = JoinSet::new();
    for (generations, style) in [AGES[0], AGES[3]] {
        for (kind, subject) in SUBJECTS {
            for request in 1..=14 {
                deaths.spawn(async move {
                    let stage = Stage::new().await;
                    stage.be(generations, style);
                    join(&stage, subject, &["viewer", "viewer", "no-access"]);
                    stage.member(kind, subject).await.unwrap();
                    let death = Order::nth(request, Fault::Delay(Duration::from_secs(60)));
                    stage.server().order(death.on("", INFISICAL_PROJECT));
                    let change = Change::Recreate(permanent(&["member"]));
                    let done = tokio::time::timeout(Duration::from_secs(4), stage.apply(kind, subject, change)).await;
                    (format!("{kind:?} {generations:?}"), request, done.is_ok(), stage.effective(subject))
                });
            }
        }
    }
    let mut completed: BTreeMap<String, usize> = BTreeMap::new();
    for (case, request, done, effective) in deaths.join_all().await {
        let shown = format!("{case}, request {request}: {effective:?}");
        let known = |role: &String| ["viewer", "no-access", "member"].contains(&role.as_str());
        assert!(effective.iter().all(known), "{shown}");
        assert!(!done || effective == ["member"], "{shown}");
        *completed.entry(case).or_default() += usize::from(done);
    }
    assert_eq!(completed.len(), 2 * SUBJECTS.len());
    for (case, done) in completed {
        assert!((1..14).contains(&done), "{case}: some are cut short, some aren't, but {done} of 14");
    }
}

#[tokio::test]
async fn a_temporary_role_is_sent_with_the_base_that_the_kind_needs() {
    for (generations, style) in AGES {
        for (kind, subject) in SUBJECTS {
            let case = format!("{kind:?} {generations:?} {style:?}");
            let stage = Stage::new().await;
            stage.be(generations, style);
            join(&stage, subject, &["no-access"]);
            stage.member(kind, subject).await.unwrap();
            let old = generations == Generations::G1 && kind != SubjectKind::User;
            let base = stage.infisical.capabilities(kind).permanent_base;
            assert_eq!(base, if old { None } else { Some("no-access") }, "{case}");
            let start = stage.server().now();
            let end = start.checked_add(SignedDuration::from_secs(3600)).unwrap();
            let mut entries = vec![Entry::new("viewer", Term::Temporary(Window { start, end }))];
            entries.extend(base.map(Entry::permanent));
            let mut outcome = stage.apply(kind, subject, Change::Replace(entries.clone())).await;
            if let Err(Error::Changed { .. }) = outcome {
                // An old path on a newer server: planned again, with the base.
                entries.push(Entry::permanent(stage.infisical.capabilities(kind).permanent_base.unwrap()));
                outcome = stage.apply(kind, subject, Change::Replace(entries)).await;
            }
            outcome.unwrap();
            let shown = stage.member(kind, subject).await.unwrap();
            let ends: Vec<_> = shown.entries.iter().filter_map(|e| e.term.end()).map(|e| e.as_millisecond()).collect();
            assert_eq!(ends, [end.as_millisecond()], "{case}");
        }
    }
}

#[tokio::test]
async fn the_same_refusal_has_one_reason_for_every_kind_and_age() {
    for (generations, style) in AGES {
        for (kind, subject) in SUBJECTS {
            let case = format!("{kind:?} {generations:?} {style:?}");
            let stage = Stage::new().await;
            stage.be(generations, style);
            let error = stage.apply(kind, subject, Change::Replace(permanent(&["viewer"]))).await.unwrap_err();
            assert!(matches!(error, Error::Changed { .. }), "{case}: {error:?}");
            join(&stage, subject, &["viewer"]);
            let error =
                stage.apply(kind, subject, Change::Replace(permanent(&["viewer", "deployr"]))).await.unwrap_err();
            assert!(
                matches!(&error, Error::RoleNotFound { role, .. } if role.as_deref() == Some("deployr")),
                "{case}: {error:?}"
            );
            let custom = stage.apply(kind, subject, Change::Replace(permanent(&["custom"]))).await;
            assert!(matches!(custom, Err(Error::Rejected { .. })), "{case}: {custom:?}");
            stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["viewer"]);
            for change in [Change::Replace(permanent(&["viewer"])), Change::Remove] {
                let error = stage.apply(kind, subject, change).await.unwrap_err();
                assert!(matches!(error, Error::Forbidden { .. }), "{case}: {error:?}");
            }
            stage.server().remove_member(INFISICAL_PROJECT, INFISICAL_OPERATOR);
            let error = stage.apply(kind, subject, Change::Replace(permanent(&["viewer"]))).await.unwrap_err();
            assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{case}: {error:?}");
            assert_eq!(stage.held(subject), held(&["viewer"]), "{case}");
        }
    }
}

#[tokio::test]
async fn what_is_no_uuid_is_not_sent() {
    let stage = Stage::new().await;
    let permit = stage.write().await;
    for (kind, _) in SUBJECTS {
        for id in ["", "carl@acme.example", "{6ec3d92b-3251-4084-9a12-ffb509a03ffc}"] {
            let error = stage.apply(kind, id, Change::Remove).await.unwrap_err();
            assert!(matches!(error, Error::SubjectNotFound { .. }), "{error:?}");
            let project = Project { organization_id: None, id: id.to_owned(), grant_id: None };
            let target = Target { project: project.clone(), subject_kind: kind, ..target(INFISICAL_ADA) };
            let error = stage.infisical.apply(&permit, &target, None, &Change::Remove).await.unwrap_err();
            assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error:?}");
            assert!(stage.infisical.list(&permit, &project, kind).await.is_err());
        }
    }
    assert!(stage.server().requests().is_empty());
}

#[tokio::test]
async fn a_group_without_roles_is_repaired_by_the_change_that_finds_it() {
    let stage = Stage::new().await;
    stage.server().be_october_2024();
    stage.server().add_membership(INFISICAL_PROJECT, INFISICAL_OPS, Vec::new());
    assert_eq!(stage.member(SubjectKind::Group, INFISICAL_OPS).await, None, "it isn't listed");
    stage.apply(SubjectKind::Group, INFISICAL_OPS, Change::Create(permanent(&["viewer"]))).await.unwrap();
    assert_eq!(stage.held(INFISICAL_OPS), held(&["viewer"]));
    assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, INFISICAL_OPS), 1);
}

#[tokio::test]
async fn the_literal_custom_of_a_user_or_a_group_is_left_out_of_what_is_sent() {
    for (kind, subject) in [(SubjectKind::User, INFISICAL_ADA), (SubjectKind::Group, INFISICAL_OPS)] {
        let stage = Stage::new().await;
        stage.server().be_october_2024();
        stage.server().set_roles(
            INFISICAL_PROJECT,
            subject,
            vec![RoleRow::permanent("viewer"), RoleRow::permanent("custom")],
        );
        let shown = stage.member(kind, subject).await.unwrap();
        stage.apply(kind, subject, Change::Replace(shown.entries)).await.unwrap();
        assert_eq!(stage.effective(subject), ["viewer"], "{kind:?}");
    }
}
