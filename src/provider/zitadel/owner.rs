//! Whether a project is where it is looked for.
//!
//! Under another organization a search is empty and a removal is answered with 200 (reference/zitadel.md, trap 3): that
//! nothing is there may only be believed of a project that is known to be under the organization asked for.

use super::calls::Calls;
use super::explain::{self, Asked};
use super::refusal::{Meaning, Refusal};
use super::wire;
use crate::member::Project;
use crate::provider::Error;
use crate::provider::http::Request;

const PROJECT: &str = "/management/v1/projects/{project}";

/// What is known of a project.
#[derive(Debug)]
pub enum Whereabouts {
    /// It is there, under the organization asked for.
    Here,
    /// The credential may not look. What would have been said of it.
    Unknown(Error),
}

/// Looks for a project. That it is gone or another organization's is [`Error::ProjectNotFound`].
pub async fn locate(calls: &Calls<'_>, project: &Project) -> Result<Whereabouts, Error> {
    let answer = calls.send(Request::get(PROJECT).id(&project.id)).await?;
    let asked = Asked::of_project(calls.endpoint(), project);
    if answer.is_success() {
        let found = answer.json::<wire::ProjectById>()?.project;
        if found.id != project.id {
            return Err(answer.nonsense("another project than was asked for"));
        }
        if is_elsewhere(project, &found.details) {
            return Err(asked.elsewhere());
        }
        return Ok(Whereabouts::Here);
    }
    let refusal = Refusal::read(&answer);
    let error = explain::error(&asked, &answer, &refusal);
    match refusal.meaning() {
        Meaning::NoMembership | Meaning::NoPermission { .. } => Ok(Whereabouts::Unknown(error)),
        _ => Err(error),
    }
}

/// Whether something that the server showed is another organization's than the one asked for: some version is said to
/// ignore the header (zitadel issue #12482).
pub fn is_elsewhere(project: &Project, shown: &wire::Details) -> bool {
    let wanted = project.organization_id.as_deref();
    !shown.resource_owner.is_empty() && wanted.is_some_and(|wanted| wanted != shown.resource_owner)
}
