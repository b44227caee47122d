//! The permanent base: the built-in role without access that a provider requires beside temporary roles
//! (docs/reference/infisical.md, "Errors": `Identity must have at least one permanent role`).

use std::collections::BTreeSet;

use super::verdict::last_to_end;
use super::{PlanInputs, plan, union_for};
use crate::core::layers::{Layer, Phase, Union, takes_over};
use crate::core::member::{Change, Entry, Term};
use crate::core::record::entries;

/// What a list may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Everything that differs.
    Whole,
    /// Only managed roles are removed; all other roles stay.
    Removals,
    /// As [`Extent::Removals`], and without unmanaged roles.
    Ours,
}

/// What happens to the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    /// The base's entry in the list, if any.
    pub entry: Option<Entry>,
    /// The base alone is a sufficient reason to write.
    pub touched: bool,
}

/// Decides on the base beside `rest`, all other entries of a list. `losing`: a managed role is removed at the same
/// time.
///
/// The base is needed if `rest` contains only temporary roles. An unmanaged base is kept as well. A managed base that
/// is no longer needed is removed with the next write: it gives no access and is no reason to write while a grant is in
/// effect. A membership that holds only an unmanaged base gives no access and is no reason to write either: it may be
/// one whose removal the provider never allows.
pub(super) fn settle(
    rest: &[Entry],
    observed: &[Entry],
    union: &Union,
    view: &PlanInputs<'_>,
    losing: bool,
    extent: Extent,
) -> Base {
    let Some(base) = view.capabilities.empty_role else {
        return Base::default();
    };
    let rows: Vec<&Entry> = observed.iter().filter(|entry| entry.role == base).collect();
    if view.capabilities.permanent_base.is_some() && needed(rest) {
        let there = rows.iter().find(|entry| entry.term == Term::Permanent);
        // Temporary roles without a base, as an older server allowed them, are no reason to write.
        let entry = there.map_or_else(|| Entry::permanent(base), |entry| (*entry).clone());
        return Base { entry: Some(entry), touched: false };
    }
    if union.kept.contains_key(base) || rows.is_empty() {
        return Base::default();
    }
    let without_access = view.observed.is_some_and(|member| view.capabilities.is_without_access(member));
    if rest.is_empty() && without_access && !union.ours.contains(base) {
        return Base { entry: last_to_end(&rows).cloned(), touched: false };
    }
    let unmanaged = !union.ours.contains(base) && (!union.exclusive || extent != Extent::Whole);
    let stays =
        if unmanaged { extent != Extent::Ours } else { union.held.contains_key(base) && !(rest.is_empty() && losing) };
    if stays {
        // A temporary base cannot exist alone. An unmanaged one is removed with the last role beside it.
        let entry = last_to_end(&rows).filter(|entry| !rest.is_empty() || entry.term == Term::Permanent);
        return Base { entry: entry.cloned(), touched: false };
    }
    let in_effect = !union.kept.is_empty() || !union.held.is_empty();
    Base { entry: None, touched: rest.is_empty() || !in_effect }
}

impl Base {
    /// Puts the base's entry into the list, in place of any other entry of this role.
    pub fn put_into(self, entries: &mut Vec<Entry>) {
        if let Some(base) = self.entry {
            entries.retain(|entry| entry.role != base.role);
            entries.push(base);
        }
    }
}

fn needed(rest: &[Entry]) -> bool {
    !rest.is_empty() && rest.iter().all(|entry| entry.term != Term::Permanent)
}

/// The base, if `layer` has to record it as managed before it writes: either its next write adds the base, or another
/// layer added it and `layer` needs it too. For layers of any phase.
pub fn base_to_record(layer: &Layer, layers: &[Layer], view: &PlanInputs<'_>) -> Option<&'static str> {
    let base = view.capabilities.permanent_base?;
    // Evaluated as if the result of `record_before` were written already, so that one status write covers both.
    let recorded = |known: &Layer| match known.uid == layer.uid {
        true => Layer { managed: layer.record_before(view.now), ..layer.clone() },
        false => known.clone(),
    };
    let layers: Vec<Layer> = layers.iter().map(recorded).collect();
    let union = union_for(&layers, view);
    if union.kept.contains_key(base) {
        return None;
    }
    let observed = view.observed.map_or(&[][..], |member| &member.entries);
    let permanent = |entry: &Entry| entry.role == base && entry.term == Term::Permanent;
    if union.ours.contains(base) {
        let there = observed.iter().any(|entry| entry.role == base);
        let answered_for = layers.iter().any(|other| other.uid != layer.uid && takes_over(other, base, view.now));
        return (there && !answered_for && relies(layer, base, view)).then_some(base);
    }
    let plan = plan(&layers, view);
    let adds = |change: &Change| change.outcome().iter().any(permanent) && !observed.iter().any(permanent);
    plan.change().into_iter().chain(plan.fallbacks()).any(adds).then_some(base)
}

/// Whether everything that `layer` has in effect or holds is temporary, so that it needs the base. A role that the
/// provider refused does not count, nor does a recorded role that the provider does not show: what is held is not
/// restored.
fn relies(layer: &Layer, base: &str, view: &PlanInputs<'_>) -> bool {
    let known = layer.in_effect(view.now).filter(|grant| !view.refused.contains(&grant.role));
    let mut terms: Vec<Term> = known.map(|grant| grant.term).collect();
    if layer.phase == Phase::Holds {
        let holds = |role: &str| role != base && layer.managed.get(role).is_some_and(|term| !term.ended(view.now));
        // The provider requires the base beside what it shows, whatever is recorded.
        terms.extend(entries(view.observed).iter().filter(|entry| holds(&entry.role)).map(|entry| entry.term));
    }
    !terms.is_empty() && terms.iter().all(|term| *term != Term::Permanent)
}

/// The roles that the observation shows, for [`crate::core::layers::record_after`]. The base is left out if `layer` is
/// no longer responsible for it: another layer that needs it, or that is not being deleted, has recorded it; or `layer` is being deleted and leaves
/// only unmanaged temporary roles, which require the base; or the membership holds nothing else, in which case the
/// provider was already asked to remove it and it gives no access.
pub fn shown(layer: &Layer, layers: &[Layer], view: &PlanInputs<'_>) -> BTreeSet<String> {
    let observed = view.observed.map_or(&[][..], |member| &member.entries);
    let mut shown: BTreeSet<String> = observed.iter().map(|entry| entry.role.clone()).collect();
    let Some(base) = view.capabilities.empty_role else {
        return shown;
    };
    let union = union_for(layers, view);
    if union.kept.contains_key(base) || relies(layer, base, view) {
        return shown;
    }
    let others = || layers.iter().filter(|other| other.uid != layer.uid);
    let remains = |other: &Layer| layer.phase == Phase::Leaves && other.phase != Phase::Leaves;
    let successor =
        others().any(|other| other.managed.contains_key(base) && (relies(other, base, view) || remains(other)));
    let rest: Vec<Entry> = observed.iter().filter(|entry| entry.role != base).cloned().collect();
    let unmanaged = rest.iter().all(|entry| !union.ours.contains(&entry.role) && !union.kept.contains_key(&entry.role));
    let without_access = view.observed.is_some_and(|member| view.capabilities.is_without_access(member));
    if successor || without_access || (layer.phase == Phase::Leaves && unmanaged && needed(&rest)) {
        shown.remove(base);
    }
    shown
}
