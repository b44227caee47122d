//! What an object's status says, and the only way to set a condition. Pure: the one write is in `controller::write`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::condition::Standing;
use crate::api::membership::{Drift, ManagedRole, RoleState, RoleStatus};
use crate::api::{self, ProjectMembershipSpec, Reason};
use crate::grants::{self, State};
use crate::layers::Layer;
use crate::member::{Term, Window};
use crate::provider::http::text::bounded;

/// How long an object may wait before Ready turns from Unknown to False.
pub const PATIENCE_SECONDS: i64 = 300;
/// The most characters of a condition's message.
const LONGEST_MESSAGE: usize = 1024;

/// Why an object is or isn't ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The reason.
    pub reason: Reason,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl Told {
    /// A reason and its message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The most differences that a status lists (the schema's bound).
pub const MOST_DRIFT: usize = 256;

/// The conditions that say `told`: Ready always; Reconciling, Stalled and Drifted only while True.
/// `lastTransitionTime` moves only when a status changes.
pub fn conditions(old: &[Condition], told: &Told, drift: &[Drift], generation: i64, now: Timestamp) -> Vec<Condition> {
    let standing = told.reason.standing();
    let reason = told.reason.to_string();
    let message = bounded(&told.message, LONGEST_MESSAGE);
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
        Standing::Ready | Standing::Kept => {}
    }
    if !drift.is_empty() {
        let differences: Vec<String> = drift.iter().map(|drift| format!("{:?} {:?}", drift.kind, drift.role)).collect();
        conditions.push(condition("Drifted", "True", "Drifted", &bounded(&differences.join(", "), LONGEST_MESSAGE)));
    }
    conditions
}

/// As [`conditions`], with Ready False at once where a reason would have it Unknown for a while.
pub fn not_ready(old: &[Condition], told: &Told, generation: i64, now: Timestamp) -> Vec<Condition> {
    let mut conditions = conditions(old, told, &[], generation, now);
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
        Standing::Kept => match was {
            "True" => "True",
            "False" => "False",
            _ => "Unknown",
        },
        Standing::Waiting => {
            let stalled = old.iter().any(|c| c.type_ == "Stalled");
            let since = known.filter(|c| c.status == "Unknown").map(|c| c.last_transition_time.0);
            let patient = since.is_none_or(|since| now.duration_since(since).as_secs() < PATIENCE_SECONDS);
            if (was == "False" && !stalled) || !patient { "False" } else { "Unknown" }
        }
    }
}

/// When an object that waits must be looked at again so that Ready turns False in time; `None`: it doesn't wait.
pub fn patience_ends(conditions: &[Condition]) -> Option<Timestamp> {
    let ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status == "Unknown")?;
    ready.last_transition_time.0.checked_add(jiff::SignedDuration::from_secs(PATIENCE_SECONDS)).ok()
}

/// What is known of the declared roles at the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// The roles that an observation shows in force; `None`: nobody could look.
    pub shown: Option<BTreeSet<String>>,
    /// Of the roles that this object granted, those whose end has come and that are, or may be, still in force.
    pub overdue: BTreeSet<String>,
}

/// `status.roles` of an object that counts: every declared role, in order. A role in effect that isn't in force yet is
/// Scheduled until the provider has taken it; one that is still in force after its end is Active.
pub fn roles(
    layer: &Layer,
    others: &[Layer],
    old: &[RoleStatus],
    in_force: &InForce,
    now: Timestamp,
) -> Vec<RoleStatus> {
    let shown = |role: &String| in_force.shown.as_ref().is_some_and(|shown| shown.contains(role));
    let state = |grant: &grants::Grant| match grant.state(now) {
        State::Scheduled => RoleState::Scheduled,
        State::Expired if in_force.overdue.contains(&grant.role) => RoleState::Active,
        State::Expired => RoleState::Expired,
        State::Active if !shown(&grant.role) => RoleState::Scheduled,
        State::Active if others.iter().any(|other| other.has_in_effect(&grant.role, now)) => RoleState::Shared,
        State::Active => RoleState::Active,
    };
    let of = |grant: &grants::Grant| {
        let known = old.iter().find(|role| role.role == grant.role);
        let recorded = layer.managed.contains_key(&grant.role);
        let mut role = role_status(&grant.role, state(grant), grant.term);
        // Its window was emptied so that it stays Expired, and is reported as it was.
        let expired = |known: &&RoleStatus| known.state == RoleState::Expired && known.start_time == role.start_time;
        if let Some(known) = known.filter(expired).filter(|_| role.start_time == role.expiration_time) {
            role.expiration_time = known.expiration_time;
        }
        with_message(role, known, recorded, now)
    };
    layer.grants.iter().map(of).collect()
}

fn role_status(role: &str, state: RoleState, term: Term) -> RoleStatus {
    let (start_time, expiration_time) = match term {
        Term::Permanent => (None, None),
        Term::Temporary(window) => (Some(window.start), Some(window.end)),
    };
    RoleStatus { role: role.to_owned(), state, start_time, expiration_time, message: None }
}

/// Adds what the state alone does not say. `known`: what the status said of the role before. `recorded`: it was written
/// down as granted, or as about to be.
fn with_message(role: RoleStatus, known: Option<&RoleStatus>, recorded: bool, now: Timestamp) -> RoleStatus {
    let ended = role.expiration_time.is_some_and(|end| end <= now);
    let known = known.filter(|known| known.expiration_time == role.expiration_time);
    let message = match (role.state, known) {
        (RoleState::Active | RoleState::Shared, _) if ended => Some(
            "overdue: the end has passed, and the role could not be removed yet; the condition Ready says why"
                .to_owned(),
        ),
        (RoleState::Expired, Some(RoleStatus { state: RoleState::Scheduled, .. })) if !recorded => {
            Some("not granted: its window ended before it could be".to_owned())
        }
        (RoleState::Expired, Some(RoleStatus { state: RoleState::Expired, message, .. })) => message.clone(),
        _ => None,
    };
    RoleStatus { message, ..role }
}

/// `status.roles` of an object that doesn't count and was admitted before: what was recorded stays, and ends.
pub fn frozen_roles(old: &[RoleStatus], in_force: &InForce, now: Timestamp) -> Vec<RoleStatus> {
    let frozen = |role: &RoleStatus| {
        let there = in_force.shown.as_ref().is_none_or(|shown| shown.contains(&role.role));
        let ended = role.expiration_time.is_some_and(|end| end <= now);
        let state = match role.state {
            _ if ended && in_force.overdue.contains(&role.role) => RoleState::Active,
            _ if ended => RoleState::Expired,
            RoleState::Active | RoleState::Shared if !there => RoleState::Scheduled,
            state => state,
        };
        with_message(RoleStatus { state, ..role.clone() }, Some(role), true, now)
    };
    old.iter().map(frozen).collect()
}

/// `status.roles` of an object that only observes: its declaration, with the starts that are known, and what is there.
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

/// `status.activeRoles`: what `kubectl get` shows.
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

/// `status.managedRoles` from a record; `id`: what is known of a role's id.
pub fn managed_roles(record: &BTreeMap<String, Term>, id: impl Fn(&str) -> Option<String>) -> Vec<ManagedRole> {
    let of = |(role, term): (&String, &Term)| {
        let (start_time, expiration_time) = match term {
            Term::Permanent => (None, None),
            Term::Temporary(window) => (Some(window.start), Some(window.end)),
        };
        ManagedRole { role: role.clone(), role_id: id(role), start_time, expiration_time }
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
