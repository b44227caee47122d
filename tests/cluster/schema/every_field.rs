//! What has to be so of every field of every kind, now and of those that come.

use membership_operator::api::crds;
use serde_json::Value;

/// Every field of every kind with its path, as `ProjectMembership.spec.roles[].role`.
fn fields() -> Vec<(String, Value)> {
    fn collect(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            collect(property, &path, found);
            if property["items"].is_object() {
                collect(&property["items"], &format!("{path}[]"), found);
            }
            found.push((path, property.clone()));
        }
    }
    let mut found = Vec::new();
    for crd in crds::all() {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        collect(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], kind, &mut found);
    }
    found
}

/// The paths of the fields of which `wrong` is true.
fn those(wrong: impl Fn(&Value) -> bool) -> Vec<String> {
    fields().into_iter().filter(|(_, field)| wrong(field)).map(|(path, _)| path).collect()
}

const NONE: Vec<String> = Vec::new();

#[test]
fn every_field_has_a_text_for_kubectl_explain() {
    assert_eq!(those(|field| field["description"].as_str().is_none_or(|text| text.len() < 10)), NONE);
    for crd in crds::all() {
        let text = serde_json::to_string(&crd).unwrap();
        assert!(!text.contains("Auto-generated"), "{:?} has no text of its own", crd.spec.names.kind);
    }
}

#[test]
fn every_string_and_list_has_a_bound() {
    let unbounded = |field: &Value| match field["type"].as_str() {
        // The API server takes no other values for these.
        Some("string") if field["enum"].is_array() || field["format"] == "date-time" => false,
        Some("string") => field["maxLength"].is_null(),
        Some("array") => field["maxItems"].is_null(),
        Some("integer") => field["minimum"].is_null(),
        _ => false,
    };
    assert_eq!(those(unbounded), NONE);
}

#[test]
fn every_list_says_how_two_managers_are_merged() {
    let unspecified = |field: &Value| field["type"] == "array" && field["x-kubernetes-list-type"].is_null();
    assert_eq!(those(unspecified), NONE);
}

#[test]
fn the_parts_of_a_membership_that_git_alone_writes_are_atomic() {
    let atomic =
        |field: &Value| field["x-kubernetes-map-type"] == "atomic" || field["x-kubernetes-list-type"] == "atomic";
    let found: Vec<String> =
        those(atomic).into_iter().filter(|path| path.starts_with("ProjectMembership.spec")).collect();
    let expected = ["project", "providerRef", "roles[].temporary", "roles", "subject"];
    assert_eq!(found, expected.map(|field| format!("ProjectMembership.spec.{field}")));
}

/// What is applied without them would differ from what is stored with them: a second field manager would conflict.
#[test]
fn an_atomic_map_has_no_defaults() {
    let defaults = |field: &Value| {
        let atomic = field["x-kubernetes-map-type"] == "atomic";
        atomic && field["properties"].as_object().into_iter().flatten().any(|(_, field)| !field["default"].is_null())
    };
    assert_eq!(those(defaults), NONE);
}

#[test]
fn a_null_means_that_a_field_isnt_there() {
    // The one exception is refused by a rule (`an_empty_temporary_is_no_permanent_grant`).
    assert_eq!(those(|field| field["nullable"] == true), ["ProjectMembership.spec.roles[].temporary"]);
}
