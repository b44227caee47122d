//! What is remembered of a target between passes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Weak;

use tokio::time::Instant;

use crate::api::membership::ManagedRole;
use crate::controller::connections::Connection;
use crate::controller::repairs::Repairs;
use crate::controller::roster::Evidence;
use crate::core::member::Change;
use crate::provider::Error;

/// What is remembered of a target between passes. All of it may be lost: it saves requests and delays, but correctness
/// does not depend on it. (The only effect of losing `granted` is on an object that is edited between a write to the
/// provider and the write of its status.)
#[derive(Debug, Default)]
pub struct Memory {
    /// Roles that do not exist according to the provider, and the specs for which it was asked.
    pub refused: BTreeMap<String, Refused>,
    /// Recorded starts of grants that the provider has only ever refused, by uid and role.
    pub tentative: BTreeSet<(String, String)>,
    /// Temporary grants that were recorded and have not been sent to the provider since, by uid and role.
    pub unsent: BTreeSet<(String, String)>,
    /// What was granted for an object without having been recorded, by uid, until its status records it: an edit in
    /// between may remove it from the spec.
    pub granted: BTreeMap<String, Granted>,
    /// The generations of the target's objects that are not carried out yet, and since when each has been known, by
    /// uid.
    pub undecided: HashMap<String, (i64, Instant)>,
    /// How many passes of each object have failed in a row, by uid.
    pub failures: HashMap<String, u32>,
    /// A list was requested that began no earlier than this time, and it failed.
    pub unanswered: Option<Instant>,
    /// The change that the provider refused permanently: the next pass over the target does not repeat the request.
    pub stalled: Option<Stalled>,
    /// How many writes in a row were undone before they were confirmed.
    pub contested: u32,
    /// The evidence of the credential's rights in the project for which the declarations through other provider objects
    /// were last reconciled.
    pub evidence: Evidence,
    /// Which drift was repaired, and at how many resyncs in a row.
    pub repairs: Repairs,
}

impl Memory {
    /// Forgets the objects that do not declare the target any more.
    pub(super) fn forget_others(&mut self, declaring: &BTreeSet<String>) {
        self.tentative.retain(|(uid, _)| declaring.contains(uid));
        self.unsent.retain(|(uid, _)| declaring.contains(uid));
        self.granted.retain(|uid, _| declaring.contains(uid));
        self.undecided.retain(|uid, _| declaring.contains(uid));
        self.failures.retain(|uid, _| declaring.contains(uid));
    }
}

/// What was granted for an object's spec without having been recorded first.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The generation of that spec.
    pub generation: i64,
    /// Everything that the object manages with that spec.
    pub record: Vec<ManagedRole>,
}

/// A change that the provider refused permanently.
#[derive(Clone, Debug)]
pub struct Stalled {
    /// The uids and generations of the objects that requested it: a changed spec requests it again.
    pub asked_by: BTreeSet<(String, i64)>,
    /// The change that was requested.
    pub change: Change,
    /// The refusal.
    pub error: Error,
    /// The removals of the change were carried out without its other parts.
    pub removed: bool,
    /// The connection with which it was requested: another credential may have more rights.
    pub connection: Weak<Connection>,
    /// When it was refused.
    pub at: Instant,
}

/// A role that does not exist according to the provider.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The provider's message, for the condition.
    pub message: String,
    /// When the provider refused it.
    pub at: Instant,
    /// The uids and generations of the objects that requested it.
    pub asked_by: BTreeSet<(String, i64)>,
}
