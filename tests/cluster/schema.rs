//! What the API server takes and refuses, and what users see of the kinds with kubectl.

mod accepted;
mod cluster_provider;
mod defaults;
mod every_field;
mod immutable;
mod kubectl;
mod ownership;
mod readable;
mod refused;
mod status;

use serde_json::{Value, json};

use crate::support::{Namespace, changed, membership, provider};

/// Applies the objects at once, and returns for each of them what the API server had against it ("" for nothing).
async fn refusals(ns: &Namespace, objects: &[Value]) -> Vec<String> {
    let output = ns.try_apply(objects).await;
    let stderr = output.stderr.as_str();
    let about = |object: &Value| {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        // kubectl says it on one line where several objects are refused, and on several lines where one is.
        let among_others = format!("{kind}.membership.dev {name:?} is invalid: ");
        let alone = format!("The {kind} {name:?} is invalid: ");
        let line = stderr.lines().find_map(|line| line.split_once(&among_others));
        let complaints = line.or_else(|| stderr.split_once(&alone)).map(|(_, complaints)| complaints);
        complaints.unwrap_or_default().to_owned()
    };
    let found: Vec<String> = objects.iter().map(about).collect();
    let refused = found.iter().filter(|complaints| !complaints.is_empty()).count();
    let errors = stderr.matches("rror from server").count().max(usize::from(!stderr.is_empty()));
    assert_eq!(refused, errors, "not every error is about one of the objects: {stderr}");
    found
}

/// A membership's name that says nothing.
fn numbered(index: usize) -> String {
    format!("case-{index}")
}

/// A membership with one thing changed.
fn with(index: usize, pointer: &str, value: Value) -> Value {
    changed(membership(&numbered(index)), pointer, value)
}

/// A membership whose only role has this `temporary`.
fn temporary(index: usize, temporary: Value) -> Value {
    with(index, "/spec/roles/0/temporary", temporary)
}

/// A provider with one thing changed.
fn provider_with(index: usize, pointer: &str, value: Value) -> Value {
    changed(provider(&numbered(index)), pointer, value)
}

/// A ZITADEL provider.
fn zitadel(index: usize) -> Value {
    let mut object = provider(&numbered(index));
    object["spec"] = json!({"zitadel": {
        "url": "https://auth.example.com",
        "organizationId": "69629023906488334",
        "auth": {"personalAccessTokenSecretRef": {"name": "zitadel", "key": "token"}},
    }});
    object
}
