//! What a pass reports about each declaration of its target: the status, and whether the object is released. Pure.

mod leaving;
mod ready;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use leaving::unresolved_leaving;
pub use leaving::{RemainingAccess, never_acted, released};

use super::error::Retry;
use super::evaluation::{self, DeclarationEvaluation};
use super::late_writes;
use super::layers::{self, Layer, Phase};
use super::member::{Capabilities, Member};
use super::memory::Memory;
use super::plan::{self, plan};
use super::policy::Refusal;
use super::record::entries;
use super::snapshot::{Declaration, Observation, Snapshot, is_finalized, is_status_lost, requested};
use super::status::{self, InForce, ReadyCondition};
use super::step::{PassEnd, PassOutcome, needs_observation, view};
use crate::api::membership::{
    Drift, DriftKind, ManagedRole, PendingGrants, ProjectMembershipStatus, RoleState, RoleStatus,
};
use crate::api::{ProjectMembership, Reason};

/// What is reported about one declaration.
#[derive(Clone, Debug)]
pub struct Report {
    /// Why the object is or is not ready.
    pub ready_condition: ReadyCondition,
    /// Its new status.
    pub status: ProjectMembershipStatus,
    /// Roles that should have ended and may still be in force.
    pub overdue: BTreeSet<String>,
    /// The object is being deleted, and nothing of it is left to revoke.
    pub is_released: bool,
}

/// When the next attempt is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// At the next edge or the next resync.
    AtEdge,
    /// After a backoff.
    Backoff,
    /// As [`NextAttempt::Backoff`], but after at most a few seconds: an end or a revocation is due.
    Soon,
    /// After this time.
    After(Duration),
}

/// How soon what is due is attempted again, regardless of the wait that the server requests.
const ATTEMPT_EVERY: Duration = Duration::from_secs(10);

/// Reports an outcome to each declaration of the snapshot, in the same order.
pub fn reports(snapshot: &Snapshot, outcome: &PassOutcome, memory: &Memory) -> Vec<Report> {
    let layers: Vec<Layer> = outcome.evaluation.evaluations.iter().map(|evaluated| evaluated.layer.clone()).collect();
    let pairs = snapshot.declarations.iter().zip(&outcome.evaluation.evaluations);
    pairs
        .map(|(declaration, evaluated)| {
            let of = ReportInputs { snapshot, outcome, memory, layers: &layers, declaration, evaluated };
            if declaration.is_leaving() { of.leaving() } else { of.present() }
        })
        .collect()
}

/// What is reported about the declarations whose spec no status describes yet, while their grants are being carried
/// out.
pub fn progress(snapshot: &Snapshot, observation: Option<&Observation>, memory: &Memory) -> Vec<(String, Report)> {
    let observed = observation.and_then(|observation| observation.member.as_ref());
    let outcome = PassOutcome {
        kind: PassEnd::Settled,
        evaluation: evaluation::evaluate(snapshot, observed),
        plan: plan::Plan::default(),
        observation: observation.cloned(),
        refused: BTreeSet::new(),
    };
    let ready_condition = ReadyCondition::new(Reason::Progressing, "the grant is recorded and is being carried out");
    let layers: Vec<Layer> = outcome.evaluation.evaluations.iter().map(|evaluated| evaluated.layer.clone()).collect();
    let pairs = snapshot.declarations.iter().zip(&outcome.evaluation.evaluations);
    let under_way = pairs.filter(|(d, evaluated)| !d.is_observed() && evaluated.layer.phase == Phase::Counts);
    under_way
        .map(|(declaration, evaluated)| {
            let of = ReportInputs { snapshot, outcome: &outcome, memory, layers: &layers, declaration, evaluated };
            let mut report = of.reported(ready_condition.clone());
            // A removal may be in progress: the record is kept as it is until that is known.
            let shown = entries(observed);
            report.status.managed_roles = evaluated.renames.written(&evaluated.layer.managed, shown);
            (declaration.uid().to_owned(), report)
        })
        .collect()
}

/// When the next attempt is due.
pub fn again(snapshot: &Snapshot, outcome: &PassOutcome, memory: &Memory, reports: &[Report]) -> NextAttempt {
    let due = is_due(snapshot, outcome);
    let layers = outcome.evaluation.evaluations.iter().map(|evaluated| &evaluated.layer);
    let stays = snapshot.declarations.iter().zip(reports).any(|(d, report)| d.is_leaving() && !report.is_released);
    match &outcome.kind {
        PassEnd::Failed { error, .. } => match error.retry() {
            // What is due is attempted regardless of the wait that the server requests, one request at a time.
            Retry::After(delay) if due => NextAttempt::After(delay.min(ATTEMPT_EVERY)),
            Retry::After(delay) => NextAttempt::After(delay),
            Retry::Backoff | Retry::Terminal if due => NextAttempt::Soon,
            Retry::Backoff => NextAttempt::Backoff,
            Retry::Terminal => NextAttempt::AtEdge,
        },
        PassEnd::Contested if outcome.plan.revokes() => NextAttempt::Soon,
        PassEnd::Settled if let Some(until) = memory.late_writes.awaited(layers, snapshot.now) => {
            NextAttempt::After(until.saturating_duration_since(snapshot.at))
        }
        PassEnd::NotAsked if stays => NextAttempt::After(Duration::from_secs(60)),
        PassEnd::Settled if stays => NextAttempt::Soon,
        PassEnd::Settled if reports.iter().any(|report| report.ready_condition.reason == Reason::Progressing) => {
            NextAttempt::Backoff
        }
        PassEnd::Settled | PassEnd::NotAsked | PassEnd::Contested => NextAttempt::AtEdge,
    }
}

/// The next instant after which the report would be different.
pub fn next_edge(reports: &[Report], now: Timestamp) -> Option<Timestamp> {
    let edges = reports.iter().filter(|report| !report.is_released).map(|report| &report.status).flat_map(|status| {
        [status.next_transition_time, status.unanswered_until, status::patience_ends(&status.conditions)]
    });
    edges.flatten().filter(|edge| *edge > now).min()
}

/// Whether something is due to be revoked and is still there, or may be.
fn is_due(snapshot: &Snapshot, outcome: &PassOutcome) -> bool {
    let removed = matches!(outcome.kind, PassEnd::Failed { removed: true, .. });
    let there = shown(outcome.observation.as_ref().and_then(|observation| observation.member.as_ref()));
    let evaluations = &outcome.evaluation.evaluations;
    let is_kept = |role: &str| evaluations.iter().any(|evaluated| evaluated.layer.keeps(role, snapshot.now));
    let mut managed = evaluations.iter().flat_map(|evaluated| evaluated.layer.managed.keys());
    managed.any(|role| !is_kept(role) && (!removed || there.contains(role)))
}

/// One declaration, and what its report is made from.
struct ReportInputs<'a> {
    snapshot: &'a Snapshot,
    outcome: &'a PassOutcome,
    memory: &'a Memory,
    layers: &'a [Layer],
    declaration: &'a Declaration,
    evaluated: &'a DeclarationEvaluation,
}

impl ReportInputs<'_> {
    fn object(&self) -> &ProjectMembership {
        &self.declaration.object
    }

    fn layer(&self) -> &Layer {
        &self.evaluated.layer
    }

    fn now(&self) -> Timestamp {
        self.snapshot.now
    }

    fn capabilities(&self) -> Capabilities {
        self.snapshot.provider.capabilities
    }

    /// The member as the provider shows it. The outer `None`: it is unknown, or this declaration may not see it.
    fn member(&self) -> Option<Option<&Member>> {
        let may_see = needs_observation(self.snapshot, self.declaration, self.evaluated);
        let observation =
            self.outcome.observation.as_ref().filter(|_| may_see && self.outcome.kind != PassEnd::NotAsked)?;
        Some(observation.member.as_ref())
    }

    /// The drift that is not repaired. For an object that is suspended or only observes, it is the difference between the
    /// provider and the result that its declaration would have.
    fn drift(&self) -> Vec<Drift> {
        if self.failure().is_some() {
            return Vec::new();
        }
        let Some(observed) = self.member() else {
            // Without an observation the drift is unknown.
            return Vec::new();
        };
        let of_names = self.drift_of_names();
        if !self.evaluated.compares {
            let counts = self.layer().phase == Phase::Counts;
            return if counts { with(self.outcome.plan.drift(), of_names) } else { Vec::new() };
        }
        let Some(declared) = self.evaluated.declared(self.object(), self.now()) else {
            return Vec::new();
        };
        let others = self.layers.iter().filter(|layer| layer.uid != declared.uid).cloned();
        let layers: Vec<Layer> = others.chain([declared.clone()]).collect();
        let refused = BTreeSet::new();
        let view = view(self.snapshot, observed, &refused, &self.outcome.evaluation.spared);
        with(plan(&layers, &view).drift(), of_names)
    }

    /// The drift of declared roles that are in force under another name: only the name differs at the provider.
    fn drift_of_names(&self) -> Vec<Drift> {
        let others = || self.layers.iter().filter(|layer| layer.uid != self.layer().uid);
        let declared_by_others = |role: &str| others().any(|other| other.has_in_effect(role, self.now()));
        let mut drift = Vec::new();
        for (former, present) in self.evaluated.renames.of_spec() {
            drift.push(Drift { role: former.to_owned(), kind: DriftKind::Missing });
            if !declared_by_others(present) {
                drift.push(Drift { role: present.to_owned(), kind: DriftKind::Unexpected });
            }
        }
        drift
    }

    /// Which roles of the declaration are in force according to the provider's row.
    ///
    /// An entry whose window has ended grants nothing, though Infisical still lists it. If the provider could not be
    /// observed after an end, the end is known to be carried out only if the provider enforces ends itself.
    fn in_force(&self) -> InForce {
        let in_force = |member: Option<&Member>| {
            let entries = entries(member).iter().filter(|entry| !entry.term.ended(self.now()));
            entries.map(|entry| entry.role.clone()).collect::<BTreeSet<_>>()
        };
        let shown = self.member().map(in_force);
        let layer = self.layer();
        let still = |role: &&String| match &shown {
            Some(shown) => shown.contains(*role),
            None => {
                let ended = layer.managed.get(*role).is_some_and(|term| term.ended(self.now()));
                !(ended && self.capabilities().enforces_expiry)
            }
        };
        let due = layers::due(layer, self.layers, self.capabilities().empty_role, self.now());
        let overdue: BTreeSet<String> = due.filter(still).cloned().collect();
        let unsent = self.memory.unsent.iter().filter(|(uid, _)| *uid == layer.uid);
        let renames = &self.evaluated.renames;
        InForce {
            overdue: renames.with_former_names(&overdue),
            shown: shown.map(|shown| renames.with_former_names(&shown)),
            unsent: renames.with_former_names(&unsent.map(|(_, role)| role.clone()).collect()),
            new_since: new_since(self.object()),
        }
    }

    /// The roles of the provider's row that this declaration has to record for as long as the provider shows them, and
    /// those that a late write may still add to it.
    fn answered_for(&self, member: Option<&Member>) -> BTreeSet<String> {
        let view = view(self.snapshot, member, &self.outcome.refused, &self.outcome.evaluation.spared);
        let mut shown = plan::shown(self.layer(), self.layers, &view);
        shown.extend(self.memory.late_writes.roles().cloned());
        shown
    }

    /// What the declaration manages after the pass.
    fn record(&self) -> Vec<ManagedRole> {
        let layer = self.layer();
        let settled_after =
            |member: Option<&Member>| layers::record_after(layer, self.layers, &self.answered_for(member), self.now());
        let record = match (self.failure(), self.member()) {
            // What was observed is not what the last write resulted in.
            (None, _) if self.outcome.kind == PassEnd::Contested => layer.managed.clone(),
            (Some((_, true)) | None, Some(member)) => settled_after(member),
            // What a failed request has changed is unknown, or it is not known what the provider holds.
            (Some(_), _) | (None, None) => layer.managed.clone(),
        };
        let mut managed = self.evaluated.renames.written(&record, entries(self.member().flatten()));
        // If the provider has only ever refused a grant, the recorded start of that grant does not count.
        managed.retain(|managed| !self.is_untried(&managed.role));
        managed
    }

    fn is_untried(&self, role: &str) -> bool {
        let there = entries(self.member().flatten()).iter().any(|entry| entry.role == role);
        let tentative = self.memory.tentative.contains(&(self.layer().uid.clone(), role.to_owned()));
        self.outcome.refused.contains(role) && !there && tentative
    }

    fn roles(&self, in_force: &InForce) -> Vec<RoleStatus> {
        let old = self.object().status.as_ref().map_or(&[][..], |status| &status.roles);
        let (layer, now) = (self.layer(), self.now());
        let observes = self.evaluated.inactive.as_ref().is_some_and(|refusal| refusal.reason == Reason::Observed);
        let mut roles = match layer.phase {
            Phase::Counts if self.member().is_some() => {
                let mut roles = status::roles(layer, self.layers, old, in_force, now);
                for role in &mut roles {
                    // With the role names of the spec.
                    role.role = self.evaluated.renames.written_as(&role.role).to_owned();
                }
                roles
            }
            Phase::Holds if observes => status::observed_roles(&self.object().spec, old, in_force.shown.as_ref(), now),
            Phase::Counts | Phase::Holds | Phase::Leaves => {
                let recorded = self.evaluated.renames.written(&layer.managed, &[]);
                status::frozen_roles(&with_recorded(self.object(), old, &recorded), &recorded, in_force, now)
            }
        };
        for role in roles.iter_mut().filter(|role| self.is_untried(&role.role)) {
            (role.start_time, role.expiration_time) = (None, None);
        }
        roles
    }

    /// The report of a declaration that is not being deleted.
    fn present(&self) -> Report {
        let ready_condition = self.ready_condition();
        self.reported(ready_condition)
    }

    fn reported(&self, ready_condition: ReadyCondition) -> Report {
        let in_force = self.in_force();
        let (old, now) = (self.object().status.clone().unwrap_or_default(), self.now());
        let drift = self.drift();
        let (roles, managed) = (self.roles(&in_force), self.record());
        // The entries that a repair removed temporarily are back when nothing differs any more.
        let at_rest = self.outcome.kind == PassEnd::Settled
            && !matches!(ready_condition.reason, Reason::Contested | Reason::Progressing);
        let carried = if at_rest { Vec::new() } else { old.carried_roles.clone() };
        // A lost status remains marked as lost until a pass has observed the provider.
        let is_lost = is_status_lost(self.object()) && self.member().is_none();
        let generation = self.declaration.generation();
        let may_see = needs_observation(self.snapshot, self.declaration, self.evaluated);
        let status = ProjectMembershipStatus {
            observed_generation: if is_lost { -1 } else { generation },
            conditions: status::conditions(&old.conditions, &ready_condition, &drift, generation, now),
            target: if may_see { Some(self.snapshot.target_status()) } else { old.target },
            active_roles: status::active_roles(&roles),
            next_transition_time: status::next_transition(&roles, &managed, now),
            unanswered_until: self.memory.late_writes.reported_until(&managed, self.snapshot, old.unanswered_until),
            roles,
            managed_roles: managed,
            carried_roles: carried,
            drift: drift.iter().take(status::MOST_DRIFT).cloned().collect(),
            observed_pending_grants: old.observed_pending_grants,
            last_handled_reconcile_at: requested(self.object()).or(old.last_handled_reconcile_at),
        };
        Report { ready_condition, status, overdue: in_force.overdue, is_released: false }
    }
}

fn with(drift: &[Drift], more: Vec<Drift>) -> Vec<Drift> {
    let mut drift = drift.to_vec();
    drift.extend(more);
    drift.sort();
    drift.dedup();
    drift
}

/// The roles of a status, with the declared roles that were recorded after it was written.
fn with_recorded(object: &ProjectMembership, old: &[RoleStatus], recorded: &[ManagedRole]) -> Vec<RoleStatus> {
    let is_new = |recorded: &&ManagedRole| {
        let declares = object.spec.roles.iter().any(|grant| grant.role == recorded.role);
        declares && !old.iter().any(|known| known.role == recorded.role)
    };
    let new = recorded.iter().filter(is_new).map(|recorded| RoleStatus {
        role: recorded.role.clone(),
        state: RoleState::Active,
        start_time: recorded.start_time,
        expiration_time: recorded.expiration_time,
        message: None,
    });
    old.iter().cloned().chain(new).collect()
}

fn shown(member: Option<&Member>) -> BTreeSet<String> {
    entries(member).iter().map(|entry| entry.role.clone()).collect()
}

/// The creation time of an object whose roles have not been evaluated yet and for which nothing was granted.
fn new_since(object: &ProjectMembership) -> Option<Timestamp> {
    let known = object.status.as_ref().is_some_and(|status| !status.roles.is_empty());
    let is_new = || !is_finalized(object) || PendingGrants::of(object).is_some_and(|pending| pending.number == 1);
    object.metadata.creation_timestamp.as_ref().filter(|_| !known && is_new()).map(|created| created.0)
}

/// The report of an object whose provider or target is not available: nothing is done at the provider.
/// `enforces_expiry`: the provider ends temporary roles itself.
pub fn unresolved(object: &ProjectMembership, refusal: &Refusal, enforces_expiry: bool, now: Timestamp) -> Report {
    let old = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let record = evaluation::record_of(object, now);
    let ended = |role: &&ManagedRole| role.expiration_time.is_some_and(|end| end <= now);
    let overdue: BTreeSet<String> =
        record.iter().filter(ended).filter(|_| !enforces_expiry).map(|role| role.role.clone()).collect();
    if object.metadata.deletion_timestamp.is_some() {
        return unresolved_leaving(object, old, refusal, now);
    }
    // A suspended object does not wait for its provider unless the end of a grant is due.
    let suspended = evaluation::suspended(object).filter(|_| !record.iter().any(|role| ended(&role)));
    let ready_condition = suspended.unwrap_or_else(|| refusal.clone());
    let in_force = InForce { overdue: overdue.clone(), ..InForce::default() };
    let roles = status::frozen_roles(&with_recorded(object, &old.roles, &record), &record, &in_force, now);
    let known = |role: &str| old.managed_roles.iter().find(|known| known.role == role)?.role_id.clone();
    let managed = status::managed_roles(&evaluation::managed(&record), known);
    let status = ProjectMembershipStatus {
        active_roles: status::active_roles(&roles),
        next_transition_time: status::next_transition(&roles, &managed, now),
        roles,
        managed_roles: managed,
        // A lost status remains marked as lost until a pass has observed the provider.
        observed_generation: if is_status_lost(object) { -1 } else { generation },
        conditions: status::conditions(&old.conditions, &ready_condition, &[], generation, now),
        // Without an observation the drift is unknown.
        drift: Vec::new(),
        unanswered_until: late_writes::left_in_progress(object, now),
        last_handled_reconcile_at: requested(object).or(old.last_handled_reconcile_at.clone()),
        ..old
    };
    Report { ready_condition, status, overdue, is_released: false }
}
