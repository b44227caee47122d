//! Memberships of identities in projects, on all three generations of the path.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::Infisical;
use super::answers::{bare, newest, newest_in_list, shown};
use super::auth::{Call, json_body, valid};
use super::credentials::Caller;
use super::errors::{Refusal, answered};
use super::listing::{Listing, Paging};
use super::state::Membership;
use super::subjects::{Identity, Kind};
use super::time;
use super::users::taken_for_a_user;
use super::validation::{patch_roles, post_roles};
use super::writes::{Replacement, Writes, pause, uuid};

/// The third generation of the path, up to the identity.
const NEWEST: &str = "/memberships/identities";

/// The routes of this area. The real server takes a slash at the end (identity-extras.json, 31).
pub(crate) fn routes() -> Router<Infisical> {
    let mut router = Router::new();
    for base in ["/api/v2/workspace/{project}/identity-memberships", "/api/v1/projects/{project}/identity-memberships"]
    {
        router = router.route(base, get(list)).route(&format!("{base}/"), get(list));
    }
    let third = format!("/api/v1/projects/{{project}}{NEWEST}");
    router = router.route(&third, get(list_newest)).route(&format!("{third}/"), get(list_newest));
    for base in
        ["/api/v2/workspace/{project}/identity-memberships", "/api/v1/projects/{project}/identity-memberships", &third]
    {
        let one = get(get_one).post(create).patch(update).delete(remove);
        router =
            router.route(&format!("{base}/{{identity}}"), one.clone()).route(&format!("{base}/{{identity}}/"), one);
    }
    router
}

fn is_newest(uri: &Uri) -> bool {
    uri.path().contains(NEWEST)
}

async fn list(
    State(infisical): State<Infisical>,
    call: Call,
    Path(project): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let listing = Listing::read(&query).map_err(|issues| call.errors.validation(issues))?;
    let now = infisical.now();
    let held = infisical.state();
    call.may(&held, &project, Kind::Identity, "read", now)?;
    let rows = held
        .memberships
        .of_kind(&project, Kind::Identity)
        .into_iter()
        .map(|m| (held.identities.get(&m.subject).map(|i| i.name.clone()).unwrap_or_default(), m))
        .collect();
    let (rows, total) = listing.apply(rows);
    // A membership without any role is counted and not shown (identity-extras.json, 12).
    let rows = rows.into_iter().filter(|m| !m.rows.is_empty());
    let shown: Vec<Value> = rows.map(|m| shown(&held, call.errors, m)).collect();
    Ok(answered(&json!({"identityMemberships": shown, "totalCount": total})))
}

/// The list of the third generation: at most 1,000 rows a page, in no order that one page would share with the next;
/// `totalCount` counts the roles of the page (`findIdentities` in Infisical's
/// `backend/src/services/membership-identity/membership-identity-dal.ts`).
async fn list_newest(
    State(infisical): State<Infisical>,
    call: Call,
    Path(project): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    if !infisical.state().generations.third() {
        return taken_for_a_user(&infisical, &call, "identities");
    }
    let paging = Paging::read(&query).map_err(|issues| call.errors.validation(issues))?;
    let now = infisical.now();
    let held = infisical.state();
    call.may(&held, &project, Kind::Identity, "read", now)?;
    let mut rows = held.memberships.of_kind(&project, Kind::Identity);
    rows.retain(|m| !m.rows.is_empty());
    let page: Vec<&Membership> = paging.apply(rows);
    let total: usize = page.iter().map(|m| m.rows.len()).sum();
    let shown: Vec<Value> = page.into_iter().map(|m| newest_in_list(&held, m)).collect();
    Ok(answered(&json!({"identityMemberships": shown, "totalCount": total})))
}

async fn get_one(
    State(infisical): State<Infisical>,
    call: Call,
    uri: Uri,
    Path((project, identity)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let held = infisical.state();
    call.may(&held, &project, Kind::Identity, "read", now)?;
    let id = uuid(call.errors, &identity, if call.errors.june_2025() { "FindByProjectId" } else { "Find one" })?;
    let membership = held
        .shown_membership(&project, &id)
        .filter(|m| !m.rows.is_empty() && m.kind == Kind::Identity)
        .ok_or_else(|| call.errors.membership_not_found(&project, &identity))?;
    let shown = if is_newest(&uri) { newest(&held, membership) } else { shown(&held, call.errors, membership) };
    Ok(answered(&json!({"identityMembership": shown})))
}

async fn create(
    State(infisical): State<Infisical>,
    call: Call,
    Path((project, identity)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let roles = valid(call.errors, post_roles(&json_body(call.errors, &body)?))?;
    let now = infisical.now();
    let (id, rows) = {
        let held = infisical.state();
        let rights = call.may(&held, &project, Kind::Identity, "create", now)?;
        let id = uuid(call.errors, &identity, "Find one")?;
        if held.written_membership(&project, &id).is_some() {
            return Err(call.errors.already_a_member(&project, &identity));
        }
        // Identities of other organisations are none (name-resolution.json, 313).
        let org = held.projects.get(&project).map(|project| project.org.clone()).unwrap_or_default();
        if !held.has_identity(&org, &id) {
            return Err(call.errors.identity_not_found(&identity));
        }
        if held.identities.get(&id).is_some_and(|identity| identity.managed_by.is_some()) {
            return Err(call.errors.of_a_project("create"));
        }
        (id, call.new_rows(&held, (&project, Kind::Identity), &rights, Writes::Creates(&roles), now)?)
    };
    pause(call.faults.window).await;
    let mut held = infisical.state();
    held.insert(&project, &id, rows, time::cut(now));
    held.shown_membership(&project, &id)
        .map(|membership| answered(&json!({"identityMembership": bare(membership)})))
        .ok_or_else(|| call.errors.went_wrong("InternalServerError"))
}

async fn update(
    State(infisical): State<Infisical>,
    call: Call,
    uri: Uri,
    Path((project, identity)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let roles = valid(call.errors, patch_roles(&json_body(call.errors, &body)?))?;
    let now = infisical.now();
    let replacement = {
        let held = infisical.state();
        let rights = call.may(&held, &project, Kind::Identity, "edit", now)?;
        let id = uuid(call.errors, &identity, "Find one")?;
        let membership = held
            .written_membership(&project, &id)
            .ok_or_else(|| call.errors.no_member_to_change(&project, &identity, held.identities.contains_key(&id)))?;
        let elsewhere = |identity: &Identity| identity.managed_by.as_ref().is_some_and(|by| *by != project);
        if held.identities.get(&id).is_some_and(elsewhere) {
            return Err(call.errors.of_a_project("update"));
        }
        let rows = call.new_rows(&held, (&project, Kind::Identity), &rights, Writes::Changes(&roles), now)?;
        Replacement::of(membership, rows)
    };
    let (roles, membership) = replacement.written(&infisical, &call).await?;
    // The third generation answers with no roles at all (`docs/reference/infisical.md`, Three generations).
    let answer =
        if is_newest(&uri) { json!({"identityMembership": bare(&membership)}) } else { json!({"roles": roles}) };
    Ok(answered(&answer))
}

async fn remove(
    State(infisical): State<Infisical>,
    call: Call,
    Path((project, identity)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let (id, answer) = {
        let held = infisical.state();
        let current = call.errors.current();
        if current {
            call.may(&held, &project, Kind::Identity, "delete", now)?;
        }
        let id = uuid(call.errors, &identity, "Find one")?;
        // October 2024 and June 2025 look for the membership first: so a missing project is 404 here.
        let membership = held
            .written_membership(&project, &id)
            .ok_or_else(|| call.errors.no_member_to_remove(&identity, held.identities.contains_key(&id)))?;
        let rights = call.may(&held, &project, Kind::Identity, "delete", now)?;
        if current && call.caller == Caller::Subject(id.clone()) {
            return Err(call.errors.yourself());
        }
        if held.identities.get(&id).is_some_and(|identity| identity.managed_by.is_some()) {
            return Err(call.errors.of_a_project("delete"));
        }
        // The one to be removed must have rights that can be looked up: a broken membership can't be removed. June 2025
        // doesn't ask (infisical-june-2025/errors-g1.json, 24; permissions.json, 6 and 35).
        if !call.errors.june_2025() {
            let theirs =
                held.rights_of_subject(&project, &id, now).map_err(|why| call.errors.locked_out(why, &project))?;
            if !rights.include(&theirs) {
                return Err(call.errors.more_privileged());
            }
        }
        (id, bare(membership))
    };
    pause(call.faults.window).await;
    match infisical.state().remove_as_asked(&project, &id) {
        0 => Err(call.errors.went_wrong("InternalServerError")),
        _ => Ok(answered(&json!({"identityMembership": answer}))),
    }
}
