//! Checks whether a project, or a grant of one, exists: without it the list is empty, and the response to a removal is
//! 200.

use serde_json::json;

use super::grants;
use super::resource::Resource;
use crate::core::member::Project;
use crate::provider::http::{Method, Request};
use crate::provider::zitadel::client::Calls;
use crate::provider::zitadel::errors::{Meaning, Refusal};
use crate::provider::zitadel::wire;

const PROJECT: &str = "/zitadel.project.v2.ProjectService/GetProject";

/// Looks up the resource. [`Error::ProjectNotFound`](crate::provider::Error::ProjectNotFound) if it doesn't exist or
/// belongs to another organization.
pub(crate) async fn locate(calls: &Calls<'_>, resource: &Resource<'_>) -> Result<(), Refusal> {
    let project = resource.project;
    let Some(organization) = &resource.granted_to else {
        return locate_project(calls, project).await;
    };
    let granted = grants::of(calls, project).await?;
    match granted.organizations.contains(organization) {
        true => Ok(()),
        false => Err(no_grant(calls, project, granted.complete).await),
    }
}

/// The grant isn't among those of the project, as far as they are shown. Only for a caller who may read the project
/// does that mean that there is none.
pub(crate) async fn no_grant(calls: &Calls<'_>, project: &Project, complete: bool) -> Refusal {
    let asked = calls.about(project);
    match locate_project(calls, project).await {
        Ok(()) if complete => asked.no_grant().into(),
        Ok(()) => Refusal { meaning: Meaning::NoPermission { by_server: true }, ..asked.hidden().into() },
        Err(refused) if refused.meaning.is_no_answer() => {
            asked.perhaps_gone(refused, "the organization that owns the project")
        }
        Err(refused) => refused,
    }
}

/// Looks up the project. QUERY-fk2fs is returned before permissions are checked, and so for a missing project only
/// (ZITADEL's source, internal/query/project.go, GetProjectByIDWithPermission).
async fn locate_project(calls: &Calls<'_>, project: &Project) -> Result<(), Refusal> {
    let request = Request::new(Method::Post, PROJECT).json(&json!({"projectId": project.id})).reads();
    let asked = calls.about(project);
    let answer = calls.send_about_none(&asked, request).await?;
    let found = answer.json::<wire::ProjectById>()?.project;
    if found.id != project.id {
        return Err(answer.nonsense("another project than was asked for").into());
    }
    let wanted = project.organization_id.as_ref().filter(|_| project.grant_id.is_none());
    match wanted.is_some_and(|wanted| *wanted != found.organization_id) {
        true => Err(asked.elsewhere().into()),
        false => Ok(()),
    }
}
