//! Reports each request to the metrics.

use tokio::time::Instant;

use crate::telemetry::{ObservedRequest, Observer};

/// Reports to the observer when dropped, so that an abandoned request counts as well.
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
