//! Events (events.k8s.io). They are published asynchronously, so that no pass waits for them: repeated events form
//! series, the queue is bounded, and an event that doesn't fit into it is dropped.

mod publisher;
mod text;

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Client, Error, Resource};
use tokio::sync::{mpsc, watch as signal};

use crate::api::ProjectMembership;
use crate::api::event::EventKind;
use crate::controller::state::tombstones;
use crate::telemetry::Metrics;
use publisher::{Pending, Publisher};

/// How many events may wait to be published.
const WAITING: usize = 1024;
/// How many events are published concurrently: one to which the API server responds slowly doesn't delay the others.
const AT_ONCE: usize = 8;

fn note(event_kind: EventKind, what: &[String], justification: Option<&str>) -> String {
    let what = what.join(", ");
    let text = match event_kind {
        EventKind::Granted => format!("granted {what}"),
        EventKind::Revoked => format!("revoked {what}: no longer declared"),
        EventKind::Expired => format!("revoked {what}: expired"),
        EventKind::NotGranted => format!("did not grant {what}: the window ended before the grant was possible"),
        EventKind::DriftedBack => format!("granted {what} again: it was removed or changed at the provider"),
        EventKind::DriftedAway => format!("revoked {what}: it was added at the provider and is not declared"),
        EventKind::Failed
        | EventKind::Waiting
        | EventKind::MembershipKept
        | EventKind::RevokeFailed
        | EventKind::NotReady
        | EventKind::Ready => what,
        EventKind::Abandoned => format!("released without a revocation: {what} remains at the provider"),
    };
    let text = match justification {
        Some(justification) => format!("{text} ({justification})"),
        None => text,
    };
    text::truncated(&text, text::NOTE)
}

/// The queue of events.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Pending>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Creates a queue and the future that publishes from it. The future ends when the last clone of the queue is
    /// dropped and the queue is empty.
    ///
    /// Nothing is published while `available` is false: events that are emitted during an outage of the API server are
    /// kept until the outage has ended.
    pub fn new(
        client: Client,
        metrics: Arc<Metrics>,
        available: signal::Receiver<bool>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, mut waiting) = mpsc::channel::<Pending>(WAITING);
        let publisher = Publisher::new(client);
        let refusals = metrics.clone();
        let sending = async move {
            let (publisher, refusals, available) = (&publisher, &refusals, &available);
            stream::poll_fn(|context| waiting.poll_recv(context))
                .for_each_concurrent(AT_ONCE, async |event| {
                    loop {
                        // The sender lives as long as the controller; once it is dropped, there is nothing to wait for.
                        let _ = available.clone().wait_for(|available| *available).await;
                        match publisher.publish(&event).await {
                            // The outage began during the request.
                            Err(_) if !*available.borrow() => {}
                            Err(error) => return refused(refusals, &event, &error),
                            Ok(_) => return,
                        }
                    }
                })
                .await;
        };
        (Self { queue, metrics }, sending)
    }

    /// Emits an event about a membership. Never waits.
    pub fn emit(
        &self,
        object: &ProjectMembership,
        event_kind: EventKind,
        what: &[String],
        justification: Option<&str>,
    ) {
        let mut regarding = object.object_ref(&());
        regarding.name = regarding.name.as_deref().map(tombstones::name_of).map(str::to_owned);
        regarding.uid = regarding.uid.as_deref().map(tombstones::uid_of).map(str::to_owned);
        self.enqueue(regarding, event_kind, note(event_kind, what, justification));
    }

    /// Emits an event about an object of any kind. Never waits.
    pub fn emit_for(&self, regarding: ObjectReference, event_kind: EventKind, message: &str) {
        self.enqueue(regarding, event_kind, text::truncated(message, text::NOTE));
    }

    fn enqueue(&self, regarding: ObjectReference, event_kind: EventKind, note: String) {
        let event = Pending {
            regarding,
            type_: event_kind.type_(),
            reason: event_kind.reason(),
            action: event_kind.action(),
            note,
            at: Timestamp::now(),
        };
        if let Err(full) = self.queue.try_send(event) {
            self.metrics.events_dropped.inc();
            let event = full.into_inner();
            tracing::debug!(reason = event.reason, note = event.note, "event dropped: too many wait to be published");
        }
    }
}

/// Counts an event that was not stored, and writes it to the log instead.
fn refused(metrics: &Metrics, event: &Pending, error: &Error) {
    let Pending { regarding, reason, note, .. } = event;
    let (namespace, name) = (&regarding.namespace, &regarding.name);
    metrics.event_refused(reason_of(error));
    if is_terminating(error) {
        // Every object of a namespace that is being deleted emits a last event.
        tracing::debug!(namespace, name, reason, note, "event not stored: the namespace is being deleted");
    } else {
        tracing::warn!(namespace, name, reason, note, %error, "the API server did not store an event");
    }
}

/// The API server's reason for a refusal (`Invalid`, `Forbidden`, …).
fn reason_of(error: &Error) -> &str {
    match error {
        Error::Api(status) if !status.reason.is_empty() => &status.reason,
        Error::Api(_) => "Unknown",
        _ => "Unreachable",
    }
}

fn is_terminating(error: &Error) -> bool {
    let Error::Api(status) = error else { return false };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use axum::http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server that never responds to events about `stuck`, refuses events about `refused`, and stores all
    /// others.
    #[derive(Clone)]
    struct EventApi(mpsc::UnboundedSender<serde_json::Value>);

    impl tower::Service<Request<Body>> for EventApi {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let stored = self.0.clone();
            Box::pin(async move {
                let bytes = request.into_body().collect_bytes().await.unwrap();
                let event: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                let (status, answer) = match event["regarding"]["name"].as_str() {
                    Some("stuck") => std::future::pending().await,
                    Some("refused") => (
                        422,
                        json!({"kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid", "message": "too long"}),
                    ),
                    _ => (201, event.clone()),
                };
                if status == 201 {
                    stored.send(event).unwrap();
                }
                Ok(Response::builder().status(status).body(Body::from(answer.to_string().into_bytes())).unwrap())
            })
        }
    }

    /// Seen failing when events were published one after the other: the stored one did not arrive.
    #[tokio::test]
    async fn an_event_that_is_not_answered_or_refused_delays_no_other_and_is_counted() {
        let (stored, mut found) = mpsc::unbounded_channel();
        let metrics = Arc::new(Metrics::default());
        let available = signal::Sender::new(true).subscribe();
        let (events, publishing) = Events::new(Client::new(EventApi(stored), "default"), metrics.clone(), available);
        let publishing = tokio::spawn(publishing);
        for name in ["stuck", "refused", "stored"] {
            let regarding = ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() };
            events.emit_for(regarding, EventKind::Ready, "reachable");
        }
        let event = tokio::time::timeout(Duration::from_secs(10), found.recv()).await.unwrap().unwrap();
        assert_eq!(event["regarding"]["name"], "stored");
        assert_eq!(event["metadata"]["namespace"], "default", "as events about objects of the cluster have");
        let text = metrics.text(crate::telemetry::Format::OpenMetrics).unwrap();
        assert!(text.contains("membership_events_refused_total{reason=\"Invalid\"} 1"), "{text}");
        publishing.abort();
    }

    const ALL: [EventKind; 13] = [
        EventKind::MembershipKept,
        EventKind::Granted,
        EventKind::Revoked,
        EventKind::Expired,
        EventKind::NotGranted,
        EventKind::DriftedBack,
        EventKind::DriftedAway,
        EventKind::Failed,
        EventKind::Waiting,
        EventKind::RevokeFailed,
        EventKind::Abandoned,
        EventKind::NotReady,
        EventKind::Ready,
    ];

    /// Seen failing when the note was truncated by characters: 1,537 bytes.
    #[test]
    fn no_field_of_an_event_is_longer_than_the_api_server_takes() {
        let (role, justification) = ("роль".repeat(32), "Д".repeat(512));
        for event_kind in ALL {
            let note = note(event_kind, &vec![role.clone(); 32], Some(&justification));
            assert!(note.len() <= text::NOTE, "{event_kind:?}: {} bytes", note.len());
            assert!(note.ends_with('…'), "{event_kind:?}: {note}");
            assert!(event_kind.reason().len() <= 128 && event_kind.action().len() <= 128, "{event_kind:?}");
        }
        let note = note(EventKind::Granted, &["viewer".to_owned()], Some(&justification));
        assert!(note.starts_with("granted viewer (ДД") && note.len() > text::NOTE - 4, "{note}");
    }
}
