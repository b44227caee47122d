//! When to report again something that has not changed: a failed revocation, a wait, a fault. Pure: `now` is an
//! argument. Conditions always state the present situation. Events and log lines are for moments that need attention;
//! an operator that retries every few seconds must not repeat them each time.

use std::collections::BTreeSet;
use std::time::Duration;

use std::time::Instant;

use crate::api::Reason;

/// The interval at which a lasting problem is reported again.
pub const REPEAT: Duration = Duration::from_secs(600);
/// How long an object must wait before an event reports it. An object that is applied together with its provider waits
/// only for moments.
pub const WAIT_GRACE: Duration = Duration::from_secs(10);

/// What was reported about one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// When access that should have ended was last reported as still in force. `None`: there is no such access.
    overdue: Option<Instant>,
    /// Since when the object has been waiting, and which reasons of this wait were reported.
    waiting: Option<(Instant, BTreeSet<Reason>)>,
    /// Set if the API server failed or refused a request of the last pass.
    fault: Option<FaultSeries>,
}

/// Faults of several consecutive passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FaultSeries {
    in_a_row: u32,
    /// The last fault that was logged.
    logged: Option<String>,
}

impl Notices {
    /// A revocation has failed. Returns whether to report it: the first failure, and then once per [`REPEAT`] at most.
    pub fn revocation_failed(&mut self, now: Instant) -> bool {
        let is_due = self.overdue.is_none_or(|last| now.duration_since(last) >= REPEAT);
        if is_due {
            self.overdue = Some(now);
        }
        is_due
    }

    /// Nothing is left to revoke.
    pub fn revoked(&mut self) {
        self.overdue = None;
    }

    /// Whether access that should have ended is still in force.
    pub fn is_overdue(&self) -> bool {
        self.overdue.is_some()
    }

    /// The object waits for this reason. Returns whether to report it: once for each reason of one wait, and only after
    /// the wait has lasted [`WAIT_GRACE`].
    pub fn waits(&mut self, reason: Reason, now: Instant) -> bool {
        let (since, reported) = self.waiting.get_or_insert_with(|| (now, BTreeSet::new()));
        now.duration_since(*since) >= WAIT_GRACE && reported.insert(reason)
    }

    /// How long until the wait for this reason is to be reported. `None`: it is not to be reported, or was already.
    pub fn grace_left(&self, reason: Reason, now: Instant) -> Option<Duration> {
        let (since, reported) = self.waiting.as_ref()?;
        (!reported.contains(&reason)).then(|| (*since + WAIT_GRACE).saturating_duration_since(now))
    }

    /// The object no longer waits.
    pub fn waits_no_more(&mut self) {
        self.waiting = None;
    }

    /// The API server failed or refused a request of a pass. Returns the number of consecutive passes with a fault.
    pub fn fault(&mut self) -> u32 {
        let fault = self.fault.get_or_insert_default();
        fault.in_a_row = fault.in_a_row.saturating_add(1);
        fault.in_a_row
    }

    /// Whether to log a fault with this description: once, until a different fault replaces it.
    pub fn logs_fault(&mut self, what: &str) -> bool {
        let fault = self.fault.get_or_insert_default();
        let changed = fault.logged.as_deref() != Some(what);
        if changed {
            fault.logged = Some(what.to_owned());
        }
        changed
    }

    /// A pass finished without a fault.
    pub fn no_fault(&mut self) {
        self.fault = None;
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen failing without the record of the last report: six reports instead of three.
    #[test]
    fn a_failing_revocation_is_reported_at_once_and_then_every_ten_minutes() {
        let began = Instant::now();
        let mut notices = Notices::default();
        let mut reported = Vec::new();
        for seconds in [0, 1, 5, 599, 600, 601, 1199, 1200] {
            if notices.revocation_failed(began + Duration::from_secs(seconds)) {
                reported.push(seconds);
            }
        }
        assert_eq!(reported, [0, 600, 1200]);
        assert!(notices.is_overdue());
        notices.revoked();
        assert!(notices.is_empty());
        assert!(notices.revocation_failed(began + Duration::from_secs(1201)), "the next failure is another one");
    }

    #[test]
    fn a_fault_is_logged_when_it_changes() {
        let mut notices = Notices::default();
        let logged: Vec<bool> = ["403", "403", "422", "422", "403"].map(|what| notices.logs_fault(what)).into();
        assert_eq!(logged, [true, false, true, false, true]);
        assert_eq!((notices.fault(), notices.fault()), (1, 2));
        notices.no_fault();
        assert!(notices.is_empty());
        assert_eq!((notices.fault(), notices.logs_fault("403")), (1, true));
    }

    /// Seen failing without the grace period: the first two are reported immediately.
    #[test]
    fn a_wait_is_reported_once_for_each_reason_and_only_if_it_lasts() {
        use Reason::{ProviderNotFound, ProviderNotReady, Unreachable};
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut notices = Notices::default();
        for (seconds, reason, reported) in [
            (0, ProviderNotFound, false),
            (9, ProviderNotFound, false),
            (10, ProviderNotFound, true),
            (11, ProviderNotFound, false),
            (12, ProviderNotReady, true),
            (13, ProviderNotFound, false),
            (14, Unreachable, true),
            (4000, Unreachable, false),
        ] {
            assert_eq!(notices.waits(reason, after(seconds)), reported, "{reason} after {seconds} s");
        }
        notices.waits_no_more();
        assert!(!notices.waits(Unreachable, after(5000)), "another wait has its own grace period");
        assert_eq!(notices.grace_left(Unreachable, after(5004)), Some(Duration::from_secs(6)));
        assert!(notices.waits(Unreachable, after(5010)));
        assert_eq!(notices.grace_left(Unreachable, after(5011)), None);
    }
}
