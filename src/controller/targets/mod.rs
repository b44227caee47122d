//! The target as the unit of work: which objects speak of it, one pass at a time, and what is remembered between passes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connections::{Connection, ProviderKey};
use super::places::{Claim, Key, Places};
use super::repairs::Repairs;
use crate::api::membership::{ManagedRole, ProjectRef, SubjectRef};
use crate::api::{ProjectMembership, Reason, SubjectKind};
use crate::controller::roster::Evidence;
use crate::core::member::{Change, Target};
use crate::core::policy::Pinned;
use crate::provider::Error;

/// What objects must share to share a target. The provider is left out: which server it stands for may not be known
/// yet, and two provider objects of one server must find each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kin {
    project_id: String,
    grant_id: Option<String>,
    subject_kind: SubjectKind,
    subject_id: String,
}

impl Kin {
    /// `None`: a name of the object has yet to be looked up.
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
}

impl Kin {
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

/// Whose roles at which server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spot {
    /// The server's normalised URL.
    pub endpoint: String,
    /// The target there.
    pub target: Target,
}

/// What is remembered of a target between passes. All of it may be lost: it makes passes cheaper or kinder, never right
/// (`granted` matters only to who edits an object in the moment between a write and its status).
#[derive(Debug, Default)]
pub struct Memory {
    /// Roles that the provider said don't exist, and for which specs it was asked.
    pub refused: BTreeMap<String, Refused>,
    /// Starts that were written down and whose grant the provider has only ever refused.
    pub tentative: BTreeSet<(String, String)>,
    /// Temporary grants that were recorded, by uid and role, and that have not been sent to the provider since.
    pub unsent: BTreeSet<(String, String)>,
    /// What was granted on an object's word without having been written down, until its status speaks of it: an edit in
    /// between may leave nothing of it in the spec.
    pub granted: BTreeMap<String, Granted>,
    /// Which generations of the target's objects are not carried out yet, and since when each has been known, by uid.
    pub undecided: HashMap<String, (i64, Instant)>,
    /// How often in a row each object's pass has failed.
    pub failures: HashMap<String, u32>,
    /// A list that began no earlier than this was asked for, and failed.
    pub unanswered: Option<Instant>,
    /// The change that the provider refused for good: it isn't asked for again by whoever happens to look.
    pub stalled: Option<Stalled>,
    /// Writes in a row that were undone before they were confirmed.
    pub contested: u32,
    /// What is known of the credential's rights in the project, as the objects of other provider objects were woken for.
    pub evidence: Evidence,
    /// Which drift was repaired at how many resyncs in a row.
    pub repairs: Repairs,
}

impl Memory {
    /// Forgets the objects that speak of the target no more.
    fn forget_others(&mut self, speak: &BTreeSet<String>) {
        self.tentative.retain(|(uid, _)| speak.contains(uid));
        self.unsent.retain(|(uid, _)| speak.contains(uid));
        self.granted.retain(|uid, _| speak.contains(uid));
        self.undecided.retain(|uid, _| speak.contains(uid));
        self.failures.retain(|uid, _| speak.contains(uid));
    }
}

/// What an object's spec alone told.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The generation of that spec.
    pub generation: i64,
    /// All that the object manages with it.
    pub record: Vec<ManagedRole>,
}

/// A change that the provider refused for good.
#[derive(Clone, Debug)]
pub struct Stalled {
    /// The uids and generations of the objects that asked for it: another spec asks anew.
    pub asked_by: BTreeSet<(String, i64)>,
    /// What was asked for.
    pub change: Change,
    /// The refusal.
    pub error: Error,
    /// What was to go went alone.
    pub removed: bool,
    /// With which connection it was asked for: another credential may do more.
    pub connection: Weak<Connection>,
    /// When.
    pub at: Instant,
}

/// A role that the provider said doesn't exist.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The provider's word, for the condition.
    pub message: String,
    /// When it was said.
    pub at: Instant,
    /// The uids and generations that it was asked for.
    pub asked_by: BTreeSet<(String, i64)>,
}

/// The index from targets to objects, and the targets' locks.
#[derive(Debug, Default)]
pub struct Targets {
    kin: Mutex<Index>,
    doors: Mutex<HashMap<Door, Weak<tokio::sync::Mutex<()>>>>,
    cells: Mutex<HashMap<(String, Spot), Cell>>,
}

#[derive(Debug, Default)]
struct Index {
    objects: HashMap<Kin, HashMap<ProviderKey, Places>>,
    knocks: HashMap<Kin, Arc<Notify>>,
    seen: HashMap<Key, Seen>,
    /// What names were found to stand for, by the objects' uids, until a status says it.
    found: HashMap<String, Pinned>,
    /// How often in a row looking an object's names up has failed.
    failed: HashMap<String, u32>,
}

/// What is remembered of a target, and its lock.
type Cell = Arc<tokio::sync::Mutex<Memory>>;

/// Where somebody may be brought in: endpoint, project id, name.
type Door = (String, String, String);

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    uid: String,
    kin: Option<Kin>,
    provider: ProviderKey,
    print: u64,
    created: Timestamp,
    holds_access: bool,
    /// Its own last pass found that it may be carried out.
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
    /// Takes in what the watch shows of an object. Returns the others on its target if they should look again.
    pub fn saw(&self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        self.index().take_in(object)
    }

    /// What the object's names stand for, as far as they were looked up: what its status says is kept for good.
    pub fn pinned(&self, object: &ProjectMembership) -> Pinned {
        self.index().pinned(object)
    }

    /// What the object's names were found to stand for. Returns the others on its target.
    pub fn pin(&self, object: &ProjectMembership, found: Pinned) -> Vec<ObjectRef<ProjectMembership>> {
        let mut index = self.index();
        let uid = object.uid().unwrap_or_default();
        if !index.knows(object) {
            // It went while its names were looked up.
            return Vec::new();
        }
        index.failed.remove(&uid);
        index.found.insert(uid, found);
        index.take_in(object)
    }

    /// Looking the object's names up has failed once more. Returns how often in a row it had before.
    pub fn not_found(&self, object: &ProjectMembership) -> u32 {
        let mut index = self.index();
        if !index.knows(object) {
            return 0;
        }
        let failures = index.failed.entry(object.uid().unwrap_or_default()).or_default();
        *failures += 1;
        *failures - 1
    }

    /// The object is gone. Returns the others on its target.
    pub fn lost(&self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        let key = key_of(object);
        let mut index = self.index();
        let seen = index.forget(&key);
        seen.map_or_else(Vec::new, |seen| index.leave(&seen, &key))
    }

    /// After a relist: objects that went unseen, by what `is_there` says of their names. Returns the others on their
    /// targets.
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

    /// Tells when something on `object`'s target changes: a pass that waits for its turn looks again then, so that a
    /// revocation doesn't wait behind a grant.
    pub fn knock(&self, object: &ProjectMembership) -> Arc<Notify> {
        let mut index = self.index();
        match index.kin(object).filter(|kin| index.objects.contains_key(kin)) {
            Some(kin) => index.knocks.entry(kin).or_default().clone(),
            None => Arc::default(),
        }
    }

    /// The declarations of `object`'s target through the same provider object that have a place, and itself.
    pub fn kin(&self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        let (index, own) = (self.index(), key_of(object));
        let providers = index.kin(object).and_then(|kin| index.objects.get(&kin));
        let places = providers.and_then(|providers| providers.get(&ProviderKey::named_by(object)));
        let Some(places) = places else {
            return Vec::new();
        };
        let itself = (!places.has_place(&own)).then_some(&own);
        places.placed().chain(itself).map(reference_to).collect()
    }

    /// The declarations of the same subject in the same project through other provider objects, by provider object.
    pub fn of_other_providers(
        &self,
        object: &ProjectMembership,
    ) -> Vec<(ProviderKey, Vec<ObjectRef<ProjectMembership>>)> {
        let (index, own) = (self.index(), ProviderKey::named_by(object));
        let providers = index.kin(object).and_then(|kin| index.objects.get(&kin));
        let others = providers.into_iter().flatten().filter(|(provider, _)| **provider != own);
        others.map(|(provider, places)| (provider.clone(), places.placed().map(reference_to).collect())).collect()
    }

    /// Notes whether an object's own pass found that it may be carried out: then its declaration has a claim to a place.
    /// Returns the declarations that are to look again.
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

    /// Whether an object is among the declarations of its target that are evaluated.
    pub fn has_place(&self, object: &ProjectMembership) -> bool {
        let index = self.index();
        let providers = index.kin(object).and_then(|kin| index.objects.get(&kin));
        let places = providers.and_then(|providers| providers.get(&ProviderKey::named_by(object)));
        places.is_none_or(|places| places.has_place(&key_of(object)))
    }

    /// The lock of those who may bring somebody of this name into a project: there is no target yet that they share.
    pub fn door(&self, endpoint: &str, project_id: &str, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.retain(|_, door| door.strong_count() > 0);
        let door = doors.entry((endpoint.to_owned(), project_id.to_owned(), name.to_owned())).or_default();
        let lock = door.upgrade().unwrap_or_default();
        *door = Arc::downgrade(&lock);
        lock
    }

    /// The lock and memory of a target, as one provider object (by its uid) sees it. Whoever holds the lock is the one pass
    /// that works on it there: whoever waits for a budget of its own making makes no other tenant wait.
    pub fn cell(&self, provider: &str, spot: &Spot) -> Cell {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry((provider.to_owned(), spot.clone())).or_default().clone()
    }

    /// Drops what is remembered of a target that nobody speaks of any more.
    pub fn forget(&self, provider: &str, spot: &Spot) {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).remove(&(provider.to_owned(), spot.clone()));
    }

    /// Drops what is remembered of targets that no object speaks of any more, or whose provider object or endpoint is not
    /// `in_use`, and of objects that are gone from a target. What a pass works on is kept.
    pub fn forget_unused(&self, in_use: impl Fn(&str, &Spot) -> bool) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, door| door.strong_count() > 0);
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|(provider, spot), cell| {
            if Arc::strong_count(cell) > 1 {
                return true;
            }
            let speak = self.index().speak_of(&Kin::of_target(&spot.target));
            if let Ok(mut memory) = cell.try_lock() {
                memory.forget_others(&speak);
            }
            !speak.is_empty() && in_use(provider, spot)
        });
    }

    /// The projects, project grants and kinds of subjects that objects speak of; ids are in lower case.
    pub fn projects(&self) -> HashSet<(String, Option<String>, SubjectKind)> {
        let index = self.index();
        index.objects.keys().map(|kin| (kin.project_id.clone(), kin.grant_id.clone(), kin.subject_kind)).collect()
    }

    /// The ids of all projects, project grants and subjects that objects speak of, in lower case.
    pub fn ids(&self) -> HashSet<String> {
        let index = self.index();
        let ids = |kin: &Kin| {
            let grant = kin.grant_id.as_ref().map(|grant| grant.to_ascii_lowercase());
            [Some(kin.project_id.clone()), Some(kin.subject_id.clone()), grant].into_iter().flatten()
        };
        index.objects.keys().flat_map(ids).collect()
    }

    /// How many entries there are in all that is remembered.
    pub fn len(&self) -> usize {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner).len();
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner).len();
        let index = self.index();
        let Index { objects, knocks, seen, found, failed } = &*index;
        cells + doors + objects.len() + knocks.len() + seen.len() + found.len() + failed.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.kin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Whether this very object was seen and is not gone.
    fn knows(&self, object: &ProjectMembership) -> bool {
        self.seen.get(&key_of(object)).is_some_and(|seen| Some(&seen.uid) == object.metadata.uid.as_ref())
    }

    /// The uids of the objects that speak of a target.
    fn speak_of(&self, kin: &Kin) -> BTreeSet<String> {
        let places = self.objects.get(kin).into_iter().flat_map(HashMap::values);
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

    fn kin(&self, object: &ProjectMembership) -> Option<Kin> {
        Kin::of(object, &self.pinned(object))
    }

    fn take_in(&mut self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        let (key, uid) = (key_of(object), object.uid().unwrap_or_default());
        let known = self.seen.get(&key);
        let judged = known.filter(|known| known.uid == uid).map(|known| known.may_count);
        let seen = Seen {
            kin: self.kin(object),
            provider: ProviderKey::named_by(object),
            print: print_of(object),
            created: object.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |created| created.0),
            holds_access: object
                .status
                .as_ref()
                .is_some_and(|s| !(s.managed_roles.is_empty() && s.carried_roles.is_empty())),
            // Whoever led until now said so.
            may_count: judged.unwrap_or_else(|| is_converged(object)),
            uid,
        };
        if known == Some(&seen) {
            return Vec::new();
        }
        // An object deleted and created again under its name may speak of another target.
        let moved = known.is_some_and(|known| (&known.kin, &known.provider) != (&seen.kin, &seen.provider));
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

    /// Gives a declaration the place that it has a claim to. `is_new`: what it says is. Returns the others that are to look
    /// again.
    fn place(&mut self, key: &Key, is_new: bool) -> Vec<ObjectRef<ProjectMembership>> {
        let Some((seen, kin)) = self.seen.get(key).and_then(|seen| Some((seen, seen.kin.clone()?))) else {
            return Vec::new();
        };
        let (provider, claim, created) = (seen.provider.clone(), seen.claim(), seen.created);
        self.changed(&kin, &provider, key, is_new, |places| places.put(key, claim, created))
    }

    fn leave(&mut self, seen: &Seen, key: &Key) -> Vec<ObjectRef<ProjectMembership>> {
        let Some(kin) = &seen.kin else {
            return Vec::new();
        };
        let others = self.changed(kin, &seen.provider, key, true, |places| places.remove(key));
        if let Some(providers) = self.objects.get_mut(kin) {
            providers.retain(|_, places| !places.is_empty());
            if providers.is_empty() {
                self.objects.remove(kin);
                self.knocks.remove(kin);
            }
        }
        others
    }

    /// Changes the places of a target. Returns the other declarations that are to look again: those that get or lose a place,
    /// and where something new is said (`is_new`) by one that has a place, all that have one.
    fn changed(
        &mut self,
        kin: &Kin,
        provider: &ProviderKey,
        key: &Key,
        is_new: bool,
        change: impl FnOnce(&mut Places),
    ) -> Vec<ObjectRef<ProjectMembership>> {
        let providers = self.objects.entry(kin.clone()).or_default();
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
        self.knock(kin);
        concerned.iter().map(reference_to).collect()
    }

    fn knock(&self, kin: &Kin) {
        if let Some(knock) = self.knocks.get(kin) {
            knock.notify_waiters();
        }
    }
}

/// Whether a status says that its object is carried out.
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

/// Of all that an object says, what the others on its target depend on: its spec, whether it is being deleted, and
/// what it has written down. A change to its conditions wakes nobody.
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
