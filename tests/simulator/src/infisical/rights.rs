//! What a caller may do in a project: coarse, but every answer that was recorded comes out of it
//! (infisical/permissions.json).

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::credentials::Caller;
use super::state::{State, StoredRole};

/// What the built-in `viewer` may do. `other:read` stands for all that memberships have nothing to do with.
const VIEWER: [&str; 5] = ["identity:read", "member:read", "groups:read", "secrets:read", "other:read"];

/// What the built-in `member` may do beyond that.
const MEMBER: [&str; 5] = ["identity:create", "identity:edit", "identity:delete", "secrets:write", "other:write"];

/// A set of rights in a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rights {
    /// An administrator's: every right there is.
    All,
    These(BTreeSet<String>),
}

/// Why somebody has no rights at all, not even none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockedOut {
    /// No membership, or one without any role row.
    NotMember,
    /// A literal `custom` among the roles in force.
    CustomNotFound,
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

    /// What an identity may do in a project now. Of several memberships only one counts
    /// (infisical/concurrency.json, "what the identity may do now").
    pub(crate) fn rights_of_identity(
        &self,
        project: &str,
        identity: &str,
        now: Timestamp,
    ) -> Result<Rights, LockedOut> {
        let membership = self.shown_membership(project, identity).ok_or(LockedOut::NotMember)?;
        if membership.rows.is_empty() {
            return Err(LockedOut::NotMember);
        }
        let mut all = BTreeSet::new();
        for row in membership.rows.iter().filter(|row| row.active(now)) {
            if row.role == StoredRole::LiteralCustom {
                return Err(LockedOut::CustomNotFound);
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
            Caller::Identity(identity) => self.rights_of_identity(project, identity, now),
            Caller::Admin(_) if self.projects.contains_key(project) => Ok(Rights::All),
            Caller::Admin(_) => Err(LockedOut::NotMember),
        }
    }
}
