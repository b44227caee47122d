//! What needs a real API server: the schema, what `deploy/` ships, and the operator at work.
//!
//! All tests of this binary share one control plane; each has namespaces of its own (see `support`).

// A test that can't go on ends there and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod deploy;
mod generated;
mod model;
mod policies;
mod schema;
mod support;
