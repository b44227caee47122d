//! ProjectMembership: the roles that one subject is to hold in one project.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// The roles that a subject holds in a project of Infisical or ZITADEL, each for good or for a while.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "membership.dev",
    version = "v1alpha1",
    kind = "ProjectMembership",
    namespaced,
    shortname = "pm",
    category = "membership",
    status = "ProjectMembershipStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ProjectMembershipSpec {
    /// The provider that keeps the membership. Immutable.
    pub provider_ref: ProviderRef,
    /// The project at the provider. Immutable.
    pub project: ProjectRef,
    /// Who holds the roles. Immutable.
    pub subject: SubjectRef,
    /// What the subject is to hold, each role once.
    pub roles: Vec<RoleGrant>,
    /// Whether roles that no ProjectMembership declares are taken away (Exclusive) or left alone (Additive).
    #[serde(default)]
    pub role_management: RoleManagement,
    /// Whether differences are put right (Enforce) or only shown (Observe).
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// Whether a declared role that was there before becomes ours (Adopt) or is an error (Refuse).
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,
    /// Whether deleting this object revokes what it granted (Delete) or lets go of it (Orphan).
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How long a change by hand at the provider may live. Unset: the provider's resyncInterval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync_interval: Option<Duration>,
    /// Stops grants and repairs. Ends are carried out all the same.
    #[serde(default)]
    pub suspend: bool,
    /// Why this access is needed. Appears in events and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<String>,
}

/// Names a provider object.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct ProviderRef {
    /// The kind of the provider object.
    #[serde(default)]
    pub kind: ProviderKind,
    /// Its name; it lives in the namespace of the membership.
    pub name: String,
}

/// The kinds of provider objects.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderKind {
    /// A provider of one namespace.
    #[default]
    MembershipProvider,
}

/// Names a project at the provider.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct ProjectRef {
    /// The project's id: a UUID for Infisical, digits for ZITADEL.
    pub id: String,
    /// ZITADEL only: the organization that owns the project. Goes before the provider's organizationId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
}

/// Names who holds the roles.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct SubjectRef {
    /// Infisical: Identity. ZITADEL: User (human or machine).
    pub kind: SubjectKind,
    /// The subject's id at the provider.
    pub id: String,
}

/// The kinds of subjects.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    /// A machine identity of Infisical.
    Identity,
    /// A user of ZITADEL, human or machine.
    User,
}

/// One role, for good or for a while.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RoleGrant {
    /// Infisical: the role's slug. ZITADEL: the role's key, as PROJECT_OWNER.
    pub role: String,
    /// When the role runs. Unset: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporary: Option<Temporary>,
}

/// When a temporary role runs: from its start until the earlier of start + duration and expirationTime.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Temporary {
    /// How long the role runs. Counts from startTime, or from the moment the grant was first accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// When the role starts. Unset: when the grant is first accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// When the role ends at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Timestamp>,
}

macro_rules! policy {
    ($(#[$doc:meta])* $name:ident { $(#[$first_doc:meta])* $first:ident, $(#[$second_doc:meta])* $second:ident }) => {
        $(#[$doc])*
        #[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            $(#[$first_doc])*
            #[default]
            $first,
            $(#[$second_doc])*
            $second,
        }
    };
}

policy! {
    /// What happens to roles that no ProjectMembership declares.
    RoleManagement {
        /// They are taken away.
        Exclusive,
        /// They are left alone.
        Additive
    }
}
policy! {
    /// What happens when the provider differs from the declaration.
    ManagementPolicy {
        /// It is put right.
        Enforce,
        /// It is shown; nothing is ever written.
        Observe
    }
}
policy! {
    /// What happens to a declared role that was there before.
    AdoptionPolicy {
        /// It becomes ours.
        Adopt,
        /// The object is Stalled with AlreadyExists.
        Refuse
    }
}
policy! {
    /// What deleting the object does.
    DeletionPolicy {
        /// What it granted is revoked.
        Delete,
        /// Permanent roles stay; temporary ones still end.
        Orphan
    }
}

/// What the operator found and did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProjectMembershipStatus {
    /// The generation that this status speaks of; -1: none yet.
    #[serde(default = "none_yet")]
    pub observed_generation: i64,
    /// Ready always; Reconciling, Stalled and Drifted while True.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// What the references were resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetStatus>,
    /// Every declared role, in order.
    #[serde(default)]
    pub roles: Vec<RoleStatus>,
    /// What this object granted or is about to: all that it may take away, with the window last admitted.
    #[serde(default)]
    pub managed_roles: Vec<ManagedRole>,
    /// The roles in effect, for `kubectl get`.
    #[serde(default)]
    pub active_roles: String,
    /// The next start or expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_transition_time: Option<Timestamp>,
    /// What differs from the declaration.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// The last value of the annotation membership.dev/reconcile-at that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

fn none_yet() -> i64 {
    -1
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
            last_handled_reconcile_at: None,
        }
    }
}

/// What the references were resolved to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The provider object, as Kind/namespace/name.
    pub provider: String,
    /// The provider's normalised URL.
    pub endpoint: String,
    /// ZITADEL: the organization that owns the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    /// The project's id.
    pub project_id: String,
    /// The subject's kind.
    pub subject_kind: SubjectKind,
    /// The subject's id.
    pub subject_id: String,
}

/// A declared role and where it stands.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// The role as declared.
    pub role: String,
    /// Where it stands.
    pub state: RoleState,
    /// The recorded start; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// The end; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Timestamp>,
}

/// Where a declared role stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleState {
    /// In effect.
    Active,
    /// In effect, and another ProjectMembership has it in effect as well.
    Shared,
    /// Its start is to come.
    Scheduled,
    /// Its end has passed.
    Expired,
}

/// A role that this object granted or is about to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedRole {
    /// The role.
    pub role: String,
    /// The start that was last admitted; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// The end that was last admitted; permanent roles have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Timestamp>,
}

/// One difference between the declaration and the provider.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The role that differs.
    pub role: String,
    /// How it differs.
    pub kind: DriftKind,
}

/// How a role differs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftKind {
    /// Declared and not there.
    Missing,
    /// There and declared by nobody.
    Unexpected,
    /// There with another window.
    Different,
}
