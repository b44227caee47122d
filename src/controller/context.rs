//! Everything that a pass needs, in one value that is handed down. No globals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::api::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;

use super::connections::Connections;
use super::targets::Targets;
use crate::api::{MembershipProvider, ProjectMembership};
use crate::events::Events;
use crate::telemetry::Metrics;

/// Asks for a pass over one membership.
pub type Wake = mpsc::UnboundedSender<ObjectRef<ProjectMembership>>;

/// What a pass needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The memberships, as last watched.
    pub memberships: Store<ProjectMembership>,
    /// The provider objects, as last watched.
    pub providers: Store<MembershipProvider>,
    /// What we wrote and the watch hasn't shown yet.
    pub written: Written,
    /// Which objects share a target, and what is remembered of each target.
    pub targets: Targets,
    /// The provider objects' connections.
    pub connections: Connections,
    /// The way to ask for a pass over a membership.
    pub wake: Wake,
    /// The way to ask for a check of a provider object.
    pub wake_provider: mpsc::UnboundedSender<ObjectRef<MembershipProvider>>,
    /// Where events go.
    pub events: Events,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// The wall clock. Every decision takes its instant from here and hands it on as a value.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// The newest version that we know of: what the watch showed or what our own last write answered.
    pub fn latest(&self, reference: &ObjectRef<ProjectMembership>) -> Option<Arc<ProjectMembership>> {
        self.memberships.get(reference).map(|watched| self.written.newer(watched))
    }

    /// Asks for a pass over a membership.
    pub fn wake(&self, reference: &ObjectRef<ProjectMembership>) {
        // The receiver lives as long as the controller: without it there is nobody left to wake.
        let _ = self.wake.send(reference.clone());
    }
}

/// The answers to our own writes, until the watch has caught up.
///
/// The watch lags behind: without this a pass right after a write would take the object for what it was before, and
/// write it again.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<String, Arc<ProjectMembership>>>);

impl Written {
    /// Remembers what a write answered.
    pub fn remember(&self, object: ProjectMembership) -> Arc<ProjectMembership> {
        let object = Arc::new(object);
        if let Some(uid) = object.uid() {
            self.lock().insert(uid, object.clone());
        }
        object
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn newer(&self, watched: Arc<ProjectMembership>) -> Arc<ProjectMembership> {
        let Some(uid) = watched.uid() else {
            return watched;
        };
        let mut written = self.lock();
        match written.get(&uid) {
            Some(ours) if revision(&ours.metadata) > revision(&watched.metadata) => ours.clone(),
            Some(_) => {
                written.remove(&uid);
                watched
            }
            None => watched,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<ProjectMembership>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An object's resourceVersion as a number. Since Kubernetes 1.35 (KEP-5504) they may be compared so within a
/// resource; one that isn't a number counts as older than anything.
fn revision(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}
