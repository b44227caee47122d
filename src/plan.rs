//! The difference between what should be there and what is, as one change. Pure.
//!
//! A [`Plan`] can only come from [`plan`]. It never contains a role whose every window has ended, never widens a
//! foreign entry, and is empty where nothing differs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::membership::{Drift, DriftKind};
use crate::layers::{Layer, Union, union};
use crate::member::{Capabilities, Change, Entry, Member, Term};
use crate::provider::Urgency;

/// Why an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// Its window has ended.
    Expired,
    /// It was ours and nobody declares it any more.
    Revoked,
    /// It was never ours, and an Exclusive layer tolerates no other.
    Unexpected,
}

/// What a plan looks at besides the layers.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The provider's row; `None`: the project's list, complete, has none.
    pub observed: Option<&'a Member>,
    /// What the provider can and needs.
    pub capabilities: Capabilities,
    /// Roles that the provider has refused by name: asked for again only when a spec changes.
    pub refused: &'a BTreeSet<String>,
    /// The instant that the plan is for.
    pub now: Timestamp,
}

/// What to do, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    change: Option<Change>,
    fallbacks: Vec<Change>,
    gained: Vec<String>,
    lost: Vec<(String, Loss)>,
    drift: Vec<Drift>,
    needs_fresh: bool,
}

impl Plan {
    /// The one write that puts the difference right; `None` where there is none.
    pub fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    /// What to send instead when the provider refuses the change for good: the removals alone, then the removals
    /// without the foreign entries that they would carry. Empty where nothing is removed.
    pub fn fallbacks(&self) -> &[Change] {
        &self.fallbacks
    }

    /// Roles that the change adds or lengthens.
    pub fn gained(&self) -> &[String] {
        &self.gained
    }

    /// Roles that the change takes away, and why.
    pub fn lost(&self) -> &[(String, Loss)] {
        &self.lost
    }

    /// Every difference between the declaration and the provider.
    pub fn drift(&self) -> &[Drift] {
        &self.drift
    }

    /// The change carries entries on the word of the observation: it must be planned on a list that began after
    /// somebody asked for it, or it would give back what was just taken away.
    pub fn needs_fresh(&self) -> bool {
        self.needs_fresh
    }

    /// How much the change hurries. An end and a revocation go first.
    pub fn urgency(&self, settled: bool) -> Urgency {
        let removes_ours = self.lost.iter().any(|(_, loss)| *loss != Loss::Unexpected);
        if removes_ours || self.change == Some(Change::Remove) {
            Urgency::Revoke
        } else if self.gained.is_empty() || settled {
            Urgency::Drift
        } else {
            Urgency::Grant
        }
    }
}

/// Declared roles of `layer` that were there before anybody of ours wrote them down (`adoptionPolicy: Refuse`).
pub fn preexisting(layer: &Layer, layers: &[Layer], observed: Option<&Member>, now: Timestamp) -> Vec<String> {
    let ours: BTreeSet<&String> = layers.iter().flat_map(|layer| layer.managed.keys()).collect();
    let declared = layer.grants.iter().map(|grant| &grant.role);
    let there = |role: &String| {
        observed.is_some_and(|member| member.entries.iter().any(|e| e.role == *role && !e.term.ended(now)))
    };
    declared.filter(|role| !ours.contains(role) && there(role)).cloned().collect()
}

/// Plans what `layers` come to against what was observed.
pub fn plan(layers: &[Layer], view: &View<'_>) -> Plan {
    let union = union(layers, view.refused, view.now);
    let observed: &[Entry] = view.observed.map_or(&[], |member| &member.entries);
    let verdicts: Vec<Verdict> = judge(observed, &union, layers, view);
    let mut outcome: Vec<Entry> = verdicts.iter().filter_map(|v| v.stays.clone()).collect();
    let present: BTreeSet<&str> = outcome.iter().map(|entry| entry.role.as_str()).collect();
    let mut gained: Vec<String> = verdicts.iter().filter(|v| v.widened).map(|v| v.observed.role.clone()).collect();
    let mut missing: Vec<Entry> = union
        .granted
        .iter()
        .filter(|(role, _)| !present.contains(role.as_str()))
        .map(|(role, term)| Entry::new(role.clone(), *term))
        .collect();
    let carried = union.carried.iter().filter(|entry| {
        !present.contains(entry.role.as_str()) && !union.granted.contains_key(&entry.role) && !entry.term.ended(view.now)
    });
    missing.extend(carried.cloned());
    gained.extend(missing.iter().map(|entry| entry.role.clone()));
    let drift = drift(&verdicts, &missing, view.capabilities.permanent_base);
    outcome.append(&mut missing);
    let removals: Vec<Entry> = verdicts.iter().filter_map(Verdict::narrowed).collect();
    let lost: Vec<(String, Loss)> = losses(&verdicts, &outcome);
    let outcome = with_base(outcome, observed, &union, view);
    let change = difference(outcome, &union, view);
    let needs_fresh = change.as_ref().is_some_and(|change| relies_on_list(change, &union, view.capabilities.permanent_base));
    let fallbacks = match &change {
        Some(_) if lost.iter().any(|(_, loss)| *loss != Loss::Unexpected) => fallbacks(removals, &union, view, &change),
        _ => Vec::new(),
    };
    let (gained, lost) = if change.is_some() { (gained, lost) } else { (Vec::new(), Vec::new()) };
    Plan { change, fallbacks, gained, lost, drift, needs_fresh }
}

/// What becomes of one observed entry.
#[derive(Clone, Debug)]
struct Verdict {
    observed: Entry,
    stays: Option<Entry>,
    loss: Option<Loss>,
    /// The entry is there with another window than declared.
    differs: bool,
    /// Its new window ends later than the one observed.
    widened: bool,
}

impl Verdict {
    /// What becomes of the entry in a list that only removes what is ours: foreign entries stay, nothing is widened.
    fn narrowed(&self) -> Option<Entry> {
        let untouched = self.widened || self.loss == Some(Loss::Unexpected);
        if untouched { Some(self.observed.clone()) } else { self.stays.clone() }
    }
}

fn judge(observed: &[Entry], union: &Union, layers: &[Layer], view: &View<'_>) -> Vec<Verdict> {
    let mut seen = BTreeSet::new();
    observed
        .iter()
        .map(|entry| {
            let again = !seen.insert(entry.role.as_str());
            judge_one(entry, again, union, layers, view)
        })
        .collect()
}

fn judge_one(entry: &Entry, again: bool, union: &Union, layers: &[Layer], view: &View<'_>) -> Verdict {
    let stays = |kept: Entry, differs: bool, widened: bool| Verdict {
        observed: entry.clone(),
        stays: Some(kept),
        loss: None,
        differs,
        widened,
    };
    let goes = |loss: Loss| Verdict { observed: entry.clone(), stays: None, loss: Some(loss), differs: false, widened: false };
    let role = &entry.role;
    if let Some(term) = union.kept.get(role) {
        if again {
            // The same role a second time: one entry of ours says all there is to say.
            return goes(Loss::Unexpected);
        }
        let word = union.granted.get(role);
        let fits = same_end(entry.term, *term, view) || word.is_some_and(|word| same_end(entry.term, *word, view));
        return match word {
            _ if fits => stays(entry.clone(), false, false),
            Some(word) => stays(Entry::new(role.clone(), *word), true, ends_later(*word, entry.term)),
            // Nobody's word suffices to change it yet; what stands longer than any layer wants is cut all the same.
            None if ends_later(entry.term, *term) => stays(Entry::new(role.clone(), *term), true, false),
            None => stays(entry.clone(), true, false),
        };
    }
    if let Some(term) = union.held.get(role) {
        return match *term {
            Term::Temporary(_) if view.capabilities.enforces_expiry && ends_later(entry.term, *term) => {
                stays(Entry::new(role.clone(), *term), false, false)
            }
            _ => stays(entry.clone(), false, false),
        };
    }
    if union.ours.contains(role) && !union.carried.iter().any(|carried| carried == entry) {
        return goes(loss_of(role, layers, view.now));
    }
    if union.exclusive { goes(Loss::Unexpected) } else { stays(entry.clone(), false, false) }
}

fn loss_of(role: &str, layers: &[Layer], now: Timestamp) -> Loss {
    let expired = layers.iter().filter_map(|layer| layer.managed.get(role)).all(|term| term.ended(now));
    if expired { Loss::Expired } else { Loss::Revoked }
}

/// Whether two terms give the same access from now on: a provider that ends nothing by itself shows no ends.
fn same_end(observed: Term, wanted: Term, view: &View<'_>) -> bool {
    if !view.capabilities.enforces_expiry {
        return true;
    }
    match (observed.end(), wanted.end()) {
        (None, None) => true,
        // Infisical keeps milliseconds.
        (Some(a), Some(b)) => a.as_millisecond() == b.as_millisecond(),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn ends_later(a: Term, b: Term) -> bool {
    match (a.end(), b.end()) {
        (None, Some(_)) => true,
        (_, None) => false,
        (Some(a), Some(b)) => a > b,
    }
}

fn drift(verdicts: &[Verdict], missing: &[Entry], base: Option<&str>) -> Vec<Drift> {
    let of = |role: &str, kind| Drift { role: role.to_owned(), kind };
    let found = verdicts.iter().filter_map(|verdict| match (verdict.loss, verdict.differs) {
        (Some(Loss::Unexpected), _) if Some(verdict.observed.role.as_str()) == base => None,
        (Some(Loss::Unexpected), _) => Some(of(&verdict.observed.role, DriftKind::Unexpected)),
        (_, true) => Some(of(&verdict.observed.role, DriftKind::Different)),
        (Some(Loss::Expired | Loss::Revoked) | None, false) => None,
    });
    let mut drift: Vec<Drift> =
        found.chain(missing.iter().map(|entry| of(&entry.role, DriftKind::Missing))).collect();
    drift.sort();
    drift.dedup();
    drift
}

fn losses(verdicts: &[Verdict], outcome: &[Entry]) -> Vec<(String, Loss)> {
    let stays: BTreeSet<&str> = outcome.iter().map(|entry| entry.role.as_str()).collect();
    let lost: BTreeMap<String, Loss> = verdicts
        .iter()
        .filter(|verdict| !stays.contains(verdict.observed.role.as_str()))
        .filter_map(|verdict| Some((verdict.observed.role.clone(), verdict.loss?)))
        .collect();
    lost.into_iter().collect()
}

/// Adds the permanent base where only temporary roles are left and the provider wants one, and takes it out where
/// nothing needs it. A base that stands there needlessly gives nothing and is no reason to write.
fn with_base(mut outcome: Vec<Entry>, observed: &[Entry], union: &Union, view: &View<'_>) -> Vec<Entry> {
    let Some(base) = view.capabilities.permanent_base else {
        return outcome;
    };
    if union.kept.contains_key(base) || union.held.contains_key(base) {
        return outcome;
    }
    let is_base = |entry: &Entry| entry.role == base;
    let foreign = !union.exclusive && !union.ours.contains(base);
    let shown = observed.iter().find(|entry| is_base(entry) && entry.term == Term::Permanent);
    if foreign && shown.is_some() {
        return outcome;
    }
    outcome.retain(|entry| !is_base(entry));
    if outcome.is_empty() {
        return outcome;
    }
    let needed = outcome.iter().all(|entry| entry.term != Term::Permanent);
    let ours_in_effect = !union.kept.is_empty() || !union.held.is_empty();
    match shown {
        Some(entry) if needed => outcome.push(entry.clone()),
        None if needed => outcome.push(Entry::permanent(base)),
        Some(entry) if ours_in_effect => {
            let mut tolerated = outcome.clone();
            tolerated.push(entry.clone());
            if same_entries(&tolerated, observed, view) {
                return tolerated;
            }
        }
        Some(_) | None => {}
    }
    outcome
}

/// Whether the provider needs the permanent base for what `layer` has in effect, so that it is written down as ours:
/// it isn't there yet, or another layer put it there.
pub fn base_to_record(layer: &Layer, layers: &[Layer], view: &View<'_>) -> Option<&'static str> {
    let base = view.capabilities.permanent_base?;
    let mut in_effect = layer.in_effect(view.now).peekable();
    in_effect.peek()?;
    let only_temporary = in_effect.all(|grant| grant.term != Term::Permanent);
    let there = view.observed.is_some_and(|member| member.entries.iter().any(|e| e.role == base));
    let ours = layers.iter().any(|layer| layer.managed.contains_key(base));
    let others_permanent = view.observed.is_some_and(|m| m.entries.iter().any(|e| e.term == Term::Permanent && e.role != base));
    (only_temporary && !others_permanent && (!there || ours)).then_some(base)
}

fn same_entries(wanted: &[Entry], observed: &[Entry], view: &View<'_>) -> bool {
    wanted.len() == observed.len()
        && wanted.iter().all(|entry| {
            observed.iter().filter(|o| o.role == entry.role).count() == wanted.iter().filter(|w| w.role == entry.role).count()
                && observed.iter().any(|o| o.role == entry.role && (o == entry || same_end(o.term, entry.term, view)))
        })
}

fn difference(outcome: Vec<Entry>, union: &Union, view: &View<'_>) -> Option<Change> {
    let observed = view.observed.map_or(&[][..], |member| &member.entries);
    let unproven = unproven(observed, union, view);
    match view.observed {
        None if outcome.is_empty() => unproven.then_some(Change::Remove),
        None => Some(Change::Create(outcome)),
        Some(_) if outcome.is_empty() => Some(Change::Remove),
        Some(member) if member.memberships > 1 => Some(Change::Recreate(outcome)),
        Some(member) => {
            let same = same_entries(&outcome, &member.entries, view);
            (!same || unproven).then_some(Change::Replace(outcome))
        }
    }
}

/// Whether a role that we wrote down, and that is to go, is merely not listed. A row that isn't there may be one that
/// the credential can't read, and a row that is there may lag behind: then the provider's own answer is asked for.
fn unproven(observed: &[Entry], union: &Union, view: &View<'_>) -> bool {
    let listed = |role: &String| observed.iter().any(|entry| entry.role == *role);
    let proof = view.observed.is_some() && view.capabilities.lists_are_current;
    !proof
        && union.ours.iter().any(|role| {
            !union.kept.contains_key(role) && !union.held.contains_key(role) && !listed(role)
        })
}

/// Whether a change says anything on the word of the observed list alone.
fn relies_on_list(change: &Change, union: &Union, base: Option<&str>) -> bool {
    match change {
        Change::Remove => !union.exclusive,
        Change::Create(entries) | Change::Replace(entries) | Change::Recreate(entries) => entries
            .iter()
            .any(|entry| !union.granted.contains_key(&entry.role) && Some(entry.role.as_str()) != base),
    }
}

fn fallbacks(removals: Vec<Entry>, union: &Union, view: &View<'_>, change: &Option<Change>) -> Vec<Change> {
    let observed: &[Entry] = view.observed.map_or(&[], |member| &member.entries);
    let as_change = |entries: Vec<Entry>| {
        let entries = with_base(entries, observed, union, view);
        if entries.is_empty() {
            Change::Remove
        } else if view.observed.is_some_and(|member| member.memberships > 1) {
            Change::Recreate(entries)
        } else {
            Change::Replace(entries)
        }
    };
    let ours: Vec<Entry> = removals
        .iter()
        .filter(|entry| union.kept.contains_key(&entry.role) || union.held.contains_key(&entry.role))
        .cloned()
        .collect();
    let mut fallbacks: Vec<Change> = vec![as_change(removals), as_change(ours)];
    fallbacks.dedup();
    fallbacks.retain(|fallback| Some(fallback) != change.as_ref());
    fallbacks
}
