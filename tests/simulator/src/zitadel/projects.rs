//! Projects and the caller's organisation, as far as they are read: by id, and by name
//! (organization-header.json, name-resolution.json).

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use super::Zitadel;
use super::auth::Call;
use super::connect::{self, Page, ids, method};
use super::errors::{self, Refusal, answered, malformed};
use super::permission::Permission;
use super::state::{Project, State as Held};
use super::text::Text;
use super::wire::{Message, list_details, object_details, without_zeroes, written};

const PACKAGE: &str = "project";

/// The routes of this area.
pub(crate) fn routes() -> Router<Zitadel> {
    let v2 = vec![
        ("ListProjects", method(list)),
        ("GetProject", method(project_v2)),
        ("ListProjectGrants", method(super::grants_v2::list)),
    ];
    Router::new()
        .route("/management/v1/projects/_search", post(search))
        .route("/management/v1/projects/{project}", get(project))
        .route("/management/v1/orgs/me", get(my_org))
        .merge(connect::service("zitadel.project.v2.ProjectService", v2))
}

/// The guard against a wrong organisation: MANAG-SFf2a is another's project, QUERY-fk2fs none at all.
async fn project(State(zitadel): State<Zitadel>, call: Call, Path(id): Path<String>) -> Result<Response, Refusal> {
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, Permission::ProjectRead, Some(&id))?;
    let project = live_project(&held, &id)?;
    if project.org != call.org {
        return Err(errors::project_of_another_org());
    }
    Ok(answered(&json!({"project": shown(&id, project)})))
}

/// Projects of the header's organisation; of those that the caller may only read singly, these.
async fn search(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let message = Message::read(&body)?;
    let empty = Map::new();
    let page = message.object("query")?.unwrap_or(&empty);
    let (offset, limit) = (message.number(page, "offset", "uint64")?, message.number(page, "limit", "uint32")?);
    let names = message
        .list("queries")?
        .iter()
        .enumerate()
        .map(|(at, query)| {
            query.get("nameQuery").map(|query| Text::read(query, "name")).ok_or_else(|| {
                malformed(format!(
                    "invalid ListProjectsRequest.Queries[{at}]: embedded message failed validation | \
                     caused by: invalid ProjectQuery.Query: value is required"
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, Permission::ProjectRead, None)?;
    let fitting: Vec<Value> = live(&held)
        .filter(|(id, project)| {
            project.org == call.org && held.may(&call.user, &call.org, Permission::ProjectRead, Some(id)).is_ok()
        })
        .filter(|(_, project)| names.iter().all(|name| name.fits(&project.name)))
        .map(|(id, project)| shown(id, project))
        .collect();
    let total = fitting.len();
    let (default, most) = held.page;
    let limit = if limit == 0 { default } else { limit.min(most) };
    let rows: Vec<Value> = fitting.into_iter().skip(offset).take(limit).collect();
    let total = if rows.is_empty() { 0 } else { total };
    Ok(answered(&without_zeroes(json!({"details": list_details(total, held.projection.seen), "result": rows}))))
}

/// v2: projects of every organisation, the newest first, those that the caller may read; all are counted
/// (name-resolution.json, 70).
async fn list(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let message = connect::read(&body, PACKAGE, "ListProjectsRequest")?;
    let page = Page::read(&message)?;
    let filters = message
        .list("filters")?
        .iter()
        .enumerate()
        .map(|(at, filter)| {
            Filter::read(filter).ok_or_else(|| connect::no_filter("ListProjectsRequest", at, "ProjectSearchFilter"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut held = zitadel.state();
    held.catch_up();
    let mut rows: Vec<(&String, &Project)> =
        live(&held).filter(|(id, project)| filters.iter().all(|filter| filter.fits(id, project))).collect();
    rows.sort_by_key(|(_, project)| project.created);
    if !page.ascending {
        rows.reverse();
    }
    let sees = |(id, project): &(&String, &Project)| {
        held.may(&call.user, &project.org, Permission::ProjectRead, Some(id)).is_ok()
    };
    let (rows, details) = page.apply(rows, sees);
    let rows: Vec<Value> = rows.into_iter().map(|(id, project)| shown_v2(id, project)).collect();
    Ok(answered(&without_zeroes(json!({"pagination": details, "projects": rows}))))
}

async fn project_v2(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let id = connect::read(&body, PACKAGE, "GetProjectRequest")?.string("projectId", "project_id")?;
    let mut held = zitadel.state();
    held.catch_up();
    let project = live_project(&held, &id)?;
    held.may(&call.user, &project.org, Permission::ProjectRead, Some(&id)).map_err(errors::method_may_not)?;
    Ok(answered(&json!({"project": shown_v2(&id, project)})))
}

enum Filter {
    Name(Text),
    Org(String),
    Ids(Vec<String>),
}

impl Filter {
    fn read(filter: &Value) -> Option<Self> {
        if let Some(name) = filter.get("projectNameFilter") {
            return Some(Self::Name(Text::read(name, "projectName")));
        }
        if let Some(org) = filter.get("organizationIdFilter") {
            return Some(Self::Org(org.get("organizationId").and_then(Value::as_str).unwrap_or_default().to_owned()));
        }
        filter.get("inProjectIdsFilter").map(|filter| Self::Ids(ids(filter, "ids")))
    }

    fn fits(&self, id: &String, project: &Project) -> bool {
        match self {
            Self::Name(name) => name.fits(&project.name),
            Self::Org(org) => project.org == *org,
            Self::Ids(ids) => ids.contains(id),
        }
    }
}

fn live(held: &Held) -> impl Iterator<Item = (&String, &Project)> {
    held.projects.keys().filter_map(|id| Some((id, held.live_project(id)?)))
}

fn live_project<'h>(held: &'h Held, id: &str) -> Result<&'h Project, Refusal> {
    held.live_project(id).ok_or_else(errors::no_project)
}

fn state(project: &Project) -> &'static str {
    if project.active { "PROJECT_STATE_ACTIVE" } else { "PROJECT_STATE_INACTIVE" }
}

fn shown(id: &str, project: &Project) -> Value {
    json!({
        "id": id,
        "details": object_details(project.own_sequence, project.created, project.changed, &project.org),
        "name": project.name,
        "state": state(project),
    })
}

fn shown_v2(id: &str, project: &Project) -> Value {
    json!({
        "projectId": id,
        "organizationId": project.org,
        "creationDate": written(project.created),
        "changeDate": written(project.changed),
        "name": project.name,
        "state": state(project),
    })
}

async fn my_org(State(zitadel): State<Zitadel>, call: Call) -> Result<Response, Refusal> {
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, Permission::Any, None)?;
    let org = held.orgs.get(&call.org).ok_or_else(errors::no_such_org)?;
    Ok(answered(&json!({"org": {
        "id": call.org,
        "details": object_details(org.sequence, org.created, org.created, &call.org),
        "state": if org.deleted { "ORG_STATE_REMOVED" } else { "ORG_STATE_ACTIVE" },
        "name": org.name,
        "primaryDomain": org.domain(),
    }})))
}
