//! A write to a target: why it is sent, and what it means when a list shows it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::event::EventKind;
use crate::api::membership::Drift;
use crate::core::member::{Change, Member, Urgency};

/// The uids and generations of the objects on whose behalf something was requested.
pub type Requesters = BTreeSet<(String, i64)>;

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePurpose {
    /// It removes the difference between the declarations and the provider. `through_another`: the provider's list
    /// differs from the state on which it decides, so that the change is made through another one.
    Plan {
        /// Whether the change is made through another one.
        through_another: bool,
    },
    /// It removes what has to go, after the provider has refused the whole change.
    Fallback {
        /// Which of the plan's fallbacks it is.
        index: usize,
    },
    /// It removes what is due, although the list or a record failed.
    EndUnlisted,
    /// It repeats a write that the provider accepted and does not show.
    Repair,
}

/// A write that is about to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedWrite {
    pub change: Change,
    /// What it is for.
    pub purpose: WritePurpose,
    /// How urgent it is.
    pub urgency: Urgency,
    /// The member before the write.
    pub before: Option<Member>,
    /// The roles that it gains.
    pub gained: Vec<String>,
    /// A declaration has recorded a role with its id.
    pub knows_ids: bool,
    /// What to report when it is confirmed.
    pub effects: WriteEffects,
    /// The drift that it corrects, if it does nothing else.
    pub drift: Option<Vec<Drift>>,
    /// On whose behalf it is sent.
    pub requested_by: Requesters,
}

impl PlannedWrite {
    /// Whether it repeats a write, or makes it in another way, because the provider's list does not show it.
    pub fn is_repair(&self) -> bool {
        matches!(self.purpose, WritePurpose::Repair | WritePurpose::Plan { through_another: true })
    }
}

/// What a confirmed write means for the declarations of its target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteEffects {
    /// The events: the uid of the object, the kind of event, and the roles.
    pub events: Vec<(String, EventKind, Vec<String>)>,
    /// When the grants that it ended should have ended.
    pub ends: Vec<Timestamp>,
}

/// A write that a list shows, with what to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmedWrite {
    /// What to report.
    pub effects: WriteEffects,
    /// Why a membership stays without access although it was removed.
    pub kept: Option<&'static str>,
}
