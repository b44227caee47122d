//! ClusterMembershipProvider: a server and a credential for the memberships of every namespace, within its rules.

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
    doc = "An Infisical or ZITADEL server and the credential to use there, for the ProjectMemberships of all namespaces: of each what the allow rules say.",
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
    /// What a provider of one namespace has as well.
    #[serde(flatten)]
    pub provider: MembershipProviderSpec,
    /// What ProjectMemberships of which namespaces may grant, and take away where nobody declared it. Nothing is allowed
    /// that no rule allows; a rule that is taken out stops new grants and revokes nothing by itself. At most 64 rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub allow: Vec<AllowRule>,
}
