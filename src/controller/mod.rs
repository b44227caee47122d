//! The controller: what is watched, what starts a pass, and how the operator starts and stops.
//!
//! [`reconcile`] is the entry point and follows the pipeline of the crate documentation; each stage has a module of its
//! own.

pub(crate) mod apply;
pub mod connections;
pub mod context;
pub(crate) mod events;
pub mod faults;
pub mod garbage;
pub mod in_use;
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
pub mod state;
pub mod stored;
pub mod tombstones;
mod watch;
pub mod wiring;
pub mod write;

pub use run::{Config, RunError, run};
