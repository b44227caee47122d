//! Members of projects and of project grants by v2, which calls them administrators: Connect with JSON
//! (docs/reference/zitadel.md, v2).
//!
//! The organization is taken from the project, so that no header is sent. There are no sequences: a write is identified
//! by its date, in microseconds since 1970, the precision of ZITADEL's database. All events of one project use the
//! database's clock, so that a later write has a later date.

mod grants;
mod owner;
mod resource;
mod wire;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Calls, search};
use super::errors::Refusal;
use super::list::{self, MembersPage, PAGE, Part};
use super::write::MemberWrite;
use crate::core::member::Project;
use crate::provider::Error;
use crate::provider::http::{Method, Request, Response};

pub(crate) use grants::GrantedTo;
pub(crate) use owner::locate;
pub(crate) use resource::Resource;

const LIST: &str = "/zitadel.internal_permission.v2.InternalPermissionService/ListAdministrators";
const CREATE: &str = "/zitadel.internal_permission.v2.InternalPermissionService/CreateAdministrator";
const UPDATE: &str = "/zitadel.internal_permission.v2.InternalPermissionService/UpdateAdministrator";
const DELETE: &str = "/zitadel.internal_permission.v2.InternalPermissionService/DeleteAdministrator";

/// Administrators of any resources.
type Administrators = super::wire::Page<wire::AdministratorItem>;

/// The administrators of a resource, in the order of their users' ids, which no write changes.
pub(crate) async fn page(calls: &Calls<'_>, resource: &Resource<'_>, part: Part<'_>) -> Result<MembersPage, Refusal> {
    let of_resource = json!({"resource": resource.json()});
    let body = match part {
        Part::From(offset) => json!({
            "pagination": {"offset": offset.to_string(), "limit": PAGE, "asc": true},
            "sortingColumn": "ADMINISTRATOR_FIELD_NAME_USER_ID",
            "filters": [of_resource],
        }),
        Part::Of(user) => json!({
            "pagination": {"limit": PAGE},
            "filters": [of_resource, {"inUserIdsFilter": {"ids": [user]}}],
        }),
    };
    let asked = calls.about(resource.project);
    let page: Administrators = calls.send_about_none(&asked, search(LIST, &body)).await?.json()?;
    let mut rows = Vec::with_capacity(page.result.len());
    for row in page.result {
        rows.push(resource.has(&row, &asked)?.then(|| {
            let version = row.change_date.and_then(version_at);
            list::member(row.user.id, row.roles, version)
        }));
    }
    Ok(MembersPage::new(&page.details, rows))
}

/// The id of a project's grant to an organization, from the first of its administrators that is shown; `None`: none
/// is.
async fn grant_id(calls: &Calls<'_>, project: &Project, granted_to: &str) -> Result<Option<String>, Error> {
    let resource = Resource { project, granted_to: Some(granted_to.to_owned()) };
    let body = json!({"pagination": {"limit": 1}, "filters": [{"resource": resource.json()}]});
    let page: Administrators = calls.send_about_none(&calls.about(project), search(LIST, &body)).await?.json()?;
    let mut grants = page.result.into_iter().filter_map(|row| row.project_grant);
    let of =
        |grant: &wire::GrantResource| grant.project_id == project.id && grant.granted_organization_id == granted_to;
    Ok(grants.find(of).map(|grant| grant.id))
}

/// Requests the administrators of a resource that doesn't exist, to detect whether the API is served.
pub(crate) async fn probe(calls: &Calls<'_>) -> Result<(), Refusal> {
    // No resource has this id.
    let body = json!({"pagination": {"limit": 1}, "filters": [{"inUserIdsFilter": {"ids": ["0"]}}]});
    let answer = calls.send_about_none(&calls.about_instance(), search(LIST, &body)).await?;
    answer.json::<Administrators>()?;
    Ok(())
}

/// A request that writes a member.
pub(crate) fn write_request(resource: &Resource<'_>, user: &str, write: MemberWrite<'_>) -> Request<'static> {
    let mut body: Value = json!({"userId": user, "resource": resource.json()});
    if let Some(roles) = write.roles() {
        body["roles"] = json!(roles);
    }
    let route = match write {
        MemberWrite::Add(_) => CREATE,
        MemberWrite::Change(_) => UPDATE,
        MemberWrite::Remove => DELETE,
    };
    Request::new(Method::Post, route).json(&body)
}

/// The date of what was written. A removal that found nothing has none.
pub(crate) fn version(answer: &Response, write: MemberWrite<'_>) -> Result<Option<u64>, Error> {
    match (answer.json::<wire::WriteResponse>()?.date, write) {
        (None, MemberWrite::Add(_) | MemberWrite::Change(_)) => Err(answer.nonsense("no date of what was written")),
        (date, _) => Ok(date.and_then(version_at)),
    }
}

fn version_at(date: Timestamp) -> Option<u64> {
    u64::try_from(date.as_microsecond()).ok()
}
