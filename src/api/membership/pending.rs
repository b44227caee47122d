//! The write-ahead record: what is about to be granted, in an annotation of the object.

use serde::{Deserialize, Serialize};

use super::{CarriedRole, ManagedRole, ProjectMembership, TargetStatus};
use crate::api::{PENDING_GRANTS, schema};

/// The content of the annotation `membership.dev/pending-grants`. It is written before the request to the provider, in
/// the same request as the finalizer, and the next status includes it.
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

/// The largest number of a record. The next one is 1 again.
const LARGEST: i64 = 1 << 53;
/// As many roles as a status may contain.
const MOST_ROLES: usize = 256;

impl PendingGrants {
    /// The record in an object's annotation; `None`: there is none, or it cannot be read. A user who may write the
    /// object can write anything there: what the status could not contain counts as unreadable.
    pub fn of(object: &ProjectMembership) -> Option<Self> {
        let pending: Self = serde_json::from_str(object.metadata.annotations.as_ref()?.get(PENDING_GRANTS)?).ok()?;
        let fits = |text: &str| text.chars().count() <= schema::STATUS_TEXT as usize;
        let roles_fit = pending.roles.iter().all(|role| fits(&role.role) && role.role_id.as_deref().is_none_or(fits));
        let carried_fit = pending.carried_roles.iter().all(|carried| {
            let texts = [Some(&carried.role), carried.range.as_ref(), carried.start.as_ref()];
            texts.into_iter().flatten().all(|text| fits(text))
        });
        let are_few = pending.roles.len() <= MOST_ROLES && pending.carried_roles.len() <= MOST_ROLES;
        (roles_fit && carried_fit && are_few && (1..=LARGEST).contains(&pending.number)).then_some(pending)
    }

    /// The value of the annotation.
    pub fn to_annotation(&self) -> String {
        // A struct of strings, numbers and times can always be serialized.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The record of an object, if its status does not include it yet.
    pub fn unobserved(object: &ProjectMembership) -> Option<Self> {
        Self::of(object).filter(|pending| pending.number != observed(object))
    }

    /// The number of an object's next record.
    pub fn next_number(object: &ProjectMembership) -> i64 {
        let (written, observed) = (Self::of(object).map_or(0, |pending| pending.number), observed(object));
        let after = |number: i64| number.rem_euclid(LARGEST) + 1;
        let mut next = after(written.max(observed));
        while next == written || next == observed {
            next = after(next);
        }
        next
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(pending: Option<&str>, status: Value) -> ProjectMembership {
        let mut object = json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
            "metadata": {"name": "ci", "annotations": {}},
            "spec": {
                "providerRef": {"name": "infisical"}, "project": {"id": "web"},
                "subject": {"kind": "Identity", "id": "ci"}, "roles": [{"role": "viewer"}],
            },
            "status": status,
        });
        if let Some(pending) = pending {
            object["metadata"]["annotations"][PENDING_GRANTS] = json!(pending);
        }
        serde_json::from_value(object).unwrap()
    }

    fn managed(object: &ProjectMembership) -> Vec<&str> {
        object.status.iter().flat_map(|status| &status.managed_roles).map(|role| role.role.as_str()).collect()
    }

    /// Seen failing when the record was included regardless of what the status had observed, and never.
    #[test]
    fn a_record_counts_until_a_status_includes_it() {
        let pending = r#"{"number": 3, "roles": [{"role": "viewer"}, {"role": "deployer"}]}"#;
        let viewer = json!([{"role": "viewer"}]);
        for (status, expected) in [
            (json!({"managedRoles": viewer, "observedPendingGrants": 2}), vec!["viewer", "deployer"]),
            (json!({"managedRoles": viewer, "observedPendingGrants": 3}), vec!["viewer"]),
            (json!({}), vec!["viewer", "deployer"]),
            (Value::Null, vec!["viewer", "deployer"]),
        ] {
            let mut object = object(Some(pending), status.clone());
            object.include_pending_grants();
            assert_eq!(managed(&object), expected, "{status}");
            assert_eq!(PendingGrants::next_number(&object), 4, "{status}");
        }
    }

    /// Seen failing without each of the conditions of `of`.
    #[test]
    fn what_another_writer_put_there_is_read_only_if_a_status_could_contain_it() {
        let long =
            format!(r#"{{"number": 1, "roles": [{{"role": "{}"}}]}}"#, "r".repeat(schema::STATUS_TEXT as usize + 1));
        let many = json!({"number": 1, "roles": vec![json!({"role": "r"}); 257]}).to_string();
        let numbers = ["0", "-1", "9007199254740993", "1.5", r#""1""#];
        let forged = numbers.map(|number| format!(r#"{{"number": {number}, "roles": []}}"#));
        for text in forged.iter().map(String::as_str).chain(["", "{}", "[]", &long, &many]) {
            let mut object = object(Some(text), json!({"managedRoles": [{"role": "viewer"}]}));
            object.include_pending_grants();
            assert_eq!(managed(&object), ["viewer"], "{text}");
        }
        // The next record can be distinguished for every number.
        for (written, observed) in [(LARGEST, LARGEST), (LARGEST, 1), (1, i64::MAX), (1, i64::MIN)] {
            let pending = format!(r#"{{"number": {written}, "roles": []}}"#);
            let object = object(Some(&pending), json!({"observedPendingGrants": observed}));
            let next = PendingGrants::next_number(&object);
            assert!(
                (1..=LARGEST).contains(&next) && next != observed && next != written,
                "{written} {observed}: {next}"
            );
        }
    }
}
