//! The CustomResourceDefinitions, as `kubectl apply` takes them.

mod scope;

use std::io::{ErrorKind, Write};
use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use scope::property;

use crate::api::{ClusterMembershipProvider, MembershipProvider, ProjectMembership};

const HEADER: &str = "# Generated from src/api by `make generate`: change it there.\n";

/// The definition of every kind that works, in the order of their names.
pub fn all() -> Vec<CustomResourceDefinition> {
    [ClusterMembershipProvider::crd(), MembershipProvider::crd(), ProjectMembership::crd()].map(finished).into()
}

/// Every definition as one YAML document, with the name of its file in `crds/`.
pub fn files() -> Result<Vec<(String, String)>, serde_yaml_ng::Error> {
    let file = |crd: CustomResourceDefinition| {
        let name = format!("{}.yaml", crd.spec.names.plural);
        Ok((name, format!("{HEADER}{}", serde_yaml_ng::to_string(&crd)?)))
    };
    all().into_iter().map(file).collect()
}

/// All definitions in one text, one YAML document a kind. The same every time.
pub fn yaml() -> Result<String, serde_yaml_ng::Error> {
    let documents: Vec<String> = files()?.into_iter().map(|(_, document)| document).collect();
    Ok(documents.join("---\n"))
}

/// Prints all definitions, or writes one file a kind into `directory`.
pub fn print(directory: Option<&Path>) -> Result<(), Box<dyn std::error::Error>> {
    let Some(directory) = directory else {
        return match std::io::stdout().write_all(yaml()?.as_bytes()).and_then(|()| std::io::stdout().flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("standard output: {error}").into()),
            // A reader that stops early, as `head` does, has what it needs.
            _ => Ok(()),
        };
    };
    for (name, document) in files()? {
        let file = directory.join(name);
        std::fs::write(&file, document).map_err(|error| format!("{} can't be written: {error}", file.display()))?;
    }
    Ok(())
}

/// Adds what the derives can't express.
fn finished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let kind = crd.spec.names.kind.clone();
    for version in &mut crd.spec.versions {
        let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) else { continue };
        tidy(schema);
        match (kind.as_str(), property(schema, "spec")) {
            ("MembershipProvider", Some(spec)) => scope::of_namespace(spec),
            ("ClusterMembershipProvider", Some(spec)) => scope::of_cluster(spec),
            _ => {}
        }
        // The rule on a role's grant can only detect an empty `temporary:` that isn't dropped as any other null is.
        if let Some(temporary) = temporary(schema) {
            temporary.nullable = Some(true);
        }
        let Some(status) = property(schema, "status") else { continue };
        // As Flux does: without it `kubectl wait` and kstatus consider an unprocessed object finished.
        status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
    }
    crd
}

/// Removes what serde's forms add to the schema and users should not see.
///
/// - `nullable`: without it the API server treats `duration: null` as absent, as everywhere in Kubernetes.
/// - Empty defaults: they have no meaning, and would be written into each new object.
/// - Defaults within an atomic map: what is applied without them differs from what is stored with them, so that a second
///   field manager conflicts, `kubectl apply --server-side` after `kubectl apply` too. The types have these defaults.
/// - Line ends of the source, which `kubectl explain` would keep.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    schema.description = schema.description.take().map(|text| reflowed(&text));
    schema.default = schema.default.take().filter(|JSON(value)| !is_empty(value));
    let atomic = schema.x_kubernetes_map_type.as_deref() == Some("atomic");
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        tidy(property);
        if atomic {
            property.default = None;
        }
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
}

fn temporary(schema: &mut JSONSchemaProps) -> Option<&mut JSONSchemaProps> {
    let roles = property(property(schema, "spec")?, "roles")?;
    let Some(JSONSchemaPropsOrArray::Schema(grant)) = &mut roles.items else { return None };
    property(grant, "temporary")
}

fn is_empty(value: &serde_json::Value) -> bool {
    value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty) || value.as_i64() == Some(0)
}

fn reflowed(text: &str) -> String {
    let paragraphs: Vec<String> = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
    paragraphs.join("\n\n")
}
