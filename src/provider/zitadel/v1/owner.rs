//! Whether a project, or a grant of one, is where it is looked for.
//!
//! Under another organization a search is empty and a removal is answered with 200 (docs/reference/zitadel.md, trap 3):
//! that nothing is there may only be believed of a project that is known to be under the organization asked for.

use crate::core::member::Project;
use crate::provider::Error;
use crate::provider::http::{Request, Response};
use crate::provider::zitadel::client::Calls;
use crate::provider::zitadel::errors::messages::{self, RequestContext};
use crate::provider::zitadel::errors::{Meaning, ServerRefusal};
use crate::provider::zitadel::list::ProjectPresence;
use crate::provider::zitadel::wire;

const PROJECT: &str = "/management/v1/projects/{project}";

/// A grant, to the organization that made it; to others MANAG-d3g31.
const GRANT_MADE: &str = "/management/v1/projects/{project}/grants/{grant}";

/// The same, to the organization that was given it; to others MANAG-drt2a.
const GRANT_GIVEN: &str = "/management/v1/granted_projects/{project}/grants/{grant}";

/// Under which organization the server is asked.
#[derive(Clone, Copy)]
enum RequestOrganization {
    /// The one that is named for the project.
    Named,
    /// The credential's own.
    Own,
}

/// What the server says of a project, or of the grant that is meant, under one organization.
enum ProjectReading {
    Here,
    Not(Meaning, Error),
}

/// Looks for the project, or for the grant that is meant. That it is gone or another organization's is
/// [`Error::ProjectNotFound`].
///
/// A credential loses its rights in an organization or a project with it, and is then refused as one that never had any.
/// What its own organization lets it read is enough to prove that something is gone: the server looks a project up on the
/// whole instance, and says MANAG-SFf2a if it is another organization's and QUERY-fk2fs if there is none
/// (organization-header.json, "GET the project").
pub(crate) async fn locate(calls: &Calls<'_>, project: &Project) -> Result<ProjectPresence, Error> {
    let asked = RequestContext::of_project(calls.endpoint(), project);
    let (meaning, refused) = match read_project(calls, RequestOrganization::Named, project).await? {
        ProjectReading::Here => return Ok(ProjectPresence::Here),
        ProjectReading::Not(meaning @ Meaning::NoPermission { by_server: false }, error) => (meaning, error),
        ProjectReading::Not(meaning, error) if meaning.is_for_lack_of_rights() => (meaning, error),
        ProjectReading::Not(_, error) => return Err(error),
    };
    let own = match project.organization_id {
        Some(_) if meaning.is_for_lack_of_rights() => read_project(calls, RequestOrganization::Own, project).await.ok(),
        Some(_) | None => None,
    };
    match (own, meaning) {
        (Some(ProjectReading::Not(Meaning::NoProject | Meaning::NoGrant, gone)), _) => Err(gone),
        // It is the same organization. Of a grant that isn't known: it has two.
        (Some(ProjectReading::Here), _) if project.grant_id.is_none() => Ok(ProjectPresence::Here),
        (_, Meaning::NoOrganization) => Err(refused),
        // It exists.
        (
            Some(ProjectReading::Here | ProjectReading::Not(Meaning::ProjectElsewhere | Meaning::GrantElsewhere, _)),
            _,
        )
        | (_, Meaning::NoPermission { by_server: false }) => Ok(ProjectPresence::Unknown(refused)),
        (Some(ProjectReading::Not(..)) | None, _) => {
            Ok(ProjectPresence::Unknown(asked.perhaps_gone(refused, "its own organization")))
        }
    }
}

/// The error of a call about members that was refused: where it was for lack of rights, the project itself may say that
/// it is gone.
pub(crate) async fn explain_refusal(calls: &Calls<'_>, project: &Project, meaning: Meaning, refused: Error) -> Error {
    match meaning.is_for_lack_of_rights() {
        true => ProjectPresence::explain(locate(calls, project).await, refused),
        false => refused,
    }
}

async fn read_project(
    calls: &Calls<'_>,
    under: RequestOrganization,
    project: &Project,
) -> Result<ProjectReading, Error> {
    let asked = RequestContext::of_project(calls.endpoint(), project);
    let Some(grant) = &project.grant_id else {
        let answer = send(calls, under, Request::get(PROJECT).id(&project.id)).await?;
        return match answer.is_success() {
            true => of_project(&answer, project, &asked),
            false => Ok(refused(&asked, &answer)),
        };
    };
    let mut answer = send(calls, under, Request::get(GRANT_MADE).id(&project.id).id(grant)).await?;
    if ServerRefusal::read(&answer).meaning() == Meaning::GrantElsewhere {
        answer = send(calls, under, Request::get(GRANT_GIVEN).id(&project.id).id(grant)).await?;
    }
    match answer.is_success() {
        true => of_grant(&answer, project, grant, &asked),
        false => Ok(refused(&asked, &answer)),
    }
}

async fn send<'r>(calls: &'r Calls<'_>, under: RequestOrganization, request: Request<'r>) -> Result<Response, Error> {
    match under {
        RequestOrganization::Named => calls.send(request).await,
        RequestOrganization::Own => calls.send_about_none(request).await,
    }
}

fn of_project(answer: &Response, project: &Project, asked: &RequestContext<'_>) -> Result<ProjectReading, Error> {
    let found = answer.json::<wire::ProjectById>()?.project;
    if found.id != project.id {
        return Err(answer.nonsense("another project than was asked for"));
    }
    match is_elsewhere(project, &found.details) {
        true => Ok(ProjectReading::Not(Meaning::ProjectElsewhere, asked.elsewhere())),
        false => Ok(ProjectReading::Here),
    }
}

/// The server looks a grant up by its own id, whatever project the path names.
fn of_grant(
    answer: &Response,
    project: &Project,
    grant: &str,
    asked: &RequestContext<'_>,
) -> Result<ProjectReading, Error> {
    let found = answer.json::<wire::GrantById>()?.grant;
    if found.grant_id != grant {
        return Err(answer.nonsense("another grant than was asked for"));
    }
    match found.project_id == project.id {
        true => Ok(ProjectReading::Here),
        false => Ok(ProjectReading::Not(Meaning::GrantElsewhere, asked.of_another_project(&found.project_id))),
    }
}

fn refused(asked: &RequestContext<'_>, answer: &Response) -> ProjectReading {
    let refusal = ServerRefusal::read(answer);
    ProjectReading::Not(refusal.meaning(), messages::error(asked, answer, &refusal))
}

/// Whether something that the server showed is another organization's than the one asked for: some version is said to
/// ignore the header (zitadel issue #12482). Members of a grant are the owner's under whatever organization they are
/// asked for.
pub(crate) fn is_elsewhere(project: &Project, shown: &wire::Details) -> bool {
    let wanted = project.organization_id.as_deref().filter(|_| project.grant_id.is_none());
    !shown.resource_owner.is_empty() && wanted.is_some_and(|wanted| wanted != shown.resource_owner)
}
