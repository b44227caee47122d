//! Several objects on one target are the layers of one plan. The desired state is the union of their grants in effect.
//! This module also decides what an object may record about itself. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::core::grants::Grant;
use crate::core::member::{Entry, Term};

/// How an object takes part in the plan of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Admitted, in Enforce, not suspended, its provider Ready: its grants count.
    Counts,
    /// Suspended, observing or refused: it grants nothing, and what it has recorded is left unchanged until it ends.
    Holds,
    /// Being deleted: what it manages is removed, except what a successor keeps.
    Leaves,
}

/// One object on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The object's uid.
    pub uid: String,
    /// How it takes part.
    pub phase: Phase,
    /// No role stays unless some layer has it in effect.
    pub exclusive: bool,
    /// Its grants; empty if the layer does not count.
    pub grants: Vec<Grant>,
    /// The roles that its status records as granted or about to be granted, with the window that was last admitted.
    pub managed: BTreeMap<String, Term>,
    /// Unmanaged entries that a repair removed and that must be restored (`status.carriedRoles`).
    pub carried: Vec<Entry>,
}

impl Layer {
    /// Whether its grant of `role` is in effect and counts.
    pub fn has_in_effect(&self, role: &str, now: Timestamp) -> bool {
        self.in_effect(now).any(|grant| grant.role == role)
    }

    /// Its grants in effect; none if the layer does not count.
    pub fn in_effect(&self, now: Timestamp) -> impl Iterator<Item = &Grant> {
        let counts = self.phase == Phase::Counts;
        self.grants.iter().filter(move |grant| counts && grant.in_effect(now))
    }

    /// Whether the provider has refused none of its roles.
    fn is_known(&self, refused: &BTreeSet<String>) -> bool {
        !self.grants.iter().any(|grant| refused.contains(&grant.role))
    }

    /// Whether this layer suffices to grant `grant`: it is recorded.
    fn may_grant(&self, grant: &Grant) -> bool {
        self.managed.get(&grant.role) == Some(&grant.term)
    }

    /// What the layer must record before its grants are carried out: what it managed, with the windows of its grants in
    /// effect. A recorded window is kept until an admitted spec replaces it, and a role until it is known to be gone.
    pub fn record_before(&self, now: Timestamp) -> BTreeMap<String, Term> {
        let mut record = self.managed.clone();
        record.extend(self.in_effect(now).map(|grant| (grant.role.clone(), grant.term)));
        record
    }
}

/// The union of a target's layers at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Union {
    /// Roles that may be granted, each until the latest end among the layers that suffice to grant it.
    pub granted: BTreeMap<String, Term>,
    /// Roles that may stay: in effect in a layer that counts, recorded or not.
    pub kept: BTreeMap<String, Term>,
    /// Roles that a layer in the phase [`Phase::Holds`] holds: they are neither removed nor restored.
    pub held: BTreeMap<String, Term>,
    /// Every role that a layer has recorded, whether or not others use it as well: the managed roles.
    pub ours: BTreeSet<String>,
    /// Unmanaged entries that must be restored.
    pub carried: Vec<Entry>,
    /// A layer that counts is Exclusive, and the provider knows all of its roles. An unknown role may be a misspelt
    /// name of a role that exists, which must not be removed because of the misspelling.
    pub exclusive: bool,
}

/// The union of `layers` at `now`, without the roles that the provider is known to refuse. It does not depend on the
/// order of the layers.
pub fn union(layers: &[Layer], refused: &BTreeSet<String>, now: Timestamp) -> Union {
    let mut union = Union {
        granted: BTreeMap::new(),
        kept: BTreeMap::new(),
        held: BTreeMap::new(),
        ours: BTreeSet::new(),
        carried: Vec::new(),
        exclusive: layers
            .iter()
            .any(|layer| layer.phase == Phase::Counts && layer.exclusive && layer.is_known(refused)),
    };
    for layer in layers {
        union.ours.extend(layer.managed.keys().cloned());
        for entry in &layer.carried {
            if !union.carried.contains(entry) {
                union.carried.push(entry.clone());
            }
        }
        for grant in layer.in_effect(now) {
            latest(&mut union.kept, &grant.role, grant.term);
            if layer.may_grant(grant) && !refused.contains(&grant.role) {
                latest(&mut union.granted, &grant.role, grant.term);
            }
        }
        if layer.phase == Phase::Holds {
            for (role, term) in layer.managed.iter().filter(|(_, term)| !term.ended(now)) {
                latest(&mut union.held, role, *term);
            }
        }
    }
    union.carried.sort_by(|a, b| key_of(a).cmp(&key_of(b)));
    union
}

/// A total order of entries: only equal entries compare as equal.
fn key_of(entry: &Entry) -> impl Ord {
    let verbatim = entry.verbatim.as_ref().map(|verbatim| (verbatim.range.clone(), verbatim.start.clone()));
    (entry.role.clone(), entry.term.window(), verbatim)
}

fn latest(roles: &mut BTreeMap<String, Term>, role: &str, term: Term) {
    roles.entry(role.to_owned()).and_modify(|known| *known = known.later(term)).or_insert(term);
}

/// What a layer may record once an observation shows `shown`: its grants in effect, and those of its managed roles that
/// are still shown and that no other layer has taken over. A role that another layer has in effect is released only
/// after that layer has recorded it; otherwise no layer would remove it later.
pub fn record_after(
    layer: &Layer,
    others: &[Layer],
    shown: &BTreeSet<String>,
    now: Timestamp,
) -> BTreeMap<String, Term> {
    let mut record = layer.managed.clone();
    record.retain(|role, _| {
        if layer.keeps(role, now) {
            return true;
        }
        shown.contains(role) && !others.iter().any(|other| takes_over(other, role, now))
    });
    record.extend(layer.in_effect(now).filter(|grant| shown.contains(&grant.role)).map(|g| (g.role.clone(), g.term)));
    record
}

impl Layer {
    /// Whether this layer is a reason to keep `role` at the provider: it has the role in effect, or holds it until its
    /// end.
    pub fn keeps(&self, role: &str, now: Timestamp) -> bool {
        let holds = || self.managed.get(role).is_some_and(|term| !term.ended(now));
        self.has_in_effect(role, now) || (self.phase == Phase::Holds && holds())
    }
}

/// Whether `layer` is responsible for `role` from now on: it has recorded the role, and has it in effect or holds it.
pub fn takes_over(layer: &Layer, role: &str, now: Timestamp) -> bool {
    layer.managed.contains_key(role) && layer.keeps(role, now)
}

/// The roles that `layer` has recorded and that no declaration keeps at `now`: their access has to end. The permanent
/// base is not included, because it gives no access.
pub fn due<'a>(
    layer: &'a Layer,
    others: &[Layer],
    base: Option<&str>,
    now: Timestamp,
) -> impl Iterator<Item = &'a String> {
    let kept = move |role: &str| layer.keeps(role, now) || others.iter().any(|other| other.keeps(role, now));
    layer.managed.keys().filter(move |role| Some(role.as_str()) != base && !kept(role))
}

/// The layers of which one must act before `leaving` may be released: they have one of its roles in effect and have not
/// recorded it yet.
pub fn successors_to_wait_for<'a>(leaving: &Layer, others: &'a [Layer], now: Timestamp) -> Vec<&'a Layer> {
    others
        .iter()
        .filter(|other| {
            leaving.managed.keys().any(|role| other.has_in_effect(role, now) && !other.managed.contains_key(role))
        })
        .collect()
}

#[cfg(test)]
mod tests;
