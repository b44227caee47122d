//! The operator at work, both providers simulated.
//!
//! The first scenario of a promise, and what only the real API server can show, has the operator as a process under its
//! own ServiceAccount (`stage::with_stage`): these tests share one control plane and one operator, and each has its own
//! namespace and pair of providers. Tests that stop or kill an operator start their own (see `restart`). The variants
//! of a promise run the operator's code in this process, over an API server in memory (`in_memory`).

// A test that can't continue ends there with a message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adoption;
mod api;
mod attacks;
mod bad_input;
mod cluster_provider;
mod conditions;
mod deletion;
mod drifting;
mod ending;
mod evidence;
mod faults;
mod first_decisions;
mod in_memory;
mod infisical;
mod invitations;
mod kept;
mod kinds;
mod layering;
mod lifecycle;
mod limits;
mod management;
mod memory;
mod names;
mod observing;
#[path = "../cluster/support/operator.rs"]
#[allow(dead_code, reason = "the demo uses the rest")]
mod operator;
mod ownership;
mod places;
mod races;
mod refused_rights;
mod refusing;
mod renamed;
mod replicas;
mod reporting;
mod reports;
mod restart;
mod sign_ins;
mod stage;
mod starts;
mod steady;
mod subject;
#[path = "../cluster/support.rs"]
#[allow(dead_code, reason = "the schema's tests use the rest")]
mod support;
mod suspension;
mod telemetry;
mod unchecked;
mod unproven;
mod urgency;
mod watch_namespaces;
mod windows;
mod zitadel;
