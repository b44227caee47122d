//! Objects to begin with, and ways to change one thing in them.

use serde_json::{Value, json};

/// A ProjectMembership that the schema accepts: one permanent role of an Infisical identity.
pub fn membership(name: &str) -> Value {
    json!({
        "apiVersion": "membership.dev/v1alpha1",
        "kind": "ProjectMembership",
        "metadata": {"name": name},
        "spec": {
            "providerRef": {"name": "infisical"},
            "project": {"id": "6ec3d92b-3251-4084-9a12-ffb509a03ffc"},
            "subject": {"kind": "Identity", "id": "24160fbf-24bd-49d7-95de-feb53df75187"},
            "roles": [{"role": "viewer"}],
        },
    })
}

/// A MembershipProvider that the schema accepts: Infisical with universal auth.
pub fn provider(name: &str) -> Value {
    json!({
        "apiVersion": "membership.dev/v1alpha1",
        "kind": "MembershipProvider",
        "metadata": {"name": name},
        "spec": {"infisical": {
            "url": "https://app.infisical.com",
            "auth": {"universalAuth": {
                "clientIdSecretRef": {"name": "infisical", "key": "client-id"},
                "clientSecretSecretRef": {"name": "infisical", "key": "client-secret"},
            }},
        }},
    })
}

/// The object with the field at `pointer` (as `/spec/roles/0/role`) set to `value`; what is missing on the way is made.
#[must_use]
pub fn changed(mut object: Value, pointer: &str, value: Value) -> Value {
    let mut place = &mut object;
    for step in pointer.split('/').skip(1) {
        place = match step.parse::<usize>() {
            Ok(index) => {
                let list = place.as_array_mut().expect("a number names a place in a list");
                list.resize(list.len().max(index + 1), json!({}));
                &mut list[index]
            }
            Err(_) => &mut place[step],
        };
    }
    *place = value;
    object
}

/// The object without the field at `pointer`.
#[must_use]
pub fn without(mut object: Value, pointer: &str) -> Value {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    let parent = object.pointer_mut(parent).and_then(Value::as_object_mut).expect("the field's parent is an object");
    parent.remove(field).expect("the field is there");
    object
}
