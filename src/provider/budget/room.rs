//! What one lane still has room for.

use tokio::time::Instant;

use super::allowance::Allowance;
use super::window::Window;
use super::{Kind, Urgency};
use crate::api::provider::Limits;

/// Requests in flight where `limits.maxInFlight` isn't set.
const MAX_IN_FLIGHT: u32 = 16;

/// Whether one more request may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It may.
    Now,
    /// Not before this instant.
    At(Instant),
    /// Not before a request that is in flight has ended.
    Full,
}

/// What a lane has in flight and did in the last minute, against its limits.
#[derive(Debug)]
pub struct Meter {
    limits: Limits,
    in_flight: usize,
    reads: Window,
    writes: Window,
    paused_until: Option<Instant>,
    /// What the server said last of its own limits, for reads and for writes.
    allowed: [Option<Allowance>; 2],
}

impl Meter {
    /// Nothing done yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            in_flight: 0,
            reads: Window::default(),
            writes: Window::default(),
            paused_until: None,
            allowed: [None; 2],
        }
    }

    /// Other limits from now on. What began under the old ones counts, where they counted.
    pub fn set_limits(&mut self, limits: Limits) {
        if limits.reads_per_minute.is_none() {
            self.reads.clear();
        }
        if limits.writes_per_minute.is_none() {
            self.writes.clear();
        }
        self.limits = limits;
    }

    /// Whether a request of this kind and urgency may begin at `now`.
    pub fn room(&self, kind: Kind, urgency: Urgency, now: Instant) -> Room {
        let slots = self.limits.max_in_flight.unwrap_or(MAX_IN_FLIGHT);
        if self.in_flight >= share(slots, urgency) {
            return Room::Full;
        }
        let paused = self.paused_until.filter(|until| *until > now);
        let limited = self.limit(kind).and_then(|limit| self.window(kind).next_at(share(limit, urgency), now));
        let reserved = |allowance: Allowance| allowance.next_at(urgency == Urgency::Revoke, now);
        let spent = self.allowed[kind as usize].and_then(reserved);
        paused.max(limited).max(spent).map_or(Room::Now, Room::At)
    }

    /// A request begins.
    pub fn begin(&mut self, kind: Kind, now: Instant) {
        self.in_flight += 1;
        self.charge(kind, now);
    }

    /// One more request begins in the place of one that is in flight.
    pub fn charge(&mut self, kind: Kind, now: Instant) {
        if let Some(allowance) = &mut self.allowed[kind as usize] {
            allowance.remaining = allowance.remaining.saturating_sub(1);
        }
        // Without a limit nothing is remembered: at thousands a second that would be megabytes for nothing.
        if self.limit(kind).is_some() {
            match kind {
                Kind::Read => self.reads.charge(now),
                Kind::Write => self.writes.charge(now),
            }
        }
    }

    /// A request that was to begin was never sent.
    pub fn refund(&mut self, kind: Kind) {
        match kind {
            Kind::Read => self.reads.refund(),
            Kind::Write => self.writes.refund(),
        }
    }

    /// A request ends.
    pub fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// No request begins before `until`. Of several pauses the longest counts.
    pub fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// The server said what its own limits leave for requests of this kind.
    pub fn told(&mut self, kind: Kind, allowance: Allowance, now: Instant) {
        let known = &mut self.allowed[kind as usize];
        *known = Some(known.map_or(allowance, |known| known.told(allowance, now)));
    }

    /// Whether forgetting this meter would allow nothing that it doesn't allow.
    pub fn is_spent(&mut self, now: Instant) -> bool {
        self.in_flight == 0
            && self.reads.is_empty(now)
            && self.writes.is_empty(now)
            && self.paused_until.is_none_or(|until| until <= now)
            && self.allowed.iter().flatten().all(|allowance| allowance.until <= now)
    }

    fn limit(&self, kind: Kind) -> Option<u32> {
        match kind {
            Kind::Read => self.limits.reads_per_minute,
            Kind::Write => self.limits.writes_per_minute,
        }
    }

    fn window(&self, kind: Kind) -> &Window {
        match kind {
            Kind::Read => &self.reads,
            Kind::Write => &self.writes,
        }
    }
}

/// How much of a limit an urgency may use up: revocations all of it, everything else nine tenths, rounded down, so that
/// a revocation finds room behind any backlog. A limit of 1 (or 0, which counts as 1) can't be shared.
fn share(limit: u32, urgency: Urgency) -> usize {
    let whole = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
    match urgency {
        Urgency::Revoke => whole,
        Urgency::Grant | Urgency::Drift | Urgency::Resync => (whole - whole.div_ceil(10)).max(1),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tenth_of_each_limit_is_kept_for_revocations() {
        for (limit, below) in
            [(0, 1), (1, 1), (2, 1), (3, 2), (9, 8), (10, 9), (11, 9), (16, 14), (20, 18), (90, 81), (200, 180)]
        {
            assert_eq!(share(limit, Urgency::Grant), below, "of {limit}");
            assert_eq!(share(limit, Urgency::Resync), below, "of {limit}");
            assert_eq!(share(limit, Urgency::Revoke), limit.max(1) as usize, "of {limit}");
        }
    }

    #[test]
    fn the_latest_of_pause_and_window_decides() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let limits = Limits { writes_per_minute: Some(1), ..Limits::default() };
        for (pauses, charged, expected) in [
            (vec![], false, Room::Now),
            (vec![], true, Room::At(after(60))),
            (vec![5], true, Room::At(after(60))),
            (vec![90, 30], true, Room::At(after(90))),
            (vec![90, 30], false, Room::At(after(90))),
            (vec![0], false, Room::Now),
        ] {
            let mut meter = Meter::new(limits.clone());
            for seconds in &pauses {
                meter.pause(after(*seconds));
            }
            if charged {
                meter.charge(Kind::Write, now);
            }
            assert_eq!(meter.room(Kind::Write, Urgency::Revoke, now), expected, "pauses {pauses:?}, charged {charged}");
        }
    }

    #[test]
    fn a_meter_may_be_forgotten_only_when_it_forbids_nothing() {
        let now = Instant::now();
        let mut meter = Meter::new(Limits { reads_per_minute: Some(5), ..Limits::default() });
        assert!(meter.is_spent(now));
        meter.begin(Kind::Read, now);
        assert!(!meter.is_spent(now + Duration::from_secs(120)), "in flight");
        meter.end();
        assert!(!meter.is_spent(now + Duration::from_secs(59)), "in the window");
        assert!(meter.is_spent(now + Duration::from_secs(60)));
        meter.pause(now + Duration::from_secs(100));
        assert!(!meter.is_spent(now + Duration::from_secs(60)), "paused");
    }
}
