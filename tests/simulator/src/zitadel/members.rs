//! Members of projects, management v1 (project-members.json, organization-header.json).

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{post, put};
use serde_json::json;

use super::Zitadel;
use super::auth::Call;
use super::commands::Command;
use super::errors::{Refusal, answered};
use super::events::Resource;
use super::permission::Permission;
use super::search;
use super::state::PROJECT_ROLES;
use super::wire::{Message, bounded, list_details, without_zeroes, write_details};

/// The routes of this area.
pub(crate) fn routes() -> Router<Zitadel> {
    Router::new()
        .route("/management/v1/projects/members/roles/_search", post(roles))
        .route("/management/v1/projects/{project}/members/_search", post(list))
        .route("/management/v1/projects/{project}/members", post(create))
        .route("/management/v1/projects/{project}/members/{user}", put(update).delete(remove))
}

/// The roles that a member can have. In the default organisation only the global ones are listed, though the others
/// are taken as well; a limit is ignored (project-members.json, 1 to 3).
async fn roles(State(zitadel): State<Zitadel>, call: Call) -> Result<Response, Refusal> {
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, Permission::MemberRead, None)?;
    let default_org = held.default_org.as_ref() == Some(&call.org);
    let roles: Vec<&str> = PROJECT_ROLES
        .into_iter()
        .filter(|role| !role.starts_with("PROJECT_GRANT"))
        .filter(|role| !default_org || role.ends_with("_GLOBAL"))
        .collect();
    Ok(answered(&json!({"result": roles})))
}

async fn list(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path(project): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let message = Message::read(&body)?;
    let search = search::Search::read(&message, "ListProjectMembersRequest")?;
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, Permission::MemberRead, Some(&project))?;
    // Under another organisation: 200 and nothing.
    let rows = held.projection.of(&Resource::from(&project)).into_iter().filter(|row| row.org == call.org);
    let (rows, total) = search.apply(&held, rows);
    Ok(answered(&without_zeroes(json!({"details": list_details(total, held.projection.seen), "result": rows}))))
}

async fn create(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path(project): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let message = Message::read(&body)?;
    let user = message.string("userId", "user_id")?;
    let roles = message.strings("roles")?;
    call.allowed(&zitadel, Permission::MemberWrite, Some(&project))?;
    bounded("AddProjectMemberRequest.UserId", &user)?;
    let written = command(&zitadel, &call, &project, &user).add(roles).await?;
    Ok(answered(&write_details(&written, "creationDate")))
}

async fn update(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, user)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let roles = Message::read(&body)?.strings("roles")?;
    call.allowed(&zitadel, Permission::MemberWrite, Some(&project))?;
    bounded("UpdateProjectMemberRequest.UserId", &user)?;
    let written = command(&zitadel, &call, &project, &user).change(roles).await?;
    Ok(answered(&write_details(&written, "changeDate")))
}

/// Always 200. Only the missing sequence shows that there was no member, and after an earlier removal not even that;
/// the organisation is then merely the request's.
async fn remove(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, user)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    call.allowed(&zitadel, Permission::MemberDelete, Some(&project))?;
    bounded("RemoveProjectMemberRequest.UserId", &user)?;
    let written = command(&zitadel, &call, &project, &user).remove().await?;
    Ok(answered(&match written {
        Some(written) => write_details(&written, "changeDate"),
        None => json!({"details": {"resourceOwner": call.org}}),
    }))
}

fn command<'a>(zitadel: &'a Zitadel, call: &'a Call, project: &str, user: &str) -> Command<'a> {
    Command { zitadel, call, resource: Resource::from(project), user: user.to_owned(), org: Some(&call.org) }
}
