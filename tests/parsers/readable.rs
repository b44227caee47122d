//! What the schema admits, the operator can read; and what the operator writes, the schema admits.

use jiff::Timestamp;
use kube::Resource;
use membership_operator::api::duration::DurationError;
use membership_operator::api::{
    ClusterMembershipProvider, Duration, MembershipProvider, MembershipProviderStatus, ProjectMembership,
    ProjectMembershipStatus, Reason,
};
use membership_operator::controller::stored::{Complete, Stored};
use membership_operator::core::status::{self, ReadyCondition};
use membership_operator::provider::http::Endpoint;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::schema;
use crate::statuses::status as any_status;

/// Objects of a kind: specs and statuses that its schema admits, as text.
fn objects(kind: &'static str) -> impl Strategy<Value = String> {
    let parts = (schema::value(schema::of(kind, "spec")), schema::value(schema::of(kind, "status")));
    parts.prop_map(move |(spec, status)| {
        let metadata = json!({"name": "any"});
        json!({"apiVersion": "membership.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status})
            .to_string()
    })
}

/// Fails unless all of an object can be decoded.
fn decoded<K: Resource<DynamicType = ()> + DeserializeOwned + Complete>(object: &str) -> K {
    let stored: Stored<K> = serde_json::from_str(object).unwrap();
    assert_eq!(stored.lost_status(), None, "{object}");
    stored.into_object().unwrap_or_else(|error| panic!("{error}: {object}"))
}

/// Fails unless a duration is read, but for what the rules on its amount refuse.
fn assert_read(duration: &Duration) {
    match duration.seconds() {
        Ok(_) | Err(DurationError::Zero(_) | DurationError::TooLong(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    /// Seen failing with the pattern of times as it was (`+14:60`, and in status the year 9999).
    #[test]
    fn every_membership_that_the_schema_admits_is_read(text in objects("ProjectMembership")) {
        let object: ProjectMembership = decoded(&text);
        object.spec.resync_interval.iter().for_each(assert_read);
        for temporary in object.spec.roles.iter().filter_map(|grant| grant.temporary.as_ref()) {
            temporary.duration.iter().for_each(assert_read);
            for time in [&temporary.start_time, &temporary.expiration_time].into_iter().flatten() {
                // A rule wants a year from 2000 to 2999; the pattern alone doesn't.
                prop_assert!(time.timestamp().is_ok() || time.0.starts_with("9999"), "{time}");
            }
        }
    }

    #[test]
    fn every_provider_that_the_schema_admits_is_read(text in objects("MembershipProvider")) {
        let spec = decoded::<MembershipProvider>(&text).spec;
        assert_read(&spec.resync_interval);
        let urls = spec.infisical.iter().map(|server| &server.url).chain(spec.zitadel.iter().map(|server| &server.url));
        for endpoint in urls.filter_map(|url| Endpoint::parse(url).ok()) {
            // As long as `status.target.endpoint` may be.
            prop_assert!(endpoint.as_str().chars().count() <= 1024, "{endpoint}");
        }
    }

    #[test]
    fn every_provider_of_the_cluster_that_the_schema_admits_is_read(text in objects("ClusterMembershipProvider")) {
        let object: ClusterMembershipProvider = decoded(&text);
        assert_read(&object.spec.provider.resync_interval);
        object.spec.allow.iter().filter_map(|rule| rule.max_duration.as_ref()).for_each(assert_read);
    }

    /// Seen failing without `time::in_status`.
    #[test]
    fn every_status_that_the_operator_writes_is_admitted_and_read_again(status in any_status()) {
        let written = serde_json::to_value(&status).unwrap();
        prop_assert_eq!(schema::admits(schema::of("ProjectMembership", "status"), &written), Ok(()));
        let read: ProjectMembershipStatus = serde_json::from_value(written.clone()).unwrap();
        prop_assert_eq!(serde_json::to_value(&read).unwrap(), written, "what is read is written the same again");
    }

    #[test]
    fn every_spec_is_written_as_it_was_admitted(text in objects("ProjectMembership")) {
        let spec = serde_json::to_value(decoded::<ProjectMembership>(&text).spec).unwrap();
        prop_assert_eq!(schema::admits(schema::of("ProjectMembership", "spec"), &spec), Ok(()));
    }
}

#[test]
fn a_status_of_a_provider_is_admitted() {
    let conditions =
        status::conditions(&[], &ReadyCondition::new(Reason::Converged, "m"), &[], 1, Timestamp::UNIX_EPOCH);
    let full =
        MembershipProviderStatus { observed_generation: 1, conditions, api: Some("v1".to_owned()), memberships: 1 };
    for status in [MembershipProviderStatus::default(), full] {
        let status = serde_json::to_value(status).unwrap();
        for kind in ["MembershipProvider", "ClusterMembershipProvider"] {
            assert_eq!(schema::admits(schema::of(kind, "status"), &status), Ok(()), "{status}");
        }
    }
}

#[test]
fn the_schema_is_read_as_it_is_meant() {
    let time = &schema::of("ProjectMembership", "status")["properties"]["nextTransitionTime"];
    for (text, admitted) in [
        ("2026-12-01T08:00:00Z", true),
        ("2028-02-29T23:59:59.999999999+23:59", true),
        ("2027-02-29T00:00:00Z", false),
        ("2027-01-01T00:00:00+14:60", false),
        ("2027-01-01T00:00:00+24:00", false),
        ("2027-01-01T24:00:00Z", false),
        ("2027-01-01T00:00:60Z", false),
        ("2027-13-01T00:00:00Z", false),
        ("2027-01-01t00:00:00z", false),
        ("9999-12-31T23:59:59Z", false),
        ("0000-01-01T00:00:00Z", false),
    ] {
        assert_eq!(schema::admits(time, &json!(text)).is_ok(), admitted, "{text}");
    }
    let duration = &schema::of("ProjectMembership", "spec")["properties"]["resyncInterval"];
    for (text, admitted) in [("1h30m", true), ("30m1h", false), ("0s", false)] {
        assert_eq!(schema::admits(duration, &json!(text)).is_ok(), admitted, "{text}");
    }
}
