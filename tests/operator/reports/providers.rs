//! Provider objects: an outage, its end, and how many memberships use one.

use std::time::Duration;

use serde_json::json;
use simulator::{Fault, Order};
use tokio::time::Instant;

use super::{event, notes, times};
use crate::evidence::operator_writes;
use crate::in_memory::in_memory;
use crate::stage::{shared, with_stage};
use crate::subject::{each, in_seconds};
use crate::support::{SOON, eventually};

/// How soon after a failed request of a pass the provider object reports it, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Seen failing with the status unchanged by a check that can't reach a provider which was verified before, and without
/// the check that a pass requests: no event for ten minutes.
#[tokio::test]
async fn an_outage_is_reported_with_the_first_request_that_fails_and_so_is_its_end() {
    with_stage(async |stage| {
        each(stage.both("away"), async |subject| {
            let (object, [a, b, ..]) = (subject.object(), subject.names());
            let provider = if subject.is_at_infisical() { "infisical" } else { "zitadel" };
            let (provider, front) = (format!("membershipprovider/{provider}"), stage.at(&subject));
            let end = in_seconds(6);
            stage.declare(&subject, json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}])).await;
            stage.ready(&object).await;
            stage.has_condition(&provider, "Ready", "True", "Verified").await;
            front.order(Order::always(Fault::Reset));
            let began = Instant::now();
            stage.api.annotate(&object, "membership.dev/reconcile-at", "now").await;
            let message = stage.has_condition(&provider, "Ready", "False", "Unreachable").await;
            assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
            event(&stage, &provider, "NotReady", &["Unreachable: ", &message[..40]]).await;
            // Ends are tried nevertheless.
            front.clear_requests();
            subject_is_asked_about(front, end).await;
            let events = stage.api.events(&provider).await;
            assert_eq!(times(&stage, &provider, "NotReady").await, 1, "one event: {:#?}", notes(&events));
            front.clear_orders();
            stage.has_condition(&provider, "Ready", "True", "Verified").await;
            event(&stage, &provider, "Ready", &["reachable"]).await;
            stage.ready(&object).await;
            subject.has_now(&[a], "when the provider is back");
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_event_about_a_provider_of_the_cluster_is_stored_too() {
    in_memory(async |stage| {
        let central = stage.central("reported", json!([stage.rule(&["viewer"], json!({}))]));
        stage.api.apply(&[central]).await;
        let object = format!("clustermembershipprovider/{}", stage.central_name("reported"));
        stage.has_condition(&object, "Ready", "True", "Verified").await;
        let events = stage.api.in_namespace("default");
        eventually(SOON, "an event Ready", async || {
            let events = events.events(&object).await;
            if events.iter().any(|event| event["reason"] == "Ready") { Ok(()) } else { Err(format!("{events:#?}")) }
        })
        .await;
    })
    .await;
}

/// Waits until requests come after `end`.
async fn subject_is_asked_about(front: &simulator::Front, end: jiff::Timestamp) {
    eventually(SOON, "three requests after the end, while the provider is away", async || {
        let requests = front.requests().into_iter().filter(|request| request.at > end).count();
        if requests >= 3 { Ok(()) } else { Err(requests.to_string()) }
    })
    .await;
}

/// Seen failing with every failing request considered an outage.
#[tokio::test]
async fn a_route_that_fails_alone_is_no_outage() {
    with_stage(async |stage| {
        let (plane, provider) = (&shared().await.0, "membershipprovider/infisical");
        stage.has_condition(provider, "Ready", "True", "Verified").await;
        let subject = stage.identity("alone");
        stage.simulator.infisical().order(Order::always(Fault::status(503)).on("POST", &subject.id));
        let mark = plane.audit().mark().unwrap();
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        stage.reason_is(&subject.object(), "Unreachable").await;
        eventually(SOON, "three tries", async || match subject.writes().len() {
            tries if tries >= 3 => Ok(()),
            tries => Err(tries.to_string()),
        })
        .await;
        let writes = operator_writes(plane, mark, stage.namespace());
        let statuses: Vec<String> = writes
            .iter()
            .filter(|write| write.resource == "membershipproviders" && write.name == "infisical")
            .map(ToString::to_string)
            .filter(|write| write.contains("status") && write.contains("200"))
            .collect();
        assert!(statuses.len() <= 1, "its status is left alone, but for the number of memberships: {statuses:#?}");
        assert_eq!(times(&stage, provider, "NotReady").await, 0);
    })
    .await;
}

/// Seen failing without the count: it stays at zero until the next check of the provider.
#[tokio::test]
async fn the_number_of_memberships_is_current_within_seconds_and_written_seldom() {
    with_stage(async |stage| {
        let (plane, provider) = (&shared().await.0, "membershipprovider/infisical");
        stage.has_condition(provider, "Ready", "True", "Verified").await;
        let subjects: Vec<_> = (0..12).map(|number| stage.identity(&format!("counted-{number}"))).collect();
        let mark = plane.audit().mark().unwrap();
        let counted = async |count: usize| {
            eventually(Duration::from_secs(20), &format!("status.memberships is {count}"), async || {
                let status = stage.api.get(provider).await["status"].clone();
                if status["memberships"] == count { Ok(()) } else { Err(format!("{status:#}")) }
            })
            .await;
        };
        for subject in &subjects {
            stage.declare(subject, json!([{"role": "viewer"}])).await;
        }
        counted(subjects.len()).await;
        stage.delete(&subjects[0].object()).await;
        counted(subjects.len() - 1).await;
        let writes = operator_writes(plane, mark, stage.namespace());
        let of_provider = writes.iter().filter(|write| write.resource == "membershipproviders").count();
        // One is the finalizer that keeps the provider object.
        assert!(of_provider <= 6, "{of_provider} writes for twelve objects that came and one that went");
    })
    .await;
}
