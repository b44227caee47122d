//! The wall clock, as a value that is passed on. It determines when a grant begins and ends. Also the clock of a
//! provider, for comparison.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A wall clock. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Shows);

#[derive(Clone, Debug)]
enum Shows {
    System,
    Following { origin: Timestamp, since: Instant, ahead: Arc<AtomicI64> },
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Shows::System)
    }

    /// A clock that shows `origin` now and follows tokio's time, so that it pauses when tokio's time is paused.
    pub fn following(origin: Timestamp) -> Self {
        Self(Shows::Following { origin, since: Instant::now(), ahead: Arc::default() })
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Shows::System => Timestamp::now(),
            Shows::Following { origin, since, ahead } => {
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
            Shows::System => Self::system(),
            Shows::Following { .. } => Self::following(self.now()),
        }
    }

    /// Jumps, forwards or backwards. The system's clock cannot be changed and ignores this.
    pub fn jump(&self, by: SignedDuration) {
        if let Shows::Following { ahead, .. } = &self.0 {
            ahead.fetch_add(i64::try_from(by.as_millis()).unwrap_or_default(), Ordering::Relaxed);
        }
    }
}

/// The difference between two clocks above which no temporary grant begins.
pub const SKEW: Duration = Duration::from_secs(30);
/// How long a provider's clock counts as known after a response.
pub const KNOWN_FOR: Duration = Duration::from_secs(60);
/// How far the wall clock may move against the monotonic clock before this counts as a jump.
const JUMP: Duration = Duration::from_secs(2);

/// A provider's clock, as a response showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderClock {
    skew: SignedDuration,
    wall: Timestamp,
    at: Instant,
}

/// Whether the provider's clock and the wall clock show the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// They differ by [`SKEW`] at most.
    Agree,
    /// The provider's clock is ahead of the wall clock by this much.
    Differ(SignedDuration),
    /// There is no recent response, or the wall clock has jumped since: another response is needed.
    Unknown,
}

impl ProviderClock {
    /// A response was received at `at`, when the wall clock showed `wall`. The provider's clock is ahead of it by
    /// `skew`.
    pub fn new(skew: SignedDuration, wall: Timestamp, at: Instant) -> Self {
        Self { skew, wall, at }
    }

    /// How far the provider's clock is ahead of a wall clock that shows `wall` at `at`. The provider's time is computed
    /// on the monotonic clock, so that the result stays correct after a jump of the wall clock.
    pub fn skew(&self, wall: Timestamp, at: Instant) -> SignedDuration {
        self.skew.saturating_sub(self.moved(wall, at))
    }

    /// How far the wall clock has moved against the monotonic clock.
    fn moved(&self, wall: Timestamp, at: Instant) -> SignedDuration {
        let elapsed = SignedDuration::try_from(at.saturating_duration_since(self.at)).unwrap_or(SignedDuration::MAX);
        wall.duration_since(self.wall).saturating_sub(elapsed)
    }

    fn is_known(&self, wall: Timestamp, at: Instant) -> bool {
        at.saturating_duration_since(self.at) <= KNOWN_FOR && self.moved(wall, at).unsigned_abs() <= JUMP
    }
}

/// Whether the clocks agree, so that a temporary grant may begin, according to what is known of the provider's clock.
pub fn agreement(provider: Option<&ProviderClock>, wall: Timestamp, at: Instant) -> Agreement {
    let Some(provider) = provider.filter(|provider| provider.is_known(wall, at)) else {
        return Agreement::Unknown;
    };
    let skew = provider.skew(wall, at);
    if skew.unsigned_abs() > SKEW { Agreement::Differ(skew) } else { Agreement::Agree }
}

/// How far the time that is used to evaluate grants is ahead of the wall clock, so that the earlier of two ends
/// applies. For this purpose a provider's clock does not expire.
pub fn lead(provider: Option<&ProviderClock>, wall: Timestamp, at: Instant) -> SignedDuration {
    let skew = provider.map_or(SignedDuration::ZERO, |provider| provider.skew(wall, at));
    if skew > SignedDuration::ZERO && skew.unsigned_abs() > SKEW { skew } else { SignedDuration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    /// Seen failing without `moved` in `skew` (the time by which ends are evaluated goes back with the wall clock) and
    /// without the jump in `is_known` (the clocks agree after a jump of 20 s, by a response from before it).
    #[test]
    fn a_providers_clock_is_known_for_a_minute_and_until_the_wall_clock_jumps() {
        let (wall, at): (Timestamp, _) = ("2026-01-01T00:00:00Z".parse().unwrap(), Instant::now());
        let agrees = |skew: i64, passed: u64, jumped: i64| {
            let provider = ProviderClock::new(seconds(skew), wall, at);
            let now = wall + SignedDuration::from_secs(i64::try_from(passed).unwrap() + jumped);
            let at = at + Duration::from_secs(passed);
            (agreement(Some(&provider), now, at), lead(Some(&provider), now, at))
        };
        let (agree, unknown) = (Agreement::Agree, Agreement::Unknown);
        for (skew, passed, jumped, expected, why) in [
            (0, 0, 0, (agree, seconds(0)), "a response of now"),
            (0, 60, 2, (agree, seconds(0)), "a minute later, with a clock that was slewed"),
            (0, 61, 0, (unknown, seconds(0)), "more than a minute later"),
            (0, 10, 20, (unknown, seconds(0)), "a jump forwards"),
            (0, 10, 3600, (unknown, seconds(0)), "a jump forwards by an hour: the wall clock counts"),
            (0, 10, -3600, (unknown, seconds(3600)), "a jump back by an hour: the provider's time counts"),
            (0, 86400, -3600, (unknown, seconds(3600)), "the same a day after the response"),
            (30, 1, 0, (agree, seconds(0)), "no more than is tolerated"),
            (31, 1, 0, (Agreement::Differ(seconds(31)), seconds(31)), "a provider that is ahead"),
            (-31, 1, 0, (Agreement::Differ(seconds(-31)), seconds(0)), "a provider that is behind"),
            (31, 1, 40, (unknown, seconds(0)), "a wall clock that was set right, and more"),
        ] {
            assert_eq!(agrees(skew, passed, jumped), expected, "{why}");
        }
        assert_eq!(agreement(None, wall, at), Agreement::Unknown);
        assert_eq!(lead(None, wall, at), seconds(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_following_clock_goes_as_tokio_s_time_goes_and_jumps_when_told() {
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
