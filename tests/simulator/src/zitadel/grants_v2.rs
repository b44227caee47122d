//! Grants of projects in v2, which gives them no ids: a project and the organisation that it is granted to are one.
//!
//! Not recorded: `proto/zitadel/project/v2/query.proto` and `internal/query/project_grant.go` of ZITADEL's source.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Zitadel;
use super::auth::Call;
use super::connect::{self, Page, ids};
use super::errors::{Refusal, answered};
use super::permission::Permission;
use super::state::{ProjectGrant, State as Held};
use super::wire::{without_zeroes, written};

/// Grants of every project, those that the caller may read in either organisation; all are counted.
pub(crate) async fn list(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let message = connect::read(&body, "project", "ListProjectGrantsRequest")?;
    let page = Page::read(&message)?;
    let filters = message
        .list("filters")?
        .iter()
        .enumerate()
        .map(|(at, filter)| match filter.get("inProjectIdsFilter") {
            Some(filter) => Ok(ids(filter, "ids")),
            None => Err(connect::no_filter("ListProjectGrantsRequest", at, "ProjectGrantSearchFilter")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut held = zitadel.state();
    held.catch_up();
    let live = held.grants.keys().filter_map(|id| Some((id, held.live_grant(id)?)));
    let mut rows: Vec<(&String, &ProjectGrant)> =
        live.filter(|(_, grant)| filters.iter().all(|ids| ids.contains(&grant.project))).collect();
    rows.sort_by_key(|(_, grant)| grant.created);
    if !page.ascending {
        rows.reverse();
    }
    let (rows, details) = page.apply(rows, |(id, grant)| is_seen_by(&held, &call.user, id, grant));
    let rows: Vec<Value> = rows.into_iter().map(|(_, grant)| shown(&held, grant)).collect();
    Ok(answered(&without_zeroes(json!({"pagination": details, "projectGrants": rows}))))
}

fn is_seen_by(held: &Held, caller: &str, id: &str, grant: &ProjectGrant) -> bool {
    let org = held.org_of_project(&grant.project);
    let may = |org: &str, thing: &str| held.may(caller, org, Permission::GrantRead, Some(thing)).is_ok();
    may(&org, &grant.project) || may(&org, id) || may(&grant.granted_org, id)
}

fn shown(held: &Held, grant: &ProjectGrant) -> Value {
    json!({
        "organizationId": held.org_of_project(&grant.project),
        "creationDate": written(grant.created),
        "changeDate": written(grant.changed),
        "grantedOrganizationId": grant.granted_org,
        "grantedOrganizationName": held.orgs.get(&grant.granted_org).map(|org| org.name.clone()),
        "projectId": grant.project,
        "projectName": held.projects.get(&grant.project).map(|project| project.name.clone()),
        "state": if grant.active { "PROJECT_GRANT_STATE_ACTIVE" } else { "PROJECT_GRANT_STATE_INACTIVE" },
    })
}
