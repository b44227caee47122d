//! The provider objects' connections: the client with its credential, its budget and its rosters.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::membership::ProviderKind;
use crate::api::{MembershipProvider, ProjectMembership, Reason};
use crate::policy::Server;
use crate::provider::AnyProvider;
use crate::provider::budget::{Budget, Lane};
use crate::roster::Rosters;

/// A provider object's key: kind, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderKey {
    /// The kind.
    pub kind: ProviderKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ProviderKey {
    /// The provider that a membership names.
    pub fn named_by(object: &ProjectMembership) -> Self {
        Self {
            kind: object.spec.provider_ref.kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.spec.provider_ref.name.clone(),
        }
    }

    /// The key of a provider object.
    pub fn of(object: &MembershipProvider) -> Self {
        Self {
            kind: ProviderKind::MembershipProvider,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

impl std::fmt::Display for ProviderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name } = self;
        write!(f, "{kind:?}/{namespace}/{name}")
    }
}

/// A provider object whose credential was verified.
pub struct Connection {
    /// The provider object.
    pub key: ProviderKey,
    /// Its uid.
    pub uid: String,
    /// When it was created: of two provider objects on one target the older leads.
    pub created: Option<Timestamp>,
    /// The server's normalised URL.
    pub endpoint: String,
    /// The kind of server, and what a membership needs to know of it.
    pub server: Server,
    /// The client.
    pub provider: AnyProvider,
    /// Its share of the endpoint's budget.
    pub lane: Lane,
    /// What was observed through it.
    pub rosters: Rosters,
    /// How long a change by hand may live where the membership doesn't say.
    pub resync: Duration,
}

/// Where a provider object stands.
#[derive(Clone)]
pub enum Link {
    /// Verified.
    Ready(Arc<Connection>),
    /// Not usable.
    Failed {
        /// Why, for the provider's condition.
        reason: Reason,
        /// What is wrong and what to do.
        message: String,
    },
}

/// All connections.
#[derive(Default)]
pub struct Connections {
    links: Mutex<HashMap<ProviderKey, Link>>,
    budgets: Mutex<HashMap<(String, bool), Budget>>,
}

impl Connections {
    /// Where a provider object stands; `None`: it wasn't looked at yet.
    pub fn get(&self, key: &ProviderKey) -> Option<Link> {
        self.links().get(key).cloned()
    }

    /// Puts a provider object's new standing in place of the old one.
    pub fn put(&self, key: ProviderKey, link: Link) {
        self.links().insert(key, link);
    }

    /// The provider object is gone.
    pub fn remove(&self, key: &ProviderKey) {
        self.links().remove(key);
    }

    /// The budget of a server, shared by all provider objects that name it as the same kind of server.
    pub fn budget(&self, endpoint: &str, one_writer: bool) -> Budget {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.entry((endpoint.to_owned(), one_writer)).or_insert_with(|| Budget::new(one_writer)).clone()
    }

    fn links(&self) -> MutexGuard<'_, HashMap<ProviderKey, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
