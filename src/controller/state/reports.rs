//! What was reported about the objects.

use std::collections::{HashMap, HashSet};

use crate::core::notices::Notices;
use crate::telemetry::Metrics;
use parking_lot::Mutex;

/// What was reported about each object that is not in its declared state, by the objects' uids.
#[derive(Debug, Default)]
pub struct Reports(Mutex<HashMap<String, Notices>>);

impl Reports {
    /// Changes what was reported about an object.
    pub fn update<T>(&self, metrics: &Metrics, uid: &str, update: impl FnOnce(&mut Notices) -> T) -> T {
        let mut reports = self.0.lock();
        let mut notices = reports.remove(uid).unwrap_or_default();
        let was_overdue = notices.is_overdue();
        let answer = update(&mut notices);
        let changed = was_overdue != notices.is_overdue();
        if !notices.is_empty() {
            reports.insert(uid.to_owned(), notices);
        }
        if changed {
            count(metrics, &reports);
        }
        answer
    }

    /// Drops an object that was deleted or released.
    pub fn forget(&self, metrics: &Metrics, uid: &str) {
        let mut reports = self.0.lock();
        if reports.remove(uid).is_some() {
            count(metrics, &reports);
        }
    }

    /// The number of objects about which something was reported.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether nothing was reported.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the objects that no longer exist: those whose deletion was not watched, and those about which a pass
    /// reported something while they were being removed.
    pub fn forget_missing(&self, metrics: &Metrics, there: impl FnOnce() -> HashSet<String>) {
        let mut reports = self.0.lock();
        if !reports.is_empty() {
            let there = there();
            reports.retain(|uid, _| there.contains(uid));
            count(metrics, &reports);
        }
    }
}

fn count(metrics: &Metrics, reports: &HashMap<String, Notices>) {
    metrics.overdue(reports.values().filter(|notices| notices.is_overdue()).count());
}
