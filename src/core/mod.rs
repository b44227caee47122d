//! The decisions, as functions of values and `now`. Nothing in this module waits, sends or logs.
//!
//! It depends only on the standard library, jiff and the types of [`api`](crate::api), which `tests/modules.rs` checks.

pub(crate) mod changes;
pub mod clocks;
pub mod confirm;
pub mod drift;
pub mod error;
pub mod evaluation;
pub mod grants;
pub mod late_writes;
pub mod layers;
pub mod member;
pub mod memory;
pub(crate) mod notices;
pub(crate) mod places;
pub mod plan;
pub mod policy;
pub mod precedence;
pub mod record;
pub mod renames;
pub mod report;
pub mod snapshot;
pub mod status;
pub mod step;
pub(crate) mod text;
pub mod write;
