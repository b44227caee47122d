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
    /// The event's reason, its type and its action.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Granted => ("Granted", "Normal", "Grant"),
            Self::Revoked => ("Revoked", "Normal", "Revoke"),
            Self::Expired => ("Expired", "Normal", "Revoke"),
            Self::NotGranted => ("NotGranted", "Warning", "Grant"),
            Self::MembershipKept => ("MembershipKept", "Warning", "Revoke"),
            Self::DriftedBack | Self::DriftedAway => ("Drifted", "Warning", "Repair"),
            Self::Failed => ("Failed", "Warning", "Reconcile"),
            Self::Waiting => ("Waiting", "Warning", "Reconcile"),
            Self::RevokeFailed => ("RevokeFailed", "Warning", "Revoke"),
            Self::Abandoned => ("Abandoned", "Warning", "Release"),
            Self::NotReady => ("NotReady", "Warning", "Verify"),
            Self::Ready => ("Ready", "Normal", "Verify"),
        }
    }

    /// The event's reason.
    pub fn reason(self) -> &'static str {
        self.parts().0
    }

    /// The type of the event: Normal, or Warning for what needs attention.
    pub fn type_(self) -> &'static str {
        self.parts().1
    }

    /// What the operator did or tried, as one machine-readable word.
    pub fn action(self) -> &'static str {
        self.parts().2
    }
}
