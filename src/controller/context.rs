//! Everything that a pass needs, in one value that is handed down. No globals.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::api::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use tokio::sync::{Notify, mpsc};

use super::connections::{Connections, Link, ProviderKey};
use super::departed::{self, Departed};
use super::in_use::InUse;
use super::namespaces::Namespaces;
use super::outage::Outage;
use super::provider_object::Providers;
use super::reporting::Reports;
use super::targets::Targets;
use crate::api::ProjectMembership;
use crate::api::membership::{ManagedRole, ProviderKind};
use crate::clock::Clock;
use crate::controller::events::Events;
use crate::provider::quota::Quota;
use crate::telemetry::liveness::{Passes, name_of};
use crate::telemetry::{Metrics, Readiness};

/// Asks for a pass over one membership.
pub type Wake = mpsc::UnboundedSender<ObjectRef<ProjectMembership>>;

/// What a pass needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The memberships, as last watched.
    pub memberships: Store<ProjectMembership>,
    /// The provider objects of both kinds.
    pub providers: Providers,
    /// The namespaces' labels.
    pub namespaces: Namespaces,
    /// What we wrote.
    pub written: Written,
    /// Which provider objects are kept because memberships of them hold access.
    pub in_use: InUse,
    /// Whether the API server is available, and what waits until it is.
    pub outage: Arc<Outage>,
    /// Whose write to a membership is next: namespaces take turns.
    pub turns: Quota,
    /// Which objects share a target, and what is remembered of each target.
    pub targets: Targets,
    /// Objects that went without our leave.
    pub departed: Departed,
    /// The provider objects' connections.
    pub connections: Connections,
    /// Whether a list of memberships is being read: what it has shown so far is not in the store yet.
    pub listing: AtomicBool,
    /// The way to ask for a pass over a membership.
    pub wake: Wake,
    /// Which passes are due.
    pub passes: Passes,
    /// Whether the caches are filled.
    pub readiness: Readiness,
    /// Whether this replica has begun to act: it leads, and the caches were filled after it began to. Before that no pass
    /// does anything.
    pub begun: Readiness,
    /// The wall clock.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
    /// What was reported of each object that is not as it should be.
    pub reports: Reports,
    /// Notified when the number of memberships of a provider may have changed.
    pub membership_count: Notify,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// The wall clock. Every decision takes its instant from here and hands it on as a value.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The newest version that we know of: what the watch showed or what our own last write answered.
    pub fn latest(&self, reference: &ObjectRef<ProjectMembership>) -> Option<Arc<ProjectMembership>> {
        let watched = self.memberships.get(reference).map(|watched| self.written.newer(watched));
        watched.or_else(|| self.departed.get(reference))
    }

    /// The uids of all objects of all three kinds; `None`: a list is being read, and nobody knows which are gone.
    pub fn uids(&self) -> Option<HashSet<String>> {
        let listed = !self.listing.load(Ordering::Acquire);
        listed.then(|| {
            let memberships = self.memberships.state().into_iter().filter_map(|object| object.uid());
            self.providers.uids().into_iter().chain(memberships).collect()
        })
    }

    /// Whether a membership is there, one that departed included, or may be.
    pub fn may_be_there(&self, reference: &ObjectRef<ProjectMembership>) -> bool {
        self.listing.load(Ordering::Acquire)
            || self.memberships.get(reference).is_some()
            || self.departed.get(reference).is_some()
    }

    /// Whether two objects name different servers: then neither concerns the other, whatever ids they name.
    pub fn apart(&self, object: &ProjectMembership, other: &ObjectRef<ProjectMembership>) -> bool {
        let endpoint = |object: &ProjectMembership| match self.connections.get(&ProviderKey::named_by(object)) {
            Some(Link::Ready(connection)) => Some(connection.endpoint.clone()),
            Some(Link::Failed { .. }) | None => None,
        };
        let other = self.memberships.get(other).and_then(|other| endpoint(&other));
        matches!((endpoint(object), other), (Some(ours), Some(theirs)) if ours != theirs)
    }

    /// Asks for a pass over a membership.
    pub fn wake(&self, reference: &ObjectRef<ProjectMembership>) {
        if self.departed.wake(reference) {
            return;
        }
        let name = name_of(reference);
        self.passes.asked(&name);
        // In this order, since the object may go meanwhile: no pass runs over one that is gone.
        if self.memberships.get(reference).is_none() {
            self.passes.forget(&name);
        }
        // The receiver lives as long as the controller: without it there is nobody left to wake.
        let _ = self.wake.send(reference.clone());
    }
}

/// Our own writes, by the objects' uids.
///
/// The watch lags behind: without their answers a pass right after a write would take the object for what it was before,
/// and write it again. And what it then shows of them is no reason to look again: what fails would be tried again at
/// once, because its status says that it failed.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<String, Own>>);

#[derive(Debug, Default)]
struct Own {
    /// The resourceVersions that our writes made, as far as the watch has not shown a later one.
    made: BTreeSet<u64>,
    /// The last write's answer, until the watch shows it.
    object: Option<Arc<ProjectMembership>>,
    /// How many writes are in progress: several may overlap on one provider object.
    in_progress: usize,
    /// The resourceVersions that the watch has shown since the first of them began.
    shown: Vec<u64>,
    /// All roles that its status ever said to be managed, with their ids: when it was seen first, and in what we wrote. What somebody else
    /// wrote there since was forged.
    managed: Option<BTreeSet<(String, Option<String>)>>,
}

impl Written {
    /// A write to the object with this uid begins. It ends with [`Written::ended`].
    pub fn begins(&self, uid: &str) {
        self.lock().entry(uid.to_owned()).or_default().in_progress += 1;
    }

    /// A write has ended, and was answered with an object where it was carried out. Whether the watch has shown a change
    /// of another writer while writes were in progress, which no pass has read: the write that ends last returns it.
    pub fn ended(&self, uid: &str, answer: Option<&ObjectMeta>) -> bool {
        let mut written = self.lock();
        let own = written.entry(uid.to_owned()).or_default();
        own.made.extend(answer.map(revision));
        own.in_progress = own.in_progress.saturating_sub(1);
        if own.in_progress > 0 {
            return false;
        }
        let shown = std::mem::take(&mut own.shown);
        let by_others = shown.iter().any(|revision| !own.made.contains(revision));
        shown.into_iter().for_each(|revision| own.passed(revision));
        by_others
    }

    /// Remembers what a write answered.
    pub fn remember(&self, object: ProjectMembership) -> Arc<ProjectMembership> {
        let object = Arc::new(object);
        if let Some(uid) = object.uid() {
            let mut written = self.lock();
            let own = written.entry(uid).or_default();
            if object.spec.provider_ref.kind == ProviderKind::ClusterMembershipProvider {
                own.managed.get_or_insert_default().extend(managed(&object));
            }
            own.object = Some(object.clone());
        }
        object
    }

    /// Whether what the watch shows of an object is our own last write, or comes while one is under way: whoever made
    /// that one looks when it has ended.
    pub fn is_own(&self, shown: &ObjectMeta) -> bool {
        let mut written = self.lock();
        let Some(own) = shown.uid.as_ref().and_then(|uid| written.get_mut(uid)) else {
            return false;
        };
        let shown = revision(shown);
        if own.in_progress > 0 {
            own.shown.push(shown);
            return true;
        }
        let is_own = own.made.contains(&shown);
        own.passed(shown);
        is_own
    }

    /// Takes in what the watch shows of an object of a cluster's provider. `trusted`: whoever led until now wrote it.
    pub fn saw(&self, object: &ProjectMembership, trusted: bool) {
        if object.spec.provider_ref.kind != ProviderKind::ClusterMembershipProvider {
            return;
        }
        let mut written = self.lock();
        let own = written.entry(object.uid().unwrap_or_default()).or_default();
        if trusted || own.managed.is_none() {
            own.managed.get_or_insert_default().extend(managed(object));
        }
    }

    /// Whether a role of an object's record was there when it was seen first, or is one that we wrote down.
    pub fn knows(&self, object: &ProjectMembership, role: &str) -> bool {
        self.knows_any(object, |(known, _)| known == role)
    }

    /// What an object has written down as managed, as far as it is believed: an id that somebody else wrote there would
    /// make another's role its own.
    pub fn record(&self, object: &ProjectMembership) -> Vec<ManagedRole> {
        let mut record = object.status.as_ref().map(|status| status.managed_roles.clone()).unwrap_or_default();
        if object.spec.provider_ref.kind == ProviderKind::ClusterMembershipProvider {
            for role in record.iter_mut().filter(|role| role.role_id.is_some()) {
                if !self.knows_any(object, |(known, id)| (known, id) == (&role.role, &role.role_id)) {
                    role.role_id = None;
                }
            }
        }
        record
    }

    fn knows_any(&self, object: &ProjectMembership, is_it: impl Fn(&(String, Option<String>)) -> bool) -> bool {
        // What departed was looked at when it did.
        let departed = object.metadata.name.as_deref().is_some_and(departed::is_one);
        let written = self.lock();
        let own = object.uid().and_then(|uid| written.get(&uid));
        departed || own.and_then(|own| own.managed.as_ref()).is_some_and(|managed| managed.iter().any(is_it))
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Forgets objects that are gone though nobody saw them go, or that were written once more as they went. `there`: the
    /// uids of those that are there; it is called when nothing can be added meanwhile.
    pub fn forget_missing(&self, there: impl FnOnce() -> Option<HashSet<String>>) {
        let mut written = self.lock();
        if !written.is_empty()
            && let Some(there) = there()
        {
            written.retain(|uid, own| own.in_progress > 0 || there.contains(uid));
        }
    }

    /// Of how many objects something is remembered.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newer of what is shown of an object and what our own last write answered.
    pub fn newer(&self, watched: Arc<ProjectMembership>) -> Arc<ProjectMembership> {
        let Some(uid) = watched.uid() else {
            return watched;
        };
        let mut written = self.lock();
        let Some(own) = written.get_mut(&uid) else {
            return watched;
        };
        match &own.object {
            Some(ours) if revision(&ours.metadata) > revision(&watched.metadata) => ours.clone(),
            Some(_) | None => {
                own.object = None;
                watched
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Own>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Own {
    /// The watch has shown this resourceVersion, and shows no earlier one any more.
    fn passed(&mut self, shown: u64) {
        self.made.retain(|made| *made >= shown);
    }
}

/// The roles of an object's record, with their ids.
fn managed(object: &ProjectMembership) -> impl Iterator<Item = (String, Option<String>)> {
    let managed = object.status.iter().flat_map(|status| &status.managed_roles);
    managed.map(|managed| (managed.role.clone(), managed.role_id.clone()))
}

/// An object's resourceVersion as a number. Since Kubernetes 1.35 (KEP-5504) they may be compared so within a
/// resource; one that isn't a number counts as older than anything.
fn revision(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "7d0c";

    fn version(number: u64) -> ObjectMeta {
        ObjectMeta { uid: Some(UID.to_owned()), resource_version: Some(number.to_string()), ..ObjectMeta::default() }
    }

    /// Seen failing when a write that begins discards what the watch has shown during the one before.
    #[test]
    fn an_edit_during_overlapping_writes_is_noticed_when_the_last_of_them_ends() {
        let written = Written::default();
        written.begins(UID);
        assert!(written.is_own(&version(2)), "it is looked at when the writes have ended");
        written.begins(UID);
        assert!(!written.ended(UID, Some(&version(3))), "one is still in progress");
        assert!(written.is_own(&version(3)));
        assert!(written.ended(UID, Some(&version(4))), "version 2 is another writer's");
        assert!(written.is_own(&version(4)));
        assert!(!written.is_own(&version(5)));
    }

    #[test]
    fn the_answers_of_overlapping_writes_are_our_own_whenever_the_watch_shows_them() {
        let written = Written::default();
        written.begins(UID);
        written.begins(UID);
        assert!(written.is_own(&version(2)));
        assert!(!written.ended(UID, Some(&version(2))));
        assert!(!written.ended(UID, Some(&version(3))), "no other writer");
        assert!(written.is_own(&version(3)));
        written.begins(UID);
        assert!(!written.ended(UID, Some(&version(4))));
        written.begins(UID);
        assert!(written.is_own(&version(4)), "shown late, while the next write is in progress");
        assert!(!written.ended(UID, None), "and by nobody else");
        assert!(written.is_own(&version(4)), "a new list shows it once more");
        assert!(!written.is_own(&version(5)));
        assert!(!written.is_own(&version(4)), "what is older than another writer's change was replaced");
    }
}
