//! Limits how many requests are sent to an endpoint, and orders them.
//!
//! An [`EndpointQuota`] belongs to one endpoint, a [`Quota`] to one provider object with its limits. A request begins
//! with a [`Permit`]; [`queue`] decides the order, purely: by [`Urgency`], within one urgency round robin by namespace,
//! and within a namespace the end that was due first, or else the request that came first. A part of each limit is kept
//! for revocations. A wait that a server requests is respected, except that an end that is due is attempted at least
//! every [`ATTEMPT_EVERY`]. A waiting request is an entry of some hundred bytes: [`Quota::request`] takes a function to
//! call with the permit. [`Quota::permit`] is the same as a future, for the few requests that are made outside of a
//! target's pass.

pub(crate) mod queue;
mod reported;
mod usage;
mod window;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
pub use reported::ReportedLimit;
pub use usage::ATTEMPT_EVERY;
use usage::Usage;

/// Whether a request changes anything at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestKind {
    /// It changes nothing.
    Read,
    /// It changes something.
    Write,
}

/// The requests of one endpoint. Clones share it.
#[derive(Clone)]
pub struct EndpointQuota(Arc<Mutex<State>>);

struct State {
    queue: RequestQueue,
    /// The quotas by key; each user has a clone of the id. A quota without users is kept while what was sent in the last
    /// minute counts.
    quotas: HashMap<String, Arc<QuotaId>>,
    waiters: BTreeMap<WaiterId, Waiter>,
    timer: Option<(Instant, AbortHandle)>,
    runtime: Option<Handle>,
}

struct Waiter {
    quota: QuotaId,
    kind: RequestKind,
    urgency: Urgency,
    granted: Box<dyn FnOnce(Permit) + Send>,
}

/// The requests of one provider object. Clones share it.
#[derive(Clone)]
pub struct Quota {
    endpoint: EndpointQuota,
    id: Arc<QuotaId>,
}

/// A place in the queue. Dropping it gives up the place.
pub struct QueuedRequest {
    endpoint: EndpointQuota,
    id: WaiterId,
}

/// The right to send one request, for as long as it lives: dropping it frees its slot. If nothing was sent with it, it
/// does not count against the limit per minute.
pub struct Permit {
    endpoint: EndpointQuota,
    quota: QuotaId,
    kind: RequestKind,
    urgency: Urgency,
    /// Set once a request that writes was sent with it.
    under_way: OnceLock<WriteInProgress>,
    is_used: AtomicBool,
}

impl EndpointQuota {
    /// The quotas of one endpoint. With `one_writer` no two writes are in flight at once, even of different quotas.
    pub fn new(one_writer: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            queue: RequestQueue::new(one_writer),
            quotas: HashMap::new(),
            waiters: BTreeMap::new(),
            timer: None,
            runtime: None,
        })))
    }

    /// The quota of a provider object, created if there is none, with these limits from now on. A limit is at least 1.
    /// Rates apply to any 60 seconds. What was sent in the last minute counts even if the quota was dropped in between:
    /// deleting a provider object and creating it again gives no second quota.
    pub fn quota(&self, key: String, limits: Limits) -> Quota {
        let mut state = self.lock();
        state.drop_unused();
        let State { queue, quotas, .. } = &mut *state;
        let id = quotas.entry(key).or_insert_with(|| Arc::new(queue.add_quota(limits.clone()))).clone();
        queue.change(*id, |usage| usage.set_limits(limits));
        drop(state);
        self.serve();
        Quota { endpoint: self.clone(), id }
    }

    /// Whether dropping this endpoint would allow nothing more: no provider object uses it, and nothing that was sent
    /// still counts.
    pub fn is_unused(&self) -> bool {
        let mut state = self.lock();
        state.drop_unused();
        state.quotas.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves nothing in here incomplete: every change is one call of the queue.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants the requests that may begin now and sets the timer for those that may begin later.
    fn serve(&self) {
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
                        Permit {
                            endpoint: self.clone(),
                            quota,
                            kind,
                            urgency,
                            under_way: OnceLock::new(),
                            is_used: AtomicBool::new(false),
                        },
                    ));
                }
                QueueDecision::At(instant) => break self.wake_at(&mut state, instant),
                QueueDecision::Idle => break,
            }
        }
        // Outside of the lock: dropping a permit acquires it again.
        drop(state);
        for (call, permit) in granted {
            call(permit);
        }
    }

    fn wake_at(&self, state: &mut State, instant: Instant) {
        if state.timer.as_ref().is_some_and(|(set, timer)| *set <= instant && !timer.is_finished()) {
            return; // It fires early enough, and is then set again.
        }
        if let Some((_, timer)) = state.timer.take() {
            timer.abort();
        }
        let shared = Arc::downgrade(&self.0);
        state.timer = state.runtime.as_ref().map(|runtime| {
            let timer = runtime.spawn(async move {
                tokio::time::sleep_until(instant).await;
                if let Some(endpoint) = shared.upgrade().map(Self) {
                    endpoint.lock().timer = None;
                    endpoint.serve();
                }
            });
            (instant, timer.abort_handle())
        });
    }
}

impl State {
    fn drop_unused(&mut self) {
        let (now, queue) = (Instant::now(), &mut self.queue);
        self.quotas.retain(|_, id| Arc::strong_count(id) > 1 || !queue.remove_unused(**id, now));
    }
}

impl Quota {
    /// Calls `granted` with a permit when it is this request's turn, possibly immediately. Dropping the ticket gives up
    /// the place.
    pub fn request(
        &self,
        kind: RequestKind,
        urgency: Urgency,
        namespace: &str,
        granted: impl FnOnce(Permit) + Send + 'static,
    ) -> QueuedRequest {
        let quota = *self.id;
        let mut state = self.endpoint.lock();
        // The caller's runtime runs the timer: a permit may be dropped outside of one.
        state.runtime = Handle::try_current().ok();
        let id = state.queue.join(quota, kind, urgency, namespace);
        state.waiters.insert(id, Waiter { quota, kind, urgency, granted: Box::new(granted) });
        drop(state);
        let ticket = QueuedRequest { endpoint: self.endpoint.clone(), id };
        self.endpoint.serve();
        ticket
    }

    /// Waits for a permit for one request: the most urgent first, and namespaces in turn within an urgency. Dropping the
    /// future gives up the place.
    pub async fn permit(&self, kind: RequestKind, urgency: Urgency, namespace: &str) -> Permit {
        loop {
            let (granted, receive) = oneshot::channel();
            // A permit that comes too late is returned by being dropped.
            let ticket = self.request(kind, urgency, namespace, move |permit| drop(granted.send(permit)));
            // The sender is only dropped by sending or by `ticket`: the loop is for the type, not for a case.
            if let Ok(permit) = waiting(receive).await {
                return permit;
            }
            drop(ticket);
        }
    }

    /// Lets no request begin for this duration, except for ends that are due. Of several pauses the longest counts.
    pub fn pause(&self, length: Duration) {
        self.endpoint.lock().queue.change(*self.id, |usage| usage.pause(Instant::now() + length));
    }

    /// How many requests wait, by urgency, the most urgent first.
    #[cfg(test)]
    pub fn waiting(&self) -> [usize; Urgency::LEVELS] {
        self.endpoint.lock().queue.waiting(*self.id)
    }
}

impl Drop for QueuedRequest {
    fn drop(&mut self) {
        let mut state = self.endpoint.lock();
        state.queue.leave(self.id);
        let waiter = state.waiters.remove(&self.id);
        // Outside of the lock: dropping the function may itself give up a place.
        drop(state);
        drop(waiter);
    }
}

impl Permit {
    /// What the request is for.
    pub fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// The kind of the request.
    pub fn kind(&self) -> RequestKind {
        self.kind
    }

    /// Whether a request that writes may be sent with it at `now`: only as the leader, with more of the lease left than
    /// a request may take. A write of several requests that has begun may continue while the process is being stopped.
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
    /// request of another user of the quota does.
    pub fn charge(&self) {
        self.change(|usage| usage.charge(self.kind, Instant::now()));
    }

    /// Notes that a request is sent with it.
    pub fn sends(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Lets no request of the quota begin for this duration, except for ends that are due. Of several pauses the
    /// longest counts.
    pub fn pause(&self, length: Duration) {
        self.change(|usage| usage.pause(Instant::now() + length));
    }

    /// The server responded although it had requested a wait: the next end that is due need not wait for the next
    /// attempt.
    pub fn answered(&self) {
        self.change(Usage::answered);
    }

    /// The server reported what is left of its limit for requests of a kind. A request that would only be refused waits,
    /// and the last tenth is kept for revocations.
    pub fn rate_limit(&self, kind: RequestKind, reported: ReportedLimit) {
        self.change(|usage| usage.rate_limit(kind, reported, Instant::now()));
    }

    fn change(&self, change: impl FnOnce(&mut Usage)) {
        self.endpoint.lock().queue.change(self.quota, change);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let is_used = *self.is_used.get_mut();
        let mut state = self.endpoint.lock();
        if !is_used {
            state.queue.change(self.quota, |usage| usage.refund(self.kind));
        }
        state.queue.end(self.quota, self.kind);
        drop(state);
        self.endpoint.serve();
    }
}

#[cfg(test)]
mod tests;
