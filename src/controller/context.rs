//! Everything that a pass needs, in one value that is passed down. There are no globals.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connections::Connections;
use super::provider_key::ProviderKey;
use super::provider_object::Providers;
use super::queue::{Queue, SlotKind, TicketResult};
use super::state::in_use::InUse;
use super::state::memberships::Memberships;
use super::state::namespaces::NamespaceLabels;
use super::state::outage::Outage;
use super::state::own_writes::OwnWrites;
use super::state::reports::Reports;
use super::state::targets::{Targets, Unit};
use super::state::tombstones::{self, Tombstones};
use crate::api::ProjectMembership;
use crate::clock::Clock;
use crate::controller::events::Events;
use crate::core::member::Urgency;
use crate::core::snapshot::{is_finalized, urgency_of};
use crate::provider::http;
use crate::provider::quota::Quota;
use crate::telemetry::liveness::Passes;
use crate::telemetry::{Backlog, Metrics, Readiness};

/// What a pass needs.
pub struct Context {
    /// The client of the API server.
    pub client: Client,
    /// The HTTP client of the providers, for provider objects of a namespace.
    pub http: http::Client,
    /// The HTTP client for provider objects of the cluster, which may name any address.
    pub cluster_http: http::Client,
    /// The directory of the operator's own tokens.
    pub tokens: PathBuf,
    /// The memberships, as last watched.
    pub memberships: Arc<Memberships>,
    /// The provider objects of both kinds.
    pub providers: Providers,
    pub namespaces: NamespaceLabels,
    /// The operator's own writes.
    pub written: OwnWrites,
    /// Which provider objects are kept because their memberships hold access.
    pub in_use: InUse,
    /// Whether the API server is available, and what waits until it is.
    pub outage: Arc<Outage>,
    /// The slots of writes to memberships: namespaces are served in turn (round robin).
    pub write_slots: Quota,
    /// The slots of passes over targets that write to memberships, also round robin.
    pub pass_slots: Quota,
    /// Whether the process is near its memory limit: then grants begin with one of `grant_slots`, which are paused.
    pub sheds: AtomicBool,
    /// The slots for which grants wait near the memory limit.
    pub grant_slots: Quota,
    /// Which objects share a target, and the state of each target.
    pub targets: Targets,
    /// Objects that were deleted without the operator's release: their finalizer was removed by force.
    pub tombstones: Tombstones,
    /// The provider objects' connections.
    pub connections: Connections,
    /// Whether a list of memberships is in progress: what it has returned so far is not in the store yet.
    pub listing: AtomicBool,
    /// Which target or provider object is worked on next.
    pub queue: Queue<Arc<Unit>, TicketResult>,
    /// The running passes.
    pub passes: Passes,
    /// Whether this replica acts and its caches are filled, or is on standby and could begin to act.
    pub readiness: Readiness,
    /// Whether this replica has begun to act: it holds the lease, and its caches are filled. Before that, a pass does
    /// nothing.
    pub begun: Readiness,
    /// The wall clock.
    pub clock: Clock,
    /// The sender of Kubernetes events.
    pub events: Events,
    /// What was reported about each object that is not in its desired state.
    pub reports: Reports,
    /// Notified when the number of memberships of a provider may have changed.
    pub membership_count: Notify,
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// The wall clock's time. Every decision takes its time from here and passes it on as a value.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The slots of passes that write to memberships.
    pub fn slots(&self, kind: SlotKind) -> &Quota {
        match kind {
            SlotKind::Grant => &self.grant_slots,
            SlotKind::Write => &self.pass_slots,
        }
    }

    /// How long it is until `at` by the wall clock.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now())).unwrap_or_default()
    }

    /// The newest known version of an object: from the watch, or from the response to the operator's own last write.
    pub fn latest(&self, reference: &ObjectRef<ProjectMembership>) -> Option<Arc<ProjectMembership>> {
        let watched = self.written.newer(|| self.memberships.get(reference));
        watched.or_else(|| self.tombstones.get(reference))
    }

    /// The present version of this object; `None` if it was deleted, even if another object has its name.
    pub fn still_there(&self, object: &ProjectMembership) -> Option<Arc<ProjectMembership>> {
        self.latest(&ObjectRef::from_obj(object)).filter(|latest| latest.uid() == object.uid())
    }

    /// The present versions of the declarations of a target. An object that is being deleted and has nothing left to
    /// revoke counts as deleted, even if the watch does not show yet that the operator has released it.
    pub fn declarations(&self, unit: &Unit) -> Vec<Arc<ProjectMembership>> {
        let objects = self.targets.declarations(unit).into_iter().filter_map(|reference| self.latest(&reference));
        let is_there = |object: &Arc<ProjectMembership>| {
            let is_alive = object.metadata.deletion_timestamp.is_none();
            is_alive || is_finalized(object) && !self.tombstones.is_released(object)
        };
        objects.filter(is_there).collect()
    }

    /// Updates the index of targets with an object, as watched or written. Returns the units for which a pass is due.
    pub fn enter(&self, object: &ProjectMembership) -> BTreeSet<Unit> {
        let is_tombstone = object.metadata.name.as_deref().is_some_and(tombstones::is_one);
        let holds_access = is_tombstone || self.written.holds_access(&object.uid().unwrap_or_default());
        self.targets.enter(object, holds_access)
    }

    /// All memberships that name a provider object, with those whose finalizer was removed by force.
    pub fn memberships_of(&self, key: &ProviderKey) -> Vec<Arc<ProjectMembership>> {
        let named = self.targets.naming(key);
        let mut memberships: Vec<_> = named.iter().filter_map(|reference| self.latest(reference)).collect();
        memberships.extend(self.tombstones.of_provider(key));
        memberships
    }

    /// The uids of all objects of all three kinds; `None` while a list is in progress, because it is unknown then which
    /// objects were deleted.
    pub fn uids(&self) -> Option<HashSet<String>> {
        let listed = !self.listing.load(Ordering::Acquire);
        listed.then(|| self.providers.uids().into_iter().chain(self.targets.uids()).collect())
    }

    /// Drops what was reported about objects that no longer exist: those whose deletion was not watched, and those
    /// about which a pass reported something while they were being removed.
    pub fn forget_missing_reports(&self) {
        self.reports.forget_missing(&self.metrics, || {
            self.providers.uids().into_iter().chain(self.tombstones.uids()).chain(self.targets.uids()).collect()
        });
    }

    /// Whether a membership exists (as a tombstone, too), or may exist.
    pub fn may_be_there(&self, reference: &ObjectRef<ProjectMembership>) -> bool {
        self.listing.load(Ordering::Acquire)
            || self.memberships.contains(reference)
            || self.tombstones.get(reference).is_some()
    }

    /// Requests a pass over the target of a membership.
    pub fn wake(&self, reference: &ObjectRef<ProjectMembership>) {
        let urgency = self.latest(reference).map_or(Urgency::Grant, |object| urgency_of(&object, self.now()));
        self.wake_unit(self.targets.unit_of(reference), urgency);
    }

    /// Requests a pass over the target of each membership that names a provider object.
    pub fn wake_memberships_of(&self, key: &ProviderKey) {
        self.targets.naming(key).iter().for_each(|membership| self.wake(membership));
        self.tombstones.of_provider(key).iter().for_each(|object| self.wake(&ObjectRef::from_obj(object.as_ref())));
    }

    /// Requests a check of the provider object with this key.
    pub fn wake_provider(&self, key: &ProviderKey) {
        self.queue.wake(&Arc::new(Unit::Provider(key.clone())), Urgency::Grant);
    }

    /// Requests a check of the provider object with this key, or of all, if it is being deleted: the membership that
    /// kept it may have been deleted.
    pub fn wake_leaving(&self, key: Option<&ProviderKey>) {
        self.providers.leaving(key).iter().for_each(|key| self.wake_provider(key));
    }

    /// Requests passes.
    pub fn wake_units(&self, units: impl IntoIterator<Item = Unit>, urgency: Urgency) {
        units.into_iter().for_each(|unit| self.wake_unit(unit, urgency));
    }

    /// Requests a pass.
    pub fn wake_unit(&self, unit: Unit, urgency: Urgency) {
        self.queue.wake(&Arc::new(unit), urgency);
    }
}

impl Backlog for Context {
    fn oldest_due(&self, now: Instant) -> Duration {
        self.queue.oldest_due(now)
    }

    fn unstarted(&self, now: Instant) -> Option<(String, Duration)> {
        self.queue.unstarted(now).map(|(unit, late)| (unit.to_string(), late))
    }
}
