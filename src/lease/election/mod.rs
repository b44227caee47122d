//! Who holds the Lease, as far as one replica knows, and what the replica does next. Pure: instants are arguments.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::transport::TIME_LIMIT;

/// The duration of a Lease, and the times that follow from it.
///
/// With a Lease of 60 s, the holder relies on it for 51 s from before its request, and a waiting replica waits 54 s
/// from when it observed the last renewal. The difference allows for clocks that run at different speeds, up to 5 %;
/// the rest of the 60 s is for reading and taking the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms(Duration);

impl LeaseTerms {
    /// The shortest duration in seconds: below it, a slow response of the API server would end a lease.
    pub const SHORTEST: u64 = 5;
    /// The longest duration in seconds, which bounds the wait for the Lease of a replica that was killed.
    pub const LONGEST: u64 = 600;

    /// The terms of a Lease of this many seconds. `None`: fewer than [`LeaseTerms::SHORTEST`] or more than
    /// [`LeaseTerms::LONGEST`].
    pub fn seconds(seconds: u64) -> Option<Self> {
        (Self::SHORTEST..=Self::LONGEST).contains(&seconds).then(|| Self(Duration::from_secs(seconds)))
    }

    /// The value of `leaseDurationSeconds`.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// How long the holder relies on the Lease, from before the request that took or renewed it.
    pub fn held(self) -> Duration {
        self.0 * 17 / 20
    }

    /// How long the Lease must be unchanged before another replica takes it.
    pub fn awaited(self) -> Duration {
        self.0 * 18 / 20
    }

    /// How often the holder renews the Lease.
    pub fn renew_every(self) -> Duration {
        self.0 / 10
    }

    /// How often a waiting replica reads the Lease, and how soon a failed request is repeated: often enough for a
    /// hand-over within three seconds.
    pub fn read_every(self) -> Duration {
        (self.0 / 20).min(Duration::from_secs(1))
    }

    /// The time limit of one request about the Lease.
    pub fn attempt(self) -> Duration {
        self.0 / 10
    }

    /// How long a write to a provider may take as a whole, which is also how much of the lease must be left when it
    /// starts. It is half of the lease, so that a few renewals may fail before writing stops.
    pub fn write_limit(self) -> Duration {
        (self.0 / 2).min(TIME_LIMIT)
    }
}

/// The contents of a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The holder. `None`: nobody holds it.
    pub holder: Option<String>,
    /// When it was renewed, by the holder's clock. The value is only compared, never interpreted.
    pub renewed: Option<Timestamp>,
    /// How often the holder has changed.
    pub transitions: i32,
    /// The duration for which it was taken.
    pub terms: Option<LeaseTerms>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Write the Lease with this process as its holder, under the resourceVersion that was read.
    Take,
    /// Do nothing before this instant. A process that does not hold the Lease then reads it again.
    Wait(Instant),
    /// Another process took the Lease: this process may not write any more.
    Lost {
        /// The new holder.
        to: Option<String>,
    },
}

/// The state of the election as one replica knows it.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    terms: LeaseTerms,
    /// What was read last, and since when it has been unchanged. `None` inside: there is no Lease.
    seen: Option<(Option<LeaseRecord>, Instant)>,
    /// When the request that last took or renewed the Lease began. `None`: this process does not hold it.
    ours: Option<Instant>,
    lost: Option<Option<String>>,
}

impl Election {
    /// The state before the first read. `identity` must be unique to this process, also across its restarts.
    pub fn new(identity: String, terms: LeaseTerms) -> Self {
        Self { identity, terms, seen: None, ours: None, lost: None }
    }

    /// The identity of this process.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The terms with which this process takes the Lease.
    pub fn terms(&self) -> LeaseTerms {
        self.terms
    }

    /// A read returned this record (`None`: there is no Lease), and its response arrived at `received`.
    pub fn observe(&mut self, record: Option<LeaseRecord>, received: Instant) {
        let holder = record.as_ref().and_then(|record| record.holder.clone());
        if self.ours.is_some() && holder.as_deref() != Some(&self.identity) {
            self.lost = Some(holder);
            self.ours = None;
        }
        if self.seen.as_ref().is_none_or(|(known, _)| *known != record) {
            self.seen = Some((record, received));
        }
    }

    /// A write of this process succeeded. Its request began at `began`: no other replica can have observed the write
    /// earlier.
    pub fn wrote(&mut self, record: LeaseRecord, began: Instant) {
        self.ours = Some(began);
        self.seen = Some((Some(record), began));
    }

    /// Until when this process may rely on the Lease.
    pub fn until(&self) -> Option<Instant> {
        self.ours.map(|began| began + self.terms.held())
    }

    /// Whether this process held the Lease when it was last read or written, expired or not.
    pub fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// The holder, as last read.
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref()?.0.as_ref()?.holder.as_deref()
    }

    /// The record that this process writes over the one it read.
    pub fn record(&self, now: Timestamp) -> LeaseRecord {
        let seen = self.seen.as_ref().and_then(|(record, _)| record.as_ref());
        let transitions = seen.map_or(0, |seen| {
            let same = seen.holder.as_deref() == Some(&self.identity);
            if same { seen.transitions } else { seen.transitions.saturating_add(1) }
        });
        LeaseRecord { holder: Some(self.identity.clone()), renewed: Some(now), transitions, terms: Some(self.terms) }
    }

    /// What to do at `now`.
    pub fn step(&self, now: Instant) -> LeaseStep {
        if let Some(to) = &self.lost {
            return LeaseStep::Lost { to: to.clone() };
        }
        if let Some(began) = self.ours {
            // A lease that has expired is renewed too: this process still holds it if nobody has written it since,
            // which the resourceVersion ensures.
            let due = began + self.terms.renew_every();
            return if now >= due { LeaseStep::Take } else { LeaseStep::Wait(due) };
        }
        let Some((record, since)) = &self.seen else {
            return LeaseStep::Wait(now);
        };
        let Some(LeaseRecord { holder: Some(holder), terms, .. }) = record else {
            return LeaseStep::Take;
        };
        // This process is the holder, but the response to its write was lost.
        if *holder == self.identity {
            return LeaseStep::Take;
        }
        let over = *since + terms.unwrap_or(self.terms).awaited();
        if now >= over { LeaseStep::Take } else { LeaseStep::Wait(over.min(now + self.terms.read_every())) }
    }
}

#[cfg(test)]
mod tests;
