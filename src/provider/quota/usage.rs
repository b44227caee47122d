//! The usage of one quota against its limits: what it has in flight and has sent in the last minute.

use std::time::Duration;

use tokio::time::Instant;

use super::reported::ReportedLimit;
use super::window::Window;
use super::{RequestKind, Urgency};
use crate::api::provider::Limits;

/// Requests in flight if `limits.maxInFlight` isn't set.
const MAX_IN_FLIGHT: u32 = 16;

/// How soon an end that is due is attempted again although the server requested a longer wait. One request at a time.
pub const ATTEMPT_EVERY: Duration = Duration::from_secs(10);

/// Whether one more request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// It may.
    Now,
    /// Not before this instant.
    At(Instant),
    /// Not before a request that is in flight has ended.
    Full,
}

/// What a quota has in flight and has sent in the last minute, against its limits.
#[derive(Debug)]
pub struct Usage {
    limits: Limits,
    in_flight: usize,
    /// For reads and for writes.
    windows: [Window; 2],
    paused_until: Option<Instant>,
    /// The limits that the server reported last, for reads and for writes.
    reported: [Option<ReportedLimit>; 2],
    /// When an end that was due was last attempted during a pause.
    attempted: Option<Instant>,
}

impl Usage {
    /// No usage yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            in_flight: 0,
            windows: Default::default(),
            paused_until: None,
            reported: [None; 2],
            attempted: None,
        }
    }

    /// Changes the limits. Requests that began under the old ones count if they were counted.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        for kind in [RequestKind::Read, RequestKind::Write] {
            if self.limit(kind).is_none() {
                self.windows[kind as usize] = Window::default();
            }
        }
    }

    /// Whether a request of this kind and urgency may begin at `now`.
    pub fn capacity(&self, kind: RequestKind, urgency: Urgency, now: Instant) -> Capacity {
        let slots = self.limits.max_in_flight.unwrap_or(MAX_IN_FLIGHT);
        if self.in_flight >= share(slots, urgency) {
            return Capacity::Full;
        }
        let limited =
            self.limit(kind).and_then(|limit| self.windows[kind as usize].next_at(share(limit, urgency), now));
        let paused = match (self.paused(kind, urgency, now), urgency) {
            (Some(_), Urgency::End(_)) if self.in_flight > 0 => return Capacity::Full,
            (Some(until), Urgency::End(_)) => {
                self.attempted.map(|at| until.min(at + ATTEMPT_EVERY)).filter(|at| *at > now)
            }
            (paused, _) => paused,
        };
        paused.max(limited).map_or(Capacity::Now, Capacity::At)
    }

    /// Until when the server requested to wait; `None`: it didn't.
    fn paused(&self, kind: RequestKind, urgency: Urgency, now: Instant) -> Option<Instant> {
        let asked = self.paused_until.filter(|until| *until > now);
        let spent = self.reported[kind as usize].and_then(|reported| reported.next_at(urgency.revokes(), now));
        asked.max(spent)
    }

    /// A request begins.
    pub fn begin(&mut self, kind: RequestKind, urgency: Urgency, now: Instant) {
        if self.paused(kind, urgency, now).is_some() {
            self.attempted = Some(now);
        }
        self.in_flight += 1;
        self.charge(kind, now);
    }

    /// The server responded, and didn't request a wait.
    pub fn answered(&mut self) {
        self.attempted = None;
    }

    /// One more request begins in place of one that is in flight.
    pub fn charge(&mut self, kind: RequestKind, now: Instant) {
        if let Some(reported) = &mut self.reported[kind as usize] {
            reported.remaining = reported.remaining.saturating_sub(1);
        }
        // Without a limit nothing is recorded: at thousands of requests per second it would waste megabytes.
        if self.limit(kind).is_some() {
            self.windows[kind as usize].charge(now);
        }
    }

    /// A request that was to begin was never sent.
    pub fn refund(&mut self, kind: RequestKind) {
        // An end that was to be attempted during a pause was not.
        self.attempted = None;
        if let Some(reported) = &mut self.reported[kind as usize] {
            reported.remaining = reported.remaining.saturating_add(1);
        }
        self.windows[kind as usize].refund();
    }

    /// A request ends.
    pub fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// No request begins before `until`. Of several pauses the longest counts.
    pub fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// The server reported what remains of its own limits for requests of this kind.
    pub fn rate_limit(&mut self, kind: RequestKind, newer: ReportedLimit, now: Instant) {
        let known = &mut self.reported[kind as usize];
        *known = Some(known.map_or(newer, |known| known.merged(newer, now)));
    }

    /// Whether dropping this usage would allow nothing more.
    pub fn is_unused(&mut self, now: Instant) -> bool {
        self.in_flight == 0
            && self.windows.iter_mut().all(|window| window.is_empty(now))
            && self.paused_until.is_none_or(|until| until <= now)
            && self.reported.iter().flatten().all(|reported| reported.until <= now)
    }

    fn limit(&self, kind: RequestKind) -> Option<u32> {
        match kind {
            RequestKind::Read => self.limits.reads_per_minute,
            RequestKind::Write => self.limits.writes_per_minute,
        }
    }
}

/// How much of a limit an urgency may use: ends and revocations all of it; what changes access otherwise nine tenths,
/// rounded down, so that a revocation finds capacity behind any backlog; a resync, which is never awaited, half, so
/// that a short interval of one tenant doesn't use up what others need. A limit of 1 (or 0, which counts as 1) can't be
/// shared.
fn share(limit: u32, urgency: Urgency) -> usize {
    let whole = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
    match urgency {
        Urgency::End(_) | Urgency::Revoke => whole,
        Urgency::Exchange | Urgency::Grant | Urgency::Drift => (whole - whole.div_ceil(10)).max(1),
        Urgency::Resync => (whole / 2).max(1),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const DUE: Urgency = Urgency::End(Timestamp::UNIX_EPOCH);

    #[test]
    fn a_tenth_of_each_limit_is_kept_for_revocations_and_resyncs_use_half() {
        for (limit, below, resync) in [
            (0, 1, 1),
            (1, 1, 1),
            (2, 1, 1),
            (3, 2, 1),
            (9, 8, 4),
            (10, 9, 5),
            (11, 9, 5),
            (16, 14, 8),
            (20, 18, 10),
            (90, 81, 45),
            (200, 180, 100),
        ] {
            for urgency in [Urgency::Exchange, Urgency::Grant, Urgency::Drift] {
                assert_eq!(share(limit, urgency), below, "{urgency:?} of {limit}");
            }
            assert_eq!(share(limit, Urgency::Resync), resync, "of {limit}");
            for urgency in [DUE, Urgency::Revoke] {
                assert_eq!(share(limit, urgency), limit.max(1) as usize, "{urgency:?} of {limit}");
            }
        }
    }

    #[test]
    fn the_latest_of_pause_and_window_decides() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let limits = Limits { writes_per_minute: Some(1), ..Limits::default() };
        for (pauses, charged, expected) in [
            (vec![], false, Capacity::Now),
            (vec![], true, Capacity::At(after(60))),
            (vec![5], true, Capacity::At(after(60))),
            (vec![90, 30], true, Capacity::At(after(90))),
            (vec![90, 30], false, Capacity::At(after(90))),
            (vec![0], false, Capacity::Now),
        ] {
            let mut usage = Usage::new(limits.clone());
            for seconds in &pauses {
                usage.pause(after(*seconds));
            }
            if charged {
                usage.charge(RequestKind::Write, now);
            }
            let found = usage.capacity(RequestKind::Write, Urgency::Revoke, now);
            assert_eq!(found, expected, "pauses {pauses:?}, charged {charged}");
        }
    }

    #[test]
    fn an_end_that_is_due_is_attempted_during_a_pause_one_request_at_a_time() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut usage = Usage::new(Limits::default());
        usage.pause(after(3600));
        assert_eq!(
            usage.capacity(RequestKind::Read, Urgency::Revoke, now),
            Capacity::At(after(3600)),
            "nothing else is"
        );
        assert_eq!(
            usage.capacity(RequestKind::Read, DUE, now),
            Capacity::Now,
            "at once, though the server asked to wait an hour"
        );
        usage.begin(RequestKind::Read, DUE, now);
        assert_eq!(usage.capacity(RequestKind::Write, DUE, after(1)), Capacity::Full, "one at a time");
        usage.end();
        assert_eq!(
            usage.capacity(RequestKind::Write, DUE, after(1)),
            Capacity::At(after(10)),
            "it was refused: ten seconds later"
        );
        assert_eq!(usage.capacity(RequestKind::Write, DUE, after(10)), Capacity::Now);
        usage.begin(RequestKind::Write, DUE, after(10));
        usage.answered();
        usage.end();
        assert_eq!(
            usage.capacity(RequestKind::Write, DUE, after(11)),
            Capacity::Now,
            "it was answered: the next goes on"
        );
        assert_eq!(
            usage.capacity(RequestKind::Write, Urgency::Grant, after(11)),
            Capacity::At(after(3600)),
            "others still wait"
        );
    }

    #[test]
    fn a_limit_that_the_server_reports_is_a_pause_like_any_other() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut usage = Usage::new(Limits::default());
        usage.rate_limit(RequestKind::Write, ReportedLimit { limit: 60, remaining: 0, until: after(600) }, now);
        assert_eq!(usage.capacity(RequestKind::Write, Urgency::Revoke, now), Capacity::At(after(600)));
        assert_eq!(usage.capacity(RequestKind::Write, DUE, now), Capacity::Now);
        usage.begin(RequestKind::Write, DUE, now);
        usage.end();
        assert_eq!(usage.capacity(RequestKind::Write, DUE, now), Capacity::At(after(10)));
    }

    #[test]
    fn the_limit_per_minute_that_was_set_holds_for_ends_too() {
        let now = Instant::now();
        let mut usage = Usage::new(Limits { writes_per_minute: Some(1), ..Limits::default() });
        usage.begin(RequestKind::Write, DUE, now);
        usage.end();
        assert_eq!(usage.capacity(RequestKind::Write, DUE, now), Capacity::At(now + Duration::from_secs(60)));
    }

    #[test]
    fn a_usage_may_be_forgotten_only_when_it_forbids_nothing() {
        let now = Instant::now();
        let mut usage = Usage::new(Limits { reads_per_minute: Some(5), ..Limits::default() });
        assert!(usage.is_unused(now));
        usage.begin(RequestKind::Read, Urgency::Grant, now);
        assert!(!usage.is_unused(now + Duration::from_secs(120)), "in flight");
        usage.end();
        assert!(!usage.is_unused(now + Duration::from_secs(59)), "in the window");
        assert!(usage.is_unused(now + Duration::from_secs(60)));
        usage.pause(now + Duration::from_secs(100));
        assert!(!usage.is_unused(now + Duration::from_secs(60)), "paused");
    }
}
