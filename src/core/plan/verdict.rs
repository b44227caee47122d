//! What happens to each role that the provider shows.

use std::collections::BTreeMap;

use super::{PlanInputs, RemovalReason, ends_later};
use crate::core::layers::{Layer, Union};
use crate::core::member::{Entry, Term};

/// What happens to the rows of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RoleChange {
    /// They stay unchanged.
    Stays,
    /// One entry replaces them.
    Becomes(Entry),
    /// They are removed.
    Goes(RemovalReason),
}

/// A role that the provider shows, and what happens to it. A role may have several rows: the merged lists of two
/// writers, or several memberships (docs/reference/infisical.md, "PATCH and time").
#[derive(Clone, Debug)]
pub(super) struct RoleVerdict<'a> {
    pub role: &'a str,
    /// Of its rows, the one that ends last: it determines how long the role is held.
    pub shown: &'a Entry,
    pub fate: RoleChange,
    /// The role is declared, and the provider shows it with a different term or number of rows.
    pub differs: bool,
    /// The replacing entry ends later than the rows.
    pub widened: bool,
    /// The replacing entry ends earlier than the rows.
    pub narrowed: bool,
}

impl RoleVerdict<'_> {
    /// What remains of the role after the change: one entry, because a list that names a custom role twice is refused
    /// (docs/reference/infisical.md, "Errors").
    pub fn stays(&self) -> Option<Entry> {
        match &self.fate {
            RoleChange::Stays => Some(self.shown.clone()),
            RoleChange::Becomes(entry) => Some(entry.clone()),
            RoleChange::Goes(_) => None,
        }
    }

    /// The same for a list that only removes managed roles: unmanaged roles stay, and nothing is widened.
    pub fn stays_where_nothing_is_gained(&self) -> Option<Entry> {
        if self.widened || self.fate == RoleChange::Goes(RemovalReason::Unexpected) {
            Some(self.shown.clone())
        } else {
            self.stays()
        }
    }

    /// Whether a managed role is removed or shortened.
    pub fn revokes(&self) -> bool {
        self.narrowed || matches!(self.fate, RoleChange::Goes(RemovalReason::Expired | RemovalReason::Revoked))
    }
}

/// Judges every shown role except an undeclared role without access: the base is decided last, depending on the others.
pub(super) fn judge<'a>(
    observed: &'a [Entry],
    union: &Union,
    layers: &[Layer],
    view: &PlanInputs<'_>,
) -> Vec<RoleVerdict<'a>> {
    let base = view.capabilities.empty_role.filter(|base| !union.kept.contains_key(*base));
    let mut order: Vec<&str> = Vec::new();
    let mut rows: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in observed.iter().filter(|entry| Some(entry.role.as_str()) != base) {
        rows.entry(&entry.role).or_insert_with(|| {
            order.push(&entry.role);
            Vec::new()
        });
        rows.entry(&entry.role).and_modify(|rows| rows.push(entry));
    }
    let judged = |role: &str| rows.get(role).and_then(|rows| judge_one(rows, union, layers, view));
    order.into_iter().filter_map(judged).collect()
}

/// Of several rows of a role, the first of those that end last.
pub(super) fn last_to_end<'a>(rows: &[&'a Entry]) -> Option<&'a Entry> {
    rows.iter().copied().reduce(|a, b| if ends_later(b.term, a.term) { b } else { a })
}

fn judge_one<'a>(
    rows: &[&'a Entry],
    union: &Union,
    layers: &[Layer],
    view: &PlanInputs<'_>,
) -> Option<RoleVerdict<'a>> {
    let shown = last_to_end(rows)?;
    let verdict =
        |fate| RoleVerdict { role: &shown.role, shown, fate, differs: false, widened: false, narrowed: false };
    let role = &shown.role;
    Some(if let Some(kept) = union.kept.get(role) {
        declared(verdict(RoleChange::Stays), rows.len(), *kept, union, view)
    } else if let Some(held) = union.held.get(role) {
        if view.capabilities.enforces_expiry && ends_later(shown.term, *held) {
            RoleVerdict { narrowed: true, ..verdict(RoleChange::Becomes(with_term(shown, *held))) }
        } else {
            verdict(RoleChange::Stays)
        }
    } else if union.ours.contains(role) {
        verdict(RoleChange::Goes(loss_of(role, layers, view)))
    } else if union.exclusive {
        verdict(RoleChange::Goes(RemovalReason::Unexpected))
    } else {
        verdict(RoleChange::Stays)
    })
}

/// A declared role must end no earlier than the latest term of the declarations that recorded it, and no later than the
/// latest term of all that have or hold it. Rows are not changed before a declaration has recorded the role.
fn declared<'a>(
    verdict: RoleVerdict<'a>,
    rows: usize,
    kept: Term,
    union: &Union,
    view: &PlanInputs<'_>,
) -> RoleVerdict<'a> {
    let (role, shown) = (verdict.role, verdict.shown);
    let word = union.granted.get(role).copied();
    let held = union.held.get(role).copied();
    let recorded = word.into_iter().chain(held).reduce(Term::later);
    let early = word.filter(|word| view.capabilities.enforces_expiry && ends_later(*word, shown.term));
    let latest = held.map_or(kept, |held| kept.later(held));
    let late = view.capabilities.enforces_expiry && ends_later(shown.term, latest);
    let (fate, widened, narrowed) = match (early, recorded) {
        (Some(word), _) => (RoleChange::Becomes(with_term(shown, word)), true, false),
        (None, Some(recorded)) if late => (RoleChange::Becomes(with_term(shown, recorded)), false, true),
        (None, Some(_)) if rows > 1 => (RoleChange::Becomes(shown.clone()), false, false),
        (None, _) => (RoleChange::Stays, false, false),
    };
    RoleVerdict { differs: late || fate != RoleChange::Stays, fate, widened, narrowed, ..verdict }
}

/// An entry of the operator in place of a row.
fn with_term(shown: &Entry, term: Term) -> Entry {
    Entry { role_id: shown.role_id.clone(), ..Entry::new(shown.role.clone(), term) }
}

fn loss_of(role: &str, layers: &[Layer], view: &PlanInputs<'_>) -> RemovalReason {
    let expired = layers.iter().filter_map(|layer| layer.managed.get(role)).all(|term| term.ended(view.now));
    if expired { RemovalReason::Expired } else { RemovalReason::Revoked }
}
