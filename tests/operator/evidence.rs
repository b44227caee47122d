//! What a test checks besides the roles in force: conditions, events, and the requests at both ends.

use std::time::Duration;

use control_plane::{ControlPlane, Event, Filter, Mark};
use jiff::SignedDuration;
use serde_json::Value;
use simulator::{Front, Request, worlds};

use crate::in_memory::now;
use crate::stage::{Stage, set};
use crate::subject::Subject;
use crate::support::{OPERATOR, SOON, eventually};

/// What a request to a provider is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// All members of the project.
    List,
    /// A first membership.
    Create,
    /// Another list of roles.
    Change,
    /// No membership any more.
    Remove,
}

impl Subject {
    /// The method and the path of a call about it, for an order. Creations and lists at ZITADEL name no user.
    pub fn call(&self, call: Call) -> (&'static str, String) {
        match (call, self.is_at_infisical()) {
            (Call::List, true) => ("GET", format!("/api/*/{}/identity-memberships", worlds::INFISICAL_PROJECT)),
            (Call::List, false) => ("POST", format!("/management/*/{}/members/_search", worlds::ZITADEL_PROJECT)),
            (Call::Create, true) => ("POST", format!("/identity-memberships/{}", self.id)),
            (Call::Create, false) => ("POST", format!("/management/*/{}/members", worlds::ZITADEL_PROJECT)),
            (Call::Change, true) => ("PATCH", self.id.clone()),
            (Call::Change, false) => ("PUT", self.id.clone()),
            (Call::Remove, _) => ("DELETE", self.id.clone()),
        }
    }

    /// The writes about it that its provider reported as carried out.
    pub fn carried_out(&self) -> Vec<Request> {
        self.writes().into_iter().filter(|request| request.status == Some(200)).collect()
    }

    /// Fails unless this number of writes about it was sent.
    #[track_caller]
    pub fn was_written(&self, times: usize, why: &str) {
        let writes = self.writes();
        assert_eq!(writes.len(), times, "{}, {why}: expected {times} writes, there were {writes:#?}", self.name);
    }
}

impl Stage {
    /// The provider of a subject, for orders and requests.
    pub fn at(&self, subject: &Subject) -> &Front {
        if subject.is_at_infisical() { self.simulator.infisical() } else { self.simulator.zitadel() }
    }

    /// Waits until an object waits: Ready is Unknown for this reason, Reconciling is True, Stalled is not. Returns the
    /// message.
    pub async fn waits(&self, object: &str, reason: &str) -> String {
        self.stands(object, "Unknown", reason, "Reconciling", "Stalled").await
    }

    /// Waits until an object is stalled for this reason, and for the spec that it has. Returns the message.
    pub async fn is_stalled(&self, object: &str, reason: &str) -> String {
        self.stands(object, "False", reason, "Stalled", "Reconciling").await
    }

    async fn stands(&self, object: &str, ready: &str, reason: &str, beside: &str, absent: &str) -> String {
        let expected = format!("{object}: Ready={ready} {reason}, {beside}=True, no {absent}");
        eventually(SOON, &expected, async || {
            let there = self.api.get(object).await;
            let message_of = |kind: &str, status: &str| {
                let found = condition(&there, kind).filter(|c| c["status"] == status && c["reason"] == reason);
                found.map(|c| c["message"].as_str().unwrap_or_default().to_owned())
            };
            let current = there["status"]["observedGeneration"] == there["metadata"]["generation"];
            match message_of("Ready", ready) {
                Some(message)
                    if message_of(beside, "True").is_some() && condition(&there, absent).is_none() && current =>
                {
                    Ok(message)
                }
                _ => Err(format!("{:#}", there["status"])),
            }
        })
        .await
    }

    /// Waits until an object is Ready whose provider has to be checked again first: that may take half a minute.
    pub async fn ready_in_time(&self, object: &str) {
        eventually(Duration::from_secs(60), &format!("{object} is Ready"), async || {
            let there = self.api.get(object).await;
            if is_ready(&there) { Ok(()) } else { Err(format!("{:#}", there["status"])) }
        })
        .await;
    }

    /// Waits until an event about an object has this reason and this text.
    pub async fn has_event(&self, object: &str, reason: &str, text: &str) {
        eventually(SOON, &format!("an event {reason} about {object} that contains {text:?}"), async || {
            let events = self.api.events(object).await;
            let fits = |event: &&Value| {
                event["reason"] == reason && event["note"].as_str().is_some_and(|note| note.contains(text))
            };
            if events.iter().any(|event| fits(&event)) { Ok(()) } else { Err(format!("{events:#?}")) }
        })
        .await;
    }

    /// Fails unless the subjects that no object names have what they had when the test began.
    #[track_caller]
    pub fn other_subjects_keep_their_rights(&self) {
        let (infisical, zitadel, now) = (self.simulator.infisical(), self.simulator.zitadel(), now());
        let of = |id| infisical.effective_roles(worlds::INFISICAL_PROJECT, id, now);
        assert_eq!(of(worlds::INFISICAL_ON_CALL), set(&["viewer"]), "on-call at Infisical");
        assert_eq!(of(worlds::INFISICAL_OPERATOR), set(&["admin"]), "the operator at Infisical");
        let grace = zitadel.effective_roles(worlds::ZITADEL_PROJECT, worlds::ZITADEL_GRACE, now);
        assert_eq!(grace, set(&["PROJECT_OWNER_VIEWER"]), "Grace at ZITADEL");
    }
}

/// An object's condition of a kind.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether Ready is True for the spec that the object has.
pub fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
        && object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

/// Fails unless a message is suitable for a status: bounded, visible, without secrets.
#[track_caller]
pub fn assert_presentable(message: &str) {
    assert!(
        !message.is_empty() && message.chars().count() <= 1024,
        "{} characters: {message}",
        message.chars().count()
    );
    assert!(!message.chars().any(char::is_control), "control characters: {message:?}");
    for secret in [worlds::INFISICAL_CLIENT_SECRET, worlds::INFISICAL_TOKEN, worlds::ZITADEL_TOKEN] {
        assert!(!message.contains(secret), "a secret: {message}");
    }
}

/// The operator's writes to the API server since `mark`, in a namespace; its attempts among them.
pub fn operator_writes(plane: &ControlPlane, mark: Mark, namespace: &str) -> Vec<Event> {
    let user = format!("system:serviceaccount:{}:{}", OPERATOR.0, OPERATOR.1);
    let filter = Filter::new().user(user).namespace(namespace).writes();
    plane.audit().events(mark, &filter).unwrap()
}

/// The requests of a provider that change something, oldest first.
pub fn writes(front: &Front) -> Vec<Request> {
    let looks = |request: &Request| request.method == "GET" || request.path.ends_with("_search");
    let signs_in = |request: &Request| request.path.starts_with("/api/v1/auth");
    front.requests().into_iter().filter(|request| !looks(request) && !signs_in(request)).collect()
}

/// How long after each other requests came.
pub fn gaps(requests: &[Request]) -> Vec<SignedDuration> {
    requests.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at)).collect()
}

/// Waits until `is` is true, with frequent checks; fails with what was expected otherwise.
pub async fn sees(expected: &str, is: impl Fn() -> bool) {
    let began = tokio::time::Instant::now();
    while !is() {
        assert!(began.elapsed() < SOON, "after {SOON:?}\n  expected: {expected}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The record of an object: what its annotation contains, if the status does not include it yet, and else the status.
pub fn recorded(object: &Value) -> Value {
    let pending = object["metadata"]["annotations"]["membership.dev/pending-grants"].as_str();
    let pending: Option<Value> = pending.map(|pending| serde_json::from_str(pending).unwrap());
    let observed = object["status"]["observedPendingGrants"].as_i64().unwrap_or_default();
    let mut recorded = object["status"].clone();
    if let Some(pending) = pending.filter(|pending| pending["number"].as_i64() > Some(observed)) {
        recorded["managedRoles"] = pending["roles"].clone();
        recorded["carriedRoles"] = pending["carriedRoles"].clone();
    }
    recorded
}

/// The roles that an object has recorded.
pub fn recorded_roles(object: &Value) -> Value {
    recorded(object)["managedRoles"].clone()
}
