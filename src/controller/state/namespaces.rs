//! The labels of the namespaces.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use parking_lot::Mutex;
use tokio::sync::watch as signal;

use crate::api::provider::AllowRule;

/// The labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// The namespaces' labels, as last watched.
#[derive(Default)]
pub struct NamespaceLabels {
    /// By the names of the namespaces.
    known: Mutex<HashMap<String, Labels>>,
    /// Whether all of them are known.
    listed: signal::Sender<bool>,
    /// Whether a rule selects by labels.
    pub wanted: signal::Sender<bool>,
}

impl NamespaceLabels {
    /// Starts the watch if one of a provider object's rules selects by labels.
    pub fn serve(&self, rules: &[AllowRule]) {
        if rules.iter().any(|rule| rule.namespaces.need_labels()) {
            self.wanted.send_if_modified(|wanted| !std::mem::replace(wanted, true));
        }
    }

    /// The labels of a namespace; `None` if they are unknown.
    pub fn labels(&self, name: &str) -> Option<Labels> {
        self.known.lock().get(name).cloned()
    }

    /// Stores a namespace's labels. Returns whether they have changed.
    pub fn applied(&self, namespace: &PartialObjectMeta<Namespace>) -> bool {
        let labels = namespace.labels().clone();
        self.known.lock().insert(namespace.name_any(), labels.clone()) != Some(labels)
    }

    /// Drops a namespace that was deleted.
    pub fn deleted(&self, namespace: &PartialObjectMeta<Namespace>) {
        self.known.lock().remove(&namespace.name_any());
    }

    /// Stores the labels of all namespaces. Returns whether any have changed.
    pub fn listed(&self, all: HashMap<String, Labels>) -> bool {
        let mut known = self.known.lock();
        let changed = all.iter().any(|(name, labels)| known.get(name) != Some(labels));
        *known = all;
        self.listed.send_replace(true);
        changed
    }

    /// Waits until all labels are known, if any rule needs them.
    pub async fn are_known(&self) {
        if *self.wanted.borrow() {
            // The channel stays open, because `self` owns the sender.
            let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
        }
    }
}
