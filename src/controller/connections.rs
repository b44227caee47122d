//! The connections of the provider objects: each has the client with its credential, its quota and its rosters.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::provider_key::ProviderKey;
use super::provider_object::{ProviderObject, Providers};
use super::reachability::ServerReachability;
use crate::api::Reason;
use crate::api::provider::{AllowRule, Limits};
use crate::controller::roster::Rosters;
use crate::core::policy::ServerKind;
use crate::core::policy::resync::Resync;
use crate::core::status::ReadyCondition;
use crate::provider::AnyProvider;
use crate::provider::quota::{EndpointQuota, Quota};

/// The connection of a provider object whose credential was verified.
pub struct Connection {
    /// A number that no other connection of this process has.
    pub number: u64,
    /// The provider object.
    pub key: ProviderKey,
    /// The provider object's uid.
    pub uid: Arc<str>,
    /// The provider object as it was when the connection was created, with its rules.
    pub object: Arc<dyn ProviderObject>,
    /// When the provider object was created: of two provider objects of one kind on one target, the older takes
    /// precedence.
    pub created: Option<Timestamp>,
    /// The server's normalised URL.
    pub endpoint: Arc<str>,
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
            Some(Reason::Unreachable) => self.reachability.lock().unanswered(now),
            Some(_) | None => answered.is_some_and(|began| self.reachability.lock().answered(began)),
        }
    }
}

/// The state of a provider object's connection.
#[derive(Clone)]
pub enum ConnectionState {
    /// The credential was verified.
    Ready(Arc<Connection>),
    /// The provider object can't be used for grants.
    Failed {
        /// The provider object's condition: what is wrong and what to do.
        condition: ReadyCondition,
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

/// How long the connection of a deleted provider object is kept at least. The watch of the memberships may be behind
/// the watch that reported the deletion, so that a membership does not show yet that it holds access.
const KEPT: Duration = Duration::from_secs(60);

/// The connections of deleted provider objects, by key and endpoint, with the time of the deletion. The memberships may
/// hold access: the finalizer of the provider object may have been removed by force.
type RetiredConnections = HashMap<(ProviderKey, String), (Arc<Connection>, Instant)>;

/// All connections.
#[derive(Default)]
pub struct Connections {
    /// What is stored of each provider object.
    entries: Mutex<HashMap<ProviderKey, ProviderEntry>>,
    /// The number of connections created so far.
    made: AtomicU64,
    retired: Mutex<RetiredConnections>,
    budgets: Mutex<HashMap<(String, bool), EndpointQuota>>,
}

/// What is stored of a provider object.
#[derive(Default)]
struct ProviderEntry {
    /// `None` before the first check.
    state: Option<ConnectionState>,
    /// The newest connection, which may not be verified yet, and the fingerprint of what it was created from: the
    /// operator signs in only once with the same credential.
    newest: Option<(u64, Arc<Connection>)>,
    /// How many checks in a row have failed with the newest connection.
    failures: u32,
    /// Its rules at the last check.
    rules: Option<Vec<AllowRule>>,
}

impl Connections {
    /// The state of a provider object's connection; `None` before its first check.
    pub fn get(&self, key: &ProviderKey) -> Option<ConnectionState> {
        self.entries.lock().get(key).and_then(|entry| entry.state.clone())
    }

    /// The number of a new connection.
    pub fn next_number(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    /// Replaces the state of a provider object's connection.
    pub fn put(&self, key: ProviderKey, state: ConnectionState) {
        self.entries.lock().entry(key).or_default().state = Some(state);
    }

    /// The connection that was created last, if that was from what has this fingerprint.
    pub fn newest(&self, key: &ProviderKey, fingerprint: u64) -> Option<Arc<Connection>> {
        let entries = self.entries.lock();
        let (known, connection) = entries.get(key)?.newest.as_ref()?;
        (*known == fingerprint).then(|| connection.clone())
    }

    /// Keeps a new connection, and what it was created from.
    pub fn remember(&self, fingerprint: u64, connection: &Arc<Connection>) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(connection.key.clone()).or_default();
        (entry.newest, entry.failures) = (Some((fingerprint, connection.clone())), 0);
    }

    /// Records a failed check. Returns how many have failed in a row before it.
    pub fn failed(&self, key: &ProviderKey) -> u32 {
        match self.entries.lock().get_mut(key).filter(|entry| entry.newest.is_some()) {
            Some(entry) => {
                entry.failures += 1;
                entry.failures - 1
            }
            // Its credential was never read.
            None => 3,
        }
    }

    /// Records a check that succeeded.
    pub fn succeeded(&self, key: &ProviderKey) {
        if let Some(entry) = self.entries.lock().get_mut(key) {
            entry.failures = 0;
        }
    }

    /// Whether a provider object has a connection to this endpoint.
    pub fn leads_to(&self, key: &ProviderKey, endpoint: &str) -> bool {
        let connection = self.get(key).and_then(ConnectionState::usable);
        connection.is_some_and(|connection| &*connection.endpoint == endpoint)
    }

    /// Drops a provider object that was deleted. Its connection is kept for the ends and revocations of memberships that
    /// may still hold access.
    pub fn forget(&self, key: &ProviderKey) {
        let entry = self.entries.lock().remove(key);
        // Not the newest connection, which may not be verified yet.
        if let Some(connection) = entry.and_then(|entry| entry.state).and_then(ConnectionState::usable) {
            let endpoint = connection.endpoint.to_string();
            self.retired.lock().insert((key.clone(), endpoint), (connection, Instant::now()));
        }
    }

    /// Drops the connection of this name if it belongs to another object than the one with this uid.
    pub fn forget_others(&self, key: &ProviderKey, uid: &str) {
        let is_other = |entry: &ProviderEntry| entry.newest.as_ref().is_some_and(|(_, newest)| &*newest.uid != uid);
        let other = self.entries.lock().get(key).is_some_and(is_other);
        if other {
            self.forget(key);
        }
    }

    /// Drops the provider objects that no longer exist, even if no watch reported their deletion or a check that was in
    /// progress then has left a connection. Returns them.
    pub fn forget_missing(&self, providers: &Providers) -> Vec<ProviderKey> {
        let mut missing = self.known();
        missing.retain(|key| providers.find(key).is_none());
        missing.iter().for_each(|key| self.forget(key));
        missing
    }

    /// The connection that is kept of a deleted provider object with this key and endpoint.
    pub fn retired(&self, key: &ProviderKey, endpoint: &str) -> Option<Arc<Connection>> {
        self.retired.lock().get(&(key.clone(), endpoint.to_owned())).map(|(connection, _)| connection.clone())
    }

    /// Drops the retired connections for which `is_needed`, called with key and endpoint, returns `false` a minute after
    /// the deletion or later.
    pub fn keep_retired(&self, is_needed: impl Fn(&ProviderKey, &str) -> bool) {
        let is_due = |since: &Instant| since.elapsed() >= KEPT;
        let retired = self.retired.lock();
        let due: Vec<_> = retired.iter().filter(|(_, (_, since))| is_due(since)).map(|(of, _)| of.clone()).collect();
        // Not under the lock: it looks at all memberships.
        drop(retired);
        let ended: HashSet<_> = due.into_iter().filter(|(key, endpoint)| !is_needed(key, endpoint)).collect();
        self.retired.lock().retain(|of, (_, since)| !is_due(since) || !ended.contains(of));
    }

    /// Stores a provider object's rules. Returns whether they differ from those stored before; `false` if there were
    /// none.
    pub fn are_new(&self, key: &ProviderKey, rules: Option<&[AllowRule]>) -> bool {
        let Some(rules) = rules else { return false };
        let before = self.entries.lock().entry(key.clone()).or_default().rules.replace(rules.to_vec());
        before.is_some_and(|before| before != rules)
    }

    /// A provider object's quota at a server. Requests are counted together for all provider objects that name the
    /// server as the same kind of server.
    pub fn quota(&self, endpoint: &str, one_writer: bool, key: &ProviderKey, limits: Limits) -> Quota {
        let mut budgets = self.budgets.lock();
        let budget = budgets.entry((endpoint.to_owned(), one_writer)).or_insert_with(|| EndpointQuota::new(one_writer));
        // Still under the lock, so that the endpoint can't be removed as unused in between.
        budget.quota(key.to_string(), limits)
    }

    /// Drops the endpoints that no provider object uses any more, as soon as none of the requests sent to them counts.
    pub fn forget_unused_endpoints(&self) {
        self.budgets.lock().retain(|_, budget| !budget.is_unused());
    }

    /// The number of endpoints for which requests are counted.
    pub fn endpoints(&self) -> usize {
        self.budgets.lock().len()
    }

    /// The provider objects about which something is stored.
    pub fn known(&self) -> Vec<ProviderKey> {
        self.entries.lock().keys().cloned().collect()
    }

    /// All connections, including those that only serve ends and revocations.
    pub fn usable(&self) -> Vec<Arc<Connection>> {
        self.entries.lock().values().filter_map(|entry| entry.state.clone()?.usable()).collect()
    }
}
