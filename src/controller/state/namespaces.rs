//! The labels of the namespaces.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use tokio::sync::watch as signal;

use crate::api::provider::AllowRule;

/// The labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// The namespaces' labels, as last watched.
pub struct NamespaceLabels {
    store: Store<PartialObjectMeta<Namespace>>,
    /// Whether a rule selects by labels.
    pub wanted: signal::Sender<bool>,
}

impl NamespaceLabels {
    /// Creates an empty store, and the writer for [`watch`](crate::controller::namespaces::watch).
    pub fn new() -> (Self, Writer<PartialObjectMeta<Namespace>>) {
        let (store, writer) = reflector::store();
        (Self { store, wanted: signal::Sender::new(false) }, writer)
    }

    /// Starts the watch if one of a provider object's rules selects by labels.
    pub fn serve(&self, rules: &[AllowRule]) {
        if rules.iter().any(|rule| rule.namespaces.need_labels()) {
            self.wanted.send_if_modified(|wanted| !std::mem::replace(wanted, true));
        }
    }

    /// The labels of a namespace; `None` if they are unknown.
    pub fn labels(&self, name: &str) -> Option<Labels> {
        self.store.get(&ObjectRef::new(name)).map(|namespace| namespace.labels().clone())
    }

    /// Waits until all labels are known, if any rule needs them.
    pub async fn are_known(&self) {
        if *self.wanted.borrow() {
            // This fails only when the watch has ended, and then the operator ends too.
            let _ = self.store.wait_until_ready().await;
        }
    }
}
