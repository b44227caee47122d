//! What connections to the API server and to providers have in common: proxies, trusted certificates, and clients that
//! are replaced after a request without a response.

mod proxies;
pub(crate) mod replaceable;
pub(crate) mod roots;

use std::time::Duration;

pub use proxies::Proxies;

/// How long a request to a provider may take as a whole, from requesting a connection to the last byte of the response.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);
