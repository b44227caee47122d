//! A pool of connections that is replaced as a whole. A request without a response shows that a connection no longer
//! works. A load balancer that has dropped one flow has usually dropped the others of the same age as well, and a pool
//! returns its idle connections one after the other, so that each retry would wait for the whole time limit of a
//! request. So the pool is replaced by an empty one.

use std::sync::{Mutex, PoisonError};

/// A pool of connections, the number of pools before it, and how to make the next one.
pub struct Replaceable<P> {
    current: Mutex<(u64, P)>,
    make: Box<dyn Fn() -> Option<P> + Send + Sync>,
}

impl<P: Clone> Replaceable<P> {
    /// Starts with this pool. If `make` returns `None`, a pool is not replaced.
    pub fn new(pool: P, make: impl Fn() -> Option<P> + Send + Sync + 'static) -> Self {
        Self { current: Mutex::new((0, pool)), make: Box::new(make) }
    }

    /// The pool, and its number for [`Replaceable::replace`].
    pub fn current(&self) -> (u64, P) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the pool, unless it was already replaced since `number` was current: if many requests fail together,
    /// one of them replaces it. Requests on the old pool continue.
    pub fn replace(&self, number: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == number
            && let Some(pool) = (self.make)()
        {
            *current = (number + 1, pool);
        }
    }
}
