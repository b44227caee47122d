//! The controller: what is watched, which target is worked on next, and how the operator starts and stops.
//!
//! [`reconcile`] is the driver of the pipeline that the crate documentation describes; each stage is one call there and
//! has its own module. [`wiring`] connects the watches to the [`queue`], [`run`](mod@run) runs all of it, and the state
//! in memory is in [`state`].

pub(crate) mod apply;
pub mod connections;
pub mod context;
pub(crate) mod events;
pub mod faults;
pub mod garbage;
pub mod in_use;
mod memory_limit;
pub mod names;
pub mod namespaces;
mod object;
pub mod precedence;
mod probe;
pub mod provider_key;
pub mod provider_object;
mod provider_status;
pub mod providers;
pub mod queue;
pub mod reachability;
pub mod reconcile;
mod record;
mod references;
mod release;
pub mod replaced;
mod report;
pub mod reporting;
pub mod resolve;
pub mod roster;
pub mod run;
pub mod snapshot;
mod standby;
pub mod state;
pub mod stored;
pub mod tombstones;
mod watch;
pub mod wiring;
pub mod write;

pub use run::{OperatorConfig, RunError, run};
