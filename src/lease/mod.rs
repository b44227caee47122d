//! Which of several replicas acts: a `coordination.k8s.io/v1` Lease, and the right to write for as long as it lasts.
//!
//! [`election`] contains the pure decisions; [`keeper`] reads and writes the Lease; [`leadership`] is what all other
//! code uses: whether this process leads, and whether there is time left for a write.
//!
//! The clock of another machine is never interpreted. The Lease of another replica counts from when *this* process
//! observed a change (`renewTime` is only compared with its former value), and the own Lease from before the request
//! that renewed it. Both are measured on the monotonic clock.

pub mod election;
pub mod keeper;
pub mod leadership;
#[cfg(test)]
mod model;

pub use election::{Election, LeaseTerms};
pub use keeper::{Keeper, Keeping};
pub use leadership::{Leadership, WriteInProgress};

/// The name of the Lease. There is one in a namespace, because the operator acts on all namespaces.
pub const NAME: &str = "membership-operator";

/// An identity for this process that no other process has.
pub fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| NAME.to_owned());
    format!("{host}_{}", uuid::Uuid::new_v4())
}

/// Where the Lease is, and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    pub namespace: String,
    /// Its duration and what follows from it.
    pub terms: LeaseTerms,
}
