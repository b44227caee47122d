//! The layer before the API: checks the instance's address, and whether a server of this version has the path.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Zitadel;
use super::connect;
use super::errors;
use super::instance::{Origin, is_oidc};
use super::state::ServerGeneration;

/// Accepts a request, or refuses it in the form of its API.
pub(crate) async fn passed(State(zitadel): State<Zitadel>, request: Request<Body>, next: Next) -> Response {
    let (checked, generation) = {
        let state = zitadel.state();
        (Origin::of(request.headers(), request.uri()).check(&state.domains), state.generation)
    };
    let path = request.uri().path();
    if let Err(text) = checked {
        return unknown_instance(path, text);
    }
    match generation {
        ServerGeneration::V3 if is_connect(path) => connect::not_found().await,
        ServerGeneration::V2Only if is_member_route(path) => errors::no_route().into_response(),
        _ => next.run(request).await,
    }
}

fn unknown_instance(path: &str, text: String) -> Response {
    if is_oidc(path) {
        let content_type = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return (StatusCode::NOT_FOUND, [content_type], format!("{text}\n")).into_response();
    }
    let refusal = errors::no_instance(text);
    if is_connect(path) { connect::refused(&refusal) } else { refusal.into_response() }
}

fn is_connect(path: &str) -> bool {
    path.starts_with("/zitadel.")
}

/// The routes of members of projects and of grants in management v1. Reading a project or a grant stays.
fn is_member_route(path: &str) -> bool {
    let below = path.strip_prefix("/management/v1/projects/");
    below.is_some_and(|below| below.split('/').any(|part| part == "members"))
}
