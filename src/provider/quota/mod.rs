//! How many requests an endpoint may be sent, and in which order.
//!
//! An [`EndpointQuota`] belongs to one endpoint, a [`Quota`] to one provider object with its limits. A request begins with a
//! [`Permit`]; [`queue`] decides the order, purely: by [`Urgency`], within one urgency round robin by namespace, and within a
//! namespace the end that was due first, or else the request that came first. A part of each limit is kept for revocations.
//! A server that asks to wait is obeyed, except that an end that is due is attempted at least every
//! [`ATTEMPT_EVERY`].
//!
//! What waits is an entry of some hundred bytes: [`Quota::request`] takes a function to call with the permit.
//! [`Quota::permit`] is the same as a future, for the few requests that are made outside of a target's pass.

pub(crate) mod queue;
mod rate_limit;
mod usage;
mod window;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::api::provider::Limits;
pub use crate::core::member::Urgency;
use crate::lease::{Leadership, WriteInProgress};
use crate::telemetry::liveness::waiting;
use queue::{QueueDecision, QuotaId, RequestQueue, WaiterId};
use rate_limit::RateLimitPause;
pub use usage::ATTEMPT_EVERY;

/// Whether a request changes anything at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestKind {
    /// It changes nothing.
    Read,
    /// It changes something.
    Write,
}

/// The requests of one endpoint. Clones share it.
#[derive(Clone, Debug)]
pub struct EndpointQuota {
    shared: Arc<QuotaState>,
}

#[derive(Debug)]
struct QuotaState {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: RequestQueue,
    /// The quotas by key. One that nobody holds any more stays while what was sent in the last minute counts.
    quotas: HashMap<String, (QuotaId, Weak<QuotaHandle>)>,
    waiters: HashMap<WaiterId, Waiter>,
    timer: Option<(Instant, AbortHandle)>,
    runtime: Option<Handle>,
}

struct Waiter {
    quota: QuotaId,
    kind: RequestKind,
    urgency: Urgency,
    granted: Box<dyn FnOnce(Permit) + Send>,
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quota, kind, urgency, granted: _ } = self;
        f.debug_struct("Waiter").field("quota", quota).field("kind", kind).field("urgency", urgency).finish()
    }
}

/// The requests of one provider object. Clones share it.
#[derive(Clone, Debug)]
pub struct Quota {
    owned: Arc<QuotaHandle>,
}

#[derive(Debug)]
struct QuotaHandle {
    shared: Arc<QuotaState>,
    quota: QuotaId,
}

/// A place in the queue. Dropping it gives the place up.
#[derive(Debug)]
pub struct QueuedRequest {
    shared: Arc<QuotaState>,
    id: WaiterId,
}

/// The right to send one request, for as long as it lives: dropping it frees its slot.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<QuotaState>,
    quota: QuotaId,
    kind: RequestKind,
    urgency: Urgency,
    /// Set once a request that writes was sent with it.
    under_way: OnceLock<WriteInProgress>,
}

impl EndpointQuota {
    /// Of one endpoint. With `one_writer` no two writes are in flight at once, whatever their quotas.
    pub fn new(one_writer: bool) -> Self {
        let state = State {
            queue: RequestQueue::new(one_writer),
            quotas: HashMap::new(),
            waiters: HashMap::new(),
            timer: None,
            runtime: None,
        };
        Self { shared: Arc::new(QuotaState { state: Mutex::new(state) }) }
    }

    /// The quota of a provider object, created where there is none, with these limits from now on.
    ///
    /// A limit of 0 counts as 1. Rates hold for any 60 seconds. What was sent in the last minute counts although the quota
    /// was dropped in between: deleting a provider object and creating it again gives no second quota.
    pub fn quota(&self, key: String, limits: Limits) -> Quota {
        let owned = {
            let mut state = self.shared.lock();
            let now = Instant::now();
            let State { queue, quotas, .. } = &mut *state;
            quotas.retain(|_, (quota, owned)| owned.strong_count() > 0 || !queue.remove_unused(*quota, now));
            match quotas.get(&key).map(|(quota, owned)| (*quota, owned.upgrade())) {
                Some((quota, Some(owned))) => {
                    queue.set_limits(quota, limits);
                    owned
                }
                Some((quota, None)) => {
                    queue.set_limits(quota, limits);
                    self.own(&mut state, key, quota)
                }
                None => {
                    let quota = queue.add_quota(limits);
                    self.own(&mut state, key, quota)
                }
            }
        };
        self.shared.serve();
        Quota { owned }
    }

    /// Whether forgetting this endpoint would allow nothing that it doesn't allow: no provider object uses it, and nothing
    /// that was sent still counts.
    pub fn is_unused(&self) -> bool {
        let mut state = self.shared.lock();
        let now = Instant::now();
        let State { queue, quotas, .. } = &mut *state;
        quotas.retain(|_, (quota, owned)| owned.strong_count() > 0 || !queue.remove_unused(*quota, now));
        quotas.is_empty()
    }

    fn own(&self, state: &mut State, key: String, quota: QuotaId) -> Arc<QuotaHandle> {
        let owned = Arc::new(QuotaHandle { shared: self.shared.clone(), quota });
        state.quotas.insert(key, (quota, Arc::downgrade(&owned)));
        owned
    }
}

impl Quota {
    /// Calls `granted` with a permit when it is this request's turn, maybe at once. Dropping the ticket gives the place up.
    pub fn request(
        &self,
        kind: RequestKind,
        urgency: Urgency,
        namespace: &str,
        granted: impl FnOnce(Permit) + Send + 'static,
    ) -> QueuedRequest {
        let QuotaHandle { shared, quota } = &*self.owned;
        let id = {
            let mut state = shared.lock();
            // The caller's runtime runs the timer: a permit may be dropped outside of one.
            state.runtime = Handle::try_current().ok();
            let id = state.queue.join(*quota, kind, urgency, namespace);
            state.waiters.insert(id, Waiter { quota: *quota, kind, urgency, granted: Box::new(granted) });
            id
        };
        let ticket = QueuedRequest { shared: shared.clone(), id };
        shared.serve();
        ticket
    }

    /// As [`Quota::request`], as a future.
    pub async fn permit(&self, kind: RequestKind, urgency: Urgency, namespace: &str) -> Permit {
        loop {
            let (granted, receive) = oneshot::channel();
            // A permit that comes too late is given back by being dropped.
            let ticket = self.request(kind, urgency, namespace, move |permit| drop(granted.send(permit)));
            // The sender is only dropped by sending or by `ticket`: the loop is for the type, not for a case.
            if let Ok(permit) = waiting(receive).await {
                return permit;
            }
            drop(ticket);
        }
    }

    /// How many requests wait, by urgency, the most urgent first.
    #[cfg(test)]
    pub fn waiting(&self) -> [usize; Urgency::LEVELS] {
        self.owned.shared.lock().queue.waiting(self.owned.quota)
    }
}

impl Drop for QueuedRequest {
    fn drop(&mut self) {
        let waiter = {
            let mut state = self.shared.lock();
            state.queue.leave(self.id);
            state.waiters.remove(&self.id)
        };
        // What the function holds may itself give a place up.
        drop(waiter);
    }
}

impl Permit {
    /// What the request is for.
    pub fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// Whether it is for a read or a write.
    pub fn kind(&self) -> RequestKind {
        self.kind
    }

    /// Whether a request that writes may be sent with it at `now`: only as the leader, with more of the lease left than a
    /// request may take. What a write of several requests has begun may go on while the process is told to stop.
    pub fn may_write(&self, leadership: &Arc<Leadership>, now: Instant) -> bool {
        if self.has_written() {
            return leadership.has_time(now);
        }
        leadership.begin(now).is_some_and(|under_way| self.under_way.set(under_way).is_ok())
    }

    /// Whether a request that writes was sent with it.
    pub fn has_written(&self) -> bool {
        self.under_way.get().is_some()
    }

    /// Counts one more request of the same kind, sent after the first with the same permit. It doesn't wait: the next
    /// request of somebody else does.
    pub fn charge(&self) {
        self.shared.lock().queue.charge(self.quota, self.kind, Instant::now());
    }

    /// Gives the permit back: nothing was sent with it, so that it doesn't count against the limit per minute.
    pub fn unused(self) {
        self.shared.lock().queue.refund(self.quota, self.kind);
    }

    /// Lets no request of the quota begin for this long, ends that are due excepted. Of several pauses the longest counts.
    pub fn pause(&self, length: Duration) {
        // Far beyond any Retry-After, and no overflow: a year.
        let length = length.min(Duration::from_secs(365 * 86_400));
        self.shared.lock().queue.pause(self.quota, Instant::now() + length);
    }

    /// The server answered although it had asked to wait: the next end that is due need not wait for the next attempt.
    pub fn answered(&self) {
        self.shared.lock().queue.answered(self.quota);
    }

    /// The server said that `remaining` of `limit` requests of a kind are left to this client, and all of them again after
    /// `reset`. A request that would only be refused waits, and the last tenth is kept for revocations.
    pub fn rate_limit(&self, kind: RequestKind, limit: u32, remaining: u32, reset: Duration) {
        let now = Instant::now();
        let reported = RateLimitPause { limit, remaining, until: now + reset };
        self.shared.lock().queue.rate_limit(self.quota, kind, reported, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.lock().queue.end(self.quota, self.kind);
        self.shared.serve();
    }
}

impl QuotaState {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic: every change is one call of the queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants what may begin now and sets the timer for what may begin later.
    fn serve(self: &Arc<Self>) {
        let mut granted = Vec::new();
        let mut state = self.lock();
        loop {
            match state.queue.next(Instant::now()) {
                QueueDecision::Grant(id) => {
                    let Some(Waiter { quota, kind, urgency, granted: call }) = state.waiters.remove(&id) else {
                        continue;
                    };
                    granted.push((
                        call,
                        Permit { shared: self.clone(), quota, kind, urgency, under_way: OnceLock::new() },
                    ));
                }
                QueueDecision::At(instant) => break self.wake_at(&mut state, instant),
                QueueDecision::Idle => break,
            }
        }
        // Outside of the lock: a permit that is dropped takes it again.
        drop(state);
        for (call, permit) in granted {
            call(permit);
        }
    }

    fn wake_at(self: &Arc<Self>, state: &mut State, instant: Instant) {
        if state.timer.as_ref().is_some_and(|(set, timer)| *set <= instant && !timer.is_finished()) {
            return; // It fires early enough, and is then set again.
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
