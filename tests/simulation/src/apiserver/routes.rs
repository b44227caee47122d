//! From paths to requests, and answers as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kinds;
use super::state::{Change, Edge, Refusal, State};

/// The relevant parts of a request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// The kind, as in paths.
    pub plural: String,
    /// The namespace; `None`: all of them, or none.
    pub namespace: Option<String>,
    /// The name; `None`: all of them.
    pub name: Option<String>,
    /// Whether it is about the status alone.
    pub status: bool,
    pub body: Value,
}

/// The query of a watch.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// From after which resourceVersion on.
    pub after: u64,
    /// For how many seconds.
    pub seconds: u64,
}

impl Request {
    /// Reads a path: `/apis/{group}/{version}[/namespaces/{namespace}]/{plural}[/{name}[/status]]`.
    pub fn read(method: &str, path: &str, body: &[u8]) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let resource = match segments.as_slice() {
            ["api", _, resource @ ..] | ["apis", _, _, resource @ ..] => resource,
            _ => return None,
        };
        let (namespace, resource) = match resource {
            ["namespaces", namespace, resource @ ..] if !resource.is_empty() => (Some(*namespace), resource),
            _ => (None, resource),
        };
        let plural = (*resource.first()?).to_owned();
        let name = resource.get(1).map(|name| (*name).to_owned());
        let status = resource.get(2) == Some(&"status");
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        let (method, namespace) = (method.to_owned(), namespace.map(str::to_owned));
        Some(Self { method, plural, namespace, name, status, body })
    }

    /// Whether it changes nothing.
    pub fn reads(&self) -> bool {
        self.method == "GET"
    }
}

/// The watch that a query requests.
pub fn watch(query: &str) -> Option<Watch> {
    let fields: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let number = |name: &str| fields.get(name).and_then(|value| value.parse().ok());
    fields.get("watch").filter(|value| **value == "true")?;
    Some(Watch { after: number("resourceVersion")?, seconds: number("timeoutSeconds").unwrap_or(290) })
}

/// Carries out a request. Returns the code and the body of the response.
pub fn carry_out(state: &mut State, request: &Request, now: Timestamp) -> Result<(u16, Value), Refusal> {
    let Request { method, plural, namespace, name, status, body } = request;
    let of = namespace.as_deref().unwrap_or_default();
    match (method.as_str(), name) {
        ("GET", None) => {
            let kind = kinds::of(plural);
            let items = state.all(plural, namespace.as_deref());
            let version = state.revision().to_string();
            let list = json!({
                "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version,
                "metadata": {"continue": "", "resourceVersion": version}, "items": items,
            });
            Ok((200, list))
        }
        ("GET", Some(name)) => match state.get(plural, (of, name)) {
            Some(object) => Ok((200, object.clone())),
            None => Err(Refusal::new(404, "NotFound", format!("{plural} {name:?} not found"))),
        },
        ("POST", None) => state.create(plural, of, body, now).map(|object| (201, object)),
        ("PUT", Some(name)) => {
            let (new, object) = state.replace(plural, (of, name), body, now)?;
            Ok((if new { 201 } else { 200 }, object))
        }
        ("PATCH", Some(name)) => state.patch(plural, (of, name), body, *status).map(|object| (200, object)),
        ("DELETE", Some(name)) => state.delete(plural, (of, name), now).map(|answer| (200, answer)),
        _ => Err(Refusal::new(405, "MethodNotAllowed", "the server does not allow this method on the resource")),
    }
}

/// A change as one line of a watch.
pub fn line(change: &Change) -> String {
    let edge = match change.edge {
        Edge::Added => "ADDED",
        Edge::Modified => "MODIFIED",
        Edge::Deleted => "DELETED",
    };
    format!("{}\n", json!({"type": edge, "object": *change.object}))
}

/// The line that ends a watch from before the stored changes.
pub fn expired() -> String {
    let refusal = Refusal::new(410, "Expired", "too old resource version");
    format!("{}\n", json!({"type": "ERROR", "object": refusal.status()}))
}
