//! The permissions of a caller in a project and in its organisation: simplified, but consistent with every recorded
//! response (infisical/permissions.json, name-resolution.json).

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::credentials::Caller;
use super::state::{Membership, State, StoredRole};
use super::subjects::{Kind, OrgRole};

/// What the built-in `viewer` may do. `other:read` represents all permissions that are unrelated to memberships.
const VIEWER: [&str; 6] = ["identity:read", "member:read", "groups:read", "role:read", "secrets:read", "other:read"];

/// What the built-in `member` may do beyond that.
const MEMBER: [&str; 6] =
    ["identity:create", "identity:edit", "identity:delete", "member:create", "secrets:write", "other:write"];

/// A set of rights in a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rights {
    /// An administrator's: every permission.
    All,
    These(BTreeSet<String>),
}

/// Why a subject has no set of rights, not even an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockedOut {
    /// No membership, or one without any role row.
    NotMember(Kind),
    /// A literal `custom` among the roles in force.
    CustomNotFound(Kind),
}

impl Rights {
    pub(crate) fn allow(&self, right: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(rights) => rights.contains(right),
        }
    }

    /// Whether these include all of the others. Equal ones do.
    pub(crate) fn include(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::All, _) => true,
            (Self::These(_), Self::All) => false,
            (Self::These(mine), Self::These(others)) => others.is_subset(mine),
        }
    }
}

impl State {
    /// What one role may do.
    pub(crate) fn rights_of_role(&self, project: &str, role: &StoredRole) -> Rights {
        let these = |rights: &[&str]| rights.iter().map(|right| (*right).to_owned()).collect();
        match role {
            StoredRole::BuiltIn(slug) => match slug.as_str() {
                "admin" => Rights::All,
                "member" => Rights::These(these(&[VIEWER, MEMBER].concat())),
                "viewer" => Rights::These(these(&VIEWER)),
                _ => Rights::These(BTreeSet::new()),
            },
            StoredRole::Custom(id) => {
                Rights::These(self.custom_role(project, id).map(|role| role.rights.clone()).unwrap_or_default())
            }
            StoredRole::LiteralCustom => Rights::These(BTreeSet::new()),
        }
    }

    /// The rights of a subject in a project now. Of several memberships only one counts (infisical/concurrency.json,
    /// "what the identity may do now"); a user has those of its groups as well (group-memberships.json, "access of the
    /// group member").
    pub(crate) fn rights_of_subject(&self, project: &str, subject: &str, now: Timestamp) -> Result<Rights, LockedOut> {
        let kind = self.kind_of(subject);
        let groups = self.groups.values().filter(|group| kind == Kind::User && group.users.contains(subject));
        let through = groups.filter_map(|group| self.shown_membership(project, &group.id));
        let counting: Vec<&Membership> = self
            .shown_membership(project, subject)
            .into_iter()
            .chain(through)
            .filter(|membership| !membership.rows.is_empty())
            .collect();
        if counting.is_empty() {
            return Err(LockedOut::NotMember(kind));
        }
        let mut all = BTreeSet::new();
        for row in counting.iter().flat_map(|membership| &membership.rows).filter(|row| row.active(now)) {
            if row.role == StoredRole::LiteralCustom {
                return Err(LockedOut::CustomNotFound(kind));
            }
            match self.rights_of_role(project, &row.role) {
                Rights::All => return Ok(Rights::All),
                Rights::These(rights) => all.extend(rights),
            }
        }
        Ok(Rights::These(all))
    }

    /// What a caller may do in a project now.
    pub(crate) fn rights_of(&self, project: &str, caller: &Caller, now: Timestamp) -> Result<Rights, LockedOut> {
        match caller {
            Caller::Subject(subject) => self.rights_of_subject(project, subject, now),
            Caller::Admin(_) if self.projects.contains_key(project) => Ok(Rights::All),
            Caller::Admin(_) => Err(LockedOut::NotMember(Kind::Identity)),
        }
    }

    /// The role of a caller in an organisation; none if it isn't a member.
    pub(crate) fn org_role(&self, org: &str, caller: &Caller) -> Option<OrgRole> {
        match caller {
            Caller::Admin(_) => Some(OrgRole::Admin),
            Caller::Subject(id) => match (self.identities.get(id), self.users.get(id)) {
                (Some(identity), _) => (identity.org == org).then_some(identity.org_role),
                (None, Some(user)) => user.seats.get(org).map(|seat| seat.role),
                (None, None) => None,
            },
        }
    }

    /// The organisation that a caller signed in to.
    pub(crate) fn org_of(&self, caller: &Caller) -> String {
        match caller {
            Caller::Subject(id) if self.identities.contains_key(id) => self.identities[id].org.clone(),
            Caller::Subject(_) | Caller::Admin(_) => self.default_org.clone(),
        }
    }
}
