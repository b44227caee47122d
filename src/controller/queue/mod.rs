//! Which key is worked on next: one pass at a time for a key, many keys at once. A waiting key is an entry of some
//! hundred bytes. A pass that needs something which takes long (a permit of the provider's quota, a list of a project)
//! ends and leaves a ticket for it; the next pass over the key gets the result of the ticket. Of several wake-ups for a
//! key the earliest counts, and keys that are due at the same time are started by the urgency of what is due.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::core::error::Error;
use crate::core::member::Urgency;
use crate::provider::quota::{Permit, RequestKind};

/// The result of a ticket, for the next pass over a target.
pub enum TicketResult {
    /// A permit for one request to the provider.
    Permit(Permit),
    /// The outcome of a list that had to begin no earlier than this time.
    Listed(Instant, Result<(), Error>),
    /// One of the slots of passes that write to the API server.
    Slot(SlotKind, Permit),
    /// The list that another target requested is of no use for this one: the next pass decides again.
    Again,
}

/// What a pass waits for, besides time.
pub struct Ticket<G> {
    /// What distinguishes it from another ticket of the key: a ticket that is equal keeps its place.
    pub wait: TicketKey,
    /// Where its result comes from.
    pub source: TicketSource<G>,
}

/// Begins to wait for the result of a ticket. It is not called if the key has such a ticket already.
pub type TicketSource<G> = Box<dyn FnOnce(Deliver<G>) -> PendingTicket<G> + Send>;

/// Where the result of a ticket comes from. Dropping it gives the ticket up.
pub enum PendingTicket<G> {
    /// A future, which becomes a task.
    Task(BoxFuture<'static, G>),
    /// A request that is kept elsewhere, in a few hundred bytes, and delivers the result.
    Request(Box<dyn Send>),
}

/// Takes the result of a ticket.
pub type Deliver<G> = Box<dyn FnOnce(G) + Send>;

/// What a ticket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketKey {
    /// Its result.
    pub kind: TicketKind,
    /// How urgent it is.
    pub urgency: Urgency,
    /// The number of the connection through which it is requested.
    pub connection: u64,
}

/// What a pass may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketKind {
    /// A list of the project.
    List,
    Permit(RequestKind),
    /// One of the slots of passes that write to the API server.
    Slot(SlotKind),
}

/// What a pass that writes to the API server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// It begins a grant near the memory limit: such slots are paused.
    Grant,
    /// Any other write.
    Write,
}

/// When the next pass over a key is due.
pub struct NextPass<G> {
    /// When it is due at the latest, and how urgent it is then.
    pub until: Option<(Instant, Urgency)>,
    /// What it waits for.
    pub ticket: Option<Ticket<G>>,
    /// A write was sent that still has to be confirmed and reported, also while the queue is being stopped.
    pub is_unfinished: bool,
}

impl<G> NextPass<G> {
    /// The next pass is due then, with this urgency; `None`: when the key is woken.
    pub fn at(until: Option<(Instant, Urgency)>) -> Self {
        Self { until, ticket: None, is_unfinished: false }
    }

    /// The next pass is due when the key is woken.
    pub fn until_woken() -> Self {
        Self::at(None)
    }

    /// The next pass is due after this time.
    pub fn after(delay: Duration) -> Self {
        Self::at(Some((Instant::now() + delay, Urgency::Resync)))
    }

    /// The earlier of two pauses.
    #[must_use]
    pub fn or_earlier(self, other: Self) -> Self {
        let until = match (self.until, other.until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let is_unfinished = self.is_unfinished || other.is_unfinished;
        Self { until, ticket: self.ticket.or(other.ticket), is_unfinished }
    }

    /// The next pass is due now.
    pub fn now() -> Self {
        Self::after(Duration::ZERO)
    }
}

/// How much later than requested a pass over a key becomes due.
pub type Delay<K> = Box<dyn Fn(&K) -> Duration + Send + Sync>;

pub struct Queue<K, G> {
    state: Mutex<State<K, G>>,
    changed: Notify,
    /// How much later than requested a pass becomes due: zero, except in a simulation.
    delay: Delay<K>,
}

struct State<K, G> {
    entries: HashMap<K, QueueEntry<G>>,
    /// The keys that wait for a time.
    delayed: BTreeSet<(Instant, K)>,
    /// The keys that are due, the most urgent first, then in the order in which they became due.
    due: BTreeSet<(Urgency, u64, K)>,
    /// The number of the last key that became due.
    number: u64,
}

struct QueueEntry<G> {
    wake: DueTime,
    /// Since when a pass has been due: until one ends that leaves no ticket.
    due: Option<Instant>,
    is_running: bool,
    is_unfinished: bool,
    /// Most keys wait for a time only.
    ticket: Option<Box<ParkedTicket>>,
    granted: Option<Box<G>>,
}

/// A ticket that has no result yet.
struct ParkedTicket {
    wait: TicketKey,
    number: u64,
    /// Holds the request.
    _request: Box<dyn Send>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DueTime {
    None,
    At(Instant, Urgency),
    Due(Urgency, u64),
}

enum Completion<K, G> {
    Pass(K, NextPass<G>),
    Ticket(K, u64, G),
}

impl<K: Clone + Eq + Hash + Ord + Send + 'static, G: Send + 'static> Default for Queue<K, G> {
    fn default() -> Self {
        Self::delayed_by(Box::new(|_| Duration::ZERO))
    }
}

impl<K: Clone + Eq + Hash + Ord + Send + 'static, G: Send + 'static> Queue<K, G> {
    /// A queue in which each wake-up is delayed by what `delay` returns: a simulation decides the order with it.
    pub fn delayed_by(delay: Delay<K>) -> Self {
        let state = State { entries: HashMap::new(), delayed: BTreeSet::new(), due: BTreeSet::new(), number: 0 };
        Self { state: Mutex::new(state), changed: Notify::new(), delay }
    }

    /// Requests a pass over `key` now.
    pub fn wake(&self, key: &K, urgency: Urgency) {
        self.state.lock().wake(key, Instant::now() + (self.delay)(key), urgency);
        self.changed.notify_one();
    }

    /// The number of keys with an entry.
    pub fn len(&self) -> usize {
        self.state.lock().entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long the oldest pass that is due has been due, whether it has started, waits for a ticket, or neither.
    pub fn oldest_due(&self, now: Instant) -> Duration {
        let oldest = self.state.lock().entries.values().filter_map(|entry| entry.due).min();
        oldest.map_or(Duration::ZERO, |due| now.saturating_duration_since(due))
    }

    /// The key whose pass should have started first, and how late it is.
    pub fn unstarted(&self, now: Instant) -> Option<(K, Duration)> {
        let state = self.state.lock();
        let (at, key) = state.delayed.first().filter(|(at, _)| *at < now)?;
        Some((key.clone(), now.duration_since(*at)))
    }

    /// Runs passes until `stopped`; then only unfinished keys continue. Each pass is a task, and so may be what it waits
    /// for: `waiting` wraps that.
    pub async fn run(
        &self,
        pass: impl Fn(K, Option<G>) -> BoxFuture<'static, NextPass<G>>,
        waiting: impl Fn(&K, BoxFuture<'static, G>) -> BoxFuture<'static, G>,
        stopped: impl Future<Output = ()>,
    ) {
        let mut tasks: JoinSet<Completion<K, G>> = JoinSet::new();
        let mut stopped = std::pin::pin!(stopped.fuse());
        let (mut is_stopping, mut running, mut number) = (false, 0_usize, 0);
        let (deliver, mut delivered) = mpsc::unbounded_channel();
        while !is_stopping || running > 0 || self.state.lock().is_unfinished() {
            while let Some((key, granted)) = self.next(is_stopping) {
                let pass = pass(key.clone(), granted);
                running += 1;
                tasks.spawn(async move { Completion::Pass(key, pass.await) });
            }
            let next = self.state.lock().delayed.first().map(|(at, _)| *at);
            let done = tokio::select! {
                biased;
                () = &mut stopped => {
                    is_stopping = true;
                    self.state.lock().stop();
                    continue;
                }
                Some((key, number, granted)) = delivered.recv() => {
                    self.state.lock().granted(&key, number, granted);
                    continue;
                }
                Some(done) = tasks.join_next() => done,
                () = self.changed.notified() => continue,
                () = sleep_until(next) => continue,
            };
            match done {
                Ok(Completion::Ticket(key, number, granted)) => self.state.lock().granted(&key, number, granted),
                Ok(Completion::Pass(key, NextPass { until, ticket, is_unfinished })) => {
                    running -= 1;
                    let until = until.map(|(at, urgency)| (at + (self.delay)(&key), urgency));
                    let wait = ticket.as_ref().map(|ticket| ticket.wait);
                    let is_new = self.state.lock().finished(&key, until, wait, is_unfinished);
                    if let (true, Some(Ticket { wait, source })) = (is_new, ticket) {
                        number += 1;
                        let of = key.clone();
                        let (to, deliver) = (of.clone(), deliver.clone());
                        // Nothing is delivered any more when the queue has ended.
                        let deliver = Box::new(move |granted| drop(deliver.send((to, number, granted))));
                        let held: Box<dyn Send> = match source(deliver) {
                            PendingTicket::Task(future) => {
                                let waiting = waiting(&key, future);
                                let task = tasks.spawn(async move { Completion::Ticket(of, number, waiting.await) });
                                Box::new(scopeguard::guard(task, |task| task.abort()))
                            }
                            PendingTicket::Request(held) => held,
                        };
                        self.state.lock().parked(&key, wait, number, held);
                    }
                }
                // A bug ends the process: the next one starts with what is recorded.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
    }

    fn next(&self, is_stopping: bool) -> Option<(K, Option<G>)> {
        self.state.lock().next(Instant::now(), is_stopping)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl<K: Clone + Eq + Hash + Ord, G> State<K, G> {
    fn wake(&mut self, key: &K, at: Instant, urgency: Urgency) {
        let now = Instant::now();
        let entry = self.entries.entry(key.clone()).or_insert_with(|| QueueEntry {
            wake: DueTime::None,
            due: None,
            is_running: false,
            is_unfinished: false,
            ticket: None,
            granted: None,
        });
        let is_running = entry.is_running;
        if at <= now {
            entry.due.get_or_insert(at);
        }
        let wake = match entry.wake {
            DueTime::None => DueTime::At(at, urgency),
            // The pass decides on what is due by then. What is due later has no part in its urgency.
            DueTime::At(known, of) => {
                let (first, second) =
                    if at < known { ((at, urgency), (known, of)) } else { ((known, of), (at, urgency)) };
                let is_due = second.0 <= first.0.max(now);
                DueTime::At(first.0, if is_due { first.1.min(second.1) } else { first.1 })
            }
            DueTime::Due(of, number) if at <= now => DueTime::Due(of.min(urgency), number),
            due @ DueTime::Due(..) => due,
        };
        let before = std::mem::replace(&mut entry.wake, wake);
        if !is_running && before != wake {
            self.remove(key, before);
            self.place(key, wake);
        }
    }

    fn place(&mut self, key: &K, wake: DueTime) {
        match wake {
            DueTime::None => {}
            DueTime::At(at, _) => drop(self.delayed.insert((at, key.clone()))),
            DueTime::Due(urgency, number) => drop(self.due.insert((urgency, number, key.clone()))),
        }
    }

    fn remove(&mut self, key: &K, wake: DueTime) {
        match wake {
            DueTime::None => {}
            DueTime::At(at, _) => drop(self.delayed.remove(&(at, key.clone()))),
            DueTime::Due(urgency, number) => drop(self.due.remove(&(urgency, number, key.clone()))),
        }
    }

    fn is_unfinished(&self) -> bool {
        self.entries.values().any(|entry| entry.is_unfinished)
    }

    /// The most urgent key that is due, and the result of its ticket.
    fn next(&mut self, now: Instant, is_stopping: bool) -> Option<(K, Option<G>)> {
        while let Some((at, key)) = self.delayed.first().filter(|(at, _)| *at <= now).cloned() {
            self.delayed.pop_first();
            self.number += 1;
            let number = self.number;
            if let Some(entry) = self.entries.get_mut(&key)
                && let DueTime::At(_, urgency) = entry.wake
            {
                entry.wake = DueTime::Due(urgency, number);
                entry.due.get_or_insert(at);
                self.due.insert((urgency, number, key));
            }
        }
        let may_start = |key: &K| !is_stopping || self.entries.get(key).is_some_and(|entry| entry.is_unfinished);
        let first = self.due.iter().find(|(_, _, key)| may_start(key)).cloned()?;
        self.due.remove(&first);
        let (_, _, key) = first;
        let entry = self.entries.get_mut(&key)?;
        (entry.wake, entry.is_running) = (DueTime::None, true);
        let granted = entry.granted.take().map(|granted| *granted);
        Some((key, granted))
    }

    /// Drops the tickets of all keys except those that are unfinished.
    fn stop(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| !entry.is_unfinished) {
            entry.granted = None;
            entry.ticket = None;
        }
    }

    /// A ticket has a result. A result that arrives during a pass is dropped: that pass may take long, and its decision
    /// is not known.
    fn granted(&mut self, key: &K, number: u64, granted: G) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Some(ticket) = entry.ticket.take_if(|ticket| ticket.number == number) else { return };
        if entry.is_running {
            return;
        }
        entry.granted = Some(Box::new(granted));
        self.wake(key, Instant::now(), ticket.wait.urgency);
    }

    /// A pass has ended. Returns whether the ticket that it leaves is a new one.
    fn finished(
        &mut self,
        key: &K,
        until: Option<(Instant, Urgency)>,
        wait: Option<TicketKey>,
        is_unfinished: bool,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        (entry.is_running, entry.is_unfinished) = (false, is_unfinished);
        // What was requested during the pass is due from now on.
        let is_due =
            matches!(entry.wake, DueTime::Due(..)) || matches!(entry.wake, DueTime::At(at, _) if at <= Instant::now());
        if wait.is_none() {
            entry.due = is_due.then(Instant::now);
        }
        let is_known = wait.is_some() && entry.ticket.as_ref().map(|ticket| ticket.wait) == wait;
        let is_new = wait.is_some() && !is_known;
        let given_up = if is_known { None } else { entry.ticket.take() };
        let wake = entry.wake;
        self.place(key, wake);
        if let Some((at, urgency)) = until {
            self.wake(key, at, urgency);
        }
        let is_idle =
            |entry: &QueueEntry<G>| entry.wake == DueTime::None && entry.ticket.is_none() && entry.granted.is_none();
        if !is_new && self.entries.get(key).is_some_and(is_idle) {
            self.entries.remove(key);
        }
        drop(given_up);
        is_new
    }

    fn parked(&mut self, key: &K, wait: TicketKey, number: u64, held: Box<dyn Send>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.ticket = Some(Box::new(ParkedTicket { wait, number, _request: held }));
        }
    }
}

#[cfg(test)]
mod tests;
