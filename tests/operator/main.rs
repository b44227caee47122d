//! The operator at work: its own process and ServiceAccount, a real API server, both providers simulated.
//!
//! All tests of this binary share one control plane and one operator; each has a namespace and a pair of providers of
//! its own (see `stage`). Tests that stop or kill an operator start one of their own (see `restart`).

// A test that can't go on ends there and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
#[path = "../cluster/support/operator.rs"]
#[allow(dead_code, reason = "the demo uses the rest")]
mod operator;
mod management;
mod starts;
mod subject;
mod windows;
mod adoption;
mod deletion;
mod drifting;
mod layering;
mod observing;
mod suspension;
mod limits;
mod ending;
mod infisical;
mod zitadel;
mod conditions;
mod reporting;
mod telemetry;
mod unchecked;
mod roads;
mod stage;
#[path = "../cluster/support.rs"]
#[allow(dead_code, reason = "the schema's tests use the rest")]
mod support;
