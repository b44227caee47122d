//! Which of several replicas acts: a `coordination.k8s.io/v1` Lease, and the right to write for as long as it lasts.
//!
//! [`election`] decides, purely; [`keeper`] reads and writes the Lease; [`leadership`] is what everybody else sees of it:
//! whether this process leads, and whether there is time left for a write.
//!
//! No clock of another machine is ever read: a Lease counts from when *we* saw it change (`renewTime` is only compared
//! with what stood there before), and our own from before the request that renewed it. Both on the monotonic clock.

pub mod election;
pub mod keeper;
pub mod leadership;
#[cfg(test)]
mod model;

pub use election::{Election, Terms};
pub use keeper::{Keeper, Keeping};
pub use leadership::{Leadership, UnderWay};

/// The Lease's name. One in a namespace, as the operator acts on all namespaces.
pub const NAME: &str = "membership-operator";

/// A name for this process that no other has.
pub fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| NAME.to_owned());
    format!("{host}_{}", uuid::Uuid::new_v4())
}

/// Where the Lease is, and for how long it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its namespace.
    pub namespace: String,
    /// For how long.
    pub terms: Terms,
}
