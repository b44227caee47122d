//! Compares a provider's clock with the operator's: a temporary grant begins only if they agree, and an end takes effect
//! at the earlier of the two times. Pure.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// The difference between two clocks above which no temporary grant begins.
pub const SKEW: Duration = Duration::from_secs(30);
/// How long a provider's clock counts as known after a response.
pub const KNOWN_FOR: Duration = Duration::from_secs(60);
/// How far the wall clock may move against the monotonic clock before this counts as a jump.
const JUMP: Duration = Duration::from_secs(2);

/// A provider's clock, from a response.
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
}
