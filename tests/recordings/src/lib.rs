//! The recorded exchanges of real servers (`tests/contracts`), in both directions: what the provider clients make of the
//! recorded answers, and what the simulator answers to the recorded requests.
//!
//! What a client is to make of an answer is written down beside the recordings, in `expected.yaml`
//! (`tests/contracts/EXPECTED.md` documents it): [`expected`] reads it, [`client`] serves each answer to the real client
//! and compares. What was *read* out of an answer is compared with what [`reading`] finds in the same body, which knows
//! nothing of the client's code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

pub mod client;
pub mod expected;
pub mod judge;
pub mod path;
pub mod reading;
pub mod readme;
pub mod recording;
pub mod replay;
pub mod report;
pub mod server;
