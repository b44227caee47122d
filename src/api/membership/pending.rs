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
    /// Includes the pending grants in the status, so that everything that reads the record reads it there. The operator
    /// has written them: they are the complete record.
    pub fn include_pending_grants(&mut self) {
        if let Some(pending) = PendingGrants::unobserved(self) {
            self.include(pending);
        }
    }

    /// Includes a record that the operator has written.
    pub fn include(&mut self, pending: PendingGrants) {
        let status = self.status.get_or_insert_default();
        status.managed_roles = pending.roles;
        status.carried_roles = pending.carried_roles;
        status.target = pending.target.or(status.target.take());
    }

    /// Includes a record of which it is not known who has written it. The author of the object may have: it adds roles
    /// and brings ends forward, and neither removes anything from what the status records nor makes an end later.
    /// `is_older`: the object was there before the process began to act. Then the ids of the target count, if the status
    /// contains none, and a role without an id was about to be granted again by its name: it may have another id by now.
    pub fn include_found(&mut self, pending: PendingGrants, is_older: bool) {
        let status = self.status.get_or_insert_default();
        for found in pending.roles {
            let is_full = status.managed_roles.len() >= MOST_ROLES;
            match status.managed_roles.iter_mut().find(|known| known.role == found.role) {
                Some(known) => {
                    known.role_id.take_if(|_| is_older && found.role_id.is_none());
                    if found.ends_before(known) {
                        (known.start_time, known.expiration_time) = (found.start_time, found.expiration_time);
                    }
                }
                None if !is_full => status.managed_roles.push(found),
                None => {}
            }
        }
        for found in pending.carried_roles {
            if !status.carried_roles.contains(&found) && status.carried_roles.len() < MOST_ROLES {
                status.carried_roles.push(found);
            }
        }
        status.target = status.target.take().or(pending.target.filter(|_| is_older));
    }
}

impl ManagedRole {
    fn ends_before(&self, other: &Self) -> bool {
        self.expiration_time.is_some_and(|end| other.expiration_time.is_none_or(|other| end < other))
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

    /// Seen failing when the record of the annotation replaced that of the status, regardless of who had written it.
    #[test]
    fn a_record_of_unknown_origin_takes_nothing_away_and_makes_no_end_later() {
        let at = |hour: u8| format!("2026-11-21T{hour:02}:00:00Z");
        let status = json!({
            "managedRoles": [
                {"role": "viewer"}, {"role": "deployer", "startTime": at(8), "expirationTime": at(10)},
                {"role": "auditor", "startTime": at(8), "expirationTime": at(10)},
            ],
            "target": {"provider": "p", "endpoint": "https://a", "projectId": "web", "subjectKind": "Identity", "subjectId": "ci"},
        });
        let pending = json!({
            "number": 1,
            "roles": [
                {"role": "deployer", "startTime": at(8), "expirationTime": at(20)},
                {"role": "auditor", "startTime": at(8), "expirationTime": at(9)}, {"role": "admin"},
            ],
            "carriedRoles": [{"role": "owner"}],
            "target": {"provider": "p", "endpoint": "https://b", "projectId": "web", "subjectKind": "Identity", "subjectId": "other"},
        });
        let pending = PendingGrants::of(&object(Some(&pending.to_string()), json!({}))).unwrap();
        let mut pinned = object(None, status);
        pinned.include_found(pending.clone(), true);
        pinned.include_found(pending.clone(), true);
        let status = pinned.status.unwrap();
        let ends: Vec<_> = (status.managed_roles.iter())
            .map(|managed| (managed.role.as_str(), managed.expiration_time.map(|end| end.to_string())))
            .collect();
        let expected = [("viewer", None), ("deployer", Some(at(10))), ("auditor", Some(at(9))), ("admin", None)];
        assert_eq!(ends, expected);
        assert_eq!((status.carried_roles.len(), status.target.unwrap().endpoint.as_str()), (1, "https://a"));
        let mut unpinned = object(None, json!({}));
        unpinned.include_found(pending, false);
        assert_eq!(unpinned.status.unwrap().target, None);
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
