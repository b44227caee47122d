//! The events that everything follows from, and what the write side makes of them.

use std::time::Instant;

use jiff::Timestamp;

/// One event of a project, or of the instance.
pub(crate) struct Event {
    /// The project whose aggregate it belongs to; empty for events of users and organisations.
    pub(crate) project: String,
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    /// When it was pushed, by a clock that nobody moves: search is behind this.
    pub(crate) pushed: Instant,
    pub(crate) kind: Kind,
    /// Search skips it for good (`reference/zitadel.md`, trap 4).
    pub(crate) lost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    ProjectAdded,
    ProjectDeactivated,
    ProjectRemoved,
    MemberAdded {
        user: String,
        org: String,
        roles: Vec<String>,
    },
    MemberChanged {
        user: String,
        roles: Vec<String>,
    },
    MemberRemoved {
        user: String,
    },
    /// The user was deleted. The write side does not count it as a removal: that is the ghost
    /// (project-members.json, 89).
    MemberCascadeRemoved {
        user: String,
    },
    UserRemoved {
        user: String,
    },
    OrgRemoved {
        org: String,
    },
}

impl Kind {
    /// The member whose event it is.
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::MemberAdded { user, .. }
            | Self::MemberChanged { user, .. }
            | Self::MemberRemoved { user }
            | Self::MemberCascadeRemoved { user } => Some(user),
            Self::ProjectAdded
            | Self::ProjectDeactivated
            | Self::ProjectRemoved
            | Self::UserRemoved { .. }
            | Self::OrgRemoved { .. } => None,
        }
    }

    /// Whether the unique constraint lets the member be added again.
    pub(crate) fn frees_the_member(&self) -> bool {
        matches!(self, Self::MemberRemoved { .. } | Self::MemberCascadeRemoved { .. })
    }
}

/// A member as the write side knows it: from the events, never from the projection, so that writes decide rightly
/// however far search is behind.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// The project's organisation.
    pub(crate) org: String,
    pub(crate) exists: bool,
    pub(crate) roles: Vec<String>,
    pub(crate) sequence: u64,
    pub(crate) changed: Timestamp,
}

impl Member {
    pub(crate) fn new(org: String, at: Timestamp) -> Self {
        Self { org, exists: false, roles: Vec::new(), sequence: 0, changed: at }
    }

    pub(crate) fn take(&mut self, kind: &Kind, sequence: u64, at: Timestamp) {
        self.sequence = sequence;
        self.changed = at;
        match kind {
            Kind::MemberAdded { roles, .. } | Kind::MemberChanged { roles, .. } => {
                self.exists = true;
                self.roles.clone_from(roles);
            }
            Kind::MemberRemoved { .. } => {
                self.exists = false;
                self.roles.clear();
            }
            Kind::MemberCascadeRemoved { .. }
            | Kind::ProjectAdded
            | Kind::ProjectDeactivated
            | Kind::ProjectRemoved
            | Kind::UserRemoved { .. }
            | Kind::OrgRemoved { .. } => {}
        }
    }
}
