//! Who holds the Lease, as one replica knows it, and what it does next. Pure: instants come in as values.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::transport::TIME_LIMIT;

/// For how long a Lease is taken, and what follows from that.
///
/// With a Lease of 60 s: who holds it counts on 51 s from before it asked, who waits for it waits 54 s from when it saw
/// it renewed. The difference is for clocks that run at different speeds, up to 5 %; the rest of the 60 s is for looking
/// and taking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms(Duration);

impl Terms {
    /// The shortest, in seconds: below it a slow answer of the API server is the end of a lease.
    pub const SHORTEST: u64 = 5;
    /// The longest, in seconds: nobody waits longer for a replica that was killed.
    pub const LONGEST: u64 = 600;

    /// A Lease of so many seconds; `None`: fewer than [`Terms::SHORTEST`] or more than [`Terms::LONGEST`].
    pub fn seconds(seconds: u64) -> Option<Self> {
        (Self::SHORTEST..=Self::LONGEST).contains(&seconds).then(|| Self(Duration::from_secs(seconds)))
    }

    /// What stands in `leaseDurationSeconds`.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// For how long the holder counts on it, from before the request that took or renewed it.
    pub fn held(self) -> Duration {
        self.0 * 17 / 20
    }

    /// After how long without a change somebody else takes it.
    pub fn awaited(self) -> Duration {
        self.0 * 18 / 20
    }

    /// How often the holder renews it.
    pub fn renew_every(self) -> Duration {
        self.0 / 10
    }

    /// How often one who waits looks, and how soon a request that failed is repeated: often enough for a hand-over
    /// within three seconds.
    pub fn look_every(self) -> Duration {
        (self.0 / 20).min(Duration::from_secs(1))
    }

    /// How long one request about it may take.
    pub fn attempt(self) -> Duration {
        self.0 / 10
    }

    /// How long a request that writes to a provider may take as a whole, which is also how much of the lease must be
    /// left when it starts. Half of the lease, so that a few renewals may fail before writing stops.
    pub fn write_limit(self) -> Duration {
        (self.0 / 2).min(TIME_LIMIT)
    }
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None`: nobody.
    pub holder: Option<String>,
    /// When it was renewed, by the holder's clock: compared, never read.
    pub renewed: Option<Timestamp>,
    /// How often it has changed hands.
    pub transitions: i32,
    /// For how long it was taken.
    pub terms: Option<Terms>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the Lease with our name in it, under the resourceVersion that was seen.
    Take,
    /// Nothing before this instant; who doesn't hold it looks again then.
    Wait(Instant),
    /// It was taken from us: this process may not write any more.
    Lost {
        /// By whom.
        to: Option<String>,
    },
}

/// One replica's view.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    terms: Terms,
    /// What was seen last, and since when it has been so. `None` inside: there is no Lease.
    seen: Option<(Option<Record>, Instant)>,
    /// When the request that took or renewed it last had begun; `None`: it isn't ours.
    ours: Option<Instant>,
    lost: Option<Option<String>>,
}

impl Election {
    /// Nothing is known yet. `identity` must be of this process alone, a restarted one's be another.
    pub fn new(identity: String, terms: Terms) -> Self {
        Self { identity, terms, seen: None, ours: None, lost: None }
    }

    /// Who we are.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// For how long we take it.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// A look showed this, `None`: no Lease, and its answer was there at `received`.
    pub fn saw(&mut self, record: Option<Record>, received: Instant) {
        let holder = record.as_ref().and_then(|record| record.holder.clone());
        if self.ours.is_some() && holder.as_deref() != Some(&self.identity) {
            self.lost = Some(holder);
            self.ours = None;
        }
        if self.seen.as_ref().is_none_or(|(known, _)| *known != record) {
            self.seen = Some((record, received));
        }
    }

    /// Our own write was carried out. Its request had begun at `began`: nobody can have seen it earlier.
    pub fn wrote(&mut self, record: Record, began: Instant) {
        self.ours = Some(began);
        self.seen = Some((Some(record), began));
    }

    /// Until when it is ours.
    pub fn until(&self) -> Option<Instant> {
        self.ours.map(|began| began + self.terms.held())
    }

    /// Whether it was ours the last time that we know of, in time or not.
    pub fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// Who holds it, as last seen.
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref()?.0.as_ref()?.holder.as_deref()
    }

    /// What to write over what was seen.
    pub fn record(&self, now: Timestamp) -> Record {
        let seen = self.seen.as_ref().and_then(|(record, _)| record.as_ref());
        let transitions = seen.map_or(0, |seen| {
            let same = seen.holder.as_deref() == Some(&self.identity);
            if same { seen.transitions } else { seen.transitions.saturating_add(1) }
        });
        Record { holder: Some(self.identity.clone()), renewed: Some(now), transitions, terms: Some(self.terms) }
    }

    /// What to do at `now`.
    pub fn step(&self, now: Instant) -> Step {
        if let Some(to) = &self.lost {
            return Step::Lost { to: to.clone() };
        }
        if let Some(began) = self.ours {
            // One that ran out is renewed too: it is still ours if nobody has written it since, and that is what the
            // resourceVersion says.
            let due = began + self.terms.renew_every();
            return if now >= due { Step::Take } else { Step::Wait(due) };
        }
        let Some((record, since)) = &self.seen else {
            return Step::Wait(now);
        };
        let Some(Record { holder: Some(holder), terms, .. }) = record else {
            return Step::Take;
        };
        // Ours, and the answer that said so was lost.
        if *holder == self.identity {
            return Step::Take;
        }
        let over = *since + terms.unwrap_or(self.terms).awaited();
        if now >= over { Step::Take } else { Step::Wait(over.min(now + self.terms.look_every())) }
    }
}

#[cfg(test)]
mod tests;
