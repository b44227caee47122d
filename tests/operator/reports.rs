//! Reports are correct and delivered: events within the API server's limits, failed revocations, outages, and the
//! status of access that should have ended.

mod accurate;
mod delivered;
mod failing;
mod lines;
mod providers;

use serde_json::Value;

use crate::stage::{Stage, shared};
use crate::support::{SOON, eventually};

/// Waits until an event about an object has this reason and all of `parts` in its note.
async fn event(stage: &Stage, object: &str, reason: &str, parts: &[&str]) -> Value {
    eventually(SOON, &format!("an event {reason} about {object} with {parts:?}"), async || {
        let events = stage.api.events(object).await;
        let fits = |event: &&Value| {
            let note = event["note"].as_str().unwrap_or_default();
            event["reason"] == reason && parts.iter().all(|part| note.contains(part))
        };
        events.iter().find(fits).cloned().ok_or_else(|| format!("{:#?}", notes(&events)))
    })
    .await
}

/// Events in short: reason and note.
fn notes(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| format!("{}: {}", event["reason"], event["note"]).replace('"', "")).collect()
}

/// How many events about an object have this reason, each of a series counted.
async fn times(stage: &Stage, object: &str, reason: &str) -> u64 {
    let events = stage.api.events(object).await;
    let of_reason = events.iter().filter(|event| event["reason"] == reason);
    of_reason.map(|event| event["series"]["count"].as_u64().unwrap_or(1)).sum()
}

/// The warnings in the shared operator's log that contain all of `parts`.
pub async fn warnings(parts: &[&str]) -> Vec<String> {
    let log = std::fs::read_to_string(shared().await.1.log_file()).unwrap_or_default();
    let fits = |line: &&str| line.contains(" WARN ") && parts.iter().all(|part| line.contains(part));
    log.lines().filter(fits).map(str::to_owned).collect()
}

/// The value of a metric of the shared operator, summed over its labels.
async fn metric(name: &str) -> f64 {
    let text = shared().await.1.metrics().await;
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(['{', ' '])?.rsplit(' ').next()?.parse::<f64>().ok();
    text.lines().filter_map(value).sum()
}
