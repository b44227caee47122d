//! The state of the API server, and the effect of each request.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

use super::Place;
use super::kinds;

/// The type of a watch event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// It is new.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted; the event contains its last version.
    Deleted,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its resourceVersion.
    pub revision: u64,
    /// What kind of change.
    pub edge: Edge,
    /// The object after it.
    pub object: Arc<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub code: u16,
    /// The reason, as in a Status.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    /// The API server's response.
    pub fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        })
    }
}

#[derive(Default)]
struct Table {
    objects: BTreeMap<(String, String), Value>,
    changes: Vec<Change>,
    compacted: u64,
}

/// Objects and their changes.
#[derive(Default)]
pub struct State {
    tables: BTreeMap<String, Table>,
    revision: u64,
    uids: u64,
}

impl State {
    /// The newest resourceVersion.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// An object.
    pub fn get(&self, plural: &str, (namespace, name): Place<'_>) -> Option<&Value> {
        self.tables.get(plural)?.objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// All objects of a kind, by namespace and name.
    pub fn all(&self, plural: &str, namespace: Option<&str>) -> Vec<Value> {
        let objects = self.tables.get(plural).into_iter().flat_map(|table| &table.objects);
        objects
            .filter(|((of, _), _)| namespace.is_none_or(|only| only == of))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// The changes of a kind after a resourceVersion; `None`: they are no longer stored.
    pub fn changes(&self, plural: &str, namespace: Option<&str>, after: u64) -> Option<Vec<Change>> {
        let Some(table) = self.tables.get(plural) else { return Some(Vec::new()) };
        let first = table.changes.partition_point(|change| change.revision <= after);
        let new = table.changes.get(first..).unwrap_or_default().iter();
        let here = |change: &&Change| namespace.is_none_or(|only| change.object["metadata"]["namespace"] == only);
        (after >= table.compacted).then(|| new.filter(here).cloned().collect())
    }

    /// Drops all changes so far.
    pub fn compact(&mut self) {
        for table in self.tables.values_mut() {
            table.compacted = self.revision;
            table.changes.clear();
        }
    }

    /// Creates an object.
    pub fn create(&mut self, plural: &str, namespace: &str, object: &Value, now: Timestamp) -> Result<Value, Refusal> {
        let kind = kinds::of(plural);
        let mut object = object.clone();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if !object["metadata"]["resourceVersion"].is_null() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::new(400, "BadRequest", message));
        }
        if self.get(plural, (namespace, &name)).is_some() {
            return Err(Refusal::new(409, "AlreadyExists", format!("{plural} {name:?} already exists")));
        }
        self.uids += 1;
        if kind.custom
            && let Value::Object(fields) = &mut object
        {
            fields.remove("status");
        }
        let metadata = &mut object["metadata"];
        if !namespace.is_empty() {
            metadata["namespace"] = namespace.into();
        }
        metadata["uid"] = format!("00000000-0000-4000-9000-{:012}", self.uids).into();
        metadata["creationTimestamp"] = seconds(now).into();
        if let Value::Object(metadata) = metadata {
            for of_the_server in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
                metadata.remove(of_the_server);
            }
            tidy(metadata);
        }
        if kind.custom {
            object["metadata"]["generation"] = 1.into();
        }
        object["kind"] = kind.kind.clone().into();
        object["apiVersion"] = kind.api_version.clone().into();
        kind.finish(&mut object);
        Ok(self.store(plural, Edge::Added, object))
    }

    /// Replaces an object of the same name; returns whether it is a new one. A Lease is created if there is none.
    pub fn replace(
        &mut self,
        plural: &str,
        place: Place<'_>,
        object: &Value,
        now: Timestamp,
    ) -> Result<(bool, Value), Refusal> {
        let unconditional = object["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty);
        if unconditional && plural == "leases" && self.get(plural, place).is_none() {
            return Ok((true, self.create(plural, place.0, object, now)?));
        }
        let old = self.found(plural, place)?.clone();
        if object["metadata"]["resourceVersion"].as_str().is_none_or(str::is_empty) {
            let message = "metadata.resourceVersion: Invalid value: must be specified for an update";
            return Err(Refusal::new(422, "Invalid", message));
        }
        Ok((false, self.change(plural, &old, object.clone(), false)?))
    }

    /// Changes an object by a merge patch.
    pub fn patch(&mut self, plural: &str, place: Place<'_>, patch: &Value, status: bool) -> Result<Value, Refusal> {
        let old = self.found(plural, place)?.clone();
        let mut new = old.clone();
        merge(&mut new, patch);
        self.change(plural, &old, new, status)
    }

    /// Deletes an object: immediately, or when its last finalizer is removed.
    pub fn delete(&mut self, plural: &str, place: Place<'_>, now: Timestamp) -> Result<Value, Refusal> {
        let mut object = self.found(plural, place)?.clone();
        let kind = kinds::of(plural);
        if finalizers(&object).is_empty() {
            let metadata = &object["metadata"];
            let details = json!({"name": place.1, "kind": plural, "uid": metadata["uid"], "group": kind.api_version.split_once('/').map_or("", |(group, _)| group)});
            self.remove(plural, object);
            return Ok(json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            }));
        }
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return Ok(object);
        }
        object["metadata"]["deletionTimestamp"] = seconds(now).into();
        object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        if let Some(generation) = object["metadata"]["generation"].as_i64() {
            object["metadata"]["generation"] = (generation + 1).into();
        }
        Ok(self.store(plural, Edge::Modified, object))
    }

    fn found(&self, plural: &str, place: Place<'_>) -> Result<&Value, Refusal> {
        let missing = || Refusal::new(404, "NotFound", format!("{plural} {:?} not found", place.1));
        self.get(plural, place).ok_or_else(missing)
    }

    fn change(&mut self, plural: &str, old: &Value, mut new: Value, status: bool) -> Result<Value, Refusal> {
        let kind = kinds::of(plural);
        let given = |field: &str| new["metadata"][field].as_str().filter(|text| !text.is_empty());
        if given("resourceVersion").is_some_and(|version| old["metadata"]["resourceVersion"] != version) {
            let message = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Refusal::new(409, "Conflict", message));
        }
        // A write of the status ignores the metadata, so that a uid is no precondition there.
        if !(status && kind.custom) && given("uid").is_some_and(|uid| old["metadata"]["uid"] != uid) {
            return Err(Refusal::new(422, "Invalid", "metadata.uid: Invalid value: field is immutable"));
        }
        if kind.custom {
            let (kept, written) = if status { (old, &new) } else { (&new, old) };
            let (mut kept, status) = (kept.clone(), written["status"].clone());
            if let Value::Object(fields) = &mut kept {
                fields.remove("status");
                if !status.is_null() {
                    fields.insert("status".to_owned(), status);
                }
            }
            new = kept;
        }
        of_the_server(&mut new, old);
        kind.finish(&mut new);
        let leaving = !old["metadata"]["deletionTimestamp"].is_null();
        let before = finalizers(old);
        if leaving && finalizers(&new).iter().any(|finalizer| !before.contains(finalizer)) {
            let message =
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
            return Err(Refusal::new(422, "Invalid", message));
        }
        if kind.custom && apart_from_metadata_and_status(&new) != apart_from_metadata_and_status(old) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            new["metadata"]["generation"] = (generation + 1).into();
        }
        if new == *old {
            return Ok(new);
        }
        if leaving && finalizers(&new).is_empty() {
            // The watch shows it as it was before; the response to the removal of the last finalizer shows it without.
            let gone = self.remove(plural, old.clone());
            new["metadata"]["resourceVersion"] = gone["metadata"]["resourceVersion"].clone();
            return Ok(new);
        }
        Ok(self.store(plural, Edge::Modified, new))
    }

    fn store(&mut self, plural: &str, edge: Edge, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let place = place_of(&object);
        let table = self.tables.entry(plural.to_owned()).or_default();
        table.objects.insert(place, object.clone());
        if kinds::of(plural).watched {
            table.changes.push(Change { revision: self.revision, edge, object: Arc::new(object.clone()) });
        }
        object
    }

    fn remove(&mut self, plural: &str, object: Value) -> Value {
        let object = self.store(plural, Edge::Deleted, object);
        if let Some(table) = self.tables.get_mut(plural) {
            table.objects.remove(&place_of(&object));
        }
        object
    }
}

/// RFC 7386.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Value::Object(fields) = value {
        for (name, new) in patch {
            if new.is_null() {
                fields.remove(name);
            } else {
                merge(fields.entry(name.clone()).or_insert(Value::Null), new);
            }
        }
    }
}

/// What no request can change.
fn of_the_server(new: &mut Value, old: &Value) {
    for field in ["kind", "apiVersion"] {
        new[field] = old[field].clone();
    }
    if let Value::Object(metadata) = &mut new["metadata"] {
        for field in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            match &old["metadata"][field] {
                Value::Null => metadata.remove(field),
                value => metadata.insert(field.to_owned(), value.clone()),
            };
        }
        tidy(metadata);
    }
}

/// Removes empty fields.
fn tidy(metadata: &mut Map<String, Value>) {
    for field in ["finalizers", "annotations", "labels", "ownerReferences"] {
        let empty = match metadata.get(field) {
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(Value::Null) => true,
            _ => false,
        };
        if empty {
            metadata.remove(field);
        }
    }
}

fn apart_from_metadata_and_status(object: &Value) -> Vec<(&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(name, _)| !["metadata", "status"].contains(&name.as_str())).collect()
}

/// The finalizers of an object.
pub fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn place_of(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn seconds(now: Timestamp) -> String {
    now.round(Unit::Second).map_or_else(|_| now.to_string(), |now| now.to_string())
}
