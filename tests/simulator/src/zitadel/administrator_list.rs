//! The rows of v2's list of administrators: the administrators, who may see them, and the filters.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::connect::ids;
use super::events::Resource;
use super::permission::Permission;
use super::state::{Scope, State, User, UserKind};
use super::text::Text;
use super::wire::{without_zeroes, written};

/// An administrator of any resource.
pub(crate) struct Administrator<'a> {
    pub(crate) user: &'a str,
    of: Of<'a>,
    roles: Vec<&'a str>,
    pub(crate) created: Timestamp,
    changed: Timestamp,
}

enum Of<'a> {
    Instance,
    Org(&'a str),
    Resource(&'a Resource),
}

/// All administrators in search, of the instance, of organisations, of projects and of grants. A user without a login
/// name is left out, as everywhere.
pub(crate) fn administrators(state: &State) -> Vec<Administrator<'_>> {
    let mut rows: Vec<Administrator> = Vec::new();
    for right in &state.rights {
        let of = match &right.scope {
            Scope::Instance => Of::Instance,
            Scope::Org(org) => Of::Org(org),
        };
        let same = |row: &&mut Administrator| {
            row.user == right.user
                && match (&row.of, &of) {
                    (Of::Instance, Of::Instance) => true,
                    (Of::Org(one), Of::Org(other)) => one == other,
                    _ => false,
                }
        };
        match rows.iter_mut().find(same) {
            Some(row) => row.roles.push(&right.role),
            None => rows.push(Administrator {
                user: &right.user,
                of,
                roles: vec![&right.role],
                created: right.created,
                changed: right.created,
            }),
        }
    }
    rows.extend(state.projection.all().map(|row| Administrator {
        user: &row.user,
        of: Of::Resource(&row.resource),
        roles: row.roles.iter().map(String::as_str).collect(),
        created: row.created,
        changed: row.changed,
    }));
    rows.retain(|row| state.live_user(row.user).is_some_and(|user| user.login_name.is_some()));
    rows
}

impl Administrator<'_> {
    /// Whether a caller sees the row: its own always, else by its rights there; of a grant in either organisation
    /// (`administratorsCheckPermission` in ZITADEL's `internal/query/administrators.go`).
    pub(crate) fn is_seen_by(&self, state: &State, caller: &str) -> bool {
        let may = |org: &str, permission, thing: &str| state.may(caller, org, permission, Some(thing)).is_ok();
        caller == self.user
            || match self.of {
                Of::Instance => may("", Permission::InstanceMemberRead, ""),
                Of::Org(org) => may(org, Permission::OrgMemberRead, org),
                Of::Resource(Resource { project, grant }) => {
                    let org = state.org_of_project(project);
                    match grant.as_ref().and_then(|id| Some((id, state.grants.get(id)?))) {
                        None => may(&org, Permission::MemberRead, project),
                        Some((id, grant)) => {
                            may(&org, Permission::GrantMemberRead, id)
                                || may(&grant.granted_org, Permission::GrantMemberRead, id)
                                || may(&org, Permission::GrantMemberRead, project)
                        }
                    }
                }
            }
    }

    /// The row as it is sent.
    pub(crate) fn shown(&self, state: &State) -> Option<Value> {
        let user = state.users.get(self.user)?;
        let mut row = json!({
            "creationDate": written(self.created),
            "changeDate": written(self.changed),
            "user": without_zeroes(json!({
                "id": self.user,
                "preferredLoginName": user.login_name,
                "displayName": display_name(user),
                "organizationId": user.org,
            })),
            "roles": self.roles,
        });
        let (name, of) = match self.of {
            Of::Instance => ("instance", json!(true)),
            Of::Org(org) => ("organization", json!({"id": org, "name": state.orgs.get(org)?.name})),
            Of::Resource(Resource { project, grant }) => {
                let known = state.projects.get(project)?;
                match grant {
                    None => ("project", json!({"id": project, "name": known.name, "organizationId": known.org})),
                    Some(id) => (
                        "projectGrant",
                        json!({
                            "id": id,
                            "projectId": project,
                            "projectName": known.name,
                            "organizationId": known.org,
                            "grantedOrganizationId": state.grants.get(id)?.granted_org,
                        }),
                    ),
                }
            }
        };
        row[name] = of;
        Some(row)
    }
}

/// A person's name; a machine has none here (internal-permissions-v2.json, 28).
fn display_name(user: &User) -> String {
    match &user.kind {
        UserKind::Human { .. } => user.display_name(),
        UserKind::Machine { .. } => String::new(),
    }
}

/// The filters of a list: all must match.
pub(crate) enum Filter {
    Users(Vec<String>),
    Role(String),
    LoginName(Text),
    DisplayName(Text),
    Instance,
    Org(String),
    Project(String),
    Grant { project: String, org: String },
}

impl Filter {
    /// Reads a filter; none if it is unknown.
    pub(crate) fn read(filter: &Value) -> Option<Self> {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(of) = filter.get("resource") {
            return if let Some(grant) = of.get("projectGrant") {
                Some(Self::Grant { project: text(grant, "projectId"), org: text(grant, "organizationId") })
            } else if of.get("projectId").is_some() {
                Some(Self::Project(text(of, "projectId")))
            } else if of.get("organizationId").is_some() {
                Some(Self::Org(text(of, "organizationId")))
            } else {
                of.get("instance").map(|_| Self::Instance)
            };
        }
        if let Some(users) = filter.get("inUserIdsFilter") {
            return Some(Self::Users(ids(users, "ids")));
        }
        if let Some(role) = filter.get("role") {
            return Some(Self::Role(text(role, "roleKey")));
        }
        // Names are compared exactly, regardless of the method (internal-permissions-v2.json, 41).
        if let Some(name) = filter.get("userPreferredLoginName") {
            return Some(Self::LoginName(Text::exactly(name, "preferredLoginName")));
        }
        filter.get("userDisplayName").map(|name| Self::DisplayName(Text::exactly(name, "displayName")))
    }

    pub(crate) fn fits(&self, state: &State, row: &Administrator) -> bool {
        let user = || state.users.get(row.user);
        match (self, &row.of) {
            (Self::Users(ids), _) => ids.iter().any(|id| id == row.user),
            (Self::Role(role), _) => row.roles.contains(&role.as_str()),
            (Self::LoginName(name), _) => {
                user().is_some_and(|user| user.login_name.as_ref().is_some_and(|held| name.fits(held)))
            }
            (Self::DisplayName(name), _) => user().is_some_and(|user| name.fits(&display_name(user))),
            (Self::Instance, Of::Instance) => true,
            (Self::Org(id), Of::Org(org)) => id == org,
            (Self::Project(id), Of::Resource(of)) => of.grant.is_none() && of.project == *id,
            (Self::Grant { project, org }, Of::Resource(of)) => {
                let grant = of.grant.as_ref().and_then(|grant| state.grants.get(grant));
                of.project == *project && grant.is_some_and(|grant| grant.granted_org == *org)
            }
            _ => false,
        }
    }
}
