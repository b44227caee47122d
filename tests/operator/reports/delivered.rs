//! Events are stored for all names of objects and all texts.

use std::time::Duration;

use serde_json::json;

use super::{event, notes, times};
use crate::stage::{shared, with_stage};
use crate::subject::each;
use crate::support::{changed, eventually};

/// The most bytes of a note.
const NOTE: usize = 1024;

async fn refused_as_invalid() -> f64 {
    let text = shared().await.1.metrics().await;
    let line = text.lines().find(|line| line.starts_with("membership_events_refused_total{reason=\"Invalid\"}"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

/// Seen failing with texts truncated by characters, and with kube's Recorder, which names events.
#[tokio::test]
async fn events_are_stored_for_any_name_and_texts_of_their_object() {
    with_stage(async |stage| {
        let cases = [
            ("two-bytes-a-letter", json!({"justification": "Д".repeat(512)}), "Granted", "granted viewer (ДД"),
            ("four-bytes-a-letter", json!({"justification": "🦀".repeat(512)}), "Granted", "granted viewer (🦀"),
            ("one-letter", json!({"subject": {"kind": "Identity", "name": "jürgen"}}), "Failed", "jürgen"),
            (&"n".repeat(236), json!({}), "Granted", "granted viewer"),
            (&"n".repeat(237), json!({}), "Granted", "granted viewer"),
            (&format!("{}.{}", "n".repeat(200), "m".repeat(52)), json!({}), "Granted", "granted viewer"),
        ];
        each(cases, async |(name, fields, reason, phrase)| {
            let subject = stage.identity("reported");
            let declared = subject.declares_with(json!([{"role": "viewer"}]), fields);
            stage.api.apply(&[changed(declared, "/metadata/name", json!(name))]).await;
            let event = event(&stage, &format!("pm/{name}"), reason, &[phrase]).await;
            let note = event["note"].as_str().unwrap_or_default();
            assert!(note.len() <= NOTE, "{} bytes: {note}", note.len());
            assert_eq!(event["regarding"]["name"], name, "{event:#}");
        })
        .await;
        assert!(refused_as_invalid().await < 1.0, "no event is refused as invalid");
    })
    .await;
}

#[tokio::test]
async fn the_same_event_again_is_counted_in_its_series_and_survives_its_deletion() {
    with_stage(async |stage| {
        let subject = stage.identity("again");
        let object = subject.object();
        let fields = json!({"resyncInterval": "1s"});
        stage.api.apply(&[subject.declares_with(json!([{"role": "viewer"}]), fields)]).await;
        stage.ready(&object).await;
        let drifts = async |count: u64| {
            subject.by_hand(&["viewer", "admin"]);
            subject.has(&["viewer"]).await;
            eventually(Duration::from_secs(20), &format!("{count} events Drifted"), async || {
                let found = times(&stage, &object, "Drifted").await;
                if found == count { Ok(()) } else { Err(found.to_string()) }
            })
            .await;
            // Drift at several resyncs in a row would be contested.
            subject.is_listed(3).await;
        };
        drifts(1).await;
        drifts(2).await;
        drifts(3).await;
        assert_eq!(stage.api.events(&object).await.iter().filter(|event| event["reason"] == "Drifted").count(), 1);
        stage.kubectl().ok(&["delete", "events.events.k8s.io", "--all"]).await;
        assert!(stage.api.events(&object).await.is_empty());
        // As after an hour, when the API server deletes them.
        drifts(1).await;
    })
    .await;
}

/// Seen failing without the report of waits. Shorter waits have none: `bad_input::waiting`.
#[tokio::test]
async fn an_object_that_waits_for_longer_than_moments_has_one_event() {
    with_stage(async |stage| {
        let subject = stage.identity("waiting");
        let object = subject.object();
        let declared = subject.declares(json!([{"role": "viewer"}]));
        stage.api.apply(&[changed(declared, "/spec/providerRef/name", json!("nowhere"))]).await;
        let message = stage.waits(&object, "ProviderNotFound").await;
        let event = event(&stage, &object, "Waiting", &["ProviderNotFound: ", &message]).await;
        assert_eq!(event["type"], "Warning", "{event:#}");
        stage.reconcile_now(&object).await;
        let events = stage.api.events(&object).await;
        assert_eq!((events.len(), times(&stage, &object, "Waiting").await), (1, 1), "{:#?}", notes(&events));
        assert_eq!(super::warnings(&[stage.namespace(), "ProviderNotFound"]).await.len(), 1, "and one line in the log");
    })
    .await;
}
