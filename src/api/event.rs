//! The events that the operator emits.

/// What an event reports. The reasons are stable names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// Roles were granted.
    Granted,
    /// Roles that are no longer declared were revoked.
    Revoked,
    /// Roles whose end has passed were revoked.
    Expired,
    /// Roles were not granted, because their windows ended before they could be.
    NotGranted,
    /// All access was revoked, but the membership remains: the provider doesn't allow its removal.
    MembershipKept,
    /// Roles that were removed or shortened manually were restored.
    DriftedBack,
    /// Roles that were added manually were revoked.
    DriftedAway,
    /// The object can't be carried out.
    Failed,
    /// The object has been waiting for some time.
    Waiting,
    /// Access that should have ended is still in force.
    RevokeFailed,
    /// An administrator released the object without revoking.
    Abandoned,
    /// A provider can't be used.
    NotReady,
    /// A provider can be used.
    Ready,
}

impl EventKind {
    /// The event's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Granted => "Granted",
            Self::Revoked => "Revoked",
            Self::Expired => "Expired",
            Self::NotGranted => "NotGranted",
            Self::MembershipKept => "MembershipKept",
            Self::DriftedBack | Self::DriftedAway => "Drifted",
            Self::Failed => "Failed",
            Self::Waiting => "Waiting",
            Self::RevokeFailed => "RevokeFailed",
            Self::Abandoned => "Abandoned",
            Self::NotReady => "NotReady",
            Self::Ready => "Ready",
        }
    }

    /// The type of the event: Normal, or Warning for what needs attention.
    pub fn type_(self) -> &'static str {
        match self {
            Self::Granted | Self::Revoked | Self::Expired | Self::Ready => "Normal",
            Self::NotGranted
            | Self::MembershipKept
            | Self::DriftedBack
            | Self::DriftedAway
            | Self::Failed
            | Self::Waiting
            | Self::RevokeFailed
            | Self::Abandoned
            | Self::NotReady => "Warning",
        }
    }

    /// What the operator did or tried, as one machine-readable word.
    pub fn action(self) -> &'static str {
        match self {
            Self::Granted | Self::NotGranted => "Grant",
            Self::Revoked | Self::Expired | Self::MembershipKept | Self::RevokeFailed => "Revoke",
            Self::DriftedBack | Self::DriftedAway => "Repair",
            Self::Failed | Self::Waiting => "Reconcile",
            Self::Abandoned => "Release",
            Self::NotReady | Self::Ready => "Verify",
        }
    }
}
