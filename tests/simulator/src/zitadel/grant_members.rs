//! Grants of projects and their members, management v1 (project-grant-members.json).

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post, put};
use serde_json::{Value, json};

use super::Zitadel;
use super::auth::Call;
use super::commands::Command;
use super::errors::{self, Refusal, answered};
use super::events::Resource;
use super::permission::Permission;
use super::search;
use super::state::{ProjectGrant, State as Held};
use super::wire::{Message, bounded, list_details, object_details, without_zeroes, write_details};

/// The routes of this area.
pub(crate) fn routes() -> Router<Zitadel> {
    Router::new()
        .route("/management/v1/projects/grants/members/roles/_search", post(roles))
        .route("/management/v1/projects/{project}/grants/_search", post(grants))
        .route("/management/v1/projects/{project}/grants/{grant}", get(grant))
        .route("/management/v1/granted_projects/_search", post(granted_projects))
        .route("/management/v1/granted_projects/{project}/grants/{grant}", get(granted_project))
        .route("/management/v1/projects/{project}/grants/{grant}/members/_search", post(list))
        .route("/management/v1/projects/{project}/grants/{grant}/members", post(create))
        .route("/management/v1/projects/{project}/grants/{grant}/members/{user}", put(update).delete(remove))
}

async fn roles(State(zitadel): State<Zitadel>, call: Call) -> Result<Response, Refusal> {
    let held = looked_at(&zitadel, &call, Permission::GrantMemberRead, None)?;
    let roles = ["PROJECT_GRANT_OWNER", "PROJECT_GRANT_OWNER_VIEWER"];
    Ok(answered(&json!({"details": list_details(roles.len(), held.projection.seen), "result": roles})))
}

/// The grants of a project, for the project's organisation only.
async fn grants(State(zitadel): State<Zitadel>, call: Call, Path(project): Path<String>) -> Result<Response, Refusal> {
    let held = looked_at(&zitadel, &call, Permission::GrantRead, Some(&project))?;
    let own = held.org_of_project(&project) == call.org;
    Ok(shown_grants(&held, |grant| own && grant.project == project))
}

/// The grants to an organisation.
async fn granted_projects(State(zitadel): State<Zitadel>, call: Call) -> Result<Response, Refusal> {
    let held = looked_at(&zitadel, &call, Permission::ProjectRead, None)?;
    Ok(shown_grants(&held, |grant| grant.granted_org == call.org))
}

/// Whether a grant exists and to whom it is granted: for the project's organisation.
async fn grant(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let held = looked_at(&zitadel, &call, Permission::GrantRead, None)?;
    let grant = held.live_grant(&id).filter(|grant| grant.project == project).ok_or_else(errors::no_grant)?;
    if held.org_of_project(&project) != call.org {
        return Err(errors::grant_of_another_org("MANAG-d3g31"));
    }
    Ok(answered(&json!({"projectGrant": shown(&held, &id, grant)})))
}

/// The same for the organisation that it was granted to.
async fn granted_project(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, id)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let held = looked_at(&zitadel, &call, Permission::ProjectRead, None)?;
    let grant = held.live_grant(&id).filter(|grant| grant.project == project).ok_or_else(errors::no_grant)?;
    if grant.granted_org != call.org {
        return Err(errors::grant_of_another_org("MANAG-drt2a"));
    }
    Ok(answered(&json!({"grantedProject": shown(&held, &id, grant)})))
}

/// Under the owning and the granted organisation the members, under any other 200 and nothing.
async fn list(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, grant)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let message = Message::read(&body)?;
    let search = search::Search::read(&message, "ListProjectGrantMembersRequest")?;
    let held = looked_at(&zitadel, &call, Permission::GrantMemberRead, None)?;
    let rows = held.projection.of(&Resource::new(&project, Some(&grant))).into_iter();
    let rows = rows.filter(|row| row.org == call.org || row.granted_org.as_ref() == Some(&call.org));
    let (rows, total) = search.apply(&held, rows);
    Ok(answered(&without_zeroes(json!({"details": list_details(total, held.projection.seen), "result": rows}))))
}

async fn create(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, grant)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let message = Message::read(&body)?;
    let user = message.string("userId", "user_id")?;
    let roles = message.strings("roles")?;
    call.allowed(&zitadel, Permission::GrantMemberWrite, None)?;
    bounded("AddProjectGrantMemberRequest.UserId", &user)?;
    let written = command(&zitadel, &call, &project, &grant, &user).add(roles).await?;
    Ok(answered(&write_details(&written, "creationDate")))
}

/// Whose header it is doesn't matter (project-grant-members.json, 26 and 27).
async fn update(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, grant, user)): Path<(String, String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let roles = Message::read(&body)?.strings("roles")?;
    call.allowed(&zitadel, Permission::GrantMemberWrite, None)?;
    bounded("UpdateProjectGrantMemberRequest.UserId", &user)?;
    let written = command(&zitadel, &call, &project, &grant, &user).change(roles).await?;
    Ok(answered(&write_details(&written, "changeDate")))
}

/// A missing sequence shows that there was no member; the organisation is the project's nevertheless.
async fn remove(
    State(zitadel): State<Zitadel>,
    call: Call,
    Path((project, grant, user)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    call.allowed(&zitadel, Permission::GrantMemberDelete, None)?;
    bounded("RemoveProjectGrantMemberRequest.UserId", &user)?;
    let written = command(&zitadel, &call, &project, &grant, &user).remove().await?;
    Ok(answered(&match written {
        Some(written) => write_details(&written, "changeDate"),
        None => {
            let org = zitadel.state().org_of_project(&project);
            json!({"details": {"resourceOwner": if org.is_empty() { call.org.clone() } else { org }}})
        }
    }))
}

/// The state, for a caller who may.
fn looked_at<'a>(
    zitadel: &'a Zitadel,
    call: &Call,
    permission: Permission,
    thing: Option<&str>,
) -> Result<std::sync::MutexGuard<'a, Held>, Refusal> {
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, permission, thing)?;
    Ok(held)
}

fn command<'a>(zitadel: &'a Zitadel, call: &'a Call, project: &str, grant: &str, user: &str) -> Command<'a> {
    let resource = Resource::new(project, Some(grant));
    Command { zitadel, call, resource, user: user.to_owned(), org: Some(&call.org) }
}

fn shown_grants(held: &Held, fits: impl Fn(&ProjectGrant) -> bool) -> Response {
    let ids = held.grants.keys().filter_map(|id| Some((id, held.live_grant(id)?)));
    let rows: Vec<Value> = ids.filter(|(_, grant)| fits(grant)).map(|(id, grant)| shown(held, id, grant)).collect();
    answered(&without_zeroes(json!({"details": list_details(rows.len(), held.projection.seen), "result": rows})))
}

fn shown(held: &Held, id: &str, grant: &ProjectGrant) -> Value {
    let org = held.org_of_project(&grant.project);
    let name = |org: &str| held.orgs.get(org).map(|org| org.name.clone());
    json!({
        "grantId": id,
        "grantedOrgId": grant.granted_org,
        "grantedOrgName": name(&grant.granted_org),
        "state": if grant.active { "PROJECT_GRANT_STATE_ACTIVE" } else { "PROJECT_GRANT_STATE_INACTIVE" },
        "projectId": grant.project,
        "projectName": held.projects.get(&grant.project).map(|project| project.name.clone()),
        "projectOwnerId": org,
        "projectOwnerName": name(&org),
        "details": object_details(grant.sequence, grant.created, grant.changed, &org),
    })
}
