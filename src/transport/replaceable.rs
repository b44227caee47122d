//! Connections that are replaced all at once.
//!
//! A request without an answer shows that a connection has gone silent. A load balancer that forgot one flow has mostly
//! forgotten the others of its age as well, and a pool hands out its idle connections one after the other, so that each
//! retry would wait for the whole limit of a request. So the pool is replaced by an empty one.

use std::sync::{Mutex, PoisonError};

/// A pool of connections, and how many there were before it.
#[derive(Debug)]
pub struct Replaceable<P>(Mutex<(u64, P)>);

impl<P: Clone> Replaceable<P> {
    /// With this pool.
    pub fn new(pool: P) -> Self {
        Self(Mutex::new((0, pool)))
    }

    /// The pool, and its number for [`Replaceable::replace`].
    pub fn current(&self) -> (u64, P) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the pool, unless that was done since `number` was the current one: of many requests that fail together one
    /// replaces it. What runs on the old pool goes on. Where `make` makes none, the old one stays.
    pub fn replace(&self, number: u64, make: impl FnOnce() -> Option<P>) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == number
            && let Some(pool) = make()
        {
            *current = (number + 1, pool);
        }
    }
}
