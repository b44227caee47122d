//! The laws of the pure core, each a property over generated objects, observations and times.
//!
//! [`plans`] looks at one plan, [`starts`] at one role's window through a series of edits, [`histories`] at whole
//! lives of objects against a model of the provider, with runs killed in every gap.

// A test that can't go on ends there and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod generators;
mod histories;
mod model;
mod plans;
mod starts;
mod world;
