//! What somebody is an administrator of.

use serde_json::{Value, json};

use super::wire::AdministratorItem;
use crate::core::member::Project;
use crate::provider::Error;
use crate::provider::zitadel::errors::messages::RequestContext;

/// A project, or a grant of one, which v2 names by the organization that the project is granted to.
#[derive(Clone, Debug)]
pub(crate) struct Resource<'a> {
    project: &'a Project,
    granted_to: Option<String>,
}

impl<'a> Resource<'a> {
    /// A project itself.
    pub(crate) fn project(project: &'a Project) -> Self {
        Self { project, granted_to: None }
    }

    /// The grant of a project to an organization.
    pub(crate) fn grant(project: &'a Project, granted_to: String) -> Self {
        Self { project, granted_to: Some(granted_to) }
    }

    /// Of a grant: the organization that the project is granted to.
    pub(crate) fn granted_to(&self) -> Option<&str> {
        self.granted_to.as_deref()
    }

    /// As it stands in a request.
    pub(crate) fn json(&self) -> Value {
        let project = &self.project.id;
        match &self.granted_to {
            None => json!({"projectId": project}),
            Some(organization) => json!({"projectGrant": {"projectId": project, "organizationId": organization}}),
        }
    }

    /// Whether a row is of this resource: a filter that the server doesn't know lists everybody.
    ///
    /// # Errors
    /// The project is another organization's than the one asked for, or the grant another than the one asked for.
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
