//! The decisions, as functions of values and `now`. Nothing in this module waits, sends or logs.
//!
//! It depends only on the standard library, jiff and the types of [`api`](crate::api), which `tests/modules.rs` checks.

pub(crate) mod changes;
pub mod confirm;
pub mod grants;
pub mod layers;
pub mod member;
pub(crate) mod notices;
pub mod plan;
pub mod policy;
pub(crate) mod renames;
pub(crate) mod round_robin;
pub mod status;
pub(crate) mod text;
