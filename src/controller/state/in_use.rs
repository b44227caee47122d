//! Which provider objects are kept because their memberships hold access, or are about to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::Instant;

/// The use of each provider object, by its uid.
#[derive(Debug, Default)]
pub struct InUse(Mutex<HashMap<String, ProviderUse>>);

#[derive(Debug, Default)]
struct ProviderUse {
    /// Shared by the memberships that are being finalized, that is, are about to get the operator's finalizer, and
    /// exclusive while the provider object is being released. Nobody waits for it.
    lock: Arc<RwLock<()>>,
    mark: Arc<tokio::sync::Mutex<InUseFinalizer>>,
}

/// What is known about the finalizer on a provider object.
#[derive(Debug, Default)]
pub struct InUseFinalizer {
    /// It was added; the watch may not show it yet.
    pub stands: bool,
    /// If the last attempt to add it failed: when the attempt began, and why it failed.
    pub failed: Option<(Instant, Arc<kube::Error>)>,
}

impl InUse {
    /// Marks a membership as being finalized until the result is dropped; `None`: the provider object is being released.
    pub fn finalizing(&self, uid: &str) -> Option<OwnedRwLockReadGuard<()>> {
        self.0.lock().entry(uid.to_owned()).or_default().lock.clone().try_read_owned().ok()
    }

    /// Whether any membership is being finalized, or the provider object is being released.
    pub fn is_finalizing(&self, uid: &str) -> bool {
        self.0.lock().get(uid).is_some_and(|found| found.lock.try_write().is_err())
    }

    /// Marks the provider object as being released until the result is dropped; `None`: memberships are being finalized.
    pub fn releasing(&self, uid: &str) -> Option<OwnedRwLockWriteGuard<()>> {
        self.0.lock().entry(uid.to_owned()).or_default().lock.clone().try_write_owned().ok()
    }

    /// What is known about the finalizer on a provider object.
    pub fn mark(&self, uid: &str) -> Arc<tokio::sync::Mutex<InUseFinalizer>> {
        self.0.lock().entry(uid.to_owned()).or_default().mark.clone()
    }

    /// Drops the provider objects that no longer exist.
    pub fn forget_missing(&self, uids: &HashSet<String>) {
        self.0.lock().retain(|uid, found| Arc::strong_count(&found.lock) > 1 || uids.contains(uid));
    }

    /// The number of provider objects about which something is stored.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_object_leaves_only_while_no_membership_is_being_finalized_and_none_begins_then() {
        let in_use = InUse::default();
        let (first, second) = (in_use.finalizing("a"), in_use.finalizing("a"));
        assert!(first.is_some() && second.is_some());
        assert!(in_use.releasing("a").is_none(), "two are being finalized");
        assert!(in_use.releasing("b").is_some(), "another provider object is not concerned");
        drop(first);
        assert!(in_use.releasing("a").is_none() && in_use.is_finalizing("a"), "one is left");
        drop(second);
        assert!(!in_use.is_finalizing("a"));
        let releasing = in_use.releasing("a");
        assert!(releasing.is_some() && in_use.finalizing("a").is_none(), "it goes");
        drop(releasing);
        let finalizing = in_use.finalizing("a");
        assert!(finalizing.is_some(), "its finalizer could not be taken off");
        in_use.forget_missing(&HashSet::new());
        assert_eq!(in_use.len(), 1, "what is in progress is kept");
        drop(finalizing);
        in_use.forget_missing(&HashSet::new());
        assert!(in_use.is_empty());
    }
}
