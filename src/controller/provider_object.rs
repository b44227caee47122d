//! A common view of the two kinds of provider objects.

use std::collections::HashSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use futures::future;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, Store};
use kube::{Api, Client, Resource};
use tokio::sync::watch as signal;

use super::provider_key::ProviderKey;
use super::references::ReferenceScope;
use super::stored::Stored;
use crate::api::membership::ProviderKind;
use crate::api::provider::AllowRule;
use crate::api::{ClusterMembershipProvider, MembershipProvider, MembershipProviderSpec, MembershipProviderStatus};

/// A provider object of either kind.
pub trait ProviderObject: Debug + Send + Sync {
    /// The kind of the object.
    fn kind(&self) -> ProviderKind;

    fn metadata(&self) -> &ObjectMeta;

    /// The part of the spec that both kinds have.
    fn spec(&self) -> &MembershipProviderSpec;

    /// The status, if there is one.
    fn status(&self) -> Option<&MembershipProviderStatus>;

    /// The object as events name it.
    fn reference(&self) -> ObjectReference;

    /// The cluster-scoped provider object, which has rules for its memberships; `None`: only the permissions of its
    /// credential limit them.
    fn cluster(self: Arc<Self>) -> Option<Arc<ClusterMembershipProvider>>;

    /// The rules for its memberships; `None`: only the permissions of its credential limit them.
    fn rules(&self) -> Option<&[AllowRule]>;

    /// The key by which memberships refer to it.
    fn key(&self) -> ProviderKey {
        ProviderKey { kind: self.kind(), namespace: self.namespace().to_owned(), name: self.name().to_owned() }
    }

    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Its namespace; empty for a ClusterMembershipProvider.
    fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    fn is_being_deleted(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }

    /// Whether its own status reports that it is not ready.
    fn is_reported_not_ready(&self) -> bool {
        let mut conditions = self.status().into_iter().flat_map(|status| &status.conditions);
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "False")
    }

    /// Whether the provider ends temporary roles itself, so that an end takes effect even if no request can be sent.
    /// ZITADEL has no temporary roles.
    fn enforces_expiry(&self) -> bool {
        self.spec().infisical.is_some()
    }

    /// The location of the objects that it refers to. `tokens`: the directory of the operator's own tokens.
    fn home<'a>(&'a self, tokens: &'a Path) -> ReferenceScope<'a> {
        match self.kind() {
            ProviderKind::MembershipProvider => ReferenceScope::Namespace(self.namespace()),
            ProviderKind::ClusterMembershipProvider => ReferenceScope::Cluster(tokens),
        }
    }

    /// The API with which it is written. Of a response only the metadata are used.
    fn api(&self, client: Client) -> Api<Stored<DynamicObject>> {
        match self.kind() {
            ProviderKind::MembershipProvider => {
                Api::namespaced_with(client, self.namespace(), &ApiResource::erase::<MembershipProvider>(&()))
            }
            ProviderKind::ClusterMembershipProvider => {
                Api::all_with(client, &ApiResource::erase::<ClusterMembershipProvider>(&()))
            }
        }
    }
}

impl ProviderObject for MembershipProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::MembershipProvider
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn spec(&self) -> &MembershipProviderSpec {
        &self.spec
    }

    fn status(&self) -> Option<&MembershipProviderStatus> {
        self.status.as_ref()
    }

    fn reference(&self) -> ObjectReference {
        self.object_ref(&())
    }

    fn cluster(self: Arc<Self>) -> Option<Arc<ClusterMembershipProvider>> {
        None
    }

    fn rules(&self) -> Option<&[AllowRule]> {
        None
    }
}

impl ProviderObject for ClusterMembershipProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::ClusterMembershipProvider
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn spec(&self) -> &MembershipProviderSpec {
        &self.spec.provider
    }

    fn status(&self) -> Option<&MembershipProviderStatus> {
        self.status.as_ref()
    }

    fn reference(&self) -> ObjectReference {
        self.object_ref(&())
    }

    fn cluster(self: Arc<Self>) -> Option<Arc<ClusterMembershipProvider>> {
        Some(self)
    }

    fn rules(&self) -> Option<&[AllowRule]> {
        Some(&self.spec.allow)
    }
}

/// The cached provider objects of both kinds.
pub struct Providers {
    /// The provider objects of namespaces.
    pub of_namespaces: ProvidersOfKind<MembershipProvider>,
    /// The provider objects of the cluster.
    pub of_cluster: ProvidersOfKind<ClusterMembershipProvider>,
}

/// The provider objects of one kind.
pub struct ProvidersOfKind<K: Resource<DynamicType = ()> + 'static> {
    /// The cache of the objects.
    pub store: Store<K>,
    /// Whether the API server does not serve the kind: only one of the two kinds is needed.
    pub not_served: signal::Sender<bool>,
}

impl Providers {
    /// The provider object with this key.
    pub fn find(&self, key: &ProviderKey) -> Option<Arc<dyn ProviderObject>> {
        match key.kind {
            ProviderKind::MembershipProvider => {
                self.of_namespaces.store.get(&key.reference()).map(|object| object as Arc<dyn ProviderObject>)
            }
            ProviderKind::ClusterMembershipProvider => {
                self.of_cluster.store.get(&key.reference()).map(|object| object as Arc<dyn ProviderObject>)
            }
        }
    }

    /// The provider objects of both kinds.
    pub fn all(&self) -> Vec<Arc<dyn ProviderObject>> {
        let of_namespaces =
            self.of_namespaces.store.state().into_iter().map(|object| object as Arc<dyn ProviderObject>);
        let of_cluster = self.of_cluster.store.state().into_iter().map(|object| object as Arc<dyn ProviderObject>);
        of_namespaces.chain(of_cluster).collect()
    }

    /// The provider object with this key, or all, as far as they are being deleted.
    pub fn leaving(&self, key: Option<&ProviderKey>) -> Vec<ProviderKey> {
        let found = key.map_or_else(|| self.all(), |key| self.find(key).into_iter().collect());
        found.iter().filter(|object| object.is_being_deleted()).map(|object| object.key()).collect()
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

    /// Whether provider objects of this kind are served and watched.
    pub fn serve(&self, kind: ProviderKind) -> bool {
        match kind {
            ProviderKind::MembershipProvider => !*self.of_namespaces.not_served.borrow(),
            ProviderKind::ClusterMembershipProvider => !*self.of_cluster.not_served.borrow(),
        }
    }

    /// The uids of all provider objects.
    pub fn uids(&self) -> HashSet<String> {
        self.all().iter().map(|object| object.uid().to_owned()).collect()
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> ProvidersOfKind<K> {
    /// An empty cache, and what fills it.
    pub fn new() -> (Self, Writer<K>) {
        let (store, writer) = reflector::store();
        (Self { store, not_served: signal::Sender::new(false) }, writer)
    }

    /// Waits until all objects of the kind are known; `false`: the kind is not served.
    async fn is_known(&self) -> bool {
        let mut not_served = self.not_served.subscribe();
        tokio::select! {
            biased;
            _ = self.store.wait_until_ready() => true,
            Ok(_) = not_served.wait_for(|not_served| *not_served) => false,
        }
    }
}
