//! A replica is suspended during its work until another replica holds its lease, and resumes.

use std::time::Duration;

use serde_json::json;

use super::{leader_and_other, leads_within};
use crate::restart::alone;
use crate::subject::{Subject, each};
use crate::support::{SOON, assert_contains, eventually};

const LEASE: u64 = 6;
const EACH: usize = 20;

/// Seen to fail without the check of the lease in `Server::call`: the next request was sent.
#[tokio::test]
async fn a_replica_that_stood_still_past_its_lease_sends_nothing_more() {
    alone(async |plane, stage| {
        let (mut first, second) = leader_and_other(plane, LEASE).await;
        // Slow enough that there is work left whenever it is paused.
        stage.simulator.infisical().set_delay(Duration::from_millis(100));
        stage.simulator.zitadel().set_delay(Duration::from_millis(100));
        let subjects: Vec<Subject> = (0..EACH).flat_map(|number| stage.both(&format!("m{number}"))).collect();
        for subject in &subjects {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
        }
        let users = || subjects.iter().filter(|subject| !subject.is_at_infisical());
        let written = || users().filter(|subject| !subject.holds().is_empty()).count();
        eventually(
            SOON,
            "some users are members",
            async || {
                if written() >= 3 { Ok(()) } else { Err(written().to_string()) }
            },
        )
        .await;
        first.signal("STOP").unwrap();
        let then = written();
        assert!(then < EACH, "it was paused too late to have work left");
        leads_within(&second, SOON).await;
        for subject in &subjects {
            stage.ready(&subject.object()).await;
        }
        each(&subjects, async |subject| {
            let [a, b, ..] = subject.names();
            subject.has_now(&[a], "by two replicas");
            subject.was_written(1, "by whichever");
            // The plan of the first one is no longer what is declared.
            stage.change(subject, json!({"roles": [{"role": b}]})).await;
            stage.ready(&subject.object()).await;
            subject.has_now(&[b], "by the second replica");
        })
        .await;
        let asked = || (stage.simulator.infisical().requests().len(), stage.simulator.zitadel().requests().len());
        let before = asked();
        first.signal("CONT").unwrap();
        eventually(
            SOON,
            "the first replica ends",
            async || {
                if first.has_ended().unwrap() { Ok(()) } else { Err(first.log()) }
            },
        )
        .await;
        assert_eq!(asked(), before, "requests to Infisical and ZITADEL, before and after it went on: {}", first.log());
        assert_contains(&first.log(), "the lease was lost to ");
        each(&subjects, async |subject| subject.has_now(&[subject.names()[1]], "in the end")).await;
        second.stop().await.unwrap();
    })
    .await;
}
