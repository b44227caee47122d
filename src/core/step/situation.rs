//! What follows from a snapshot, an observation and the memory, and the order in which it is acted on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{
    Observe, PassEnd, PassOutcome, REPAIRS, Release, Spacing, Step, needs_observation, unconfirmed, urgency, view,
};
use crate::core::changes::{self, PriorState};
use crate::core::clocks::{self, Agreement};
use crate::core::error::Error;
use crate::core::evaluation::{Evaluation, evaluate};
use crate::core::layers::{Layer, Phase};
use crate::core::member::{Change, Entry, Member, Term, Urgency};
use crate::core::memory::{ListReason, Memory, RefusedChange, SentWrite};
use crate::core::plan::{Plan, RemovalReason, plan};
use crate::core::record::{begins_temporary, entries, records};
use crate::core::snapshot::{Declaration, Observation, Snapshot};
use crate::core::write::{PlannedWrite, Requesters, WriteEffects, WritePurpose};

/// After this many rounds in which another writer undid a write before it was confirmed, the target is reported as
/// contested.
const ROUNDS: u32 = 3;
/// A list that a write relies on must not be older than this when the write is sent.
const FRESH: Duration = Duration::from_secs(5);
/// How late an end is before it no longer waits for the record of what is granted at the same time.
const LATE: SignedDuration = SignedDuration::from_secs(1);
/// Minimum time between two lists of a project when the next one is needed to decide about new declarations.
const DECISION_SPACING: Spacing = Spacing::always(Duration::from_secs(1));
/// Minimum time between two lists of a project when the next one only confirms writes: a fourth of a second for a single
/// write, so that it is reported soon, and up to two seconds in a burst, of which fewer lists confirm all writes.
const CONFIRM_SPACING: Spacing = Spacing { first: Duration::from_millis(250), longest: Duration::from_secs(2) };

/// What follows from a snapshot, an observation and the memory.
pub struct Situation<'a> {
    snapshot: &'a Snapshot,
    observation: Option<&'a Observation>,
    memory: &'a Memory,
    evaluation: Evaluation,
    layers: Vec<Layer>,
    refused: BTreeSet<String>,
    plan: Plan,
}

impl<'a> Situation<'a> {
    /// Evaluates the declarations and plans.
    pub fn new(snapshot: &'a Snapshot, observation: Option<&'a Observation>, memory: &'a Memory) -> Self {
        let observed = observation.and_then(|observation| observation.member.as_ref());
        let evaluation = evaluate(snapshot, observed);
        let layers: Vec<Layer> = evaluation.evaluations.iter().map(|evaluated| evaluated.layer.clone()).collect();
        let refused = refused(snapshot, &layers, memory);
        let plan = plan(&layers, &view(snapshot, observed, &refused, &evaluation.spared));
        Self { snapshot, observation, memory, evaluation, layers, refused, plan }
    }

    /// The next step.
    pub fn step(&self) -> Step {
        let releases = self.releases();
        if !releases.is_empty() {
            return Step::Release(releases);
        }
        if !self.needs_provider() {
            return self.report(PassEnd::NotAsked);
        }
        let attempt = &self.memory.attempt;
        if let Some(error) = &attempt.failed {
            return self.report(PassEnd::Failed { error: error.clone(), by_change: true, removed: false });
        }
        if let Some(error) = &attempt.unlisted {
            return self.unlisted(error);
        }
        if let Some(sent) = &attempt.sent {
            return self.confirm(sent);
        }
        match self.observation_needed() {
            Some(observe) => Step::Observe(observe),
            None => self.act(),
        }
    }

    /// Declarations that are being deleted and need nothing from the provider.
    fn releases(&self) -> Vec<Release> {
        let pairs = self.snapshot.declarations.iter().zip(&self.evaluation.evaluations);
        let leaving = pairs.filter(|(declaration, _)| declaration.is_leaving());
        leaving
            .filter(|(declaration, evaluated)| {
                // What is due comes first; the report that follows releases the others.
                declaration.is_abandoned() || evaluated.holds_nothing() && !matches!(self.urgency(), Urgency::End(_))
            })
            .map(|(d, _)| Release { uid: d.uid().to_owned(), is_abandoned: d.is_abandoned() })
            .collect()
    }

    fn needs_provider(&self) -> bool {
        let mut pairs = self.snapshot.declarations.iter().zip(&self.evaluation.evaluations);
        pairs.any(|(declaration, evaluated)| needs_observation(self.snapshot, declaration, evaluated))
    }

    fn observed(&self) -> Option<&'a Member> {
        self.observation?.member.as_ref()
    }

    /// The list failed. What is due is removed based on the last known row, if that grants no access; the next list
    /// confirms it.
    fn unlisted(&self, error: &Error) -> Step {
        let attempt = &self.memory.attempt;
        // Without a last known row, the member's other roles are unknown.
        let end = self.plan.end_unlisted().filter(|_| self.observation.is_some() && !attempt.ended_unlisted);
        if let (None, None, Some(end)) = (&attempt.sent, &attempt.refusal, end) {
            return self.apply(end.clone(), WritePurpose::EndUnlisted, self.plan.urgency_of_removals());
        }
        match &attempt.refusal {
            Some(refusal) => self.refused_change(refusal),
            None => self.report(PassEnd::Failed { error: error.clone(), by_change: false, removed: false }),
        }
    }

    /// A write received a response: a list has to show it, and it is repeated if it was lost.
    fn confirm(&self, sent: &SentWrite) -> Step {
        let SentWrite { apply, .. } = sent;
        if !sent.is_late {
            let observe = self.observe(sent.look_at, CONFIRM_SPACING, ListReason::Confirmation);
            return Step::Observe(Observe { urgency: apply.urgency, ..observe });
        }
        if sent.repairs < REPAIRS && !(self.is_still_wanted(apply) && self.removes_what_goes(apply)) {
            // A grant has ended since, or a role is there that stays: the next change is made from what the provider shows.
            return self.act();
        }
        if sent.repairs < REPAIRS {
            let removes = apply.gained.is_empty();
            let end = Urgency::End(self.snapshot.now);
            let urgency = if removes { apply.urgency.min(end) } else { apply.urgency };
            let before = self.observed().cloned();
            return Step::Apply(Box::new(PlannedWrite {
                purpose: WritePurpose::Repair,
                urgency,
                before,
                ..apply.clone()
            }));
        }
        let is_absent = self.observed().is_none() && apply.change != Change::Remove;
        match (&sent.explained, &self.memory.attempt.refusal) {
            (None, _) if is_absent => Step::Explain(apply.urgency),
            (_, Some(refusal)) => self.refused_change(refusal),
            (explained, None) => {
                let error = explained.clone().unwrap_or_else(|| unconfirmed(self.snapshot));
                self.report(PassEnd::Failed { error, by_change: true, removed: false })
            }
        }
    }

    /// Whether everything that a repetition would remove of what the provider shows is still to be removed. Another writer
    /// may have added a role since, or a declaration may have been suspended.
    fn removes_what_goes(&self, apply: &PlannedWrite) -> bool {
        let is_in = |entries: &[Entry], role: &str| entries.iter().any(|entry| entry.role == role);
        let goes = |role: &str| match apply.purpose {
            // It removes more than the plan.
            WritePurpose::Fallback { .. } => is_in(entries(apply.before.as_ref()), role),
            _ => self.is_base(role) || self.plan.lost().iter().any(|(lost, _)| lost == role),
        };
        entries(self.observed()).iter().all(|shown| is_in(apply.change.outcome(), &shown.role) || goes(&shown.role))
    }

    /// Whether every role that a write was to gain is still in effect, and every managed role that it adds to what the
    /// provider shows is still kept.
    fn is_still_wanted(&self, apply: &PlannedWrite) -> bool {
        let change = &apply.change;
        // The member was removed since: a repetition would give its unmanaged roles back.
        if self.observed().is_none() && apply.before.is_some() {
            return false;
        }
        let shown = entries(self.observed());
        let in_effect = |role: &String| self.layers.iter().any(|layer| layer.has_in_effect(role, self.snapshot.now));
        if !apply.gained.iter().all(|role| in_effect(role) || self.is_base(role)) {
            return false;
        }
        let kept = |role: &str| self.layers.iter().any(|layer| layer.keeps(role, self.snapshot.now));
        let managed = |role: &str| self.layers.iter().any(|layer| layer.managed.contains_key(role));
        let mut added = change.outcome().iter().filter(|entry| shown.iter().all(|known| known.role != entry.role));
        added.all(|entry| kept(&entry.role) || !managed(&entry.role) || self.is_base(&entry.role))
    }

    fn is_base(&self, role: &str) -> bool {
        self.snapshot.provider.capabilities.empty_role == Some(role)
    }

    /// The list that is needed before anything is decided.
    fn observation_needed(&self) -> Option<Observe> {
        let (memory, now) = (self.memory, self.snapshot.at);
        let began = memory.began.unwrap_or(now);
        let requested = memory.requested.iter().map(|known| known.since).max();
        // An observation may be as old as drift may remain, and no older than a request to reconcile.
        let oldest = began.checked_sub(self.snapshot.interval()).max(requested).max(memory.required);
        let late_write =
            memory.late_writes.awaited(self.layers.iter(), self.snapshot.now).filter(|until| *until <= now);
        let oldest = oldest.max(late_write);
        let Some(observation) = self.observation.filter(|known| oldest.is_none_or(|oldest| known.listed >= oldest))
        else {
            return Some(self.observe(oldest.unwrap_or(began), Spacing::NONE, ListReason::Age));
        };
        let undecided = memory.undecided.iter().map(|known| known.since).max();
        if let Some(undecided) = undecided.filter(|since| observation.as_of < *since)
            && !self.creates()
        {
            // Many declarations that arrive together are decided on few lists.
            let spacing = if self.plan.revokes() { Spacing::NONE } else { DECISION_SPACING };
            return Some(self.observe(undecided, spacing, ListReason::Decision));
        }
        self.needs_clock().then(|| self.observe(now, DECISION_SPACING, ListReason::Clock))
    }

    fn observe(&self, not_before: Instant, spacing: Spacing, need: ListReason) -> Observe {
        Observe { not_before, spacing, urgency: self.urgency(), need }
    }

    /// Whether the declarations lead to the creation of a member, now or after they are recorded. Such a change may be
    /// decided on an older list, because the provider refuses it if the member exists. What `Refuse` refuses is never
    /// recorded.
    fn creates(&self) -> bool {
        use crate::api::AdoptionPolicy::Refuse;
        let declarations = || self.snapshot.declarations.iter();
        match self.plan.change() {
            Some(change) => matches!(change, Change::Create(_)),
            None => {
                self.observed().is_none()
                    && !declarations().any(|d| d.object.spec.adoption_policy == Refuse || d.is_leaving())
            }
        }
    }

    /// Whether a temporary grant begins or is repaired, and a response that shows the provider's clock is needed first.
    /// If the responses of a provider don't show its clock, one is requested at most once per period for which a
    /// response would have been valid.
    fn needs_clock(&self) -> bool {
        let (snapshot, asked) = (self.snapshot, self.memory.attempt.clock_asked);
        let recently = asked.is_some_and(|asked| snapshot.at.saturating_duration_since(asked) < clocks::KNOWN_FOR);
        if snapshot.clocks != Agreement::Unknown || recently {
            return false;
        }
        let gains = |layer: &Layer| {
            let mut temporary = layer.in_effect(snapshot.now).filter(|grant| grant.term != Term::Permanent);
            temporary.any(|grant| self.plan.gained().contains(&grant.role))
        };
        self.evaluation.evaluations.iter().any(|evaluated| begins_temporary(evaluated, &self.refused, snapshot))
            || self.layers.iter().any(gains)
    }

    /// Records and carries out the plan.
    fn act(&self) -> Step {
        let (attempt, plan) = (&self.memory.attempt, &self.plan);
        let change = plan.change().filter(|change| attempt.done.as_ref().is_none_or(|done| !is_same(done, change)));
        let view = view(self.snapshot, self.observed(), &self.refused, &self.evaluation.spared);
        let records = records(self.snapshot, &self.evaluation, &self.layers, plan, &view);
        if !records.is_empty() && !change.is_some_and(|change| self.is_overdue(change)) {
            let end = plan.end_unlisted().filter(|_| !attempt.ended_unlisted);
            return match end {
                // The records failed. What is due ends nevertheless, if that grants no access.
                Some(end) if attempt.unrecorded => {
                    self.apply(end.clone(), WritePurpose::EndUnlisted, plan.urgency_of_removals())
                }
                end => Step::Record { records, urgency: plan.urgency(self.is_carried_out()), ends: end.is_some() },
            };
        }
        if let Some(refusal) = &attempt.refusal {
            return self.fall_back(refusal);
        }
        let Some(change) = change else {
            return self.report(PassEnd::Settled);
        };
        if attempt.rounds == 0
            && let Some((error, removed)) = self.refused_before(change)
        {
            return self.report(PassEnd::Failed { error, by_change: true, removed });
        }
        let corrects = self.corrects_drift();
        let interval = self.snapshot.interval();
        if corrects && self.memory.drift.waits(plan.drift(), self.snapshot.at, interval) {
            return self.report(PassEnd::Settled);
        }
        if attempt.rounds >= ROUNDS || self.memory.contested >= ROUNDS {
            return self.report(PassEnd::Contested);
        }
        // Roles that another writer has added since the list must not be removed unless an allow rule permits it. A
        // creation is refused if there is a member.
        let is_governed = self.snapshot.provider.cluster.is_some() && !matches!(change, Change::Create(_));
        if (plan.needs_fresh() || is_governed)
            && let Some(not_before) = self.fresh_since(attempt.planned)
        {
            return Step::Observe(self.observe(not_before, Spacing::NONE, ListReason::Fresh));
        }
        // The same change was refused twice because the member differs, although a list in between shows the row: the
        // provider lost a removal before.
        let through_another = attempt.missed.as_ref().is_some_and(|missed| is_same(missed, change))
            && self.observed().is_some()
            && !self.snapshot.provider.capabilities.lists_are_current;
        self.apply(change.clone(), WritePurpose::Plan { through_another }, plan.urgency(self.is_carried_out()))
    }

    /// Whether an end is overdue and the change adds nothing: then it does not wait for records of what is to be granted.
    /// (An exchange at the very end of a role is one change. A base that is added is recorded first, so that it is
    /// removed later.)
    fn is_overdue(&self, change: &Change) -> bool {
        let is_late = |end: Timestamp| self.snapshot.now.duration_since(end) >= LATE;
        let overdue = matches!(self.plan.urgency(false), Urgency::End(end) if is_late(end));
        let shown = entries(self.observed());
        let is_shown = |entry: &Entry| shown.iter().any(|shown| shown.role == entry.role);
        let removes = match change {
            Change::Remove => true,
            Change::Replace(outcome) => self.plan.gained().is_empty() && outcome.iter().all(is_shown),
            Change::Create(_) | Change::Recreate(_) => false,
        };
        overdue && removes && !self.memory.attempt.unrecorded
    }

    /// Since when a list must have begun that a change relies on; `None`: the last one is recent enough.
    fn fresh_since(&self, planned: Option<Instant>) -> Option<Instant> {
        let (now, as_of) = (self.snapshot.at, self.observation?.as_of);
        match planned {
            Some(planned) if as_of < planned => Some(planned),
            Some(_) if as_of + FRESH >= now => None,
            Some(_) | None => Some(now),
        }
    }

    /// After the provider has refused the change permanently: the removals alone.
    fn fall_back(&self, refusal: &RefusedChange) -> Step {
        let candidates = self.plan.fallbacks().iter().enumerate().skip(refusal.tried);
        let mut candidates = candidates.filter(|(_, fallback)| is_worth_a_try(&self.plan, fallback, &refusal.error));
        let Some((index, fallback)) = candidates.next().filter(|_| !refusal.removed) else {
            return self.refused_change(refusal);
        };
        // The change that is sent includes other writers' entries as the list shows them.
        if let Some(not_before) = self.fresh_since(Some(refusal.at)) {
            return Step::Observe(self.observe(not_before, Spacing::NONE, ListReason::Age));
        }
        self.apply(fallback.clone(), WritePurpose::Fallback { index }, self.plan.urgency_of_removals())
    }

    fn refused_change(&self, refusal: &RefusedChange) -> Step {
        let RefusedChange { error, removed, .. } = refusal;
        self.report(PassEnd::Failed { error: error.clone(), by_change: true, removed: *removed })
    }

    /// The provider's earlier refusal of the same change for the same specs, if it was permanent and is no older than
    /// an observation may be. An end or a revocation is always retried.
    fn refused_before(&self, change: &Change) -> Option<(Error, bool)> {
        let (stalled, connection) = self.memory.stalled.as_deref()?;
        let same = stalled.requested_by == self.requested_by()
            && *change == stalled.change
            && *connection == self.snapshot.provider.connection
            && self.snapshot.at.saturating_duration_since(stalled.at) <= self.snapshot.interval()
            && !self.plan.revokes();
        same.then(|| (stalled.error.clone(), stalled.removed))
    }

    /// Whether every declaration that counts was carried out before.
    fn is_carried_out(&self) -> bool {
        let mut counting = self.counting();
        counting.all(|(declaration, _)| declaration.is_settled())
    }

    /// Whether the change only repairs drift: every declaration was carried out before, and no managed role ends or is
    /// revoked.
    fn corrects_drift(&self) -> bool {
        let carried_out = self.memory.drift.are_carried_out(&self.snapshot.declarations, &self.layers);
        !self.plan.revokes() && !self.plan.drift().is_empty() && carried_out
    }

    fn counting(&self) -> impl Iterator<Item = (&'a Declaration, &Layer)> {
        self.snapshot.declarations.iter().zip(&self.layers).filter(|(_, layer)| layer.phase == Phase::Counts)
    }

    fn requested_by(&self) -> Requesters {
        self.counting().map(|(declaration, _)| (declaration.uid().to_owned(), declaration.generation())).collect()
    }

    fn apply(&self, change: Change, purpose: WritePurpose, urgency: Urgency) -> Step {
        let gained = match purpose {
            WritePurpose::Plan { .. } | WritePurpose::Repair => self.plan.gained().to_vec(),
            WritePurpose::Fallback { .. } | WritePurpose::EndUnlisted => Vec::new(),
        };
        let corrects = matches!(purpose, WritePurpose::Plan { .. }) && self.corrects_drift();
        Step::Apply(Box::new(PlannedWrite {
            change,
            purpose,
            urgency,
            before: self.observed().cloned(),
            effects: self.effects(&gained),
            gained,
            knows_ids: self.evaluation.evaluations.iter().any(|evaluated| evaluated.renames.know_ids()),
            drift: corrects.then(|| self.plan.drift().to_vec()),
            requested_by: self.requested_by(),
        }))
    }

    /// What the change means for each declaration once it is confirmed.
    fn effects(&self, gained: &[String]) -> WriteEffects {
        let before = |(declaration, layer): (&Declaration, &Layer)| {
            let roles = declaration.object.status.as_ref().map_or(&[][..], |status| &status.roles);
            PriorState { layer: layer.clone(), reported: changes::reported(roles) }
        };
        let declarations = &self.snapshot.declarations;
        let befores: Vec<PriorState> = declarations.iter().zip(&self.layers).map(before).collect();
        let happened = changes::changes(&befores, gained, self.plan.lost(), self.snapshot.now).into_iter();
        let expired = self.plan.lost().iter().filter(|(_, loss)| *loss == RemovalReason::Expired);
        let end = |role: &String| self.layers.iter().filter_map(|layer| layer.managed.get(role)?.end()).max();
        WriteEffects {
            events: happened
                .filter_map(|(index, kind, roles)| Some((declarations.get(index)?.uid().to_owned(), kind, roles)))
                .collect(),
            ends: expired.filter_map(|(role, _)| end(role)).collect(),
        }
    }

    fn report(&self, kind: PassEnd) -> Step {
        Step::Report(Box::new(PassOutcome {
            kind,
            evaluation: self.evaluation.clone(),
            plan: self.plan.clone(),
            observation: self.observation.cloned(),
            refused: self.refused.clone(),
        }))
    }

    /// How urgent it is to observe the target: as urgent as the most urgent of its declarations.
    fn urgency(&self) -> Urgency {
        self.most_urgent().map_or(Urgency::Resync, |(_, urgency)| urgency)
    }

    fn most_urgent(&self) -> Option<(&'a Declaration, Urgency)> {
        let pairs = self.snapshot.declarations.iter().zip(&self.evaluation.evaluations);
        let urgencies =
            pairs.map(|(declaration, evaluated)| (declaration, urgency(declaration, evaluated, self.snapshot.now)));
        urgencies.min_by_key(|(_, urgency)| *urgency)
    }

    /// The namespace whose share of the quota pays.
    pub fn payer(&self, step: &Step) -> &'a str {
        let concerned = match step {
            Step::Apply(_) => {
                let concerns = |layer: &Layer| changes::concerns(&self.plan, layer, self.snapshot.now);
                let mut pairs = self.snapshot.declarations.iter().zip(&self.layers);
                pairs.find(|(_, layer)| concerns(layer)).map(|(declaration, _)| declaration)
            }
            _ => self.most_urgent().map(|(declaration, _)| declaration),
        };
        concerned.or(self.snapshot.declarations.first()).map_or("", Declaration::namespace)
    }

    /// The next start or end in any layer.
    pub fn edge(&self) -> Option<Timestamp> {
        let granted = self.layers.iter().flat_map(|layer| layer.grants.iter().map(|grant| &grant.term));
        let managed = self.layers.iter().flat_map(|layer| layer.managed.values());
        crate::core::grants::next_edge(granted.chain(managed), self.snapshot.now)
    }
}

/// The roles that the provider refused and that no changed spec has requested since.
fn refused(snapshot: &Snapshot, layers: &[Layer], memory: &Memory) -> BTreeSet<String> {
    let asks_again = |role: &str, requested_by: &Requesters| {
        let declares =
            |layer: &Layer| layer.phase == Phase::Counts && layer.grants.iter().any(|grant| grant.role == role);
        let declaring = snapshot.declarations.iter().zip(layers).filter(|(_, layer)| declares(layer));
        declaring.into_iter().any(|(d, _)| !requested_by.contains(&(d.uid().to_owned(), d.generation())))
    };
    let refused = memory.refused.iter().filter(|(role, refused)| !asks_again(role, &refused.requested_by));
    refused.map(|(role, _)| role.clone()).collect()
}

/// Whether two changes have the same result: the same roles with the same ends.
fn is_same(a: &Change, b: &Change) -> bool {
    let key = |change: &Change| {
        let mut key: Vec<_> = change.outcome().iter().map(|entry| (entry.role.clone(), entry.term.end())).collect();
        key.sort();
        key
    };
    key(a) == key(b)
}

/// Whether the provider may accept a fallback after `error`. If the credential may grant nothing, every list of roles
/// is refused, and no single entry is the reason. Then the whole membership may be removed, but only if that revokes no
/// unmanaged role.
fn is_worth_a_try(plan: &Plan, fallback: &Change, error: &Error) -> bool {
    match (error, fallback) {
        (Error::MayNotGrant { .. }, Change::Remove) => !plan.removal_takes_others(),
        (Error::MayNotGrant { .. }, _) => false,
        _ => true,
    }
}
