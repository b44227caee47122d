//! Sign-in by universal auth, renewal, and the caller of a request (auth.json, identity-extras.json).

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::Infisical;
use super::credentials::{Caller, Denied, Granted};
use super::errors::{Errors, Refusal, answered};
use super::rights::LockedOut;
use super::state::ErrorStyle;
use super::subjects::Kind;
use super::validation::{self, Invalid};
use crate::front::Faults;

/// The routes of this area.
pub(crate) fn routes() -> Router<Infisical> {
    Router::new()
        .route("/api/v1/auth/universal-auth/login", post(log_in))
        .route("/api/v1/auth/token/renew", post(renew))
        .route("/api/status", get(status))
}

/// A request whose route exists and whose caller is known.
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) errors: Errors,
    pub(crate) faults: Faults,
}

impl FromRequestParts<Infisical> for Call {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, infisical: &Infisical) -> Result<Self, Refusal> {
        let (style, generations) = {
            let state = infisical.state();
            (state.style, state.generations)
        };
        if !generations.have(parts.uri.path()) {
            return Err(no_route(&parts.method, &parts.uri));
        }
        let errors = Errors(style);
        let caller = match bearer(&parts.headers) {
            None => Err(Denied::Missing),
            Some(token) => {
                let now = infisical.now();
                let mut held = infisical.state();
                let caller = held.used(token, now);
                if caller.is_ok() && !held.is_of_the_organization(token, parts.uri.path()) {
                    let project = project_of_members(parts.uri.path()).unwrap_or_default();
                    return Err(errors.locked_out(LockedOut::NotMember(Kind::Identity), project));
                }
                caller
            }
        }
        .map_err(|denied| errors.denied(denied))?;
        if let Some(project) = project_of_members(parts.uri.path())
            && style == ErrorStyle::Current
            && infisical.state().projects.get(project).is_some_and(|project| project.product == CERT_MANAGER)
        {
            return Err(errors.kept_elsewhere());
        }
        let faults = parts.extensions.get::<Faults>().copied().unwrap_or_default();
        Ok(Self { caller, errors, faults })
    }
}

/// The product whose projects have no memberships of this kind, on the current server.
const CERT_MANAGER: &str = "cert-manager";

/// The project of a path that is about its members or their roles.
fn project_of_members(path: &str) -> Option<&str> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments[..] {
        [
            "api",
            "v1" | "v2",
            "projects" | "workspace",
            project,
            "memberships" | "identity-memberships" | "groups" | "roles",
            ..,
        ] => Some(project),
        _ => None,
    }
}

/// The bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

/// The response for a missing route.
pub(crate) fn no_route(method: &Method, uri: &Uri) -> Refusal {
    Errors::no_route(method.as_str(), uri.path_and_query().map_or("/", |path| path.as_str()))
}

/// The same as a fallback.
pub(crate) async fn nowhere(method: Method, uri: Uri) -> Refusal {
    no_route(&method, &uri)
}

/// A body as JSON; nothing at all is null.
pub(crate) fn json_body(errors: Errors, body: &Bytes) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|_| errors.went_wrong("InternalServerError"))
}

/// What was read from a body, or the response to one that is refused.
pub(crate) fn valid<T>(errors: Errors, read: Result<T, Invalid>) -> Result<T, Refusal> {
    read.map_err(|invalid| match invalid {
        Invalid::Issues(issues) => errors.validation(issues),
        // (infisical-june-2025/temporary-grants.json, 20)
        Invalid::EmptyRange if errors.since_2025() => errors.refusal(400, "BadRequest", "Invalid date format string: "),
        Invalid::Crash | Invalid::EmptyRange => errors.went_wrong("InternalServerError"),
    })
}

async fn log_in(State(infisical): State<Infisical>, body: Bytes) -> Result<Response, Refusal> {
    let style = infisical.state().style;
    let errors = Errors(style);
    let body = json_body(errors, &body)?;
    let [client, secret] = valid(errors, validation::strings(&body, ["clientId", "clientSecret"]))?;
    let now = infisical.now();
    // Only newer servers lock out, and for five minutes (`docs/reference/infisical.md`, Auth and limits).
    let lock_out = style == ErrorStyle::Current;
    let mut held = infisical.state();
    let granted = held.log_in(&client, &secret, now, lock_out).map_err(|denied| errors.denied(denied))?;
    Ok(grant(&held.choose_organization(errors, &body, granted)?))
}

async fn renew(State(infisical): State<Infisical>, body: Bytes) -> Result<Response, Refusal> {
    let errors = Errors(infisical.state().style);
    let [token] = valid(errors, validation::strings(&json_body(errors, &body)?, ["accessToken"]))?;
    let now = infisical.now();
    let granted = infisical.state().renew(&token, now);
    granted.map(|granted| grant(&granted)).map_err(|denied| errors.denied(denied))
}

/// The response to a successful sign-in.
pub(crate) fn grant(granted: &Granted) -> Response {
    answered(&json!({
        "accessToken": granted.token,
        "expiresIn": granted.ttl,
        "accessTokenMaxTTL": granted.max_ttl,
        "tokenType": "Bearer",
    }))
}

/// Needs no sign-in (outages.json).
async fn status(State(infisical): State<Infisical>) -> Response {
    answered(&json!({
        "date": super::time::written(infisical.now()),
        "message": "Ok",
        "emailConfigured": false,
        "inviteOnlySignup": true,
        "redisConfigured": true,
        "secretScanningConfigured": false,
    }))
}
