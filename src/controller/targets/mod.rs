//! The target as the unit of work: the index of the declarations of each target, the lock that allows one pass at a
//! time, and what is remembered between passes.

mod memory;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

pub use memory::{Granted, Memory, Refused, Stalled};

use super::connections::ProviderKey;
use super::places::{Claim, Key, Places};
use crate::api::membership::{ProjectRef, SubjectRef};
use crate::api::{ProjectMembership, Reason, SubjectKind};
use crate::core::member::Target;
use crate::core::policy::Pinned;

/// What objects must have in common to be declarations of the same target. The provider is not part of it: its server
/// may not be known yet, and the declarations through two provider objects of one server must find each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetKey {
    project_id: String,
    grant_id: Option<String>,
    subject_kind: SubjectKind,
    subject_id: String,
}

impl TargetKey {
    /// The key of an object's target; `None`: a name of the object has yet to be looked up.
    fn of(object: &ProjectMembership, pinned: &Pinned) -> Option<Self> {
        let ProjectRef { id: project_id, grant_id, .. } = &object.spec.project;
        let SubjectRef { id: subject_id, kind, .. } = &object.spec.subject;
        Some(Self {
            project_id: project_id.as_ref().or(pinned.project_id.as_ref())?.to_ascii_lowercase(),
            grant_id: grant_id.clone(),
            subject_kind: *kind,
            subject_id: subject_id.as_ref().or(pinned.subject_id.as_ref())?.to_ascii_lowercase(),
        })
    }

    fn of_target(target: &Target) -> Self {
        let Target { project, subject_kind, subject_id } = target;
        Self {
            project_id: project.id.to_ascii_lowercase(),
            grant_id: project.grant_id.clone(),
            subject_kind: *subject_kind,
            subject_id: subject_id.to_ascii_lowercase(),
        }
    }
}

/// The subject, project and server whose roles are managed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spot {
    /// The server's normalised URL.
    pub endpoint: String,
    /// The target at that server.
    pub target: Target,
}

/// The index from targets to objects, and the targets' locks.
#[derive(Debug, Default)]
pub struct Targets {
    entries: Mutex<Index>,
    doors: Mutex<HashMap<Door, Weak<tokio::sync::Mutex<()>>>>,
    cells: Mutex<HashMap<(String, Spot), Cell>>,
}

#[derive(Debug, Default)]
struct Index {
    objects: HashMap<TargetKey, HashMap<ProviderKey, Places>>,
    notifiers: HashMap<TargetKey, Arc<Notify>>,
    seen: HashMap<Key, Seen>,
    /// The ids that names were resolved to, by the uids of the objects, until the status contains them.
    found: HashMap<String, Pinned>,
    /// How many lookups of an object's names have failed in a row.
    failed: HashMap<String, u32>,
}

/// What is remembered of a target, and its lock.
type Cell = Arc<tokio::sync::Mutex<Memory>>;

/// Where a user may be invited: endpoint, project id, name.
type Door = (String, String, String);

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    uid: String,
    target: Option<TargetKey>,
    provider: ProviderKey,
    print: u64,
    created: Timestamp,
    holds_access: bool,
    /// The object's own last pass found that it may be carried out.
    may_count: bool,
}

impl Seen {
    fn claim(&self) -> Claim {
        match (self.holds_access, self.may_count) {
            (true, _) => Claim::HoldsAccess,
            (false, true) => Claim::MayCount,
            (false, false) => Claim::Other,
        }
    }
}

impl Targets {
    /// Updates the index with a watched object. Returns the other declarations of its target if they have to be
    /// reconciled.
    pub fn saw(&self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        self.index().take_in(object)
    }

    /// The ids that the object's names stand for, if they were looked up. Those in its status are kept permanently.
    pub fn pinned(&self, object: &ProjectMembership) -> Pinned {
        self.index().pinned(object)
    }

    /// Stores the ids that the object's names stand for. Returns the other declarations of its target.
    pub fn pin(&self, object: &ProjectMembership, found: Pinned) -> Vec<ObjectRef<ProjectMembership>> {
        let mut index = self.index();
        let uid = object.uid().unwrap_or_default();
        if !index.knows(object) {
            // The object was removed while its names were looked up.
            return Vec::new();
        }
        index.failed.remove(&uid);
        index.found.insert(uid, found);
        index.take_in(object)
    }

    /// Records one more failed lookup of the object's names. Returns how many had failed in a row before it.
    pub fn not_found(&self, object: &ProjectMembership) -> u32 {
        let mut index = self.index();
        if !index.knows(object) {
            return 0;
        }
        let failures = index.failed.entry(object.uid().unwrap_or_default()).or_default();
        *failures += 1;
        *failures - 1
    }

    /// Removes an object that is gone. Returns the other declarations of its target.
    pub fn lost(&self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        let key = key_of(object);
        let mut index = self.index();
        let seen = index.forget(&key);
        seen.map_or_else(Vec::new, |seen| index.leave(&seen, &key))
    }

    /// Removes, after a relist, the objects whose deletion was not watched: those whose name `is_there` denies. Returns
    /// the other declarations of their targets.
    pub fn lost_unseen(
        &self,
        is_there: impl Fn(&ObjectRef<ProjectMembership>) -> bool,
    ) -> Vec<ObjectRef<ProjectMembership>> {
        let mut index = self.index();
        let there = |(namespace, name): &Key| is_there(&ObjectRef::new(name).within(namespace));
        let gone: Vec<Key> = index.seen.keys().filter(|key| !there(key)).cloned().collect();
        let gone = gone.into_iter().filter_map(|key| Some((index.forget(&key)?, key)));
        let gone: Vec<(Seen, Key)> = gone.collect();
        gone.iter().flat_map(|(seen, key)| index.leave(seen, key)).collect()
    }

    /// The notification that is sent when a declaration of `object`'s target changes. A pass that waits for its permit
    /// then evaluates the target again, so that a revocation does not wait behind a grant.
    pub fn notifier(&self, object: &ProjectMembership) -> Arc<Notify> {
        let mut index = self.index();
        match index.target_of(object).filter(|target| index.objects.contains_key(target)) {
            Some(target) => index.notifiers.entry(target).or_default().clone(),
            None => Arc::default(),
        }
    }

    /// The evaluated declarations of `object`'s target through the same provider object, and the object itself.
    pub fn declarations(&self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        let (index, own) = (self.index(), key_of(object));
        let providers = index.target_of(object).and_then(|target| index.objects.get(&target));
        let places = providers.and_then(|providers| providers.get(&ProviderKey::named_by(object)));
        let Some(places) = places else {
            return Vec::new();
        };
        let itself = (!places.has_place(&own)).then_some(&own);
        places.placed().chain(itself).map(reference_to).collect()
    }

    /// The evaluated declarations of the same target through other provider objects, by provider object.
    pub fn of_other_providers(
        &self,
        object: &ProjectMembership,
    ) -> Vec<(ProviderKey, Vec<ObjectRef<ProjectMembership>>)> {
        let (index, own) = (self.index(), ProviderKey::named_by(object));
        let providers = index.target_of(object).and_then(|target| index.objects.get(&target));
        let others = providers.into_iter().flatten().filter(|(provider, _)| **provider != own);
        others.map(|(provider, places)| (provider.clone(), places.placed().map(reference_to).collect())).collect()
    }

    /// Records whether an object's own pass found that it may be carried out: then its declaration has a claim to a
    /// place. Returns the declarations that have to be reconciled.
    pub fn may_count(&self, object: &ProjectMembership, may_count: bool) -> Vec<ObjectRef<ProjectMembership>> {
        let (mut index, key) = (self.index(), key_of(object));
        let known = index
            .seen
            .get_mut(&key)
            .filter(|seen| Some(&seen.uid) == object.metadata.uid.as_ref() && seen.may_count != may_count);
        let Some(known) = known else {
            return Vec::new();
        };
        known.may_count = may_count;
        index.place(&key, false)
    }

    /// Whether an object is among the evaluated declarations of its target.
    pub fn has_place(&self, object: &ProjectMembership) -> bool {
        let index = self.index();
        let providers = index.target_of(object).and_then(|target| index.objects.get(&target));
        let places = providers.and_then(|providers| providers.get(&ProviderKey::named_by(object)));
        places.is_none_or(|places| places.has_place(&key_of(object)))
    }

    /// The lock for inviting a user of this name into a project: before the invitation there is no target whose lock
    /// the passes could share.
    pub fn door(&self, endpoint: &str, project_id: &str, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.retain(|_, door| door.strong_count() > 0);
        let door = doors.entry((endpoint.to_owned(), project_id.to_owned(), name.to_owned())).or_default();
        let lock = door.upgrade().unwrap_or_default();
        *door = Arc::downgrade(&lock);
        lock
    }

    /// The lock and memory of a target for one provider object, given by its uid. The pass that holds the lock is the
    /// only one that works on the target through that provider object. Provider objects do not share the lock, so that
    /// a pass that waits for its own provider object's quota does not delay another tenant's passes.
    pub fn cell(&self, provider: &str, spot: &Spot) -> Cell {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry((provider.to_owned(), spot.clone())).or_default().clone()
    }

    /// Drops what is remembered of a target that has no declarations any more.
    pub fn forget(&self, provider: &str, spot: &Spot) {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).remove(&(provider.to_owned(), spot.clone()));
    }

    /// Drops what is remembered of targets that have no declarations any more, or whose provider object or endpoint is
    /// not `in_use`, and of objects that do not declare the target any more. What a pass is using is kept.
    pub fn forget_unused(&self, in_use: impl Fn(&str, &Spot) -> bool) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, door| door.strong_count() > 0);
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|(provider, spot), cell| {
            if Arc::strong_count(cell) > 1 {
                return true;
            }
            let speak = self.index().speak_of(&TargetKey::of_target(&spot.target));
            if let Ok(mut memory) = cell.try_lock() {
                memory.forget_others(&speak);
            }
            !speak.is_empty() && in_use(provider, spot)
        });
    }

    /// The projects, project grants and kinds of subjects of all declarations; ids are in lower case.
    pub fn projects(&self) -> HashSet<(String, Option<String>, SubjectKind)> {
        let index = self.index();
        index
            .objects
            .keys()
            .map(|target| (target.project_id.clone(), target.grant_id.clone(), target.subject_kind))
            .collect()
    }

    /// The ids of all projects, project grants and subjects of all declarations, in lower case.
    pub fn ids(&self) -> HashSet<String> {
        let index = self.index();
        let ids = |target: &TargetKey| {
            let grant = target.grant_id.as_ref().map(|grant| grant.to_ascii_lowercase());
            [Some(target.project_id.clone()), Some(target.subject_id.clone()), grant].into_iter().flatten()
        };
        index.objects.keys().flat_map(ids).collect()
    }

    /// The number of entries in everything that is remembered.
    pub fn len(&self) -> usize {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner).len();
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner).len();
        let index = self.index();
        let Index { objects, notifiers, seen, found, failed } = &*index;
        cells + doors + objects.len() + notifiers.len() + seen.len() + found.len() + failed.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Whether the object with this uid is in the index.
    fn knows(&self, object: &ProjectMembership) -> bool {
        self.seen.get(&key_of(object)).is_some_and(|seen| Some(&seen.uid) == object.metadata.uid.as_ref())
    }

    /// The uids of the objects that declare a target.
    fn speak_of(&self, target: &TargetKey) -> BTreeSet<String> {
        let places = self.objects.get(target).into_iter().flat_map(HashMap::values);
        places.flat_map(Places::keys).filter_map(|key| self.seen.get(key)).map(|seen| seen.uid.clone()).collect()
    }

    fn forget(&mut self, key: &Key) -> Option<Seen> {
        let seen = self.seen.remove(key)?;
        self.found.remove(&seen.uid);
        self.failed.remove(&seen.uid);
        Some(seen)
    }

    fn pinned(&self, object: &ProjectMembership) -> Pinned {
        let target = object.status.as_ref().and_then(|status| status.target.as_ref());
        match target {
            Some(target) => {
                Pinned { project_id: Some(target.project_id.clone()), subject_id: Some(target.subject_id.clone()) }
            }
            None => object.uid().and_then(|uid| self.found.get(&uid).cloned()).unwrap_or_default(),
        }
    }

    fn target_of(&self, object: &ProjectMembership) -> Option<TargetKey> {
        TargetKey::of(object, &self.pinned(object))
    }

    fn take_in(&mut self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        let (key, uid) = (key_of(object), object.uid().unwrap_or_default());
        let known = self.seen.get(&key);
        let judged = known.filter(|known| known.uid == uid).map(|known| known.may_count);
        let seen = Seen {
            target: self.target_of(object),
            provider: ProviderKey::named_by(object),
            print: print_of(object),
            created: object.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |created| created.0),
            holds_access: object
                .status
                .as_ref()
                .is_some_and(|s| !(s.managed_roles.is_empty() && s.carried_roles.is_empty())),
            // The previous leader reported it as carried out.
            may_count: judged.unwrap_or_else(|| is_converged(object)),
            uid,
        };
        if known == Some(&seen) {
            return Vec::new();
        }
        // An object that was deleted and created again under its name may declare another target.
        let moved = known.is_some_and(|known| (&known.target, &known.provider) != (&seen.target, &seen.provider));
        let uid = seen.uid.clone();
        let before = self.seen.insert(key.clone(), seen);
        if let Some(before) = before.as_ref().filter(|before| before.uid != uid) {
            self.found.remove(&before.uid);
            self.failed.remove(&before.uid);
        }
        let mut others = before.filter(|_| moved).map_or_else(Vec::new, |before| self.leave(&before, &key));
        others.extend(self.place(&key, true));
        others
    }

    /// Gives a declaration the place that it has a claim to. `is_new`: its content changed. Returns the other
    /// declarations that have to be reconciled.
    fn place(&mut self, key: &Key, is_new: bool) -> Vec<ObjectRef<ProjectMembership>> {
        let Some((seen, target)) = self.seen.get(key).and_then(|seen| Some((seen, seen.target.clone()?))) else {
            return Vec::new();
        };
        let (provider, claim, created) = (seen.provider.clone(), seen.claim(), seen.created);
        self.changed(&target, &provider, key, is_new, |places| places.put(key, claim, created))
    }

    fn leave(&mut self, seen: &Seen, key: &Key) -> Vec<ObjectRef<ProjectMembership>> {
        let Some(target) = &seen.target else {
            return Vec::new();
        };
        let others = self.changed(target, &seen.provider, key, true, |places| places.remove(key));
        if let Some(providers) = self.objects.get_mut(target) {
            providers.retain(|_, places| !places.is_empty());
            if providers.is_empty() {
                self.objects.remove(target);
                self.notifiers.remove(target);
            }
        }
        others
    }

    /// Changes the places of a target. Returns the other declarations that have to be reconciled: those that get or
    /// lose a place, and if the content of a declaration with a place changed (`is_new`), all that have one.
    fn changed(
        &mut self,
        target: &TargetKey,
        provider: &ProviderKey,
        key: &Key,
        is_new: bool,
        change: impl FnOnce(&mut Places),
    ) -> Vec<ObjectRef<ProjectMembership>> {
        let providers = self.objects.entry(target.clone()).or_default();
        let places = providers.entry(provider.clone()).or_default();
        let before: BTreeSet<Key> = places.placed().cloned().collect();
        change(places);
        let after: BTreeSet<Key> = places.placed().cloned().collect();
        let mut concerned: BTreeSet<Key> = before.union(&after).cloned().collect();
        if !concerned.remove(key) {
            return Vec::new();
        }
        if !is_new {
            return before.symmetric_difference(&after).filter(|other| *other != key).map(reference_to).collect();
        }
        let elsewhere = providers.iter().filter(|(other, _)| *other != provider);
        concerned.extend(elsewhere.flat_map(|(_, places)| places.placed().cloned()));
        self.notify(target);
        concerned.iter().map(reference_to).collect()
    }

    fn notify(&self, target: &TargetKey) {
        if let Some(notifier) = self.notifiers.get(target) {
            notifier.notify_waiters();
        }
    }
}

/// Whether the status reports that its object is carried out.
fn is_converged(object: &ProjectMembership) -> bool {
    let converged = Reason::Converged.to_string();
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.reason == converged)
}

fn reference_to((namespace, name): &Key) -> ObjectRef<ProjectMembership> {
    ObjectRef::new(name).within(namespace)
}

fn key_of(object: &ProjectMembership) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The fingerprint of what the other declarations of the target depend on: the spec, whether the object is being
/// deleted, and its record. A change to the conditions alone starts no other pass.
fn print_of(object: &ProjectMembership) -> u64 {
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
