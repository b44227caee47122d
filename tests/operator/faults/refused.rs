//! Status writes that the API server refuses, after the write to the provider.

use serde_json::json;

use crate::evidence::operator_writes;
use crate::refusing::Refusal;
use crate::reports::warnings;
use crate::stage::{Stage, shared, with_stage};
use crate::subject::{Subject, each};
use crate::support::{SOON, eventually};

/// How often a status has to be refused, so that several passes have been refused.
const OFTEN: usize = 4;

/// Waits until the API server has responded to the operator's status writes about these so often with this code.
async fn are_refused(stage: &Stage, mark: control_plane::Mark, subjects: &[Subject; 2], code: u16, times: usize) {
    let plane = &shared().await.0;
    let refused = |subject: &Subject| {
        let events = operator_writes(plane, mark, stage.namespace()).into_iter();
        events.filter(|e| e.code == code && e.name == subject.name && e.subresource == "status").count()
    };
    eventually(SOON, &format!("{times} statuses of each are answered {code}"), async || {
        let counts = subjects.each_ref().map(refused);
        if counts.iter().all(|count| *count >= times) { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
}

/// What holds regardless of the refusals: one write each, eventually reported, and revoked with the object.
async fn was_done_once_and_is_reported(stage: &Stage, subjects: &[Subject; 2], why: &str) {
    each(subjects, async |subject| {
        let [a, ..] = subject.names();
        stage.ready_in_time(&subject.object()).await;
        subject.has_now(&[a], why);
        subject.was_written(1, why);
        let managed = stage.api.get(&subject.object()).await["status"]["managedRoles"].clone();
        assert_eq!(managed, json!([{ "role": a }]), "{}: {why}", subject.name);
        stage.delete(&subject.object()).await;
        subject.has_now(&[], "when its object is gone");
    })
    .await;
    stage.other_subjects_keep_their_rights();
}

#[tokio::test]
async fn a_status_that_is_forbidden_is_reported_later_and_nothing_is_written_twice() {
    with_stage(async |stage| {
        let (plane, refusal) = (&shared().await.0, Refusal::of_ready());
        let (subjects, probed) = (stage.both("forbidden"), "pm/probed");
        stage.api.apply(&[stage.identity("probed").layer("probed", json!([{"role": "viewer"}]))]).await;
        stage.ready(probed).await;
        refusal.begin(plane, &stage, probed).await;
        let mark = plane.audit().mark().unwrap();
        for subject in &subjects {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
        }
        are_refused(&stage, mark, &subjects, 403, OFTEN).await;
        for subject in &subjects {
            let status = stage.api.get(&subject.object()).await["status"].clone();
            assert!(!status.to_string().contains("\"True\""), "nothing is reported that was refused: {status:#}");
            let lines = warnings(&[stage.namespace(), &subject.name, "a request to the API server failed"]).await;
            assert_eq!(lines.len(), 1, "one warning, not one for each try: {lines:#?}");
        }
        refusal.end(plane, &stage, probed).await;
        was_done_once_and_is_reported(&stage, &subjects, "temporarily forbidden").await;
    })
    .await;
}

#[tokio::test]
async fn a_status_that_the_api_server_fails_over_is_reported_later_and_nothing_is_written_twice() {
    with_stage(async |stage| {
        let (plane, refusal) = (&shared().await.0, Refusal::of_ready());
        let (subjects, probed) = (stage.both("failing"), "pm/probed");
        stage.api.apply(&[stage.identity("probed").layer("probed", json!([{"role": "viewer"}]))]).await;
        stage.ready(probed).await;
        refusal.fail(plane, &stage, probed).await;
        let mark = plane.audit().mark().unwrap();
        for subject in &subjects {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
        }
        are_refused(&stage, mark, &subjects, 500, OFTEN).await;
        refusal.recover(plane, &stage, probed).await;
        was_done_once_and_is_reported(&stage, &subjects, "temporary responses with 500").await;
    })
    .await;
}

#[tokio::test]
async fn a_status_that_conflicts_with_another_change_is_reported_later_and_nothing_is_written_twice() {
    with_stage(async |stage| {
        let plane = &shared().await.0;
        let subjects = stage.both("conflicting");
        let mark = plane.audit().mark().unwrap();
        for subject in &subjects {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
        }
        // Another writer annotates the objects all the time, until the operator was too late with a status. Each
        // annotation requests another, so that one that was in time is not the last.
        let annotates = async |subject: &Subject| {
            for n in 0_u64.. {
                stage.api.annotate(&subject.object(), "membership.dev/reconcile-at", &n.to_string()).await;
            }
        };
        let [first, second] = &subjects;
        tokio::select! {
            ((), ()) = futures::future::join(annotates(first), annotates(second)) => {}
            () = are_refused(&stage, mark, &subjects, 409, 1) => {}
        }
        was_done_once_and_is_reported(&stage, &subjects, "temporary conflicts").await;
    })
    .await;
}
