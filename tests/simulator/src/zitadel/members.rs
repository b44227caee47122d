//! Members of projects, management v1 (project-members.json, organization-header.json).
//!
//! Writes decide from the events, search reads the projection: that is why a PUT can answer 200 for a member that
//! search never shows.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{post, put};
use serde_json::json;

use super::Zitadel;
use super::auth::Call;
use super::errors::{self, Refusal, answered};
use super::events::Kind;
use super::permission::Permission;
use super::search;
use super::state::{PROJECT_ROLES, State as Held};
use super::wire::{Message, without_zeroes, write_details, written};

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
    let search = search::Search::read(&message)?;
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, Permission::MemberRead, Some(&project))?;
    // Under another organisation: 200 and nothing.
    let rows = held.projection.of_project(&project).into_iter().filter(|row| row.org == call.org);
    let (rows, total) = search.apply(&held, rows);
    let total = (total > 0).then(|| total.to_string());
    let details = without_zeroes(json!({"totalResult": total, "viewTimestamp": written(held.projection.seen)}));
    Ok(answered(&without_zeroes(json!({"details": details, "result": rows}))))
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
    let now = zitadel.now();
    {
        let mut held = zitadel.state();
        held.catch_up();
        call.may(&held, Permission::MemberWrite, Some(&project))?;
        bounded("AddProjectMemberRequest.UserId", &user)?;
        valid_roles(&held, &roles, "PROJECT-W8m4l", "PROJECT-3m9ds")?;
        held.live_user(&user).ok_or_else(errors::no_user)?;
        held.live_project(&project, &call.org).ok_or_else(errors::no_project_to_add_to)?;
        if held.member(&project, &user, &call.org).is_some_and(|member| member.exists) {
            return Err(errors::member_exists());
        }
    }
    pause(&call).await;
    let mut held = zitadel.state();
    let added = Kind::MemberAdded { user, org: call.org.clone(), roles };
    let (sequence, at) =
        held.push(&project, added, call.faults.lost, now).map_err(|_| errors::member_exists_by_now())?;
    Ok(answered(&write_details(sequence, "creationDate", at, &call.org)))
}

/// Whether user and project exist is not looked at: a ghost is answered 200 (`reference/zitadel.md`, trap 1).
async fn update(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, user)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let roles = Message::read(&body)?.strings("roles")?;
    let now = zitadel.now();
    {
        let mut held = zitadel.state();
        held.catch_up();
        call.may(&held, Permission::MemberWrite, Some(&project))?;
        bounded("UpdateProjectMemberRequest.UserId", &user)?;
        valid_roles(&held, &roles, "PROJECT-LiaZi", "PROJECT-3m9d")?;
        let member = held.member(&project, &user, &call.org).filter(|m| m.exists).ok_or_else(errors::no_member)?;
        // Lists are compared as they are, the order and repetitions among it.
        if member.roles == roles {
            if held.refuses_unchanged {
                return Err(errors::unchanged());
            }
            return Ok(answered(&write_details(member.sequence, "changeDate", member.changed, &call.org)));
        }
    }
    pause(&call).await;
    let mut held = zitadel.state();
    let (sequence, at) = held
        .push(&project, Kind::MemberChanged { user, roles }, call.faults.lost, now)
        .map_err(|_| errors::member_exists_by_now())?;
    Ok(answered(&write_details(sequence, "changeDate", at, &call.org)))
}

/// Always 200. What was not there is told by the missing sequence only, and after an earlier removal not even by that;
/// the organisation is then merely the request's.
async fn remove(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, user)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let now = zitadel.now();
    {
        let mut held = zitadel.state();
        held.catch_up();
        call.may(&held, Permission::MemberDelete, Some(&project))?;
        bounded("RemoveProjectMemberRequest.UserId", &user)?;
        match held.member(&project, &user, &call.org) {
            None => return Ok(answered(&json!({"details": {"resourceOwner": call.org}}))),
            Some(member) if !member.exists => {
                return Ok(answered(&write_details(member.sequence, "changeDate", member.changed, &call.org)));
            }
            Some(_) => {}
        }
    }
    pause(&call).await;
    let mut held = zitadel.state();
    let (sequence, at) = held
        .push(&project, Kind::MemberRemoved { user }, call.faults.lost, now)
        .map_err(|_| errors::member_exists_by_now())?;
    Ok(answered(&write_details(sequence, "changeDate", at, &call.org)))
}

fn bounded(field: &str, id: &str) -> Result<(), Refusal> {
    if (1..=200).contains(&id.chars().count()) {
        return Ok(());
    }
    Err(errors::malformed(format!("invalid {field}: value length must be between 1 and 200 runes, inclusive")))
}

fn valid_roles(held: &Held, roles: &[String], empty: &'static str, unknown: &'static str) -> Result<(), Refusal> {
    if roles.is_empty() {
        return Err(errors::invalid_member(empty));
    }
    if roles.iter().all(|role| held.is_project_role(role)) { Ok(()) } else { Err(errors::invalid_member(unknown)) }
}

async fn pause(call: &Call) {
    if !call.faults.window.is_zero() {
        tokio::time::sleep(call.faults.window).await;
    }
}
