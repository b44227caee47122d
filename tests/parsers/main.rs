//! Every reader of what others write that isn't an answer of a provider: no text stops it, and each has a law besides.
//!
//! Those that can only be called from within have their properties beside them (`proptest!` in `src/`); the answers of both
//! providers are garbled in `tests/infisical_client` and `tests/zitadel_client`. `PROPTEST_CASES` says how many cases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails in a test is to stop it")]

mod addresses;
mod objects;
mod readable;
mod schema;
mod statuses;
mod urls;
