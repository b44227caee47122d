//! Projects and the caller's organisation, as far as they are read (organization-header.json).

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::Zitadel;
use super::auth::Call;
use super::errors::{self, Refusal, answered};
use super::permission::Permission;
use super::wire::object_details;

/// The routes of this area.
pub(crate) fn routes() -> Router<Zitadel> {
    Router::new().route("/management/v1/projects/{project}", get(project)).route("/management/v1/orgs/me", get(my_org))
}

/// The guard against a wrong organisation: MANAG-SFf2a is another's project, QUERY-fk2fs none at all.
async fn project(State(zitadel): State<Zitadel>, call: Call, Path(id): Path<String>) -> Result<Response, Refusal> {
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, Permission::ProjectRead, Some(&id))?;
    let project = held.projects.get(&id).filter(|project| !project.deleted).ok_or_else(errors::no_project)?;
    if project.org != call.org {
        return Err(errors::project_of_another_org());
    }
    Ok(answered(&json!({"project": {
        "id": id,
        "details": object_details(project.own_sequence, project.created, project.changed, &project.org),
        "name": project.name,
        "state": if project.active { "PROJECT_STATE_ACTIVE" } else { "PROJECT_STATE_INACTIVE" },
    }})))
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
        "primaryDomain": format!("{}.zitadel.test", org.name.to_lowercase()),
    }})))
}
