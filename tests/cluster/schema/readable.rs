//! The API server as the judge: what it admits, the operator reads; and what the operator writes, it admits.

#[path = "../../parsers/schema.rs"]
mod made;
#[path = "../../parsers/statuses.rs"]
mod statuses;

use kube::Resource;
use membership_operator::api::{ClusterMembershipProvider, Duration, MembershipProvider, ProjectMembership, Time};
use membership_operator::controller::stored::Stored;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cluster_provider::central;
use super::zitadel;
use crate::support::{Namespace, changed, membership, provider, with_namespace};

/// Times at the edges: of what Go takes, of what jiff takes, and of the calendar.
const TIMES: [&str; 28] = [
    "2027-01-01T00:00:00Z",
    "2027-01-01T00:00:00.123456789+23:59",
    "2027-01-01T00:00:00-00:00",
    "2028-02-29T00:00:00Z",
    "2027-02-29T00:00:00Z",
    "2027-04-31T00:00:00Z",
    "2027-00-10T00:00:00Z",
    "2027-13-01T00:00:00Z",
    "2027-01-32T00:00:00Z",
    "2027-01-01T24:00:00Z",
    "2027-01-01T23:60:00Z",
    "2027-01-01T23:59:60Z",
    "2027-01-01T00:00:00+14:60",
    "2027-01-01T00:00:00+24:00",
    "2027-01-01T00:00:00+99:99",
    "2027-01-01T00:00:00-25:00",
    "2027-01-01T00:00:00x5Z",
    "2027-01-01T00:00:00,5Z",
    "2027-01-01T00:00:00.1234567890Z",
    "2027-01-01T00:00:00ZT",
    "2027-01-01T00:00:00ZTjunk",
    "2027-01-01t00:00:00z",
    "2027-01-01 00:00:00Z",
    "2027-01-01T00:00:00",
    "2027-01-01T00:00:00Z[Europe/Berlin]",
    "9999-12-31T23:59:59Z",
    "0000-01-01T00:00:00+23:59",
    "10000-01-01T00:00:00Z",
];

/// Values of other types and forms.
fn others() -> Vec<Value> {
    vec![json!(null), json!(""), json!(-0.0), json!(1e2), json!([]), json!({}), json!([null])]
}

/// Every field below a part of an object with its pointer, and what it is: of lists the first item.
fn fields(schema: &Value, pointer: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let step = |name: &str, schema: &Value| {
        let pointer = format!("{pointer}/{name}");
        let mut all = fields(schema, &pointer);
        all.push((pointer, schema.clone()));
        all
    };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        found.extend(step(name, property));
    }
    if schema["items"].is_object() {
        found.extend(step("0", &schema["items"]));
    }
    found
}

/// Each base with one field changed, in every way that is tried.
fn tried(bases: &[Value], part: &str) -> Vec<Value> {
    let mut runner = TestRunner::deterministic();
    let mut objects = bases.to_vec();
    let kind = bases[0]["kind"].as_str().unwrap();
    for (pointer, schema) in fields(made::of(kind, part), &format!("/{part}")) {
        let mut values = others();
        if schema["format"] == "date-time" {
            values.extend(TIMES.map(|time| json!(time)));
        }
        let generated = made::value(&schema);
        values.extend((0..2).map(|_| generated.new_tree(&mut runner).unwrap().current()));
        // In the base that has the field, or else in one where it can be added.
        let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
        let has = |pointer: &str| bases.iter().find(|base| base.pointer(pointer).is_some());
        if let Some(base) = has(&pointer).or_else(|| has(parent)) {
            objects.extend(values.into_iter().map(|value| changed(base.clone(), &pointer, value)));
        }
    }
    objects
}

/// What the API server admits of these objects, as it would store them.
async fn admitted(ns: &Namespace, verb: &[&str], objects: &[Value]) -> Vec<Value> {
    let text = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let arguments = [verb, &["--dry-run=server", "--validate=ignore", "--output=json", "--filename=-"]].concat();
    let output = ns.run(&arguments, &text).await;
    let found = serde_json::Deserializer::from_str(&output.stdout).into_iter();
    let mut found: Vec<Value> = found.map(Result::unwrap).collect();
    // More than one may come as a list.
    if let [list] = &found[..]
        && let Some(items) = list["items"].as_array()
    {
        found = items.clone();
    }
    // Where hardly any are, nothing is shown.
    assert!(found.len() * 10 > objects.len(), "{} of {} were admitted: {}", found.len(), objects.len(), output.stderr);
    found
}

/// Fails unless all of each object can be decoded.
fn assert_decodable<K: Resource<DynamicType = ()> + DeserializeOwned>(objects: &[Value]) -> Vec<K> {
    let decoded = |object: &Value| {
        let stored: Stored<K> = serde_json::from_str(&object.to_string()).unwrap();
        assert_eq!(stored.lost_status(), None, "{object}");
        stored.into_object().unwrap_or_else(|error| panic!("{error}: {object}"))
    };
    objects.iter().map(decoded).collect()
}

fn assert_read<'a>(durations: impl IntoIterator<Item = &'a Duration>, times: impl IntoIterator<Item = &'a Time>) {
    durations.into_iter().for_each(|duration| assert!(duration.seconds().is_ok(), "{duration}"));
    times.into_iter().for_each(|time| assert!(time.timestamp().is_ok(), "{time}"));
}

/// Memberships by ids and by names, with every field that goes together.
fn memberships() -> [Value; 2] {
    let temporary =
        json!({"duration": "1h", "startTime": "2027-01-01T00:00:00Z", "expirationTime": "2028-01-01T00:00:00Z"});
    let ids = changed(membership("ci"), "/spec/roles/0/temporary", temporary);
    let names = changed(membership("ci"), "/spec/subject", json!({"kind": "User", "name": "ada"}));
    [ids, changed(names, "/spec/project", json!({"name": "web", "organizationId": "1", "grantId": "2"}))]
}

/// Seen failing with the pattern of times as it was.
#[tokio::test]
async fn every_spec_that_the_api_server_admits_is_read() {
    with_namespace(async |ns| {
        let found = admitted(&ns, &["create"], &tried(&memberships(), "spec")).await;
        for object in assert_decodable::<ProjectMembership>(&found) {
            assert_read(&object.spec.resync_interval, []);
            for temporary in object.spec.roles.iter().filter_map(|grant| grant.temporary.as_ref()) {
                assert_read(
                    &temporary.duration,
                    [&temporary.start_time, &temporary.expiration_time].into_iter().flatten(),
                );
            }
        }
        let reference = json!({"name": "ca", "key": "ca.crt"});
        let infisical = changed(provider("p"), "/spec/caBundle", json!({"secretRef": reference}));
        let bases = [changed(infisical, "/spec/limits", json!({"maxInFlight": 1})), zitadel(0)];
        let found = [found, admitted(&ns, &["create"], &tried(&bases, "spec")).await].concat();
        let providers: Vec<Value> =
            found.iter().filter(|object| object["kind"] == "MembershipProvider").cloned().collect();
        for object in assert_decodable::<MembershipProvider>(&providers) {
            assert_read([&object.spec.resync_interval], []);
        }
        let selector =
            json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]});
        let rule =
            json!([{"namespaces": {"selector": selector}, "projects": ["*"], "roles": ["*"], "maxDuration": "1h"}]);
        let found =
            admitted(&ns, &["create"], &tried(&[changed(central(&ns.name, 0), "/spec/allow", rule)], "spec")).await;
        for object in assert_decodable::<ClusterMembershipProvider>(&found) {
            assert_read(object.spec.allow.iter().filter_map(|rule| rule.max_duration.as_ref()), []);
        }
    })
    .await;
}

#[tokio::test]
async fn every_status_that_the_api_server_admits_is_read() {
    with_namespace(async |ns| {
        ns.apply(&[membership("ci")]).await;
        let window = json!({"role": "r", "startTime": "2027-01-01T00:00:00Z", "expirationTime": "2028-01-01T00:00:00Z"});
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2027-01-01T00:00:00Z",
        });
        let status = json!({
            "observedGeneration": 1, "conditions": [condition], "roles": [changed(window.clone(), "/state", json!("Active"))],
            "managedRoles": [window], "carriedRoles": [window], "drift": [{"role": "r", "kind": "Missing"}],
            "target": {
                "provider": "p", "endpoint": "e", "projectId": "1", "subjectKind": "User", "subjectId": "2",
            },
        });
        let base = changed(membership("ci"), "/status", status);
        let found = admitted(&ns, &["replace", "--subresource=status"], &tried(&[base], "status")).await;
        assert_decodable::<ProjectMembership>(&found);
    })
    .await;
}

#[tokio::test]
async fn every_status_that_the_operator_writes_is_admitted_by_the_api_server() {
    with_namespace(async |ns| {
        ns.apply(&[membership("ci")]).await;
        let mut runner = TestRunner::deterministic();
        let statuses = statuses::status();
        let mut objects = vec![changed(membership("ci"), "/status", json!({}))];
        for _ in 0..50 {
            let status = statuses.new_tree(&mut runner).unwrap().current();
            objects.push(changed(membership("ci"), "/status", serde_json::to_value(status).unwrap()));
        }
        let found = admitted(&ns, &["replace", "--subresource=status"], &objects).await;
        assert_eq!(found.len(), objects.len());
    })
    .await;
}
