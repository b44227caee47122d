//! Classifies failed requests to the API server, and holds back what waits while the API server is unavailable.
//!
//! A refusal that concerns one object is retried for that object alone, with a backoff. After any other failure the API
//! server is probed, with one request at a time for the whole process. While the probe fails, nothing but the probe and
//! the watches is sent: requests of passes fail immediately, passes that fail in this way wait here, and all of them
//! run when the probe succeeds. Ends of access at a provider need no API server and are carried out in the meantime.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use kube::runtime::reflector::ObjectRef;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch as signal};
use tokio::time::Instant;
use tower::BoxError;

use crate::api::ProjectMembership;
use crate::controller::provider_key::ProviderKey;

/// The first backoff after a fault. The watch delivers a newer version of the object within this time.
const FIRST: Duration = Duration::from_millis(200);
/// The longest backoff.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest backoff while an end or a revocation is due.
const LONGEST_WHILE_DUE: Duration = Duration::from_secs(5);
/// The number of conflicts in a row from which on they are logged: one or two are normal if there are other writers.
const CONFLICTS: u32 = 3;

/// What a failed request to the API server concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultScope {
    /// The object was deleted.
    Gone,
    /// Another writer was first.
    Conflict,
    /// The API server refused this request about this object.
    Object,
    /// Possibly all requests: the probe decides.
    Server,
}

impl FaultScope {
    /// What an error concerns.
    pub fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                404 => Self::Gone,
                409 => Self::Conflict,
                // The operator's credential is refused, there are too many requests, or the API server reports an
                // internal failure.
                401 | 429 | 500.. => Self::Server,
                _ => Self::Object,
            },
            kube::Error::SerdeError(_) => Self::Object,
            _ => Self::Server,
        }
    }

    /// Whether to log a fault, which is the `in_a_row`th of its object. A fault that concerns all objects is logged
    /// once, by the probe: `undecided` means that the API server is unavailable or being probed. Pure.
    pub fn is_logged(self, in_a_row: u32, undecided: bool) -> bool {
        match self {
            Self::Gone => false,
            Self::Conflict => in_a_row >= CONFLICTS,
            Self::Object => true,
            // The first fault only starts a probe.
            Self::Server => in_a_row > 1 && !undecided,
        }
    }
}

/// A failed pass, with what decides when it is retried.
#[derive(Clone, Copy, Debug)]
pub struct FailedPass {
    /// What the fault concerns.
    pub concern: FaultScope,
    /// How many passes in a row have failed in this way, this one included.
    pub in_a_row: u32,
    /// Whether the object waits for the API server; its pass runs when that is available again.
    pub waits: bool,
    /// Whether an end or a revocation is due, which needs no API server.
    pub revokes: bool,
    /// The time until the next grant ends.
    pub next_end: Option<Duration>,
}

impl FailedPass {
    /// The time until the next attempt; `None`: when something changes, or the API server is available again. Pure.
    pub fn retry(self) -> Option<Duration> {
        let longest = if self.revokes { LONGEST_WHILE_DUE } else { LONGEST };
        let backoff = FIRST.saturating_mul(1 << self.in_a_row.saturating_sub(1).min(20)).min(longest);
        match self.concern {
            FaultScope::Gone => None,
            _ if self.waits && !self.revokes => self.next_end,
            _ => Some(self.next_end.map_or(backoff, |end| end.min(backoff))),
        }
    }
}

/// A request that was not sent.
#[derive(thiserror::Error, Clone, Copy, Debug)]
#[error(
    "the request was not sent: the Kubernetes API server is unavailable, and the operator probes it until it responds"
)]
pub struct Unavailable;

/// Whether the API server is available, and what waits until it is.
#[derive(Debug)]
pub struct Outage {
    state: Mutex<State>,
    /// Notified when a probe is requested.
    pub suspected: Notify,
    available: signal::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// When the probe began to fail.
    since: Option<Instant>,
    /// A probe is requested or in progress.
    probed: bool,
    waiting: WaitingKeys,
}

/// The passes and checks that have waited for the end of an outage.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WaitingKeys {
    /// The memberships, by namespace and name.
    pub memberships: BTreeSet<(String, String)>,
    /// The provider objects.
    pub providers: BTreeSet<ProviderKey>,
}

impl State {
    fn waits(&self, in_a_row: u32) -> bool {
        self.since.is_some() || (self.probed && in_a_row == 1)
    }
}

impl Default for Outage {
    fn default() -> Self {
        Self { state: Mutex::default(), suspected: Notify::new(), available: signal::Sender::new(true) }
    }
}

impl Outage {
    /// Requests a probe of the API server, after a failure that may concern all requests.
    pub fn suspect(&self) {
        self.state.lock().probed = true;
        self.suspected.notify_one();
    }

    /// Whether the API server is unavailable or being probed.
    pub fn is_undecided(&self) -> bool {
        let state = self.state.lock();
        state.since.is_some() || state.probed
    }

    /// Whether a membership whose pass failed for the `in_a_row`th time waits for the API server, which is recorded. It
    /// waits while the API server is unavailable, and after the first failure also until a probe has shown whether it
    /// is.
    pub fn waits(&self, membership: &ObjectRef<ProjectMembership>, in_a_row: u32) -> bool {
        let mut state = self.state.lock();
        let waits = state.waits(in_a_row);
        if waits {
            state
                .waiting
                .memberships
                .insert((membership.namespace.clone().unwrap_or_default(), membership.name.clone()));
        }
        waits
    }

    /// As [`Outage::waits`], for a provider object's check.
    pub fn provider_waits(&self, provider: &ProviderKey, in_a_row: u32) -> bool {
        let mut state = self.state.lock();
        let waits = state.waits(in_a_row);
        if waits {
            state.waiting.providers.insert(provider.clone());
        }
        waits
    }

    /// False while the API server is unavailable.
    pub fn available(&self) -> signal::Receiver<bool> {
        self.available.subscribe()
    }

    /// Records that the probe failed. Returns whether the outage begins with it.
    pub fn fails(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let begins = state.since.is_none();
        state.since.get_or_insert(now);
        self.available.send_replace(false);
        begins
    }

    /// Records that the probe succeeded. Returns the duration of the outage, if there was one, and what has waited.
    pub fn ends(&self, now: Instant) -> (Option<Duration>, WaitingKeys) {
        let mut state = self.state.lock();
        let State { since, waiting, .. } = std::mem::take(&mut *state);
        self.available.send_replace(true);
        (since.map(|since| now.duration_since(since)), waiting)
    }

    /// Whether a request may be sent. Watches and their lists are always sent: the API server paces them itself, and
    /// they show when it is available again.
    fn admits(&self, request: &Request<Body>) -> bool {
        let mut parameters = request.uri().query().unwrap_or_default().split('&');
        let watches = parameters.any(|parameter| parameter == "watch=true" || parameter.starts_with("limit="));
        watches || self.state.lock().since.is_none()
    }
}

/// The client for everything but the probe. It refuses requests during an outage, so that no caller can forget to
/// check.
pub fn client(client: Client, outage: Arc<Outage>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = outage.admits(&request).then(|| client.clone());
        async move {
            match client {
                Some(client) => client.send(request).await.map_err(BoxError::from),
                None => Err(Unavailable.into()),
            }
        }
    });
    Client::new(service, namespace)
}

/// The time until the next grant of an object ends.
pub fn next_end(object: &ProjectMembership, now: Timestamp) -> Option<Duration> {
    let managed = object.status.iter().flat_map(|status| &status.managed_roles);
    let end = managed.filter_map(|role| role.expiration_time).filter(|end| *end > now).min()?;
    Duration::try_from(end.duration_since(now)).ok()
}

#[cfg(test)]
mod tests;
