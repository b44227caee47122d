//! Tracks whether a provider's server is reachable, by the results of passes and checks. Pure: `now` is an argument. A
//! pass whose request gets no response requests a check of the provider object immediately, and the check decides: one
//! failing route is no outage. While the server is unreachable, the first pass that gets a response requests a check as
//! well. The connection remains in use all the time, so that ends and revocations are tried throughout.

use std::time::Duration;

use tokio::time::Instant;

/// How long no check is requested after one that reached the server although a pass had not. The provider is checked
/// again when this time has passed.
pub const QUIET: Duration = Duration::from_secs(10);

/// What is known about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerReachability {
    /// The last check reached it, or there was none yet. No check is requested before this instant.
    Reachable {
        /// The instant; `None`: a check may be requested at any time.
        quiet_until: Option<Instant>,
    },
    /// A pass got no response, and a check was requested.
    Suspected,
    /// A check found that it is unreachable.
    Unreachable {
        /// When the check found that.
        since: Instant,
    },
}

/// The change that a check results in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReachabilityChange {
    /// No change.
    AsBefore,
    /// The server responds to a check that a pass requested: that pass's failure is no outage.
    NoOutage,
    /// The server responds again: its memberships do not have to wait any longer.
    Recovered,
}

impl Default for ServerReachability {
    fn default() -> Self {
        Self::Reachable { quiet_until: None }
    }
}

impl ServerReachability {
    /// Records that a request of a pass got no response. Returns whether to check the provider now.
    pub fn unanswered(&mut self, now: Instant) -> bool {
        let requests = match self {
            Self::Reachable { quiet_until } => quiet_until.is_none_or(|until| now >= until),
            Self::Suspected | Self::Unreachable { .. } => false,
        };
        if requests {
            *self = Self::Suspected;
        }
        requests
    }

    /// Whether to check the provider now, after a request of a pass that began at `began` got a response.
    pub fn answered(&self, began: Instant) -> bool {
        matches!(self, Self::Unreachable { since } if began > *since)
    }

    /// Records that a check reached the server.
    pub fn found(&mut self, now: Instant) -> ReachabilityChange {
        let (finding, quiet_until) = match self {
            Self::Reachable { .. } => (ReachabilityChange::AsBefore, None),
            Self::Suspected => (ReachabilityChange::NoOutage, Some(now + QUIET)),
            Self::Unreachable { .. } => (ReachabilityChange::Recovered, None),
        };
        *self = Self::Reachable { quiet_until };
        finding
    }

    /// Records that a check did not reach the server.
    pub fn not_found(&mut self, now: Instant) -> ReachabilityChange {
        if !matches!(self, Self::Unreachable { .. }) {
            *self = Self::Unreachable { since: now };
        }
        ReachabilityChange::AsBefore
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn one_unanswered_request_of_a_pass_asks_for_one_check() {
        let began = Instant::now();
        let mut server = ServerReachability::default();
        assert_eq!(server.found(began), ReachabilityChange::AsBefore);
        assert!(server.unanswered(after(began, 1)));
        assert!(!server.unanswered(after(began, 1)), "it was asked for");
        server.not_found(after(began, 2));
        assert!(!server.unanswered(after(began, 3)), "it is known");
    }

    #[test]
    fn the_first_answer_after_an_outage_asks_for_a_check_which_ends_it() {
        let began = Instant::now();
        let mut server = ServerReachability::default();
        server.found(began);
        server.not_found(after(began, 60));
        server.not_found(after(began, 90));
        assert!(!server.answered(after(began, 50)), "an answer from before the outage");
        assert!(server.answered(after(began, 61)));
        assert_eq!(server.found(after(began, 120)), ReachabilityChange::Recovered);
        assert!(!server.answered(after(began, 121)));
        assert!(server.unanswered(after(began, 121)), "the next outage is reported at once");
    }

    /// Seen failing without the quiet time: every failing request requested a check.
    #[test]
    fn a_route_that_fails_alone_asks_for_a_check_every_ten_seconds() {
        let began = Instant::now();
        let mut server = ServerReachability::default();
        server.found(began);
        let mut asked = Vec::new();
        for seconds in 0..25 {
            if server.unanswered(after(began, seconds)) {
                asked.push(seconds);
                assert_eq!(server.found(after(began, seconds)), ReachabilityChange::NoOutage);
            }
        }
        assert_eq!(asked, [0, 10, 20]);
        assert_eq!(server.found(after(began, 40)), ReachabilityChange::AsBefore, "the check that follows on its own");
        assert!(server.unanswered(after(began, 41)));
    }
}
