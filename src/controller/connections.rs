//! The connections of the provider objects: each has the client with its credential, its quota and its rosters.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::provider_key::ProviderKey;
use super::provider_object::NamedProvider;
use super::reachability::{ReachabilityChange, ServerReachability};
use crate::api::Reason;
use crate::api::provider::{AllowRule, Limits};
use crate::controller::roster::Rosters;
use crate::core::policy::ServerKind;
use crate::core::policy::resync::Resync;
use crate::provider::AnyProvider;
use crate::provider::quota::{EndpointQuota, Quota};

/// The connection of a provider object whose credential was verified.
pub struct Connection {
    /// A number that no other connection of this process has.
    pub number: u64,
    /// The provider object.
    pub key: ProviderKey,
    /// The provider object's uid.
    pub uid: String,
    /// When the provider object was created: of two provider objects of one kind on one target, the older takes
    /// precedence.
    pub created: Option<Timestamp>,
    /// The server's normalised URL.
    pub endpoint: String,
    /// The kind of server, with the facts about it that a membership depends on.
    pub server: ServerKind,
    /// The client.
    pub provider: AnyProvider,
    /// Its share of the endpoint's quota.
    pub quota: Quota,
    /// What was observed through it.
    pub rosters: Rosters,
    /// The resync: how long drift may remain.
    pub resync: Resync,
    /// Whether the server can be reached.
    pub reachability: Mutex<ServerReachability>,
}

impl Connection {
    /// Notes the result of a pass's requests: why the pass failed, or that the server responded to a request that began
    /// at `answered`. Returns whether the provider must be checked now.
    pub fn is_to_be_checked(&self, failure: Option<Reason>, answered: Option<Instant>, now: Instant) -> bool {
        match failure {
            // The credential was valid at the last check.
            Some(Reason::Unauthorized) => true,
            Some(Reason::Unreachable) => self.reachability().unanswered(now),
            Some(_) | None => answered.is_some_and(|began| self.reachability().answered(began)),
        }
    }

    /// Records that a check reached the server.
    pub fn found(&self, now: Instant) -> ReachabilityChange {
        self.reachability().found(now)
    }

    /// Records that a check did not reach the server.
    pub fn not_found(&self, now: Instant) -> ReachabilityChange {
        self.reachability().not_found(now);
        ReachabilityChange::AsBefore
    }

    fn reachability(&self) -> MutexGuard<'_, ServerReachability> {
        self.reachability.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a provider object's connection.
#[derive(Clone)]
pub enum ConnectionState {
    /// The credential was verified.
    Ready(Arc<Connection>),
    /// The provider object can't be used for grants.
    Failed {
        /// The reason for the provider object's condition.
        reason: Reason,
        /// What is wrong and what to do.
        message: String,
        /// The connection with the credential that was read last, if no newer one can be read: ends and revocations are
        /// still carried out through it.
        last: Option<Arc<Connection>>,
    },
}

impl ConnectionState {
    /// The connection that ends and revocations can be carried out with.
    pub fn usable(self) -> Option<Arc<Connection>> {
        match self {
            Self::Ready(connection) => Some(connection),
            Self::Failed { last, .. } => last,
        }
    }
}

/// The data that is kept about a deleted provider object, because its memberships may hold access: its finalizer may
/// have been removed by force.
#[derive(Clone)]
pub struct RetiredProvider {
    /// The provider object as it was when the connection was created, with its rules.
    pub named: NamedProvider,
    pub connection: Arc<Connection>,
    /// The time of the deletion.
    pub since: Instant,
}

/// How long the connection of a deleted provider object is kept at least. The watch of the memberships may be behind
/// the watch that reported the deletion, so that a membership does not show yet that it holds access.
const KEPT: Duration = Duration::from_secs(60);

/// All connections.
#[derive(Default)]
pub struct Connections {
    links: Mutex<HashMap<ProviderKey, ConnectionState>>,
    /// The number of connections created so far.
    made: AtomicU64,
    /// Those of deleted provider objects, by key and endpoint.
    retired: Mutex<HashMap<(ProviderKey, String), RetiredProvider>>,
    budgets: Mutex<HashMap<(String, bool), EndpointQuota>>,
    /// Each provider object's rules at its last check.
    rules: Mutex<HashMap<ProviderKey, Vec<AllowRule>>>,
}

impl Connections {
    /// The state of a provider object's connection; `None` before its first check.
    pub fn get(&self, key: &ProviderKey) -> Option<ConnectionState> {
        self.links().get(key).cloned()
    }

    /// The number of a new connection.
    pub fn next_number(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    /// Replaces the state of a provider object's connection.
    pub fn put(&self, key: ProviderKey, link: ConnectionState) {
        self.links().insert(key, link);
    }

    /// Whether a provider object has a connection to this endpoint.
    pub fn leads_to(&self, key: &ProviderKey, endpoint: &str) -> bool {
        let connection = self.get(key).and_then(ConnectionState::usable);
        connection.is_some_and(|connection| connection.endpoint == endpoint)
    }

    /// Removes a provider object that was deleted.
    pub fn remove(&self, key: &ProviderKey) {
        self.links().remove(key);
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Keeps the connection of a deleted provider object: ends and revocations are carried out through it.
    pub fn retire(&self, key: &ProviderKey, retired: RetiredProvider) {
        let endpoint = retired.connection.endpoint.clone();
        self.all_retired().insert((key.clone(), endpoint), retired);
    }

    /// The data that is kept about a provider object with this key and endpoint.
    pub fn retired(&self, key: &ProviderKey, endpoint: &str) -> Option<RetiredProvider> {
        self.all_retired().get(&(key.clone(), endpoint.to_owned())).cloned()
    }

    /// Drops the retired connections for which `is_needed`, called with key and endpoint, returns `false` a minute after
    /// the deletion or later.
    pub fn keep_retired(&self, is_needed: impl Fn(&ProviderKey, &str) -> bool) {
        let settled = |(key, retired): (&(ProviderKey, String), &RetiredProvider)| {
            (retired.since.elapsed() >= KEPT).then(|| key.clone())
        };
        let candidates: Vec<(ProviderKey, String)> = self.all_retired().iter().filter_map(settled).collect();
        for (key, endpoint) in candidates {
            if !is_needed(&key, &endpoint) {
                self.all_retired().remove(&(key, endpoint));
            }
        }
    }

    fn all_retired(&self) -> MutexGuard<'_, HashMap<(ProviderKey, String), RetiredProvider>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a provider object's rules. Returns whether they differ from those stored before; `false` if there were
    /// none.
    pub fn are_new(&self, key: &ProviderKey, rules: Option<&[AllowRule]>) -> bool {
        let Some(rules) = rules else { return false };
        let mut known = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key.clone(), rules.to_vec()).is_some_and(|known| known != rules)
    }

    /// A provider object's quota at a server. Requests are counted together for all provider objects that name the
    /// server as the same kind of server.
    pub fn quota(&self, endpoint: &str, one_writer: bool, key: &ProviderKey, limits: Limits) -> Quota {
        let mut budgets = self.budgets();
        let budget = budgets.entry((endpoint.to_owned(), one_writer)).or_insert_with(|| EndpointQuota::new(one_writer));
        // Still under the lock, so that the endpoint can't be removed as unused in between.
        budget.quota(key.to_string(), limits)
    }

    /// Drops the endpoints that no provider object uses any more, as soon as none of the requests sent to them counts.
    pub fn forget_unused_endpoints(&self) {
        self.budgets().retain(|_, budget| !budget.is_unused());
    }

    /// The number of endpoints for which requests are counted.
    pub fn endpoints(&self) -> usize {
        self.budgets().len()
    }

    /// The provider objects about which something is stored.
    pub fn known(&self) -> Vec<ProviderKey> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        self.links().keys().chain(rules.keys()).cloned().collect()
    }

    /// All connections, including those that only serve ends and revocations.
    pub fn usable(&self) -> Vec<Arc<Connection>> {
        self.links().values().cloned().filter_map(ConnectionState::usable).collect()
    }

    fn budgets(&self) -> MutexGuard<'_, HashMap<(String, bool), EndpointQuota>> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, HashMap<ProviderKey, ConnectionState>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
