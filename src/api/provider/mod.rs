//! MembershipProvider and ClusterMembershipProvider: where memberships are stored, and with which credential.
//!
//! Both kinds have the same spec. The fields that only one of them has (`namespace` in references, sign-in with the
//! operator's own token) are removed from the other's schema in [`crate::api::crds`].

mod allow;
mod cluster;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Duration, none_yet, schema};

pub use allow::{AllowRule, NamespaceSelector, Namespaces, Operator, Requirement};
pub use cluster::{ClusterMembershipProvider, ClusterMembershipProviderSpec};

/// An Infisical or ZITADEL server and the credential to use there, for the memberships of its namespace.
#[allow(clippy::duplicated_attributes, reason = "two columns may have one type")]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "membership.dev",
    version = "v1alpha1",
    kind = "MembershipProvider",
    namespaced,
    shortname = "mp",
    category = "membership",
    status = "MembershipProviderStatus",
    derive = "PartialEq",
    doc = "An Infisical or ZITADEL server and the credential to use there, for the ProjectMemberships of its namespace.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Memberships",
        type_ = "integer",
        json_path = ".status.memberships",
        description = "How many ProjectMemberships use it"
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec['infisical','zitadel'].url"),
    printcolumn(
        name = "API",
        type_ = "string",
        json_path = ".status.api",
        description = "Which generation of the provider's API was found"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "Why it is ready or isn't, and what to do",
        priority = 1
    )
)]
#[x_kube(
    validation = Rule::new("has(self.infisical) != has(self.zitadel)")
        .message("write exactly one of infisical and zitadel: a second server needs a second provider object"),
    validation = Rule::new("has(self.infisical) == has(oldSelf.infisical) && has(self.zitadel) == has(oldSelf.zitadel)")
        .message("a provider can't turn from Infisical into ZITADEL or back: create another provider object"),
    validation = Rule::new("!has(self.infisical) || !has(oldSelf.infisical) || self.infisical.url == oldSelf.infisical.url")
        .message("url can't be changed, since memberships at the old server would be left behind: create another provider object")
        .field_path(".infisical.url"),
    validation = Rule::new(
        "!has(self.infisical) || !has(oldSelf.infisical) || \
         (has(self.infisical.organizationSlug) == has(oldSelf.infisical.organizationSlug) && \
         (!has(self.infisical.organizationSlug) || self.infisical.organizationSlug == oldSelf.infisical.organizationSlug))"
    )
        .message("organizationSlug can't be changed, added or removed, since memberships in the old organization would be left behind: create another provider object")
        .field_path(".infisical.organizationSlug"),
    validation = Rule::new("!has(self.zitadel) || !has(oldSelf.zitadel) || self.zitadel.url == oldSelf.zitadel.url")
        .message("url can't be changed, since memberships at the old server would be left behind: create another provider object")
        .field_path(".zitadel.url"),
    validation = Rule::new(
        "!has(self.zitadel) || !has(oldSelf.zitadel) || \
         (has(self.zitadel.organizationId) == has(oldSelf.zitadel.organizationId) && \
         (!has(self.zitadel.organizationId) || self.zitadel.organizationId == oldSelf.zitadel.organizationId))"
    )
        .message("organizationId can't be changed, added or removed, since memberships in the old one would be left behind: create another provider object, or write project.organizationId in the memberships")
        .field_path(".zitadel.organizationId"),
    validation = Rule::new(
        "!has(self.zitadel) || !has(oldSelf.zitadel) || \
         (has(self.zitadel.instanceHost) == has(oldSelf.zitadel.instanceHost) && \
         (!has(self.zitadel.instanceHost) || self.zitadel.instanceHost == oldSelf.zitadel.instanceHost))"
    )
        .message("instanceHost can't be changed, added or removed, since memberships at the old instance would be left behind: create another provider object")
        .field_path(".zitadel.instanceHost")
)]
#[serde(rename_all = "camelCase")]
pub struct MembershipProviderSpec {
    /// An Infisical server. Exactly one of infisical and zitadel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infisical: Option<Infisical>,
    /// A ZITADEL instance. Exactly one of infisical and zitadel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zitadel: Option<Zitadel>,
    /// The certificate authorities that the server's certificate is verified with, instead of the system's. Unset: the
    /// system's. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// The operator's request limits for the server. Unset: no limit per minute, 16 requests in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How long a manual change at the provider may last before it is detected, as 10m. A membership's own
    /// resyncInterval takes precedence; values below limits.minResyncInterval are raised to it.
    #[schemars(schema_with = "schema::duration")]
    #[serde(default = "default_resync")]
    pub resync_interval: Duration,
}

fn default_resync() -> Duration {
    Duration("10m".to_owned())
}

/// An Infisical server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Infisical {
    /// The server's address, as https://app.infisical.com or https://eu.infisical.com. Can't be changed. http only where
    /// the operator was started with --allow-http for this host.
    #[schemars(schema_with = "schema::url")]
    pub url: String,
    /// The slug of the sub-organization to sign in to; the projects are then those of this sub-organization. Unset: the
    /// organization of the machine identity. A token of tokenSecretRef already belongs to one organization. Can't be
    /// changed. Servers without sub-organizations ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::organization_slug")]
    pub organization_slug: Option<String>,
    /// Whether a user who isn't in the organization may be invited, which creates an account and sends mail. Default:
    /// false.
    #[serde(default)]
    pub invite_users: bool,
    /// How to sign in: exactly one way. May be changed at any time.
    pub auth: InfisicalAuth,
}

/// How to sign in to Infisical. Exactly one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("[has(self.universalAuth), has(self.kubernetesAuth), has(self.oidcAuth), has(self.tokenSecretRef)].exists_one(given, given)")
        .message("write exactly one way to sign in: universalAuth, kubernetesAuth, oidcAuth or tokenSecretRef")
)]
#[serde(rename_all = "camelCase")]
pub struct InfisicalAuth {
    /// Universal auth: a client id and a client secret of a machine identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universal_auth: Option<UniversalAuth>,
    /// Kubernetes auth: a token of the operator's own ServiceAccount, which Infisical verifies through the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_auth: Option<OwnToken>,
    /// OIDC auth: a token of the operator's own ServiceAccount, which Infisical verifies with its issuer's published
    /// keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc_auth: Option<OwnToken>,
    /// An access token, read from a Secret that another process keeps current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
}

/// Infisical's universal auth.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UniversalAuth {
    /// The Secret and its key that hold the client id.
    pub client_id_secret_ref: SecretKeyRef,
    /// The Secret and its key that hold the client secret.
    pub client_secret_secret_ref: SecretKeyRef,
}

/// A sign-in with a token of the operator's own ServiceAccount.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OwnToken {
    /// The id of the machine identity to sign in as, a UUID.
    #[schemars(schema_with = "schema::id")]
    pub identity_id: String,
    /// The audience of the token. The operator's Pod needs a projected token with this audience and no other, in the
    /// directory that its argument --token-directory names. The file is read again for each sign-in.
    #[schemars(schema_with = "schema::audience")]
    pub audience: String,
}

/// A ZITADEL instance.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Zitadel {
    /// The instance's address, as https://auth.example.com. Can't be changed. http only where the operator was started
    /// with --allow-http for this host.
    #[schemars(schema_with = "schema::url")]
    pub url: String,
    /// The organization that owns the projects of memberships that name none in project.organizationId. Unset: the
    /// organization of the user who signs in. Can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::organization_id")]
    pub organization_id: Option<String>,
    /// The domain of the instance, as auth.example.com or auth.example.com:8443, where the URL's host isn't one of its
    /// domains, as for calls inside the cluster. Sent as x-zitadel-instance-host. Can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::instance_host")]
    pub instance_host: Option<String>,
    /// How to sign in: exactly one of personalAccessTokenSecretRef, privateKeyJwtSecretRef and clientCredentials. May be
    /// changed at any time.
    pub auth: ZitadelAuth,
}

/// How to sign in to ZITADEL, as a machine user who may write project members. Exactly one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("[has(self.personalAccessTokenSecretRef), has(self.privateKeyJwtSecretRef), has(self.clientCredentials)].exists_one(given, given)")
        .message("write exactly one way to sign in: personalAccessTokenSecretRef, privateKeyJwtSecretRef or clientCredentials")
)]
#[serde(rename_all = "camelCase")]
pub struct ZitadelAuth {
    /// The Secret and its key that hold a personal access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal_access_token_secret_ref: Option<SecretKeyRef>,
    /// The Secret and its key that hold a key file, the JSON that ZITADEL shows once when a key is created. It signs
    /// each sign-in and is never sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_jwt_secret_ref: Option<SecretKeyRef>,
    /// A client id, which is the machine user's name, and a client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credentials: Option<ClientCredentials>,
}

/// A client id and a client secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCredentials {
    /// The Secret and its key that hold the client id.
    pub client_id_secret_ref: SecretKeyRef,
    /// The Secret and its key that hold the client secret.
    pub client_secret_secret_ref: SecretKeyRef,
}

/// Certificate authorities in PEM. Exactly one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("[has(self.inline), has(self.configMapRef), has(self.secretRef)].exists_one(given, given)")
        .message("write exactly one source of the certificates: inline, configMapRef or secretRef")
)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// The certificates themselves, in PEM (not base64-encoded again).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::certificates")]
    pub inline: Option<String>,
    /// The ConfigMap and its key that hold the certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<CaKeyRef>,
    /// The Secret and its key that hold the certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<CaKeyRef>,
}

/// One key of a ConfigMap or Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaKeyRef {
    /// The object's namespace, which must allow the operator to read it: a RoleBinding there to
    /// membership-operator-secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace")]
    pub namespace: Option<String>,
    /// The object's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The key in the object's data. Default: ca.crt.
    #[schemars(schema_with = "schema::data_key")]
    #[serde(default = "ca_crt")]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}

/// One key of a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's namespace, which must allow the operator to read it: a RoleBinding there to
    /// membership-operator-secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace")]
    pub namespace: Option<String>,
    /// The Secret's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The key in the Secret's data.
    #[schemars(schema_with = "schema::secret_key")]
    pub key: String,
}

/// The operator's request limits for the server. Unset: no limit per minute, 16 requests in flight.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Reads in any 60 seconds. Unset: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::per_minute")]
    pub reads_per_minute: Option<u32>,
    /// Writes in any 60 seconds. Unset: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::per_minute")]
    pub writes_per_minute: Option<u32>,
    /// Concurrent requests. Unset: 16. Writes to ZITADEL are always sent one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::in_flight")]
    pub max_in_flight: Option<u32>,
    /// The shortest resyncInterval, as 1m: shorter ones, of memberships and of the provider, are raised to it. Unset: 1m for
    /// a ClusterMembershipProvider, none for a MembershipProvider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub min_resync_interval: Option<Duration>,
}

/// The status of a provider object: what the operator found.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MembershipProviderStatus {
    /// The generation of the spec that this status describes; -1: the operator hasn't processed the object yet.
    #[serde(default = "none_yet")]
    #[schemars(schema_with = "schema::observed_generation")]
    pub observed_generation: i64,
    /// The conditions: Ready is True while the server can be reached and accepts the credential.
    #[serde(default)]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Which generation of the provider's API was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::status_text")]
    pub api: Option<String>,
    /// The number of ProjectMemberships that use it.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub memberships: i64,
}

impl Default for MembershipProviderStatus {
    fn default() -> Self {
        Self { observed_generation: none_yet(), conditions: Vec::new(), api: None, memberships: 0 }
    }
}
