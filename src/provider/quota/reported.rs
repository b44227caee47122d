//! The limits that a server reports.

use tokio::time::Instant;

/// What is left of a server's limit until it is reset, by its `x-ratelimit-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedLimit {
    /// The limit, in requests.
    pub limit: u32,
    /// How many of them are left.
    pub remaining: u32,
    /// When all of them are available again.
    pub until: Instant,
}

impl ReportedLimit {
    /// When another request may begin: `None` means now. A tenth of the limit is reserved for `urgent` requests.
    pub fn next_at(self, urgent: bool, now: Instant) -> Option<Instant> {
        let kept = if urgent { 0 } else { self.limit.div_ceil(10) };
        (self.remaining <= kept && now < self.until).then_some(self.until)
    }

    /// This combined with what a later response reported. Responses overtake each other, and servers count by route:
    /// until the period ends the smaller number applies.
    pub fn merged(self, newer: Self, now: Instant) -> Self {
        if self.until <= now { newer } else { Self { remaining: self.remaining.min(newer.remaining), ..self } }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_tenth_is_for_revocations_and_nothing_goes_beyond() {
        let now = Instant::now();
        let until = now + Duration::from_secs(57);
        for (remaining, others, revocations) in [
            (59, None, None),
            (7, None, None),
            (6, Some(until), None),
            (1, Some(until), None),
            (0, Some(until), Some(until)),
        ] {
            let reported = ReportedLimit { limit: 60, remaining, until };
            assert_eq!(reported.next_at(false, now), others, "{remaining} left");
            assert_eq!(reported.next_at(true, now), revocations, "{remaining} left");
            assert_eq!(reported.next_at(false, until), None, "{remaining} left, when all are there again");
        }
    }

    #[test]
    fn until_the_period_is_over_the_smaller_number_holds() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let known = ReportedLimit { limit: 60, remaining: 3, until: at(10) };
        // A response that was overtaken, and one of a route that is counted separately.
        for remaining in [5, 59] {
            assert_eq!(known.merged(ReportedLimit { limit: 60, remaining, until: at(60) }, now), known);
        }
        let fewer = ReportedLimit { remaining: 2, ..known };
        assert_eq!(known.merged(fewer, now), fewer);
        let later = ReportedLimit { limit: 60, remaining: 59, until: at(70) };
        assert_eq!(known.merged(later, at(10)), later);
    }
}
