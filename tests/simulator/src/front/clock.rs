//! The provider's clock: the machine's or a simulation's, moved by an offset.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use crate::locked;

/// Wall time as the simulated server sees it.
pub(crate) struct Clock {
    base: Box<dyn Fn() -> Timestamp + Send + Sync>,
    offset: Mutex<SignedDuration>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::showing(Timestamp::now)
    }
}

impl Clock {
    /// A clock that shows the same time as another, until an offset is set.
    pub(crate) fn showing(base: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { base: Box::new(base), offset: Mutex::default() }
    }

    /// Now, at this server.
    pub(crate) fn now(&self) -> Timestamp {
        let offset = *locked(&self.offset);
        (self.base)().saturating_add(offset).unwrap_or(Timestamp::MAX)
    }

    /// How far this server's clock is ahead of the machine's (negative: behind).
    pub(crate) fn offset(&self) -> SignedDuration {
        *locked(&self.offset)
    }

    /// Sets how far this server's clock is ahead of the machine's.
    pub(crate) fn set_offset(&self, offset: SignedDuration) {
        *locked(&self.offset) = offset;
    }

    /// The value of the `Date` header, in the form that HTTP requires.
    pub(crate) fn http_date(&self) -> String {
        self.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}
