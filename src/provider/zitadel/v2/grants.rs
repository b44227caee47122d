//! Which organization a grant is made to: v2 names grants by it, and shows their ids only in the rows of their
//! administrators (internal-permissions-v2.json, "grant: list" and "grant: grantId instead of organizationId").

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::resource::Resource;
use super::{list, owner, wire};
use crate::core::member::Project;
use crate::provider::Error;
use crate::provider::http::{Method, Request};
use crate::provider::zitadel::client::Calls;
use crate::provider::zitadel::errors::ServerRefusal;
use crate::provider::zitadel::errors::messages::{self, RequestContext};
use crate::provider::zitadel::list::{PAGE, ProjectPresence};

/// Not recorded; ZITADEL's source, proto/zitadel/project/v2/project_service.proto.
const GRANTS: &str = "/zitadel.project.v2.ProjectService/ListProjectGrants";

/// How many organizations are asked for their administrators to find a grant.
const MOST_ASKED: usize = 20;

/// The organizations that grants were found to be made to, by grant; that never changes.
#[derive(Debug, Default)]
pub(crate) struct GrantedTo(Mutex<HashMap<String, String>>);

impl GrantedTo {
    /// Forgets the grants whose ids (in lower case) are in use no more.
    pub fn forget_unused(&self, in_use: &dyn Fn(&str) -> bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|grant, _| in_use(&grant.to_ascii_lowercase()));
    }

    /// What the members of `project` are administrators of.
    pub(crate) async fn resource<'a>(&self, calls: &Calls<'_>, project: &'a Project) -> Result<Resource<'a>, Error> {
        let Some(grant) = &project.grant_id else {
            return Ok(Resource::project(project));
        };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(grant).cloned();
        let organization = match known {
            Some(organization) => organization,
            None => {
                let found = find(calls, project, grant).await?;
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(grant.clone(), found.clone());
                found
            }
        };
        Ok(Resource::grant(project, organization))
    }
}

/// The organizations that a project is granted to.
#[derive(Debug)]
pub(crate) struct GrantedOrganizations {
    pub(crate) organizations: Vec<String>,
    /// None is hidden.
    pub(crate) complete: bool,
}

/// Asks for the organizations that a project is granted to.
pub(crate) async fn of(calls: &Calls<'_>, project: &Project) -> Result<GrantedOrganizations, Error> {
    let filters = json!([{"inProjectIdsFilter": {"ids": [project.id]}}]);
    let body = json!({"pagination": {"limit": PAGE}, "filters": filters});
    let answer = calls.send_about_none(Request::new(Method::Post, GRANTS).json(&body).reads().list()).await?;
    if !answer.is_success() {
        let asked = RequestContext::of_project(calls.endpoint(), project);
        return Err(messages::error(&asked, &answer, &ServerRefusal::read(&answer)));
    }
    let page: wire::Grants = answer.json()?;
    let complete = u64::try_from(page.project_grants.len()).is_ok_and(|rows| rows == page.pagination.total_result);
    let ours = page.project_grants.into_iter().filter(|grant| grant.project_id == project.id);
    Ok(GrantedOrganizations { organizations: ours.map(|grant| grant.granted_organization_id).collect(), complete })
}

/// `organizationId` may be the organization that the project is granted to, or the one that owns it: then the grant is
/// known by its administrators.
async fn find(calls: &Calls<'_>, project: &Project, grant: &str) -> Result<String, Error> {
    let granted = of(calls, project).await?;
    if let Some(organization) = &project.organization_id
        && granted.organizations.contains(organization)
    {
        return Ok(organization.clone());
    }
    if granted.organizations.is_empty()
        && let ProjectPresence::Unknown(error) = owner::no_grant(calls, project, granted.complete).await?
    {
        return Err(error);
    }
    for organization in granted.organizations.into_iter().take(MOST_ASKED) {
        if list::grant_id(calls, project, &organization).await?.is_some_and(|found| found == grant) {
            return Ok(organization);
        }
    }
    Err(RequestContext::of_project(calls.endpoint(), project).unknown_grant())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_organizations_of_grants_that_are_in_use_no_more_are_forgotten() {
        let known = GrantedTo::default();
        (0..3_000).for_each(|grant| drop(known.0.lock().unwrap().insert(grant.to_string(), "organization".to_owned())));
        known.forget_unused(&|id| id == "7");
        assert_eq!(known.0.lock().unwrap().len(), 1);
    }
}
