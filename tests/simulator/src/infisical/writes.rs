//! What writes of memberships have in common, for every kind of member.
//!
//! A write reads, waits for the ordered [`Fault::Window`](crate::Fault::Window), and writes: two concurrent ones
//! collide like two transactions of the real server. Readers see a write completely or not at all
//! (infisical/concurrency.json, "reads while one writer switches").

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::Infisical;
use super::answers::written_role;
use super::auth::Call;
use super::errors::{Errors, GRANT_PRIVILEGES, Refusal};
use super::rights::Rights;
use super::state::{ErrorStyle, Membership, Row, State, StoredRole, Window, new_id};
use super::subjects::Kind;
use super::time;
use super::validation::RoleInput;

impl Call {
    /// What the caller may do in the project, if it may do this to members of this kind.
    pub(crate) fn may(
        &self,
        held: &State,
        project: &str,
        kind: Kind,
        action: &str,
        now: Timestamp,
    ) -> Result<Rights, Refusal> {
        if self.errors.current() && !held.projects.contains_key(project) {
            return Err(self.errors.missing_project(project));
        }
        let rights = held.rights_of(project, &self.caller, now).map_err(|why| self.errors.locked_out(why, project))?;
        let right = format!("{}:{action}", kind.subject());
        if rights.allow(&right) { Ok(rights) } else { Err(self.errors.may_not(action, kind.subject())) }
    }
}

/// Ids of members are compared as UUIDs, ignoring case; project ids as text (identity-extras.json, 32 and 33).
pub(crate) fn uuid(errors: Errors, text: &str, error: &str) -> Result<String, Refusal> {
    match Uuid::parse_str(text) {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err(errors.went_wrong(error)),
    }
}

/// The roles that a write sends.
#[derive(Clone, Copy)]
pub(crate) enum Writes<'a> {
    /// A POST.
    Creates(&'a [RoleInput]),
    /// A PATCH.
    Changes(&'a [RoleInput]),
}

impl Call {
    /// The rows that a write makes, or why it may not.
    pub(crate) fn new_rows(
        &self,
        held: &State,
        (project, kind): (&str, Kind),
        rights: &Rights,
        writes: Writes<'_>,
        now: Timestamp,
    ) -> Result<Vec<Row>, Refusal> {
        let errors = self.errors;
        let (roles, creates) = match writes {
            Writes::Creates(roles) => (roles, true),
            Writes::Changes(roles) => (roles, false),
        };
        let new_privileges = held.new_privileges.unwrap_or(errors.june_2025());
        if new_privileges {
            // June 2025 requires it even to grant nothing (infisical-june-2025/permissions.json, 1 and 5); the current
            // source ignores `no-access`.
            let gives = |role: &RoleInput| errors.june_2025() || role.slug != "no-access";
            let right = format!("{}:{GRANT_PRIVILEGES}", kind.subject());
            if roles.iter().any(gives) && !rights.allow(&right) {
                return Err(errors.may_not_grant(kind, creates));
            }
        }
        // October 2024 lets every caller who may edit users grant them any role (permissions.json, 472).
        let unchecked = new_privileges || kind == Kind::User && errors.0 == ErrorStyle::October2024;
        let now = time::cut(now);
        let mut rows = Vec::new();
        let mut custom = BTreeSet::new();
        let mut twice = false;
        for input in roles {
            let role =
                held.role_of_slug(project, &input.slug).ok_or_else(|| errors.role_not_found(kind, &input.slug))?;
            // Sending a role that the target has already is no exception (`docs/reference/infisical.md`, Three
            // generations).
            if !unchecked && !rights.include(&held.rights_of_role(project, &role)) {
                return Err(errors.escalation(kind, &input.slug));
            }
            if let StoredRole::Custom(id) = &role {
                twice |= !custom.insert(id.clone());
            }
            // (infisical-june-2025/errors-g1.json, 33)
            twice |= role == StoredRole::LiteralCustom && errors.june_2025() && !creates;
            let window = match &input.temporary {
                None => None,
                Some(t) => {
                    // No date: JavaScript throws when it is to be stored.
                    let end = time::plus(t.start, t.milliseconds).ok_or_else(|| {
                        errors.went_wrong(if errors.june_2025() { "Create" } else { "InternalServerError" })
                    })?;
                    Some(Window { range: t.range.clone(), start: t.start, end })
                }
            };
            rows.push(Row { id: new_id(), role, window, created: now });
        }
        if twice {
            return Err(errors.custom_role_twice(kind));
        }
        let only_temporary = rows.iter().all(|row| row.window.is_some());
        if only_temporary && errors.current() {
            return Err(errors.only_temporary(kind));
        }
        Ok(rows)
    }
}

/// A PATCH that has read the rows that it replaces.
pub(crate) struct Replacement {
    project: String,
    subject: String,
    membership: String,
    replaced: BTreeSet<String>,
    rows: Vec<Row>,
}

impl Replacement {
    /// Rows in place of those that a membership has now.
    pub(crate) fn of(membership: &Membership, rows: Vec<Row>) -> Self {
        Self {
            project: membership.project.clone(),
            subject: membership.subject.clone(),
            membership: membership.id.clone(),
            replaced: membership.rows.iter().map(|row| row.id.clone()).collect(),
            rows,
        }
    }

    /// Waits and writes; the rows as PATCH answers them, and the membership.
    pub(crate) async fn written(self, infisical: &Infisical, call: &Call) -> Result<(Vec<Value>, Membership), Refusal> {
        pause(call.faults.window).await;
        let mut held = infisical.state();
        let of = held.memberships.of_mut(&self.project, &self.subject);
        // The rows have a foreign key to their membership, which a DELETE may have removed meanwhile.
        let Some(written) = of.iter_mut().find(|m| m.id == self.membership) else {
            return Err(call.errors.went_wrong("InternalServerError"));
        };
        // Deleted is what was there at the start: what another PATCH has inserted since remains, and the two are
        // merged.
        written.rows.retain(|row| !self.replaced.contains(&row.id));
        let answer = self.rows.iter().map(|row| written_role(&self.membership, row)).collect();
        written.rows.extend(self.rows);
        Ok((answer, written.clone()))
    }
}

pub(crate) async fn pause(window: Duration) {
    if !window.is_zero() {
        tokio::time::sleep(window).await;
    }
}
