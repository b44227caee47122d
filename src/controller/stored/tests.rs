use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::ResourceExt;
use kube::core::{ObjectList, PartialObjectMeta};
use serde_json::json;

use super::*;
use crate::api::{MembershipProvider, ProjectMembership};

fn object(name: &str) -> Value {
    json!({
        "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
        "metadata": {
            "name": name, "namespace": "team-a", "uid": "1", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-12-01T08:00:00Z", "deletionTimestamp": "2026-12-01T09:00:00Z",
            "finalizers": ["membership.dev/revoke"], "labels": {"a": "b"}, "annotations": {"c": "d"},
        },
        "spec": {
            "providerRef": {"name": "infisical"}, "project": {"id": "1"}, "subject": {"kind": "User", "id": "2"},
            "roles": [{"role": "viewer"}],
        },
        "status": {"observedGeneration": 3, "managedRoles": [{"role": "viewer"}]},
    })
}

/// A list of three objects, of which the second has these managed fields. It is decoded from text, as responses are.
fn listed(managed_fields: &Value) -> Vec<Stored<ProjectMembership>> {
    let mut objects = ["a", "b", "c"].map(object);
    objects[1]["metadata"]["managedFields"] = managed_fields.clone();
    let list = json!({"apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembershipList", "metadata": {}, "items": objects});
    serde_json::from_str::<ObjectList<Stored<ProjectMembership>>>(&list.to_string()).unwrap().items
}

#[test]
fn no_content_of_managed_fields_hides_an_object() {
    let deep = (0..300).fold(json!({}), |inner, _| json!({ "f:x": inner }));
    for managed_fields in [
        json!([{"manager": "m", "operation": "Update", "time": "9999-12-31T23:59:59Z"}]),
        json!([{"manager": "m", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": deep}]),
        json!("none"),
    ] {
        for (stored, name) in listed(&managed_fields).into_iter().zip(["a", "b", "c"]) {
            assert_eq!(stored.lost_status(), None);
            let object = stored.into_object().unwrap();
            assert_eq!(object.name_any(), name);
            assert_eq!(object.status.unwrap().managed_roles.len(), 1, "{name}");
            assert_eq!(object.metadata.managed_fields, None);
        }
    }
}

#[test]
fn all_other_metadata_that_is_used_is_kept() {
    let expected: ObjectMeta = serde_json::from_value(object("a")["metadata"].clone()).unwrap();
    let stored: Stored<ProjectMembership> = serde_json::from_value(object("a")).unwrap();
    assert_eq!(*stored.meta(), expected);
    assert_eq!(stored.into_object().unwrap().metadata, expected);
}

#[test]
fn a_status_that_cannot_be_decoded_counts_as_lost() {
    for (field, value) in [
        ("managedRoles", json!([{"role": "viewer", "expirationTime": "9999-12-31T23:59:59Z"}])),
        // A state that a newer version defines.
        ("roles", json!([{"role": "viewer", "state": "Overdue"}])),
        // Go stores it because it accepts it as an integer, and serde_json does not.
        ("observedGeneration", json!(-0.0)),
        ("conditions", json!([{"type": "Ready"}])),
    ] {
        let mut object = object("a");
        object["status"][field] = value;
        let stored: Stored<ProjectMembership> = serde_json::from_str(&object.to_string()).unwrap();
        assert!(stored.lost_status().is_some(), "{field}");
        let object = stored.into_object().unwrap();
        assert_eq!((object.spec.roles.len(), object.status), (1, None), "{field}");
    }
}

#[test]
fn an_object_that_cannot_be_decoded_is_identified_and_an_answer_with_it_is_an_error() {
    let mut object = object("a");
    object["spec"]["roles"] = json!("viewer");
    object["metadata"]["managedFields"] = json!([{"time": "9999-12-31T23:59:59Z"}]);
    let stored: Stored<ProjectMembership> = serde_json::from_value(object).unwrap();
    assert_eq!((stored.name_any().as_str(), stored.namespace().as_deref()), ("a", Some("team-a")));
    let error = stored.clone().into_object().unwrap_err();
    assert!(error.to_string().contains("invalid type: string \"viewer\", expected a sequence"), "{error}");
    assert!(stored.answered().is_err());
}

/// Other kinds that are listed, watched or read: fields other than spec and status are kept as well.
#[test]
fn every_kind_is_read_with_any_managed_fields() {
    let with = |mut object: Value| {
        object["metadata"] = json!({
            "name": "a", "labels": {"team": "a"},
            "managedFields": [{"manager": "m", "operation": "Update", "time": "9999-12-31T23:59:59Z"}],
        });
        object.to_string()
    };
    let namespace: Stored<PartialObjectMeta<Namespace>> =
        serde_json::from_str(&with(json!({"apiVersion": "v1", "kind": "Namespace", "spec": {"finalizers": ["x"]}})))
            .unwrap();
    assert_eq!(namespace.into_object().unwrap().labels()["team"], "a");
    let secret: Stored<Secret> =
        serde_json::from_str(&with(json!({"apiVersion": "v1", "kind": "Secret", "data": {"token": "YQ=="}}))).unwrap();
    assert_eq!(secret.into_object().unwrap().data.unwrap()["token"].0, b"a");
    let auth = json!({"personalAccessTokenSecretRef": {"name": "s", "key": "k"}});
    let spec = json!({"zitadel": {"url": "https://a.example", "auth": auth}});
    let provider: Stored<MembershipProvider> =
        serde_json::from_str(&with(json!({"kind": "MembershipProvider", "spec": spec}))).unwrap();
    assert_eq!(provider.into_object().unwrap().name_any(), "a");
}
