//! The operator, simulated: its own code over an API server in memory ([`apiserver`]) and the simulated providers, on a
//! clock that is paused while any task can run, with a [`scheduler`] that decides the faults from a seed.
//!
//! `make simulate` runs seeds; `SEED=… make simulate` repeats one exactly.

pub mod apiserver;
pub mod book;
pub mod churn;
pub mod kubernetes;
pub mod life;
pub mod oracle;
pub mod process;
pub mod providers;
pub mod recovery;
pub mod rng;
pub mod run;
pub mod scheduler;
pub mod seeds;
pub mod users;
pub mod world;

pub use run::{Outcome, run};
