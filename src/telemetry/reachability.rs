//! Whether the API server responds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Since when the API server has not responded. There is one for all clients of the process.
#[derive(Debug, Default)]
pub struct ApiReachability(Mutex<Option<Instant>>);

impl ApiReachability {
    /// A request received a response, whatever its status.
    pub fn answered(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A request received no response.
    pub fn failed(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
    }

    /// How long requests have been without a response; zero if the last one received a response.
    pub fn unanswered_for(&self, now: Instant) -> Duration {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}
