//! Writes without a response, which may still be carried out. Pure.
//!
//! The roles of such a write stay recorded until a list that began later does not show them, because nothing else would
//! remove them (docs/decisions.md, "A role stays recorded while a write without a response may still be carried out").

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::api::membership::{ManagedRole, PendingGrants};
use crate::core::layers::Layer;
use crate::core::member::Change;
use crate::core::snapshot::{Declaration, Snapshot};

/// How long a write without a response may still be carried out: proxies keep a request that they cannot deliver for up
/// to a minute.
const LATEST: Duration = Duration::from_secs(60);

/// The writes to a target that had no response.
#[derive(Clone, Debug, Default)]
pub struct LateWrites {
    /// Until when a write of each role may be carried out.
    until: BTreeMap<String, Instant>,
    /// The writes of earlier processes are included.
    has_begun: bool,
}

impl LateWrites {
    /// No earlier process has written to the target.
    pub fn without_predecessor() -> Self {
        Self { has_begun: true, ..Self::default() }
    }

    /// Before the first pass of this process over the target: includes what an earlier process may have requested.
    pub fn begin(&mut self, snapshot: &Snapshot) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        // A write sends the roles of all declarations.
        let declarations = || snapshot.declarations.iter();
        let recorded = declarations().flat_map(|d| &d.object.status).flat_map(|status| &status.managed_roles);
        let has_ended = |role: &&ManagedRole| role.expiration_time.is_some_and(|end| end <= snapshot.now);
        let left = declarations().filter_map(|declaration| left_by_predecessor(declaration, snapshot.now)).max();
        if left.is_none() && !recorded.clone().any(|role| has_ended(&role)) {
            return;
        }
        // Otherwise the removal of what has ended may be in progress: it sends the other roles again.
        let granted = recorded.filter(|role| left.is_some() || !has_ended(role));
        let until = snapshot.at + left.unwrap_or(LATEST);
        self.until.extend(granted.map(|managed| (managed.role.clone(), until)));
    }

    /// A change was requested and had no response.
    pub fn unanswered(&mut self, change: &Change, now: Instant) {
        let roles = change.outcome().iter().map(|entry| entry.role.clone());
        self.until.extend(roles.map(|role| (role, now + LATEST)));
    }

    /// A list that began at this instant shows what was carried out before.
    pub fn observed(&mut self, listed: Instant) {
        self.until.retain(|_, until| listed < *until);
    }

    /// The roles of these writes.
    pub fn roles(&self) -> impl Iterator<Item = &String> {
        self.until.keys()
    }

    /// Until when a write may be carried out that would grant a role which a layer has recorded and no layer keeps.
    pub fn awaited<'a>(&self, layers: impl Iterator<Item = &'a Layer> + Clone, now: Timestamp) -> Option<Instant> {
        let is_awaited = |role: &str| layers.clone().any(|l| l.managed.contains_key(role) && !l.keeps(role, now));
        self.until.iter().filter(|(role, _)| is_awaited(role)).map(|(_, until)| *until).max()
    }

    /// The time for the status of an object that has recorded these roles; `reported`: the one that it contains. A time
    /// that is late enough stays as it is, and a new one is a minute later than necessary: otherwise each retry would
    /// write the status.
    pub fn reported_until(
        &self,
        recorded: &[ManagedRole],
        snapshot: &Snapshot,
        reported: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let until = recorded.iter().filter_map(|recorded| self.until.get(&recorded.role)).max()?;
        let left = until.checked_duration_since(snapshot.at).filter(|left| !left.is_zero())?;
        let time = snapshot.now.checked_add(left).ok()?;
        reported.filter(|reported| *reported >= time).or_else(|| time.checked_add(LATEST).ok())
    }
}

/// For how long a write of the recorded roles may be carried out, as far as the object shows: its status does not include
/// the last record, reports that a write is in progress, or contains the time.
fn left_by_predecessor(declaration: &Declaration, now: Timestamp) -> Option<Duration> {
    let is_in_progress = declaration.ready().is_some_and(|(_, reason)| reason == Reason::Progressing.to_string());
    if is_in_progress || PendingGrants::unobserved(&declaration.object).is_some() {
        return Some(LATEST);
    }
    let until = declaration.object.status.as_ref()?.unanswered_until?;
    let left = until.duration_since(now);
    // A status that another writer forged delays nothing for longer.
    (left > SignedDuration::ZERO).then(|| left.unsigned_abs().min(LATEST))
}
