//! Records what was declared and done, and checks the invariants of each write while a seed runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use membership_operator::clock::Clock;
use serde_json::Value;
use tokio::time::Instant;

use crate::apiserver::{ApiServer, routes};
use crate::life::Life;
use crate::providers::{Roles, Sent, TARGETS, TargetKey, UNMANAGED, Witness};
use crate::scheduler::Scheduler;

/// The kind of the observed objects.
pub const MEMBERSHIPS: &str = "projectmemberships";
/// How long after a manual change, or an edit, a write may still be based on the state before: the longest delay of a
/// request, a late watch and the age of a list.
const UNDER_WAY: Duration = Duration::from_secs(120);
/// How old the list on which a write is based usually is when the write is sent.
const LISTED: Duration = Duration::from_secs(1);

/// The observer. Clones share it.
#[derive(Clone)]
pub struct Book {
    api: ApiServer,
    scheduler: Scheduler,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Roles that objects have ever declared.
    declared: BTreeSet<(TargetKey, String)>,
    /// The targets with an object that has ever been Exclusive.
    exclusive: BTreeSet<TargetKey>,
    /// The last manual change of a role.
    by_hand: BTreeMap<(TargetKey, String), Instant>,
    /// Who added a role: true: the operator.
    granted: BTreeMap<(TargetKey, String), bool>,
    /// Roles that an object with `deletionPolicy: Orphan` may have left.
    orphaned: BTreeSet<(TargetKey, String)>,
    /// What was recorded when a request was sent.
    records: BTreeMap<String, Vec<SentRecords>>,
    /// Writes since the last check, to detect whether the state is stable.
    writes: Vec<String>,
}

/// What was recorded when a request was sent.
#[derive(Clone)]
struct SentRecords {
    sent: Timestamp,
    at: Instant,
    records: Records,
}

/// Until when a role may be in force according to the records; `None`: permanently.
type Records = BTreeMap<(TargetKey, String), Option<Timestamp>>;

impl Book {
    /// An empty one.
    pub fn new(api: ApiServer, scheduler: Scheduler, clock: Clock) -> Self {
        Self { api, scheduler, clock, state: Arc::default() }
    }

    /// Records that a spec is about to be applied.
    pub fn declares(&self, spec: &Value) {
        let Some(target) = target_of(spec) else { return };
        let mut state = self.lock();
        for role in roles_of(spec) {
            state.declared.insert((target, role.name));
        }
        if spec["roleManagement"] != "Additive" {
            state.exclusive.insert(target);
        }
    }

    /// Records that an object is about to be deleted.
    pub fn is_deleted(&self, spec: &Value) {
        let Some(target) = target_of(spec) else { return };
        let mut state = self.lock();
        if spec["deletionPolicy"] == "Orphan" {
            // Also what was granted before and is held, as by an object that was suspended before its roles were edited.
            let held: Vec<_> = state.declared.iter().filter(|(declared, _)| *declared == target).cloned().collect();
            state.orphaned.extend(held);
        }
    }

    /// Records a manual change of a role.
    pub fn by_hand(&self, target: TargetKey, role: &str, there: bool) {
        let mut state = self.lock();
        state.by_hand.insert((target, role.to_owned()), Instant::now());
        if there {
            state.granted.insert((target, role.to_owned()), false);
        }
    }

    /// Whether an object of the target has ever declared the role.
    pub fn was_declared(&self, target: TargetKey, role: &str) -> bool {
        self.lock().declared.contains(&(target, role.to_owned()))
    }

    /// Whether an object of the target has ever been Exclusive.
    pub fn was_exclusive(&self, target: TargetKey) -> bool {
        self.lock().exclusive.contains(&target)
    }

    /// Whether the operator added a role.
    pub fn granted_by_us(&self, target: TargetKey, role: &str) -> bool {
        self.lock().granted.get(&(target, role.to_owned())).copied().unwrap_or_default()
    }

    /// Whether an orphaning object may have left a role.
    pub fn was_orphaned(&self, target: TargetKey, role: &str) -> bool {
        self.lock().orphaned.contains(&(target, role.to_owned()))
    }

    /// The writes since the last call.
    pub fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().writes)
    }

    /// Records that a process sends a write to the API server.
    pub fn sees_kubernetes(&self, life: &Life, request: &routes::Request) {
        if request.plural == "leases" {
            return;
        }
        let name = request.name.as_deref().unwrap_or_default();
        self.lock().writes.push(format!(
            "{} {} {}/{name} {}",
            life.name(),
            request.method,
            request.plural,
            request.body
        ));
        let guarded = !request.body["metadata"]["resourceVersion"].is_null();
        if !guarded {
            self.holds_the_lease(life, &format!("{} {}/{name}", request.method, request.plural));
        }
    }

    fn holds_the_lease(&self, life: &Life, what: &str) {
        let Some(lease) = self.api.get("leases", (NAMESPACE, membership_operator::lease::NAME)) else { return };
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if holder != life.name() {
            let what = format!("{} sends {what} while {holder:?} has the lease", life.name());
            self.scheduler.fails("two replicas never both write after a lease moved", what);
        }
    }

    /// Until when each role may be in force, according to the present records.
    fn records(&self) -> Records {
        let mut records = Records::new();
        for object in self.api.all(MEMBERSHIPS) {
            let Some(target) = target_of(&object["spec"]) else { continue };
            for role in recorded(&object) {
                let name = role["role"].as_str().unwrap_or_default().to_owned();
                let end = role["expirationTime"].as_str().and_then(|end| end.parse().ok());
                may(&mut records, (target, name), end);
            }
        }
        records
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recently_by_hand(&self, target: TargetKey, role: &str) -> bool {
        self.lock().by_hand.get(&(target, role.to_owned())).is_some_and(|at| at.elapsed() < UNDER_WAY)
    }

    /// No unmanaged role is changed.
    fn touches_nothing_unmanaged(&self, who: &str, line: &str, target: TargetKey, before: &Roles, after: &Roles) {
        if UNMANAGED.contains(&target) && before != after {
            let what = format!("{who}: {line} makes {before:?} of {target:?}, whom no object names, {after:?}");
            self.scheduler.fails("no unmanaged role is changed", what);
        }
        for role in before.keys().filter(|role| !after.contains_key(*role)) {
            let ours = self.was_declared(target, role) || self.was_exclusive(target);
            // A full list that was planned before the manual change: the provider has no compare and swap.
            if !ours && !self.recently_by_hand(target, role) {
                let what = format!("{who}: {line} takes {role} from {target:?}, which no object ever declared");
                self.scheduler.fails("no unmanaged role is changed", what);
            }
        }
    }

    /// No grant exceeds its recorded end, and none is made without a record.
    fn grants_within_the_record(
        &self,
        who: &str,
        line: &str,
        target: TargetKey,
        (before, after): (&Roles, &Roles),
        SentRecords { sent, at, records }: &SentRecords,
    ) {
        for (role, end) in after {
            if before.get(role) == Some(end) {
                continue;
            }
            if !before.contains_key(role) {
                let key = (target, role.clone());
                let mut state = self.lock();
                // It was there when the write was decided: the provider has no compare and swap.
                let crossed = state.by_hand.get(&key).is_some_and(|hand| *hand + LISTED > *at);
                let is_ours = records.contains_key(&key) || !crossed;
                state.granted.insert(key, is_ours);
            }
            let beyond = |what: String| {
                let what = format!("{who}: {line} gives {role} until {end:?} to {target:?}: {what}");
                self.scheduler.fails("no grant ever goes beyond its recorded end", what);
            };
            match records.get(&(target, role.clone())) {
                // Contained in a full list that was planned before its manual removal.
                None if self.recently_by_hand(target, role) => {}
                None => beyond("nothing of it is written down".to_owned()),
                Some(None) => {}
                Some(Some(recorded)) if recorded <= sent => {
                    if end.is_none_or(|end| end > *recorded) && !self.recently_by_hand(target, role) {
                        beyond(format!("sent at {sent}, and its recorded end was {recorded}"));
                    }
                }
                Some(Some(recorded)) => {
                    let enforced = target.server == crate::scheduler::Server::Infisical;
                    if enforced && end.is_none_or(|end| end > *recorded) && !self.recently_by_hand(target, role) {
                        beyond(format!("its recorded end is {recorded}"));
                    }
                }
            }
        }
    }
}

impl Witness for Book {
    fn sends(&self, life: &Life, sent: &Sent) {
        self.holds_the_lease(life, &sent.line);
        let records = self.records();
        let now = self.clock.now();
        let mut state = self.lock();
        state.writes.push(format!("{} {} {}", life.name(), sent.line, sent.body));
        let of = state.records.entry(format!("{}{}", sent.line, sent.body)).or_default();
        of.push(SentRecords { sent: now, at: Instant::now(), records });
    }

    fn carried_out(
        &self,
        who: &str,
        sent: &Sent,
        before: &BTreeMap<TargetKey, Roles>,
        after: &BTreeMap<TargetKey, Roles>,
    ) {
        let records = self.lock().records.get(&format!("{}{}", sent.line, sent.body)).and_then(|of| of.last().cloned());
        for target in TARGETS.into_iter().chain(UNMANAGED) {
            let (Some(was), Some(is)) = (before.get(&target), after.get(&target)) else { continue };
            if was == is {
                continue;
            }
            self.scheduler.write(format!("    {target:?}: {was:?} becomes {is:?}"));
            self.touches_nothing_unmanaged(who, &sent.line, target, was, is);
            if let Some(records) = &records {
                self.grants_within_the_record(who, &sent.line, target, (was, is), records);
            }
        }
    }
}

/// The later of two ends.
fn may(records: &mut Records, key: (TargetKey, String), end: Option<Timestamp>) {
    let known = records.entry(key).or_insert(end);
    *known = match (*known, end) {
        (Some(known), Some(end)) => Some(known.max(end)),
        _ => None,
    };
}

/// The namespace of all objects.
pub const NAMESPACE: &str = "team-a";

/// A declared role.
pub struct Role {
    pub name: String,
    /// Its times; null: permanent.
    pub temporary: Value,
}

/// The declared roles of a spec.
pub fn roles_of(spec: &Value) -> Vec<Role> {
    let roles = spec["roles"].as_array().into_iter().flatten();
    let name = |role: &Value| role["role"].as_str().unwrap_or_default().to_owned();
    roles.map(|role| Role { name: name(role), temporary: role["temporary"].clone() }).collect()
}

/// The subject of a spec.
pub fn target_of(spec: &Value) -> Option<TargetKey> {
    TARGETS.into_iter().find(|target| spec["subject"]["id"] == target.subject)
}

/// Some seconds from an instant on, on a whole second.
pub fn seconds_after(now: Timestamp, seconds: i64) -> Timestamp {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(whole)
}

/// The roles that an object has recorded: in its annotation, if its status does not include it yet, and else in its
/// status.
pub fn recorded(object: &Value) -> Vec<Value> {
    let pending = object["metadata"]["annotations"]["membership.dev/pending-grants"].as_str();
    let pending: Option<Value> = pending.and_then(|pending| serde_json::from_str(pending).ok());
    let observed = object["status"]["observedPendingGrants"].as_i64().unwrap_or_default();
    let pending = pending.filter(|pending| pending["number"].as_i64() > Some(observed));
    let roles = pending.as_ref().map_or(&object["status"]["managedRoles"], |pending| &pending["roles"]);
    roles.as_array().cloned().unwrap_or_default()
}
