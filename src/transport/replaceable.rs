//! A pool of connections that is replaced as a whole. A request without a response shows that a connection no longer
//! works. A load balancer that has dropped one flow has usually dropped the others of the same age as well, and a pool
//! returns its idle connections one after the other, so that each retry would wait for the whole time limit of a
//! request. So the pool is replaced by an empty one.

use std::sync::{Mutex, PoisonError};

/// A pool of connections, and the number of pools before it.
#[derive(Debug)]
pub struct Replaceable<P>(Mutex<(u64, P)>);

impl<P: Clone> Replaceable<P> {
    /// Starts with this pool.
    pub fn new(pool: P) -> Self {
        Self(Mutex::new((0, pool)))
    }

    /// The pool, and its number for [`Replaceable::replace`].
    pub fn current(&self) -> (u64, P) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the pool, unless it was already replaced since `number` was current: if many requests fail together,
    /// one of them replaces it. Requests on the old pool continue. If `make` returns `None`, the old pool is kept.
    pub fn replace(&self, number: u64, make: impl FnOnce() -> Option<P>) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == number
            && let Some(pool) = make()
        {
            *current = (number + 1, pool);
        }
    }
}
