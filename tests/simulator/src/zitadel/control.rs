//! ZITADEL's own routes below `/_simulator`.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::events::Resource;
use super::world::{GrantWorld, MemberWorld, ZitadelWorld};
use super::{Scope, ServerGeneration, Zitadel};
use crate::front::{Nonsense, parsed};

/// `world`, `roles`, `effective`, `rights`, `lag`, `generation`, and what can be changed or deleted manually.
pub(crate) fn routes() -> Router<Zitadel> {
    Router::new()
        .route("/world", get(world).post(add_world))
        .route("/roles", get(roles).post(set_roles).delete(remove_member))
        .route("/effective", get(effective))
        .route("/rights", post(grant).delete(take_rights))
        .route("/lag", post(set_lag))
        .route("/generation", get(generation).post(set_generation))
        .route("/projects/{id}", delete(delete_project).patch(change_project))
        .route("/grants/{id}", delete(delete_grant))
        .route("/users/{id}", delete(delete_user).patch(change_user))
        .route("/orgs/{id}", delete(delete_org))
        .route("/tokens/{token}", delete(revoke_token))
        .route("/keys/{id}", delete(remove_key))
        .route("/secrets/{user}", delete(remove_secret))
}

#[derive(Deserialize)]
struct Target {
    project: String,
    grant: Option<String>,
    subject: String,
    at: Option<Timestamp>,
}

impl Target {
    fn resource(&self) -> Resource {
        Resource::new(&self.project, self.grant.as_deref())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Lag {
    milliseconds: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Generation {
    generation: ServerGeneration,
}

/// Whose rights: all on the instance, or with an `org` all in that one.
#[derive(Deserialize)]
struct Holder {
    user: String,
    org: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserChange {
    name: Option<String>,
    email: Option<String>,
    active: Option<bool>,
    /// Only `false`: search then leaves the user out permanently.
    login_name: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectChange {
    name: Option<String>,
    active: Option<bool>,
}

async fn world(State(zitadel): State<Zitadel>) -> Response {
    Json(zitadel.world()).into_response()
}

async fn add_world(State(zitadel): State<Zitadel>, body: Bytes) -> Result<Response, Nonsense> {
    zitadel.load(&parsed::<ZitadelWorld>(&body)?);
    Ok(world(State(zitadel)).await)
}

async fn roles(State(zitadel): State<Zitadel>, Query(target): Query<Target>) -> Response {
    Json(json!({
        "written": zitadel.roles(target.resource(), &target.subject),
        "shown": zitadel.projected_roles(target.resource(), &target.subject),
    }))
    .into_response()
}

async fn set_roles(State(zitadel): State<Zitadel>, body: Bytes) -> Result<StatusCode, Nonsense> {
    let set: MemberWorld = parsed(&body)?;
    let roles: Vec<&str> = set.roles.iter().map(String::as_str).collect();
    zitadel.set_roles(set.resource(), &set.user, &roles);
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_member(State(zitadel): State<Zitadel>, Query(target): Query<Target>) -> StatusCode {
    zitadel.remove_member(target.resource(), &target.subject);
    StatusCode::NO_CONTENT
}

async fn effective(State(zitadel): State<Zitadel>, Query(target): Query<Target>) -> Response {
    let at = target.at.unwrap_or_else(|| zitadel.now());
    let roles = zitadel.effective_roles(target.resource(), &target.subject, at);
    Json(json!({"at": at, "roles": roles})).into_response()
}

async fn set_lag(State(zitadel): State<Zitadel>, body: Bytes) -> Result<StatusCode, Nonsense> {
    let lag: Lag = parsed(&body)?;
    zitadel.set_search_lag(Duration::from_millis(lag.milliseconds));
    Ok(StatusCode::NO_CONTENT)
}

async fn grant(State(zitadel): State<Zitadel>, body: Bytes) -> Result<StatusCode, Nonsense> {
    let right: GrantWorld = parsed(&body)?;
    zitadel.grant(&right.user, right.scope, &right.role);
    Ok(StatusCode::NO_CONTENT)
}

async fn take_rights(State(zitadel): State<Zitadel>, Query(holder): Query<Holder>) -> StatusCode {
    let scope = holder.org.map_or(Scope::Instance, Scope::Org);
    zitadel.take_rights(&holder.user, &scope);
    StatusCode::NO_CONTENT
}

async fn generation(State(zitadel): State<Zitadel>) -> Response {
    Json(Generation { generation: zitadel.generation() }).into_response()
}

async fn set_generation(State(zitadel): State<Zitadel>, body: Bytes) -> Result<Response, Nonsense> {
    zitadel.set_generation(parsed::<Generation>(&body)?.generation);
    Ok(generation(State(zitadel)).await)
}

async fn change_user(
    State(zitadel): State<Zitadel>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Nonsense> {
    let change: UserChange = parsed(&body)?;
    if let Some(name) = change.name {
        zitadel.rename_user(&id, &name);
    }
    if let Some(email) = change.email {
        zitadel.set_email(&id, &email);
    }
    match change.active {
        Some(true) => zitadel.reactivate_user(&id),
        Some(false) => zitadel.deactivate_user(&id),
        None => {}
    }
    match change.login_name {
        Some(false) => zitadel.lose_login_name(&id),
        Some(true) => return Err(Nonsense::new("a login name comes with a user name: send \"name\"")),
        None => {}
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn change_project(
    State(zitadel): State<Zitadel>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Nonsense> {
    let change: ProjectChange = parsed(&body)?;
    if let Some(name) = change.name {
        zitadel.rename_project(&id, &name);
    }
    match change.active {
        Some(true) => return Err(Nonsense::new("a project can be deactivated by hand, not made active again")),
        Some(false) => zitadel.deactivate_project(&id),
        None => {}
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_grant(State(zitadel): State<Zitadel>, Path(id): Path<String>) -> StatusCode {
    zitadel.delete_project_grant(&id);
    StatusCode::NO_CONTENT
}

async fn remove_key(State(zitadel): State<Zitadel>, Path(id): Path<String>) -> StatusCode {
    zitadel.remove_key(&id);
    StatusCode::NO_CONTENT
}

async fn remove_secret(State(zitadel): State<Zitadel>, Path(user): Path<String>) -> StatusCode {
    zitadel.remove_client_secret(&user);
    StatusCode::NO_CONTENT
}

async fn delete_project(State(zitadel): State<Zitadel>, Path(id): Path<String>) -> StatusCode {
    zitadel.delete_project(&id);
    StatusCode::NO_CONTENT
}

async fn delete_user(State(zitadel): State<Zitadel>, Path(id): Path<String>) -> StatusCode {
    zitadel.delete_user(&id);
    StatusCode::NO_CONTENT
}

async fn delete_org(State(zitadel): State<Zitadel>, Path(id): Path<String>) -> StatusCode {
    zitadel.delete_org(&id);
    StatusCode::NO_CONTENT
}

async fn revoke_token(State(zitadel): State<Zitadel>, Path(token): Path<String>) -> StatusCode {
    zitadel.revoke_token(&token);
    StatusCode::NO_CONTENT
}
