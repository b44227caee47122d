//! The right to act, as everybody but the keeper sees it.
//!
//! Two places ask, and no caller can forget to: the HTTP client before each request that writes to a provider, and the
//! Kubernetes client before each request that isn't a GET.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Terms;
use crate::transport::TIME_LIMIT;

/// Whether this process may act. One for the whole process.
#[derive(Debug)]
pub struct Leadership {
    write_limit: Duration,
    state: Mutex<State>,
    /// Whether it has ever led.
    led: watch::Sender<bool>,
    idle: Notify,
}

#[derive(Debug)]
struct State {
    right: Right,
    closed: bool,
    under_way: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// Nobody else is there.
    Alone,
    /// Of a lease, until this instant.
    Until(Option<Instant>),
}

impl Leadership {
    /// Of a process that is the only one: it always leads.
    pub fn alone() -> Arc<Self> {
        Self::new(Right::Alone, TIME_LIMIT)
    }

    /// Of one of several: it leads while [`Leadership::held_until`] says so.
    pub fn elected(terms: Terms) -> Arc<Self> {
        Self::new(Right::Until(None), terms.write_limit())
    }

    fn new(right: Right, write_limit: Duration) -> Arc<Self> {
        let state = Mutex::new(State { right, closed: false, under_way: 0 });
        let led = watch::Sender::new(right == Right::Alone);
        Arc::new(Self { write_limit, state, led, idle: Notify::new() })
    }

    /// The lease is ours until this instant, or not at all.
    pub fn held_until(&self, until: Option<Instant>) {
        self.lock().right = Right::Until(until);
        if until.is_some() {
            self.led.send_if_modified(|led| !std::mem::replace(led, true));
        }
    }

    /// Waits until it leads for the first time.
    pub async fn begins(&self) {
        // The sender is ours: the channel stays open.
        let _ = self.led.subscribe().wait_for(|led| *led).await;
    }

    /// Whether it leads at `now`.
    pub fn leads(&self, now: Instant) -> bool {
        self.lock().right.left(now).is_some()
    }

    /// How long a request that writes to a provider may take as a whole.
    pub fn write_limit(&self) -> Duration {
        self.write_limit
    }

    /// Whether there is time for a request that writes to a provider to start at `now` and to end.
    pub fn has_time(&self, now: Instant) -> bool {
        self.lock().right.left(now).is_some_and(|left| left > self.write_limit)
    }

    /// A write to a provider begins at `now`, of one request or several. `None`: it may not.
    pub fn begin(self: &Arc<Self>, now: Instant) -> Option<UnderWay> {
        let mut state = self.lock();
        let time = state.right.left(now).is_some_and(|left| left > self.write_limit);
        (time && !state.closed).then(|| {
            state.under_way += 1;
            UnderWay(self.clone())
        })
    }

    /// No write begins any more; those under way go on.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Waits until no write is under way.
    pub async fn idle(&self) {
        loop {
            let ended = self.idle.notified();
            if self.is_idle() {
                return;
            }
            ended.await;
        }
    }

    /// Whether no write is under way.
    pub fn is_idle(&self) -> bool {
        self.lock().under_way == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Right {
    fn left(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Alone => Some(Duration::MAX),
            Self::Until(until) => until?.checked_duration_since(now).filter(|left| !left.is_zero()),
        }
    }
}

/// A write to a provider that has begun, until it is dropped.
#[derive(Debug)]
pub struct UnderWay(Arc<Leadership>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
        self.0.idle.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_begins_only_with_more_time_left_than_it_may_take() {
        let terms = Terms::seconds(60).unwrap();
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
