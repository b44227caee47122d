//! The controller: what is watched, what starts a pass, and how the operator starts and stops.
//!
//! [`reconcile`] is the entry point and follows the pipeline of the crate documentation; each stage has a module of its
//! own.

pub mod act;
pub mod admit;
pub mod cleanup;
pub mod clocks;
pub mod connections;
pub mod context;
pub mod converge;
pub(crate) mod events;
mod fallback;
pub mod garbage;
pub mod in_use;
pub mod names;
pub mod namespaces;
pub mod outage;
pub mod outcome;
pub mod places;
pub mod precedence;
pub mod provider_object;
mod provider_status;
pub mod providers;
pub mod reachability;
pub mod reconcile;
pub mod record;
mod references;
pub mod repairs;
pub mod replaced;
pub mod reporting;
pub mod resolve;
pub mod roster;
pub mod run;
pub mod stored;
pub mod targets;
pub mod tombstones;
mod watch;
pub mod wiring;
pub mod write;

pub use run::{Config, RunError, run};
