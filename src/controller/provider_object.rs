//! A common view of the two kinds of provider objects.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use futures::future;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch as signal};

use super::provider_key::ProviderKey;
use super::references::ReferenceScope;
use super::stored::{Complete, Stored};
use crate::api::membership::ProviderKind;
use crate::api::provider::AllowRule;
use crate::api::{ClusterMembershipProvider, MembershipProvider, MembershipProviderSpec, MembershipProviderStatus};

/// A provider object of either kind.
pub trait ProviderObject:
    Resource<DynamicType = ()> + DeserializeOwned + Complete + Clone + Debug + Send + Sync + 'static
{
    /// The kind of the object.
    const KIND: ProviderKind;

    /// The part of the spec that both kinds have.
    fn provider(&self) -> &MembershipProviderSpec;

    /// The rules for its memberships; `None`: only the rights of its credential limit them.
    fn rules(&self) -> Option<&[AllowRule]>;

    /// The status, if there is one.
    fn provider_status(&self) -> Option<&MembershipProviderStatus>;

    /// The location of the objects that it refers to. `tokens`: the folder of the operator's own tokens.
    fn home<'a>(&'a self, tokens: &'a Path) -> ReferenceScope<'a>;

    /// The API with which it is written.
    fn api(&self, client: Client) -> Api<Stored<Self>>;

    /// The view that its memberships have of it.
    fn named(&self) -> NamedProvider;

    /// The key by which memberships refer to it.
    fn key(&self) -> ProviderKey {
        let namespace = self.namespace().unwrap_or_default();
        ProviderKey { kind: Self::KIND, namespace, name: self.name_any() }
    }
}

impl ProviderObject for MembershipProvider {
    const KIND: ProviderKind = ProviderKind::MembershipProvider;

    fn provider(&self) -> &MembershipProviderSpec {
        &self.spec
    }

    fn rules(&self) -> Option<&[AllowRule]> {
        None
    }

    fn provider_status(&self) -> Option<&MembershipProviderStatus> {
        self.status.as_ref()
    }

    fn home<'a>(&'a self, _: &'a Path) -> ReferenceScope<'a> {
        ReferenceScope::Namespace(self.metadata.namespace.as_deref().unwrap_or_default())
    }

    fn api(&self, client: Client) -> Api<Stored<Self>> {
        Api::namespaced(client, self.metadata.namespace.as_deref().unwrap_or_default())
    }

    fn named(&self) -> NamedProvider {
        NamedProvider::OfNamespace(Arc::new(self.clone()))
    }
}

impl ProviderObject for ClusterMembershipProvider {
    const KIND: ProviderKind = ProviderKind::ClusterMembershipProvider;

    fn provider(&self) -> &MembershipProviderSpec {
        &self.spec.provider
    }

    fn rules(&self) -> Option<&[AllowRule]> {
        Some(&self.spec.allow)
    }

    fn provider_status(&self) -> Option<&MembershipProviderStatus> {
        self.status.as_ref()
    }

    fn home<'a>(&'a self, tokens: &'a Path) -> ReferenceScope<'a> {
        ReferenceScope::Cluster(tokens)
    }

    fn api(&self, client: Client) -> Api<Stored<Self>> {
        Api::all(client)
    }

    fn named(&self) -> NamedProvider {
        NamedProvider::OfCluster(Arc::new(self.clone()))
    }
}

/// The cached provider objects of both kinds, and the channels that request a check of one.
pub struct Providers {
    /// The provider objects of namespaces.
    pub of_namespaces: ProvidersOfKind<MembershipProvider>,
    /// The provider objects of the cluster.
    pub of_cluster: ProvidersOfKind<ClusterMembershipProvider>,
}

/// The provider objects of one kind.
pub struct ProvidersOfKind<K: ProviderObject> {
    /// The cache of the objects.
    pub store: Store<K>,
    /// Requests a check.
    pub wake: mpsc::UnboundedSender<ObjectRef<K>>,
    /// Whether the API server does not serve the kind: only one of the two kinds is needed.
    pub not_served: signal::Receiver<bool>,
    /// Whether the store reflects a list that began while this replica led.
    pub listed: signal::Receiver<bool>,
}

/// What a membership needs to know of the provider object that it names.
#[derive(Clone, Debug)]
pub enum NamedProvider {
    /// A provider object of the membership's namespace.
    OfNamespace(Arc<MembershipProvider>),
    /// A provider object of the cluster.
    OfCluster(Arc<ClusterMembershipProvider>),
}

impl NamedProvider {
    /// The uid of the provider object.
    pub fn uid(&self) -> Option<&String> {
        match self {
            Self::OfNamespace(object) => object.metadata.uid.as_ref(),
            Self::OfCluster(object) => object.metadata.uid.as_ref(),
        }
    }

    /// Whether it is being deleted.
    pub fn is_being_deleted(&self) -> bool {
        let metadata = match self {
            Self::OfNamespace(object) => &object.metadata,
            Self::OfCluster(object) => &object.metadata,
        };
        metadata.deletion_timestamp.is_some()
    }

    /// Whether its own status reports that it is not ready.
    pub fn is_reported_not_ready(&self) -> bool {
        let status = match self {
            Self::OfNamespace(object) => object.provider_status(),
            Self::OfCluster(object) => object.provider_status(),
        };
        let conditions = status.into_iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "False")
    }

    /// Whether the provider ends temporary roles itself, so that an end takes effect even if no request can be sent.
    /// ZITADEL has no temporary roles.
    pub fn enforces_expiry(&self) -> bool {
        let spec = match self {
            Self::OfNamespace(object) => object.provider(),
            Self::OfCluster(object) => object.provider(),
        };
        spec.infisical.is_some()
    }

    /// The rules for its memberships; `None`: only the rights of its credential limit them.
    pub fn rules(&self) -> Option<&[AllowRule]> {
        match self {
            Self::OfNamespace(object) => object.rules(),
            Self::OfCluster(object) => object.rules(),
        }
    }
}

impl Providers {
    /// The provider object with this key.
    pub fn find(&self, key: &ProviderKey) -> Option<NamedProvider> {
        match key.kind {
            ProviderKind::MembershipProvider => {
                self.of_namespaces.store.get(&key.reference()).map(NamedProvider::OfNamespace)
            }
            ProviderKind::ClusterMembershipProvider => {
                self.of_cluster.store.get(&key.reference()).map(NamedProvider::OfCluster)
            }
        }
    }

    /// Requests a check of the provider object with this key. The receivers live as long as the controllers.
    pub fn wake(&self, key: &ProviderKey) {
        match key.kind {
            ProviderKind::MembershipProvider => drop(self.of_namespaces.wake.send(key.reference())),
            ProviderKind::ClusterMembershipProvider => drop(self.of_cluster.wake.send(key.reference())),
        }
    }

    /// Requests a check of the provider object with this key, or of all, if it is being deleted: the membership that
    /// kept it may be gone.
    pub fn wake_leaving(&self, key: Option<&ProviderKey>) {
        fn leaving<K: ProviderObject>(store: &Store<K>, key: Option<&ProviderKey>) -> Vec<ProviderKey>
        where
            K::DynamicType: std::hash::Hash + Eq + Clone,
        {
            let leaves = |object: &K| object.meta().deletion_timestamp.is_some();
            let named = |object: &K| key.is_none_or(|key| *key == object.key());
            store.state_filter(|object| leaves(object) && named(object)).iter().map(|object| object.key()).collect()
        }
        let (of_namespaces, of_cluster) = (&self.of_namespaces.store, &self.of_cluster.store);
        leaving(of_namespaces, key).iter().chain(&leaving(of_cluster, key)).for_each(|key| self.wake(key));
    }

    /// Waits until both kinds are known, or one of them if the other is not served.
    pub async fn are_known(&self) {
        let namespaced = self.of_namespaces.is_known();
        let cluster = self.of_cluster.is_known();
        // If neither is served, there is nothing to do yet.
        let (namespaced, cluster) = future::join(namespaced, cluster).await;
        if !namespaced && !cluster {
            tracing::error!(
                "the API server serves neither MembershipProvider nor ClusterMembershipProvider: kubectl apply -f crds/"
            );
            let stores = (self.of_namespaces.store.clone(), self.of_cluster.store.clone());
            let either = (Box::pin(stores.0.wait_until_ready()), Box::pin(stores.1.wait_until_ready()));
            let _ = future::select(either.0, either.1).await;
        }
    }

    /// Waits until the stores reflect lists that began while this replica led.
    pub async fn are_listed(&self) {
        future::join(self.of_namespaces.is_listed(), self.of_cluster.is_listed()).await;
    }

    /// Whether provider objects of this kind are served and watched.
    pub fn serve(&self, kind: ProviderKind) -> bool {
        match kind {
            ProviderKind::MembershipProvider => !*self.of_namespaces.not_served.borrow(),
            ProviderKind::ClusterMembershipProvider => !*self.of_cluster.not_served.borrow(),
        }
    }

    /// The uids of all provider objects.
    pub fn uids(&self) -> Vec<String> {
        let of_namespaces = self.of_namespaces.store.state().into_iter().filter_map(|object| object.uid());
        of_namespaces.chain(self.of_cluster.store.state().into_iter().filter_map(|object| object.uid())).collect()
    }

    /// The number of provider objects.
    pub fn count(&self) -> usize {
        self.of_namespaces.store.len() + self.of_cluster.store.len()
    }
}

impl<K: ProviderObject> ProvidersOfKind<K>
where
    K::DynamicType: std::hash::Hash + Eq + Clone,
{
    /// Waits until all objects of the kind are known; `false`: the kind is not served.
    async fn is_known(&self) -> bool {
        let mut not_served = self.not_served.clone();
        tokio::select! {
            biased;
            _ = self.store.wait_until_ready() => true,
            Ok(_) = not_served.wait_for(|not_served| *not_served) => false,
        }
    }
    /// Waits until the store reflects a list that began while this replica led, or the kind is not served.
    async fn is_listed(&self) {
        let (mut listed, mut not_served) = (self.listed.clone(), self.not_served.clone());
        tokio::select! {
            biased;
            Ok(_) = listed.wait_for(|listed| *listed) => {}
            Ok(_) = not_served.wait_for(|not_served| *not_served) => {}
            else => {}
        }
    }
}
