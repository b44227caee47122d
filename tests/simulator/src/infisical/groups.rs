//! Memberships of groups in projects: the paths of October 2024 and of the second generation, by the group's id (POST
//! of the second also by its name), and those of the third (group-memberships.json; Infisical's
//! `backend/src/server/routes/v1/group-project-router.ts`).

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Infisical;
use super::answers::{bare, newest_group, shown_group};
use super::auth::{Call, json_body, valid};
use super::errors::{Refusal, answered};
use super::state::{Membership, State as Held};
use super::subjects::{Group, Kind};
use super::time;
use super::users::taken_for_a_user;
use super::validation::{not_a_uuid, patch_roles, post_roles};
use super::writes::{Replacement, Writes, pause, uuid};

/// The third generation of the path, up to the group.
const NEWEST: &str = "/memberships/groups";

/// The routes of this area.
pub(crate) fn routes() -> Router<Infisical> {
    let third = format!("/api/v1/projects/{{project}}{NEWEST}");
    let mut router = Router::new();
    for base in ["/api/v2/workspace/{project}/groups", "/api/v1/projects/{project}/groups", &third] {
        let one = get(get_one).post(create).patch(update).delete(remove);
        router = router.route(base, get(list)).route(&format!("{base}/{{group}}"), one);
    }
    router
}

fn is_newest(uri: &Uri) -> bool {
    uri.path().contains(NEWEST)
}

fn is_second(uri: &Uri) -> bool {
    uri.path().starts_with("/api/v1/projects/") && !is_newest(uri)
}

fn shape(held: &Held, uri: &Uri, membership: &Membership) -> Value {
    if is_newest(uri) { newest_group(held, membership) } else { shown_group(held, membership) }
}

impl Call {
    /// The project must exist, before any permissions are checked; and the group's id must be valid.
    fn group_id(&self, held: &Held, uri: &Uri, project: &str, group: &str) -> Result<String, Refusal> {
        if is_newest(uri) && Uuid::parse_str(group).is_err() {
            return Err(self.errors.validation(vec![not_a_uuid("groupId")]));
        }
        if !held.projects.contains_key(project) {
            return Err(self.errors.no_project_for_groups(project));
        }
        Ok(group.to_owned())
    }
}

async fn list(
    State(infisical): State<Infisical>,
    call: Call,
    uri: Uri,
    Path(project): Path<String>,
) -> Result<Response, Refusal> {
    if is_newest(&uri) && !infisical.state().generations.third() {
        return taken_for_a_user(&infisical, &call, "groups");
    }
    let now = infisical.now();
    let held = infisical.state();
    if !held.projects.contains_key(&project) {
        return Err(call.errors.no_project_for_groups(&project));
    }
    call.may(&held, &project, Kind::Group, "read", now)?;
    // One without any role is not shown (group-memberships.json, 59).
    let rows = held.memberships.of_kind(&project, Kind::Group).into_iter().filter(|m| !m.rows.is_empty());
    let shown: Vec<Value> = rows.map(|m| shape(&held, &uri, m)).collect();
    Ok(answered(&json!({"groupMemberships": shown})))
}

async fn get_one(
    State(infisical): State<Infisical>,
    call: Call,
    uri: Uri,
    Path((project, group)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let held = infisical.state();
    let group = call.group_id(&held, &uri, &project, &group)?;
    call.may(&held, &project, Kind::Group, "read", now)?;
    let id = uuid(call.errors, &group, "FindByProjectId")?;
    let membership = held
        .shown_membership(&project, &id)
        .filter(|m| !m.rows.is_empty() && m.kind == Kind::Group)
        .ok_or_else(|| call.errors.group_membership_not_found(&project, &id))?;
    Ok(answered(&json!({"groupMembership": shape(&held, &uri, membership)})))
}

async fn create(
    State(infisical): State<Infisical>,
    call: Call,
    uri: Uri,
    Path((project, group)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let roles = valid(call.errors, post_roles(&json_body(call.errors, &body)?))?;
    let now = infisical.now();
    let (id, rows) = {
        let held = infisical.state();
        let group = call.group_id(&held, &uri, &project, &group)?;
        let org = held.projects.get(&project).map(|project| project.org.clone()).unwrap_or_default();
        // By name in this one place.
        let group = match Uuid::parse_str(&group) {
            // At June 2025 on the old path too, and by the slug (infisical-june-2025/group-memberships.json, 7).
            Err(_) if is_second(&uri) || call.errors.june_2025() => {
                let of_slug = call.errors.june_2025();
                let is_named = |g: &&Group| (g.name == group || of_slug && g.slug == group) && g.org == org;
                let named = held.groups.values().find(is_named);
                named.map(|g| g.id.clone()).ok_or_else(|| call.errors.group_not_found_by_name(&group))?
            }
            _ => group,
        };
        let rights = call.may(&held, &project, Kind::Group, "create", now)?;
        let id = uuid(call.errors, &group, "Find one")?;
        // Groups of other organisations count as missing (name-resolution.json, 314).
        if held.groups.get(&id).is_none_or(|group| group.org != org) {
            return Err(match call.errors.june_2025() {
                true => call.errors.group_not_found_by_name(&id),
                false => call.errors.group_not_found(&id),
            });
        }
        if held.written_membership(&project, &id).is_some() {
            return Err(call.errors.group_already_member(&project, &id));
        }
        (id, call.new_rows(&held, (&project, Kind::Group), &rights, Writes::Creates(&roles), now)?)
    };
    pause(call.faults.window).await;
    let mut held = infisical.state();
    held.insert(&project, &id, rows, time::cut(now));
    let made = held.shown_membership(&project, &id).ok_or_else(|| call.errors.went_wrong("InternalServerError"))?;
    // (infisical.com/docs/api-reference/endpoints/project-group-memberships/create)
    let answer = if is_newest(&uri) { newest_group(&held, made) } else { bare(made) };
    Ok(answered(&json!({"groupMembership": answer})))
}

async fn update(
    State(infisical): State<Infisical>,
    call: Call,
    uri: Uri,
    Path((project, group)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let roles = valid(call.errors, patch_roles(&json_body(call.errors, &body)?))?;
    let now = infisical.now();
    let replacement = {
        let held = infisical.state();
        let group = call.group_id(&held, &uri, &project, &group)?;
        let rights = call.may(&held, &project, Kind::Group, "edit", now)?;
        let id = uuid(call.errors, &group, "Find one")?;
        if !held.groups.contains_key(&id) {
            return Err(call.errors.group_not_found(&id));
        }
        let membership = held.written_membership(&project, &id).ok_or_else(|| call.errors.group_not_member(&id))?;
        let rows = call.new_rows(&held, (&project, Kind::Group), &rights, Writes::Changes(&roles), now)?;
        Replacement::of(membership, rows)
    };
    let (roles, membership) = replacement.written(&infisical, &call).await?;
    // What the newest path answers to PATCH is documented nowhere that could be found; here it is the same as for POST.
    let answer = if is_newest(&uri) {
        json!({"groupMembership": newest_group(&infisical.state(), &membership)})
    } else {
        json!({"roles": roles})
    };
    Ok(answered(&answer))
}

async fn remove(
    State(infisical): State<Infisical>,
    call: Call,
    uri: Uri,
    Path((project, group)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let (id, answer) = {
        let held = infisical.state();
        let group = call.group_id(&held, &uri, &project, &group)?;
        // The group's own rights are not compared with the caller's (permissions.json, 606).
        call.may(&held, &project, Kind::Group, "delete", now)?;
        let id = uuid(call.errors, &group, "Find one")?;
        if !held.groups.contains_key(&id) {
            return Err(call.errors.group_gone(&id));
        }
        let membership = held.written_membership(&project, &id).ok_or_else(|| call.errors.group_not_member(&id))?;
        (id, bare(membership))
    };
    pause(call.faults.window).await;
    match infisical.state().remove_as_asked(&project, &id) {
        0 => Err(call.errors.went_wrong("InternalServerError")),
        _ => Ok(answered(&json!({"groupMembership": answer}))),
    }
}
