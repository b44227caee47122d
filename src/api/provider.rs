//! MembershipProvider: where memberships are kept, and with which credential.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::Duration;

/// An Infisical or ZITADEL server and the credential to use there, for the memberships of its namespace.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "membership.dev",
    version = "v1alpha1",
    kind = "MembershipProvider",
    namespaced,
    category = "membership",
    status = "MembershipProviderStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct MembershipProviderSpec {
    /// An Infisical server. Exactly one of infisical and zitadel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infisical: Option<Infisical>,
    /// A ZITADEL instance. Exactly one of infisical and zitadel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zitadel: Option<Zitadel>,
    /// What the operator may ask of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How long a change by hand at the provider may live.
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
    /// Its URL, as https://app.infisical.com. Immutable.
    pub url: String,
    /// How to sign in.
    pub auth: InfisicalAuth,
}

/// How to sign in to Infisical. Exactly one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct InfisicalAuth {
    /// A client id and secret of universal auth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universal_auth: Option<UniversalAuth>,
    /// An access token that somebody else keeps fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKeyRef>,
}

/// Infisical's universal auth.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UniversalAuth {
    /// Where the client id is.
    pub client_id_secret_ref: SecretKeyRef,
    /// Where the client secret is.
    pub client_secret_secret_ref: SecretKeyRef,
}

/// A ZITADEL instance.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Zitadel {
    /// Its URL, as https://auth.example.com. Immutable.
    pub url: String,
    /// The organization of memberships that name none (x-zitadel-orgid). Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    /// How to sign in.
    pub auth: ZitadelAuth,
}

/// How to sign in to ZITADEL.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ZitadelAuth {
    /// A personal access token of a machine user.
    pub personal_access_token_secret_ref: SecretKeyRef,
}

/// One key of a Secret in the provider's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

/// What the operator may ask of the server. Unset: no limit a minute, 16 requests in flight.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Reads in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_per_minute: Option<u32>,
    /// Writes in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes_per_minute: Option<u32>,
    /// Requests at the same time. ZITADEL gets one write at a time whatever stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
}

/// What the operator found.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MembershipProviderStatus {
    /// The generation that this status speaks of; -1: none yet.
    #[serde(default = "none_yet")]
    pub observed_generation: i64,
    /// Ready: reachable, and the credential verified.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Which generation of the provider's API was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// How many ProjectMemberships use it.
    #[serde(default)]
    pub memberships: i64,
}

fn none_yet() -> i64 {
    -1
}

impl Default for MembershipProviderStatus {
    fn default() -> Self {
        Self { observed_generation: none_yet(), conditions: Vec::new(), api: None, memberships: 0 }
    }
}
