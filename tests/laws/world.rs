//! Objects on one target and the provider behind them: what the controller does with the pure core, a pass at a time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use membership_operator::api::membership::{RoleGrant, Temporary};
use membership_operator::core::grants::{Grant, Past, Starts, evaluate};
use membership_operator::core::layers::{Layer, Phase, record_after};
use membership_operator::core::member::{Capabilities, Change, Entry, Member, Term};
use membership_operator::core::plan::{Plan, View, base_to_record, plan, shown};
use membership_operator::core::policy::admit;

use crate::generators::member;
use crate::model::{Refusal, carried_out};
use crate::starts::spec;

/// Everybody here may take away any role.
static NOBODYS: BTreeSet<String> = BTreeSet::new();

/// Where a pass is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// It isn't.
    Never,
    /// The status is written, the provider isn't.
    BeforeTheWrite,
    /// Several memberships are deleted, and not created again.
    BetweenDeleteAndCreate,
    /// The provider is written, the status isn't.
    AfterTheWrite,
}

/// A ProjectMembership.
#[derive(Clone, Debug)]
pub struct Object {
    pub roles: Vec<(String, Option<Temporary>)>,
    pub exclusive: bool,
    /// Suspended, observing or refused.
    pub aside: bool,
    pub deleted: bool,
    pub gone: bool,
    pub seen: bool,
    pub starts: BTreeMap<String, Timestamp>,
    pub managed: BTreeMap<String, Term>,
    pub carried: Vec<Entry>,
}

impl Object {
    pub fn new(roles: Vec<(String, Option<Temporary>)>, exclusive: bool) -> Self {
        Self {
            roles,
            exclusive,
            aside: false,
            deleted: false,
            gone: false,
            seen: false,
            starts: BTreeMap::new(),
            managed: BTreeMap::new(),
            carried: Vec::new(),
        }
    }
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Did {
    pub provider_writes: usize,
    pub status_writes: usize,
}

/// The objects, the provider and the time.
#[derive(Clone, Debug)]
pub struct World {
    pub objects: Vec<Object>,
    pub member: Option<Member>,
    pub capabilities: Capabilities,
    /// Roles that the provider doesn't know.
    pub unknown: BTreeSet<String>,
    /// Those of them that the operator has learnt of.
    pub refused: BTreeSet<String>,
    /// The provider removes no membership, and lets it be changed to the role that gives nothing.
    pub keeps_members: bool,
    pub now: Timestamp,
}

impl World {
    fn layer(&self, index: usize, object: &Object) -> Layer {
        let phase = match (object.deleted, object.aside) {
            (true, _) => Phase::Leaves,
            (false, true) => Phase::Holds,
            (false, false) => Phase::Counts,
        };
        let mut recorded = object.starts.clone();
        for (role, term) in &object.managed {
            if let Term::Temporary(window) = term {
                let known = recorded.entry(role.clone()).or_insert(window.start);
                *known = (*known).min(window.start);
            }
        }
        let past = if object.seen { Past::Recorded } else { Past::New };
        let starts = Starts { past, recorded, provider: BTreeMap::new(), expired: BTreeMap::new() };
        let declared = object.roles.iter().cloned().map(|(role, temporary)| RoleGrant { role, temporary }).collect();
        let grants: Vec<Grant> = match phase {
            Phase::Counts => evaluate(&admit(&spec(declared)).unwrap(), &starts, self.now),
            Phase::Holds | Phase::Leaves => Vec::new(),
        };
        Layer {
            uid: format!("uid-{index}"),
            phase,
            exclusive: object.exclusive,
            grants,
            managed: object.managed.clone(),
            carried: object.carried.clone(),
        }
    }

    fn here(&self) -> impl Iterator<Item = (usize, &Object)> {
        self.objects.iter().enumerate().filter(|(_, object)| !object.gone)
    }

    fn layers(&self) -> Vec<Layer> {
        self.here().map(|(index, object)| self.layer(index, object)).collect()
    }

    fn view(&self) -> View<'_> {
        View {
            observed: self.member.as_ref(),
            capabilities: self.capabilities,
            refused: &self.refused,
            spared: &NOBODYS,
            now: self.now,
        }
    }

    /// One pass over object `index`, as `controller::converge` makes it.
    pub fn pass(&mut self, index: usize, killed: Killed) -> Did {
        let mut did = Did::default();
        let mut done: Option<Change> = None;
        for _ in 0..12 {
            if self.objects[index].gone {
                return did;
            }
            let layers = self.layers();
            let acting = acting(&layers, index);
            let plan = plan(&layers, &self.view());
            if self.write_down(index, &acting, &layers, &plan) {
                did.status_writes += 1;
                continue;
            }
            // What is asked for again only because a list isn't proof has been answered.
            let Some(change) = plan.change().filter(|change| done.as_ref() != Some(change)).cloned() else {
                did.status_writes += usize::from(self.tell(index));
                return did;
            };
            if killed == Killed::BeforeTheWrite {
                return did;
            }
            did.provider_writes += 1;
            match carried_out(&change, self.member.as_ref(), self.capabilities, &self.unknown) {
                Ok(_) if killed == Killed::BetweenDeleteAndCreate && matches!(change, Change::Recreate(_)) => {
                    self.member = None;
                    return did;
                }
                Ok(after) => {
                    let kept = self.capabilities.empty_role.filter(|_| self.keeps_members && self.member.is_some());
                    self.member = after.or(kept.map(|role| member(vec![Entry::permanent(role)], 1)));
                    done = Some(change);
                }
                Err(Refusal::UnknownRole(role)) => assert!(self.refused.insert(role), "a refused role was sent again"),
                Err(Refusal::Malformed(why)) => panic!("{why}: {change:?} on {:?} of {layers:#?}", self.member),
            }
            if killed == Killed::AfterTheWrite {
                return did;
            }
        }
        panic!("a pass that never ends: {self:#?}");
    }

    /// Writes down what has to be before the provider is written to. `true`: there was something.
    fn write_down(&mut self, index: usize, acting: &Layer, layers: &[Layer], plan: &Plan) -> bool {
        let mut record = match acting.phase {
            Phase::Counts => acting.record_before(self.now),
            Phase::Holds | Phase::Leaves => acting.managed.clone(),
        };
        let base = base_to_record(acting, layers, &self.view()).filter(|base| !acting.managed.contains_key(*base));
        record.extend(base.map(|base| (base.to_owned(), Term::Permanent)));
        let foreign = |entry: &&Entry| {
            layers.iter().all(|l| !l.managed.contains_key(&entry.role) && !l.has_in_effect(&entry.role, self.now))
        };
        let taken_out: Vec<Entry> = match plan.change() {
            Some(Change::Recreate(entries)) => entries.iter().filter(foreign).cloned().collect(),
            _ => Vec::new(),
        };
        let starts = starts_of(acting);
        let carries = taken_out.iter().any(|entry| !acting.carried.contains(entry));
        let object = &mut self.objects[index];
        if record == object.managed && !carries {
            return false;
        }
        object.managed = record;
        object.starts.extend(starts);
        object.seen = true;
        if carries {
            object.carried = taken_out;
        }
        true
    }

    /// Writes what came of the pass into the object's status. `true`: it changed.
    fn tell(&mut self, index: usize) -> bool {
        let layers = self.layers();
        let acting = acting(&layers, index);
        let others: Vec<Layer> = layers.iter().filter(|layer| layer.uid != acting.uid).cloned().collect();
        let record = record_after(&acting, &others, &shown(&acting, &layers, &self.view()), self.now);
        let starts =
            if acting.phase == Phase::Counts { starts_of(&acting) } else { self.objects[index].starts.clone() };
        let object = &mut self.objects[index];
        let changed = object.managed != record || object.starts != starts || !object.carried.is_empty();
        (object.managed, object.starts, object.seen) = (record, starts, true);
        object.carried.clear();
        if object.deleted && object.managed.is_empty() {
            object.gone = true;
            return true;
        }
        changed
    }

    /// The grants in effect of all objects that count.
    pub fn in_effect(&self) -> Vec<Grant> {
        let layers: Vec<Layer> = self.here().map(|(index, object)| self.layer(index, object)).collect();
        layers.iter().flat_map(|layer| layer.in_effect(self.now)).cloned().collect()
    }

    /// Passes over all objects until nothing changes any more.
    pub fn settle(&mut self) {
        for _ in 0..10 {
            let did: Vec<Did> = (0..self.objects.len()).map(|index| self.pass(index, Killed::Never)).collect();
            if did.iter().all(|did| *did == Did::default()) {
                return;
            }
        }
        panic!("never comes to rest: {self:#?}");
    }
}

fn acting(layers: &[Layer], index: usize) -> Layer {
    let uid = format!("uid-{index}");
    layers.iter().find(|layer| layer.uid == uid).cloned().unwrap()
}

fn starts_of(layer: &Layer) -> BTreeMap<String, Timestamp> {
    let start = |grant: &Grant| match grant.term {
        Term::Permanent => None,
        Term::Temporary(window) => Some((grant.role.clone(), window.start)),
    };
    layer.grants.iter().filter_map(start).collect()
}
