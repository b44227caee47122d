//! Infisical's own routes below `/_simulator`.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::Infisical;
use super::world::{InfisicalWorld, MembershipWorld};
use crate::front::{Nonsense, parsed};

/// `world`, `roles`, `effective`, and what can be deleted.
pub(crate) fn routes() -> Router<Infisical> {
    Router::new()
        .route("/world", get(world).post(add_world))
        .route("/roles", get(roles).post(set_roles).delete(remove_member))
        .route("/effective", get(effective))
        .route("/projects/{id}", delete(delete_project))
        .route("/identities/{id}", delete(delete_identity))
        .route("/tokens/{token}", delete(revoke_token))
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

async fn roles(State(infisical): State<Infisical>, Query(target): Query<Target>) -> Response {
    let roles = infisical.roles(&target.project, &target.subject);
    let memberships = infisical.memberships_of(&target.project, &target.subject);
    Json(json!({"memberships": memberships, "roles": roles})).into_response()
}

async fn set_roles(State(infisical): State<Infisical>, body: Bytes) -> Result<StatusCode, Nonsense> {
    let set: MembershipWorld = parsed(&body)?;
    infisical.set_roles(&set.project, &set.identity, set.roles);
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

async fn delete_project(State(infisical): State<Infisical>, Path(id): Path<String>) -> StatusCode {
    infisical.delete_project(&id);
    StatusCode::NO_CONTENT
}

async fn delete_identity(State(infisical): State<Infisical>, Path(id): Path<String>) -> StatusCode {
    infisical.delete_identity(&id);
    StatusCode::NO_CONTENT
}

async fn revoke_token(State(infisical): State<Infisical>, Path(token): Path<String>) -> StatusCode {
    infisical.revoke_token(&token);
    StatusCode::NO_CONTENT
}
