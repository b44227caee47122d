//! What is remembered of a target between two steps, and between two passes. Pure.
//!
//! All of it may be lost: it saves requests and delays, but correctness does not depend on it.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use crate::core::confirm::{Confirmation, confirmation};
use crate::core::drift::RecurringDrift;
use crate::core::error::{Effect, Error, Retry};
use crate::core::late_writes::LateWrites;
use crate::core::member::{Capabilities, Change, Receipt};
use crate::core::record::{NewRole, Record};
use crate::core::snapshot::{Observation, Snapshot};
use crate::core::step::{PassEnd, PassOutcome, unconfirmed};
use crate::core::write::{ConfirmedWrite, PlannedWrite, Requesters, WritePurpose};

/// How long a write may stay unconfirmed before it is repaired. ZITADEL's search shows a write after 43 ms at most
/// (docs/reference/zitadel.md, "Consistency"). Repairing a write that is only late costs a few requests and changes
/// nothing.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(2);
/// The pause after the first list that does not show a write. It is doubled after each further list.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two lists that are to show a write.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What is remembered of a target.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Roles that do not exist according to the provider.
    pub refused: BTreeMap<String, RefusedRole>,
    /// Recorded grants that the provider has not accepted yet, by uid and role. If it refuses such a role, the record of
    /// it does not count.
    pub tentative: Vec<(String, String)>,
    /// Temporary grants that were recorded and have not been sent to the provider since, by uid and role.
    pub unsent: Vec<(String, String)>,
    /// The generations of the target's objects that are not carried out yet.
    pub undecided: Vec<KnownSince<i64>>,
    /// The requests to reconcile that were not handled yet.
    pub requested: Vec<KnownSince<String>>,
    /// How many passes have failed in a row.
    pub failures: u32,
    /// A list that began no earlier than this is required: it was requested and failed, or a role may have been renamed.
    pub required: Option<Instant>,
    /// The change that the provider refused permanently, with the number of the connection through which it was requested
    /// (another credential may have more rights): the next pass does not repeat the request.
    pub stalled: Option<Box<(RefusedChange, u64)>>,
    /// How many writes in a row were undone before they were confirmed.
    pub contested: u32,
    /// Which drift was repaired, and at how many resyncs in a row.
    pub drift: RecurringDrift,
    /// The writes that had no response.
    pub late_writes: LateWrites,
    /// When the attempt began; `None`: what it decided is reported.
    pub began: Option<Instant>,
    /// What has happened in the attempt.
    pub attempt: CurrentAttempt,
}

/// What has happened since the last report. It takes no memory if that is nothing, as for most targets.
#[derive(Clone, Debug, Default)]
pub struct CurrentAttempt(Option<Box<Attempt>>);

impl Deref for CurrentAttempt {
    type Target = Attempt;

    fn deref(&self) -> &Attempt {
        static NONE: Attempt = Attempt::NONE;
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for CurrentAttempt {
    fn deref_mut(&mut self) -> &mut Attempt {
        self.0.get_or_insert_with(|| Box::new(Attempt::NONE))
    }
}

/// What one object asks for, and since when that has been known.
#[derive(Clone, Debug)]
pub struct KnownSince<T> {
    uid: String,
    value: T,
    pub since: Instant,
}

/// What has happened since the last report.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Since when a change has been planned that also writes unmanaged entries as a list shows them.
    pub planned: Option<Instant>,
    /// When a response was requested for the sake of the provider's clock.
    pub clock_asked: Option<Instant>,
    /// The list failed.
    pub unlisted: Option<Error>,
    /// What is due was removed without a new list or a record, or that was tried.
    pub ended_unlisted: bool,
    /// The grants could not be recorded.
    pub unrecorded: bool,
    /// The write that was answered and is not confirmed yet.
    pub sent: Option<Box<SentWrite>>,
    /// A change that was refused because the member differs from the one in the list.
    pub missed: Option<Change>,
    /// In how many rounds another writer changed the member before a write was confirmed.
    pub rounds: u32,
    /// The last change that was confirmed.
    pub done: Option<Change>,
    /// The change that the provider refused permanently.
    pub refusal: Option<Box<RefusedChange>>,
    /// The failure that ended the attempt.
    pub failed: Option<Error>,
}

impl Attempt {
    /// Nothing has happened.
    const NONE: Self = Self {
        planned: None,
        clock_asked: None,
        unlisted: None,
        ended_unlisted: false,
        unrecorded: false,
        sent: None,
        missed: None,
        rounds: 0,
        done: None,
        refusal: None,
        failed: None,
    };
}

/// A role that does not exist according to the provider.
#[derive(Clone, Debug)]
pub struct RefusedRole {
    /// The provider's message, for the condition.
    pub message: String,
    /// When the provider refused it.
    pub at: Instant,
    /// On whose behalf the provider was asked.
    pub requested_by: Requesters,
    /// The provider refused it together with other roles and did not name the one that does not exist. It is left out
    /// until it is its turn: such roles are tried one at a time.
    pub is_suspected: bool,
}

/// A change that the provider refused permanently, and what was sent instead in the same attempt.
#[derive(Clone, Debug)]
pub struct RefusedChange {
    /// The change that was requested.
    pub change: Change,
    /// The refusal.
    pub error: Error,
    /// The objects that requested it: a changed spec requests it again.
    pub requested_by: Requesters,
    /// When it was refused (the change that is sent instead relies on a later list) or, after the attempt, reported.
    pub at: Instant,
    /// How many of the fallbacks were tried.
    pub tried: usize,
    /// One of them was carried out.
    pub removed: bool,
}

/// Why a list is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListReason {
    /// The last one is too old, or there is none.
    Age,
    /// A declaration is new: it is decided on a list that began after it was received.
    Decision,
    /// A temporary grant begins, and the provider's clock is not known.
    Clock,
    /// The change contains what only a recent list justifies.
    Fresh,
    /// It is to show a write.
    Confirmation,
}

/// A write that was answered and is not confirmed yet.
#[derive(Clone, Debug)]
pub struct SentWrite {
    pub apply: PlannedWrite,
    /// The response.
    pub receipt: Receipt,
    /// When it ended, or the last repair of it.
    pub ended: Instant,
    /// A list that confirms it begins no earlier than this.
    pub look_at: Instant,
    /// The pause after a list that does not show it.
    pause: Duration,
    /// A list after the deadline did not show it.
    pub is_late: bool,
    /// How often it was repaired.
    pub repairs: u32,
    /// What the provider said about its absence after the last repair.
    pub explained: Option<Error>,
}

/// Replaces what is known by what is present. What was known with the same value has been known for as long as before.
/// Returns whether something is new.
fn know<'a, T: PartialEq>(
    known: &mut Vec<KnownSince<T>>,
    present: impl Iterator<Item = (&'a str, T)>,
    now: Instant,
) -> bool {
    let before = std::mem::take(known);
    let mut is_new = false;
    for (uid, value) in present {
        let since = before.iter().find(|known| known.uid == uid && known.value == value).map(|known| known.since);
        is_new |= since.is_none();
        known.reserve_exact(usize::from(known.is_empty()));
        known.push(KnownSince { uid: uid.to_owned(), value, since: since.unwrap_or(now) });
    }
    is_new
}

impl Memory {
    /// Begins an attempt, unless one is in progress, and notes what is new in the snapshot.
    pub fn begin(&mut self, snapshot: &Snapshot) {
        let (now, declarations) = (snapshot.at, &snapshot.declarations);
        self.began.get_or_insert(now);
        self.late_writes.begin(snapshot);
        let undecided =
            declarations.iter().filter(|declaration| !declaration.is_leaving() && !declaration.is_settled());
        know(&mut self.undecided, undecided.map(|declaration| (declaration.uid(), declaration.generation())), now);
        let requested =
            declarations.iter().filter_map(|declaration| Some((declaration.uid(), declaration.requested()?)));
        if know(&mut self.requested, requested, now) {
            self.refused.clear();
            self.stalled = None;
            self.drift = RecurringDrift::default();
        }
        let interval = snapshot.interval();
        self.refused.retain(|_, refused| now.saturating_duration_since(refused.at) < interval);
        let declares = |uid: &str| declarations.iter().any(|declaration| declaration.uid() == uid);
        self.tentative.retain(|(uid, _)| declares(uid));
        self.unsent.retain(|(uid, _)| declares(uid));
    }

    /// Notes why a list is requested.
    pub fn asked(&mut self, need: ListReason, not_before: Instant) {
        match need {
            ListReason::Fresh => self.attempt.planned = Some(not_before),
            ListReason::Clock => self.attempt.clock_asked = Some(not_before),
            ListReason::Age | ListReason::Decision | ListReason::Confirmation => {}
        }
    }

    /// Notes what a record that is about to be written begins.
    pub fn recording(&mut self, record: &Record) {
        for NewRole { role, is_temporary, is_first } in &record.new {
            for (grants, is_one) in [(&mut self.unsent, is_temporary), (&mut self.tentative, is_first)] {
                let grant = (record.uid.clone(), role.clone());
                if *is_one && !grants.contains(&grant) {
                    grants.push(grant);
                }
            }
        }
    }

    /// Takes in what the provider says about a member that it accepted and does not list.
    pub fn explained(&mut self, answer: Result<(), Error>, snapshot: &Snapshot) {
        if let Some(sent) = &mut self.attempt.sent {
            sent.explained = Some(answer.err().unwrap_or_else(|| unconfirmed(snapshot)));
        }
    }

    /// Takes in the outcome of a list that had to begin no earlier than `not_before`.
    pub fn listed(&mut self, not_before: Instant, outcome: Result<(), Error>) {
        // A list that was requested and failed is still required: an older one can't replace it.
        self.required = outcome.is_err().then_some(not_before);
        let failure = outcome.err();
        if failure.is_some() || self.attempt.unlisted.is_some() {
            self.attempt.unlisted = failure;
        }
    }

    /// Begins the attempt again, with what was sent.
    pub fn begin_again(&mut self) {
        self.began = None;
        let sent = std::mem::take(&mut self.attempt).0.and_then(|attempt| attempt.sent);
        if sent.is_some() {
            self.attempt.sent = sent;
        }
    }

    /// Ends the attempt: it is reported. Returns whether a write is left unconfirmed.
    pub fn end(&mut self, snapshot: &Snapshot, outcome: &PassOutcome) -> bool {
        self.began = None;
        let attempt = std::mem::take(&mut self.attempt).0.map_or(Attempt::NONE, |attempt| *attempt);
        self.refused.retain(|_, refused| !refused.is_suspected);
        // There is one of each for every target.
        self.tentative.shrink_to_fit();
        self.unsent.shrink_to_fit();
        match outcome.kind {
            PassEnd::Settled => {
                self.contested = 0;
                if let Some(observation) = outcome.observation.as_ref().filter(|_| outcome.plan.drift().is_empty()) {
                    self.drift.no_drift(observation.as_of, snapshot.interval());
                }
            }
            PassEnd::Contested => self.contested = 0,
            PassEnd::NotAsked | PassEnd::Failed { .. } => {}
        }
        if let Some(refusal) = attempt.refusal {
            let refusal = RefusedChange { at: snapshot.at, ..*refusal };
            self.stalled = Some(Box::new((refusal, snapshot.provider.connection)));
        }
        attempt.sent.is_some()
    }

    /// Takes in an observation. Returns the write that it confirms.
    pub fn observed(
        &mut self,
        observation: &Observation,
        capabilities: Capabilities,
        now: Instant,
    ) -> Option<ConfirmedWrite> {
        // A role that is shown exists: the record of it counts, regardless of who granted it first.
        let entries = observation.member.as_ref().map_or(&[][..], |member| &member.entries);
        self.tentative.retain(|(_, role)| entries.iter().all(|entry| entry.role != *role));
        self.late_writes.observed(observation.listed);
        self.attempt.sent.as_ref()?;
        let sent = self.attempt.sent.as_mut().filter(|sent| observation.listed >= sent.look_at)?;
        match confirmation(&sent.apply.change, sent.receipt, observation.member.as_ref(), capabilities) {
            Confirmation::Shown => {
                let SentWrite { apply, receipt, .. } = *self.attempt.sent.take()?;
                self.carried_out(&apply, now);
                Some(ConfirmedWrite { effects: apply.effects, kept: receipt.kept })
            }
            Confirmation::Overtaken => {
                let purpose = self.attempt.sent.take()?.apply.purpose;
                if matches!(purpose, WritePurpose::Fallback { .. }) {
                    self.removed();
                } else {
                    self.attempt.rounds += 1;
                    self.contested += 1;
                }
                None
            }
            Confirmation::NotYet => {
                sent.is_late = now >= sent.ended + CONFIRM_WITHIN;
                sent.look_at = now + sent.pause;
                sent.pause = (sent.pause * 2).min(LONGEST_PAUSE);
                None
            }
        }
    }

    fn carried_out(&mut self, apply: &PlannedWrite, now: Instant) {
        if matches!(apply.purpose, WritePurpose::Fallback { .. }) {
            self.removed();
            return;
        }
        if let Some(drift) = &apply.drift {
            self.drift.corrected(drift, now);
        }
        self.attempt.done = Some(apply.change.clone());
    }

    fn removed(&mut self) {
        if let Some(refusal) = &mut self.attempt.refusal {
            refusal.removed = true;
        }
    }

    /// Takes in the response to a write. `declares`: whether a declaration declares a role.
    pub fn answered(
        &mut self,
        apply: PlannedWrite,
        answer: Result<Receipt, Error>,
        declares: impl Fn(&str) -> bool,
        now: Instant,
    ) {
        if answer.as_ref().err().is_none_or(|error| error.effect() != Effect::None) {
            // The change may be in force from now on.
            self.tentative.retain(|(_, role)| !apply.gained.contains(role));
            self.unsent.retain(|(_, role)| !apply.gained.contains(role));
        }
        if answer.as_ref().is_err_and(|error| error.effect() == Effect::Unknown) {
            self.late_writes.unanswered(&apply.change, now);
        }
        if let (WritePurpose::Fallback { index }, Some(refusal)) = (apply.purpose, &mut self.attempt.refusal) {
            refusal.tried = index + 1;
        }
        match (answer, apply.purpose) {
            (_, WritePurpose::EndUnlisted) => self.attempt.ended_unlisted = true,
            (Ok(receipt), WritePurpose::Repair) => {
                if let Some(sent) = &mut self.attempt.sent {
                    (sent.receipt, sent.ended, sent.look_at, sent.is_late) = (receipt, now, now, false);
                    (sent.pause, sent.repairs) = (FIRST_PAUSE, sent.repairs + 1);
                }
            }
            (Ok(receipt), WritePurpose::Plan { .. } | WritePurpose::Fallback { .. }) => {
                self.stalled = None;
                self.try_next_suspect();
                self.attempt.sent = Some(Box::new(SentWrite {
                    apply,
                    receipt,
                    ended: now,
                    look_at: now,
                    pause: FIRST_PAUSE,
                    is_late: false,
                    repairs: 0,
                    explained: None,
                }));
            }
            (Err(_), WritePurpose::Fallback { .. }) => {}
            (Err(Error::Changed { .. }), WritePurpose::Plan { .. } | WritePurpose::Repair) => {
                let sent = self.attempt.sent.take();
                self.attempt.rounds += 1;
                self.attempt.missed = Some(sent.map_or(apply.change, |sent| sent.apply.change));
            }
            (Err(error), WritePurpose::Plan { .. }) => {
                if self.learn(&apply, &error, declares, now) {
                    // The role may have been renamed since the list.
                    self.required = Some(now).filter(|_| apply.knows_ids);
                    return;
                }
                if error.retry() == Retry::Terminal {
                    let PlannedWrite { change, requested_by, .. } = apply;
                    let refusal = RefusedChange { change, error, requested_by, at: now, tried: 0, removed: false };
                    self.attempt.refusal = Some(Box::new(refusal));
                } else {
                    self.attempt.failed = Some(error);
                }
            }
            (Err(error), WritePurpose::Repair) => self.attempt.failed = Some(error),
        }
    }

    /// Learns from a refusal which declared roles don't exist. Returns whether it is worth planning again without them.
    fn learn(&mut self, apply: &PlannedWrite, error: &Error, declares: impl Fn(&str) -> bool, now: Instant) -> bool {
        let Error::RoleNotFound { role, message } = error else {
            return false;
        };
        let sent = |role: &String| apply.change.outcome().iter().any(|entry| entry.role == *role);
        let culprits = match role {
            Some(role) if sent(role) => vec![role.clone()],
            // The provider named no role that was sent: it must be one that the provider hasn't accepted before. A role
            // that the member has exists.
            Some(_) | None => {
                let has =
                    |role: &&String| apply.before.iter().flat_map(|m| &m.entries).any(|entry| entry.role == **role);
                apply.gained.iter().filter(|role| !has(role)).cloned().collect()
            }
        };
        let culprits: Vec<String> = culprits.into_iter().filter(|role| declares(role)).collect();
        // Of several, all but the first are only suspected, and the first is tried alone.
        let is_suspected = culprits.len() > 1;
        let mut learnt = false;
        for culprit in culprits.into_iter().skip(usize::from(is_suspected)) {
            let refused = self.refused.entry(culprit).or_insert_with(|| {
                learnt = true;
                RefusedRole { message: message.clone(), at: now, requested_by: Requesters::new(), is_suspected }
            });
            learnt |= !apply.requested_by.is_subset(&refused.requested_by);
            refused.requested_by.extend(apply.requested_by.iter().cloned());
        }
        if !is_suspected {
            self.try_next_suspect();
        }
        learnt
    }

    /// The next of the suspected roles is tried with the next change.
    fn try_next_suspect(&mut self) {
        let next = self.refused.iter().find(|(_, refused)| refused.is_suspected).map(|(role, _)| role.clone());
        next.map(|role| self.refused.remove(&role));
    }

    /// The time until the next attempt after failures in a row: half a second, doubled up to `longest`.
    pub fn backoff(&mut self, longest: Duration) -> Duration {
        let wait = Duration::from_millis(500).saturating_mul(1 << self.failures.min(20)).min(longest);
        self.failures += 1;
        wait
    }
}
