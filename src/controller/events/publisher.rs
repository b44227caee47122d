//! Publishes events to the API server, and continues a series if the same event is emitted again.
//!
//! kube's own `Recorder` names an event after its object without limiting the length, distinguishes series by the
//! action and not by the note, and abandons a series whose event has expired.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use parking_lot::Mutex;
use serde_json::json;

use super::text::{event_name, next_number};

/// The reporting controller and instance.
const REPORTER: &str = "membership-operator";
/// How long after its last event a series may be continued. client-go has the same.
const CONTINUED_FOR: SignedDuration = SignedDuration::from_mins(6);
/// The namespace of events about cluster-scoped objects. The API server accepts no other.
const OF_THE_CLUSTER: &str = "default";

/// How many times an event is sent before it is dropped.
const ATTEMPTS: u32 = 4;
/// The wait before the second attempt. It is doubled for each further attempt.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// An event that is to be published.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The object that the event is about.
    pub regarding: ObjectReference,
    /// `Normal` or `Warning`.
    pub type_: &'static str,
    pub reason: &'static str,
    /// What the operator did or tried.
    pub action: &'static str,
    /// The message.
    pub note: String,
    /// When the event was emitted.
    pub at: Timestamp,
}

impl Pending {
    fn key(&self) -> SeriesKey {
        let uid = self.regarding.uid.clone().unwrap_or_default();
        SeriesKey { uid, reason: self.reason, action: self.action, note: self.note.clone() }
    }

    fn namespace(&self) -> &str {
        self.regarding.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(OF_THE_CLUSTER)
    }
}

/// The properties that are equal for all events of one series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SeriesKey {
    uid: String,
    reason: &'static str,
    action: &'static str,
    note: String,
}

#[derive(Debug)]
struct Series {
    name: String,
    count: i32,
    last: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    series: HashMap<SeriesKey, Series>,
    last_number: i128,
}

/// Publishes events, several at once.
pub struct Publisher {
    client: Client,
    state: Mutex<State>,
}

impl Publisher {
    /// Creates a publisher without series.
    pub fn new(client: Client) -> Self {
        Self { client, state: Mutex::default() }
    }

    /// Creates the event, or counts it in its series. A creation that fails temporarily, or that gets no response, is
    /// retried a few times with the same name: if an event of that name exists by then, it was created.
    pub async fn publish(&self, event: &Pending) -> Result<(), Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), event.namespace());
        let key = event.key();
        let continued = self.state.lock().continued(&key, event.at);
        if let Some((name, count)) = continued {
            let series = EventSeries { count, last_observed_time: MicroTime(event.at) };
            let patch = Patch::Merge(json!({ "series": series }));
            match api.patch(&name, &PatchParams::default(), &patch).await {
                // The event has expired or was deleted.
                Err(Error::Api(status)) if status.code == 404 => drop(self.state.lock().series.remove(&key)),
                answer => return answer.map(drop),
            }
        }
        let name = self.state.lock().name_for(event);
        let new = new_event(event, &name);
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            match api.create(&PostParams::default(), &new).await {
                Ok(_) => break,
                Err(Error::Api(status)) if status.code == 409 && attempt > 1 => break,
                Err(error) if attempt < ATTEMPTS && is_passing(&error) => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => return Err(error),
            }
        }
        self.state.lock().series.insert(key, Series { name, count: 1, last: event.at });
        Ok(())
    }
}

impl State {
    /// The name of the event whose series continues, and its new count.
    fn continued(&mut self, key: &SeriesKey, at: Timestamp) -> Option<(String, i32)> {
        self.series.retain(|_, series| at.duration_since(series.last) < CONTINUED_FOR);
        let series = self.series.get_mut(key)?;
        series.count = series.count.saturating_add(1);
        series.last = at;
        Some((series.name.clone(), series.count))
    }

    fn name_for(&mut self, event: &Pending) -> String {
        self.last_number = next_number(self.last_number, event.at);
        event_name(event.regarding.name.as_deref().unwrap_or(REPORTER), self.last_number)
    }
}

/// Whether the same request may succeed a moment later.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}

fn new_event(event: &Pending, name: &str) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(event.namespace().to_owned()),
            ..ObjectMeta::default()
        },
        regarding: Some(event.regarding.clone()),
        type_: Some(event.type_.to_owned()),
        reason: Some(event.reason.to_owned()),
        action: Some(event.action.to_owned()),
        note: Some(event.note.clone()),
        event_time: Some(MicroTime(event.at)),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(REPORTER.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(note: &str, seconds: i64) -> Pending {
        let regarding = ObjectReference { uid: Some("u".to_owned()), ..ObjectReference::default() };
        let at = Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        Pending { regarding, type_: "Normal", reason: "Granted", action: "Grant", note: note.to_owned(), at }
    }

    #[test]
    fn a_series_continues_for_some_minutes_and_only_with_the_same_note() {
        let mut state = State::default();
        let first = pending("granted viewer", 0);
        let began = Series { name: "ci.1".to_owned(), count: 1, last: first.at };
        state.series.insert(first.key(), began);
        for (note, seconds, expected) in [
            ("granted viewer", 60, Some(2)),
            ("granted viewer", 400, Some(3)),
            ("granted admin", 401, None),
            ("granted viewer", 400 + 360, None),
        ] {
            let event = pending(note, seconds);
            let found = state.continued(&event.key(), event.at);
            assert_eq!(found, expected.map(|count| ("ci.1".to_owned(), count)), "{note} after {seconds} s");
        }
        assert!(state.series.is_empty(), "what can't be continued any more is forgotten");
    }
}
