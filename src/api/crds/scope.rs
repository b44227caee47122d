//! The differences between the two kinds of provider objects: a provider of one namespace reads Secrets of that
//! namespace only and never signs in with the operator's own token; a provider of the cluster names the namespace of
//! each Secret.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, ValidationRule};

const NAMESPACE: &str = "namespace";

/// A spec as a provider of one namespace has it.
pub fn of_namespace(spec: &mut JSONSchemaProps) {
    each_reference(spec, &|reference| {
        let properties = reference.properties.get_or_insert_default();
        properties.remove(NAMESPACE);
        if let Some(text) = properties.get_mut("name").and_then(|name| name.description.as_mut()) {
            *text = format!("{}, in the namespace of the provider.", text.trim_end_matches('.'));
        }
    });
    let auth = property(spec, "infisical").and_then(|infisical| property(infisical, "auth"));
    if let Some(auth) = auth {
        let properties = auth.properties.get_or_insert_default();
        properties.remove("kubernetesAuth");
        properties.remove("oidcAuth");
        auth.x_kubernetes_validations = Some(vec![ValidationRule {
            rule: "has(self.universalAuth) != has(self.tokenSecretRef)".to_owned(),
            message: Some("write exactly one way to sign in: universalAuth or tokenSecretRef".to_owned()),
            ..ValidationRule::default()
        }]);
    }
}

/// A spec as a provider of the cluster has it.
pub fn of_cluster(spec: &mut JSONSchemaProps) {
    each_reference(spec, &|reference| {
        reference.required.get_or_insert_default().insert(0, NAMESPACE.to_owned());
    });
}

/// Changes every reference to a key of a Secret or ConfigMap.
fn each_reference(schema: &mut JSONSchemaProps, change: &impl Fn(&mut JSONSchemaProps)) {
    let is_reference = ["name", "key", NAMESPACE]
        .iter()
        .all(|field| schema.properties.as_ref().is_some_and(|properties| properties.contains_key(*field)));
    if is_reference {
        change(schema);
        return;
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        each_reference(property, change);
    }
}

/// A property of an object.
pub fn property<'a>(schema: &'a mut JSONSchemaProps, name: &str) -> Option<&'a mut JSONSchemaProps> {
    schema.properties.as_mut()?.get_mut(name)
}
