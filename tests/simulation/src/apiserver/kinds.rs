//! The kinds that are served: which have a status subresource, and what their schemas default and prune.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
use serde_json::{Map, Value, json};

#[derive(Clone, Debug, Default)]
pub struct Kind {
    /// As in paths.
    pub plural: String,
    /// As in objects.
    pub kind: String,
    /// Group and version, as in objects.
    pub api_version: String,
    /// Whether the kind has a status subresource and generations.
    pub custom: bool,
    /// Whether its changes are kept, for watches.
    pub watched: bool,
    schema: Option<JSONSchemaProps>,
}

/// The kind of this plural; an unknown one is stored as it is sent.
pub fn of(plural: &str) -> &'static Kind {
    static KINDS: OnceLock<BTreeMap<String, Kind>> = OnceLock::new();
    static OTHER: OnceLock<Kind> = OnceLock::new();
    let known = KINDS.get_or_init(|| {
        let mut kinds: Vec<Kind> = membership_operator::api::crds::all().iter().map(custom).collect();
        kinds.push(plain("secrets", "Secret", "v1"));
        kinds.push(plain("configmaps", "ConfigMap", "v1"));
        kinds.push(plain("namespaces", "Namespace", "v1"));
        kinds.push(plain("leases", "Lease", "coordination.k8s.io/v1"));
        kinds.push(plain("events", "Event", "events.k8s.io/v1"));
        kinds.into_iter().map(|kind| (kind.plural.clone(), kind)).collect()
    });
    known.get(plural).unwrap_or_else(|| OTHER.get_or_init(Kind::default))
}

fn plain(plural: &str, kind: &str, api_version: &str) -> Kind {
    let watched = plural == "namespaces";
    let [plural, kind, api_version] = [plural, kind, api_version].map(str::to_owned);
    Kind { plural, kind, api_version, custom: false, watched, schema: None }
}

fn custom(crd: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition) -> Kind {
    let version = crd.spec.versions.first();
    Kind {
        plural: crd.spec.names.plural.clone(),
        kind: crd.spec.names.kind.clone(),
        api_version: format!("{}/{}", crd.spec.group, version.map(|v| v.name.as_str()).unwrap_or_default()),
        custom: true,
        watched: true,
        schema: version.and_then(|version| version.schema.clone()?.open_api_v3_schema),
    }
}

impl Kind {
    /// Prunes fields that the schema doesn't have and sets its defaults; encodes the text of a Secret.
    pub fn finish(&self, object: &mut Value) {
        if self.kind == "Secret" {
            encode(object);
        }
        let Some(properties) = self.schema.as_ref().and_then(|schema| schema.properties.as_ref()) else { return };
        if let Value::Object(fields) = object {
            for (name, schema) in properties {
                default_of(fields, name, schema);
                if let Some(value) = fields.get_mut(name) {
                    finish(value, schema);
                }
            }
        }
    }
}

/// Moves what `stringData` has to `data`.
fn encode(secret: &mut Value) {
    let Some(Value::Object(texts)) = secret.as_object_mut().and_then(|secret| secret.remove("stringData")) else {
        return;
    };
    for (name, text) in texts {
        let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
        secret["data"][name] = json!(bytes);
    }
}

fn default_of(fields: &mut Map<String, Value>, name: &str, schema: &JSONSchemaProps) {
    let nullable = schema.nullable.unwrap_or_default();
    if fields.get(name).is_some_and(|value| value.is_null() && !nullable) {
        fields.remove(name);
    }
    if let Some(default) = schema.default.as_ref().filter(|_| !fields.contains_key(name)) {
        fields.insert(name.to_owned(), default.0.clone());
    }
}

fn finish(value: &mut Value, schema: &JSONSchemaProps) {
    match value {
        Value::Object(fields) => {
            if let Some(properties) = &schema.properties {
                fields.retain(|name, _| properties.contains_key(name));
                for (name, schema) in properties {
                    default_of(fields, name, schema);
                    if let Some(value) = fields.get_mut(name) {
                        finish(value, schema);
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                items.iter_mut().for_each(|item| finish(item, schema));
            }
        }
        _ => {}
    }
}
