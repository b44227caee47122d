//! Several objects on one target are layers of one plan: what should be there is the union of their grants in effect.
//! Pure; what an object may write down about itself is decided here as well.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::core::grants::Grant;
use crate::core::member::{Entry, Term};

/// How an object stands towards its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Admitted, in Enforce, not suspended, its provider Ready: its grants count.
    Counts,
    /// Suspended, observing or refused: it grants nothing, and what it holds is left alone until it ends.
    Holds,
    /// Being deleted: what it manages goes, but for what an heir has.
    Leaves,
}

/// One object on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The object's uid.
    pub uid: String,
    /// How it stands.
    pub phase: Phase,
    /// No role stays that no layer has in effect.
    pub exclusive: bool,
    /// Its grants may be carried out before `managed` says so: the spec alone tells what they are
    /// (permanent roles of an Exclusive, adopting object).
    pub grants_unrecorded: bool,
    /// What it asks for; of a layer that doesn't count, nothing.
    pub grants: Vec<Grant>,
    /// What its status says that it granted or is about to, with the window last admitted.
    pub managed: BTreeMap<String, Term>,
    /// Foreign entries that a healing took out and that must come back (status.carriedRoles).
    pub carried: Vec<Entry>,
}

impl Layer {
    /// Whether its grant of `role` is in effect and counts.
    pub fn has_in_effect(&self, role: &str, now: Timestamp) -> bool {
        self.in_effect(now).any(|grant| grant.role == role)
    }

    /// Its grants in effect; none where it doesn't count.
    pub fn in_effect(&self, now: Timestamp) -> impl Iterator<Item = &Grant> {
        let counts = self.phase == Phase::Counts;
        self.grants.iter().filter(move |grant| counts && grant.in_effect(now))
    }

    /// Whether the provider has refused none of the roles that it asks for.
    fn is_known(&self, refused: &BTreeSet<String>) -> bool {
        !self.grants.iter().any(|grant| refused.contains(&grant.role))
    }

    /// Whether its word suffices to grant `grant`: it is written down, or needn't be.
    fn may_grant(&self, grant: &Grant) -> bool {
        self.managed.get(&grant.role) == Some(&grant.term) || (self.grants_unrecorded && grant.term == Term::Permanent)
    }

    /// What it has to have written down before its grants are carried out: what it managed, with the windows of its
    /// grants in effect. A window stays until an admitted spec replaces it, and a role until it is known to be gone.
    pub fn record_before(&self, now: Timestamp) -> BTreeMap<String, Term> {
        let mut record = self.managed.clone();
        record.extend(self.in_effect(now).map(|grant| (grant.role.clone(), grant.term)));
        record
    }
}

/// What a target's layers come to at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Union {
    /// Roles that may be granted, each until the latest end among the layers whose word suffices.
    pub granted: BTreeMap<String, Term>,
    /// Roles that may stay: in effect in some layer that counts, written down or not.
    pub kept: BTreeMap<String, Term>,
    /// Roles that a layer that doesn't count holds: neither taken away nor put back.
    pub held: BTreeMap<String, Term>,
    /// Every role that any layer wrote down: ours, whoever else may want it.
    pub ours: BTreeSet<String>,
    /// Foreign entries that must come back.
    pub carried: Vec<Entry>,
    /// Some layer that counts is Exclusive, and the provider knows all its roles: one that it doesn't know may be
    /// another's name misspelt, which then must not be taken away for it.
    pub exclusive: bool,
}

/// The union of `layers` at `now`, without the roles that the provider is known to refuse. It doesn't depend on the
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

/// An order of entries in which no two different ones are equal.
fn key_of(entry: &Entry) -> impl Ord {
    let window = match entry.term {
        Term::Permanent => None,
        Term::Temporary(window) => Some(window),
    };
    let verbatim = entry.verbatim.as_ref().map(|verbatim| (verbatim.range.clone(), verbatim.start.clone()));
    (entry.role.clone(), window, verbatim)
}

fn latest(roles: &mut BTreeMap<String, Term>, role: &str, term: Term) {
    roles.entry(role.to_owned()).and_modify(|known| *known = known.later(term)).or_insert(term);
}

/// What a layer may write down once an observation shows `shown`: its grants in effect, and what it managed and is
/// still there without being another's. A role that another layer has in effect is let go of only when that layer
/// has written it down: until then nobody would take it away.
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
    /// Whether it is a reason for `role` to stay at the provider: it has the role in effect, or holds it until its end.
    pub fn keeps(&self, role: &str, now: Timestamp) -> bool {
        self.has_in_effect(role, now) || (self.phase == Phase::Holds && !self.managed_ended(role, now))
    }

    fn managed_ended(&self, role: &str, now: Timestamp) -> bool {
        self.managed.get(role).is_none_or(|term| term.ended(now))
    }
}

/// Whether `layer` answers for `role` from now on: it has written it down, and has it in effect or holds it.
pub fn takes_over(layer: &Layer, role: &str, now: Timestamp) -> bool {
    layer.managed.contains_key(role) && layer.keeps(role, now)
}

/// The roles that `layer` wrote down and that no declaration keeps at `now`: their access is to end. The permanent base
/// gives none.
pub fn due<'a>(
    layer: &'a Layer,
    others: &[Layer],
    base: Option<&str>,
    now: Timestamp,
) -> impl Iterator<Item = &'a String> {
    let kept = move |role: &str| layer.keeps(role, now) || others.iter().any(|other| other.keeps(role, now));
    layer.managed.keys().filter(move |role| Some(role.as_str()) != base && !kept(role))
}

/// The layers of which one must act before `leaving` may go: they have a role of it in effect and haven't written it
/// down yet.
pub fn heirs_to_wait_for<'a>(leaving: &Layer, others: &'a [Layer], now: Timestamp) -> Vec<&'a Layer> {
    others
        .iter()
        .filter(|other| {
            leaving.managed.keys().any(|role| other.has_in_effect(role, now) && !other.managed.contains_key(role))
        })
        .collect()
}

#[cfg(test)]
mod tests;
