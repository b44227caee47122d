//! What can go wrong: in words that say what was done, and what came of it.

use std::fmt;

/// Why the bench cannot go on.
#[derive(Debug)]
pub struct Error(String);

/// The result of everything that may fail here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<control_plane::Error> for Error {
    fn from(error: control_plane::Error) -> Self {
        Self(error.to_string())
    }
}

/// Adds what was being done to an error.
pub trait Doing<T> {
    /// `what` is read after "can't": "read the audit log".
    fn doing(self, what: &str) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: &str) -> Result<T> {
        self.map_err(|error| Error(format!("can't {what}: {error}")))
    }
}
