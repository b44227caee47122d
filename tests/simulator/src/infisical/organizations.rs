//! Sub-organizations: a sign-in may choose one by `organizationSlug`, and its token is then good for the projects of that
//! one alone (`docs/reference/infisical.md`, Sub-organizations; `login` in Infisical's
//! `backend/src/services/identity-ua/identity-ua-service.ts` and its siblings).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::credentials::{Caller, Granted};
use super::errors::{Errors, Refusal};
use super::state::State;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubOrganization {
    /// The id, which is the `org` of its projects.
    pub id: String,
    pub slug: String,
    /// The identities of the root organization that are members.
    #[serde(default)]
    pub identities: BTreeSet<String>,
}

impl State {
    /// Makes the token of a sign-in one of the sub-organization that the body names, if it names one. A refusal takes the
    /// token back. Older servers know no such field.
    pub(crate) fn choose_organization(
        &mut self,
        errors: Errors,
        body: &Value,
        granted: Granted,
    ) -> Result<Granted, Refusal> {
        let Some(slug) = body["organizationSlug"].as_str().filter(|_| errors.current()) else {
            return Ok(granted);
        };
        let identity = match self.tokens.get(&granted.token).map(|token| &token.caller) {
            Some(Caller::Subject(id)) => id.clone(),
            _ => String::new(),
        };
        let found = self.sub_organizations.iter().find(|organization| organization.slug == slug).cloned();
        let refusal = match found {
            None => errors.refusal(404, "NotFound", format!("Sub organization with name {slug} not found")),
            Some(organization) if organization.identities.contains(&identity) => {
                if let Some(token) = self.tokens.get_mut(&granted.token) {
                    token.organization = Some(organization.id);
                }
                return Ok(granted);
            }
            Some(_) => {
                let message = format!("Identity not authorized to access sub organization {slug}");
                errors.refusal(401, "UnauthorizedError", message)
            }
        };
        self.tokens.remove(&granted.token);
        Err(refusal)
    }

    /// Whether an identity is there and of an organization, or was added to it.
    pub(crate) fn has_identity(&self, organization: &str, identity: &str) -> bool {
        let added = |sub: &SubOrganization| sub.id == organization && sub.identities.contains(identity);
        let known = self.identities.get(identity);
        known.is_some_and(|known| known.org == organization || self.sub_organizations.iter().any(added))
    }

    /// Whether a token is good for the project of a path, if the path has one that is there.
    pub(crate) fn is_of_the_organization(&self, token: &str, path: &str) -> bool {
        let Some(project) = path.split('/').find_map(|segment| self.projects.get(segment)) else {
            return true;
        };
        let of_sub = self.sub_organizations.iter().any(|organization| organization.id == project.org);
        match self.tokens.get(token).and_then(|token| token.organization.as_ref()) {
            Some(organization) => project.org == *organization,
            None => !of_sub,
        }
    }
}
