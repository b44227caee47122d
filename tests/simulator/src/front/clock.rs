//! The provider's clock: the machine's, moved by an offset.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use crate::locked;

/// Wall time as the simulated server sees it.
#[derive(Default)]
pub(crate) struct Clock {
    offset: Mutex<SignedDuration>,
}

impl Clock {
    /// Now, at this server.
    pub(crate) fn now(&self) -> Timestamp {
        let offset = *locked(&self.offset);
        Timestamp::now().saturating_add(offset).unwrap_or(Timestamp::MAX)
    }

    /// How far this server's clock is ahead of the machine's (negative: behind).
    pub(crate) fn offset(&self) -> SignedDuration {
        *locked(&self.offset)
    }

    /// Sets how far this server's clock is ahead of the machine's.
    pub(crate) fn set_offset(&self, offset: SignedDuration) {
        *locked(&self.offset) = offset;
    }

    /// The value of the `Date` header, in the form HTTP wants.
    pub(crate) fn http_date(&self) -> String {
        self.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}
