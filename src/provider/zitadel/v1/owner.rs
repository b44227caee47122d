//! Checks whether a project, or a grant of one, exists under the requested organization. Under another organization a
//! search is empty and the response to a removal is 200 (docs/reference/zitadel.md, trap 3): an empty result is only
//! trusted for a project that is known to be under the requested organization.

use crate::core::member::Project;
use crate::provider::http::{Request, Response};
use crate::provider::zitadel::client::Calls;
use crate::provider::zitadel::errors::messages::RequestContext;
use crate::provider::zitadel::errors::{Meaning, Refusal};
use crate::provider::zitadel::wire;

const PROJECT: &str = "/management/v1/projects/{project}";

/// A grant, for the organization that created it; for others MANAG-d3g31.
const GRANT_MADE: &str = "/management/v1/projects/{project}/grants/{grant}";

/// The same, for the organization that received it; for others MANAG-drt2a.
const GRANT_GIVEN: &str = "/management/v1/granted_projects/{project}/grants/{grant}";

/// The organization of a request.
#[derive(Clone, Copy)]
enum RequestOrganization {
    /// The one that is named for the project.
    Named,
    /// The credential's own.
    Own,
}

/// Looks up the project, or the target's grant. [`Error::ProjectNotFound`] if it doesn't exist or belongs to another
/// organization. With the deletion of an organization or a project a credential loses its permissions there, and is
/// then refused as one that never had any. What it may read in its own organization is enough to prove a deletion: the
/// server looks up a project in the whole instance, and responds with MANAG-SFf2a if it belongs to another organization
/// and QUERY-fk2fs if there is none (organization-header.json, "GET the project").
pub(crate) async fn locate(calls: &Calls<'_>, project: &Project) -> Result<(), Refusal> {
    let Err(refused) = read_project(calls, RequestOrganization::Named, project).await else { return Ok(()) };
    let lacks_rights = refused.meaning.is_for_lack_of_rights();
    if !lacks_rights && !refused.meaning.is_no_answer() {
        return Err(refused);
    }
    let own = match project.organization_id {
        Some(_) if lacks_rights => Some(read_project(calls, RequestOrganization::Own, project).await),
        Some(_) | None => None,
    };
    let exists = match own {
        Some(Err(gone @ Refusal { meaning: Meaning::NoProject | Meaning::NoGrant, .. })) => return Err(gone),
        // It is the same organization. For a grant that is unknown: it has two.
        Some(Ok(())) if project.grant_id.is_none() => return Ok(()),
        Some(Ok(()) | Err(Refusal { meaning: Meaning::ProjectElsewhere | Meaning::GrantElsewhere, .. })) => true,
        Some(Err(_)) | None => false,
    };
    match refused.meaning {
        Meaning::NoOrganization | Meaning::NoPermission { by_server: false } => Err(refused),
        _ if exists => Err(refused),
        _ => Err(calls.about(project).perhaps_gone(refused, "its own organization")),
    }
}

async fn read_project(calls: &Calls<'_>, under: RequestOrganization, project: &Project) -> Result<(), Refusal> {
    let asked = calls.about(project);
    let read = async |route| {
        let request = Request::get(route).id(&project.id);
        let request = project.grant_id.iter().fold(request, |request, grant| request.id(grant));
        match under {
            RequestOrganization::Named => calls.send(&asked, request).await,
            RequestOrganization::Own => calls.send_about_none(&asked, request).await,
        }
    };
    match &project.grant_id {
        None => is_project(&read(PROJECT).await?, project, &asked),
        Some(grant) => {
            let answer = match read(GRANT_MADE).await {
                Err(Refusal { meaning: Meaning::GrantElsewhere, .. }) => read(GRANT_GIVEN).await?,
                made => made?,
            };
            is_grant(&answer, project, grant, &asked)
        }
    }
}

fn is_project(answer: &Response, project: &Project, asked: &RequestContext<'_>) -> Result<(), Refusal> {
    let found = answer.json::<wire::ProjectById>()?.project;
    if found.id != project.id {
        return Err(answer.nonsense("another project than was asked for").into());
    }
    match is_elsewhere(project, &found.details.resource_owner) {
        true => Err(Refusal { meaning: Meaning::ProjectElsewhere, ..asked.elsewhere().into() }),
        false => Ok(()),
    }
}

/// The server looks up a grant by its own id, regardless of the project in the path.
fn is_grant(answer: &Response, project: &Project, grant: &str, asked: &RequestContext<'_>) -> Result<(), Refusal> {
    let found = answer.json::<wire::GrantById>()?.grant;
    if found.grant_id != grant {
        return Err(answer.nonsense("another grant than was asked for").into());
    }
    match found.project_id == project.id {
        true => Ok(()),
        false => {
            let error = asked.of_another_project(&found.project_id);
            Err(Refusal { meaning: Meaning::GrantElsewhere, ..error.into() })
        }
    }
}

/// Whether something whose owner the server showed belongs to another organization than the requested one: a version
/// reportedly ignores the header (zitadel issue #12482). Members of a grant belong to the owner, whichever organization
/// is requested.
pub(crate) fn is_elsewhere(project: &Project, owner: &str) -> bool {
    let wanted = project.organization_id.as_deref().filter(|_| project.grant_id.is_none());
    !owner.is_empty() && wanted.is_some_and(|wanted| wanted != owner)
}
