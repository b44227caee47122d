//! The next thing to do for a target. All control flow of a pass is decided here; the driver
//! (`controller::reconcile`) carries it out. Pure.

mod situation;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use situation::Situation;

use super::clocks::Agreement;
use super::error::Error;
use super::evaluation::{DeclarationEvaluation, Evaluation};
use super::layers::Phase;
use super::member::{Member, Term, Urgency};
use super::memory::{ListReason, Memory};
use super::plan::{Plan, PlanInputs};
use super::record::Record;
use super::snapshot::{Declaration, Observation, Snapshot};
use super::write::{ConfirmedWrite, PlannedWrite};
use crate::api::Reason;

/// How often a write is repaired before it is reported.
const REPAIRS: u32 = 2;

/// The next thing to do for a target.
#[derive(Clone, Debug)]
pub enum Step {
    /// Remove the finalizer of declarations that are being deleted and hold nothing that has to be revoked.
    Release(Vec<Release>),
    /// Record what is about to be granted.
    Record {
        records: Vec<Record>,
        /// How urgent the change is for which they are made.
        urgency: Urgency,
        /// Something is due to end, which does not have to wait for these records.
        ends: bool,
    },
    /// Observe the target by a list of its project.
    Observe(Observe),
    /// Send a write.
    Apply(Box<PlannedWrite>),
    /// Determine why a member that the provider accepted is not listed.
    Explain(Urgency),
    /// Report the result to each declaration, and wait.
    Report(Box<PassOutcome>),
}

/// A declaration to be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The uid of the object.
    pub uid: String,
    /// An administrator decided that the access remains.
    pub is_abandoned: bool,
}

/// A list that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    /// The list begins no earlier than this.
    pub not_before: Instant,
    /// The minimum time since the last list of the project.
    pub spacing: Spacing,
    /// How urgent it is.
    pub urgency: Urgency,
    /// Why it is needed.
    pub need: ListReason,
}

/// The minimum time between two lists of a project. It grows while lists follow each other closely, so that the writes of
/// a burst are confirmed together and a single write soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spacing {
    /// The time between the first two lists.
    pub first: Duration,
    /// The longest time.
    pub longest: Duration,
}

impl Spacing {
    /// No minimum.
    pub const NONE: Self = Self::always(Duration::ZERO);

    /// The same time between all lists.
    pub const fn always(time: Duration) -> Self {
        Self { first: time, longest: time }
    }

    /// The time from a list to the next one; `in_a_row`: how many lists before it followed each other closely.
    pub fn after(self, in_a_row: u32) -> Duration {
        self.first.saturating_mul(in_a_row.saturating_add(1)).min(self.longest)
    }
}

/// The next step, with the quota share of its requests.
#[derive(Clone, Debug)]
pub struct NextStep {
    pub step: Step,
    /// The namespace whose share of the quota pays for the requests of the step.
    pub payer: String,
    /// The next start or end of a grant after the snapshot: the step is decided again then.
    pub edge: Option<Timestamp>,
}

/// The result of a pass.
#[derive(Clone, Debug)]
pub struct PassOutcome {
    /// What has ended the pass.
    pub kind: PassEnd,
    /// The declarations, evaluated for what was observed last.
    pub evaluation: Evaluation,
    /// The difference between the declarations and what was observed last.
    pub plan: Plan,
    /// What was observed last; `None`: the target is not known.
    pub observation: Option<Observation>,
    /// Roles that do not exist at the provider.
    pub refused: BTreeSet<String>,
}

/// What has ended a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassEnd {
    /// Nothing is left to do, or what is left waits.
    Settled,
    /// No request was sent: no declaration may grant anything, and none holds anything that is due.
    NotAsked,
    /// A request failed or was refused.
    Failed {
        /// The failure.
        error: Error,
        /// It concerns only the declarations that the planned change concerns, and not the whole project.
        by_change: bool,
        /// The removals of a refused change were carried out without its other parts.
        removed: bool,
    },
    /// Another writer changed the member each time before a write was confirmed.
    Contested,
}

/// Records the snapshot and the last observation in the memory, and decides what to do next. Also returns the write
/// that the observation confirms.
pub fn decide(
    snapshot: &Snapshot,
    observation: Option<&Observation>,
    memory: &mut Memory,
) -> (Option<ConfirmedWrite>, NextStep) {
    memory.begin(snapshot);
    let confirmed = observation.and_then(|known| memory.observed(known, snapshot.provider.capabilities, snapshot.at));
    let next = next_step(snapshot, observation, memory);
    if let Step::Observe(Observe { need, not_before, .. }) = &next.step {
        memory.asked(*need, *not_before);
    }
    (confirmed, next)
}

/// Decides what to do next for a target.
pub fn next_step(snapshot: &Snapshot, observation: Option<&Observation>, memory: &Memory) -> NextStep {
    let at = Situation::new(snapshot, observation, memory);
    let step = at.step();
    let payer = at.payer(&step).to_owned();
    let edge = at.edge();
    NextStep { step, payer, edge }
}

/// How urgent it is to observe a target.
pub fn urgency(declaration: &Declaration, evaluated: &DeclarationEvaluation, now: Timestamp) -> Urgency {
    let ends = evaluated.layer.managed.values().filter_map(Term::end).filter(|end| *end <= now);
    let is_decided = declaration.is_settled() || (evaluated.inactive.is_some() && declaration.is_observed());
    match ends.min() {
        Some(end) => Urgency::End(end),
        None if declaration.is_leaving() => Urgency::Revoke,
        None if !is_decided => Urgency::Grant,
        None => Urgency::Resync,
    }
}

/// Whether a declaration needs an observation. If it may not grant anything and holds nothing that would have to end,
/// no request is sent on its behalf, because the credential does not belong to its namespace.
pub fn needs_observation(snapshot: &Snapshot, declaration: &Declaration, evaluated: &DeclarationEvaluation) -> bool {
    let layer = &evaluated.layer;
    let provider = &snapshot.provider;
    if provider.unready.is_some() {
        let ends = layer.managed.values().any(|term| term.ended(snapshot.now));
        // Without its provider object, a deletion waits.
        let leaves = layer.phase == Phase::Leaves && (!provider.is_gone || declaration.is_left_behind);
        return ends || leaves;
    }
    let is_refused = evaluated.inactive.as_ref().is_some_and(|inactive| {
        matches!(
            inactive.reason,
            Reason::NotAllowed
                | Reason::Progressing
                | Reason::Suspended
                | Reason::InvalidSpec
                | Reason::ProviderNotReady
        )
    });
    // An object that would be carried out if it were not suspended is compared with what the provider shows.
    let is_governed = provider.cluster.is_some() || provider.leaving.is_some();
    !(is_governed
        && is_refused
        && evaluated.holds_nothing()
        && !evaluated.compares
        && !evaluated.refused_by_observation)
}

/// The view for a plan.
pub fn view<'a>(
    snapshot: &Snapshot,
    observed: Option<&'a Member>,
    refused: &'a BTreeSet<String>,
    spared: &'a BTreeSet<String>,
) -> PlanInputs<'a> {
    let begins = snapshot.clocks == Agreement::Agree;
    PlanInputs { observed, capabilities: snapshot.provider.capabilities, refused, spared, now: snapshot.now, begins }
}

/// The failure of a write that no list shows.
pub fn unconfirmed(snapshot: &Snapshot) -> Error {
    Error::Unconfirmed {
        message: format!(
            "the provider accepted the write, but {} s and {REPAIRS} repairs later its list of project {} doesn't show it; trying again",
            super::memory::CONFIRM_WITHIN.as_secs() * u64::from(REPAIRS + 1),
            snapshot.target.project.id
        ),
    }
}
