//! The index from targets to their declarations, and the state of each target.

mod queries;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use parking_lot::Mutex;

use super::tombstones;
use crate::api::membership::{PendingGrants, ProjectRef, SubjectRef};
use crate::api::{ProjectMembership, Reason, SubjectKind};
use crate::controller::provider_key::ProviderKey;
use crate::core::memory::Memory;
use crate::core::places::{Claim, DeclarationKey, Places, Rank};
use crate::core::policy::PinnedIds;
use crate::core::precedence::Evidence;
use crate::core::snapshot::ready;

/// What one pass works on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// All declarations of a target through one provider object.
    Target(Arc<DeclaringProvider>, Arc<TargetKey>),
    /// One object, by its namespace and name: a name in it is not resolved yet, or its target has too many declarations.
    Object(DeclarationKey),
    /// The check of a provider object.
    Provider(ProviderKey),
}

impl Unit {
    /// The unit of an object that is not in the index yet.
    pub fn of_object(object: &ProjectMembership) -> Self {
        Self::Object(key_of(object))
    }
}

/// The provider object through which a target is declared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeclaringProvider {
    /// The provider object.
    pub provider: ProviderKey,
    /// The endpoint of a former provider object of this name, for access that was left there.
    pub former: Option<String>,
}

impl DeclaringProvider {
    fn of(object: &ProjectMembership) -> Self {
        Self { provider: ProviderKey::named_by(object), former: tombstones::left_at(object) }
    }
}

/// What objects must have in common to be declarations of the same target, besides the provider object. Ids are in
/// lower case, because they are compared before it is known what kind of server they belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetKey {
    project_id: String,
    grant_id: Option<String>,
    subject_kind: SubjectKind,
    subject_id: String,
}

impl TargetKey {
    /// The key of an object's target; `None`: a name of the object has yet to be looked up.
    fn of(object: &ProjectMembership, pinned: &PinnedIds) -> Option<Self> {
        let ProjectRef { id: project_id, grant_id, .. } = &object.spec.project;
        let SubjectRef { id: subject_id, kind, .. } = &object.spec.subject;
        Some(Self {
            project_id: project_id.as_ref().or(pinned.project_id.as_ref())?.to_ascii_lowercase(),
            grant_id: grant_id.clone(),
            subject_kind: *kind,
            subject_id: subject_id.as_ref().or(pinned.subject_id.as_ref())?.to_ascii_lowercase(),
        })
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Target(through, target) => {
                let DeclaringProvider { provider, .. } = &**through;
                let TargetKey { project_id, grant_id, subject_kind, subject_id } = &**target;
                let grant = grant_id.as_deref().unwrap_or_default();
                write!(f, "Target/{provider}/{project_id}/{grant}/{subject_kind:?}/{subject_id}")
            }
            Self::Object((namespace, name)) => write!(f, "ProjectMembership/{namespace}/{name}"),
            Self::Provider(key) => key.fmt(f),
        }
    }
}

/// The state of a target between passes, for one connection's provider object and endpoint.
#[derive(Debug, Default)]
pub struct TargetMemory {
    /// The uid and endpoint of the provider object through which it was observed.
    pub through: (Arc<str>, Arc<str>),
    /// The memory of the steps.
    pub memory: Memory,
    /// The evidence of the credential's permissions in the project for which the declarations through other provider
    /// objects were last reconciled.
    pub evidence: Evidence,
}

/// The index from targets to objects, and the state of each target.
#[derive(Debug, Default)]
pub struct Targets {
    entries: Mutex<Index>,
    invite_locks: Mutex<HashMap<InviteLockKey, Weak<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Index {
    objects: HashMap<Arc<TargetKey>, Vec<TargetEntry>>,
    seen: HashMap<DeclarationKey, IndexedObject>,
}

/// What is known of a target through one provider object. It is dropped with the last declaration.
#[derive(Debug)]
struct TargetEntry {
    through: Arc<DeclaringProvider>,
    places: Places,
    remembered: Arc<Mutex<TargetMemory>>,
}

/// Where a user may be invited: endpoint, project id, name.
type InviteLockKey = (String, String, String);

#[derive(Debug, PartialEq, Eq)]
struct IndexedObject {
    uid: String,
    target: Option<Arc<TargetKey>>,
    through: Arc<DeclaringProvider>,
    fingerprint: u64,
    created: Timestamp,
    holds_access: bool,
    /// A pass found that it may be carried out.
    may_count: bool,
    /// The ids that its names were resolved to, until the status contains them.
    found: Option<Box<PinnedIds>>,
    /// How many lookups of its names have failed in a row.
    failed: u32,
    /// The rank with which it was entered among the declarations of its target.
    entered: Option<Rank>,
}

impl IndexedObject {
    fn claim(&self) -> Claim {
        match (self.holds_access, self.may_count) {
            (true, _) => Claim::HoldsAccess,
            (false, true) => Claim::MayCount,
            (false, false) => Claim::Other,
        }
    }
}

impl Targets {
    /// Updates the index with an object, as watched or written. Returns the units, besides the object's own, for which a
    /// pass is due: those of the same target through other provider objects, the one that the object has left, and those
    /// of objects that got or lost their places.
    ///
    /// `holds_access`: it has recorded access, as far as its author cannot have written that.
    pub fn enter(&self, object: &ProjectMembership, holds_access: bool) -> BTreeSet<Unit> {
        self.entries.lock().take_in(object, holds_access)
    }

    /// The unit of an object.
    pub fn unit_of(&self, reference: &ObjectRef<ProjectMembership>) -> Unit {
        self.entries.lock().unit_of(&(reference.namespace.clone().unwrap_or_default(), reference.name.clone()))
    }

    /// The ids that the object's names were resolved to, if they were looked up. Those in its status are kept
    /// permanently.
    pub fn pinned(&self, object: &ProjectMembership) -> PinnedIds {
        self.entries.lock().pinned(object)
    }

    /// Stores the ids that the object's names were resolved to. Returns the units for which a pass is due.
    pub fn pin(&self, object: &ProjectMembership, found: PinnedIds) -> BTreeSet<Unit> {
        let mut index = self.entries.lock();
        let Some(known) = index.known(object) else {
            // The object was removed while its names were looked up.
            return BTreeSet::new();
        };
        (known.found, known.failed) = (Some(Box::new(found)), 0);
        let holds_access = known.holds_access;
        let mut due = index.take_in(object, holds_access);
        due.insert(index.unit_of(&key_of(object)));
        due
    }

    /// Records one more failed lookup of the object's names. Returns how many had failed in a row before it.
    pub fn not_found(&self, object: &ProjectMembership) -> u32 {
        self.entries.lock().known(object).map_or(0, |known| {
            known.failed += 1;
            known.failed - 1
        })
    }

    /// Removes an object that was deleted. Returns the units for which a pass is due.
    pub fn lost(&self, object: &ProjectMembership) -> BTreeSet<Unit> {
        let key = key_of(object);
        let mut index = self.entries.lock();
        let seen = index.seen.remove(&key);
        seen.map_or_else(BTreeSet::new, |seen| index.leave(&seen, &key))
    }

    /// Removes, after a relist, the objects whose deletion was not watched: those whose name `is_there` denies. Returns
    /// the units for which a pass is due.
    pub fn lost_unseen(&self, is_there: impl Fn(&ObjectRef<ProjectMembership>) -> bool) -> BTreeSet<Unit> {
        let mut index = self.entries.lock();
        let gone: Vec<(DeclarationKey, IndexedObject)> =
            index.seen.extract_if(|key, _| !is_there(&reference_to(key))).collect();
        gone.iter().flat_map(|(key, seen)| index.leave(seen, key)).collect()
    }

    /// The evaluated declarations of a target, in the order of their claims and ages; or the object.
    pub fn declarations(&self, unit: &Unit) -> Vec<ObjectRef<ProjectMembership>> {
        match unit {
            Unit::Provider(_) => Vec::new(),
            Unit::Object(key) => vec![reference_to(key)],
            Unit::Target(through, target) => {
                let index = self.entries.lock();
                let entry = index.entry(through, target);
                entry.into_iter().flat_map(|entry| entry.places.placed()).map(reference_to).collect()
            }
        }
    }

    /// The units of the same target through other provider objects.
    pub fn rivals(&self, unit: &Unit) -> Vec<Unit> {
        match unit {
            Unit::Object(_) | Unit::Provider(_) => Vec::new(),
            Unit::Target(through, target) => self.entries.lock().rivals(through, target).collect(),
        }
    }

    /// Calls `change` with the state of a target.
    pub fn with_memory<T>(&self, unit: &Unit, change: impl FnOnce(&mut TargetMemory) -> T) -> T {
        let remembered = self.remembered(unit);
        let mut remembered = remembered.lock();
        change(&mut remembered)
    }

    /// The state of a target; there is none for another unit.
    pub fn remembered(&self, unit: &Unit) -> Arc<Mutex<TargetMemory>> {
        match unit {
            Unit::Object(_) | Unit::Provider(_) => Arc::default(),
            Unit::Target(through, target) => {
                let index = self.entries.lock();
                let entry = index.entry(through, target);
                entry.map(|entry| entry.remembered.clone()).unwrap_or_default()
            }
        }
    }

    /// Records whether a pass found that an object may be carried out: then its declaration has a claim to a place.
    /// Returns the units for which a pass is due.
    pub fn may_count(&self, object: &ProjectMembership, may_count: bool) -> BTreeSet<Unit> {
        let (mut index, key) = (self.entries.lock(), key_of(object));
        let Some(known) = index.known(object).filter(|known| known.may_count != may_count) else {
            return BTreeSet::new();
        };
        known.may_count = may_count;
        index.place(&key, false)
    }

    /// Whether the object's names are resolved and it has no place among the declarations of its target.
    pub fn is_beyond_bound(&self, object: &ProjectMembership) -> bool {
        let (index, key) = (self.entries.lock(), key_of(object));
        let is_resolved = index.seen.get(&key).is_some_and(|seen| seen.target.is_some());
        is_resolved && matches!(index.unit_of(&key), Unit::Object(_))
    }

    /// The lock for inviting a user of this name into a project: before the invitation there is no target that the
    /// passes could share.
    pub fn invite_lock(&self, endpoint: &str, project_id: &str, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut invite_locks = self.invite_locks.lock();
        invite_locks.retain(|_, invite_lock| invite_lock.strong_count() > 0);
        let invite_lock =
            invite_locks.entry((endpoint.to_owned(), project_id.to_owned(), name.to_owned())).or_default();
        let lock = invite_lock.upgrade().unwrap_or_default();
        *invite_lock = Arc::downgrade(&lock);
        lock
    }

    /// The number of entries in all of the state.
    pub fn len(&self) -> usize {
        let mut invite_locks = self.invite_locks.lock();
        invite_locks.retain(|_, invite_lock| invite_lock.strong_count() > 0);
        let index = self.entries.lock();
        invite_locks.len() + index.objects.len() + index.seen.len()
    }

    /// Whether there is no state.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Index {
    fn entry(&self, through: &Arc<DeclaringProvider>, target: &Arc<TargetKey>) -> Option<&TargetEntry> {
        self.objects.get(target)?.iter().find(|entry| entry.through == *through)
    }

    /// The entry of the object, unless that belongs to a former object of this name.
    fn known(&mut self, object: &ProjectMembership) -> Option<&mut IndexedObject> {
        self.seen.get_mut(&key_of(object)).filter(|seen| Some(&seen.uid) == object.metadata.uid.as_ref())
    }

    fn pinned(&self, object: &ProjectMembership) -> PinnedIds {
        let known = self.seen.get(&key_of(object)).filter(|seen| Some(&seen.uid) == object.metadata.uid.as_ref());
        match object.status.as_ref().and_then(|status| status.target.as_ref()) {
            Some(target) => {
                PinnedIds { project_id: Some(target.project_id.clone()), subject_id: Some(target.subject_id.clone()) }
            }
            None => known.and_then(|known| known.found.as_deref().cloned()).unwrap_or_default(),
        }
    }

    fn unit_of(&self, key: &DeclarationKey) -> Unit {
        let seen = self.seen.get(key);
        let placed = seen.and_then(|seen| Some((&seen.through, seen.target.as_ref()?))).filter(|(through, target)| {
            let entry = self.entry(through, target);
            entry.is_some_and(|entry| entry.places.has_place(key))
        });
        match placed {
            Some((through, target)) => Unit::Target(through.clone(), target.clone()),
            None => Unit::Object(key.clone()),
        }
    }

    fn take_in(&mut self, object: &ProjectMembership, holds_access: bool) -> BTreeSet<Unit> {
        let (key, uid) = (key_of(object), object.uid().unwrap_or_default());
        let known = self.seen.get(&key);
        let same = known.filter(|known| known.uid == uid);
        let target = TargetKey::of(object, &self.pinned(object)).map(Arc::new);
        let through = Arc::new(DeclaringProvider::of(object));
        // There are thousands of both: equal values share their memory.
        let is_same = |known: &&IndexedObject| (&known.target, &known.through) == (&target, &through);
        let (target, through) = match known.filter(is_same) {
            Some(known) => (known.target.clone(), known.through.clone()),
            None => (target, through),
        };
        let mut seen = IndexedObject {
            target,
            through,
            fingerprint: fingerprint_of(object),
            created: object.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |created| created.0),
            holds_access,
            // The previous leader reported it as carried out, or was about to carry it out. A pass finds out whether
            // that is so.
            may_count: same.map_or_else(
                || is_converged(object) || PendingGrants::unobserved(object).is_some(),
                |same| same.may_count,
            ),
            found: same.and_then(|same| same.found.clone()),
            failed: same.map_or(0, |same| same.failed),
            entered: known.and_then(|known| known.entered),
            uid,
        };
        if known == Some(&seen) {
            return BTreeSet::new();
        }
        // An object that was deleted and created again under its name may declare another target.
        let moved = known.is_some_and(|known| (&known.target, &known.through) != (&seen.target, &seen.through));
        seen.entered.take_if(|_| moved);
        let before = self.seen.insert(key.clone(), seen);
        let mut due = before.filter(|_| moved).map_or_else(BTreeSet::new, |before| self.leave(&before, &key));
        due.extend(self.place(&key, true));
        due
    }

    /// Gives a declaration the place that it has a claim to. `is_new`: its content changed. Returns the other units for
    /// which a pass is due.
    fn place(&mut self, key: &DeclarationKey, is_new: bool) -> BTreeSet<Unit> {
        let Some((seen, target)) = self.seen.get_mut(key).and_then(|seen| seen.target.clone().map(|it| (seen, it)))
        else {
            return BTreeSet::new();
        };
        let (through, rank) = (seen.through.clone(), (seen.claim(), seen.created));
        let before = seen.entered.replace(rank);
        self.changed(&target, &through, key, is_new, |places| {
            if let Some(before) = before {
                places.remove(key, before);
            }
            places.put(key, rank);
        })
    }

    fn leave(&mut self, seen: &IndexedObject, key: &DeclarationKey) -> BTreeSet<Unit> {
        let (Some(target), Some(rank)) = (&seen.target, seen.entered) else {
            return BTreeSet::new();
        };
        let mut due = self.changed(target, &seen.through, key, true, |places| places.remove(key, rank));
        if let Some(units) = self.objects.get_mut(target) {
            units.retain(|entry| !entry.places.is_empty());
            if units.iter().any(|entry| entry.through == seen.through) {
                due.insert(Unit::Target(seen.through.clone(), target.clone()));
            }
            if units.is_empty() {
                self.objects.remove(target);
            }
        }
        due
    }

    /// Changes the places of a target. Returns the other units for which a pass is due.
    fn changed(
        &mut self,
        target: &Arc<TargetKey>,
        through: &Arc<DeclaringProvider>,
        key: &DeclarationKey,
        is_new: bool,
        change: impl FnOnce(&mut Places),
    ) -> BTreeSet<Unit> {
        // Most targets are declared through a single provider object.
        let units = self.objects.entry(target.clone()).or_insert_with(|| Vec::with_capacity(1));
        let at = units.iter().position(|entry| entry.through == *through).unwrap_or_else(|| {
            let (through, places, remembered) = (through.clone(), Places::default(), Arc::default());
            units.push(TargetEntry { through, places, remembered });
            units.len() - 1
        });
        let places = &mut units[at].places;
        let before: BTreeSet<DeclarationKey> = places.placed().cloned().collect();
        change(places);
        let after: BTreeSet<DeclarationKey> = places.placed().cloned().collect();
        let moved: Vec<&DeclarationKey> = before.symmetric_difference(&after).filter(|other| *other != key).collect();
        let mut due: BTreeSet<Unit> = moved.iter().map(|other| self.unit_of(other)).collect();
        if !moved.is_empty() {
            due.insert(Unit::Target(through.clone(), target.clone()));
        }
        if before.contains(key) && !after.contains(key) && self.seen.contains_key(key) {
            // It is an object of its own from now on.
            due.insert(self.unit_of(key));
        }
        if is_new && (before.contains(key) || after.contains(key)) {
            due.extend(self.rivals(through, target));
        }
        due
    }

    fn rivals(&self, through: &Arc<DeclaringProvider>, target: &Arc<TargetKey>) -> impl Iterator<Item = Unit> {
        let units = self.objects.get(target).into_iter().flatten().map(|entry| &entry.through);
        units.filter(move |other| *other != through).map(move |other| Unit::Target(other.clone(), target.clone()))
    }
}

/// Whether the status reports that its object is carried out.
fn is_converged(object: &ProjectMembership) -> bool {
    ready(object).is_some_and(|(_, reason)| reason == Reason::Converged.to_string())
}

fn reference_to((namespace, name): &DeclarationKey) -> ObjectRef<ProjectMembership> {
    ObjectRef::new(name).within(namespace)
}

fn key_of(object: &ProjectMembership) -> DeclarationKey {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The fingerprint of what other declarations of the subject in the project depend on: the spec, whether the object is
/// being deleted, and its record.
fn fingerprint_of(object: &ProjectMembership) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    object.uid().hash(&mut hasher);
    object.metadata.generation.hash(&mut hasher);
    object.metadata.deletion_timestamp.is_some().hash(&mut hasher);
    for role in object.status.iter().flat_map(|status| &status.managed_roles) {
        (&role.role, &role.role_id, role.start_time, role.expiration_time).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
