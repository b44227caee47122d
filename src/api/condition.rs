//! The reasons that a condition may have: a public, stable list.

use std::fmt;

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Why an object is ready or isn't. The names are the contract with users (alerts and `kubectl wait` use them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The provider has what is declared (also: everything expired, or only scheduled).
    Converged,
    /// `spec.suspend` is true.
    Suspended,
    /// `managementPolicy: Observe`: the provider was read, nothing was written.
    Observed,
    /// Work is in progress.
    Progressing,
    /// The provider accepted the request and hasn't carried it out.
    Unconfirmed,
    /// It waits for the provider's limits, or the operator's.
    RateLimited,
    /// The provider can't be reached, or its responses are invalid.
    Unreachable,
    /// The provider object doesn't exist (yet).
    ProviderNotFound,
    /// The provider object exists and isn't Ready.
    ProviderNotReady,
    /// The provider refuses the credential.
    Unauthorized,
    /// The object is being deleted and its access couldn't be revoked yet.
    RevokeFailed,
    /// The spec can't be carried out as it is.
    InvalidSpec,
    /// No allow rule covers it.
    NotAllowed,
    /// Another provider object takes precedence on this target.
    Conflict,
    /// `adoptionPolicy: Refuse`, and a declared role existed before.
    AlreadyExists,
    /// The provider doesn't know a declared role.
    RoleNotFound,
    /// The provider doesn't know the subject.
    SubjectNotFound,
    /// The provider doesn't know the project.
    ProjectNotFound,
    /// ZITADEL accepted the member, and its search will never show it.
    MemberNotListed,
    /// The credential's permissions are insufficient.
    Forbidden,
    /// The provider refuses the request for another reason.
    Rejected,
    /// Another writer keeps undoing it.
    Contested,
}

/// What a reason means for the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ready is True.
    Ready,
    /// Ready is Unknown, after five minutes False; Reconciling is True.
    Waiting,
    /// Ready is False at once; Reconciling is True.
    Failing,
    /// Ready is False; Stalled is True.
    Stalled,
}

impl Reason {
    /// What the reason means for the conditions.
    pub fn standing(self) -> Standing {
        match self {
            Self::Converged | Self::Suspended | Self::Observed => Standing::Ready,
            Self::Progressing
            | Self::Unconfirmed
            | Self::RateLimited
            | Self::Unreachable
            | Self::ProviderNotFound
            | Self::ProviderNotReady
            | Self::Unauthorized => Standing::Waiting,
            Self::RevokeFailed => Standing::Failing,
            Self::InvalidSpec
            | Self::NotAllowed
            | Self::Conflict
            | Self::AlreadyExists
            | Self::RoleNotFound
            | Self::SubjectNotFound
            | Self::ProjectNotFound
            | Self::MemberNotListed
            | Self::Forbidden
            | Self::Rejected
            | Self::Contested => Standing::Stalled,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
