//! What connections to the API server and to providers have in common: proxies, trusted certificates, and clients that are
//! replaced when a request got no answer.

mod proxies;
pub(crate) mod replaceable;
pub(crate) mod roots;

use std::time::Duration;

pub use proxies::Proxies;

/// How long a request to a provider may take as a whole, from asking for a connection to the answer's last byte.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);
