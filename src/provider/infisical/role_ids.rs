//! The ids of a project's custom roles, for lists that show their slugs only: on the newest path those of identities
//! (Infisical's `backend/src/services/membership-identity/membership-identity-dal.ts`, `findIdentities`).

use std::collections::HashMap;

use serde::Deserialize;

use super::client::locked;
use super::errors::{Meaning, Operation, RequestContext};
use super::{Infisical, routes};
use crate::api::SubjectKind;
use crate::provider::Error;
use crate::provider::session::PermitUse;

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

impl Infisical {
    /// The ids of a project's roles as they are now: an old answer would take a role that was deleted and created again
    /// for the one that it was. None where the credential may not read roles, which is asked again when the provider is
    /// checked.
    pub(crate) async fn role_ids(
        &self,
        permit_use: &PermitUse<'_>,
        project: &str,
        kind: SubjectKind,
    ) -> Result<RoleIds, Error> {
        if locked(&self.hidden_roles).contains(project) {
            return Ok(RoleIds::new());
        }
        let asked = RequestContext { operation: Operation::List, kind, project, subject: "", roles: &[] };
        match self.ask(permit_use, &asked, routes::roles(project)).await {
            Ok(answer) => {
                let Roles { roles } = answer.json()?;
                Ok(roles.into_iter().map(|role| (role.slug, role.id)).collect())
            }
            Err(Meaning::Other(error)) if !matches!(error, Error::Forbidden { .. }) => Err(error),
            Err(_) => {
                locked(&self.hidden_roles).insert(project.to_owned());
                Ok(RoleIds::new())
            }
        }
    }
}
