//! Tells the metrics of each request.

use tokio::time::Instant;

use crate::telemetry::{ObservedRequest, Observer};

/// Tells the observer when dropped, so that a request that is given up counts as well.
pub(super) struct Watch<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) observed: ObservedRequest<'a>,
    pub(super) began: Instant,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.observed.elapsed = self.began.elapsed();
        self.observer.request(&self.observed);
    }
}
