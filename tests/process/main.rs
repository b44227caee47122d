//! The operator as a process, without a control plane: what it needs of its environment, and what it does where that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api_server;
mod launch;
mod metrics_port;
mod output;
mod starting;
