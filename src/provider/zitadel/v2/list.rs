//! The list of administrators.

use serde_json::{Value, json};

use super::resource::Resource;
use super::{owner, version, wire};
use crate::core::member::{Member, Project};
use crate::provider::http::{Method, Request, Response};
use crate::provider::zitadel::client::Calls;
use crate::provider::zitadel::errors::ServerRefusal;
use crate::provider::zitadel::errors::messages::{self, RequestContext};
use crate::provider::zitadel::list::{self, PAGE, Rows};
use crate::provider::{Error, Listing};

const LIST: &str = "/zitadel.internal_permission.v2.InternalPermissionService/ListAdministrators";

/// Lists the administrators of a resource, in the order of their users' ids, which no write changes.
pub(crate) async fn list(calls: &Calls<'_>, project: &Project, resource: &Resource<'_>) -> Result<Listing, Error> {
    let mut rows = Rows::default();
    while let Some(offset) = rows.next_page() {
        let pagination = json!({"offset": offset.to_string(), "limit": PAGE, "asc": true});
        let column = "ADMINISTRATOR_FIELD_NAME_USER_ID";
        let filters = json!([{"resource": resource.json()}]);
        let body = json!({"pagination": pagination, "sortingColumn": column, "filters": filters});
        rows.take(page(calls, project, resource, &body).await?);
    }
    if rows.are_hidden() {
        return Err(RequestContext::of_project(calls.endpoint(), project).hidden());
    }
    let listing = rows.finish();
    if listing.members.is_empty() && !listing.partial {
        // An unknown project has no administrators either.
        owner::locate(calls, project, resource).await?.known()?;
    }
    Ok(listing)
}

/// One user's row, where the list shows it.
pub(crate) async fn find(
    calls: &Calls<'_>,
    project: &Project,
    resource: &Resource<'_>,
    user: &str,
) -> Result<Option<Member>, Error> {
    let filters = json!([{"resource": resource.json()}, {"inUserIdsFilter": {"ids": [user]}}]);
    let body = json!({"pagination": {"limit": PAGE}, "filters": filters});
    let page = page(calls, project, resource, &body).await?;
    if page.rows.is_empty() && page.total > 0 {
        return Err(RequestContext::of_project(calls.endpoint(), project).hidden());
    }
    Ok(page.rows.into_iter().flatten().find(|member| member.subject_id == user))
}

async fn page(
    calls: &Calls<'_>,
    project: &Project,
    resource: &Resource<'_>,
    body: &Value,
) -> Result<list::Page, Error> {
    let answer = ask(calls, body).await?;
    let asked = RequestContext::of_project(calls.endpoint(), project);
    if !answer.is_success() {
        return Err(messages::error(&asked, &answer, &ServerRefusal::read(&answer)));
    }
    let page: wire::Administrators = answer.json()?;
    let limit = usize::try_from(page.pagination.applied_limit).unwrap_or(PAGE);
    let mut rows = Vec::with_capacity(page.administrators.len());
    for row in page.administrators {
        rows.push(resource.has(&row, &asked)?.then(|| {
            let version = row.change_date.and_then(version);
            list::member(row.user.id, row.roles, version)
        }));
    }
    Ok(list::Page { total: page.pagination.total_result, step: limit.max(rows.len()), rows })
}

/// Which grant the administrators of a resource are of, by the first that is shown; `None`: none is.
pub(crate) async fn grant_id(calls: &Calls<'_>, project: &Project, granted_to: &str) -> Result<Option<String>, Error> {
    let resource = json!({"projectGrant": {"projectId": project.id, "organizationId": granted_to}});
    let answer = ask(calls, &json!({"pagination": {"limit": 1}, "filters": [{"resource": resource}]})).await?;
    if !answer.is_success() {
        let asked = RequestContext::of_project(calls.endpoint(), project);
        return Err(messages::error(&asked, &answer, &ServerRefusal::read(&answer)));
    }
    let rows = answer.json::<wire::Administrators>()?.administrators;
    let mut grants = rows.into_iter().filter_map(|row| row.project_grant);
    let of =
        |grant: &wire::GrantResource| grant.project_id == project.id && grant.granted_organization_id == granted_to;
    Ok(grants.find(of).map(|grant| grant.id))
}

/// Asks for the administrators of nothing, to see whether they are served.
pub(crate) async fn probe(calls: &Calls<'_>) -> Result<Response, Error> {
    // Nobody has this id.
    ask(calls, &json!({"pagination": {"limit": 1}, "filters": [{"inUserIdsFilter": {"ids": ["0"]}}]})).await
}

/// Whether the answer is one of this API's lists.
pub(crate) fn check(answer: &Response) -> Result<(), Error> {
    answer.json::<wire::Administrators>().map(drop)
}

async fn ask(calls: &Calls<'_>, body: &Value) -> Result<Response, Error> {
    calls.send_about_none(Request::new(Method::Post, LIST).json(body).reads().list()).await
}
