//! The difference between the declared and the observed state, as one change. Pure.
//!
//! A [`Plan`] can only come from [`plan`]. It never contains a role whose every window has ended, never widens an
//! unmanaged entry, and is empty if nothing differs.

mod base;
mod verdict;

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::membership::{Drift, DriftKind};
use crate::core::grants::Grant;
use crate::core::layers::{Layer, Phase, Union, union};
use crate::core::member::{Capabilities, Change, Entry, Member, Term, Urgency};
use base::{Extent, settle};
use verdict::{RoleChange, RoleVerdict, judge};

pub use base::{base_to_record, shown};

/// Why an entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RemovalReason {
    /// Its window has ended.
    Expired,
    /// It was managed, and is no longer declared.
    Revoked,
    /// It is unmanaged, and an Exclusive layer tolerates no unmanaged role.
    Unexpected,
}

/// The inputs of a plan besides the layers.
#[derive(Clone, Debug)]
pub struct PlanInputs<'a> {
    /// The provider's row. `None`: the complete list of the project contains none.
    pub observed: Option<&'a Member>,
    /// What the provider supports and requires.
    pub capabilities: Capabilities,
    /// Roles that the provider has refused by name. They are requested again only after a change of a spec.
    pub refused: &'a BTreeSet<String>,
    /// Unmanaged roles that must not be removed together with a managed role, because the declaration that needs the
    /// removal is not allowed to revoke them.
    pub spared: &'a BTreeSet<String>,
    /// The instant for which the plan is made.
    pub now: Timestamp,
    /// Temporary grants may begin: the provider's clock and the operator's agree.
    pub begins: bool,
}

/// A change and its meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    change: Option<Change>,
    fallbacks: Vec<Change>,
    gained: Vec<String>,
    lost: Vec<(String, RemovalReason)>,
    drift: Vec<Drift>,
    needs_fresh: bool,
    removal_takes_others: bool,
    revokes: bool,
    due: Option<Timestamp>,
    end_unlisted: Option<Change>,
}

impl Plan {
    /// The one write that removes the difference. `None`: there is no difference.
    pub fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    /// What to send instead if the provider permanently refuses the change: the removals alone, then the removals
    /// without the unmanaged entries that they would carry over, then without the roles that the provider does not
    /// know. Empty if nothing is removed.
    pub fn fallbacks(&self) -> &[Change] {
        &self.fallbacks
    }

    /// Whether a fallback that removes the whole membership removes roles that no declaration has recorded.
    pub fn removal_takes_others(&self) -> bool {
        self.removal_takes_others
    }

    /// Roles that the change adds or extends.
    pub fn gained(&self) -> &[String] {
        &self.gained
    }

    /// Roles that the change removes, each with the reason.
    pub fn lost(&self) -> &[(String, RemovalReason)] {
        &self.lost
    }

    /// Every difference between the declarations and the provider.
    pub fn drift(&self) -> &[Drift] {
        &self.drift
    }

    /// The change carries over entries that only the observation justifies, or it may remove roles that another writer
    /// has added since the observation and that no declaration removes. It must be planned on a list that began after
    /// the change was needed.
    pub fn needs_fresh(&self) -> bool {
        self.needs_fresh
    }

    /// Whether the change removes or shortens a managed role.
    pub fn revokes(&self) -> bool {
        self.revokes
    }

    /// The urgency of the change. `settled`: the spec was carried out before, so that a gained role only repairs drift.
    pub fn urgency(&self, settled: bool) -> Urgency {
        match self.due {
            Some(due) => Urgency::End(due),
            None if self.revokes && self.gained.is_empty() => Urgency::Revoke,
            None if self.revokes => Urgency::Exchange,
            None if self.gained.is_empty() || settled => Urgency::Drift,
            None => Urgency::Grant,
        }
    }

    /// A change that ends the roles whose end has passed, grants nothing, and does not depend on what the list shows of
    /// unmanaged roles. It may be sent on an old list while no new list is available.
    pub fn end_unlisted(&self) -> Option<&Change> {
        self.end_unlisted.as_ref()
    }

    /// The urgency of the removals without the grants.
    pub fn urgency_of_removals(&self) -> Urgency {
        self.due.map_or(Urgency::Revoke, Urgency::End)
    }
}

/// Declared roles of `layer` that existed before any declaration recorded them (`adoptionPolicy: Refuse`). They include
/// roles that a repair has removed for a moment.
pub fn preexisting<'a>(
    layer: &Layer,
    layers: impl Iterator<Item = &'a Layer> + Clone,
    observed: Option<&Member>,
    now: Timestamp,
) -> Vec<String> {
    let ours: BTreeSet<&String> = layers.clone().flat_map(|layer| layer.managed.keys()).collect();
    let carried = layers.flat_map(|layer| &layer.carried);
    let entries: Vec<&Entry> = observed.into_iter().flat_map(|member| &member.entries).chain(carried).collect();
    let there = |role: &String| entries.iter().any(|entry| entry.role == *role && !entry.term.ended(now));
    let declared = layer.grants.iter().map(|grant| &grant.role);
    declared.filter(|role| !ours.contains(role) && there(role)).cloned().collect()
}

/// Compares the union of `layers` with the observation and plans the change.
pub fn plan(layers: &[Layer], view: &PlanInputs<'_>) -> Plan {
    let layers = &*without_waiting(layers, view);
    let union = union_for(layers, view);
    let observed = view.observed.map_or(&[][..], |member| &member.entries);
    let verdicts = judge(observed, &union, layers, view);
    let losing = verdicts
        .iter()
        .any(|verdict| matches!(verdict.change, RoleChange::Goes(RemovalReason::Expired | RemovalReason::Revoked)));
    let missing = missing(&verdicts, &union, view);
    let mut outcome: Vec<Entry> =
        verdicts.iter().filter_map(RoleVerdict::stays).chain(missing.iter().cloned()).collect();
    let mut base = settle(&outcome, observed, &union, view, losing, Extent::Whole);
    base.touched |= base.entry.is_none() && only_leaving_ones_have_base(observed, &union, layers, view);
    let is_ours = view.capabilities.empty_role.is_some_and(|base| union.ours.contains(base));
    let base_of_ours_goes = base.touched && base.entry.is_none() && is_ours;
    let unproven = unproven(observed, &union, view);
    let touched =
        !missing.is_empty() || base.touched || verdicts.iter().any(|verdict| verdict.change != RoleChange::Stays);
    base.put_into(&mut outcome);
    let change = change(outcome, touched || unproven, &union, view);
    let drift = drift(&verdicts, &union);
    let Some(change) = change else {
        return Plan { drift, ..Plan::default() };
    };
    let revokes = unproven || verdicts.iter().any(RoleVerdict::revokes);
    let (fallbacks, others) = match revokes {
        true => fallbacks(&verdicts, observed, &union, view, &change),
        false => (Vec::new(), BTreeSet::new()),
    };
    let (gained, due) = (gained(&verdicts, &missing), due(observed, &union, layers, view));
    let ends = due.and_then(|_| if gained.is_empty() { Some(&change) } else { fallbacks.first() });
    Plan {
        end_unlisted: ends.filter(|end| **end == Change::Remove || !carries_listed(end, &union, view)).cloned(),
        removal_takes_others: !others.is_empty(),
        fallbacks,
        gained,
        lost: verdicts.iter().filter_map(lost).collect(),
        drift,
        needs_fresh: relies_on_list(&change, &union, view),
        revokes: revokes || base_of_ours_goes,
        due,
        change: Some(change),
    }
}

/// The layers without the temporary grants that cannot begin and that another declaration has recorded: what has to be
/// removed does not wait for a successor that waits for a clock. A role that nobody has recorded stays for its adoption.
fn without_waiting<'a>(layers: &'a [Layer], view: &PlanInputs<'_>) -> Cow<'a, [Layer]> {
    let waits = |layer: &Layer, grant: &Grant| {
        let is_new = grant.term != Term::Permanent && !layer.managed.contains_key(&grant.role);
        is_new && layers.iter().any(|other| other.managed.contains_key(&grant.role))
    };
    if view.begins || !layers.iter().any(|layer| layer.grants.iter().any(|grant| waits(layer, grant))) {
        return Cow::Borrowed(layers);
    }
    let begun = |layer: &Layer| {
        let grants = layer.grants.iter().filter(|grant| !waits(layer, grant)).cloned().collect();
        Layer { grants, ..layer.clone() }
    };
    layers.iter().map(begun).collect()
}

/// The union of the layers. The permanent base becomes permanent as long as any layer has it: it gives no access that
/// would have to end, and if it were temporary, another base would be needed beside it.
fn union_for(layers: &[Layer], view: &PlanInputs<'_>) -> Union {
    let mut union = union(layers, view.refused, view.now);
    if let Some(base) = view.capabilities.permanent_base {
        for roles in [&mut union.granted, &mut union.kept, &mut union.held] {
            roles.entry(base.to_owned()).and_modify(|term| *term = Term::Permanent);
        }
    }
    union
}

/// Whether the base is shown, and only declarations that are being deleted have recorded it: they would wait for another
/// reason to write.
fn only_leaving_ones_have_base(observed: &[Entry], union: &Union, layers: &[Layer], view: &PlanInputs<'_>) -> bool {
    let Some(base) = view.capabilities.empty_role.filter(|base| !union.kept.contains_key(*base)) else {
        return false;
    };
    let mut recorders = layers.iter().filter(|layer| layer.managed.contains_key(base)).peekable();
    let is_shown = observed.iter().any(|entry| entry.role == base);
    is_shown && recorders.peek().is_some() && recorders.all(|layer| layer.phase == Phase::Leaves)
}

/// Entries to add, which the provider does not show: roles that may be granted, and unmanaged roles that a repair
/// removed.
fn missing(verdicts: &[RoleVerdict<'_>], union: &Union, view: &PlanInputs<'_>) -> Vec<Entry> {
    let present: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.role).collect();
    let granted = union.granted.iter().filter(|(role, _)| !present.contains(role.as_str()));
    let mut missing: Vec<Entry> = granted.map(|(role, term)| Entry::new(role.clone(), *term)).collect();
    let is_base = |entry: &Entry| Some(entry.role.as_str()) == view.capabilities.empty_role;
    let base_there = view.observed.is_some_and(|member| member.entries.iter().any(is_base));
    let comes_back = |entry: &&Entry| match is_base(entry) {
        true => !base_there && entry.term == Term::Permanent,
        false => !entry.term.ended(view.now),
    };
    let carried: Vec<&Entry> = union.carried.iter().filter(comes_back).collect();
    for role in carried.iter().map(|entry| entry.role.as_str()).collect::<BTreeSet<_>>() {
        let wanted = union.exclusive || union.ours.contains(role) || union.granted.contains_key(role);
        if wanted || present.contains(role) {
            continue;
        }
        let rows: Vec<&Entry> = carried.iter().copied().filter(|entry| entry.role == role).collect();
        missing.extend(verdict::last_to_end(&rows).cloned());
    }
    missing
}

fn gained(verdicts: &[RoleVerdict<'_>], missing: &[Entry]) -> Vec<String> {
    let widened = verdicts.iter().filter(|verdict| verdict.widened).map(|verdict| verdict.role.to_owned());
    widened.chain(missing.iter().map(|entry| entry.role.clone())).collect()
}

fn lost(verdict: &RoleVerdict<'_>) -> Option<(String, RemovalReason)> {
    match verdict.change {
        RoleChange::Goes(loss) => Some((verdict.role.to_owned(), loss)),
        RoleChange::Stays | RoleChange::Becomes(_) => None,
    }
}

/// Whether `a` ends later than `b`, with the precision of a provider: Infisical keeps milliseconds.
fn ends_later(a: Term, b: Term) -> bool {
    match (a.end(), b.end()) {
        (None, Some(_)) => true,
        (_, None) => false,
        (Some(a), Some(b)) => a.as_millisecond() > b.as_millisecond(),
    }
}

/// The differences from what all layers that count declare, recorded or not.
fn drift(verdicts: &[RoleVerdict<'_>], union: &Union) -> Vec<Drift> {
    let of = |role: &str, kind| Drift { role: role.to_owned(), kind };
    let found = verdicts.iter().filter_map(|verdict| match verdict.change {
        RoleChange::Goes(RemovalReason::Unexpected) => Some(of(verdict.role, DriftKind::Unexpected)),
        _ if verdict.differs => Some(of(verdict.role, DriftKind::Different)),
        _ => None,
    });
    let shown: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.role).collect();
    let missing = union.kept.keys().filter(|role| !shown.contains(role.as_str()));
    let mut drift: Vec<Drift> = found.chain(missing.map(|role| of(role, DriftKind::Missing))).collect();
    drift.sort();
    drift
}

/// The write that changes the observed row into `outcome`. `due`: there is a reason to write.
fn change(outcome: Vec<Entry>, due: bool, union: &Union, view: &PlanInputs<'_>) -> Option<Change> {
    let Some(member) = view.observed else {
        return match outcome.is_empty() {
            true => due.then_some(Change::Remove),
            false => Some(Change::Create(outcome)),
        };
    };
    // Several memberships, or one without a role, are repaired only if a declaration covers the target; otherwise they
    // are left unchanged.
    let several = member.memberships > 1 && (union.exclusive || !union.kept.is_empty());
    let roleless = outcome.is_empty() && union.exclusive;
    if !due && !several && !roleless {
        return None;
    }
    Some(match (outcome.is_empty(), member.memberships > 1) {
        (true, _) => Change::Remove,
        (false, true) => Change::Recreate(outcome),
        (false, false) => Change::Replace(outcome),
    })
}

/// Whether a managed role that has to be removed is merely not listed. The credential may be unable to read a row that
/// is missing, and an existing row may be outdated. In this case the removal is sent, and the provider's response
/// decides.
fn unproven(observed: &[Entry], union: &Union, view: &PlanInputs<'_>) -> bool {
    let listed = |role: &String| observed.iter().any(|entry| entry.role == *role);
    let to_go = |role: &&String| !union.kept.contains_key(*role) && !union.held.contains_key(*role);
    let proof = view.observed.is_some() && view.capabilities.lists_are_current;
    !proof && union.ours.iter().filter(to_go).any(|role| !listed(role))
}

/// When the first of the managed roles that have to be removed should have ended. `None`: none of them has ended.
fn due(observed: &[Entry], union: &Union, layers: &[Layer], view: &PlanInputs<'_>) -> Option<Timestamp> {
    let stays = |role: &String| union.kept.contains_key(role) || union.held.contains_key(role);
    let is_there = |role: &String| view.observed.is_none() || observed.iter().any(|entry| entry.role == *role);
    let to_go = union.ours.iter().filter(|role| !stays(role) && is_there(role));
    let end = |role: &String| layers.iter().filter_map(|layer| layer.managed.get(role)).copied().reduce(Term::later);
    to_go.filter_map(|role| end(role)?.end()).filter(|end| *end <= view.now).min()
}

/// Whether a change needs a recent list: it carries over what only the list justifies, or it replaces a list to which
/// another writer may have added roles that no declaration removes. A creation is refused if another writer was faster.
fn relies_on_list(change: &Change, union: &Union, view: &PlanInputs<'_>) -> bool {
    let replaces = !matches!(change, Change::Create(_));
    (replaces && !union.exclusive) || carries_listed(change, union, view)
}

/// Whether a change contains anything that only the observed list justifies.
fn carries_listed(change: &Change, union: &Union, view: &PlanInputs<'_>) -> bool {
    let same_end = |a: Term, b: Term| !view.capabilities.enforces_expiry || !(ends_later(a, b) || ends_later(b, a));
    let is_recorded = |entry: &Entry| {
        Some(entry.role.as_str()) == view.capabilities.empty_role
            || union.granted.get(&entry.role).is_some_and(|term| same_end(entry.term, *term))
    };
    match change {
        Change::Remove => false,
        Change::Create(entries) | Change::Replace(entries) | Change::Recreate(entries) => {
            !entries.iter().all(is_recorded)
        }
    }
}

/// The largest number of unmanaged roles for which fallbacks omit one role at a time before they omit all.
const ONE_BY_ONE: usize = 4;

/// The removals alone; then without the unmanaged role that may cause the refusal (each in turn if there are few, then
/// all of them); finally without the managed roles that the provider no longer has, so that it accepts no list that
/// contains them. Also returns which roles the unmanaged ones are.
fn fallbacks(
    verdicts: &[RoleVerdict<'_>],
    observed: &[Entry],
    union: &Union,
    view: &PlanInputs<'_>,
    change: &Change,
) -> (Vec<Change>, BTreeSet<String>) {
    let as_change = |mut entries: Vec<Entry>, extent: Extent| {
        settle(&entries, observed, union, view, true, extent).put_into(&mut entries);
        match (entries.is_empty(), view.observed) {
            (true, _) => Change::Remove,
            (false, Some(member)) if member.memberships > 1 => Change::Recreate(entries),
            (false, _) => Change::Replace(entries),
        }
    };
    let alone: Vec<Entry> = verdicts.iter().filter_map(RoleVerdict::stays_where_nothing_is_gained).collect();
    let stays = |entry: &&Entry| {
        let role = &entry.role;
        union.kept.contains_key(role) || union.held.contains_key(role) || view.spared.contains(role)
    };
    let without_others: Vec<Entry> = alone.iter().filter(stays).cloned().collect();
    let others: BTreeSet<String> = alone.iter().filter(|e| !stays(e)).map(|e| e.role.clone()).collect();
    let is_few = (2..=ONE_BY_ONE).contains(&others.len());
    let without = |role: &String| alone.iter().filter(|entry| entry.role != *role).cloned().collect();
    let mut fallbacks = vec![as_change(alone.clone(), Extent::Removals)];
    fallbacks.extend(others.iter().filter(|_| is_few).map(|role| as_change(without(role), Extent::Removals)));
    let is_known = |entry: &&Entry| !view.refused.contains(&entry.role) || view.spared.contains(&entry.role);
    let known = without_others.iter().filter(is_known).cloned().collect();
    fallbacks.extend([as_change(without_others, Extent::Ours), as_change(known, Extent::Ours)]);
    fallbacks.dedup();
    fallbacks.retain(|fallback| fallback != change);
    (fallbacks, others)
}

#[cfg(test)]
mod tests;
