//! Writes without a response, which may still be carried out. Pure.
//!
//! The roles of such a write stay recorded until a list that began later does not show them, because nothing else would
//! remove them (docs/decisions.md, "A role stays recorded while a write without a response may still be carried out").

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::api::membership::{ManagedRole, PendingGrants};
use crate::api::{ProjectMembership, Reason};
use crate::core::layers::Layer;
use crate::core::member::Change;
use crate::core::snapshot::{Declaration, Snapshot, ready};

/// How long a write without a response may still be carried out: proxies keep a request that they cannot deliver for up
/// to a minute.
const LATEST: Duration = Duration::from_secs(60);

/// The writes to a target that had no response.
#[derive(Clone, Debug, Default)]
pub struct LateWrites {
    /// Until when a write of each role may be carried out.
    until: BTreeMap<String, Instant>,
    earlier: EarlierProcess,
}

/// Whether an earlier process may have requested writes of which the objects show something.
#[derive(Clone, Debug, Default)]
enum EarlierProcess {
    /// There was no pass of this process over the target.
    #[default]
    Possible,
    /// The first pass began at this time, and these declarations, by their uids, are included. Others may join: the names
    /// in them had to be looked up.
    Included(Instant, Vec<String>),
    /// Its writes were carried out, or never will be.
    Past,
}

impl LateWrites {
    /// No earlier process has written to the target.
    pub fn without_predecessor() -> Self {
        Self { earlier: EarlierProcess::Past, ..Self::default() }
    }

    /// At the first pass of this process over a declaration: includes what an earlier process may have requested.
    pub fn begin(&mut self, snapshot: &Snapshot) {
        let (since, known) = match std::mem::take(&mut self.earlier) {
            EarlierProcess::Possible => (snapshot.at, Vec::new()),
            EarlierProcess::Included(since, known) if snapshot.at < since + LATEST => (since, known),
            EarlierProcess::Included(..) | EarlierProcess::Past => {
                self.earlier = EarlierProcess::Past;
                return;
            }
        };
        let (declarations, now) = (|| snapshot.declarations.iter(), snapshot.now);
        let new: Vec<&Declaration> = declarations().filter(|d| known.iter().all(|uid| uid != d.uid())).collect();
        let granted_for = new.iter().filter_map(|declaration| left_by_predecessor(&declaration.object, now)).max();
        // A removal sends the other roles again.
        let is_removed_from = |declaration: &Declaration| goes(declaration, snapshot).next().is_some();
        if granted_for.is_some() || new.iter().any(|declaration| is_removed_from(declaration)) {
            let until = snapshot.at + granted_for.unwrap_or(LATEST);
            // A write sends the roles of all declarations.
            for declaration in declarations() {
                let removed: Vec<&str> = goes(declaration, snapshot).filter(|_| granted_for.is_none()).collect();
                let recorded = recorded(declaration).map(|recorded| &recorded.role);
                let sent = recorded.filter(|role| !removed.contains(&role.as_str())).cloned();
                for role in sent {
                    let known = self.until.entry(role).or_insert(until);
                    *known = until.max(*known);
                }
            }
        }
        self.earlier = EarlierProcess::Included(since, declarations().map(|d| d.uid().to_owned()).collect());
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

/// The time for the status of an object that was not evaluated, which replaces the reason that shows a write in progress.
pub fn left_in_progress(object: &ProjectMembership, now: Timestamp) -> Option<Timestamp> {
    let reported = object.status.as_ref()?.unanswered_until;
    let latest = now.checked_add(LATEST).ok().filter(|_| is_in_progress(object));
    reported.max(latest)
}

fn is_in_progress(object: &ProjectMembership) -> bool {
    ready(object).is_some_and(|(_, reason)| reason == Reason::Progressing.to_string())
}

/// For how long a write of the recorded roles may be carried out, as far as the object shows: its status does not include
/// the last record, reports that a write is in progress, or contains the time.
fn left_by_predecessor(object: &ProjectMembership, now: Timestamp) -> Option<Duration> {
    if is_in_progress(object) || PendingGrants::unobserved(object).is_some() {
        return Some(LATEST);
    }
    let until = object.status.as_ref()?.unanswered_until?;
    let left = until.duration_since(now);
    // A status that another writer forged delays nothing for longer.
    (left > SignedDuration::ZERO).then(|| left.unsigned_abs().min(LATEST))
}

fn recorded(declaration: &Declaration) -> impl Iterator<Item = &ManagedRole> {
    declaration.object.status.iter().flat_map(|status| &status.managed_roles)
}

/// The recorded roles that the declaration does not keep. Those that the operator adds to the declared ones are no sign
/// that a removal is in progress.
fn goes<'a>(declaration: &'a Declaration, snapshot: &Snapshot) -> impl Iterator<Item = &'a str> {
    let (now, capabilities) = (snapshot.now, snapshot.provider.capabilities);
    let has_ended = move |role: &ManagedRole| role.expiration_time.is_some_and(|end| end <= now);
    let declares = |role: &ManagedRole| declaration.object.spec.roles.iter().any(|grant| grant.role == role.role);
    let is_added = move |role: &ManagedRole| capabilities.added_roles().any(|added| added == role.role);
    let goes =
        move |role: &&ManagedRole| declaration.is_leaving() || has_ended(role) || !declares(role) && !is_added(role);
    recorded(declaration).filter(goes).map(|role| role.role.as_str())
}
