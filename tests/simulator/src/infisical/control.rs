//! Infisical's own routes below `/_simulator`.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::world::{InfisicalWorld, MembershipWorld};
use super::{Infisical, Limits};
use crate::front::{Nonsense, parsed};
use crate::{ErrorStyle, Generations, OrgRole};

/// `world`, `server`, `roles`, `effective`, `mails`, and what can be deleted or renamed.
pub(crate) fn routes() -> Router<Infisical> {
    Router::new()
        .route("/world", get(world).post(add_world))
        .route("/server", get(server).post(set_server))
        .route("/roles", get(roles).post(set_roles).delete(remove_member))
        .route("/effective", get(effective))
        .route("/mails", get(mails))
        .route("/org-roles", post(set_org_role))
        .route("/custom-roles", post(rename_custom_role))
        .route("/{what}/{id}", post(rename).delete(delete))
}

#[derive(Deserialize)]
struct Target {
    project: String,
    subject: String,
    at: Option<Timestamp>,
}

async fn world(State(infisical): State<Infisical>) -> Response {
    Json(infisical.world()).into_response()
}

async fn add_world(State(infisical): State<Infisical>, body: Bytes) -> Result<Response, Nonsense> {
    infisical.load(&parsed::<InfisicalWorld>(&body)?);
    Ok(world(State(infisical)).await)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Server {
    generations: Option<Generations>,
    error_style: Option<ErrorStyle>,
    limits: Option<Limits>,
    new_privileges: Option<bool>,
}

async fn server(State(infisical): State<Infisical>) -> Response {
    let state = infisical.state();
    let (generations, style, new) = (state.generations, state.style, state.new_privileges);
    Json(json!({"generations": generations, "errorStyle": style, "newPrivileges": new})).into_response()
}

async fn set_server(State(infisical): State<Infisical>, body: Bytes) -> Result<Response, Nonsense> {
    let wanted: Server = parsed(&body)?;
    if let Some(generations) = wanted.generations {
        infisical.set_generations(generations);
    }
    if let Some(style) = wanted.error_style {
        infisical.set_error_style(style);
    }
    if wanted.new_privileges.is_some() {
        infisical.set_new_privileges(wanted.new_privileges);
    }
    if wanted.limits.is_some() {
        infisical.set_limits(wanted.limits);
    }
    Ok(server(State(infisical)).await)
}

async fn roles(State(infisical): State<Infisical>, Query(target): Query<Target>) -> Response {
    let roles = infisical.roles(&target.project, &target.subject);
    let memberships = infisical.memberships_of(&target.project, &target.subject);
    Json(json!({"memberships": memberships, "roles": roles})).into_response()
}

async fn set_roles(State(infisical): State<Infisical>, body: Bytes) -> Result<StatusCode, Nonsense> {
    let set: MembershipWorld = parsed(&body)?;
    infisical.set_roles(&set.project, &set.subject, set.roles);
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_member(State(infisical): State<Infisical>, Query(target): Query<Target>) -> StatusCode {
    infisical.remove_member(&target.project, &target.subject);
    StatusCode::NO_CONTENT
}

async fn effective(State(infisical): State<Infisical>, Query(target): Query<Target>) -> Response {
    let at = target.at.unwrap_or_else(|| infisical.now());
    let roles = infisical.effective_roles(&target.project, &target.subject, at);
    Json(json!({"at": at, "roles": roles})).into_response()
}

async fn mails(State(infisical): State<Infisical>) -> Response {
    let mails = infisical.mails();
    Json(json!({"count": mails.len(), "mails": mails, "accounts": infisical.accounts()})).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seated {
    subject: String,
    role: OrgRole,
}

async fn set_org_role(State(infisical): State<Infisical>, body: Bytes) -> Result<StatusCode, Nonsense> {
    let seated: Seated = parsed(&body)?;
    infisical.set_org_role(&seated.subject, seated.role);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenamedRole {
    project: String,
    slug: String,
    new_slug: String,
}

async fn rename_custom_role(State(infisical): State<Infisical>, body: Bytes) -> Result<StatusCode, Nonsense> {
    let RenamedRole { project, slug, new_slug } = parsed(&body)?;
    infisical.rename_custom_role(&project, &slug, &new_slug);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renamed {
    name: String,
}

async fn rename(
    State(infisical): State<Infisical>,
    Path((what, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Nonsense> {
    let Renamed { name } = parsed(&body)?;
    match what.as_str() {
        "projects" => infisical.rename_project(&id, &name),
        "identities" => infisical.rename_identity(&id, &name),
        "users" => infisical.rename_user(&id, &name),
        "groups" => infisical.rename_group(&id, &name),
        _ => return Ok(StatusCode::NOT_FOUND),
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(State(infisical): State<Infisical>, Path((what, id)): Path<(String, String)>) -> StatusCode {
    match what.as_str() {
        "projects" => infisical.delete_project(&id),
        "identities" => infisical.delete_identity(&id),
        "users" => infisical.delete_user(&id),
        "groups" => infisical.delete_group(&id),
        "tokens" => infisical.revoke_token(&id),
        "logins" => infisical.remove_cluster_login(&id),
        _ => return StatusCode::NOT_FOUND,
    }
    StatusCode::NO_CONTENT
}
