//! What a caller may do (zitadel/permissions.json).

use super::state::{Scope, State};

/// A permission that the simulated calls ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// `project.member.read` and so on: members of a project.
    MemberRead,
    MemberWrite,
    MemberDelete,
    /// `project.grant.member.read` and so on: members of a grant.
    GrantMemberRead,
    GrantMemberWrite,
    GrantMemberDelete,
    ProjectRead,
    GrantRead,
    UserRead,
    OrgMemberRead,
    InstanceMemberRead,
    /// Any role in the organisation is enough.
    Any,
}

/// Why a caller may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No role at all in the organisation: AUTHZ-cdgFk.
    NoMembership,
    /// No role with the permission: AUTH-5mWD2, of v2 AUTH-AWfge.
    NoPermission,
    /// A role with the permission, on something else: AUTH-3jknH, of v2 AUTH-Swrgg2.
    ElsewhereOnly,
}

use Permission as P;

const VIEWS_ORG: &[Permission] =
    &[P::OrgMemberRead, P::UserRead, P::ProjectRead, P::MemberRead, P::GrantRead, P::GrantMemberRead];
const OWNS_ORG: &[Permission] = &[
    P::OrgMemberRead,
    P::UserRead,
    P::ProjectRead,
    P::MemberRead,
    P::MemberWrite,
    P::MemberDelete,
    P::GrantRead,
    P::GrantMemberRead,
    P::GrantMemberWrite,
    P::GrantMemberDelete,
];

/// Which role has which of these permissions: ZITADEL's `cmd/defaults.yaml`, InternalAuthZ.RolePermissionMappings.
const ROLES: [(&str, &[Permission]); 18] = [
    (
        "IAM_OWNER",
        &[
            P::InstanceMemberRead,
            P::OrgMemberRead,
            P::UserRead,
            P::ProjectRead,
            P::MemberRead,
            P::MemberWrite,
            P::MemberDelete,
            P::GrantRead,
            P::GrantMemberRead,
            P::GrantMemberWrite,
            P::GrantMemberDelete,
        ],
    ),
    (
        "IAM_OWNER_VIEWER",
        &[
            P::InstanceMemberRead,
            P::OrgMemberRead,
            P::UserRead,
            P::ProjectRead,
            P::MemberRead,
            P::GrantRead,
            P::GrantMemberRead,
        ],
    ),
    ("IAM_ORG_MANAGER", OWNS_ORG),
    ("IAM_USER_MANAGER", VIEWS_ORG),
    ("ORG_OWNER", OWNS_ORG),
    ("ORG_OWNER_VIEWER", VIEWS_ORG),
    ("ORG_USER_PERMISSION_EDITOR", VIEWS_ORG),
    ("ORG_PROJECT_PERMISSION_EDITOR", VIEWS_ORG),
    ("ORG_USER_MANAGER", &[P::UserRead, P::ProjectRead]),
    ("ORG_SETTINGS_MANAGER", &[P::OrgMemberRead]),
    // It may read projects that it made itself.
    ("ORG_PROJECT_CREATOR", &[]),
    ("ORG_ADMIN_IMPERSONATOR", &[]),
    (
        "PROJECT_OWNER",
        &[
            P::UserRead,
            P::ProjectRead,
            P::MemberRead,
            P::MemberWrite,
            P::MemberDelete,
            P::GrantRead,
            P::GrantMemberRead,
            P::GrantMemberWrite,
            P::GrantMemberDelete,
        ],
    ),
    ("PROJECT_OWNER_VIEWER", &[P::UserRead, P::ProjectRead, P::MemberRead, P::GrantRead, P::GrantMemberRead]),
    ("PROJECT_OWNER_GLOBAL", &[P::ProjectRead, P::MemberRead, P::MemberWrite, P::MemberDelete]),
    ("PROJECT_OWNER_VIEWER_GLOBAL", &[P::ProjectRead, P::MemberRead, P::GrantRead, P::GrantMemberRead]),
    (
        "PROJECT_GRANT_OWNER",
        &[P::UserRead, P::ProjectRead, P::GrantRead, P::GrantMemberRead, P::GrantMemberWrite, P::GrantMemberDelete],
    ),
    ("PROJECT_GRANT_OWNER_VIEWER", &[P::UserRead, P::ProjectRead, P::GrantRead, P::GrantMemberRead]),
];

impl Permission {
    fn held_by(self, role: &str) -> bool {
        self == Self::Any || ROLES.iter().any(|(name, permissions)| *name == role && permissions.contains(&self))
    }
}

impl State {
    /// Whether a user may do this in an organisation: on a thing (a project's id or a grant's; none: on anything).
    /// Rights on projects and grants are what the projection says, as at the real server (zitadel/concurrency.json, 6
    /// and 11). A grant's member has its rights in the project's organisation and in the one that it is granted to.
    pub(crate) fn may(
        &self,
        user: &str,
        org: &str,
        permission: Permission,
        thing: Option<&str>,
    ) -> Result<(), Refused> {
        let wide = self.rights.iter().filter(|right| {
            right.user == user
                && match &right.scope {
                    Scope::Instance => true,
                    // Where an organisation is gone, so are the roles in it (organization-header.json, 41).
                    Scope::Org(id) => id == org && self.orgs.get(id).is_some_and(|org| !org.deleted),
                }
        });
        let mut anything = false;
        let mut elsewhere = false;
        for right in wide {
            anything = true;
            if permission.held_by(&right.role) {
                return Ok(());
            }
            elsewhere |= right.role == "ORG_PROJECT_CREATOR" && permission == Permission::ProjectRead;
        }
        let in_org = |row: &&super::projection::MemberRow| row.org == org || row.granted_org.as_deref() == Some(org);
        for row in self.projection.of_user(user).filter(in_org) {
            anything = true;
            if row.roles.iter().any(|role| permission.held_by(role)) {
                let held_on = row.resource.grant.as_ref().unwrap_or(&row.resource.project);
                if thing.is_none_or(|thing| thing == held_on) {
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
