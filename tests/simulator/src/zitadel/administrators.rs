//! v2: the administrators of projects and grants (internal-permissions-v2.json).
//!
//! The same members as management v1's, with dates in place of sequences. The organisation is the project's own,
//! regardless of the header.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Zitadel;
use super::administrator_list::{Filter, administrators};
use super::auth::Call;
use super::commands::Command;
use super::connect::{self, Page, method};
use super::errors::{self, Refusal, answered};
use super::events::Resource;
use super::state::State as Held;
use super::wire::{Message, bounded, without_zeroes, written};

const PACKAGE: &str = "internal_permission";

/// The routes of this area.
pub(crate) fn routes() -> Router<Zitadel> {
    connect::service(
        "zitadel.internal_permission.v2.InternalPermissionService",
        vec![
            ("CreateAdministrator", method(create)),
            ("UpdateAdministrator", method(update)),
            ("DeleteAdministrator", method(delete)),
            ("ListAdministrators", method(list)),
        ],
    )
}

async fn create(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let asked = Asked::read(&body, "CreateAdministratorRequest")?;
    // The id is of `internal/api/grpc/internal_permission/v2/administrator.go`.
    let resource = asked.resource(&zitadel.state(), "ADMIN-IbPp47HDP5")?;
    let made = asked.command(&zitadel, &call, resource).add(asked.roles.clone()).await?;
    Ok(answered(&json!({"creationDate": written(made.at)})))
}

async fn update(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let asked = Asked::read(&body, "UpdateAdministratorRequest")?;
    let resource = asked.resource(&zitadel.state(), "ADMIN-i0V2IbdloZ")?;
    let made = asked.command(&zitadel, &call, resource).change(asked.roles.clone()).await?;
    Ok(answered(&json!({"changeDate": written(made.at)})))
}

/// Always 200; without a date if it never was an administrator, even for a caller without permissions.
async fn delete(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let asked = Asked::read(&body, "DeleteAdministratorRequest")?;
    let resource = asked.resource(&zitadel.state(), "ADMIN-3UOjLtuohh")?;
    let made = asked.command(&zitadel, &call, resource).remove().await?;
    Ok(answered(&made.map_or_else(|| json!({}), |made| json!({"deletionDate": written(made.at)}))))
}

/// Every caller gets 200: rows that it may not see are counted nevertheless. A misspelt `filters` lists everything.
async fn list(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let message = connect::read(&body, PACKAGE, "ListAdministratorsRequest")?;
    let page = Page::read(&message)?;
    let filters = message
        .list("filters")?
        .iter()
        .enumerate()
        .map(|(at, filter)| {
            Filter::read(filter)
                .ok_or_else(|| connect::no_filter("ListAdministratorsRequest", at, "AdministratorSearchFilter"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let by_user = message.string("sortingColumn", "sorting_column")? == "ADMINISTRATOR_FIELD_NAME_USER_ID";
    let mut held = zitadel.state();
    held.catch_up();
    let mut rows = administrators(&held);
    rows.retain(|row| filters.iter().all(|filter| filter.fits(&held, row)));
    if by_user {
        rows.sort_by(|one, other| one.user.cmp(other.user));
    } else {
        rows.sort_by_key(|row| row.created);
    }
    if !page.ascending {
        rows.reverse();
    }
    let (rows, details) = page.apply(rows, |row| row.is_seen_by(&held, &call.user));
    let rows: Vec<Value> = rows.iter().filter_map(|row| row.shown(&held)).collect();
    Ok(answered(&without_zeroes(json!({"pagination": details, "administrators": rows}))))
}

/// The request of a write.
struct Asked {
    user: String,
    resource: Map<String, Value>,
    roles: Vec<String>,
}

impl Asked {
    /// Reads a request of this name, and validates it as the server does before any other check.
    fn read(body: &Bytes, request: &str) -> Result<Self, Refusal> {
        let message: Message = connect::read(body, PACKAGE, request)?;
        let user = message.string("userId", "user_id")?;
        bounded(&format!("{request}.UserId"), &user)?;
        let resource = message.object("resource")?.cloned().unwrap_or_default();
        if let Some(grant) = resource.get("projectGrant") {
            for (name, field) in [("projectId", "ProjectId"), ("organizationId", "OrganizationId")] {
                let id = grant.get(name).and_then(Value::as_str).unwrap_or_default();
                bounded(&format!("ResourceType_ProjectGrant.{field}"), id).map_err(|refusal| {
                    refusal.after(&format!(
                        "invalid {request}.Resource: embedded message failed validation | caused by: \
                         invalid ResourceType.ProjectGrant: embedded message failed validation | caused by: "
                    ))
                })?;
            }
        }
        let roles = message.strings("roles")?;
        let mut seen = BTreeSet::new();
        if let Some(at) = roles.iter().position(|role| !seen.insert(role)) {
            let text = format!("invalid {request}.Roles[{at}]: repeated value must contain unique items");
            return Err(errors::malformed(text));
        }
        Ok(Self { user, resource, roles })
    }

    /// The project or the grant. A grant is identified by the organisation that received it; if there is none, it has
    /// no members.
    fn resource(&self, held: &Held, refusal: &'static str) -> Result<Resource, Refusal> {
        if let Some(project) = self.resource.get("projectId").and_then(Value::as_str) {
            return Ok(Resource::new(project, None));
        }
        let grant = self.resource.get("projectGrant").ok_or_else(|| errors::no_resource(refusal))?;
        let text = |name: &str| grant.get(name).and_then(Value::as_str).unwrap_or_default();
        let (project, org) = (text("projectId"), text("organizationId"));
        let of_org = held
            .grants
            .iter()
            .find(|(id, grant)| grant.project == project && grant.granted_org == org && held.live_grant(id).is_some());
        Ok(Resource::new(project, Some(of_org.map_or("", |(id, _)| id.as_str()))))
    }

    fn command<'a>(&self, zitadel: &'a Zitadel, call: &'a Call, resource: Resource) -> Command<'a> {
        Command { zitadel, call, resource, user: self.user.clone(), org: None }
    }
}
