//! Memberships of users in projects, keyed by the membership's own id (user-memberships.json; Infisical's
//! `backend/src/server/routes/v1/project-membership-router.ts`). `invitations.rs` adds users.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Infisical;
use super::answers::{bare, shown_user, shown_user_now};
use super::auth::{Call, json_body, no_route, valid};
use super::credentials::Caller;
use super::errors::{Refusal, answered};
use super::invitations::{invite, remove_named};
use super::state::{Membership, State as Held};
use super::subjects::Kind;
use super::validation::{not_a_uuid, patch_user_roles, strings};
use super::writes::{Replacement, Writes, pause, uuid};

/// The error of October 2024 for an invalid id.
const NO_UUID: &str = "Find user by project membership id";

/// The routes of this area. The first generation is split over two versions of the path.
pub(crate) fn routes() -> Router<Infisical> {
    let old = "/api/v1/workspace/{project}/memberships";
    let new = "/api/v1/projects/{project}/memberships";
    let one = || get(get_one).patch(update).delete(remove);
    Router::new()
        .route(old, get(list))
        .route(&format!("{old}/details"), post(details))
        .route(&format!("{old}/{{membership}}"), one())
        .route("/api/v2/workspace/{project}/memberships", post(invite).delete(remove_named))
        .route(new, get(list).post(invite).delete(remove_named))
        .route(&format!("{new}/details"), post(details))
        .route(&format!("{new}/{{membership}}"), one())
        .route("/api/v1/projects/{project}/user/{user}/membership", get(get_by_user))
}

fn shape(held: &Held, call: &Call, membership: &Membership) -> Value {
    if call.errors.since_2025() { shown_user_now(held, membership) } else { shown_user(held, membership) }
}

/// A server without the third generation interprets `memberships/identities` and `memberships/groups` as the membership
/// of that id, and fails to parse it: 500, where other missing routes are 404.
pub(crate) fn taken_for_a_user(infisical: &Infisical, call: &Call, id: &str) -> Result<Response, Refusal> {
    let held = infisical.state();
    Err(match user_of(&held, call, id) {
        Err(refusal) => refusal,
        Ok(_) => call.errors.no_such_membership(id),
    })
}

/// The user of a membership, at the current server: looked up before any rights, in whichever project.
fn user_of(held: &Held, call: &Call, membership: &str) -> Result<String, Refusal> {
    let id = uuid(call.errors, membership, "FindOne")?;
    let found = held.memberships.by_id(&id).filter(|m| m.kind == Kind::User);
    found.map(|m| m.subject.clone()).ok_or_else(|| call.errors.no_such_membership(membership))
}

async fn list(
    State(infisical): State<Infisical>,
    call: Call,
    Path(project): Path<String>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let held = infisical.state();
    call.may(&held, &project, Kind::User, "read", now)?;
    let rows = held.memberships.of_kind(&project, Kind::User).into_iter().filter(|m| !m.rows.is_empty());
    let shown: Vec<Value> = rows.map(|m| shape(&held, &call, m)).collect();
    Ok(answered(&json!({"memberships": shown})))
}

async fn details(
    State(infisical): State<Infisical>,
    call: Call,
    Path(project): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let [username] = valid(call.errors, strings(&json_body(call.errors, &body)?, ["username"]))?;
    let now = infisical.now();
    let held = infisical.state();
    call.may(&held, &project, Kind::User, "read", now)?;
    let membership = held
        .user_named(&username)
        .and_then(|user| held.shown_membership(&project, &user.id))
        .ok_or_else(|| call.errors.no_user_of_that_name(&username))?;
    Ok(answered(&json!({"membership": shown_user(&held, membership)})))
}

async fn get_one(
    State(infisical): State<Infisical>,
    call: Call,
    (method, uri): (Method, Uri),
    Path((project, membership)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    if !call.errors.since_2025() {
        // October 2024 has no such route (user-memberships.json, 40).
        return Err(no_route(&method, &uri));
    }
    if call.errors.june_2025() {
        let now = infisical.now();
        let held = infisical.state();
        call.may(&held, &project, Kind::User, "read", now)?;
        let found = named(&held, &call, &project, &membership)?;
        let found = found.ok_or_else(|| call.errors.no_user_of_that_id(&membership))?;
        return Ok(answered(&json!({"membership": shown_user_now(&held, found)})));
    }
    let user = user_of(&infisical.state(), &call, &membership)?;
    shown_to(&infisical, &call, &project, &user)
}

async fn get_by_user(
    State(infisical): State<Infisical>,
    call: Call,
    Path((project, user)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let issues: Vec<Value> = [("projectId", &project), ("userId", &user)]
        .into_iter()
        .filter(|(_, id)| Uuid::parse_str(id).is_err())
        .map(|(name, _)| not_a_uuid(name))
        .collect();
    if !issues.is_empty() {
        return Err(call.errors.validation(issues));
    }
    shown_to(&infisical, &call, &project, &user)
}

fn shown_to(infisical: &Infisical, call: &Call, project: &str, user: &str) -> Result<Response, Refusal> {
    let now = infisical.now();
    let held = infisical.state();
    call.may(&held, project, Kind::User, "read", now)?;
    let membership = held.shown_membership(project, user).ok_or_else(|| call.errors.user_membership_not_found())?;
    Ok(answered(&json!({"membership": shown_user_now(&held, membership)})))
}

async fn update(
    State(infisical): State<Infisical>,
    call: Call,
    Path((project, membership)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let roles = valid(call.errors, patch_user_roles(&json_body(call.errors, &body)?))?;
    let now = infisical.now();
    let replacement = {
        let held = infisical.state();
        let user = if call.errors.current() { Some(user_of(&held, &call, &membership)?) } else { None };
        let rights = call.may(&held, &project, Kind::User, "edit", now)?;
        let found = match &user {
            // Any of the user's memberships of the project, whichever was named.
            Some(user) => {
                held.written_membership(&project, user).ok_or_else(|| call.errors.no_membership_of(Kind::User))?
            }
            None => named(&held, &call, &project, &membership)?.ok_or_else(|| call.errors.forbidden_update())?,
        };
        Replacement::of(found, call.new_rows(&held, (&project, Kind::User), &rights, Writes::Changes(&roles), now)?)
    };
    let (roles, _) = replacement.written(&infisical, &call).await?;
    Ok(answered(&json!({"roles": roles})))
}

async fn remove(
    State(infisical): State<Infisical>,
    call: Call,
    Path((project, membership)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let found = {
        let held = infisical.state();
        let user = if call.errors.current() { Some(user_of(&held, &call, &membership)?) } else { None };
        // The rights of the user are not compared with the caller's (permissions.json, 485).
        call.may(&held, &project, Kind::User, "delete", now)?;
        let found = match &user {
            Some(user) => {
                held.written_membership(&project, user).ok_or_else(|| call.errors.no_membership_of(Kind::User))?
            }
            None => named(&held, &call, &project, &membership)?
                .ok_or_else(|| call.errors.went_wrong("InternalServerError"))?,
        };
        if call.errors.current() && call.caller == Caller::Subject(found.subject.clone()) {
            return Err(call.errors.yourself());
        }
        found.clone()
    };
    pause(call.faults.window).await;
    if !infisical.state().memberships.remove_one(&project, &found.subject, &found.id) {
        return Err(call.errors.went_wrong("InternalServerError"));
    }
    Ok(answered(&json!({"membership": bare(&found)})))
}

/// The membership of this id, if it is one of a user in this project: October 2024's way.
fn named<'a>(held: &'a Held, call: &Call, project: &str, membership: &str) -> Result<Option<&'a Membership>, Refusal> {
    let id = uuid(call.errors, membership, NO_UUID)?;
    Ok(held.memberships.by_id(&id).filter(|m| m.kind == Kind::User && m.project == project))
}
