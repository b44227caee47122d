//! The simulated providers as a process of their own: `bench provider`, and how the bench talks to it.

pub mod client;
pub mod requests;
pub mod server;
