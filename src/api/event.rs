//! The events that the operator emits.

/// What an event reports. The reasons are stable names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// Roles were granted.
    Granted,
    /// Roles that nobody declares any more were taken away.
    Revoked,
    /// Roles whose end has come were taken away.
    Expired,
    /// Roles were not granted, because their windows ended before they could be.
    NotGranted,
    /// All access was taken away, and the membership stays: the provider doesn't let it be removed.
    MembershipKept,
    /// Roles that were taken away or shortened by hand were put back.
    DriftedBack,
    /// Roles that were added by hand were taken away.
    DriftedAway,
    /// The object can't be carried out.
    Failed,
    /// The object has been waiting for a while.
    Waiting,
    /// Access that should have ended is still in force.
    RevokeFailed,
    /// An administrator let the object go without revoking.
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

    /// The type of the event: Normal, or Warning for what somebody should look at.
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

    /// What the operator did or tried, as one word for machines.
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
