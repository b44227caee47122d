//! An API server in memory, with only what the operator needs. `tests/cluster/model.rs` compares it with the real one.
//!
//! - [`kinds`]: what is served, defaults and pruning
//! - [`state`]: objects, resourceVersions, finalizers, what each request does
//! - [`routes`]: from paths to requests, and answers as JSON

pub mod kinds;
pub mod routes;
pub mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;

use kinds::Kind;
use membership_operator::clock::Clock;
use state::{Change, Refusal, State};

/// An API server. Clones share it.
#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    /// Notified of each change. Not a `watch` channel, which wakes its receivers in an unspecified order.
    changed: Arc<Notify>,
    clock: Clock,
}

/// An object's key.
pub type Place<'a> = (&'a str, &'a str);

impl ApiServer {
    /// An empty one. Its clock determines when objects are created and deleted.
    pub fn new(clock: Clock) -> Self {
        Self { state: Arc::default(), changed: Arc::default(), clock }
    }

    /// Carries out a request that may write.
    pub fn request(&self, request: &routes::Request) -> Result<(u16, Value), Refusal> {
        let now = self.clock.now();
        let mut state = self.lock();
        let before = state.revision();
        let answer = routes::carry_out(&mut state, request, now);
        let changed = state.revision() != before;
        drop(state);
        if changed {
            self.changed.notify_waiters();
        }
        answer
    }

    /// Creates an object, as a user does.
    pub fn create(&self, plural: &str, namespace: &str, object: &Value) -> Result<Value, Refusal> {
        self.by_a_user("POST", plural, namespace, "", object)
    }

    /// Changes an object by a merge patch, as a user does.
    pub fn patch(&self, plural: &str, (namespace, name): Place<'_>, patch: &Value) -> Result<Value, Refusal> {
        self.by_a_user("PATCH", plural, namespace, name, patch)
    }

    /// Deletes an object, as a user does.
    pub fn delete(&self, plural: &str, (namespace, name): Place<'_>) -> Result<Value, Refusal> {
        self.by_a_user("DELETE", plural, namespace, name, &Value::Null)
    }

    fn by_a_user(
        &self,
        method: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let request = routes::Request {
            method: method.to_owned(),
            plural: plural.to_owned(),
            namespace: Some(namespace.to_owned()),
            name: (!name.is_empty()).then(|| name.to_owned()),
            status: false,
            body: body.clone(),
        };
        self.request(&request).map(|(_, object)| object)
    }

    /// An object in its present version.
    pub fn get(&self, plural: &str, place: Place<'_>) -> Option<Value> {
        self.lock().get(plural, place).cloned()
    }

    /// All objects of a kind, by namespace and name.
    pub fn all(&self, plural: &str) -> Vec<Value> {
        self.lock().all(plural, None)
    }

    /// The changes of a kind after a resourceVersion; `None`: they are no longer stored.
    pub fn changes(&self, plural: &str, namespace: Option<&str>, after: u64) -> Option<Vec<Change>> {
        self.lock().changes(plural, namespace, after)
    }

    /// Drops all changes so far, as etcd's compaction does: watches from before must list again.
    pub fn compact(&self) {
        self.lock().compact();
    }

    /// Notifies the receiver of each change.
    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// The properties of a kind.
    pub fn kind(plural: &str) -> &'static Kind {
        kinds::of(plural)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
