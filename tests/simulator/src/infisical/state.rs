//! The state of the simulated Infisical: projects, memberships and everything else. No HTTP in here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use super::credentials::{Client, Token};
use super::limits::Meter;
use super::organizations::SubOrganization;
use super::routes::Generations;
use super::rows::RoleRow;
use super::sign_in::Logins;
use super::store::Memberships;
use super::subjects::{Group, Identity, Kind, Mail, User};

/// The slugs of built-in roles that both generations of the server know (`docs/reference/infisical.md`, Roles in
/// answers). The literal `custom` is one of them: it is accepted, and stores a role without an id.
pub(crate) const BUILT_IN: [&str; 5] = ["admin", "member", "viewer", "no-access", "custom"];

/// Everything that the server holds.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) generations: Generations,
    pub(crate) style: ErrorStyle,
    pub(crate) projects: BTreeMap<String, Project>,
    pub(crate) identities: BTreeMap<String, Identity>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) groups: BTreeMap<String, Group>,
    /// The organisation of everything that names no other.
    pub(crate) default_org: String,
    pub(crate) sub_organizations: Vec<SubOrganization>,
    pub(crate) clients: Vec<Client>,
    pub(crate) logins: Logins,
    pub(crate) tokens: HashMap<String, Token>,
    pub(crate) memberships: Memberships,
    pub(crate) mails: Vec<Mail>,
    pub(crate) meter: Meter,
    /// Whether the organisations use the privilege system of March 2025; none: as those do that are as old as the server.
    pub(crate) new_privileges: Option<bool>,
}

/// Which server's errors are returned (`docs/reference/infisical.md`, Errors).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorStyle {
    /// Those of October 2024, as recorded.
    October2024,
    /// Those of June 2025, as recorded.
    June2025,
    /// Those of the current source.
    #[default]
    Current,
}

pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) slug: String,
    pub(crate) name: String,
    /// The product that it belongs to, as `secret-manager`.
    pub(crate) product: String,
    pub(crate) org: String,
    pub(crate) created: Timestamp,
    /// The ids of its environments, which are the three that every project begins with.
    pub(crate) environments: [String; 3],
    pub(crate) roles: Vec<CustomRole>,
}

pub(crate) struct CustomRole {
    pub(crate) id: String,
    pub(crate) slug: String,
    pub(crate) name: String,
    /// Rights, such as `identity:read`; see `rights.rs`.
    pub(crate) rights: BTreeSet<String>,
    pub(crate) created: Timestamp,
}

/// One membership of a project. A subject can have several (`docs/reference/infisical.md`, PATCH and time).
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    /// Counts up; the table sets it.
    pub(crate) serial: u64,
    pub(crate) id: String,
    pub(crate) project: String,
    /// The id of the identity, user or group.
    pub(crate) subject: String,
    pub(crate) kind: Kind,
    pub(crate) created: Timestamp,
    pub(crate) rows: Vec<Row>,
}

/// One role of a membership, as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) role: StoredRole,
    pub(crate) window: Option<Window>,
    pub(crate) created: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredRole {
    BuiltIn(String),
    /// By the role's id: a renamed slug keeps its assignments.
    Custom(String),
    /// The literal `custom`, without a role.
    LiteralCustom,
}

/// When a temporary role runs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The range as it was sent, such as `2h`.
    pub range: String,
    /// The start as it was sent. It has no effect: only the end is enforced.
    pub start: Timestamp,
    /// start + range, computed at the write.
    pub end: Timestamp,
}

impl Row {
    /// Whether the role is in force: permanent, or not ended yet. The start is ignored.
    pub(crate) fn active(&self, now: Timestamp) -> bool {
        self.window.as_ref().is_none_or(|window| now < window.end)
    }
}

impl State {
    pub(crate) fn custom_role(&self, project: &str, id: &str) -> Option<&CustomRole> {
        self.projects.get(project)?.roles.iter().find(|role| role.id == id)
    }

    /// The role of a slug in a project.
    pub(crate) fn role_of_slug(&self, project: &str, slug: &str) -> Option<StoredRole> {
        if slug == "custom" {
            return Some(StoredRole::LiteralCustom);
        }
        if BUILT_IN.contains(&slug) {
            return Some(StoredRole::BuiltIn(slug.to_owned()));
        }
        let role = self.projects.get(project)?.roles.iter().find(|role| role.slug == slug)?;
        Some(StoredRole::Custom(role.id.clone()))
    }

    /// The slug of a stored role, as `customRoleSlug ?? role`.
    pub(crate) fn slug_of(&self, project: &str, role: &StoredRole) -> String {
        match role {
            StoredRole::BuiltIn(slug) => slug.clone(),
            StoredRole::LiteralCustom => "custom".to_owned(),
            StoredRole::Custom(id) => {
                self.custom_role(project, id).map_or_else(|| id.clone(), |role| role.slug.clone())
            }
        }
    }

    /// The membership that PATCH and DELETE take when there are several. It need not be the one that GET shows
    /// (infisical/concurrency.json, several memberships of one identity).
    pub(crate) fn written_membership(&self, project: &str, subject: &str) -> Option<&Membership> {
        self.memberships.of(project, subject).first()
    }

    /// The membership that GET shows, and whose roles are the subject's rights, when there are several.
    pub(crate) fn shown_membership(&self, project: &str, subject: &str) -> Option<&Membership> {
        self.memberships.of(project, subject).last()
    }

    /// Makes a membership.
    pub(crate) fn insert(&mut self, project: &str, subject: &str, rows: Vec<Row>, now: Timestamp) {
        self.memberships.insert(Membership {
            serial: 0,
            id: new_id(),
            project: project.to_owned(),
            subject: subject.to_owned(),
            kind: self.kind_of(subject),
            created: now,
            rows,
        });
    }

    /// Removes the memberships that a DELETE of an identity or a group removes: all of them at servers without the
    /// third generation (infisical/concurrency.json, 18), the written one since then (`deleteMembership` in Infisical's
    /// `backend/src/services/membership-identity/membership-identity-service.ts` and its sibling for groups). Returns
    /// how many were removed.
    pub(crate) fn remove_as_asked(&mut self, project: &str, subject: &str) -> usize {
        if !self.generations.third() {
            return self.memberships.remove(project, subject);
        }
        let written = self.written_membership(project, subject).map(|membership| membership.id.clone());
        written.map_or(0, |id| usize::from(self.memberships.remove_one(project, subject, &id)))
    }

    /// The roles in force: over all memberships, permanent or not ended yet. A literal `custom` among the roles in
    /// force locks its holder out of everything (identity-extras.json, "what the identity with the literal custom may
    /// do").
    pub(crate) fn effective(&self, project: &str, subject: &str, at: Timestamp) -> BTreeSet<String> {
        let in_force =
            || self.memberships.of(project, subject).iter().flat_map(|m| &m.rows).filter(|row| row.active(at));
        if in_force().any(|row| row.role == StoredRole::LiteralCustom) {
            return BTreeSet::new();
        }
        in_force().map(|row| self.slug_of(project, &row.role)).collect()
    }

    /// The rows of all memberships of a subject, as a person would write them.
    pub(crate) fn rows(&self, project: &str, subject: &str) -> Vec<RoleRow> {
        self.memberships
            .of(project, subject)
            .iter()
            .flat_map(|m| &m.rows)
            .map(|row| RoleRow {
                id: row.id.clone(),
                role: self.slug_of(project, &row.role),
                temporary: row.window.clone(),
            })
            .collect()
    }
}

/// A new id, as the server makes them.
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}
