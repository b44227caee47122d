//! The allow rules of a ClusterMembershipProvider.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Duration, SubjectKind, schema};

/// What some namespaces may grant: everything that fits all fields of the rule.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct AllowRule {
    /// The namespaces whose ProjectMemberships the rule applies to.
    pub namespaces: Namespaces,
    /// The ids of the projects, as the provider shows them; "*" is every project. A ZITADEL project includes its grants
    /// to other organizations. 1 to 64.
    #[schemars(schema_with = "schema::allowed_projects")]
    pub projects: Vec<String>,
    /// The kinds of subjects. Unset: every kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub subject_kinds: Vec<SubjectKind>,
    /// The ids of the subjects, as the provider shows them. Unset: every subject. 1 to 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::allowed_subjects")]
    pub subjects: Vec<String>,
    /// The roles; "*" is every role. 1 to 64.
    #[schemars(schema_with = "schema::allowed_roles")]
    pub roles: Vec<String>,
    /// The longest time for which a role may be granted, from its start to its end, as 4h. If it is set, only temporary
    /// grants are allowed. Unset: grants of any length, also permanent ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub max_duration: Option<Duration>,
    /// Whether a grant must have an expirationTime, so that applying a ProjectMembership to a new cluster doesn't
    /// restart it. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_expiration_time: bool,
}

/// Namespaces by name or by their labels.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[x_kube(
    validation = Rule::new("has(self.names) != has(self.selector)")
        .message("write exactly one of namespaces.names and namespaces.selector; selector: {} is every namespace")
)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// The names of the namespaces. 1 to 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::namespaces")]
    pub names: Vec<String>,
    /// Instead of the names: a selector of the namespaces' labels. Anyone who can label a namespace can then make the
    /// rule apply to it. Empty: every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// A label selector, as in Kubernetes: all requirements must be met.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that must be present with these values. At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements on labels. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub match_expressions: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[x_kube(
    validation = Rule::new("has(self.values) == (self.operator == 'In' || self.operator == 'NotIn')")
        .message("In and NotIn need values; Exists and DoesNotExist take none")
)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The label's key.
    #[schemars(schema_with = "schema::label_key")]
    pub key: String,
    /// In, NotIn (also met if the label is absent), Exists or DoesNotExist.
    pub operator: Operator,
    /// The values for In and NotIn. 1 to 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::label_values")]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The label is present with one of the values.
    In,
    /// The label isn't present with any of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}
