//! Everything that is known of one target at one instant, as values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::api::membership::{ManagedRole, PendingGrants, TargetStatus};
use crate::api::{ABANDON, ClusterMembershipProvider, FINALIZER, ProjectMembership, RECONCILE_AT};
use crate::core::clocks::Agreement;
use crate::core::evaluation;
use crate::core::member::{Capabilities, Member, Target, Urgency};
use crate::core::policy::Refusal;
use crate::core::policy::allow::{Governed, Namespace, ResolvedTarget};
use crate::core::policy::resync::Resync;

/// A target, its provider object and its declarations at one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The subject and the project.
    pub target: Target,
    /// The provider object through which the target is managed.
    pub provider: ProviderView,
    /// The declarations that are evaluated.
    pub declarations: Vec<Declaration>,
    /// Another provider object takes precedence on this target.
    pub shadowed: bool,
    /// The time for which everything is evaluated, by the clock that is ahead, so that an end takes effect at the
    /// earlier of the two times.
    pub now: Timestamp,
    /// The same instant on the monotonic clock.
    pub at: Instant,
    /// Whether the provider's clock and the operator's agree: a temporary grant begins only if they do.
    pub clocks: Agreement,
}

/// What a target depends on of its provider object.
#[derive(Clone, Debug)]
pub struct ProviderView {
    /// The provider object, in the form of `status.target`.
    pub name: String,
    /// The server's normalised URL.
    pub endpoint: String,
    /// What the provider supports and requires for this kind of subject.
    pub capabilities: Capabilities,
    /// Why the provider object is not ready. Only ends and revocations are carried out then.
    pub unready: Option<Refusal>,
    /// The provider object was deleted, and its last connection is only used to end grants.
    pub is_gone: bool,
    /// Why the provider object accepts no new memberships: it is being deleted.
    pub leaving: Option<Refusal>,
    /// The cluster-scoped provider object with the rules for its declarations; `None`: only the permissions of its
    /// credential limit them.
    pub cluster: Option<Arc<ClusterMembershipProvider>>,
    /// The subject is the account that the operator itself uses at the provider.
    pub is_ourselves: bool,
    /// The intervals at which the target is observed.
    pub resync: Resync,
    /// The number of the connection: another credential may have more permissions.
    pub connection: u64,
}

/// One ProjectMembership of the target.
#[derive(Clone, Debug)]
pub struct Declaration {
    pub object: Arc<ProjectMembership>,
    /// Its record of managed roles, as far as it is trusted.
    pub record: Vec<ManagedRole>,
    /// The recorded roles that the operator itself wrote, or that were there when the object was first seen; `None`: all
    /// of them. Under allow rules, any other recorded role was forged.
    pub trusted: Option<BTreeSet<String>>,
    /// The labels of its namespace; `None`: they are not known.
    pub labels: Option<BTreeMap<String, String>>,
    /// It represents access that its object left at a former endpoint.
    pub is_left_behind: bool,
}

/// What the provider holds for a target, and since when that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The member's row; `None`: a complete list contains none.
    pub member: Option<Member>,
    /// The time of the observation: when the list began, or when the operator's own later write ended.
    pub as_of: Instant,
    /// When the list began.
    pub listed: Instant,
}

impl Snapshot {
    /// How long drift may remain undetected: the shortest interval of the declarations.
    pub fn interval(&self) -> Duration {
        let own = self.declarations.iter().map(|declaration| declaration.object.spec.resync_interval.as_ref());
        let intervals = own.map(|own| self.provider.resync.membership(own));
        intervals.min().unwrap_or(self.provider.resync.provider())
    }

    /// The rules that apply to a declaration; `None`: its provider object has none.
    pub fn governed<'a>(&'a self, declaration: &'a Declaration) -> Option<Governed<'a>> {
        let place = ResolvedTarget {
            project_id: Some(&self.target.project.id),
            subject_kind: self.target.subject_kind,
            subject_id: Some(&self.target.subject_id),
        };
        self.provider.cluster.as_ref().map(|provider| Governed {
            provider: &declaration.object.spec.provider_ref.name,
            rules: &provider.spec.allow,
            namespace: Namespace { name: declaration.namespace(), labels: declaration.labels.as_ref() },
            place,
        })
    }

    /// The target in the form of `status.target`.
    pub fn target_status(&self) -> TargetStatus {
        let Target { project, subject_kind, subject_id } = &self.target;
        TargetStatus {
            provider: self.provider.name.clone(),
            endpoint: self.provider.endpoint.clone(),
            organization_id: project.organization_id.clone(),
            project_id: project.id.clone(),
            grant_id: project.grant_id.clone(),
            subject_kind: *subject_kind,
            subject_id: subject_id.clone(),
        }
    }

    /// Whether a declaration declares a role.
    pub fn declares(&self, role: &str) -> bool {
        let mut specs = self.declarations.iter().map(|declaration| &declaration.object.spec);
        specs.any(|spec| spec.roles.iter().any(|grant| grant.role == role))
    }

    /// The subject's name, if a declaration names it instead of giving an id.
    pub fn subject_name(&self) -> Option<&str> {
        self.declarations.iter().find_map(|declaration| declaration.object.spec.subject.name.as_deref())
    }
}

impl Declaration {
    /// The object's uid.
    pub fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The object's namespace.
    pub fn namespace(&self) -> &str {
        self.object.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The generation of the object's spec.
    pub fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }

    /// Whether the object is being deleted.
    pub fn is_leaving(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Whether the operator's finalizer is on the object.
    pub fn is_finalized(&self) -> bool {
        is_finalized(&self.object)
    }

    /// Whether an administrator has released the object without a revocation.
    pub fn is_abandoned(&self) -> bool {
        let annotations = self.object.metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.get(ABANDON)).is_some_and(|value| value == "true")
    }

    /// Whether the object was reported Ready for its present spec: any later difference is drift.
    pub fn is_settled(&self) -> bool {
        is_settled(&self.object)
    }

    /// Whether the status is for the present spec.
    pub fn is_observed(&self) -> bool {
        self.object.status.as_ref().is_some_and(|status| status.observed_generation == self.generation())
    }

    /// The status and the reason of the condition Ready.
    pub fn ready(&self) -> Option<(&str, &str)> {
        ready(&self.object)
    }

    /// The requested reconcile that was not handled yet.
    pub fn requested(&self) -> Option<String> {
        let handled = self.object.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
        requested(&self.object).filter(|requested| Some(requested) != handled)
    }
}

/// The value of the annotation that requests a reconcile, at most 256 characters of it.
pub fn requested(object: &ProjectMembership) -> Option<String> {
    let value = object.metadata.annotations.as_ref()?.get(RECONCILE_AT)?;
    Some(value.chars().take(256).collect())
}

/// The status and the reason of the object's condition Ready.
pub fn ready(object: &ProjectMembership) -> Option<(&str, &str)> {
    let ready = object.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((&ready.status, &ready.reason))
}

/// Whether the operator's finalizer is on the object.
pub fn is_finalized(object: &ProjectMembership) -> bool {
    object.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Whether the status of an object was lost, for example because a backup did not restore it. This excludes an object
/// whose first grant was recorded and that has no status yet.
pub fn is_status_lost(object: &ProjectMembership) -> bool {
    let observed = object.status.as_ref().map_or(-1, |status| status.observed_generation);
    let is_first = || PendingGrants::of(object).is_some_and(|pending| pending.number == 1);
    observed == -1 && is_finalized(object) && !is_first()
}

/// How urgent a pass over an object's target is, by the object alone.
pub fn urgency_of(object: &ProjectMembership, now: Timestamp) -> Urgency {
    let ends = evaluation::record_of(object, now).into_iter().filter_map(|role| role.expiration_time);
    match ends.filter(|end| *end <= now).min() {
        Some(end) => Urgency::End(end),
        None if object.metadata.deletion_timestamp.is_some() => Urgency::Revoke,
        None if is_settled(object) => Urgency::Resync,
        None => Urgency::Grant,
    }
}

/// Whether the object was reported Ready for its present spec: any later difference is drift.
pub fn is_settled(object: &ProjectMembership) -> bool {
    let Some(status) = &object.status else {
        return false;
    };
    let is_ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    is_ready && Some(status.observed_generation) == object.metadata.generation
}
