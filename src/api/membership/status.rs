//! The status of a ProjectMembership: what the operator found and did.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SubjectKind;
use crate::api::{none_yet, schema, time};

/// What the operator found and did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProjectMembershipStatus {
    /// The generation of the spec that this status describes; -1: the operator hasn't processed the object yet.
    #[serde(default = "none_yet")]
    #[schemars(schema_with = "schema::observed_generation")]
    pub observed_generation: i64,
    /// The conditions: Ready always; Reconciling, Stalled and Drifted only while they are True. Their reasons are
    /// stable names, their messages explain what to do.
    #[serde(default)]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// What providerRef, project and subject were resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetStatus>,
    /// Every declared role, in order, and its state.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub roles: Vec<RoleStatus>,
    /// What this object granted or is about to grant: all that it may revoke, with the window that was last admitted.
    #[serde(default)]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub managed_roles: Vec<ManagedRole>,
    /// The roles in effect, for `kubectl get`.
    #[serde(default)]
    #[schemars(schema_with = "schema::status_roles_text")]
    pub active_roles: String,
    /// The next moment at which a role starts or ends.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "time::in_status")]
    #[schemars(schema_with = "schema::status_time")]
    pub next_transition_time: Option<Timestamp>,
    /// The differences between the declaration and the provider.
    #[serde(default)]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub drift: Vec<Drift>,
    /// Unmanaged roles that are being restored while several memberships of this subject are merged into one; otherwise
    /// empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub carried_roles: Vec<CarriedRole>,
    /// The number of the record in the annotation membership.dev/pending-grants that this status includes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub observed_pending_grants: Option<i64>,
    /// A write of this object's roles had no response and may still be carried out until this time: the roles stay
    /// recorded until then, although they may have been removed.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "time::in_status")]
    #[schemars(schema_with = "schema::status_time")]
    pub unanswered_until: Option<Timestamp>,
    /// The last value of the annotation membership.dev/reconcile-at that was handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::status_text")]
    pub last_handled_reconcile_at: Option<String>,
}

impl Default for ProjectMembershipStatus {
    fn default() -> Self {
        Self {
            observed_generation: none_yet(),
            conditions: Vec::new(),
            target: None,
            roles: Vec::new(),
            managed_roles: Vec::new(),
            active_roles: String::new(),
            next_transition_time: None,
            drift: Vec::new(),
            carried_roles: Vec::new(),
            observed_pending_grants: None,
            unanswered_until: None,
            last_handled_reconcile_at: None,
        }
    }
}

/// What the references were resolved to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The provider object, as MembershipProvider/namespace/name or ClusterMembershipProvider/name.
    #[schemars(schema_with = "schema::status_text")]
    pub provider: String,
    /// The provider's normalised URL.
    #[schemars(schema_with = "schema::status_text")]
    pub endpoint: String,
    /// ZITADEL: the organization that owns the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::status_text")]
    pub organization_id: Option<String>,
    /// The project's id.
    #[schemars(schema_with = "schema::status_text")]
    pub project_id: String,
    /// ZITADEL: the grant of the project that the membership belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::status_text")]
    pub grant_id: Option<String>,
    /// The subject's kind.
    pub subject_kind: SubjectKind,
    /// The subject's id.
    #[schemars(schema_with = "schema::status_text")]
    pub subject_id: String,
}

/// A declared role and its state.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// The role as declared.
    #[schemars(schema_with = "schema::status_text")]
    pub role: String,
    /// The role's state.
    pub state: RoleState,
    /// The recorded start; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "time::in_status")]
    #[schemars(schema_with = "schema::status_time")]
    pub start_time: Option<Timestamp>,
    /// The end; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "time::in_status")]
    #[schemars(schema_with = "schema::status_time")]
    pub expiration_time: Option<Timestamp>,
    /// What the state alone does not show, such as that the role is still in force after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::status_text")]
    pub message: Option<String>,
}

/// The state of a declared role.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleState {
    /// In effect. After its end: still in force because it could not be removed, as the message explains.
    Active,
    /// In effect, and another ProjectMembership has it in effect as well.
    Shared,
    /// Its start is in the future.
    Scheduled,
    /// Its end has passed.
    Expired,
}

/// A role that this object granted or is about to grant.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedRole {
    /// The role, by its slug (Infisical) or key (ZITADEL).
    #[schemars(schema_with = "schema::status_text")]
    pub role: String,
    /// The role's id at the provider, if it has one that does not change with the slug (custom roles of Infisical). The
    /// role is recognized by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::status_text")]
    pub role_id: Option<String>,
    /// The start that was last admitted; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "time::in_status")]
    #[schemars(schema_with = "schema::status_time")]
    pub start_time: Option<Timestamp>,
    /// The end that was last admitted; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "time::in_status")]
    #[schemars(schema_with = "schema::status_time")]
    pub expiration_time: Option<Timestamp>,
}

/// One difference between the declaration and the provider.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The role that differs.
    #[schemars(schema_with = "schema::status_text")]
    pub role: String,
    /// How it differs.
    pub kind: DriftKind,
}

/// How a role differs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftKind {
    /// Declared and not present.
    Missing,
    /// Present and not declared by any ProjectMembership.
    Unexpected,
    /// Present with another window.
    Different,
}

/// An unmanaged role that has to be restored while several memberships of the subject are merged into one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CarriedRole {
    /// The role, by its slug (Infisical) or key (ZITADEL).
    #[schemars(schema_with = "schema::status_text")]
    pub role: String,
    /// When it starts; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "time::in_status")]
    #[schemars(schema_with = "schema::status_time")]
    pub start_time: Option<Timestamp>,
    /// When it ends; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "time::in_status")]
    #[schemars(schema_with = "schema::status_time")]
    pub expiration_time: Option<Timestamp>,
    /// The length of its window, as the provider writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::status_text")]
    pub range: Option<String>,
    /// The start of its window, as the provider writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::status_text")]
    pub start: Option<String>,
}
