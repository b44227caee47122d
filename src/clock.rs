//! The wall clock, as a value that is passed on. It determines when a grant begins and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A wall clock. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(ClockSource);

#[derive(Clone, Debug)]
enum ClockSource {
    System,
    Following { origin: Timestamp, since: Instant, ahead: Arc<AtomicI64> },
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(ClockSource::System)
    }

    /// A clock that shows `origin` now and follows tokio's time, so that it pauses when tokio's time is paused.
    pub fn following(origin: Timestamp) -> Self {
        Self(ClockSource::Following { origin, since: Instant::now(), ahead: Arc::default() })
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            ClockSource::System => Timestamp::now(),
            ClockSource::Following { origin, since, ahead } => {
                let passed = SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX);
                let ahead = SignedDuration::from_millis(ahead.load(Ordering::Relaxed));
                origin.saturating_add(passed.saturating_add(ahead)).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// A separate clock that starts at the time of this one and jumps independently. The system's clock stays the
    /// system's.
    pub fn apart(&self) -> Self {
        match &self.0 {
            ClockSource::System => Self::system(),
            ClockSource::Following { .. } => Self::following(self.now()),
        }
    }

    /// Jumps, forwards or backwards. The system's clock cannot be changed and ignores this.
    pub fn jump(&self, by: SignedDuration) {
        if let ClockSource::Following { ahead, .. } = &self.0 {
            ahead.fetch_add(i64::try_from(by.as_millis()).unwrap_or_default(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_following_clock_follows_tokios_time_and_jumps_on_request() {
        let origin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::following(origin);
        assert_eq!(clock.now(), origin);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now(), origin + SignedDuration::from_secs(90));
        let other = clock.apart();
        other.jump(SignedDuration::from_secs(-30));
        assert_eq!((clock.now() - other.now()).get_seconds(), 30);
    }
}
