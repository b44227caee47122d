//! The state in memory. Nothing here sends a request.

pub mod in_use;
pub mod memberships;
pub mod namespaces;
pub mod outage;
pub mod own_writes;
pub mod reports;
pub mod targets;
pub mod tombstones;
