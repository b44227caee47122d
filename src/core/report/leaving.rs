//! What is reported about an object that is being deleted, and when it is released.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Report, ReportInputs};
use crate::api::membership::{PendingGrants, ProjectMembershipStatus, RoleState, RoleStatus};
use crate::api::{DeletionPolicy, FINALIZER, ProjectMembership, Reason};
use crate::core::error::{Error, Retry};
use crate::core::evaluation;
use crate::core::late_writes;
use crate::core::layers;
use crate::core::member::{Member, Term};
use crate::core::policy::Refusal;
use crate::core::status::{self, ReadyCondition};
use crate::core::step::PassEnd;

/// What a user can do about a revocation that the provider refuses permanently.
const RELEASE: &str = "To release the object without revoking, set spec.deletionPolicy to Orphan (permanent roles remain), or let an administrator set the annotation membership.dev/abandon to \"true\" (all access remains)";

impl ReportInputs<'_> {
    /// The report of a declaration that is being deleted: it is released, or the report explains why it is kept.
    pub fn leaving(&self) -> Report {
        if self.is_released() {
            let ready_condition = ReadyCondition::new(Reason::Progressing, "");
            let status = self.object().status.clone().unwrap_or_default();
            return Report { ready_condition, status, overdue: BTreeSet::new(), is_released: true };
        }
        let everything: BTreeSet<String> = self.layer().managed.keys().cloned().collect();
        let others = || self.layers.iter().filter(|other| other.uid != self.layer().uid);
        // Roles that other declarations keep are not to be revoked, regardless of the provider's response.
        let kept = |role: &String| others().any(|other| other.keeps(role, self.now()));
        let failure = self.failure();
        let is_handed_over = match failure {
            None => !layers::successors_to_wait_for(self.layer(), self.layers, self.now()).is_empty(),
            Some(_) => everything.iter().all(kept),
        };
        let why = self.why_it_stays();
        let awaits_late_write = self.memory.late_writes.awaited(self.layers.iter(), self.now()).is_some();
        if failure.is_none() && !is_handed_over && awaits_late_write && self.is_removed() {
            let message = "the access was removed; a write that granted it had no response and may still be carried out: the object is released when the provider doesn't show the access a minute later";
            let report = self.reported(ReadyCondition::new(Reason::Progressing, message));
            return Report { overdue: BTreeSet::new(), ..report };
        }
        let message = match failure {
            _ if is_handed_over => {
                "other declarations of this target keep roles of this object: waiting until they have recorded them"
                    .to_owned()
            }
            Some((error, _)) if error.retry() == Retry::Terminal => {
                format!("the access couldn't be revoked yet: {}. {RELEASE}", why.message)
            }
            Some(_) | None => format!("the access couldn't be revoked yet: {}", why.message),
        };
        let report = self.reported(ReadyCondition::new(Reason::RevokeFailed, message.clone()));
        let overdue = match is_handed_over {
            true => BTreeSet::new(),
            false => Some(report.overdue).filter(|roles| !roles.is_empty()).unwrap_or(everything),
        };
        // The cause is reported in the event and the metric.
        Report { ready_condition: ReadyCondition::new(why.reason, message), overdue, ..report }
    }

    fn why_it_stays(&self) -> ReadyCondition {
        match (&self.snapshot.provider.unready, self.failure()) {
            (Some(Refusal { reason, message }), None) => ReadyCondition::new(
                *reason,
                format!("{message}. Correct that, or set deletionPolicy: Orphan to leave permanent roles in place"),
            ),
            (_, _) => self.ready_condition(),
        }
    }

    /// Whether nothing of the declaration is left to revoke.
    fn is_released(&self) -> bool {
        let layer = self.layer();
        let nothing_left =
            |shown: &BTreeSet<String>| layers::record_after(layer, self.layers, shown, self.now()).is_empty();
        let everything: BTreeSet<String> = layer.managed.keys().cloned().collect();
        let is_gone = matches!(self.failure(), Some((Error::ProjectNotFound { gone: true, .. }, _)));
        // If other declarations have recorded all of its roles, the provider's responses to changes of these roles are
        // theirs to report.
        let is_taken_over = nothing_left(&everything) && layer.carried.is_empty();
        let is_carried_out =
            self.failure().is_none_or(|(_, removed)| removed) && self.outcome.kind != PassEnd::Contested;
        let is_revoked = self.member().is_some_and(|member| nothing_left(&self.answered_for(member)));
        is_gone || is_taken_over || (is_carried_out && is_revoked) || self.is_orphaned()
    }

    /// Whether the provider shows nothing that the declaration manages.
    fn is_removed(&self) -> bool {
        let entries =
            |member: &Member| member.entries.iter().any(|entry| self.layer().managed.contains_key(&entry.role));
        self.member().is_some_and(|member| !member.is_some_and(entries))
    }

    /// Whether the provider is unavailable and all of the access is to be left in place.
    fn is_orphaned(&self) -> bool {
        let layer = self.layer();
        let permanent = layer.managed.values().all(|term| *term == Term::Permanent);
        let orphans = self.object().spec.deletion_policy == DeletionPolicy::Orphan;
        self.outcome.kind == PassEnd::NotAsked && orphans && permanent && layer.carried.is_empty()
    }
}

/// The finalizer is kept and Ready shows the reason, unless there is nothing to revoke or all of the access is left in
/// place.
pub fn unresolved_leaving(
    object: &ProjectMembership,
    old: ProjectMembershipStatus,
    refusal: &Refusal,
    now: Timestamp,
) -> Report {
    let managed = evaluation::managed(&old.managed_roles);
    let orphans = object.spec.deletion_policy == DeletionPolicy::Orphan;
    let only_permanent = managed.values().all(|term| *term == Term::Permanent) && old.carried_roles.is_empty();
    if never_acted(object) || (orphans && only_permanent) {
        let ready_condition = ReadyCondition::new(Reason::Progressing, "");
        return Report { ready_condition, status: old, overdue: BTreeSet::new(), is_released: true };
    }
    let generation = object.metadata.generation.unwrap_or_default();
    let message = format!(
        "the access can't be revoked: {}. Correct that, or set deletionPolicy: Orphan to leave permanent roles in place",
        refusal.message
    );
    let ready_condition = ReadyCondition::new(Reason::RevokeFailed, message.clone());
    let conditions = status::conditions(&old.conditions, &ready_condition, &[], generation, now);
    let unanswered_until = late_writes::left_in_progress(object, now);
    let status = ProjectMembershipStatus { conditions, unanswered_until, ..old };
    // The cause is reported in the event and the metric.
    Report {
        ready_condition: ReadyCondition::new(refusal.reason, message),
        status,
        overdue: managed.into_keys().collect(),
        is_released: false,
    }
}

/// Whether an object's own status shows that it holds nothing at the provider.
pub fn never_acted(object: &ProjectMembership) -> bool {
    let generation = object.metadata.generation.unwrap_or_default();
    let is_recorded = PendingGrants::of(object).is_some();
    object.status.as_ref().is_some_and(|status| {
        (is_recorded || status.observed_generation >= generation - 1)
            && status.managed_roles.is_empty()
            && status.carried_roles.is_empty()
    })
}

/// The access that remains at the provider when an object is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemainingAccess {
    /// Nothing: its access was revoked, or handed over to other declarations.
    Nothing,
    /// Permanent roles, as its deletionPolicy requires.
    Orphaned,
    /// All of it, as an administrator decided.
    Abandoned,
}

impl RemainingAccess {
    /// The remaining access of an object that is released without an administrator's decision.
    pub fn of(object: &ProjectMembership) -> Self {
        match object.spec.deletion_policy {
            DeletionPolicy::Delete => Self::Nothing,
            DeletionPolicy::Orphan => Self::Orphaned,
        }
    }
}

/// The status of an object that is released while finalizers of other controllers keep it; `None` if there are no
/// others. Pure.
pub fn released(object: &ProjectMembership, left: RemainingAccess, now: Timestamp) -> Option<ProjectMembershipStatus> {
    let keepers: Vec<&str> =
        object.metadata.finalizers.iter().flatten().map(String::as_str).filter(|name| *name != FINALIZER).collect();
    if keepers.is_empty() {
        return None;
    }
    let old = object.status.clone().unwrap_or_default();
    let what = match left {
        RemainingAccess::Nothing => "the access was revoked",
        RemainingAccess::Orphaned => {
            "the access was released, and permanent roles were left in place (deletionPolicy: Orphan)"
        }
        RemainingAccess::Abandoned => "the object was abandoned, and the access was left in place",
    };
    let message = format!("{what}; only finalizers of other controllers keep this object: {}", keepers.join(", "));
    let generation = object.metadata.generation.unwrap_or_default();
    let ready_condition = ReadyCondition::new(Reason::Progressing, message);
    let conditions = status::not_ready(&old.conditions, &ready_condition, generation, now);
    let ended = |role: RoleStatus| RoleStatus { state: RoleState::Expired, message: None, ..role };
    let roles: Vec<RoleStatus> = match left {
        RemainingAccess::Nothing => old.roles.into_iter().map(ended).collect(),
        RemainingAccess::Orphaned | RemainingAccess::Abandoned => old.roles,
    };
    Some(ProjectMembershipStatus {
        observed_generation: generation,
        conditions,
        active_roles: status::active_roles(&roles),
        next_transition_time: None,
        roles,
        managed_roles: Vec::new(),
        carried_roles: Vec::new(),
        drift: Vec::new(),
        ..old
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(finalizers: &[&str]) -> ProjectMembership {
        serde_json::from_value(json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
            "metadata": {"name": "ci", "generation": 2, "finalizers": finalizers, "deletionTimestamp": "2026-11-21T12:00:00Z"},
            "spec": {
                "providerRef": {"name": "infisical"}, "project": {"id": "web"},
                "subject": {"kind": "Identity", "id": "ci"}, "roles": [{"role": "viewer"}],
            },
            "status": {
                "observedGeneration": 1, "activeRoles": "viewer", "managedRoles": [{"role": "viewer"}],
                "roles": [{"role": "viewer", "state": "Active"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "Converged", "message": "", "lastTransitionTime": "2026-11-21T10:00:00Z"}],
            },
        }))
        .unwrap()
    }

    /// Seen failing when no status was written for an object that others keep: the object stayed Ready=True with
    /// managedRoles.
    #[test]
    fn a_released_object_that_others_keep_says_what_became_of_its_access() {
        let now: Timestamp = "2026-11-21T12:00:05Z".parse().unwrap();
        let keeper = "example.com/keep";
        assert_eq!(
            released(&object(&[FINALIZER]), RemainingAccess::Nothing, now),
            None,
            "no object is left to show it"
        );
        for (left, expected, active) in [
            (RemainingAccess::Nothing, "the access was revoked", ""),
            (RemainingAccess::Orphaned, "permanent roles were left in place", "viewer"),
            (RemainingAccess::Abandoned, "the object was abandoned", "viewer"),
        ] {
            let status = released(&object(&[keeper, FINALIZER]), left, now).unwrap();
            let ready = &status.conditions[0];
            assert_eq!(
                (ready.type_.as_str(), ready.status.as_str(), ready.reason.as_str()),
                ("Ready", "False", "Progressing")
            );
            assert!(ready.message.contains(expected) && ready.message.contains(keeper), "{}", ready.message);
            assert!(!ready.message.contains(FINALIZER), "{}", ready.message);
            assert_eq!((status.active_roles.as_str(), status.managed_roles.len()), (active, 0), "{left:?}");
            assert_eq!(status.observed_generation, 2);
        }
    }
}
