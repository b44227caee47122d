//! Which provider objects are kept because their memberships hold access, or are about to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// The use of each provider object, by its uid.
#[derive(Debug, Default)]
pub struct InUse(Mutex<HashMap<String, ProviderUse>>);

#[derive(Debug, Default)]
struct ProviderUse {
    /// How many memberships are being finalized, that is, are about to get the operator's finalizer.
    holders: usize,
    /// The provider object is being released: no membership may be finalized any more.
    leaves: bool,
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
    /// Counts a membership that is about to be finalized. Returns `false` if the provider object is being released.
    pub fn begins(&self, uid: &str) -> bool {
        let mut uses = self.lock();
        let found = uses.entry(uid.to_owned()).or_default();
        if !found.leaves {
            found.holders += 1;
        }
        !found.leaves
    }

    /// Removes a membership from the count, because it was finalized or won't be. Returns whether it was the last one.
    pub fn ended(&self, uid: &str) -> bool {
        self.lock().get_mut(uid).is_none_or(|found| {
            found.holders = found.holders.saturating_sub(1);
            found.holders == 0
        })
    }

    /// Marks the provider object as being released. Returns `false` if memberships are being finalized.
    pub fn leaves(&self, uid: &str) -> bool {
        let mut uses = self.lock();
        let found = uses.entry(uid.to_owned()).or_default();
        found.leaves = found.holders == 0;
        found.leaves
    }

    /// Clears the mark: the provider object was not released.
    pub fn stays(&self, uid: &str) {
        if let Some(found) = self.lock().get_mut(uid) {
            found.leaves = false;
        }
    }

    /// What is known about the finalizer on a provider object.
    pub fn mark(&self, uid: &str) -> Arc<tokio::sync::Mutex<InUseFinalizer>> {
        self.lock().entry(uid.to_owned()).or_default().mark.clone()
    }

    /// Forgets the provider objects that are gone.
    pub fn forget_missing(&self, uids: &HashSet<String>) {
        self.lock().retain(|uid, found| found.holders > 0 || uids.contains(uid));
    }

    /// The number of provider objects about which something is stored.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ProviderUse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_object_leaves_only_while_no_membership_is_being_finalized_and_none_begins_then() {
        let in_use = InUse::default();
        assert!(in_use.begins("a") && in_use.begins("a"));
        assert!(!in_use.leaves("a"), "two are being finalized");
        assert!(in_use.leaves("b"), "another provider object is not concerned");
        assert!(!in_use.ended("a"));
        assert!(in_use.ended("a"), "the last one wakes whoever was to let it go");
        assert!(in_use.leaves("a"));
        assert!(!in_use.begins("a"), "it goes");
        in_use.stays("a");
        assert!(in_use.begins("a"), "its finalizer could not be taken off");
        in_use.forget_missing(&HashSet::new());
        assert_eq!(in_use.len(), 1, "what is in progress is kept");
        in_use.ended("a");
        in_use.forget_missing(&HashSet::new());
        assert!(in_use.is_empty());
    }
}
