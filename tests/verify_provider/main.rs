//! `verify-provider` as a process of its own against the simulated servers: what it reports, and what it leaves behind.

#![allow(clippy::unwrap_used, reason = "what fails in a test is to stop it")]

mod everywhere;
mod faults;
mod invites;
mod names;
mod passes;
mod refuses;
mod sign_ins;
mod stops;
mod support;
