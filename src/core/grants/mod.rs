//! Computes the grants and their next start or end from an admitted spec, the recorded starts and the time. Pure.
//!
//! Everything here serves one rule: **a recorded start never moves later**, so that no retry, restart or edit lengthens
//! a grant.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::Time;
use crate::api::membership::{RoleGrant, Temporary};
use crate::core::member::{Term, Window};
use crate::core::policy::{Admitted, GrantPeriod};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantState {
    /// Before its start.
    Scheduled,
    /// In the interval `[start, end)`.
    Active,
    /// From its end on.
    Expired,
}

/// A declared role with the term that was computed for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    pub role: String,
    /// How long it is held.
    pub term: Term,
}

impl Grant {
    /// The state of the grant at `now`.
    pub fn state(&self, now: Timestamp) -> GrantState {
        match self.term {
            Term::Permanent => GrantState::Active,
            Term::Temporary(window) if now >= window.end || window.end <= window.start => GrantState::Expired,
            Term::Temporary(window) if now < window.start => GrantState::Scheduled,
            Term::Temporary(_) => GrantState::Active,
        }
    }

    /// Whether the role should be held at `now`.
    pub fn in_effect(&self, now: Timestamp) -> bool {
        self.state(now) == GrantState::Active
    }
}

/// What is known about an object's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordHistory {
    /// The operator has never acted on it: an open window at the provider is adopted, a closed one is disregarded.
    New,
    /// Its status contains a record.
    Recorded,
    /// The operator has acted on it and its status was lost (for example, restored from a backup). A grant whose start
    /// is unknown counts as ended.
    Lost,
}

/// The starts from which an object's grants may be counted.
///
/// `recorded` takes both `status.roles` and `status.managedRoles`: a role that has ended leaves managedRoles once it is
/// known to be gone, and then its start in `roles` ensures that it stays ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starts {
    /// What is known about the object's past.
    pub past: RecordHistory,
    /// The starts in its status.
    pub recorded: BTreeMap<String, Timestamp>,
    /// The windows that the provider shows and that no other object granted. Not used if the past is recorded.
    pub provider: BTreeMap<String, Window>,
    /// The windows that the status reports as Expired. They stay Expired even if the clock goes back.
    pub expired: BTreeMap<String, Window>,
}

impl Starts {
    /// The starts of an object whose status records these.
    pub fn recorded(recorded: BTreeMap<String, Timestamp>) -> Self {
        Self { past: RecordHistory::Recorded, recorded, provider: BTreeMap::new(), expired: BTreeMap::new() }
    }

    fn provider(&self, role: &str, now: Timestamp) -> Option<Timestamp> {
        let window = self.provider.get(role)?;
        match self.past {
            RecordHistory::Recorded => None,
            RecordHistory::New => window.contains(now).then_some(window.start),
            RecordHistory::Lost => Some(window.start),
        }
    }
}

/// The grants of an admitted spec, in the order of the spec. A start at the present instant is rounded down to a whole
/// second, the precision of Kubernetes timestamps; declared times keep their milliseconds. No window starts after its
/// end.
pub fn evaluate(admitted: &Admitted, starts: &Starts, now: Timestamp) -> Vec<Grant> {
    let grant = |wanted: &crate::core::policy::AdmittedRole| Grant {
        role: wanted.role.clone(),
        term: match wanted.when {
            GrantPeriod::Always => Term::Permanent,
            GrantPeriod::Within { start, seconds, end } => {
                Term::Temporary(in_order(window(&wanted.role, start, seconds, end, starts, now)))
            }
        },
    };
    admitted.roles().iter().map(grant).collect()
}

fn window(
    role: &str,
    declared: Option<Timestamp>,
    seconds: Option<u64>,
    end: Option<Timestamp>,
    starts: &Starts,
    now: Timestamp,
) -> Window {
    let length = seconds.map(|s| SignedDuration::from_secs(i64::try_from(s).unwrap_or(i64::MAX)));
    let accepted = whole_second(now);
    if let Some(expired) = starts.expired.get(role) {
        let window = window_from(declared.unwrap_or(expired.start), length, end);
        if window.start == expired.start && window.end <= expired.end {
            // Empty, so that it is Expired at any time.
            return Window { end: window.start, ..window };
        }
    }
    let known = starts.recorded.get(role).copied().or_else(|| starts.provider(role, now));
    let start = match (declared, known, starts.past) {
        (Some(declared), _, _) => declared,
        (None, Some(known), _) if known <= now => known,
        // Its start is unknown, so it counts as ended: its window ends now.
        (None, None, RecordHistory::Lost) => return ended_now(length, end, accepted),
        // A recorded start that is still to come was declared by a former spec, or the clock was set back.
        (None, Some(_), _) | (None, None, RecordHistory::New | RecordHistory::Recorded) => accepted,
    };
    window_from(start, length, end)
}

/// The window that starts at `start` and ends after `length` or at `end`, whichever comes first.
fn window_from(start: Timestamp, length: Option<SignedDuration>, end: Option<Timestamp>) -> Window {
    let by_length = length.map(|length| start.saturating_add(length).unwrap_or(Timestamp::MAX));
    let end = match (by_length, end) {
        (Some(a), Some(b)) => a.min(b),
        (Some(end), None) | (None, Some(end)) => end,
        // `admit` rejects a temporary role without an end. If one arrived here, its window would be empty.
        (None, None) => start,
    };
    whole_milliseconds(Window { start, end })
}

/// The window without fractions of a millisecond, which no provider keeps: it starts no earlier and ends no later.
/// Otherwise the requested end and the shown end would always differ.
fn whole_milliseconds(window: Window) -> Window {
    const NANOSECONDS: i128 = 1_000_000;
    let at = |milliseconds: i128| i64::try_from(milliseconds).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let up = -(-window.start.as_nanosecond()).div_euclid(NANOSECONDS);
    let down = window.end.as_nanosecond().div_euclid(NANOSECONDS);
    Window { start: at(up).unwrap_or(window.start), end: at(down).unwrap_or(window.end) }
}

/// The window, changed so that it does not end before its start. It would do so if the end had passed when the grant
/// was first accepted, or if both are within one millisecond. The result is empty at its start and never in effect. The
/// start is not moved instead, because later ends and durations count from it.
fn in_order(window: Window) -> Window {
    Window { end: window.end.max(window.start), ..window }
}

/// A window that has ended. With a length it is `[now - length, now)`, so that the recorded window stays ended. With
/// only an absolute end, no start is needed to know the end, so the grant continues until that end.
fn ended_now(length: Option<SignedDuration>, end: Option<Timestamp>, now: Timestamp) -> Window {
    match (length, end) {
        (None, Some(end)) => Window { start: now, end },
        (length, _) => {
            let length = length.unwrap_or(SignedDuration::ZERO);
            Window { start: now.saturating_sub(length).unwrap_or(Timestamp::MIN), end: now }
        }
    }
}

/// A recorded term, shortened if the spec brings its end forward, whether or not the spec is admitted. The result never
/// ends later than the recorded term. `declared`: the entries of the spec for this role; of several, which an invalid
/// spec may have, the earliest end counts.
///
/// A duration counts from the recorded start. A permanent term has no start, and a spec that is not admitted begins no
/// window: in this case only an `expirationTime`, or a `startTime` with a duration, is an end.
pub fn brought_forward<'a>(recorded: Term, declared: impl IntoIterator<Item = &'a RoleGrant>, now: Timestamp) -> Term {
    let start = recorded.known_start();
    let ends = declared.into_iter().filter_map(|grant| declared_end(grant.temporary.as_ref()?, start));
    match (recorded, ends.min()) {
        (Term::Permanent, Some(end)) => {
            Term::Temporary(in_order(whole_milliseconds(Window { start: whole_second(now), end })))
        }
        (Term::Temporary(window), Some(end)) if end < window.end => {
            Term::Temporary(in_order(whole_milliseconds(Window { end, ..window })))
        }
        (recorded, _) => recorded,
    }
}

/// The end of a temporary role, as far as its fields can be parsed: an end in a spec is respected even if the spec is
/// otherwise invalid.
fn declared_end(temporary: &Temporary, recorded_start: Option<Timestamp>) -> Option<Timestamp> {
    let read = |time: &Option<Time>| time.as_ref().and_then(|time| time.timestamp().ok());
    let seconds = temporary.duration.as_ref().and_then(|duration| i64::try_from(duration.seconds().ok()?).ok());
    let start = read(&temporary.start_time).or(recorded_start);
    let by_length = start
        .zip(seconds)
        .map(|(start, seconds)| start.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX));
    by_length.into_iter().chain(read(&temporary.expiration_time)).min()
}

/// `at` without its fraction of a second, rounded down: a start may only move earlier.
pub fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second() - i64::from(at.subsec_nanosecond() < 0)).unwrap_or(at)
}

/// The next start or end after `now` among these terms. `None`: nothing changes after that.
pub fn next_edge<'a>(terms: impl IntoIterator<Item = &'a Term>, now: Timestamp) -> Option<Timestamp> {
    terms
        .into_iter()
        .filter_map(Term::window)
        .filter(|window| window.start < window.end)
        .flat_map(|window| [window.start, window.end])
        .filter(|edge| *edge > now)
        .min()
}

#[cfg(test)]
mod tests;
