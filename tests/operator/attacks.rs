//! What a tenant or a provider may try (docs/security.md). The administrator acts as the tenant here, whom no admission
//! policy holds back: what the policies refuse is in `tests/cluster/policies`.

mod answers;
mod ends;
mod finalizer;
mod flood;
mod forged;
mod size;
