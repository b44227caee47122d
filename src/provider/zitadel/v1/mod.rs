//! Members of projects and of project grants by the management API v1.
//!
//! Both are written and read the same way at different paths; the meaning of their responses differs in ids only, which
//! [`Refusal`] handles.

mod owner;

use serde_json::json;

use super::client::Calls;
use super::errors::Refusal;
use super::list::{self, MembersPage, PAGE, Part};
use super::wire;
use super::write::MemberWrite;
use crate::core::member::Project;
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::{Method, Request, Response};

pub(crate) use owner::locate;

/// The path of the members of a project.
struct Routes {
    members: &'static str,
    member: &'static str,
    search: &'static str,
}

const OF_PROJECTS: Routes = Routes {
    members: "/management/v1/projects/{project}/members",
    member: "/management/v1/projects/{project}/members/{user}",
    search: "/management/v1/projects/{project}/members/_search",
};

const OF_GRANTS: Routes = Routes {
    members: "/management/v1/projects/{project}/grants/{grant}/members",
    member: "/management/v1/projects/{project}/grants/{grant}/members/{user}",
    search: "/management/v1/projects/{project}/grants/{grant}/members/_search",
};

/// A request for members of a project, or of the target's grant of it.
fn request(method: Method, route: fn(&Routes) -> &'static str, project: &Project) -> Request<'_> {
    match &project.grant_id {
        None => Request::new(method, route(&OF_PROJECTS)).id(&project.id),
        Some(grant) => Request::new(method, route(&OF_GRANTS)).id(&project.id).id(grant),
    }
}

/// Searches members.
pub(crate) async fn page(calls: &Calls<'_>, project: &Project, part: Part<'_>) -> Result<MembersPage, Refusal> {
    let query = match part {
        Part::From(offset) => json!({"query": {"offset": offset.to_string(), "limit": PAGE}}),
        Part::Of(user) => json!({"query": {"limit": PAGE}, "queries": [{"userIdQuery": {"userId": user}}]}),
    };
    let request = request(Method::Post, |routes| routes.search, project).json(&query).reads().list();
    let asked = calls.about(project);
    let page: wire::Page<wire::Row> = calls.send(&asked, request).await?.json()?;
    if page.result.iter().any(|row| owner::is_elsewhere(project, &row.details.resource_owner)) {
        return Err(asked.elsewhere().into());
    }
    let rows = page.result.into_iter().map(|row| Some(list::member(row.user_id, row.roles, row.details.version())));
    Ok(MembersPage::new(&page.details, rows.collect()))
}

/// A request that writes a member.
pub(crate) fn write_request<'r>(project: &'r Project, user: &'r str, write: MemberWrite<'_>) -> Request<'r> {
    match write {
        MemberWrite::Add(roles) => {
            request(Method::Post, |routes| routes.members, project).json(&json!({"userId": user, "roles": roles}))
        }
        MemberWrite::Change(roles) => {
            request(Method::Put, |routes| routes.member, project).id(user).json(&json!({"roles": roles}))
        }
        MemberWrite::Remove => request(Method::Delete, |routes| routes.member, project).id(user),
    }
}

/// The sequence of what was written.
pub(crate) fn version(project: &Project, answer: &Response) -> Result<Option<u64>, Error> {
    let details = answer.json::<wire::WriteResponse>()?.details;
    if owner::is_elsewhere(project, &details.resource_owner) {
        // It may have been carried out nevertheless: the next list shows what is wrong.
        let what = "wrote under another organization than the one asked for";
        return Err(answer.context.unreachable(what, Effect::Unknown));
    }
    Ok(details.version())
}
