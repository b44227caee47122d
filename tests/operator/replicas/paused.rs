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
        let received = || stage.simulator.infisical().requests().len() + stage.simulator.zitadel().requests().len();
        let sent = |line: &&str| line.contains("http: request") && !line.contains("code=\"not_sent\"");
        let sent_by_second = || second.log().lines().filter(sent).count();
        let before = (sent_by_second(), received());
        first.signal("CONT").unwrap();
        eventually(
            SOON,
            "the first replica ends",
            async || {
                if first.has_ended().unwrap() { Ok(()) } else { Err(first.log()) }
            },
        )
        .await;
        // A check of the second one may come at any time, and is logged when it has its response.
        eventually(SOON, "all requests since it went on are the second one's", async || {
            let (by_second, all) = (sent_by_second() - before.0, received() - before.1);
            if all <= by_second { Ok(()) } else { Err(format!("{by_second} of {all}: {}", first.log())) }
        })
        .await;
        assert_contains(&first.log(), "the lease was lost to ");
        each(&subjects, async |subject| subject.has_now(&[subject.names()[1]], "in the end")).await;
        second.stop().await.unwrap();
    })
    .await;
}
