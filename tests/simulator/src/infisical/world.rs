//! A world of Infisical as JSON, and how it is taken in.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ErrorStyle, Generations, Infisical, RoleRow};

/// What an Infisical server holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InfisicalWorld {
    /// Which generations of the identity-membership path exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generations: Option<Generations>,
    /// Whose errors are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_style: Option<ErrorStyle>,
    /// The projects.
    pub projects: Vec<ProjectWorld>,
    /// The identities of the organisation.
    pub identities: Vec<IdentityWorld>,
    /// The clients of universal auth.
    pub clients: Vec<ClientWorld>,
    /// Access tokens of identities that don't end: token → identity id.
    pub tokens: BTreeMap<String, String>,
    /// Access tokens of people who may do everything: token → name.
    pub admin_tokens: BTreeMap<String, String>,
    /// The memberships.
    pub memberships: Vec<MembershipWorld>,
}

/// A project with its custom roles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectWorld {
    /// The id, a UUID.
    pub id: String,
    /// The slug.
    pub slug: String,
    /// The name.
    pub name: String,
    /// The custom roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_roles: Vec<CustomRoleWorld>,
}

/// A custom role of a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomRoleWorld {
    /// The slug.
    pub slug: String,
    /// The name.
    pub name: String,
    /// What it may do, such as `identity:read`.
    #[serde(default)]
    pub rights: Vec<String>,
}

/// A machine identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityWorld {
    /// The id, a UUID.
    pub id: String,
    /// The name.
    pub name: String,
    /// How it signs in: `universal-auth`, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
}

/// A client of universal auth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientWorld {
    /// The client id.
    pub client_id: String,
    /// The secret.
    pub client_secret: String,
    /// The identity that signs in with it.
    pub identity: String,
    /// How long its access tokens live, in seconds; 30 days by default.
    #[serde(default = "default_ttl")]
    pub token_ttl: u32,
    /// How long with renewals, in seconds; 30 days by default.
    #[serde(default = "default_ttl")]
    pub token_max_ttl: u32,
}

fn default_ttl() -> u32 {
    super::DEFAULT_TTL
}

/// A membership of an identity in a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MembershipWorld {
    /// The project's id.
    pub project: String,
    /// The identity's id.
    pub identity: String,
    /// Its roles.
    pub roles: Vec<RoleRow>,
}

impl Infisical {
    /// Adds a world to what is there.
    pub fn load(&self, world: &InfisicalWorld) {
        if let Some(generations) = world.generations {
            self.set_generations(generations);
        }
        if let Some(style) = world.error_style {
            self.set_error_style(style);
        }
        for project in &world.projects {
            self.add_project(&project.id, &project.slug, &project.name);
            for role in &project.custom_roles {
                let rights: Vec<&str> = role.rights.iter().map(String::as_str).collect();
                self.add_custom_role_with(&project.id, &role.slug, &role.name, &rights);
            }
        }
        for identity in &world.identities {
            self.add_identity(&identity.id, &identity.name);
            self.state().identity(&identity.id).auth_method.clone_from(&identity.auth_method);
        }
        for client in &world.clients {
            self.add_client(&client.client_id, &client.client_secret, &client.identity);
            let seconds = |seconds: u32| Duration::from_secs(seconds.into());
            self.set_token_lives(&client.client_id, seconds(client.token_ttl), seconds(client.token_max_ttl));
        }
        for (token, identity) in &world.tokens {
            self.add_token(token, identity);
        }
        for (token, name) in &world.admin_tokens {
            self.add_admin_token(token, name);
        }
        for membership in &world.memberships {
            self.add_membership(&membership.project, &membership.identity, membership.roles.clone());
        }
    }

    /// What is there, without secrets and tokens. Memberships show all their rows, ended ones among them.
    pub fn world(&self) -> InfisicalWorld {
        let state = self.state();
        let membership = |m: &super::state::Membership| MembershipWorld {
            project: m.project.clone(),
            identity: m.identity.clone(),
            roles: m
                .rows
                .iter()
                .map(|row| RoleRow {
                    id: row.id.clone(),
                    role: state.slug_of(&m.project, &row.role),
                    temporary: row.window.clone(),
                })
                .collect(),
        };
        let custom_role = |role: &super::state::CustomRole| CustomRoleWorld {
            slug: role.slug.clone(),
            name: role.name.clone(),
            rights: role.rights.iter().cloned().collect(),
        };
        InfisicalWorld {
            generations: Some(state.generations),
            error_style: Some(state.style),
            projects: state
                .projects
                .values()
                .map(|project| ProjectWorld {
                    id: project.id.clone(),
                    slug: project.slug.clone(),
                    name: project.name.clone(),
                    custom_roles: project.roles.iter().map(custom_role).collect(),
                })
                .collect(),
            identities: state
                .identities
                .values()
                .map(|identity| IdentityWorld {
                    id: identity.id.clone(),
                    name: identity.name.clone(),
                    auth_method: identity.auth_method.clone(),
                })
                .collect(),
            memberships: state.memberships.all().map(membership).collect(),
            ..InfisicalWorld::default()
        }
    }
}
