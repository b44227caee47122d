//! Input that can't be carried out: this is reported, with where to look and what to do, and no role at a provider is
//! lost because of it.

mod authorities;
mod credentials;
mod forged;
mod missing;
mod nonsense;
mod waiting;
