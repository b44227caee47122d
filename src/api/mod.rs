//! The contract with users: the kinds of the group `membership.dev`, their conditions and durations.

#![warn(missing_docs)]

pub mod characters;
pub mod condition;
pub mod crds;
pub mod duration;
pub mod event;
pub mod membership;
pub mod provider;
mod schema;
pub mod time;

pub use condition::Reason;
pub use duration::Duration;
pub use membership::{
    AdoptionPolicy, DeletionPolicy, ManagementPolicy, ProjectMembership, ProjectMembershipSpec,
    ProjectMembershipStatus, RoleManagement, SubjectKind,
};
pub use provider::{ClusterMembershipProvider, MembershipProvider, MembershipProviderSpec, MembershipProviderStatus};
pub use time::Time;

/// Keeps a ProjectMembership until what it granted is revoked.
pub const FINALIZER: &str = "membership.dev/revoke";
/// Keeps a provider object while memberships of it hold access.
pub const IN_USE: &str = "membership.dev/in-use";
/// Any new value requests a reconcile now, as Flux's `reconcile.fluxcd.io/requestedAt` does.
pub const RECONCILE_AT: &str = "membership.dev/reconcile-at";
/// What an object is about to grant: written before the request to the provider, see [`membership::PendingGrants`].
pub const PENDING_GRANTS: &str = "membership.dev/pending-grants";
/// `"true"` releases an object and leaves the access in place at the provider; only administrators may set it.
pub const ABANDON: &str = "membership.dev/abandon";

/// The `observedGeneration` of an object that the operator has not processed yet.
fn none_yet() -> i64 {
    -1
}
