//! What may be asked of an endpoint, and in which order.
//!
//! A [`Budget`] belongs to one endpoint, a [`Lane`] of it to one provider object with its limits. Whoever wants to send
//! a request waits for a [`Permit`]; the order is decided by [`queue`], purely. Revocations come before grants, grants
//! before the repair of drift, and that before the resync; a part of each limit is kept for revocations. Within one
//! urgency namespaces take turns. A lane that the server told to wait waits.
//!
//! Only what the server asked for, and its limits, ever make anyone wait: there is no polling and no task while nobody
//! waits for a point in time.

mod allowance;
pub mod queue;
mod room;
mod turns;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::api::provider::Limits;
use crate::lease::{Leadership, UnderWay};
use crate::liveness::waiting;
pub use crate::member::Urgency;
use allowance::Allowance;
use queue::{LaneId, Next, Queue, WaiterId};

/// Whether a request changes anything at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// It only looks.
    Read,
    /// It changes something.
    Write,
}

/// The requests of one endpoint. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// The lanes by key. A lane nobody holds any more stays while what it did in the last minute counts.
    lanes: HashMap<String, (LaneId, Weak<Owned>)>,
    waiters: HashMap<WaiterId, Waiter>,
    timer: Option<(Instant, AbortHandle)>,
    runtime: Option<Handle>,
}

#[derive(Debug)]
struct Waiter {
    lane: LaneId,
    kind: Kind,
    urgency: Urgency,
    granted: oneshot::Sender<Permit>,
}

/// The requests of one provider object. Clones share it.
#[derive(Clone, Debug)]
pub struct Lane {
    owned: Arc<Owned>,
}

#[derive(Debug)]
struct Owned {
    shared: Arc<Shared>,
    lane: LaneId,
}

/// The right to send one request, for as long as it lives: dropping it frees its slot.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    lane: LaneId,
    kind: Kind,
    urgency: Urgency,
    /// Set once something that writes was sent under it.
    under_way: OnceLock<UnderWay>,
}

impl Budget {
    /// Of one endpoint. With `one_writer` no two writes are in flight at once, whatever their lanes.
    pub fn new(one_writer: bool) -> Self {
        let state = State {
            queue: Queue::new(one_writer),
            lanes: HashMap::new(),
            waiters: HashMap::new(),
            timer: None,
            runtime: None,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state) }) }
    }

    /// The lane of a provider object, made where it isn't there, with these limits from now on.
    ///
    /// A limit of 0 counts as 1. Rates hold for any 60 seconds. What the lane did in the last minute counts, though it
    /// was dropped in between: deleting a provider object and making it again gives no second budget.
    pub fn lane(&self, key: String, limits: Limits) -> Lane {
        let owned = {
            let mut state = self.shared.lock();
            let now = Instant::now();
            let State { queue, lanes, .. } = &mut *state;
            lanes.retain(|_, (lane, owned)| owned.strong_count() > 0 || !queue.remove_spent_lane(*lane, now));
            match lanes.get(&key).map(|(lane, owned)| (*lane, owned.upgrade())) {
                Some((lane, Some(owned))) => {
                    queue.set_limits(lane, limits);
                    owned
                }
                Some((lane, None)) => {
                    queue.set_limits(lane, limits);
                    self.own(&mut state, key, lane)
                }
                None => {
                    let lane = queue.add_lane(limits);
                    self.own(&mut state, key, lane)
                }
            }
        };
        self.shared.serve();
        Lane { owned }
    }

    fn own(&self, state: &mut State, key: String, lane: LaneId) -> Arc<Owned> {
        let owned = Arc::new(Owned { shared: self.shared.clone(), lane });
        state.lanes.insert(key, (lane, Arc::downgrade(&owned)));
        owned
    }
}

impl Lane {
    /// Other limits from now on; who waits is looked at again.
    pub fn set_limits(&self, limits: Limits) {
        self.owned.shared.lock().queue.set_limits(self.owned.lane, limits);
        self.owned.shared.serve();
    }

    /// Waits for the right to send one request. Dropping the future leaves the queue.
    pub async fn permit(&self, kind: Kind, urgency: Urgency, namespace: &str) -> Permit {
        loop {
            let (granted, receive) = oneshot::channel();
            let place = Waiting { shared: &self.owned.shared, id: self.join(kind, urgency, namespace, granted) };
            self.owned.shared.serve();
            // A sender is only ever dropped by sending or by `place`: the loop is for the type, not for a case.
            if let Ok(permit) = waiting(receive).await {
                return permit;
            }
            drop(place);
        }
    }

    /// How many requests wait, by urgency, the most urgent first.
    pub fn waiting(&self) -> [usize; 4] {
        self.owned.shared.lock().queue.waiting(self.owned.lane)
    }

    fn join(&self, kind: Kind, urgency: Urgency, namespace: &str, granted: oneshot::Sender<Permit>) -> WaiterId {
        let lane = self.owned.lane;
        let mut state = self.owned.shared.lock();
        // The runtime of whoever waits runs the timer: a permit may be dropped outside of it.
        state.runtime = Handle::try_current().ok();
        let id = state.queue.join(lane, kind, urgency, namespace);
        state.waiters.insert(id, Waiter { lane, kind, urgency, granted });
        id
    }
}

/// A place in the queue, left when it is dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    id: WaiterId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.queue.leave(self.id);
        state.waiters.remove(&self.id);
    }
}

impl Permit {
    /// What the request is for.
    pub fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// Whether it is for a read or a write.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether something that writes may be sent under it at `now`: only as the leader, with more of the lease left than
    /// a request may take. What a write of several requests has begun may go on while the process is told to stop.
    pub fn may_write(&self, leadership: &Arc<Leadership>, now: Instant) -> bool {
        if self.has_written() {
            return leadership.has_time(now);
        }
        leadership.begin(now).is_some_and(|under_way| self.under_way.set(under_way).is_ok())
    }

    /// Whether something that writes was sent under it.
    pub fn has_written(&self) -> bool {
        self.under_way.get().is_some()
    }

    /// Counts one more request of the same kind, sent after the first under the same permit. It doesn't wait: who comes
    /// next does.
    pub fn charge(&self) {
        self.shared.lock().queue.charge(self.lane, self.kind, Instant::now());
    }

    /// Gives the permit back: nothing was sent under it, so that it doesn't count against the minute's limit.
    pub fn unused(self) {
        self.shared.lock().queue.refund(self.lane, self.kind);
    }

    /// Lets no request of the lane begin for this long. Of several pauses the longest counts.
    pub fn pause(&self, length: Duration) {
        // Far beyond any Retry-After, and no overflow: a year.
        let length = length.min(Duration::from_secs(365 * 86_400));
        self.shared.lock().queue.pause(self.lane, Instant::now() + length);
    }

    /// The server said that `remaining` of `limit` requests of a kind are left to whoever calls from here, and all of them
    /// again after `reset`. Who would only be refused waits, and the last tenth is kept for revocations.
    pub fn told(&self, kind: Kind, limit: u32, remaining: u32, reset: Duration) {
        let now = Instant::now();
        let allowance = Allowance { limit, remaining, until: now + reset };
        self.shared.lock().queue.told(self.lane, kind, allowance, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.lock().queue.end(self.lane, self.kind);
        self.shared.serve();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic: every change is one call of the queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants what may begin now and sets the timer for what may begin later.
    fn serve(self: &Arc<Self>) {
        // A permit whose receiver has gone frees its slot when it is dropped, and that takes the lock again.
        let mut unwanted = Vec::new();
        let mut state = self.lock();
        loop {
            match state.queue.next(Instant::now()) {
                Next::Grant(id) => {
                    let Some(Waiter { lane, kind, urgency, granted }) = state.waiters.remove(&id) else { continue };
                    let permit = Permit { shared: self.clone(), lane, kind, urgency, under_way: OnceLock::new() };
                    unwanted.extend(granted.send(permit).err());
                }
                Next::At(instant) => break self.wake_at(&mut state, instant),
                Next::Idle => break,
            }
        }
        drop(state);
        drop(unwanted);
    }

    fn wake_at(self: &Arc<Self>, state: &mut State, instant: Instant) {
        if state.timer.as_ref().is_some_and(|(set, timer)| *set <= instant && !timer.is_finished()) {
            return; // It rings early enough, and is then set anew.
        }
        if let Some((_, timer)) = state.timer.take() {
            timer.abort();
        }
        let shared = Arc::downgrade(self);
        state.timer = state.runtime.as_ref().map(|runtime| {
            let timer = runtime.spawn(async move {
                tokio::time::sleep_until(instant).await;
                if let Some(shared) = shared.upgrade() {
                    shared.lock().timer = None;
                    shared.serve();
                }
            });
            (instant, timer.abort_handle())
        });
    }
}

#[cfg(test)]
mod tests;
