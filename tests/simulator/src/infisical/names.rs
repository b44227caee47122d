//! Resolves names: projects by slug, identities and groups of the organisation, roles (name-resolution.json).
//! Identities of a project by name are the list's `search`, users of one are `memberships/details`.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::Infisical;
use super::answers::auth_method;
use super::auth::Call;
use super::credentials::Caller;
use super::errors::{Errors, Refusal, answered};
use super::listing::Listing;
use super::state::{Project, State as Held, new_id};
use super::subjects::{Group, Kind, OrgRole};
use super::time::written;
use super::writes::uuid;

/// The routes of this area.
pub(crate) fn routes() -> Router<Infisical> {
    Router::new()
        .route("/api/v2/workspace/{project}", get(project_by_slug))
        .route("/api/v1/projects/slug/{slug}", get(project_by_slug))
        .route("/api/v1/workspace/{project}", get(project_by_id))
        .route("/api/v1/projects/{project}", get(project_by_id))
        .route("/api/v1/workspace/{project}/roles", get(roles))
        .route("/api/v1/projects/{project}/roles", get(roles))
        .route("/api/v1/workspace", get(projects_of_caller))
        .route("/api/v2/organizations/{org}/workspaces", get(projects_of_organization))
        .route("/api/v2/organizations/{org}/identity-memberships", get(identities_of_organization))
        .route("/api/v2/organizations/{org}/memberships", get(users_of_organization))
        .route("/api/v1/organization/{org}/users", get(people_only))
        .route("/api/v1/groups", get(groups))
        .route("/api/v1/groups/{group}", get(group))
}

fn is_old(uri: &Uri) -> bool {
    uri.path().contains("/workspace")
}

async fn project_by_slug(
    State(infisical): State<Infisical>,
    call: Call,
    Path(slug): Path<String>,
) -> Result<Response, Refusal> {
    let (least, most) = if call.errors.since_2025() { (1, 64) } else { (5, 36) };
    if !(least..=most).contains(&slug.len()) || !is_slug(&slug) {
        let message = format!("Slug must be at least {least} character but no more than {most}");
        return Err(call.errors.validation(vec![json!({"code": "custom", "message": message, "path": ["slug"]})]));
    }
    let now = infisical.now();
    let held = infisical.state();
    // A slug belongs to one organisation.
    let org = held.org_of(&call.caller);
    let project = held
        .projects
        .values()
        .find(|project| project.slug == slug && project.org == org)
        .ok_or_else(|| call.errors.project_not_found_by_slug(&slug))?;
    held.rights_of(&project.id, &call.caller, now).map_err(|why| call.errors.locked_out(why, &project.id))?;
    let mut shown = shown(call.errors, project);
    if call.errors.june_2025() {
        shown["kmsSecretManagerKeyId"] = new_id().into();
    }
    Ok(answered(&shown))
}

/// Whether the server accepts it as a slug: words of lower-case letters and digits with hyphens between them.
fn is_slug(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.split('-').all(word)
}

async fn project_by_id(
    State(infisical): State<Infisical>,
    call: Call,
    uri: Uri,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let held = infisical.state();
    let project = held.projects.get(&id).ok_or_else(|| call.errors.project_not_found_by_id(&id))?;
    held.rights_of(&id, &call.caller, now).map_err(|why| call.errors.locked_out(why, &id))?;
    let name = if is_old(&uri) { "workspace" } else { "project" };
    Ok(answered(&json!({name: shown(call.errors, project)})))
}

fn shown(errors: Errors, project: &Project) -> Value {
    let environments: Vec<Value> = [("Development", "dev"), ("Staging", "staging"), ("Production", "prod")]
        .into_iter()
        .zip(&project.environments)
        .map(|((name, slug), id)| json!({"name": name, "slug": slug, "id": id}))
        .collect();
    let mut shown = json!({
        "id": project.id,
        "name": project.name,
        "slug": project.slug,
        "autoCapitalization": !errors.since_2025(),
        "orgId": project.org,
        "createdAt": written(project.created),
        "updatedAt": written(project.created),
        "version": 3,
        "upgradeStatus": null,
        "pitVersionLimit": 10,
        "kmsCertificateKeyId": null,
        "auditLogsRetentionDays": null,
        "_id": project.id,
        "environments": environments,
    });
    if errors.since_2025() {
        shown["description"] = Value::Null;
        shown["type"] = project.product.as_str().into();
        shown["hasDeleteProtection"] = false.into();
        shown["secretSharing"] = true.into();
        shown["showSnapshotsLegacy"] = false.into();
    }
    shown
}

/// The roles of a project: by its slug in October 2024, by its id since. Built-in ones have ids that every project
/// shares, and are as old as the request.
async fn roles(
    State(infisical): State<Infisical>,
    call: Call,
    uri: Uri,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let now = infisical.now();
    let held = infisical.state();
    let project = if is_old(&uri) {
        let org = held.org_of(&call.caller);
        let named = held.projects.values().find(|project| project.slug == name && project.org == org);
        named.ok_or_else(|| call.errors.went_wrong("Find project by slug"))?
    } else {
        held.projects.get(&name).ok_or_else(|| call.errors.missing_project(&name))?
    };
    let rights =
        held.rights_of(&project.id, &call.caller, now).map_err(|why| call.errors.locked_out(why, &project.id))?;
    if !rights.allow("role:read") {
        return Err(call.errors.may_not("read", "role"));
    }
    let built_in = [
        ("b11b49a9-09a9-4443-916a-4246f9ff2c69", "Admin", "Full administrative access over a project", "admin"),
        ("b11b49a9-09a9-4443-916a-4246f9ff2c70", "Developer", "Limited read/write role in a project", "member"),
        ("b11b49a9-09a9-4443-916a-4246f9ff2c71", "Viewer", "Only read role in a project", "viewer"),
        ("b11b49a9-09a9-4443-916a-4246f9ff2c72", "No Access", "No access to any resources in the project", "no-access"),
    ];
    let role = |id: &str, name: &str, description: Option<&str>, slug: &str, created: String| {
        json!({
            "id": id, "name": name, "description": description, "slug": slug,
            "createdAt": created, "updatedAt": created, "projectId": project.id,
        })
    };
    let mut roles: Vec<Value> = built_in
        .into_iter()
        .map(|(id, name, description, slug)| role(id, name, Some(description), slug, written(now)))
        .collect();
    roles.extend(project.roles.iter().map(|r| role(&r.id, &r.name, None, &r.slug, written(r.created))));
    Ok(answered(&json!({"roles": roles})))
}

/// The projects of an organisation that the caller is a member of.
async fn projects_of_organization(
    State(infisical): State<Infisical>,
    call: Call,
    Path(org): Path<String>,
) -> Result<Response, Refusal> {
    let held = infisical.state();
    let is_member = |project: &&Project| held.is_in(project, &call.caller);
    let mut projects: Vec<&Project> = held.projects.values().filter(|p| p.org == org).filter(is_member).collect();
    projects.sort_by(|a, b| a.name.cmp(&b.name));
    let environments = json!([
        {"name": "Development", "slug": "dev"}, {"name": "Staging", "slug": "staging"},
        {"name": "Production", "slug": "prod"},
    ]);
    let shown: Vec<Value> = projects
        .into_iter()
        .map(|p| {
            json!({
                "id": p.id, "name": p.name, "slug": p.slug, "organization": p.org, "environments": environments,
            })
        })
        .collect();
    Ok(answered(&json!({"workspaces": shown})))
}

/// The identities of an organisation, for callers who may look them up: its members.
async fn identities_of_organization(
    State(infisical): State<Infisical>,
    call: Call,
    Path(org): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let listing = Listing::read(&query).map_err(|issues| call.errors.validation(issues))?;
    let held = infisical.state();
    let role = held.org_role(&org, &call.caller).ok_or_else(|| call.errors.not_of_organization())?;
    if role == OrgRole::NoAccess {
        return Err(call.errors.may_not("read", Kind::Identity.subject()));
    }
    let mut identities: Vec<_> = held.identities.values().filter(|identity| identity.org == org).collect();
    identities.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
    let (rows, total) = listing.apply(identities.into_iter().map(|i| (i.name.clone(), i)).collect());
    let shown: Vec<Value> = rows
        .into_iter()
        .map(|identity| {
            let (name, methods) = auth_method(call.errors, Some(identity));
            let mut shown = json!({
                "id": identity.seat,
                "role": identity.org_role.slug(),
                "roleId": null,
                "orgId": identity.org,
                "createdAt": written(identity.created),
                "updatedAt": written(identity.created),
                "identityId": identity.id,
                "identity": {"name": identity.name, "id": identity.id},
            });
            shown["identity"][name] = methods;
            shown
        })
        .collect();
    Ok(answered(&json!({"identityMemberships": shown, "totalCount": total})))
}

/// The users of an organisation. For an identity the response is 200 with an empty list (name-resolution.json, 91).
async fn users_of_organization(
    State(infisical): State<Infisical>,
    call: Call,
    Path(org): Path<String>,
) -> Result<Response, Refusal> {
    let held = infisical.state();
    if let Caller::Subject(id) = &call.caller
        && held.identities.contains_key(id)
    {
        return Ok(([(CONTENT_LENGTH, "0")], "").into_response());
    }
    held.org_role(&org, &call.caller).ok_or_else(|| call.errors.not_of_organization())?;
    let users: Vec<Value> = held
        .users
        .values()
        .filter_map(|user| Some((user, user.seats.get(&org)?)))
        .map(|(user, seat)| {
            json!({
                "userId": user.id,
                "role": seat.role.slug(),
                "status": if seat.accepted { "accepted" } else { "invited" },
                "orgId": org,
                "user": {
                    "username": user.username, "email": user.email, "firstName": user.first_name,
                    "lastName": user.last_name, "id": user.id,
                },
            })
        })
        .collect();
    Ok(answered(&json!({"users": users})))
}

async fn people_only(call: Call, uri: Uri) -> Refusal {
    call.errors.not_for_identities(uri.path())
}

/// The caller's projects; in October 2024 for people only (infisical-june-2025/names-and-auth.json, 5).
async fn projects_of_caller(State(infisical): State<Infisical>, call: Call, uri: Uri) -> Result<Response, Refusal> {
    if !call.errors.since_2025() {
        return Err(call.errors.not_for_identities(uri.path()));
    }
    let held = infisical.state();
    let mut projects: Vec<&Project> =
        held.projects.values().filter(|project| held.is_in(project, &call.caller)).collect();
    projects.sort_by(|a, b| a.name.cmp(&b.name));
    let shown: Vec<Value> = projects.into_iter().map(|project| shown(call.errors, project)).collect();
    Ok(answered(&json!({"workspaces": shown})))
}

impl Held {
    /// Whether the caller is a member of a project.
    fn is_in(&self, project: &Project, caller: &Caller) -> bool {
        match caller {
            Caller::Admin(_) => true,
            Caller::Subject(id) => self.shown_membership(&project.id, id).is_some_and(|m| !m.rows.is_empty()),
        }
    }
}

async fn groups(State(infisical): State<Infisical>, call: Call) -> Result<Response, Refusal> {
    let held = infisical.state();
    let org = may_read_groups(&held, &call)?;
    let groups: Vec<Value> = held.groups.values().filter(|group| group.org == org).map(shown_group).collect();
    Ok(answered(&Value::from(groups)))
}

async fn group(State(infisical): State<Infisical>, call: Call, Path(id): Path<String>) -> Result<Response, Refusal> {
    let held = infisical.state();
    let org = may_read_groups(&held, &call)?;
    let id = uuid(call.errors, &id, "Find by id")?;
    let group = held.groups.get(&id).filter(|group| group.org == org);
    group.map(|group| answered(&shown_group(group))).ok_or_else(|| call.errors.group_unknown(&id))
}

/// The caller's organisation, if it may look groups up there.
fn may_read_groups(held: &Held, call: &Call) -> Result<String, Refusal> {
    let org = held.org_of(&call.caller);
    match held.org_role(&org, &call.caller) {
        Some(OrgRole::Member | OrgRole::Admin) => Ok(org),
        _ => Err(call.errors.may_not("read", Kind::Group.subject())),
    }
}

fn shown_group(group: &Group) -> Value {
    json!({
        "id": group.id,
        "orgId": group.org,
        "name": group.name,
        "slug": group.slug,
        "role": "no-access",
        "roleId": null,
        "createdAt": written(group.created),
        "updatedAt": written(group.created),
    })
}
