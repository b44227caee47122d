//! Memberships of identities in projects, on the first two generations of the path.
//!
//! A write reads, waits for the ordered [`Fault::Window`](crate::Fault::Window), and writes: two of them at once meet
//! as two transactions of the real server do. Readers see a write whole or not at all (infisical/concurrency.json,
//! "reads while one writer switches").

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Infisical;
use super::answers::{bare, shown, written_role};
use super::auth::{Call, json_body, valid};
use super::credentials::Caller;
use super::errors::{Errors, Refusal, answered};
use super::listing::Listing;
use super::rights::Rights;
use super::state::{ErrorStyle, Row, State as Held, StoredRole, Window, new_id};
use super::time;
use super::validation::{RoleInput, patch_roles, post_roles};

/// The routes of this area. The real server takes a slash at the end (identity-extras.json, 31).
pub(crate) fn routes() -> Router<Infisical> {
    let mut router = Router::new();
    for base in ["/api/v2/workspace/{project}/identity-memberships", "/api/v1/projects/{project}/identity-memberships"]
    {
        let one = get(get_one).post(create).patch(update).delete(remove);
        router = router
            .route(base, get(list))
            .route(&format!("{base}/"), get(list))
            .route(&format!("{base}/{{identity}}"), one.clone())
            .route(&format!("{base}/{{identity}}/"), one);
    }
    router
}

impl Call {
    /// What the caller may do in the project, if it may do this.
    fn may(&self, held: &Held, project: &str, action: &str, now: Timestamp) -> Result<Rights, Refusal> {
        if self.errors.0 == ErrorStyle::Current && !held.projects.contains_key(project) {
            return Err(self.errors.missing_project(project));
        }
        let rights = held.rights_of(project, &self.caller, now).map_err(|why| self.errors.locked_out(why))?;
        if rights.allow(&format!("identity:{action}")) { Ok(rights) } else { Err(self.errors.may_not(action)) }
    }
}

/// Identity ids are compared as UUIDs, whatever the case; project ids as text (identity-extras.json, 32 and 33).
fn identity_id(errors: Errors, text: &str) -> Result<String, Refusal> {
    match Uuid::parse_str(text) {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err(errors.went_wrong("Find one")),
    }
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
    call.may(&held, &project, "read", now)?;
    let rows = held
        .memberships
        .of_project(&project)
        .into_iter()
        .map(|m| (held.identities.get(&m.identity).map(|i| i.name.clone()).unwrap_or_default(), m))
        .collect();
    let (rows, total) = listing.apply(rows);
    // A membership without any role is counted and not shown (identity-extras.json, 12).
    let shown: Vec<Value> = rows.into_iter().filter(|m| !m.rows.is_empty()).map(|m| shown(&held, m)).collect();
    Ok(answered(&json!({"identityMemberships": shown, "totalCount": total})))
}

async fn get_one(
    State(infisical): State<Infisical>,
    call: Call,
    Path((project, identity)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let held = infisical.state();
    call.may(&held, &project, "read", now)?;
    let id = identity_id(call.errors, &identity)?;
    let membership = held
        .shown_membership(&project, &id)
        .filter(|m| !m.rows.is_empty())
        .ok_or_else(|| call.errors.membership_not_found(&identity))?;
    Ok(answered(&json!({"identityMembership": shown(&held, membership)})))
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
        let rights = call.may(&held, &project, "create", now)?;
        let id = identity_id(call.errors, &identity)?;
        if held.written_membership(&project, &id).is_some() {
            return Err(call.errors.already_a_member(&project, &identity));
        }
        if !held.identities.contains_key(&id) {
            return Err(call.errors.identity_not_found(&identity));
        }
        if roles.is_empty() && call.errors.0 == ErrorStyle::Current {
            return Err(call.errors.no_roles());
        }
        let rows = new_rows(&held, &call, &project, &rights, &roles, now)?;
        (id, rows)
    };
    pause(call.faults.window).await;
    let mut held = infisical.state();
    held.insert(&project, &id, rows, time::cut(now));
    held.shown_membership(&project, &id)
        .map(|membership| answered(&bare(membership)))
        .ok_or_else(|| call.errors.went_wrong("InternalServerError"))
}

async fn update(
    State(infisical): State<Infisical>,
    call: Call,
    Path((project, identity)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let roles = valid(call.errors, patch_roles(&json_body(call.errors, &body)?))?;
    let now = infisical.now();
    let (id, membership, replaced, rows) = {
        let held = infisical.state();
        let rights = call.may(&held, &project, "edit", now)?;
        let id = identity_id(call.errors, &identity)?;
        let membership = held
            .written_membership(&project, &id)
            .ok_or_else(|| call.errors.nobody_to_change(&project, &identity, held.identities.contains_key(&id)))?;
        let rows = new_rows(&held, &call, &project, &rights, &roles, now)?;
        let replaced: BTreeSet<String> = membership.rows.iter().map(|row| row.id.clone()).collect();
        let membership = membership.id.clone();
        (id, membership, replaced, rows)
    };
    pause(call.faults.window).await;
    let mut held = infisical.state();
    // The rows have a foreign key to their membership, which a DELETE may have taken meanwhile.
    let Some(written) = held.memberships.of_mut(&project, &id).iter_mut().find(|m| m.id == membership) else {
        return Err(call.errors.went_wrong("InternalServerError"));
    };
    // Deleted is what was there at the start: what another PATCH has inserted since stays, and the two unite.
    written.rows.retain(|row| !replaced.contains(&row.id));
    let answer: Vec<Value> = rows.iter().map(|row| written_role(&membership, row)).collect();
    written.rows.extend(rows);
    Ok(answered(&json!({"roles": answer})))
}

async fn remove(
    State(infisical): State<Infisical>,
    call: Call,
    Path((project, identity)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let (id, answer) = {
        let held = infisical.state();
        let current = call.errors.0 == ErrorStyle::Current;
        if current {
            call.may(&held, &project, "delete", now)?;
        }
        let id = identity_id(call.errors, &identity)?;
        // October 2024 looks for the membership first: so a missing project is 404 here.
        let membership = held
            .written_membership(&project, &id)
            .ok_or_else(|| call.errors.nobody_to_remove(&identity, held.identities.contains_key(&id)))?;
        let rights = call.may(&held, &project, "delete", now)?;
        if current && call.caller == Caller::Identity(id.clone()) {
            return Err(call.errors.yourself());
        }
        // The one to be removed must have rights that can be looked up: a broken membership can't be removed.
        let theirs = held.rights_of_identity(&project, &id, now).map_err(|why| call.errors.locked_out(why))?;
        if !rights.include(&theirs) {
            return Err(call.errors.more_privileged());
        }
        (id, bare(membership))
    };
    pause(call.faults.window).await;
    match infisical.state().memberships.remove(&project, &id) {
        0 => Err(call.errors.went_wrong("InternalServerError")),
        _ => Ok(answered(&answer)),
    }
}

/// The rows that a write makes, or why it may not.
fn new_rows(
    held: &Held,
    call: &Call,
    project: &str,
    rights: &Rights,
    roles: &[RoleInput],
    now: Timestamp,
) -> Result<Vec<Row>, Refusal> {
    let errors = call.errors;
    let now = time::cut(now);
    let mut rows = Vec::new();
    let mut custom = BTreeSet::new();
    let mut twice = false;
    for input in roles {
        let role = held.role_of_slug(project, &input.slug).ok_or_else(|| errors.role_not_found(&input.slug))?;
        // Sending a role that the target has already is no exception (`reference/infisical.md`, Three generations).
        if !rights.include(&held.rights_of_role(project, &role)) {
            return Err(errors.escalation(&input.slug));
        }
        if let StoredRole::Custom(id) = &role {
            twice |= !custom.insert(id.clone());
        }
        let window = match &input.temporary {
            None => None,
            Some(t) => {
                // No date: JavaScript throws when it is to be stored.
                let end =
                    time::plus(t.start, t.milliseconds).ok_or_else(|| errors.went_wrong("InternalServerError"))?;
                Some(Window { range: t.range.clone(), start: t.start, end })
            }
        };
        rows.push(Row { id: new_id(), role, window, created: now });
    }
    if twice {
        return Err(errors.custom_role_twice());
    }
    let only_temporary = !rows.is_empty() && rows.iter().all(|row| row.window.is_some());
    if only_temporary && errors.0 == ErrorStyle::Current {
        return Err(errors.only_temporary());
    }
    Ok(rows)
}

async fn pause(window: Duration) {
    if !window.is_zero() {
        tokio::time::sleep(window).await;
    }
}
