//! Statuses as the operator may write them, with times and texts at the edges of what there is.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use membership_operator::api::membership::{
    CarriedRole, Drift, DriftKind, RoleState, RoleStatus, SubjectKind, TargetStatus,
};
use membership_operator::api::{ProjectMembershipStatus, Reason};
use membership_operator::core::member::{Term, Window};
use membership_operator::core::status::{self, ReadyCondition};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Any instant that there is.
fn instant() -> impl Strategy<Value = Timestamp> {
    let all = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    let near = 1_700_000_000_i64..1_900_000_000;
    let whole = prop_oneof![all, near].prop_map(|seconds| Timestamp::from_second(seconds).unwrap());
    let fraction = prop_oneof![Just(0), Just(1), Just(999_999_999), 0..1_000_000_000_i64];
    let exact = (whole, fraction)
        .prop_map(|(at, nanoseconds)| at.checked_add(jiff::SignedDuration::from_nanos(nanoseconds)).unwrap_or(at));
    prop_oneof![8 => exact, 1 => Just(Timestamp::MIN), 1 => Just(Timestamp::MAX)]
}

/// Any time that the operator's clock may show.
fn clock() -> impl Strategy<Value = Timestamp> {
    (0_i64..32_503_680_000).prop_map(|seconds| Timestamp::from_second(seconds).unwrap())
}

fn window() -> impl Strategy<Value = Window> {
    (instant(), instant()).prop_map(|(start, end)| Window { start, end })
}

fn role() -> impl Strategy<Value = String> {
    "[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
}

/// Any status that the operator may write.
pub fn status() -> impl Strategy<Value = ProjectMembershipStatus> {
    let states = select(vec![RoleState::Active, RoleState::Shared, RoleState::Scheduled, RoleState::Expired]);
    let of_role = (role(), states, option::of(instant()), option::of(instant()), option::of("[ -~]{0,40}"));
    let roles = prop::collection::vec(of_role, 0..4).prop_map(|roles| {
        let status = |(role, state, start_time, expiration_time, message)| RoleStatus {
            role,
            state,
            start_time,
            expiration_time,
            message,
        };
        roles.into_iter().map(status).collect::<Vec<_>>()
    });
    let term = option::of(window()).prop_map(|window| window.map_or(Term::Permanent, Term::Temporary));
    let record = prop::collection::btree_map(role(), term, 0..4);
    let carried = (role(), option::of(window()));
    let reported =
        (select(vec![Reason::Converged, Reason::Forbidden, Reason::Unreachable]), "(.|\n){0,40}", 1_i64..=i64::MAX);
    let rest = (option::of(instant()), option::of("(.|\n){0,40}"), any::<bool>());
    (roles, record, carried, reported, clock(), rest).prop_map(|(roles, record, carried, reported, now, rest)| {
        let (reason, message, generation) = reported;
        let (next_transition_time, last_handled_reconcile_at, drifted) = rest;
        let drift = Drift { role: carried.0.clone(), kind: DriftKind::Unexpected };
        let drift = if drifted { vec![drift] } else { Vec::new() };
        let at = Time(now);
        let old = Condition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            last_transition_time: at,
            reason: "Old".to_owned(),
            message: String::new(),
            observed_generation: None,
        };
        ProjectMembershipStatus {
            observed_generation: generation,
            conditions: status::conditions(&[old], &ReadyCondition::new(reason, message), &drift, generation, now),
            target: Some(TargetStatus {
                provider: "MembershipProvider/team-a/infisical".to_owned(),
                endpoint: "https://app.infisical.com".to_owned(),
                organization_id: None,
                project_id: "1".to_owned(),
                grant_id: Some("2".to_owned()),
                subject_kind: SubjectKind::User,
                subject_id: "3".to_owned(),
            }),
            active_roles: status::active_roles(&roles),
            roles,
            managed_roles: status::managed_roles(&record, |role| drifted.then(|| format!("id of {role}"))),
            next_transition_time,
            observed_pending_grants: drifted.then_some(generation),
            unanswered_until: next_transition_time,
            drift,
            carried_roles: vec![CarriedRole {
                role: carried.0,
                start_time: carried.1.map(|window| window.start),
                expiration_time: carried.1.map(|window| window.end),
                range: None,
                start: None,
            }],
            last_handled_reconcile_at,
        }
    })
}
