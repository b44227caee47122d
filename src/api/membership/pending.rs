//! The write-ahead record: what is about to be granted, in an annotation of the object.

use serde::{Deserialize, Serialize};

use super::{CarriedRole, ManagedRole, ProjectMembership, TargetStatus};
use crate::api::PENDING_GRANTS;

/// The content of the annotation `membership.dev/pending-grants`. It is written before the provider is asked, in the
/// same request as the finalizer, and the next status includes it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PendingGrants {
    /// The number of the record, from 1 on. `status.observedPendingGrants` is the number of the record that the status
    /// includes.
    pub number: i64,
    /// Everything that the object manages once its grants are carried out, in the form of `status.managedRoles`.
    pub roles: Vec<ManagedRole>,
    /// Unmanaged roles that are restored after several memberships were merged, in the form of `status.carriedRoles`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried_roles: Vec<CarriedRole>,
    /// What the references were resolved to, if the status did not contain it or contained another server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetStatus>,
}

impl PendingGrants {
    /// The record in an object's annotation; `None`: there is none, or it cannot be read.
    pub fn of(object: &ProjectMembership) -> Option<Self> {
        serde_json::from_str(object.metadata.annotations.as_ref()?.get(PENDING_GRANTS)?).ok()
    }

    /// The value of the annotation.
    pub fn to_annotation(&self) -> String {
        // A struct of strings, numbers and times can always be serialized.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The record of an object, if its status does not include it yet.
    pub fn unobserved(object: &ProjectMembership) -> Option<Self> {
        Self::of(object).filter(|pending| pending.number > observed(object))
    }

    /// The number of an object's next record.
    pub fn next_number(object: &ProjectMembership) -> i64 {
        let written = Self::of(object).map_or(0, |pending| pending.number);
        written.max(observed(object)).saturating_add(1)
    }
}

fn observed(object: &ProjectMembership) -> i64 {
    object.status.as_ref().and_then(|status| status.observed_pending_grants).unwrap_or_default()
}

impl ProjectMembership {
    /// Adds to the status what the pending grants record, so that everything that reads the record reads it there.
    pub fn include_pending_grants(&mut self) {
        let Some(pending) = PendingGrants::unobserved(self) else {
            return;
        };
        let status = self.status.get_or_insert_default();
        status.managed_roles = pending.roles;
        status.carried_roles = pending.carried_roles;
        status.target = pending.target.or(status.target.take());
    }
}
