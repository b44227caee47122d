//! What a server says that its own limits leave.

use tokio::time::Instant;

/// What is left of a server's limit until it begins anew, as its `x-ratelimit-*` headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many requests the limit is.
    pub limit: u32,
    /// How many of them are left.
    pub remaining: u32,
    /// When all of them are there again.
    pub until: Instant,
}

impl Allowance {
    /// When another request may begin: `None` means at once. A tenth of the limit is kept for what is `urgent`.
    pub fn next_at(self, urgent: bool, now: Instant) -> Option<Instant> {
        let kept = if urgent { 0 } else { self.limit.div_ceil(10) };
        (self.remaining <= kept && now < self.until).then_some(self.until)
    }

    /// This with what a later answer said. Answers overtake each other, and servers count by route: until the time is
    /// over the smaller number holds.
    pub fn told(self, newer: Self, now: Instant) -> Self {
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
            let allowance = Allowance { limit: 60, remaining, until };
            assert_eq!(allowance.next_at(false, now), others, "{remaining} left");
            assert_eq!(allowance.next_at(true, now), revocations, "{remaining} left");
            assert_eq!(allowance.next_at(false, until), None, "{remaining} left, when all are there again");
        }
    }

    #[test]
    fn until_the_time_is_over_the_smaller_number_holds() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let known = Allowance { limit: 60, remaining: 3, until: at(10) };
        // An answer that was overtaken, and one of a route that is counted for itself.
        for remaining in [5, 59] {
            assert_eq!(known.told(Allowance { limit: 60, remaining, until: at(60) }, now), known);
        }
        let fewer = Allowance { remaining: 2, ..known };
        assert_eq!(known.told(fewer, now), fewer);
        let anew = Allowance { limit: 60, remaining: 59, until: at(70) };
        assert_eq!(known.told(anew, at(10)), anew);
    }
}
