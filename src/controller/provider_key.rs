//! Identifies a provider object.

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::api::ProjectMembership;
use crate::api::membership::{ProviderKind, ProviderRef};

/// A provider object's key: kind, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderKey {
    pub kind: ProviderKind,
    /// Its namespace; empty for a ClusterMembershipProvider.
    pub namespace: String,
    pub name: String,
}

impl ProviderKey {
    /// The key of the provider object that a membership names.
    pub fn named_by(object: &ProjectMembership) -> Self {
        let ProviderRef { kind, name } = &object.spec.provider_ref;
        let namespace = match kind {
            ProviderKind::MembershipProvider => object.namespace().unwrap_or_default(),
            ProviderKind::ClusterMembershipProvider => String::new(),
        };
        Self { kind: *kind, namespace, name: name.clone() }
    }

    /// The reference under which the store of its kind keeps the object.
    pub fn reference<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<K> {
        let reference = ObjectRef::new(&self.name);
        if self.namespace.is_empty() { reference } else { reference.within(&self.namespace) }
    }
}

impl std::fmt::Display for ProviderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name } = self;
        match kind {
            ProviderKind::MembershipProvider => write!(f, "{kind:?}/{namespace}/{name}"),
            ProviderKind::ClusterMembershipProvider => write!(f, "{kind:?}/{name}"),
        }
    }
}
