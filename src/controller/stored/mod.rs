//! Objects as the API server stores them. They are decoded so that the content that one user can write into one object
//! hides neither that object nor all others: normally one item that cannot be decoded fails the whole list.
//!
//! - `metadata.managedFields` is never decoded. A user who may write an object may write that field too: with a time
//!   that Go accepts and jiff does not (`9999-12-31T23:59:59Z`), or with fields nested deeper than serde_json's limit
//!   of 128.
//! - A status that cannot be decoded counts as lost, like one that was not restored from a backup: what was granted
//!   ends (design: "the record was lost as well as the status"). The next write replaces all of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// An object as it is stored.
#[derive(Clone, Debug)]
pub struct Stored<K> {
    /// The object, or the identity of one that cannot be decoded.
    read: Result<K, Box<Undecodable>>,
    /// Why its status counts as lost.
    lost_status: Option<String>,
}

/// What is known about an object that cannot be decoded.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Undecodable {
    /// Which object it is.
    pub metadata: ObjectMeta,
    /// Why it cannot be decoded.
    pub error: String,
}

/// Decodes the fields of an object's metadata that are used, and skips the others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", remote = "ObjectMeta")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(skip)]
    deletion_grace_period_seconds: Option<i64>,
    #[serde(skip)]
    generate_name: Option<String>,
    #[serde(skip)]
    managed_fields: Option<Vec<ManagedFieldsEntry>>,
    #[serde(skip)]
    owner_references: Option<Vec<OwnerReference>>,
    #[serde(skip)]
    self_link: Option<String>,
}

#[derive(Deserialize)]
struct Parts {
    #[serde(default, with = "Metadata")]
    metadata: ObjectMeta,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl<K> Stored<K> {
    /// Why the status counts as lost, if it could not be decoded.
    pub fn lost_status(&self) -> Option<&str> {
        self.lost_status.as_deref()
    }

    /// Returns the object, or why it cannot be decoded.
    pub fn into_object(self) -> Result<K, Box<Undecodable>> {
        self.read
    }
}

impl<K: Resource> Stored<K> {
    /// The object of a response to a request; one that cannot be decoded is an error.
    pub fn answered(self) -> Result<K, kube::Error> {
        let undecodable = |error: Box<Undecodable>| kube::Error::SerdeError(serde::de::Error::custom(error));
        self.read.map_err(undecodable)
    }
}

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { metadata, mut others } = Parts::deserialize(deserializer)?;
        others.insert("metadata".to_owned(), Value::Object(Map::new()));
        let object = |others: &Map<String, Value>| {
            let mut object = K::deserialize(others)?;
            *object.meta_mut() = metadata.clone();
            Ok(object)
        };
        let error: serde_json::Error = match object(&others) {
            Ok(object) => return Ok(Self { read: Ok(object), lost_status: None }),
            Err(error) => error,
        };
        let error = error.to_string();
        others.remove("status");
        Ok(match object(&others) {
            Ok(object) => Self { read: Ok(object), lost_status: Some(error) },
            Err(_) => Self { read: Err(Box::new(Undecodable { metadata, error })), lost_status: None },
        })
    }
}

impl<K: Resource> Resource for Stored<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.read {
            Ok(object) => object.meta(),
            Err(undecodable) => &undecodable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.read {
            Ok(object) => object.meta_mut(),
            Err(undecodable) => &mut undecodable.metadata,
        }
    }
}

#[cfg(test)]
mod tests;
