//! Events (events.k8s.io), told off the critical path: coalesced by the recorder, bounded, dropped when there are too many.

use std::sync::Arc;

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::mpsc;

use crate::api::ProjectMembership;
use crate::controller::departed;
use crate::telemetry::Metrics;

/// How many events may wait to be sent.
const WAITING: usize = 1024;
/// The longest note that the API server takes.
const LONGEST_NOTE: usize = 1024;
/// The longest action that the API server takes.
const LONGEST_ACTION: usize = 128;

/// What is told. The reasons are stable names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Roles were granted.
    Granted,
    /// Roles that nobody declares any more were taken away.
    Revoked,
    /// Roles whose end has come were taken away.
    Expired,
    /// All access was taken away, and the membership stays: the provider doesn't let it be removed.
    MembershipKept,
    /// Roles that were taken away by hand were put back.
    DriftedBack,
    /// Roles that were added by hand were taken away.
    DriftedAway,
    /// The object can't be carried out.
    Failed,
    /// An administrator let the object go without revoking.
    Abandoned,
}

impl Happening {
    /// The event's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Granted => "Granted",
            Self::Revoked => "Revoked",
            Self::Expired => "Expired",
            Self::MembershipKept => "MembershipKept",
            Self::DriftedBack | Self::DriftedAway => "Drifted",
            Self::Failed => "Failed",
            Self::Abandoned => "Abandoned",
        }
    }

    fn kind(self) -> EventType {
        match self {
            Self::Granted | Self::Revoked | Self::Expired => EventType::Normal,
            Self::MembershipKept | Self::DriftedBack | Self::DriftedAway | Self::Failed | Self::Abandoned => {
                EventType::Warning
            }
        }
    }

    fn note(self, what: &[String], justification: Option<&str>) -> String {
        let what = what.join(", ");
        let text = match self {
            Self::Granted => format!("granted {what}"),
            Self::Revoked => format!("revoked {what}: no longer declared"),
            Self::Expired => format!("revoked {what}: the time is over"),
            Self::DriftedBack => format!("granted {what} again: it was taken away at the provider"),
            Self::DriftedAway => format!("revoked {what}: it was added at the provider and nobody declares it"),
            Self::Failed | Self::MembershipKept => what,
            Self::Abandoned => format!("let go without revoking: {what} stays at the provider"),
        };
        let text = match justification {
            Some(justification) => format!("{text} ({justification})"),
            None => text,
        };
        text.chars().take(LONGEST_NOTE).collect()
    }
}

/// Where events go.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<(Event, k8s_openapi::api::core::v1::ObjectReference)>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// A queue, and what sends them. It ends when the last clone is dropped and the queue is empty.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, mut waiting) = mpsc::channel::<(Event, k8s_openapi::api::core::v1::ObjectReference)>(WAITING);
        let recorder = Recorder::new(client, Reporter { controller: "membership-operator".to_owned(), instance: None });
        let sending = async move {
            while let Some((event, about)) = waiting.recv().await {
                if let Err(error) = recorder.publish(&event, &about).await {
                    tracing::debug!(%error, reason = event.reason, "an event could not be sent");
                }
            }
        };
        (Self { queue, metrics }, sending)
    }

    /// Tells something about an object. Never waits.
    pub fn tell(&self, object: &ProjectMembership, happening: Happening, what: &[String], justification: Option<&str>) {
        // The recorder coalesces what has the same reason and action: the roles are part of the action, so that an
        // event about one role doesn't swallow that of another.
        let action = format!("{} {}", happening.reason(), what.join(" "));
        let event = Event {
            type_: happening.kind(),
            reason: happening.reason().to_owned(),
            note: Some(happening.note(what, justification)),
            action: action.chars().take(LONGEST_ACTION).collect(),
            secondary: None,
        };
        let mut about = object.object_ref(&());
        about.name = about.name.as_deref().map(departed::name_of).map(str::to_owned);
        if self.queue.try_send((event, about)).is_err() {
            self.metrics.event_dropped();
        }
    }
}
