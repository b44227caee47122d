//! What both simulated providers have in common: a port of their own, a clock, orders for faults, a log of requests.

mod clock;
mod control;
mod gate;
mod log;
mod orders;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

pub use log::Request;
pub use orders::{Answer, Fault, Order, When};

pub(crate) use clock::Clock;
pub(crate) use control::{Nonsense, generic as generic_control, parsed};
pub use gate::Door;
pub(crate) use gate::serve;

use crate::locked;
use log::Log;
use orders::Orders;

/// The side of a simulated provider that is the same for all: where it listens, what it was asked, what goes wrong.
///
/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

struct Inner {
    url: String,
    clock: Clock,
    orders: Mutex<Orders>,
    log: Mutex<Log>,
    delay: Mutex<Duration>,
}

impl Front {
    pub(crate) fn new(url: String) -> Self {
        Self::with_clock(url, Clock::default())
    }

    pub(crate) fn with_clock(url: String, clock: Clock) -> Self {
        Self(Arc::new(Inner { url, clock, orders: Mutex::default(), log: Mutex::default(), delay: Mutex::default() }))
    }

    /// The base of its URLs, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Now, by this server's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Sets how far this server's clock is ahead of the machine's (negative: behind). It shows in the `Date` header,
    /// in the times that the server writes, and in what counts as over.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.0.clock.set_offset(offset);
    }

    /// How far this server's clock is ahead of the machine's.
    pub fn clock_offset(&self) -> SignedDuration {
        self.0.clock.offset()
    }

    /// Orders a fault.
    pub fn order(&self, order: Order) {
        locked(&self.0.orders).add(order);
    }

    /// The orders that can still meet a request.
    pub fn orders(&self) -> Vec<Order> {
        locked(&self.0.orders).list()
    }

    /// Takes all orders back.
    pub fn clear_orders(&self) {
        locked(&self.0.orders).clear();
    }

    /// Sets a delay before every request is handled: the latency of a bench.
    pub fn set_delay(&self, delay: Duration) {
        *locked(&self.0.delay) = delay;
    }

    /// All requests since the start or the last [`clear_requests`](Self::clear_requests), oldest first. A request is
    /// in it from its arrival on, so one that waits can be seen.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.0.log).all()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        locked(&self.0.log).clear();
    }

    /// How many requests had this method (empty: any) and this path (see [`Request::matches`]).
    pub fn count(&self, method: &str, path_pattern: &str) -> usize {
        locked(&self.0.log).count(method, path_pattern)
    }
}

/// What a provider brings to the common front.
pub(crate) trait Provider: Clone + Send + Sync + 'static {
    fn front(&self) -> &Front;

    /// Its API, as the real one has it.
    fn api(&self) -> Router;

    /// Its own routes below `/_simulator`.
    fn control(&self) -> Router;

    /// Who calls, by name; empty if the credential is missing or unknown. Changes nothing.
    fn caller_name(&self, headers: &HeaderMap) -> String;
}

/// What a handler has to know of the orders that its request met.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// How long a write waits between reading and writing.
    pub(crate) window: Duration,
    /// Whether the write is lost for the readers.
    pub(crate) lost: bool,
}
