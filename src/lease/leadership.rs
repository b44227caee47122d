//! The right to act, as all code except the keeper uses it.
//!
//! It is checked in two central places, so that no caller can forget it: the HTTP client checks it before each request
//! that writes to a provider, and the Kubernetes client before each request that is not a GET.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::LeaseTerms;
use crate::transport::TIME_LIMIT;

/// Whether this process may act. There is one for the whole process.
#[derive(Debug)]
pub struct Leadership {
    write_limit: Duration,
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct State {
    right: WriteRight,
    /// Whether this process has ever led.
    has_led: bool,
    closed: bool,
    under_way: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteRight {
    /// There are no other replicas.
    Alone,
    /// By a lease, until this instant.
    Until(Option<Instant>),
}

impl Leadership {
    /// The leadership of the only process, which always leads.
    pub fn alone() -> Arc<Self> {
        Self::new(WriteRight::Alone, TIME_LIMIT)
    }

    /// The leadership of one of several replicas, which leads while [`Leadership::held_until`] allows it.
    pub fn elected(terms: LeaseTerms) -> Arc<Self> {
        Self::new(WriteRight::Until(None), terms.write_limit())
    }

    fn new(right: WriteRight, write_limit: Duration) -> Arc<Self> {
        let state = State { right, has_led: right == WriteRight::Alone, closed: false, under_way: 0 };
        Arc::new(Self { write_limit, state: watch::Sender::new(state) })
    }

    /// This process holds the lease until this instant, or not at all.
    pub fn held_until(&self, until: Option<Instant>) {
        self.state.send_modify(|state| {
            state.right = WriteRight::Until(until);
            state.has_led |= until.is_some();
        });
    }

    /// Waits until this process leads for the first time.
    pub async fn begins(&self) {
        // `self` owns the sender, so the channel stays open.
        let _ = self.state.subscribe().wait_for(|state| state.has_led).await;
    }

    /// Whether this process leads at `now`.
    pub fn leads(&self, now: Instant) -> bool {
        self.state.borrow().right.left(now).is_some()
    }

    /// How long a request that writes to a provider may take as a whole.
    pub fn write_limit(&self) -> Duration {
        self.write_limit
    }

    /// Whether a request that writes to a provider has enough time to start at `now` and to end.
    pub fn has_time(&self, now: Instant) -> bool {
        self.state.borrow().right.left(now).is_some_and(|left| left > self.write_limit)
    }

    /// Begins a write to a provider at `now`, of one request or several. `None`: it may not begin.
    pub fn begin(self: &Arc<Self>, now: Instant) -> Option<WriteInProgress> {
        let begins = self.state.send_if_modified(|state| {
            let begins = !state.closed && state.right.left(now).is_some_and(|left| left > self.write_limit);
            state.under_way += usize::from(begins);
            begins
        });
        begins.then(|| WriteInProgress(self.clone()))
    }

    /// No write may begin any more. Writes in progress continue.
    pub fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// Waits until no write is in progress.
    pub async fn idle(&self) {
        let _ = self.state.subscribe().wait_for(|state| state.under_way == 0).await;
    }

    /// Whether no write is in progress.
    pub fn is_idle(&self) -> bool {
        self.state.borrow().under_way == 0
    }
}

impl WriteRight {
    fn left(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Alone => Some(Duration::MAX),
            Self::Until(until) => until?.checked_duration_since(now).filter(|left| !left.is_zero()),
        }
    }
}

/// A write to a provider that has begun. It ends when this is dropped.
#[derive(Debug)]
pub struct WriteInProgress(Arc<Leadership>);

impl Drop for WriteInProgress {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.under_way -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_begins_only_with_more_time_left_than_it_may_take() {
        let terms = LeaseTerms::seconds(60).unwrap();
        let now = Instant::now();
        let leadership = Leadership::elected(terms);
        assert!(leadership.begin(now).is_none() && !leadership.leads(now), "before the lease is taken");
        for (left, begins, leads) in
            [(51_000, true, true), (30_001, true, true), (30_000, false, true), (0, false, false)]
        {
            leadership.held_until(Some(now + Duration::from_millis(left)));
            assert_eq!(leadership.begin(now).is_some(), begins, "{left} ms are left");
            assert_eq!(leadership.leads(now), leads, "{left} ms are left");
        }
        leadership.held_until(None);
        assert!(leadership.begin(now).is_none() && !leadership.leads(now), "it was lost");
    }

    #[tokio::test]
    async fn who_stops_begins_nothing_and_waits_for_what_has_begun() {
        let leadership = Leadership::alone();
        let write = leadership.begin(Instant::now()).unwrap();
        leadership.close();
        assert!(leadership.begin(Instant::now()).is_none());
        assert!(leadership.has_time(Instant::now()), "what has begun goes on");
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, leadership.idle()).await.is_err());
        drop(write);
        assert!(tokio::time::timeout(soon, leadership.idle()).await.is_ok());
    }
}
