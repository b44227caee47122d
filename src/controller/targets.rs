//! The target as the unit of work: which objects speak of it, one pass at a time, and what is remembered between passes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::api::{ProjectMembership, SubjectKind};
use crate::member::{Target, Term};

/// What objects must share to share a target. The provider is left out: which server it stands for may not be known
/// yet, and two provider objects of one server must find each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kin {
    project_id: String,
    subject_kind: SubjectKind,
    subject_id: String,
}

impl Kin {
    fn of(object: &ProjectMembership) -> Self {
        Self {
            project_id: object.spec.project.id.to_ascii_lowercase(),
            subject_kind: object.spec.subject.kind,
            subject_id: object.spec.subject.id.to_ascii_lowercase(),
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
    /// What was granted on an object's word without having been written down, until its status speaks of it: an edit in
    /// between may leave nothing of it in the spec.
    pub granted: BTreeMap<String, Granted>,
    /// How often in a row each object's pass has failed.
    pub failures: HashMap<String, u32>,
    /// A list that began no earlier than this was asked for, and failed.
    pub unanswered: Option<Instant>,
    /// Writes in a row that were undone before they were confirmed.
    pub contested: u32,
}

/// What an object's spec alone told.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The generation of that spec.
    pub generation: i64,
    /// All that the object manages with it.
    pub record: BTreeMap<String, Term>,
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
    cells: Mutex<HashMap<Spot, Arc<tokio::sync::Mutex<Memory>>>>,
}

#[derive(Debug, Default)]
struct Index {
    objects: HashMap<Kin, BTreeSet<Key>>,
    knocks: HashMap<Kin, Arc<Notify>>,
    seen: HashMap<Key, Seen>,
}

type Key = (String, String);

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kin: Kin,
    print: u64,
}

impl Targets {
    /// Takes in what the watch shows of an object. Returns the others on its target if they should look again.
    pub fn saw(&self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        let key = key_of(object);
        let seen = Seen { kin: Kin::of(object), print: print_of(object) };
        let mut index = self.index();
        let known = index.seen.get(&key);
        if known == Some(&seen) {
            return Vec::new();
        }
        // An object deleted and created again under its name may speak of another target.
        let moved = known.filter(|known| known.kin != seen.kin).map(|known| known.kin.clone());
        if let Some(moved) = moved {
            index.drop_from(&moved, &key);
        }
        index.objects.entry(seen.kin.clone()).or_default().insert(key.clone());
        let kin = seen.kin.clone();
        index.seen.insert(key.clone(), seen);
        index.knock(&kin);
        index.others(&kin, &key)
    }

    /// The object is gone. Returns the others on its target.
    pub fn lost(&self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        let (key, kin) = (key_of(object), Kin::of(object));
        let mut index = self.index();
        index.seen.remove(&key);
        index.knock(&kin);
        index.drop_from(&kin, &key);
        index.others(&kin, &key)
    }

    /// After a relist: objects that went unseen, by what `is_there` says of their names. Returns the others on their
    /// targets.
    pub fn lost_unseen(
        &self,
        is_there: impl Fn(&ObjectRef<ProjectMembership>) -> bool,
    ) -> Vec<ObjectRef<ProjectMembership>> {
        let mut index = self.index();
        let gone: Vec<(Key, Kin)> = (index.seen.iter())
            .filter(|((namespace, name), _)| !is_there(&ObjectRef::new(name).within(namespace)))
            .map(|(key, seen)| (key.clone(), seen.kin.clone()))
            .collect();
        let mut others = Vec::new();
        for (key, kin) in gone {
            index.seen.remove(&key);
            index.knock(&kin);
            index.drop_from(&kin, &key);
            others.extend(index.others(&kin, &key));
        }
        others
    }

    /// Tells when something on `object`'s target changes: a pass that waits for its turn looks again then, so that a
    /// revocation doesn't wait behind a grant.
    pub fn knock(&self, object: &ProjectMembership) -> Arc<Notify> {
        self.index().knocks.entry(Kin::of(object)).or_default().clone()
    }

    /// All objects that may share `object`'s target, itself included.
    pub fn kin(&self, object: &ProjectMembership) -> Vec<ObjectRef<ProjectMembership>> {
        let index = self.index();
        let keys = index.objects.get(&Kin::of(object));
        keys.into_iter().flatten().map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
    }

    /// The lock and memory of a target. Whoever holds the lock is the one pass that works on it.
    pub fn cell(&self, spot: &Spot) -> Arc<tokio::sync::Mutex<Memory>> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry(spot.clone()).or_default().clone()
    }

    /// Drops what is remembered of a target that nobody speaks of any more.
    pub fn forget(&self, spot: &Spot) {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).remove(spot);
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.kin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn knock(&self, kin: &Kin) {
        if let Some(knock) = self.knocks.get(kin) {
            knock.notify_waiters();
        }
    }

    fn drop_from(&mut self, kin: &Kin, key: &Key) {
        if let Some(keys) = self.objects.get_mut(kin) {
            keys.remove(key);
            if keys.is_empty() {
                self.objects.remove(kin);
                self.knocks.remove(kin);
            }
        }
    }

    fn others(&self, kin: &Kin, key: &Key) -> Vec<ObjectRef<ProjectMembership>> {
        let keys = self.objects.get(kin).into_iter().flatten();
        keys.filter(|other| *other != key).map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
    }
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
        (&role.role, role.start_time, role.expiration_time).hash(&mut hasher);
    }
    hasher.finish()
}
