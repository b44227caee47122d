//! ProjectMemberships as the API server stores them and as the operator sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use jiff::Timestamp;
use membership_operator::api::membership::ProviderKind;
use membership_operator::api::membership::{ManagedRole, PendingGrants, ProjectMembershipStatus, RoleGrant, RoleState};
use membership_operator::api::provider::MembershipProviderSpec;
use membership_operator::api::{
    AdoptionPolicy, ClusterMembershipProvider, DeletionPolicy, FINALIZER, ManagementPolicy, PENDING_GRANTS,
    ProjectMembership, RoleManagement, SubjectKind,
};
use membership_operator::core::member::{Capabilities, Project, Target};
use membership_operator::core::policy::resync::Resync;
use membership_operator::core::record::Record;
use membership_operator::core::snapshot::{Declaration, ProviderView};
use serde_json::json;

#[derive(Clone, Debug)]
pub struct Object {
    /// As the API server stores it.
    stored: ProjectMembership,
    /// As the operator sees it: with its pending grants.
    pub seen: Arc<ProjectMembership>,
    /// Of an object of a cluster-scoped provider object: the recorded roles that the operator trusts.
    trusted: BTreeSet<String>,
    /// Recorded roles that a user forged.
    pub forged: BTreeSet<String>,
    /// The first recorded start of each role that the spec declares with a duration alone.
    pub starts: BTreeMap<String, Timestamp>,
    /// Roles that it had recorded when a write that may have granted them was sent.
    pub sent: BTreeSet<String>,
    /// When the present spec was written.
    pub since: Instant,
    /// It is not known who has written the annotation.
    is_found: bool,
}

/// The policies of an object.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    pub exclusive: bool,
    pub refuses: bool,
    pub observes: bool,
    pub orphans: bool,
}

static TEMPLATE: LazyLock<ProjectMembership> = LazyLock::new(|| {
    let object = json!({
        "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
        "metadata": {"name": "ci", "namespace": "a", "generation": 1, "creationTimestamp": "2026-11-21T11:00:00Z"},
        "spec": {
            "providerRef": {"name": "central"},
            "project": {"id": "6ec3d92b-3251-4084-9a12-ffb509a03ffc"},
            "subject": {"kind": "Identity", "id": "24160fbf-24bd-49d7-95de-feb53df75187"},
            "roles": [],
        },
    });
    serde_json::from_value(object).unwrap()
});

/// Namespace `a` may grant everything that is ever declared, namespace `b` only one role.
static CLUSTER: LazyLock<Arc<ClusterMembershipProvider>> = LazyLock::new(|| {
    let secret = json!({"namespace": "x", "name": "infisical", "key": "id"});
    let object = json!({
        "apiVersion": "membership.dev/v1alpha1", "kind": "ClusterMembershipProvider", "metadata": {"name": "central"},
        "spec": {
            "infisical": {"url": "https://infisical.example", "auth": {"universalAuth": {
                "clientIdSecretRef": secret, "clientSecretSecretRef": secret,
            }}},
            "allow": [
                {"namespaces": {"names": ["a"]}, "projects": ["*"], "roles": ["viewer", "deployer", "typo"]},
                {"namespaces": {"names": ["b"]}, "projects": ["*"], "roles": ["viewer"]},
            ],
        },
    });
    Arc::new(serde_json::from_value(object).unwrap())
});

static RESYNC: LazyLock<Resync> = LazyLock::new(|| {
    let spec: MembershipProviderSpec = serde_json::from_value(json!({})).unwrap();
    Resync::of(&spec, ProviderKind::MembershipProvider).unwrap()
});

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The monotonic time at which every history begins.
pub fn beginning() -> Instant {
    *BEGINNING
}

/// The roles that the rules allow a namespace.
pub fn allowed(namespace: &str) -> &'static [&'static str] {
    if namespace == "a" { &["viewer", "deployer", "typo"] } else { &["viewer"] }
}

pub fn target() -> Target {
    let spec = &TEMPLATE.spec;
    Target {
        project: Project { organization_id: None, id: spec.project.id.clone().unwrap(), grant_id: None },
        subject_kind: SubjectKind::Identity,
        subject_id: spec.subject.id.clone().unwrap(),
    }
}

pub fn view(capabilities: Capabilities, cluster: bool) -> ProviderView {
    ProviderView {
        name: "MembershipProvider/a/central".to_owned(),
        endpoint: "https://provider.example".to_owned(),
        capabilities,
        unready: None,
        is_gone: false,
        leaving: None,
        cluster: cluster.then(|| CLUSTER.clone()),
        is_ourselves: false,
        resync: *RESYNC,
        connection: 1,
    }
}

impl Object {
    pub fn new(
        number: usize,
        namespace: &str,
        roles: Vec<RoleGrant>,
        policies: &Policies,
        now: Timestamp,
        at: Instant,
    ) -> Self {
        let mut stored = TEMPLATE.clone();
        stored.metadata.uid = Some(format!("uid-{number}"));
        stored.metadata.namespace = Some(namespace.to_owned());
        if let Some(created) = &mut stored.metadata.creation_timestamp {
            created.0 = membership_operator::core::grants::whole_second(now);
        }
        stored.spec.roles = roles;
        let Policies { exclusive, refuses, observes, orphans } = *policies;
        stored.spec.role_management = if exclusive { RoleManagement::Exclusive } else { RoleManagement::Additive };
        if refuses {
            stored.spec.adoption_policy = AdoptionPolicy::Refuse;
        }
        if observes {
            stored.spec.management_policy = ManagementPolicy::Observe;
        }
        if orphans {
            stored.spec.deletion_policy = DeletionPolicy::Orphan;
        }
        let seen = Arc::new(stored.clone());
        Self {
            stored,
            seen,
            trusted: BTreeSet::new(),
            forged: BTreeSet::new(),
            starts: BTreeMap::new(),
            sent: BTreeSet::new(),
            since: at,
            is_found: false,
        }
    }

    pub fn uid(&self) -> &str {
        self.seen.metadata.uid.as_deref().unwrap()
    }

    pub fn namespace(&self) -> &str {
        self.seen.metadata.namespace.as_deref().unwrap()
    }

    pub fn is_leaving(&self) -> bool {
        self.seen.metadata.deletion_timestamp.is_some()
    }

    pub fn is_finalized(&self) -> bool {
        self.seen.metadata.finalizers.is_some()
    }

    /// Whether its status reports that the window of a role has ended: it stays so.
    pub fn is_expired(&self, role: &str) -> bool {
        let mut roles = self.seen.status.iter().flat_map(|status| &status.roles);
        roles.any(|known| known.role == role && known.state == RoleState::Expired)
    }

    /// What it has recorded: in its status, or in the annotation that the status does not include yet.
    pub fn record(&self) -> &[ManagedRole] {
        self.seen.status.as_ref().map_or(&[], |status| &status.managed_roles)
    }

    pub fn declaration(&self, is_governed: bool) -> Declaration {
        Declaration {
            object: self.seen.clone(),
            record: self.record().to_vec(),
            trusted: is_governed.then(|| self.trusted.clone()),
            labels: None,
            is_left_behind: false,
        }
    }

    /// A restarted operator reads the object, and trusts what it finds recorded in the status, and of the pending grants
    /// the roles that the operator adds.
    pub fn read_again(&mut self, is_governed: bool, capabilities: Capabilities) {
        self.is_found = true;
        self.complete();
        if is_governed {
            let recorded = self.stored.status.iter().flat_map(|status| &status.managed_roles);
            self.trusted = recorded.map(|role| role.role.clone()).collect();
            let added = capabilities.added_roles().map(str::to_owned);
            let found = self.record().iter().map(|role| role.role.clone()).collect::<BTreeSet<_>>();
            self.trusted.extend(added.filter(|role| found.contains(role)));
        }
    }

    fn complete(&mut self) {
        let mut seen = self.stored.clone();
        match PendingGrants::unobserved(&seen) {
            Some(pending) if self.is_found => seen.include_found(pending, true),
            Some(pending) => seen.include(pending),
            None => {}
        }
        self.seen = Arc::new(seen);
    }

    /// A user who may write the object writes the annotation of the record.
    pub fn forge_pending(&mut self, roles: Vec<ManagedRole>) {
        let pending = PendingGrants { number: PendingGrants::next_number(&self.seen), roles, ..Default::default() };
        let annotations = self.stored.metadata.annotations.get_or_insert_default();
        annotations.insert(PENDING_GRANTS.to_owned(), pending.to_annotation());
        self.is_found = true;
        self.complete();
    }

    /// A user changes the spec.
    pub fn edit(
        &mut self,
        at: Instant,
        edit: impl FnOnce(&mut membership_operator::api::membership::ProjectMembershipSpec),
    ) {
        edit(&mut self.stored.spec);
        *self.stored.metadata.generation.get_or_insert_default() += 1;
        self.since = at;
        let startless = |role: &String| {
            let mut roles = self.stored.spec.roles.iter();
            roles.any(|grant| grant.role == *role && is_startless(grant))
        };
        self.starts.retain(|role, _| startless(role));
        self.sent.retain(startless);
        self.complete();
    }

    /// A user deletes the object. Returns whether it is gone.
    pub fn delete(&mut self, now: Timestamp) -> bool {
        if self.is_leaving() {
            return false;
        }
        let created = self.stored.metadata.creation_timestamp.clone();
        self.stored.metadata.deletion_timestamp = created.map(|mut time| {
            time.0 = now;
            time
        });
        *self.stored.metadata.generation.get_or_insert_default() += 1;
        self.complete();
        !self.is_finalized()
    }

    /// The status is lost, for example because a backup does not contain it.
    pub fn lose_status(&mut self, with_annotation: bool) {
        self.stored.status = None;
        if with_annotation {
            self.stored.metadata.annotations = None;
            self.starts.clear();
            self.sent.clear();
        }
        self.complete();
        let seen = self.seen.clone();
        let recorded = seen.status.iter().flat_map(|status| &status.managed_roles);
        let started = |role: &str| recorded.clone().find(|known| known.role == role).and_then(|known| known.start_time);
        // The start of a window in which nothing was granted is in the status alone.
        self.starts.retain(|role, start| match started(role) {
            Some(recorded) => {
                *start = recorded.min(*start);
                true
            }
            None => false,
        });
    }

    /// A user with the right to write the status adds a role to the record.
    pub fn forge(&mut self, role: &str) {
        let status = self.stored.status.get_or_insert_default();
        if status.managed_roles.iter().all(|known| known.role != role) {
            let forged = ManagedRole { role: role.to_owned(), start_time: None, expiration_time: None, role_id: None };
            status.managed_roles.push(forged);
            self.forged.insert(role.to_owned());
        }
        self.complete();
    }

    /// A user requests a reconcile.
    pub fn request(&mut self, value: usize) {
        let annotations = self.stored.metadata.annotations.get_or_insert_default();
        annotations.insert(membership_operator::api::RECONCILE_AT.to_owned(), value.to_string());
        self.complete();
    }

    /// The operator records what is about to be granted.
    pub fn write_pending(&mut self, record: Record, is_governed: bool) {
        let Record { roles, carried_roles, target, finalize, .. } = record;
        let pending = PendingGrants { number: PendingGrants::next_number(&self.seen), roles, carried_roles, target };
        let annotations = self.stored.metadata.annotations.get_or_insert_default();
        annotations.insert(PENDING_GRANTS.to_owned(), pending.to_annotation());
        if finalize {
            self.stored.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        }
        self.is_found = false;
        self.complete();
        self.trust(is_governed);
    }

    /// The operator writes the status. Returns whether it differs.
    pub fn write_status(&mut self, status: ProjectMembershipStatus, is_governed: bool) -> bool {
        let pending = PendingGrants::unobserved(&self.seen).map(|pending| pending.number);
        let new =
            ProjectMembershipStatus { observed_pending_grants: pending.or(status.observed_pending_grants), ..status };
        if self.stored.status.as_ref() == Some(&new) {
            return false;
        }
        self.stored.status = Some(new);
        self.seen = Arc::new(self.stored.clone());
        self.trust(is_governed);
        true
    }

    /// The operator writes the status of an object that it has not evaluated: its pending grants stay pending. Returns
    /// whether it differs.
    pub fn write_status_of_unevaluated(&mut self, new: ProjectMembershipStatus, is_governed: bool) -> bool {
        if PendingGrants::unobserved(&self.seen).is_none() {
            return self.write_status(new, is_governed);
        }
        let ProjectMembershipStatus { managed_roles, carried_roles, target, observed_pending_grants, .. } =
            self.stored.status.clone().unwrap_or_default();
        let new = ProjectMembershipStatus { managed_roles, carried_roles, target, observed_pending_grants, ..new };
        let differs = self.stored.status.as_ref() != Some(&new);
        self.stored.status = Some(new);
        self.complete();
        differs
    }

    fn trust(&mut self, is_governed: bool) {
        if is_governed {
            let roles: Vec<String> = self.record().iter().map(|role| role.role.clone()).collect();
            self.trusted.extend(roles);
        }
    }
}

/// Whether a role is declared with a duration and without a start.
pub fn is_startless(grant: &RoleGrant) -> bool {
    grant.temporary.as_ref().is_some_and(|temporary| temporary.start_time.is_none() && temporary.duration.is_some())
}
