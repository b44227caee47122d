//! Whether a project, or a grant of one, is there at all: nobody is listed of one that isn't, and a removal is answered
//! with 200.

use serde_json::json;

use super::resource::Resource;
use super::{grants, wire};
use crate::core::member::Project;
use crate::provider::Error;
use crate::provider::http::{Method, Request};
use crate::provider::zitadel::client::Calls;
use crate::provider::zitadel::errors::messages::{self, RequestContext};
use crate::provider::zitadel::errors::{Meaning, ServerRefusal};
use crate::provider::zitadel::list::ProjectPresence;

const PROJECT: &str = "/zitadel.project.v2.ProjectService/GetProject";

/// Looks for the resource. That it is gone or another organization's is [`Error::ProjectNotFound`].
pub(crate) async fn locate(
    calls: &Calls<'_>,
    project: &Project,
    resource: &Resource<'_>,
) -> Result<ProjectPresence, Error> {
    let Some(organization) = resource.granted_to() else {
        return of_project(calls, project).await;
    };
    let granted = grants::of(calls, project).await?;
    match granted.organizations.iter().any(|one| one == organization) {
        true => Ok(ProjectPresence::Here),
        false => no_grant(calls, project, granted.complete).await,
    }
}

/// The grant isn't among those of the project, as far as they are shown. Only to somebody who may read the project that
/// means that there is none.
pub(crate) async fn no_grant(calls: &Calls<'_>, project: &Project, complete: bool) -> Result<ProjectPresence, Error> {
    let asked = RequestContext::of_project(calls.endpoint(), project);
    match of_project(calls, project).await? {
        ProjectPresence::Here if complete => Err(asked.no_grant()),
        ProjectPresence::Here => Ok(ProjectPresence::Unknown(asked.hidden())),
        ProjectPresence::Unknown(refused) => {
            Ok(ProjectPresence::Unknown(asked.perhaps_gone(refused, "the organization that owns the project")))
        }
    }
}

/// Looks for the project. QUERY-fk2fs is said before rights are looked at, and so of a missing project only (ZITADEL's
/// source, internal/query/project.go, GetProjectByIDWithPermission).
async fn of_project(calls: &Calls<'_>, project: &Project) -> Result<ProjectPresence, Error> {
    let request = Request::new(Method::Post, PROJECT).json(&json!({"projectId": project.id})).reads();
    let answer = calls.send_about_none(request).await?;
    let asked = RequestContext::of_project(calls.endpoint(), project);
    if answer.is_success() {
        let found = answer.json::<wire::ProjectById>()?.project;
        if found.project_id != project.id {
            return Err(answer.nonsense("another project than was asked for"));
        }
        let wanted = project.organization_id.as_ref().filter(|_| project.grant_id.is_none());
        return match wanted.is_some_and(|wanted| *wanted != found.organization_id) {
            true => Err(asked.elsewhere()),
            false => Ok(ProjectPresence::Here),
        };
    }
    let refusal = ServerRefusal::read(&answer);
    let error = messages::error(&asked, &answer, &refusal);
    match refusal.meaning() {
        Meaning::NoMembership | Meaning::NoPermission { .. } => Ok(ProjectPresence::Unknown(error)),
        _ => Err(error),
    }
}
