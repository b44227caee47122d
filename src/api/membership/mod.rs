//! ProjectMembership: the roles that one subject is to hold in one project.

mod pending;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Time, schema};

pub use pending::PendingGrants;
pub use status::{
    CarriedRole, Drift, DriftKind, ManagedRole, ProjectMembershipStatus, RoleState, RoleStatus, TargetStatus,
};

/// The roles that a subject holds in a project of Infisical or ZITADEL, each permanent or temporary.
#[allow(clippy::duplicated_attributes, reason = "two columns may have one type")]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "membership.dev",
    version = "v1alpha1",
    kind = "ProjectMembership",
    namespaced,
    shortname = "pm",
    category = "membership",
    status = "ProjectMembershipStatus",
    derive = "PartialEq",
    doc = "The roles that a subject holds in a project of Infisical or ZITADEL, each permanent or temporary.",
    // Ordered and chosen for a terminal 120 characters wide: the columns that show whether access is as declared come
    // first; project and subject, which are mostly UUIDs, are wide.
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Roles",
        type_ = "string",
        json_path = ".status.activeRoles",
        description = "The roles in effect"
    ),
    printcolumn(
        name = "Next",
        type_ = "string",
        json_path = ".status.nextTransitionTime",
        description = "The next moment at which a role starts or ends"
    ),
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.providerRef.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Project", type_ = "string", json_path = ".spec.project['id','name']", priority = 1),
    printcolumn(name = "Subject", type_ = "string", json_path = ".spec.subject['id','name']", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "Why it is ready or isn't, and what to do",
        priority = 1
    )
)]
#[x_kube(
    validation = Rule::new(
        "self.providerRef.name == oldSelf.providerRef.name && \
         (has(self.providerRef.kind) && self.providerRef.kind == 'ClusterMembershipProvider') == \
         (has(oldSelf.providerRef.kind) && oldSelf.providerRef.kind == 'ClusterMembershipProvider')"
    )
        .message("providerRef can't be changed: delete this object and create one for the other provider")
        .field_path(".providerRef"),
    validation = Rule::new("self.project == oldSelf.project")
        .message("project can't be changed, nor one of its fields added or removed: delete this object and create one for the other project")
        .field_path(".project"),
    validation = Rule::new("self.subject == oldSelf.subject")
        .message("subject can't be changed: delete this object and create one for the other subject")
        .field_path(".subject")
)]
#[serde(rename_all = "camelCase")]
pub struct ProjectMembershipSpec {
    /// The provider object that configures the server that stores the membership, and the credential. Can't be changed.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub provider_ref: ProviderRef,
    /// The project at the provider. Can't be changed.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub project: ProjectRef,
    /// Who holds the roles. Can't be changed.
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub subject: SubjectRef,
    /// What the subject is to hold: 1 to 32 roles, each once. Several ProjectMemberships may name one subject in one
    /// project; it then holds what any of them has in effect.
    ///
    /// The list is atomic: anyone who applies it with server-side apply owns all of it, and removes what others added.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.all(grant, self.exists_one(other, other.role == grant.role))")
            .message("a role is declared more than once: leave one entry for each role; to change when it runs, change its entry")
    )]
    pub roles: Vec<RoleGrant>,
    /// What happens to roles of this subject that no ProjectMembership has in effect: Exclusive revokes them, Additive
    /// leaves them unchanged. Of several objects with the same subject and project, one Exclusive is enough.
    #[serde(default)]
    pub role_management: RoleManagement,
    /// What happens if the provider differs from this object: Enforce corrects it, Observe reports it in status.drift
    /// and writes nothing. What was granted before a change to Observe still expires at its end.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// What happens if the subject already holds a declared role: Adopt manages it from then on, so that it expires and
    /// is revoked with this object; Refuse stops with the reason AlreadyExists.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,
    /// What deleting this object does: Delete revokes what it granted, Orphan leaves permanent roles at the provider.
    /// Temporary roles expire in both cases.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How long a manual change at the provider may last before it is detected, as 10m. Unset: the provider's
    /// resyncInterval. A value below the provider's limits.minResyncInterval is raised to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub resync_interval: Option<Duration>,
    /// Stops grants and repairs. What was granted still expires at its end, and is revoked when the object is deleted.
    #[serde(default)]
    pub suspend: bool,
    /// Why this access is needed, as "INC-4711: hotfix rollout". Appears in events and logs. At most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::justification")]
    pub justification: Option<String>,
}

/// A reference to a provider object.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct ProviderRef {
    /// The kind of the provider object: MembershipProvider, in the namespace of the membership, or
    /// ClusterMembershipProvider, whose allow rules determine what this namespace may grant. Default:
    /// MembershipProvider.
    #[serde(default)]
    pub kind: ProviderKind,
    /// The name of the provider object.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// The kinds of provider objects.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderKind {
    /// A provider of one namespace.
    #[default]
    MembershipProvider,
    /// A provider of the cluster.
    ClusterMembershipProvider,
}

/// A reference to a project at the provider, by id or by name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[x_kube(
    validation = Rule::new("has(self.id) != has(self.name)")
        .message("write exactly one of project.id and project.name"),
    validation = Rule::new("!has(self.organizationId) || !has(self.id) || self.id.matches('^[0-9]+$')")
        .message("organizationId is for ZITADEL, whose project ids are digits: omit it for an Infisical project, or write ZITADEL's project id")
        .field_path(".organizationId"),
    validation = Rule::new("!has(self.grantId) || !has(self.id) || self.id.matches('^[0-9]+$')")
        .message("grantId is for ZITADEL, whose project ids are digits: omit it for an Infisical project, or write ZITADEL's project id")
        .field_path(".grantId")
)]
#[serde(rename_all = "camelCase")]
pub struct ProjectRef {
    /// The project's id. Infisical: a UUID (Project Settings, Copy Project ID). ZITADEL: digits (the project's Resource Id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::id")]
    pub id: Option<String>,
    /// Instead of the id: Infisical's project slug, or the name of a ZITADEL project, in its organization.
    ///
    /// A name is resolved once, and the result is kept in status.target: renaming the project later, or giving its name
    /// to another one, changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::project_name")]
    pub name: Option<String>,
    /// ZITADEL only: the organization that owns the project. Unset: the provider's organizationId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::organization_id")]
    pub organization_id: Option<String>,
    /// ZITADEL only: the grant of the project to another organization. The membership is then one of this grant instead
    /// of the project (PROJECT_GRANT_OWNER, PROJECT_GRANT_OWNER_VIEWER).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::grant_id")]
    pub grant_id: Option<String>,
}

/// A reference to the subject that holds the roles, by id or by name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[x_kube(
    validation = Rule::new("has(self.id) != has(self.name)")
        .message("write exactly one of subject.id and subject.name")
)]
#[serde(rename_all = "camelCase")]
pub struct SubjectRef {
    /// What the subject is. Infisical: Identity (a machine identity), User or Group. ZITADEL: User, human or machine.
    pub kind: SubjectKind,
    /// The subject's id at the provider. Infisical: a UUID (of a user, not of its membership). ZITADEL: digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::id")]
    pub id: Option<String>,
    /// Instead of the id. Infisical: the identity's name, the user's e-mail or username, the group's slug. ZITADEL: the
    /// user's name, login name or e-mail.
    ///
    /// A name is resolved once, and the result is kept in status.target: a subject that gets the name later inherits
    /// nothing. If the subject no longer exists, delete this object and create it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::subject_name")]
    pub name: Option<String>,
}

/// The kinds of subjects.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    /// A machine identity of Infisical.
    Identity,
    /// A user: of Infisical, or of ZITADEL, human or machine.
    User,
    /// A group of users of Infisical.
    Group,
}

/// One role, permanent or temporary.
// An empty `temporary:` would be an unintended permanent grant. `has` treats a null as absent, so the fields are
// counted. (Client-side `kubectl apply` drops the null before it is sent; that one can't be detected.)
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.temporary) || size(dyn(self)) == 1")
        .message("temporary is empty: set duration (as 2h), expirationTime, or both; for a permanent role omit temporary")
        .field_path(".temporary")
)]
#[serde(rename_all = "camelCase")]
pub struct RoleGrant {
    /// The role. Infisical: its slug, as viewer, or of a custom role as deployer. ZITADEL: its key, as PROJECT_OWNER.
    #[schemars(schema_with = "schema::role")]
    pub role: String,
    /// When the role is in effect. Unset: permanently.
    ///
    /// It needs an end: duration, expirationTime, or both, in which case the earlier one applies. `duration: 2h` alone
    /// counts from the moment the grant is first accepted; applying the object again, or changing other fields, doesn't
    /// restart it. To request a new window, set a new startTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub temporary: Option<Temporary>,
}

/// When a temporary role is in effect: from its start until the earlier of start + duration and expirationTime.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.duration) || has(self.expirationTime)")
        .message("a temporary role needs an end: set duration (as 2h), expirationTime, or both; for a permanent role omit temporary"),
    validation = Rule::new("!has(self.startTime) || !has(self.expirationTime) || self.startTime < self.expirationTime")
        .message("expirationTime must be after startTime: write a later expirationTime or an earlier startTime")
        .field_path(".expirationTime")
)]
#[serde(rename_all = "camelCase")]
pub struct Temporary {
    /// How long the role is in effect, as 90m, 1h30m, 2h or 1d (units w d h m s), at most ten years. Counts from
    /// startTime; without one from the moment the grant was first accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub duration: Option<Duration>,
    /// When the role starts, as 2026-12-01T08:00:00Z. Unset: when the grant is first accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub start_time: Option<Time>,
    /// When the role ends at the latest, as 2026-12-01T12:00:00Z, regardless of its duration. From this instant on the
    /// subject doesn't hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub expiration_time: Option<Time>,
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
        /// They are revoked.
        Exclusive,
        /// They are left unchanged.
        Additive
    }
}
policy! {
    /// What happens if the provider differs from the declaration.
    ManagementPolicy {
        /// The difference is corrected.
        Enforce,
        /// The difference is reported; nothing is ever written.
        Observe
    }
}
policy! {
    /// What happens to a declared role that existed before.
    AdoptionPolicy {
        /// It becomes managed.
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
        /// Permanent roles remain; temporary ones still expire.
        Orphan
    }
}
