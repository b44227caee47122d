//! The two kinds of provider objects, seen alike.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use futures::future;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch as signal};

use super::connections::ProviderKey;
use super::references::Home;
use super::stored::Stored;
use crate::api::membership::ProviderKind;
use crate::api::provider::AllowRule;
use crate::api::{ClusterMembershipProvider, MembershipProvider, MembershipProviderSpec, MembershipProviderStatus};

/// A provider object of either kind.
pub trait ProviderObject:
    Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
    /// The kind.
    const KIND: ProviderKind;

    /// What both kinds have.
    fn provider(&self) -> &MembershipProviderSpec;

    /// The rules that its memberships are under; `None`: its credential alone bounds what they may.
    fn rules(&self) -> Option<&[AllowRule]>;

    /// What was found.
    fn provider_status(&self) -> Option<&MembershipProviderStatus>;

    /// Where its references lead. `tokens`: the folder of the operator's own tokens.
    fn home<'a>(&'a self, tokens: &'a Path) -> Home<'a>;

    /// The API that it is written by.
    fn api(&self, client: Client) -> Api<Stored<Self>>;

    /// As its memberships see it.
    fn named(&self) -> Named;

    /// Its key.
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

    fn home<'a>(&'a self, _: &'a Path) -> Home<'a> {
        Home::Namespace(self.metadata.namespace.as_deref().unwrap_or_default())
    }

    fn api(&self, client: Client) -> Api<Stored<Self>> {
        Api::namespaced(client, self.metadata.namespace.as_deref().unwrap_or_default())
    }

    fn named(&self) -> Named {
        Named::OfNamespace(Arc::new(self.clone()))
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

    fn home<'a>(&'a self, tokens: &'a Path) -> Home<'a> {
        Home::Cluster(tokens)
    }

    fn api(&self, client: Client) -> Api<Stored<Self>> {
        Api::all(client)
    }

    fn named(&self) -> Named {
        Named::OfCluster(Arc::new(self.clone()))
    }
}

/// The provider objects of both kinds, as last watched, and the ways to ask for a check of one.
pub struct Providers {
    /// Those of namespaces.
    pub of_namespaces: Kind<MembershipProvider>,
    /// Those of the cluster.
    pub of_cluster: Kind<ClusterMembershipProvider>,
}

/// The provider objects of one kind.
pub struct Kind<K: ProviderObject> {
    /// As last watched.
    pub store: Store<K>,
    /// Asks for a check.
    pub wake: mpsc::UnboundedSender<ObjectRef<K>>,
    /// Whether the API server says that it doesn't serve the kind: only one of both is needed.
    pub not_served: signal::Receiver<bool>,
    /// Whether the store shows a list that was begun when this replica led.
    pub listed: signal::Receiver<bool>,
}

/// What a membership needs to know of the provider object that it names.
#[derive(Clone, Debug)]
pub enum Named {
    /// One of its namespace.
    OfNamespace(Arc<MembershipProvider>),
    /// One of the cluster.
    OfCluster(Arc<ClusterMembershipProvider>),
}

impl Named {
    /// Its uid.
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

    /// Whether its own status says that it isn't ready.
    pub fn is_reported_not_ready(&self) -> bool {
        let status = match self {
            Self::OfNamespace(object) => object.provider_status(),
            Self::OfCluster(object) => object.provider_status(),
        };
        let conditions = status.into_iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "False")
    }

    /// Whether the provider ends temporary roles itself, so that an end comes though nobody can ask for it. ZITADEL knows
    /// none.
    pub fn enforces_expiry(&self) -> bool {
        let spec = match self {
            Self::OfNamespace(object) => object.provider(),
            Self::OfCluster(object) => object.provider(),
        };
        spec.infisical.is_some()
    }

    /// The rules that memberships are under; `None`: its credential alone bounds what they may.
    pub fn rules(&self) -> Option<&[AllowRule]> {
        match self {
            Self::OfNamespace(object) => object.rules(),
            Self::OfCluster(object) => object.rules(),
        }
    }
}

impl Providers {
    /// The provider object of this key.
    pub fn find(&self, key: &ProviderKey) -> Option<Named> {
        match key.kind {
            ProviderKind::MembershipProvider => self.of_namespaces.store.get(&key.reference()).map(Named::OfNamespace),
            ProviderKind::ClusterMembershipProvider => {
                self.of_cluster.store.get(&key.reference()).map(Named::OfCluster)
            }
        }
    }

    /// Asks for a check of the provider object of this key. The receivers live as long as the controllers.
    pub fn wake(&self, key: &ProviderKey) {
        match key.kind {
            ProviderKind::MembershipProvider => drop(self.of_namespaces.wake.send(key.reference())),
            ProviderKind::ClusterMembershipProvider => drop(self.of_cluster.wake.send(key.reference())),
        }
    }

    /// Asks for a check of the provider object of this key, or of all, where it is being deleted: a membership that kept it
    /// may be gone.
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

    /// Waits until both kinds are known, or one of them where the other isn't served.
    pub async fn are_known(&self) {
        let namespaced = self.of_namespaces.is_known();
        let cluster = self.of_cluster.is_known();
        // Where neither is served there is nothing to do yet.
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

    /// Waits until what the stores show was listed when this replica led.
    pub async fn are_listed(&self) {
        future::join(self.of_namespaces.is_listed(), self.of_cluster.is_listed()).await;
    }

    /// Whether provider objects of this kind are looked for at all.
    pub fn serve(&self, kind: ProviderKind) -> bool {
        match kind {
            ProviderKind::MembershipProvider => !*self.of_namespaces.not_served.borrow(),
            ProviderKind::ClusterMembershipProvider => !*self.of_cluster.not_served.borrow(),
        }
    }

    /// Their uids.
    pub fn uids(&self) -> Vec<String> {
        let of_namespaces = self.of_namespaces.store.state().into_iter().filter_map(|object| object.uid());
        of_namespaces.chain(self.of_cluster.store.state().into_iter().filter_map(|object| object.uid())).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.of_namespaces.store.len() + self.of_cluster.store.len()
    }
}

impl<K: ProviderObject> Kind<K>
where
    K::DynamicType: std::hash::Hash + Eq + Clone,
{
    /// Waits until all objects of the kind are known; `false`: the kind isn't served.
    async fn is_known(&self) -> bool {
        let mut not_served = self.not_served.clone();
        tokio::select! {
            biased;
            _ = self.store.wait_until_ready() => true,
            Ok(_) = not_served.wait_for(|not_served| *not_served) => false,
        }
    }
    /// Waits until the store shows a list that was begun when this replica led, or the kind isn't served.
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
