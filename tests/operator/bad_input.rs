//! Input that can't be carried out: it is said so, where to look and what to do, and no right that a provider holds is
//! lost over it.

mod authorities;
mod credentials;
mod forged;
mod missing;
mod nonsense;
mod waiting;
