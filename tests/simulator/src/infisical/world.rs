//! The forms of a world of Infisical as JSON. How it is taken in is in `loading.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ClusterWorld, ErrorStyle, Generations, KubernetesLogin, OidcLogin, OrgRole, RoleRow, SubOrganization};

/// What an Infisical server holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InfisicalWorld {
    /// Which generations of the paths exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generations: Option<Generations>,
    /// Whose errors are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_style: Option<ErrorStyle>,
    /// Whether organisations use the privilege system of March 2025; left out: as the recorded ones of the server's age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_privileges: Option<bool>,
    pub projects: Vec<ProjectWorld>,
    /// The identities of the organisations.
    pub identities: Vec<IdentityWorld>,
    /// The accounts of people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserWorld>,
    /// The groups of the organisations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupWorld>,
    /// The clients of universal auth.
    pub clients: Vec<ClientWorld>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sub_organizations: Vec<SubOrganization>,
    /// Who signs in by Kubernetes auth.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kubernetes_logins: Vec<KubernetesLogin>,
    /// Who signs in by OIDC auth.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub oidc_logins: Vec<OidcLogin>,
    /// The cluster whose service accounts sign in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterWorld>,
    /// Access tokens of identities and users that don't end: token → id.
    pub tokens: BTreeMap<String, String>,
    /// Access tokens of people who may do everything: token → name.
    pub admin_tokens: BTreeMap<String, String>,
    pub memberships: Vec<MembershipWorld>,
}

/// A project with its custom roles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectWorld {
    /// The id, a UUID.
    pub id: String,
    pub slug: String,
    pub name: String,
    /// The organisation's id; [`DEFAULT_ORG`](super::DEFAULT_ORG) if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The product that it belongs to; `secret-manager` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_roles: Vec<CustomRoleWorld>,
}

/// A custom role of a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomRoleWorld {
    pub slug: String,
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
    pub name: String,
    /// How it signs in: `universal-auth`, several with commas, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
    /// The organisation's id; [`DEFAULT_ORG`](super::DEFAULT_ORG) if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// What it may do in the organisation; nothing if left out.
    #[serde(default)]
    pub org_role: OrgRole,
    /// The id of the project that manages it itself, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
}

/// A person's account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserWorld {
    /// The id, a UUID.
    pub id: String,
    /// The e-mail address, which is the username too.
    pub email: String,
    /// The first name; none before an invitation is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Its place in each organisation, by id; if left out, that of an ordinary member of
    /// [`DEFAULT_ORG`](super::DEFAULT_ORG).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<BTreeMap<String, SeatWorld>>,
}

/// A user's place in an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeatWorld {
    /// What the user may do there.
    pub role: OrgRole,
    /// Whether the invitation was accepted.
    #[serde(default = "yes")]
    pub accepted: bool,
}

fn yes() -> bool {
    true
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupWorld {
    /// The id, a UUID.
    pub id: String,
    pub slug: String,
    pub name: String,
    /// The organisation's id; [`DEFAULT_ORG`](super::DEFAULT_ORG) if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The ids of its users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
}

/// A client of universal auth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientWorld {
    pub client_id: String,
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

/// A membership of a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MembershipWorld {
    /// The project's id.
    pub project: String,
    /// The id of the identity, user or group; `identity` is read as the same.
    #[serde(alias = "identity")]
    pub subject: String,
    pub roles: Vec<RoleRow>,
}
