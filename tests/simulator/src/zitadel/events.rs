//! The events that determine everything, and their effect on the write side.

use jiff::Timestamp;
use tokio::time::Instant;

/// The resource of a member: a project, or a grant of it to another organisation. A project's id alone, or the ids of
/// both, will do for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// The project's id.
    pub project: String,
    /// The grant's id, where it is not the project itself.
    pub grant: Option<String>,
}

impl Resource {
    /// A project, or a grant of it.
    pub fn new(project: &str, grant: Option<&str>) -> Self {
        Self { project: project.to_owned(), grant: grant.map(str::to_owned) }
    }
}

impl From<&str> for Resource {
    fn from(project: &str) -> Self {
        Self::new(project, None)
    }
}

impl From<&String> for Resource {
    fn from(project: &String) -> Self {
        Self::new(project, None)
    }
}

impl From<(&str, &str)> for Resource {
    fn from((project, grant): (&str, &str)) -> Self {
        Self::new(project, Some(grant))
    }
}

impl From<&Resource> for Resource {
    fn from(resource: &Resource) -> Self {
        resource.clone()
    }
}

/// One event of a project, or of the instance.
pub(crate) struct Event {
    /// Whose event it is: the project's aggregate, and for a member what it is a member of. Without a project it is an
    /// event of a user or an organisation.
    pub(crate) resource: Resource,
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    /// When it was pushed, by a clock without an offset: search lags behind this.
    pub(crate) pushed: Instant,
    pub(crate) kind: Kind,
    /// Search skips it permanently (`docs/reference/zitadel.md`, trap 4).
    pub(crate) lost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    ProjectAdded,
    ProjectDeactivated,
    ProjectRemoved,
    ProjectRenamed,
    GrantAdded,
    GrantDeactivated,
    GrantReactivated,
    GrantRemoved,
    MemberAdded {
        user: String,
        /// The project's organisation.
        org: String,
        /// The organisation that the project is granted to, for a grant's member.
        granted_org: Option<String>,
        roles: Vec<String>,
    },
    MemberChanged {
        user: String,
        roles: Vec<String>,
    },
    MemberRemoved {
        user: String,
    },
    /// The user was deleted. For a project's member the write side does not count it as a removal: that is the ghost
    /// (project-members.json, 89). For a grant's it does (project-grant-members.json, 60).
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
            | Self::ProjectRenamed
            | Self::GrantAdded
            | Self::GrantDeactivated
            | Self::GrantReactivated
            | Self::GrantRemoved
            | Self::UserRemoved { .. }
            | Self::OrgRemoved { .. } => None,
        }
    }

    /// Whether the table that search reads follows it.
    pub(crate) fn concerns_members(&self) -> bool {
        self.user().is_some()
            || matches!(
                self,
                Self::ProjectRemoved | Self::GrantRemoved | Self::UserRemoved { .. } | Self::OrgRemoved { .. }
            )
    }

    /// Whether it changes the project itself: what GET of the project shows.
    pub(crate) fn is_of_the_project(&self) -> bool {
        matches!(self, Self::ProjectAdded | Self::ProjectDeactivated | Self::ProjectRemoved | Self::ProjectRenamed)
    }

    /// Whether it changes a grant itself: what GET of the grant shows.
    pub(crate) fn is_of_the_grant(&self) -> bool {
        matches!(self, Self::GrantAdded | Self::GrantDeactivated | Self::GrantReactivated | Self::GrantRemoved)
    }

    /// Whether the unique constraint lets the member be added again.
    pub(crate) fn frees_the_member(&self) -> bool {
        matches!(self, Self::MemberRemoved { .. } | Self::MemberCascadeRemoved { .. })
    }
}

/// A member on the write side: from the events, never from the projection, so that writes decide correctly regardless
/// of the lag of search.
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

    pub(crate) fn take(&mut self, kind: &Kind, of_grant: bool, sequence: u64, at: Timestamp) {
        self.sequence = sequence;
        self.changed = at;
        match kind {
            Kind::MemberAdded { roles, .. } | Kind::MemberChanged { roles, .. } => {
                self.exists = true;
                self.roles.clone_from(roles);
            }
            Kind::MemberRemoved { .. } => self.end(),
            Kind::MemberCascadeRemoved { .. } if of_grant => self.end(),
            _ => {}
        }
    }

    fn end(&mut self) {
        self.exists = false;
        self.roles.clear();
    }
}
