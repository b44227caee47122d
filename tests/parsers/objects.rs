//! Objects as a tenant may write them, status and all: what can be decoded is planned, and grants nothing that its spec
//! doesn't ask for.

#[path = "garble.rs"]
mod garble;

use std::collections::BTreeSet;

use garble::{assert_presentable, garble, garbled};
use jiff::Timestamp;
use membership_operator::api::{Duration, ProjectMembership};
use membership_operator::core::evaluation::{EvaluationInputs, evaluate_one};
use membership_operator::core::member::{Capabilities, Term};
use membership_operator::core::plan::{PlanInputs, plan};
use membership_operator::core::policy::{self, PinnedIds, ServerKind};
use membership_operator::core::status;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

const INFISICAL: Capabilities = Capabilities {
    enforces_expiry: true,
    permanent_base: Some("no-access"),
    empty_role: Some("no-access"),
    lists_are_current: true,
    creation_role: None,
    invites: false,
};
const ZITADEL: Capabilities = Capabilities {
    enforces_expiry: false,
    permanent_base: None,
    empty_role: None,
    lists_are_current: false,
    ..INFISICAL
};

/// An object with every field that decides anything.
fn object() -> Value {
    let window = json!({"startTime": "2026-11-21T10:00:00Z", "expirationTime": "2026-11-21T14:00:00Z"});
    json!({
        "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
        "metadata": {
            "name": "ci", "namespace": "team-a", "uid": "1", "generation": 3, "finalizers": ["membership.dev/revoke"],
            "annotations": {"membership.dev/reconcile-at": "now"},
        },
        "spec": {
            "providerRef": {"name": "infisical"},
            "project": {"id": "6ec3d92b-3251-4084-9a12-ffb509a03ffc"},
            "subject": {"kind": "Identity", "id": "24160fbf-24bd-49d7-95de-feb53df75187"},
            "roles": [
                {"role": "viewer"}, {"role": "deployer", "temporary": {"duration": "2h"}}, {"role": "admin", "temporary": window},
            ],
            "roleManagement": "Exclusive", "managementPolicy": "Enforce", "adoptionPolicy": "Adopt",
            "deletionPolicy": "Delete", "resyncInterval": "10m", "suspend": false,
        },
        "status": {
            "observedGeneration": 3,
            "roles": [
                {"role": "viewer", "state": "Active"},
                {"role": "deployer", "state": "Active", "startTime": "2026-11-21T11:00:00Z", "expirationTime": "2026-11-21T13:00:00Z"},
            ],
            "managedRoles": [
                {"role": "viewer"},
                {"role": "deployer", "roleId": "e174695b-9cc4-40cf-9ffb-538e1141b8c9", "startTime": "2026-11-21T11:00:00Z", "expirationTime": "2026-11-21T13:00:00Z"},
            ],
            "carriedRoles": [{"role": "auditor", "range": "1h", "start": "2026-11-21T11:00:00Z"}],
        },
    })
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// Any text that might be a time, at the edges of what times can be.
fn time() -> impl Strategy<Value = String> {
    let parts = "(-00|\\+0|)[0-9]{4,6}-[0-9]{2}-[0-9]{2}(T|t| )[0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,12})?)?(Z|z|[+-][0-9]{2}:?[0-9]{2}|)";
    prop_oneof![4 => parts, 1 => "(.|\n){0,40}", 1 => Just("9999-12-30T22:00:00.999999999Z".to_owned()), 1 => Just("-009999-01-02T01:59:59Z".to_owned())]
}

/// A message's length is bounded where it is written, in `status`. It quotes the object's own spec, which its readers have:
/// what looks like a token there was written by them.
fn assert_visible(message: &str) {
    let message: String = message.chars().take(1024).collect();
    assert_presentable(&message.replace("eyJhbGci", ""), "no secret is known here");
}

/// What must hold of whatever can be decoded.
fn holds(object: &ProjectMembership, now: Timestamp) {
    for server in [ServerKind::Infisical, ServerKind::Zitadel { organization_id: None }] {
        if let Err(refusal) = policy::target(&object.spec, &server, &PinnedIds::default()) {
            assert_visible(&refusal.message);
        }
    }
    let declared: BTreeSet<&str> = object.spec.roles.iter().map(|role| role.role.as_str()).collect();
    for capabilities in [INFISICAL, ZITADEL] {
        let others = BTreeSet::new();
        let record = object.status.as_ref().map_or(&[][..], |status| &status.managed_roles);
        let inputs = EvaluationInputs {
            capabilities,
            observed: None,
            record,
            others: &others,
            unready: None,
            shadowed: false,
            ourselves: false,
            governed: None,
            now,
        };
        let evaluated = evaluate_one(object, &inputs);
        if let Some(inactive) = &evaluated.inactive {
            assert_visible(&inactive.message);
        }
        let layer = evaluated.layer;
        for grant in &layer.grants {
            assert!(declared.contains(grant.role.as_str()), "{} isn't declared", grant.role);
            let temporary = object.spec.roles.iter().any(|role| role.role == grant.role && role.temporary.is_some());
            assert_eq!(temporary, grant.term != Term::Permanent, "{grant:?}");
        }
        let refused = BTreeSet::new();
        let planned = plan(
            std::slice::from_ref(&layer),
            &PlanInputs { observed: None, capabilities, refused: &refused, spared: &refused, now },
        );
        for role in planned.gained() {
            assert!(
                declared.contains(role.as_str()) || layer.carried.iter().any(|entry| entry.role == *role),
                "{role}"
            );
        }
        let managed = status::managed_roles(&layer.record_before(now), |_| None);
        let next = status::next_transition(&[], &managed, now);
        assert!(next.is_none_or(|next| next > now));
    }
}

proptest! {
    #[test]
    fn what_can_be_decoded_grants_what_its_spec_asks_for_and_no_more(garbles in vec(garble(), 0..4)) {
        let bytes = garbled(&object(), &garbles);
        match serde_json::from_slice::<ProjectMembership>(&bytes) {
            Ok(object) => holds(&object, now()),
            Err(_) => prop_assert!(!garbles.is_empty()),
        }
    }

    /// Every place where a time stands, in spec and status, with times at the edge.
    #[test]
    fn no_time_stops_the_planning(times in vec(time(), 6), offset in any::<i64>()) {
        let mut whole = object();
        let places = [
            "/spec/roles/2/temporary/startTime", "/spec/roles/2/temporary/expirationTime", "/status/roles/1/startTime",
            "/status/roles/1/expirationTime", "/status/managedRoles/1/startTime", "/status/managedRoles/1/expirationTime",
        ];
        for (place, time) in places.into_iter().zip(times) {
            // A spec's times are read after the object.
            if place.starts_with("/spec/") || time.parse::<Timestamp>().is_ok() {
                *whole.pointer_mut(place).unwrap() = json!(time);
            }
        }
        let object: ProjectMembership = serde_json::from_value(whole).unwrap();
        let now = Timestamp::from_second(offset.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second())).unwrap();
        holds(&object, now);
    }

    /// A time that is read is one that a second reader of RFC 3339 reads as well.
    #[test]
    fn a_time_that_is_read_is_the_one_that_was_written(text in time()) {
        if let Ok(time) = text.parse::<Timestamp>() {
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
            prop_assert!(text.contains(['Z', 'z', '+', '-']), "a time without an offset is no instant: {}", text);
        }
    }

    /// Any duration in a spec comes to an end after its start, within ten years, or the spec is refused with it named.
    #[test]
    fn no_duration_lengthens_a_role_beyond_ten_years(text in "[0-9wdhms]{0,24}|(.|\n){0,40}") {
        let mut whole = object();
        whole["spec"]["roles"][1]["temporary"]["duration"] = json!(text);
        let object: ProjectMembership = serde_json::from_value(whole).unwrap();
        match (policy::admit(&object.spec), Duration(text.clone()).seconds()) {
            (Ok(admitted), Ok(seconds)) => {
                prop_assert!((1..=315_576_000).contains(&seconds));
                prop_assert_eq!(admitted.roles().len(), 3);
            }
            (Err(refusal), Err(_)) => {
                prop_assert!(refusal.message.contains("deployer"), "{}", refusal.message);
                assert_visible(&refusal.message);
            }
            (admitted, seconds) => prop_assert!(false, "{text:?}: {admitted:?}, {seconds:?}"),
        }
    }
}
