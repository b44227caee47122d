//! The objects of one target, the provider and the clocks, and a driver that carries out the steps of
//! [`decide`] as `controller::reconcile` does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use membership_operator::core::clocks::{self, ProviderClock};
use membership_operator::core::error::{Effect, Error};
use membership_operator::core::member::{Change, Entry, Member, Target};
use membership_operator::core::memory::{ListReason, Memory};
use membership_operator::core::policy::Refusal;
use membership_operator::core::record::Record;
use membership_operator::core::report::{NextAttempt, again, next_edge, reports, unresolved};
use membership_operator::core::snapshot::{ProviderView, Snapshot};
use membership_operator::core::step::{Observe, PassEnd, PassOutcome, Step, decide, unconfirmed};
use membership_operator::core::write::{PlannedWrite, WritePurpose};

use crate::events;
use crate::objects::{Object, target};
use crate::provider::Provider;
use crate::random::Random;
use crate::roster::Roster;

/// More steps than any pass may take.
const MOST_STEPS: usize = 120;

/// The objects, the provider and the time.
#[derive(Clone, Debug)]
pub struct World {
    pub random: Random,
    pub objects: Vec<Object>,
    pub provider: Provider,
    pub memory: Memory,
    pub roster: Roster,
    pub view: ProviderView,
    pub target: Target,
    pub shadowed: bool,
    /// The provider object does not exist.
    pub is_missing: bool,
    /// The operator's clock.
    pub wall: Timestamp,
    pub at: Instant,
    /// How far the provider's clock is ahead of the operator's.
    pub skew: SignedDuration,
    /// The provider's responses show its clock.
    pub shows_clock: bool,
    pub clock: Option<ProviderClock>,
    /// How many of the next records, and of the next statuses, the API server refuses.
    pub records_fail: usize,
    pub statuses_fail: usize,
    /// What happens after this number of further steps.
    pub interruption: Option<(usize, events::Interruption)>,
    /// The time of the last change by another writer at the provider.
    pub hand_at: Option<Instant>,
    /// The time of the last write of the operator that was carried out after its time limit.
    pub late_at: Option<Instant>,
    /// Roles that no object declares and that another writer added between two passes.
    pub brought: BTreeMap<String, Entry>,
    /// An object tolerates no unmanaged role, or a removal needed a sacrifice.
    pub may_lose: bool,
    pub is_passing: bool,
    /// Another writer added the role that gives no access.
    pub brought_base: bool,
    /// When another writer added a declared role that no object had recorded.
    pub hands: BTreeMap<&'static str, Instant>,
    /// Roles that an object recorded: they must not be left behind.
    pub ours: BTreeSet<String>,
    pub created: usize,
    pub taken: usize,
    /// Print everything that happens.
    pub is_traced: bool,
}

/// The result of a pass.
#[derive(Clone, Debug)]
pub struct Pass {
    /// How many writes it sent, to the provider and to the API server.
    pub writes: usize,
    /// When the next pass is due.
    pub due_in: Duration,
    /// A request was sent to the provider.
    pub is_asked: bool,
    /// Nothing known is left to do.
    pub is_at_rest: bool,
}

macro_rules! trace {
    ($world:expr, $($text:tt)*) => {
        if $world.is_traced {
            eprintln!("  {}", format_args!($($text)*));
        }
    };
}
pub(crate) use trace;

impl World {
    pub fn now(&self) -> Timestamp {
        let lead = clocks::lead(self.clock.as_ref(), self.wall, self.at);
        self.wall.saturating_add(lead).unwrap_or(Timestamp::MAX)
    }

    pub fn advance(&mut self, by: Duration) {
        self.at += by;
        self.wall += SignedDuration::try_from(by).unwrap();
        if self.provider.advance(self.at) {
            trace!(self, "a delayed write is carried out: {:?}", self.provider.member);
            // It may replace what another writer wrote in the meantime.
            (self.late_at, self.may_lose) = (Some(self.at), true);
        }
    }

    /// The memory is lost.
    pub fn crash(&mut self) {
        trace!(self, "crash");
        self.memory = Memory::default();
        self.roster = Roster::default();
        self.clock = None;
        let (is_governed, capabilities) = (self.view.cluster.is_some(), self.view.capabilities);
        self.objects.iter_mut().for_each(|object| object.read_again(is_governed, capabilities));
    }

    /// The objects and the provider object at this instant.
    pub fn snapshot(&self) -> Snapshot {
        let is_governed = self.view.cluster.is_some();
        Snapshot {
            target: self.target.clone(),
            provider: self.view.clone(),
            declarations: self.objects.iter().map(|object| object.declaration(is_governed)).collect(),
            shadowed: self.shadowed,
            now: self.now(),
            at: self.at,
            clocks: clocks::agreement(self.clock.as_ref(), self.wall, self.at),
        }
    }

    /// One pass, until everything is reported.
    pub fn pass(&mut self) -> Result<Pass, String> {
        self.is_passing = true;
        let pass = self.steps();
        self.is_passing = false;
        pass
    }

    fn steps(&mut self) -> Result<Pass, String> {
        let mut writes = 0;
        for _ in 0..MOST_STEPS {
            self.taken += 1;
            self.interrupt();
            if self.objects.is_empty() {
                self.memory = Memory::default();
                let due_in = self.view.resync.provider();
                return Ok(Pass { writes, due_in, is_asked: false, is_at_rest: true });
            }
            if self.is_missing {
                return self.report_missing(writes);
            }
            let snapshot = self.snapshot();
            let observation = self.roster.observation();
            let (_, next) = decide(&snapshot, observation.as_ref(), &mut self.memory);
            self.advance(Duration::from_millis(1));
            match next.step {
                Step::Release(releases) => {
                    trace!(self, "{releases:?}");
                    for release in releases {
                        writes += 1;
                        self.release(&release.uid, release.is_abandoned)?;
                    }
                }
                Step::Record { records, ends, .. } => {
                    trace!(self, "record {records:?} ends: {ends}");
                    let failed_before = self.memory.attempt.unrecorded;
                    let is_written = self.record(&snapshot, records, &mut writes)?;
                    if !is_written && (!ends || failed_before) {
                        let due_in = Duration::from_secs(1);
                        return Ok(Pass { writes, due_in, is_asked: false, is_at_rest: false });
                    }
                    self.memory.attempt.unrecorded |= !is_written;
                    if !is_written {
                        // What ends does not wait for the API server: the base may be added without a record, and
                        // unmanaged roles may be lost if the operator crashes while it merges memberships.
                        (self.brought_base, self.may_lose) = (true, true);
                    }
                }
                Step::Observe(observe) => self.observe(&observe),
                Step::Apply(apply) => {
                    writes += 1;
                    self.send(&snapshot, *apply)?;
                }
                Step::Explain(_) => {
                    if let Some(sent) = &mut self.memory.attempt.sent {
                        sent.explained = Some(unconfirmed(&snapshot));
                    }
                }
                Step::Report(outcome) => return self.report(&snapshot, &outcome, writes),
            }
        }
        Err(format!("more than {MOST_STEPS} steps"))
    }

    fn interrupt(&mut self) {
        if let Some((steps, interruption)) = self.interruption.take() {
            match steps {
                0 => events::interrupt(self, interruption),
                more => self.interruption = Some((more - 1, interruption)),
            }
        }
    }

    fn answered(&mut self) {
        if self.shows_clock {
            self.clock = Some(ProviderClock::new(self.skew, self.wall, self.at));
        }
    }

    fn observe(&mut self, observe: &Observe) {
        let Observe { not_before, spacing, need, .. } = *observe;
        trace!(self, "observe {need:?}");
        if not_before > self.at {
            self.advance(not_before - self.at);
            return;
        }
        if let Some(began) = self.roster.began() {
            self.advance((began + spacing.after(0)).saturating_duration_since(self.at));
        }
        let at = self.at;
        let outcome = match self.roster.sighting(Some(not_before)) {
            Some(_) if need != ListReason::Clock => Ok(()),
            _ => self.provider.list(at).map(|shown| self.roster.listed(shown, at)),
        };
        trace!(self, "list {outcome:?}: {:?}", self.roster.observation().map(|observation| observation.member));
        self.advance(Duration::from_millis(5));
        if outcome.is_ok() {
            self.answered();
        }
        self.memory.listed(not_before, outcome);
    }

    /// Writes the records. Returns whether the API server accepted all of them.
    fn record(&mut self, snapshot: &Snapshot, records: Vec<Record>, writes: &mut usize) -> Result<bool, String> {
        for record in records {
            self.memory.recording(&record);
            if self.records_fail > 0 {
                self.records_fail -= 1;
                return Ok(false);
            }
            *writes += 1;
            self.check_record(snapshot, &record)?;
            let is_governed = self.view.cluster.is_some();
            let object = self.object(&record.uid)?;
            object.write_pending(record, is_governed);
            self.check_starts()?;
        }
        Ok(true)
    }

    pub fn object(&mut self, uid: &str) -> Result<&mut Object, String> {
        self.objects.iter_mut().find(|object| object.uid() == uid).ok_or_else(|| format!("no object {uid}"))
    }

    fn send(&mut self, snapshot: &Snapshot, apply: PlannedWrite) -> Result<(), String> {
        trace!(self, "{:?} {:?}", apply.purpose, apply.change);
        self.check_write(snapshot, &apply)?;
        let repairs = matches!(apply.purpose, WritePurpose::Repair | WritePurpose::Plan { through_another: true });
        let change = match repairs {
            true => apply.change.stated_again(apply.before.as_ref()),
            false => apply.change.clone(),
        };
        self.advance(Duration::from_millis(10));
        let answer = self.provider.write(&change, repairs, self.at)?;
        trace!(self, "{answer:?}: {:?}", self.provider.member);
        self.advance(Duration::from_millis(10));
        if answer.is_ok() {
            self.answered();
        }
        match &answer {
            Ok(_) if apply.purpose == WritePurpose::EndUnlisted => self.roster.doubt(self.at),
            Ok(receipt) => {
                let kept = receipt.kept.and(self.view.capabilities.empty_role);
                let version = receipt.version;
                self.roster.wrote(written(&self.target, &apply.change, kept, version), self.at);
            }
            Err(error) => {
                let is_partly_done =
                    matches!(apply.change, Change::Recreate(_)) || apply.purpose == WritePurpose::Repair;
                let is_changed = matches!(error, Error::Changed { .. });
                if is_changed || is_partly_done || error.effect() == Effect::Unknown {
                    self.roster.doubt(self.at);
                }
            }
        }
        if let Err(Error::RoleNotFound { role: None, .. }) = &answer {
            // Each of them counts as one that does not exist, and its record is dropped.
            self.ours.retain(|role| !apply.gained.contains(role));
        }
        if answer.as_ref().err().is_none_or(|error| error.effect() == Effect::Unknown) {
            for object in &mut self.objects {
                let record = object.record().iter().map(|recorded| recorded.role.clone());
                let sent = |role: &String| apply.change.outcome().iter().any(|entry| entry.role == *role);
                let sent: Vec<String> = record.filter(sent).collect();
                object.sent.extend(sent);
            }
        }
        let declared = |role: &str| {
            let mut specs = snapshot.declarations.iter().map(|declaration| &declaration.object.spec);
            specs.any(|spec| spec.roles.iter().any(|grant| grant.role == role))
        };
        self.memory.answered(apply, answer, declared, self.at);
        Ok(())
    }

    fn report(&mut self, snapshot: &Snapshot, outcome: &PassOutcome, mut writes: usize) -> Result<Pass, String> {
        trace!(self, "report {:?}", outcome.kind);
        let reports = reports(snapshot, outcome, &self.memory);
        if self.memory.end(snapshot, outcome) {
            self.roster.doubt(self.at);
        }
        let again = again(snapshot, outcome, &self.memory, &reports);
        let due_in = self.due_in(snapshot, outcome, again);
        let edge = next_edge(&reports, snapshot.now);
        let until_edge = edge.and_then(|edge| Duration::try_from(edge.duration_since(self.now())).ok());
        self.check_reports(snapshot, outcome, &reports)?;
        let is_governed = self.view.cluster.is_some();
        for (declaration, report) in snapshot.declarations.iter().zip(reports) {
            trace!(self, "{}: {:?} {:?}", declaration.uid(), report.ready_condition, report.status.managed_roles);
            if self.statuses_fail > 0 {
                self.statuses_fail -= 1;
            } else if report.is_released {
                writes += 1;
                self.release(declaration.uid(), false)?;
            } else {
                writes += usize::from(self.object(declaration.uid())?.write_status(report.status, is_governed));
            }
        }
        self.check_starts()?;
        let change_left = outcome.plan.change().is_some() && self.memory.drift.is_contested();
        let is_at_rest = matches!(outcome.kind, PassEnd::Settled | PassEnd::NotAsked)
            && again == NextAttempt::AtEdge
            && !change_left;
        let due_in = until_edge.map_or(due_in, |edge| due_in.min(edge));
        Ok(Pass { writes, due_in, is_asked: outcome.kind != PassEnd::NotAsked, is_at_rest })
    }

    /// Reports to the objects that their provider object does not exist.
    fn report_missing(&mut self, mut writes: usize) -> Result<Pass, String> {
        let refusal = Refusal {
            reason: membership_operator::api::Reason::ProviderNotReady,
            message: "the provider object does not exist".to_owned(),
        };
        let (now, is_governed) = (self.now(), self.view.cluster.is_some());
        for object in self.objects.clone() {
            let report = unresolved(&object.seen, &refusal, self.view.capabilities.enforces_expiry, now);
            trace!(self, "{}: {:?}", object.uid(), report.ready_condition);
            if self.statuses_fail > 0 {
                self.statuses_fail -= 1;
            } else if report.is_released {
                writes += 1;
                self.release(object.uid(), false)?;
            } else {
                writes +=
                    usize::from(self.object(object.uid())?.write_status_of_unevaluated(report.status, is_governed));
            }
        }
        let due_in = self.view.resync.provider();
        Ok(Pass { writes, due_in, is_asked: false, is_at_rest: true })
    }

    fn due_in(&mut self, snapshot: &Snapshot, outcome: &PassOutcome, again: NextAttempt) -> Duration {
        match again {
            NextAttempt::AtEdge => {
                self.memory.failures = 0;
                let is_listed =
                    !matches!(outcome.kind, PassEnd::NotAsked | PassEnd::Failed { .. } | PassEnd::Contested);
                let listed = outcome.observation.as_ref().map(|observation| observation.listed).filter(|_| is_listed);
                let interval = snapshot.interval();
                let resync = listed.map(|began| (began + interval).saturating_duration_since(self.at));
                resync.unwrap_or(interval) + Duration::from_millis(5)
            }
            NextAttempt::After(delay) => delay,
            NextAttempt::Backoff => self.memory.backoff(Duration::from_secs(300)),
            NextAttempt::Soon => self.memory.backoff(Duration::from_secs(5)),
        }
    }

    fn release(&mut self, uid: &str, is_abandoned: bool) -> Result<(), String> {
        if !is_abandoned {
            self.check_release(uid)?;
        }
        self.objects.retain(|object| object.uid() != uid);
        Ok(())
    }

    /// Makes the provider object ready again, and ends all faults.
    pub fn end_faults(&mut self) {
        self.provider.end_faults();
        (self.records_fail, self.statuses_fail, self.interruption) = (0, 0, None);
        (self.shows_clock, self.skew, self.shadowed) = (true, SignedDuration::ZERO, false);
        self.view.unready = None;
        self.is_missing = false;
        self.clock = None;
    }

    /// Passes until nothing changes any more.
    pub fn settle(&mut self) -> Result<(), String> {
        self.end_faults();
        let began = self.at;
        for _ in 0..300 {
            let before = self.provider.member.clone();
            // What another writer makes of a change that was made in an interrupted attempt is seen by the next resync.
            let was_busy = self.memory.drift.is_contested() || self.memory.attempt.done.is_some();
            let pass = self.pass()?;
            let is_quiet = pass.writes == 0 || (self.declares_unknown() && self.provider.member == before);
            // A refusal that named no role is dropped after an interval, and a contested target becomes quiet.
            let is_forgotten = self.memory.refused.keys().all(|role| self.provider.unknown.contains(role.as_str()));
            let is_quiet = is_quiet && (is_forgotten || self.declares_unknown()) && !was_busy;
            // What a late write changed is seen by the next resync.
            let since = self.late_at.map_or(began, |late| late.max(began));
            let is_listed = !pass.is_asked || self.roster.began().is_some_and(|listed| listed >= since);
            if pass.is_at_rest && is_quiet && is_listed && self.provider.under_way.is_empty() {
                return self.check_rest();
            }
            trace!(self, "{:?} later", pass.due_in);
            self.advance(pass.due_in);
        }
        Err("it does not come to rest".to_owned())
    }

    /// The provider object becomes unready, or ready again.
    pub fn toggle_ready(&mut self) {
        let refusal = Refusal {
            reason: membership_operator::api::Reason::ProviderNotReady,
            message: "the provider object is not ready".to_owned(),
        };
        self.view.unready = match self.view.unready {
            Some(_) => None,
            None => Some(refusal),
        };
    }
}

/// The member that a change should result in.
fn written(target: &Target, change: &Change, kept: Option<&str>, version: Option<u64>) -> Option<Member> {
    let entries = match change {
        Change::Remove => vec![Entry::permanent(kept?)],
        Change::Create(entries) | Change::Replace(entries) | Change::Recreate(entries) => entries.clone(),
    };
    Some(Member { subject_id: target.subject_id.clone(), entries, memberships: 1, version })
}

/// A world without objects.
pub fn world(mut random: Random, provider: Provider, cluster: bool) -> World {
    let target = target();
    World {
        objects: Vec::new(),
        view: crate::objects::view(provider.capabilities, cluster),
        provider,
        memory: Memory::default(),
        roster: Roster::default(),
        target,
        shadowed: false,
        is_missing: false,
        wall: crate::generators::now() + SignedDuration::from_millis(random.below(1000) as i64),
        random,
        at: crate::objects::beginning(),
        skew: SignedDuration::ZERO,
        shows_clock: true,
        clock: None,
        records_fail: 0,
        statuses_fail: 0,
        interruption: None,
        hand_at: None,
        late_at: None,
        brought: BTreeMap::new(),
        may_lose: false,
        is_passing: false,
        brought_base: false,
        hands: BTreeMap::new(),
        ours: BTreeSet::new(),
        created: 0,
        taken: 0,
        is_traced: false,
    }
}
