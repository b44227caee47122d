//! Whether the API server answers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Since when the API server has not answered. One for all clients of the process.
#[derive(Debug, Default)]
pub struct Reachability(Mutex<Option<Instant>>);

impl Reachability {
    /// A request was answered, whatever the answer.
    pub fn answered(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A request was not answered.
    pub fn failed(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
    }

    /// For how long no request has been answered while some were sent; zero: the last one was answered.
    pub fn unanswered_for(&self, now: Instant) -> Duration {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}
