//! The laws of the pure core, each a property over generated objects, observations and times.
//!
//! [`plans`] checks one plan, [`starts`] one role's window through a series of edits, [`histories`] what the production
//! decision function does in seeded histories: a driver like `controller::reconcile` carries out its steps on a model
//! of the provider, with crashes, faults and other writers in every gap.

// A test that can't continue ends there with a message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checks;
mod events;
mod generators;
mod histories;
mod model;
mod objects;
mod plans;
mod provider;
mod random;
mod regressions;
mod roster;
mod starts;
mod world;
