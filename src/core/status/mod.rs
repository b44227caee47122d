//! The contents of an object's status, and the only way to set a condition. Pure: the one write is in
//! `controller::write`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::condition::{Condition, Standing, Time};
use crate::api::membership::{Drift, ManagedRole, RoleState, RoleStatus};
use crate::api::{self, ProjectMembershipSpec, Reason};
use crate::core::grants::{self, GrantState};
use crate::core::layers::Layer;
use crate::core::member::{Term, Window};
use crate::core::text::bounded;

/// How long an object may wait, in seconds, before Ready changes from Unknown to False.
pub const PATIENCE_SECONDS: i64 = 300;
/// The maximum number of characters of a condition's message.
const LONGEST_MESSAGE: usize = 1024;

/// Why an object is or is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyCondition {
    pub reason: Reason,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl ReadyCondition {
    /// A reason and its message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The maximum number of differences in a status (the schema's bound).
pub const MOST_DRIFT: usize = 256;

/// The conditions for `ready_condition`: Ready always; Reconciling, Stalled and Drifted only while True. `lastTransitionTime`
/// changes only when the status of a condition changes.
pub fn conditions(
    old: &[Condition],
    ready_condition: &ReadyCondition,
    drift: &[Drift],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let standing = ready_condition.reason.standing();
    let reason = ready_condition.reason.to_string();
    let message = bounded(&ready_condition.message, LONGEST_MESSAGE);
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        let known = old.iter().find(|c| c.type_ == type_ && c.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: Some(generation),
            last_transition_time: known
                .map_or_else(|| Time(grants::whole_second(now)), |c| c.last_transition_time.clone()),
        }
    };
    let mut conditions = vec![condition("Ready", ready(old, standing, now), &reason, &message)];
    match standing {
        Standing::Waiting | Standing::Failing => conditions.push(condition("Reconciling", "True", &reason, &message)),
        Standing::Stalled => conditions.push(condition("Stalled", "True", &reason, &message)),
        Standing::Ready => {}
    }
    if !drift.is_empty() {
        let differences: Vec<String> = drift.iter().map(|drift| format!("{:?} {:?}", drift.kind, drift.role)).collect();
        conditions.push(condition("Drifted", "True", "Drifted", &bounded(&differences.join(", "), LONGEST_MESSAGE)));
    }
    conditions
}

/// As [`conditions`], but Ready is False immediately if the reason would leave it Unknown at first.
pub fn not_ready(
    old: &[Condition],
    ready_condition: &ReadyCondition,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = conditions(old, ready_condition, &[], generation, now);
    for ready in conditions.iter_mut().filter(|condition| condition.type_ == "Ready" && condition.status != "False") {
        let was = old.iter().find(|known| known.type_ == "Ready" && known.status == "False");
        "False".clone_into(&mut ready.status);
        ready.last_transition_time =
            was.map_or_else(|| Time(grants::whole_second(now)), |was| was.last_transition_time.clone());
    }
    conditions
}

fn ready(old: &[Condition], standing: Standing, now: Timestamp) -> &'static str {
    let known = old.iter().find(|c| c.type_ == "Ready");
    let was = known.map_or("Unknown", |c| c.status.as_str());
    match standing {
        Standing::Ready => "True",
        Standing::Failing | Standing::Stalled => "False",
        Standing::Waiting => {
            let stalled = old.iter().any(|c| c.type_ == "Stalled");
            let since = known.filter(|c| c.status == "Unknown").map(|c| c.last_transition_time.0);
            let patient = since.is_none_or(|since| now.duration_since(since).as_secs() < PATIENCE_SECONDS);
            if (was == "False" && !stalled) || !patient { "False" } else { "Unknown" }
        }
    }
}

/// When an object that waits must be reconciled again so that Ready becomes False in time. `None`: it does not wait.
pub fn patience_ends(conditions: &[Condition]) -> Option<Timestamp> {
    let ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status == "Unknown")?;
    ready.last_transition_time.0.checked_add(jiff::SignedDuration::from_secs(PATIENCE_SECONDS)).ok()
}

/// What is known about the declared roles at the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// The roles that an observation shows in force. `None`: there is no observation.
    pub shown: Option<BTreeSet<String>>,
    /// Roles that this object granted, whose end has passed, and that are or may be still in force.
    pub overdue: BTreeSet<String>,
    /// Roles that were recorded as about to be granted and whose grant was not sent.
    pub unsent: BTreeSet<String>,
    /// When the object was created, if this is its first pass.
    pub new_since: Option<Timestamp>,
}

/// `status.roles` of an object that counts, among the `layers` of its target: every declared role, in order. A role in effect that is not in force yet is
/// Scheduled until the provider has accepted it; a role that is still in force after its end is Active.
pub fn roles(
    layer: &Layer,
    layers: &[Layer],
    old: &[RoleStatus],
    in_force: &InForce,
    now: Timestamp,
) -> Vec<RoleStatus> {
    let others = || layers.iter().filter(|other| other.uid != layer.uid);
    let shown = |role: &String| in_force.shown.as_ref().is_some_and(|shown| shown.contains(role));
    let state = |grant: &grants::Grant| match grant.state(now) {
        GrantState::Scheduled => RoleState::Scheduled,
        GrantState::Expired if in_force.overdue.contains(&grant.role) => RoleState::Active,
        GrantState::Expired => RoleState::Expired,
        GrantState::Active if !shown(&grant.role) => RoleState::Scheduled,
        GrantState::Active if others().any(|other| other.has_in_effect(&grant.role, now)) => RoleState::Shared,
        GrantState::Active => RoleState::Active,
    };
    let of = |grant: &grants::Grant| {
        let known = old.iter().find(|role| role.role == grant.role);
        let granted = layer.managed.contains_key(&grant.role) && !in_force.unsent.contains(&grant.role);
        let mut role = role_status(&grant.role, state(grant), grant.term);
        // Its window was emptied so that it stays Expired. It is reported with the former window.
        let expired = |known: &&RoleStatus| known.state == RoleState::Expired && known.start_time == role.start_time;
        if let Some(known) = known.filter(expired).filter(|_| role.start_time == role.expiration_time) {
            role.expiration_time = known.expiration_time;
        }
        let missed = !granted && was_to_come(known, in_force.new_since, role.expiration_time);
        with_message(role, known, missed, now)
    };
    layer.grants.iter().map(of).collect()
}

fn role_status(role: &str, state: RoleState, term: Term) -> RoleStatus {
    let start_time = term.window().map(|window| window.start);
    RoleStatus { role: role.to_owned(), state, start_time, expiration_time: term.end(), message: None }
}

/// Whether a role was scheduled at the last pass, or when its object was created if there was no pass yet.
fn was_to_come(known: Option<&RoleStatus>, new_since: Option<Timestamp>, end: Option<Timestamp>) -> bool {
    match known {
        Some(known) => known.state == RoleState::Scheduled && known.expiration_time == end,
        None => new_since.zip(end).is_some_and(|(created, end)| created < end),
    }
}

/// The message in `status.roles` of a role whose window ended before it could be granted.
pub const NOT_GRANTED: &str = "not granted: its window ended before the grant was possible";

/// The roles that a status reports as not granted for the first time.
pub fn missed<'a>(old: &'a [RoleStatus], new: &'a [RoleStatus]) -> impl Iterator<Item = &'a RoleStatus> {
    let is_missed = |role: &RoleStatus| role.message.as_deref() == Some(NOT_GRANTED);
    let was_missed = move |role: &RoleStatus| {
        old.iter().any(|old| is_missed(old) && (&old.role, old.expiration_time) == (&role.role, role.expiration_time))
    };
    new.iter().filter(move |role| is_missed(role) && !was_missed(role))
}

/// Adds the message that the state alone does not express. `known`: the former status of the role. `missed`: the role
/// was to be granted, and nothing was sent.
fn with_message(role: RoleStatus, known: Option<&RoleStatus>, missed: bool, now: Timestamp) -> RoleStatus {
    let ended = role.expiration_time.is_some_and(|end| end <= now);
    let known = known.filter(|known| known.expiration_time == role.expiration_time);
    let message = match (role.state, known) {
        (RoleState::Active | RoleState::Shared, _) if ended => Some(
            "overdue: the end has passed, and the role could not be removed yet; the condition Ready has the reason"
                .to_owned(),
        ),
        (RoleState::Expired, _) if missed => Some(NOT_GRANTED.to_owned()),
        (RoleState::Expired, Some(RoleStatus { state: RoleState::Expired, message, .. })) => message.clone(),
        _ => None,
    };
    RoleStatus { message, ..role }
}

/// `status.roles` of an object that does not count and was admitted before: the recorded roles are kept with their
/// ends, or with earlier ends if the spec brought the end of `recorded` forward.
pub fn frozen_roles(
    old: &[RoleStatus],
    recorded: &[ManagedRole],
    in_force: &InForce,
    now: Timestamp,
) -> Vec<RoleStatus> {
    let frozen = |role: &RoleStatus| {
        let recorded = recorded.iter().find(|recorded| recorded.role == role.role);
        let earlier =
            recorded.and_then(|r| r.expiration_time).filter(|end| role.expiration_time.is_none_or(|e| *end < e));
        let start_time = role.start_time.or(recorded.filter(|_| earlier.is_some()).and_then(|r| r.start_time));
        let role = &RoleStatus { start_time, expiration_time: earlier.or(role.expiration_time), ..role.clone() };
        let there = in_force.shown.as_ref().is_none_or(|shown| shown.contains(&role.role));
        let ended = role.expiration_time.is_some_and(|end| end <= now);
        let state = match role.state {
            _ if ended && in_force.overdue.contains(&role.role) => RoleState::Active,
            _ if ended => RoleState::Expired,
            RoleState::Active | RoleState::Shared if !there => RoleState::Scheduled,
            state => state,
        };
        let granted = recorded.is_some() && !in_force.unsent.contains(&role.role);
        let missed = !granted && was_to_come(Some(role), None, role.expiration_time);
        with_message(RoleStatus { state, ..role.clone() }, Some(role), missed, now)
    };
    old.iter().map(frozen).collect()
}

/// `status.roles` of an object that only observes: its declaration, with the known starts and the observed roles.
pub fn observed_roles(
    spec: &ProjectMembershipSpec,
    old: &[RoleStatus],
    shown: Option<&BTreeSet<String>>,
    now: Timestamp,
) -> Vec<RoleStatus> {
    let of = |grant: &api::membership::RoleGrant| {
        let known = old.iter().find(|role| role.role == grant.role);
        let temporary = grant.temporary.clone().unwrap_or_default();
        let read = |time: Option<api::Time>| time.and_then(|time| time.timestamp().ok());
        let start_time = read(temporary.start_time).or(known.and_then(|role| role.start_time));
        let end = read(temporary.expiration_time).map(|end| start_time.map_or(end, |start| end.max(start)));
        let state = match () {
            () if end.is_some_and(|end| end <= now) => RoleState::Expired,
            () if start_time.is_some_and(|start| start > now) => RoleState::Scheduled,
            () if shown.is_some_and(|shown| shown.contains(&grant.role)) => RoleState::Active,
            () => RoleState::Scheduled,
        };
        RoleStatus { role: grant.role.clone(), state, start_time, expiration_time: end, message: None }
    };
    spec.roles.iter().map(of).collect()
}

/// `status.activeRoles`, which `kubectl get` shows.
pub fn active_roles(roles: &[RoleStatus]) -> String {
    let active = roles.iter().filter(|role| matches!(role.state, RoleState::Active | RoleState::Shared));
    active.map(|role| role.role.as_str()).collect::<Vec<_>>().join(", ")
}

/// A managed role's term.
pub fn term_of(role: &ManagedRole) -> Term {
    match (role.start_time, role.expiration_time) {
        (None, None) => Term::Permanent,
        (start, end) => {
            Term::Temporary(Window { start: start.unwrap_or(Timestamp::MIN), end: end.unwrap_or(Timestamp::MAX) })
        }
    }
}

/// `status.managedRoles` for a record. `id`: returns the id of a role, if it is known.
pub fn managed_roles(record: &BTreeMap<String, Term>, id: impl Fn(&str) -> Option<String>) -> Vec<ManagedRole> {
    let of = |(role, term): (&String, &Term)| {
        let start_time = term.window().map(|window| window.start);
        ManagedRole { role: role.clone(), role_id: id(role), start_time, expiration_time: term.end() }
    };
    record.iter().map(of).collect()
}

/// The next instant at which a declared or a managed role starts or ends.
pub fn next_transition(roles: &[RoleStatus], managed: &[ManagedRole], now: Timestamp) -> Option<Timestamp> {
    let of_roles = roles.iter().filter(|role| role.state != RoleState::Expired);
    let of_roles = of_roles.flat_map(|role| [role.start_time, role.expiration_time]);
    let of_managed = managed.iter().flat_map(|role| [role.start_time, role.expiration_time]);
    of_roles.chain(of_managed).flatten().filter(|edge| *edge > now && *edge < Timestamp::MAX).min()
}

#[cfg(test)]
mod tests;
