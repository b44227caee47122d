//! Whether a project, or a grant of one, is where it is looked for.
//!
//! Under another organization a search is empty and a removal is answered with 200 (reference/zitadel.md, trap 3): that
//! nothing is there may only be believed of a project that is known to be under the organization asked for.

use crate::member::Project;
use crate::provider::Error;
use crate::provider::http::{Answer, Request};
use crate::provider::zitadel::calls::Calls;
use crate::provider::zitadel::explain::{self, Asked};
use crate::provider::zitadel::list::Whereabouts;
use crate::provider::zitadel::refusal::{Meaning, Refusal};
use crate::provider::zitadel::wire;

const PROJECT: &str = "/management/v1/projects/{project}";

/// A grant, to the organization that made it; to others MANAG-d3g31.
const GRANT_MADE: &str = "/management/v1/projects/{project}/grants/{grant}";

/// The same, to the organization that was given it; to others MANAG-drt2a.
const GRANT_GIVEN: &str = "/management/v1/granted_projects/{project}/grants/{grant}";

/// Looks for the project, or for the grant that is meant. That it is gone or another organization's is
/// [`Error::ProjectNotFound`].
pub async fn locate(calls: &Calls<'_>, project: &Project) -> Result<Whereabouts, Error> {
    let asked = Asked::of_project(calls.endpoint(), project);
    let Some(grant) = &project.grant_id else {
        let answer = calls.send(Request::get(PROJECT).id(&project.id)).await?;
        if answer.is_success() {
            return of_project(&answer, project, &asked);
        }
        return refused(&asked, &answer, &Refusal::read(&answer));
    };
    let mut answer = calls.send(Request::get(GRANT_MADE).id(&project.id).id(grant)).await?;
    if Refusal::read(&answer).meaning() == Meaning::GrantElsewhere {
        answer = calls.send(Request::get(GRANT_GIVEN).id(&project.id).id(grant)).await?;
    }
    if answer.is_success() {
        return of_grant(&answer, project, grant, &asked);
    }
    refused(&asked, &answer, &Refusal::read(&answer))
}

fn of_project(answer: &Answer, project: &Project, asked: &Asked<'_>) -> Result<Whereabouts, Error> {
    let found = answer.json::<wire::ProjectById>()?.project;
    if found.id != project.id {
        return Err(answer.nonsense("another project than was asked for"));
    }
    if is_elsewhere(project, &found.details) {
        return Err(asked.elsewhere());
    }
    Ok(Whereabouts::Here)
}

/// The server looks a grant up by its own id, whatever project the path names.
fn of_grant(answer: &Answer, project: &Project, grant: &str, asked: &Asked<'_>) -> Result<Whereabouts, Error> {
    let found = answer.json::<wire::GrantById>()?.grant;
    if found.grant_id != grant {
        return Err(answer.nonsense("another grant than was asked for"));
    }
    if found.project_id != project.id {
        return Err(asked.of_another_project(&found.project_id));
    }
    Ok(Whereabouts::Here)
}

fn refused(asked: &Asked<'_>, answer: &Answer, refusal: &Refusal) -> Result<Whereabouts, Error> {
    let error = explain::error(asked, answer, refusal);
    match refusal.meaning() {
        Meaning::NoMembership | Meaning::NoPermission { .. } => Ok(Whereabouts::Unknown(error)),
        _ => Err(error),
    }
}

/// Whether something that the server showed is another organization's than the one asked for: some version is said to
/// ignore the header (zitadel issue #12482). Members of a grant are the owner's under whatever organization they are
/// asked for.
pub fn is_elsewhere(project: &Project, shown: &wire::Details) -> bool {
    let wanted = project.organization_id.as_deref().filter(|_| project.grant_id.is_none());
    !shown.resource_owner.is_empty() && wanted.is_some_and(|wanted| wanted != shown.resource_owner)
}
