//! ClusterMembershipProvider: a server and a credential for the memberships of all namespaces, within its allow rules.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{AllowRule, MembershipProviderSpec, MembershipProviderStatus};

/// An Infisical or ZITADEL server and the credential to use there, for the memberships of all namespaces.
#[allow(clippy::duplicated_attributes, reason = "two columns may have one type")]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "membership.dev",
    version = "v1alpha1",
    kind = "ClusterMembershipProvider",
    shortname = "cmp",
    category = "membership",
    status = "MembershipProviderStatus",
    derive = "PartialEq",
    doc = "An Infisical or ZITADEL server and the credential to use there, for the ProjectMemberships of all namespaces, each within the allow rules.",
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
#[serde(rename_all = "camelCase")]
pub struct ClusterMembershipProviderSpec {
    /// The fields that a provider of one namespace also has.
    #[serde(flatten)]
    pub provider: MembershipProviderSpec,
    /// What the ProjectMemberships of which namespaces may grant, and which unmanaged roles they may revoke. Only what
    /// a rule allows is allowed; removing a rule stops new grants but revokes nothing. At most 64 rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow: Vec<AllowRule>,
}
