//! ZITADEL's own routes below `/_simulator`.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::Zitadel;
use super::world::{MemberWorld, ZitadelWorld};
use crate::front::{Nonsense, parsed};

/// `world`, `roles`, `effective`, `lag`, and what can be deleted.
pub(crate) fn routes() -> Router<Zitadel> {
    Router::new()
        .route("/world", get(world).post(add_world))
        .route("/roles", get(roles).post(set_roles).delete(remove_member))
        .route("/effective", get(effective))
        .route("/lag", post(set_lag))
        .route("/projects/{id}", delete(delete_project))
        .route("/users/{id}", delete(delete_user))
        .route("/orgs/{id}", delete(delete_org))
        .route("/tokens/{token}", delete(revoke_token))
}

#[derive(Deserialize)]
struct Target {
    project: String,
    subject: String,
    at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Lag {
    milliseconds: u64,
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
        "written": zitadel.roles(&target.project, &target.subject),
        "shown": zitadel.projected_roles(&target.project, &target.subject),
    }))
    .into_response()
}

async fn set_roles(State(zitadel): State<Zitadel>, body: Bytes) -> Result<StatusCode, Nonsense> {
    let set: MemberWorld = parsed(&body)?;
    let roles: Vec<&str> = set.roles.iter().map(String::as_str).collect();
    zitadel.set_roles(&set.project, &set.user, &roles);
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_member(State(zitadel): State<Zitadel>, Query(target): Query<Target>) -> StatusCode {
    zitadel.remove_member(&target.project, &target.subject);
    StatusCode::NO_CONTENT
}

async fn effective(State(zitadel): State<Zitadel>, Query(target): Query<Target>) -> Response {
    let at = target.at.unwrap_or_else(|| zitadel.now());
    let roles = zitadel.effective_roles(&target.project, &target.subject, at);
    Json(json!({"at": at, "roles": roles})).into_response()
}

async fn set_lag(State(zitadel): State<Zitadel>, body: Bytes) -> Result<StatusCode, Nonsense> {
    let lag: Lag = parsed(&body)?;
    zitadel.set_search_lag(Duration::from_millis(lag.milliseconds));
    Ok(StatusCode::NO_CONTENT)
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
