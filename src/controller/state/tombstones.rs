//! The objects that carry the operator's finalizer, and the tombstones of those that were deleted without it: see
//! [`tombstones`](crate::controller::tombstones).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::api::membership::ProjectMembershipStatus;
use crate::api::{FINALIZER, ProjectMembership};
use crate::controller::provider_key::ProviderKey;
use crate::core::snapshot::is_finalized;

/// Separates an object's name from its uid in a tombstone's name. No name of a real object contains it.
pub const MARK: char = '/';
/// The tombstones, and the objects that carry the operator's finalizer.
#[derive(Debug, Default)]
pub struct Tombstones(Mutex<TombstoneState>);

/// What is known about finalizers.
#[derive(Debug, Default)]
pub struct TombstoneState {
    /// Objects that were observed with the operator's finalizer, by uid.
    pub holds: HashMap<String, FinalizerState>,
    /// The objects with the operator's finalizer that existed before the list in progress.
    pub before: Vec<Arc<ProjectMembership>>,
    /// The tombstones, until nothing of them is left to revoke.
    pub objects: HashMap<ObjectRef<ProjectMembership>, Tombstone>,
}

/// An object that appears to have been deleted without the operator's release.
#[derive(Clone, Debug)]
pub struct Tombstone {
    pub object: Arc<ProjectMembership>,
    /// When it becomes a declaration of its target; `None`: its deletion is not confirmed yet.
    pub since: Option<Instant>,
}

/// What is known about the finalizer of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalizerState {
    /// The object is expected to have the operator's finalizer.
    Ours,
    /// The operator has removed the finalizer, or is about to.
    Released,
}

impl TombstoneState {
    /// Whether the object is expected to have the operator's finalizer.
    pub fn misses(&self, uid: &str) -> bool {
        self.holds.get(uid) == Some(&FinalizerState::Ours)
    }
}

impl Tombstones {
    /// Records that the object has the operator's finalizer.
    pub fn holds(&self, uid: &str) {
        self.lock().holds.entry(uid.to_owned()).or_insert(FinalizerState::Ours);
    }

    /// Records that the operator is about to remove its finalizer, so that the object's deletion is expected, or that
    /// this has failed.
    pub fn set(&self, uid: &str, state: FinalizerState) {
        if let Some(held) = self.lock().holds.get_mut(uid) {
            *held = state;
        }
    }

    /// Drops the finalizers of objects that no longer exist. `there`: as for
    /// [`OwnWrites::forget_missing`](super::own_writes::OwnWrites::forget_missing).
    pub fn forget_missing(&self, there: impl FnOnce() -> Option<HashSet<String>>) {
        let mut state = self.lock();
        if !state.holds.is_empty()
            && let Some(there) = there()
        {
            state.holds.retain(|uid, _| there.contains(uid));
        }
    }

    /// The number of objects with a recorded finalizer.
    pub fn held(&self) -> usize {
        self.lock().holds.len()
    }

    /// Whether another writer removed the operator's finalizer from an object that isn't being deleted.
    pub fn is_stripped(&self, object: &ProjectMembership) -> bool {
        let lives = object.metadata.deletion_timestamp.is_none() && !is_finalized(object);
        lives && object.uid().is_some_and(|uid| self.lock().misses(&uid))
    }

    /// Whether the operator has removed its finalizer from an object, or is about to. A tombstone is released by being
    /// dropped.
    pub fn is_released(&self, object: &ProjectMembership) -> bool {
        let is_tombstone = object.metadata.name.as_deref().is_some_and(is_one);
        !is_tombstone && object.uid().is_some_and(|uid| self.lock().holds.get(&uid) == Some(&FinalizerState::Released))
    }

    /// The tombstone with this reference, if there is one.
    pub fn get(&self, reference: &ObjectRef<ProjectMembership>) -> Option<Arc<ProjectMembership>> {
        self.find(reference).map(|tombstone| tombstone.object)
    }

    /// As [`Tombstones::get`], with its state.
    pub fn find(&self, reference: &ObjectRef<ProjectMembership>) -> Option<Tombstone> {
        self.lock().objects.get(reference).cloned()
    }

    /// The deletion is confirmed, and the tombstone becomes a declaration of its target then.
    pub fn is_declaration(&self, object: &ProjectMembership, since: Instant) {
        if let Some(kept) = self.lock().objects.get_mut(&ObjectRef::from_obj(object)) {
            kept.since = Some(since);
        }
    }

    /// Replaces a tombstone's status. Returns `None` if the object is not a tombstone.
    pub fn set_status(
        &self,
        object: &ProjectMembership,
        status: &ProjectMembershipStatus,
    ) -> Option<Arc<ProjectMembership>> {
        let mut state = self.lock();
        let kept = &mut state.objects.get_mut(&ObjectRef::from_obj(object))?.object;
        Arc::make_mut(kept).status = Some(status.clone());
        Some(kept.clone())
    }

    /// The tombstones that name a provider object: it must not be released before them.
    pub fn of_provider(&self, key: &ProviderKey) -> Vec<Arc<ProjectMembership>> {
        let state = self.lock();
        let objects = state.objects.values().map(|kept| kept.object.clone());
        objects.filter(|object| ProviderKey::named_by(object) == *key).collect()
    }

    /// The uids of the tombstones.
    pub fn uids(&self) -> Vec<String> {
        self.lock().objects.values().filter_map(|kept| kept.object.uid()).collect()
    }

    /// The state.
    pub fn lock(&self) -> MutexGuard<'_, TombstoneState> {
        self.0.lock()
    }
}

/// The endpoint for which [`leave_behind`](crate::controller::tombstones::leave_behind) created this tombstone; `None` if it did not create the object.
pub fn left_at(object: &ProjectMembership) -> Option<String> {
    object.metadata.name.as_deref()?.splitn(3, MARK).nth(2).map(str::to_owned)
}

/// The uid that a tombstone's object had.
pub fn uid_of(uid: &str) -> &str {
    uid.split_once(MARK).map_or(uid, |(uid, _)| uid)
}

/// Whether this name is a tombstone's.
pub fn is_one(name: &str) -> bool {
    name.contains(MARK)
}

/// The name that a tombstone's object had.
pub fn name_of(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(name, _)| name)
}

/// The object as one that is being deleted and that has the operator's finalizer.
pub fn as_kept(object: &ProjectMembership, now: Timestamp) -> ProjectMembership {
    let mut kept = object.clone();
    let uid = object.uid().unwrap_or_default();
    kept.metadata.name = Some(format!("{}{MARK}{uid}", object.name_any()));
    if !is_finalized(object) {
        kept.finalizers_mut().push(FINALIZER.to_owned());
    }
    if object.metadata.deletion_timestamp.is_none() {
        // Deleting an object that has a finalizer raises its generation.
        kept.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
        kept.metadata.deletion_timestamp = Some(Time(now));
    }
    kept
}
