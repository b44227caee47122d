//! What becomes of each role that the provider shows.

use std::collections::BTreeMap;

use super::{Loss, View, ends_later};
use crate::core::layers::{Layer, Union};
use crate::core::member::{Entry, Term};

/// What becomes of the rows of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They stay as they are.
    Stays,
    /// One entry takes their place.
    Becomes(Entry),
    /// They go.
    Goes(Loss),
}

/// A role that the provider shows, and what becomes of it. A role may have several rows: two writers' lists united, or
/// several memberships (docs/reference/infisical.md, "PATCH and time").
#[derive(Clone, Debug)]
pub(super) struct Verdict<'a> {
    pub role: &'a str,
    /// Of its rows the one that ends last: it says how long the role is held.
    pub shown: &'a Entry,
    pub fate: Fate,
    /// The role is declared, and there in another way.
    pub differs: bool,
    /// What takes the rows' place ends later than they do.
    pub widened: bool,
    /// It takes the rows' place to end earlier than they do.
    pub narrowed: bool,
}

impl Verdict<'_> {
    /// What stands of the role when all is carried out: one entry, since a list that names a custom role twice is
    /// refused (docs/reference/infisical.md, "Errors").
    pub fn stays(&self) -> Option<Entry> {
        match &self.fate {
            Fate::Stays => Some(self.shown.clone()),
            Fate::Becomes(entry) => Some(entry.clone()),
            Fate::Goes(_) => None,
        }
    }

    /// The same in a list that only takes away what is ours: foreign roles stay, nothing is widened.
    pub fn stays_where_nothing_is_gained(&self) -> Option<Entry> {
        if self.widened || self.fate == Fate::Goes(Loss::Unexpected) { Some(self.shown.clone()) } else { self.stays() }
    }

    /// Something of ours is taken away or cut short.
    pub fn revokes(&self) -> bool {
        self.narrowed || matches!(self.fate, Fate::Goes(Loss::Expired | Loss::Revoked))
    }
}

/// Judges every role that is shown, but for the one that gives nothing where nobody declares it: it is looked at last, by
/// what the others come to.
pub(super) fn judge<'a>(observed: &'a [Entry], union: &Union, layers: &[Layer], view: &View<'_>) -> Vec<Verdict<'a>> {
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

/// Of several rows of a role the one that ends last, and of those the first.
pub(super) fn last_to_end<'a>(rows: &[&'a Entry]) -> Option<&'a Entry> {
    rows.iter().copied().reduce(|a, b| if ends_later(b.term, a.term) { b } else { a })
}

fn judge_one<'a>(rows: &[&'a Entry], union: &Union, layers: &[Layer], view: &View<'_>) -> Option<Verdict<'a>> {
    let shown = last_to_end(rows)?;
    let verdict = |fate| Verdict { role: &shown.role, shown, fate, differs: false, widened: false, narrowed: false };
    let role = &shown.role;
    Some(if let Some(kept) = union.kept.get(role) {
        declared(verdict(Fate::Stays), rows.len(), *kept, union, view)
    } else if let Some(held) = union.held.get(role) {
        if view.capabilities.enforces_expiry && ends_later(shown.term, *held) {
            Verdict { narrowed: true, ..verdict(Fate::Becomes(with_term(shown, *held))) }
        } else {
            verdict(Fate::Stays)
        }
    } else if union.ours.contains(role) {
        verdict(Fate::Goes(loss_of(role, layers, view)))
    } else if union.exclusive {
        verdict(Fate::Goes(Loss::Unexpected))
    } else {
        verdict(Fate::Stays)
    })
}

/// A role that is declared must end no earlier than the word of those who wrote it down, and no later than the last of
/// all who have or hold it. Nobody's rows are touched before somebody wrote the role down.
fn declared<'a>(verdict: Verdict<'a>, rows: usize, kept: Term, union: &Union, view: &View<'_>) -> Verdict<'a> {
    let (role, shown) = (verdict.role, verdict.shown);
    let word = union.granted.get(role).copied();
    let held = union.held.get(role).copied();
    let recorded = word.into_iter().chain(held).reduce(Term::later);
    let early = word.filter(|word| view.capabilities.enforces_expiry && ends_later(*word, shown.term));
    let latest = held.map_or(kept, |held| kept.later(held));
    let late = view.capabilities.enforces_expiry && ends_later(shown.term, latest);
    let (fate, widened, narrowed) = match (early, recorded) {
        (Some(word), _) => (Fate::Becomes(with_term(shown, word)), true, false),
        (None, Some(recorded)) if late => (Fate::Becomes(with_term(shown, recorded)), false, true),
        (None, Some(_)) if rows > 1 => (Fate::Becomes(shown.clone()), false, false),
        (None, _) => (Fate::Stays, false, false),
    };
    Verdict { differs: late || fate != Fate::Stays, fate, widened, narrowed, ..verdict }
}

/// An entry of ours in a row's place.
fn with_term(shown: &Entry, term: Term) -> Entry {
    Entry { role_id: shown.role_id.clone(), ..Entry::new(shown.role.clone(), term) }
}

fn loss_of(role: &str, layers: &[Layer], view: &View<'_>) -> Loss {
    let expired = layers.iter().filter_map(|layer| layer.managed.get(role)).all(|term| term.ended(view.now));
    if expired { Loss::Expired } else { Loss::Revoked }
}
