//! The ids of a project's custom roles, for lists that show their slugs only: on the newest path those of identities
//! (Infisical's `backend/src/services/membership-identity/membership-identity-dal.ts`, `findIdentities`).

use std::collections::HashMap;

use serde::Deserialize;

use super::client::Calls;
use super::errors::{Meaning, Operation, RequestContext};
use super::routes;
use crate::api::SubjectKind;
use crate::provider::{Error, locked};

/// The ids of custom roles, by slug.
pub(crate) type RoleIds = HashMap<String, String>;

#[derive(Deserialize)]
struct Roles {
    roles: Vec<Role>,
}

#[derive(Deserialize)]
struct Role {
    id: String,
    slug: String,
}

impl Calls<'_> {
    /// The current ids of a project's roles: with a cached response, a role that was deleted and created again would
    /// count as the former one. None if the credential may not read roles; that is tried again when the provider is
    /// checked.
    pub(crate) async fn role_ids(&self, project: &str, kind: SubjectKind) -> Result<RoleIds, Error> {
        let hidden_roles = &self.infisical.hidden_roles;
        if locked(hidden_roles).contains(project) {
            return Ok(RoleIds::new());
        }
        let asked = RequestContext::new(Operation::List, kind, project, "");
        match self.ask(&asked, routes::roles(project)).await {
            Ok(answer) => {
                let Roles { roles } = answer.json()?;
                Ok(roles.into_iter().map(|role| (role.slug, role.id)).collect())
            }
            Err(Meaning::Other(error)) if !matches!(error, Error::Forbidden { .. }) => Err(error),
            Err(_) => {
                locked(hidden_roles).insert(project.to_owned());
                Ok(RoleIds::new())
            }
        }
    }
}
