//! What a tenant or a provider may try (docs/security.md). A tenant is played by the administrator here, whom no admission
//! policy holds back: what the policies refuse is in `tests/cluster/policies`.

mod answers;
mod ends;
mod finalizer;
mod flood;
mod forged;
mod size;
