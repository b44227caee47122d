//! What a caller may do (zitadel/permissions.json).

use super::state::{Scope, State};

/// A permission that the simulated calls ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    MemberRead,
    MemberWrite,
    MemberDelete,
    ProjectRead,
    /// Being anybody in the organisation is enough.
    Any,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No role at all in the organisation: AUTHZ-cdgFk.
    NoMembership,
    /// No role with the permission: AUTH-5mWD2.
    NoPermission,
    /// A role with the permission, on another project: AUTH-3jknH.
    ElsewhereOnly,
}

const READERS: [&str; 11] = [
    "IAM_OWNER",
    "IAM_OWNER_VIEWER",
    "IAM_ORG_MANAGER",
    "IAM_USER_MANAGER",
    "ORG_OWNER",
    "ORG_OWNER_VIEWER",
    "ORG_PROJECT_PERMISSION_EDITOR",
    "PROJECT_OWNER",
    "PROJECT_OWNER_VIEWER",
    "PROJECT_OWNER_GLOBAL",
    "PROJECT_OWNER_VIEWER_GLOBAL",
];
const WRITERS: [&str; 5] = ["IAM_OWNER", "IAM_ORG_MANAGER", "ORG_OWNER", "PROJECT_OWNER", "PROJECT_OWNER_GLOBAL"];
const PROJECT_READERS: [&str; 2] = ["ORG_USER_MANAGER", "PROJECT_GRANT_OWNER"];

impl Permission {
    fn held_by(self, role: &str) -> bool {
        match self {
            Self::Any => true,
            Self::MemberRead => READERS.contains(&role),
            Self::ProjectRead => READERS.contains(&role) || PROJECT_READERS.contains(&role),
            Self::MemberWrite | Self::MemberDelete => WRITERS.contains(&role),
        }
    }
}

impl State {
    /// Whether a user may do this on a project (none: anywhere) in an organisation. Rights on projects are what the
    /// projection says, as at the real server (zitadel/concurrency.json, 6 and 11).
    pub(crate) fn may(
        &self,
        user: &str,
        org: &str,
        permission: Permission,
        project: Option<&str>,
    ) -> Result<(), Refused> {
        let wide = self.grants.iter().filter(|(holder, scope, _)| {
            holder == user
                && match scope {
                    Scope::Instance => true,
                    // Where an organisation is gone, so are the roles in it (organization-header.json, 41).
                    Scope::Org(id) => id == org && self.orgs.get(id).is_some_and(|org| !org.deleted),
                }
        });
        let mut anything = false;
        let mut elsewhere = false;
        for (.., role) in wide {
            anything = true;
            if permission.held_by(role) {
                return Ok(());
            }
            // It may read projects that it made itself.
            elsewhere |= role == "ORG_PROJECT_CREATOR" && permission == Permission::ProjectRead;
        }
        for row in self.projection.of_user(user).filter(|row| row.org == org) {
            anything = true;
            if row.roles.iter().any(|role| permission.held_by(role)) {
                if project.is_none_or(|project| project == row.project) {
                    return Ok(());
                }
                elsewhere = true;
            }
        }
        Err(match (anything, elsewhere) {
            (false, _) => Refused::NoMembership,
            (true, false) => Refused::NoPermission,
            (true, true) => Refused::ElsewhereOnly,
        })
    }
}
