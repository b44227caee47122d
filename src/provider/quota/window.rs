//! A sliding window: counts the requests that began in the last 60 seconds.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How long the window is. "A minute" in a provider's limits is any 60 seconds, not a calendar minute.
pub const LENGTH: Duration = Duration::from_secs(60);

/// The instants at which requests began, oldest first, none older than [`LENGTH`]. It is exact: two halves of a minute
/// can't each use a whole limit, as they could with a counter per calendar minute.
#[derive(Debug, Default)]
pub struct Window {
    began: VecDeque<Instant>,
}

impl Window {
    /// Counts a request that begins at `now`.
    pub fn charge(&mut self, now: Instant) {
        self.forget(now);
        self.began.push_back(now);
    }

    /// A request that was counted last was never sent.
    pub fn refund(&mut self) {
        self.began.pop_back();
    }

    /// When another request may begin so that at most `limit` (1 or more) began in any 60 seconds: `None` means now.
    pub fn next_at(&self, limit: usize, now: Instant) -> Option<Instant> {
        // The request that must have left the window: after it, fewer than `limit` are in it.
        let blocking = self.began.len().checked_sub(limit.max(1)).and_then(|index| self.began.get(index))?;
        let free = *blocking + LENGTH;
        (free > now).then_some(free)
    }

    /// Whether no request of the last 60 seconds is recorded.
    pub fn is_empty(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.began.is_empty()
    }

    fn forget(&mut self, now: Instant) {
        while self.began.front().is_some_and(|began| *began + LENGTH <= now) {
            self.began.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_60_seconds_after_the_request_that_took_it() {
        let start = Instant::now();
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        let mut window = Window::default();
        assert_eq!(window.next_at(2, at(0)), None);
        window.charge(at(0));
        window.charge(at(30_000));
        for (now, limit, expected) in [
            (at(30_000), 3, None),
            (at(30_000), 2, Some(at(60_000))),
            (at(59_999), 2, Some(at(60_000))),
            (at(60_000), 2, None),
            (at(30_000), 1, Some(at(90_000))),
            (at(60_000), 1, Some(at(90_000))),
            (at(90_000), 1, None),
            (at(30_000), 0, Some(at(90_000))), // a limit of zero would wait forever: it counts as 1
        ] {
            assert_eq!(window.next_at(limit, now), expected, "{limit} at {:?}", now - start);
        }
    }

    #[test]
    fn the_turn_of_a_minute_gives_no_second_limit() {
        let start = Instant::now();
        let mut window = Window::default();
        for _ in 0..10 {
            window.charge(start + Duration::from_secs(59));
        }
        assert_eq!(window.next_at(10, start + Duration::from_secs(61)), Some(start + Duration::from_secs(119)));
        assert!(!window.is_empty(start + Duration::from_secs(61)));
        assert!(window.is_empty(start + Duration::from_secs(119)));
    }
}
