//! The resource of an administrator.

use serde_json::{Value, json};

use super::wire::AdministratorItem;
use crate::core::member::Project;
use crate::provider::Error;
use crate::provider::zitadel::errors::messages::RequestContext;

/// A project, or a grant of one, which v2 names by the organization that the project is granted to.
#[derive(Clone, Debug)]
pub(crate) struct Resource<'a> {
    pub(crate) project: &'a Project,
    /// For a grant: the organization that the project is granted to.
    pub(crate) granted_to: Option<String>,
}

impl Resource<'_> {
    /// As in a request.
    pub(crate) fn json(&self) -> Value {
        let project = &self.project.id;
        match &self.granted_to {
            None => json!({"projectId": project}),
            Some(organization) => json!({"projectGrant": {"projectId": project, "organizationId": organization}}),
        }
    }

    /// Whether a row belongs to this resource: a filter that the server doesn't know lists every administrator.
    ///
    /// # Errors
    /// The project belongs to another organization than the requested one, or the grant is another than the requested
    /// one.
    pub(crate) fn has(&self, row: &AdministratorItem, asked: &RequestContext<'_>) -> Result<bool, Error> {
        let project = self.project;
        match (&self.granted_to, &row.project, &row.project_grant) {
            (None, Some(of), _) if of.id == project.id => {
                match project.organization_id.as_ref().is_some_and(|wanted| *wanted != of.organization_id) {
                    true => Err(asked.elsewhere()),
                    false => Ok(true),
                }
            }
            (Some(organization), _, Some(of)) if of.project_id == project.id => {
                if of.granted_organization_id != *organization {
                    return Ok(false);
                }
                match project.grant_id.as_ref().is_some_and(|wanted| *wanted != of.id) {
                    true => Err(asked.another_grant(&of.id)),
                    false => Ok(true),
                }
            }
            _ => Ok(false),
        }
    }
}
