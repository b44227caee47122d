//! Determines which organization received a grant: v2 names grants by it, and shows their ids only in the rows of their
//! administrators (internal-permissions-v2.json, "grant: list" and "grant: grantId instead of organizationId").

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::json;

use super::resource::Resource;
use super::{grant_id, owner, wire};
use crate::core::member::Project;
use crate::provider::zitadel::client::{Calls, search};
use crate::provider::zitadel::list::PAGE;
use crate::provider::zitadel::wire::Page;
use crate::provider::{Error, locked};

/// Not recorded; ZITADEL's source, proto/zitadel/project/v2/project_service.proto.
const GRANTS: &str = "/zitadel.project.v2.ProjectService/ListProjectGrants";

/// The most organizations whose administrators are listed to find a grant.
const MOST_ASKED: usize = 20;

/// The organizations that received grants, by grant; that never changes.
#[derive(Debug, Default)]
pub(crate) struct GrantedTo(Mutex<HashMap<String, String>>);

impl GrantedTo {
    /// Drops the grants whose ids (in lower case) are no longer in use.
    pub fn forget_unused(&self, in_use: &dyn Fn(&str) -> bool) {
        locked(&self.0).retain(|grant, _| in_use(&grant.to_ascii_lowercase()));
    }

    /// The resource of the members of `project`.
    pub(crate) async fn resource<'a>(&self, calls: &Calls<'_>, project: &'a Project) -> Result<Resource<'a>, Error> {
        let Some(grant) = &project.grant_id else {
            return Ok(Resource { project, granted_to: None });
        };
        let known = locked(&self.0).get(grant).cloned();
        let organization = match known {
            Some(organization) => organization,
            None => {
                let found = find(calls, project, grant).await?;
                locked(&self.0).insert(grant.clone(), found.clone());
                found
            }
        };
        Ok(Resource { project, granted_to: Some(organization) })
    }
}

/// The organizations that a project is granted to.
#[derive(Debug)]
pub(crate) struct GrantedOrganizations {
    pub(crate) organizations: Vec<String>,
    /// None is hidden.
    pub(crate) complete: bool,
}

/// Requests the organizations that a project is granted to.
pub(crate) async fn of(calls: &Calls<'_>, project: &Project) -> Result<GrantedOrganizations, Error> {
    let filters = json!([{"inProjectIdsFilter": {"ids": [project.id]}}]);
    let body = json!({"pagination": {"limit": PAGE}, "filters": filters});
    let page: Page<wire::GrantItem> =
        calls.send_about_none(&calls.about(project), search(GRANTS, &body)).await?.json()?;
    let complete = u64::try_from(page.result.len()).is_ok_and(|rows| rows == page.details.total_result);
    let ours = page.result.into_iter().filter(|grant| grant.project_id == project.id);
    Ok(GrantedOrganizations { organizations: ours.map(|grant| grant.granted_organization_id).collect(), complete })
}

/// `organizationId` may be the organization that the project is granted to, or the one that owns it: then the grant is
/// identified by its administrators.
async fn find(calls: &Calls<'_>, project: &Project, grant: &str) -> Result<String, Error> {
    let granted = of(calls, project).await?;
    if let Some(organization) = &project.organization_id
        && granted.organizations.contains(organization)
    {
        return Ok(organization.clone());
    }
    if granted.organizations.is_empty() {
        return Err(owner::no_grant(calls, project, granted.complete).await.into());
    }
    for organization in granted.organizations.into_iter().take(MOST_ASKED) {
        if grant_id(calls, project, &organization).await?.is_some_and(|found| found == grant) {
            return Ok(organization);
        }
    }
    Err(calls.about(project).unknown_grant())
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
