//! What `deploy/policies/` promises: the operator's own fields are the operator's, and what a platform team binds holds.

mod account;
mod forged;
mod optional;
mod passing;
