//! The memory limit: near it no new grant begins, and what ends is ended.

use std::time::Duration;

use serde_json::json;

use crate::operator::Operator;
use crate::restart::{alone, operator};
use crate::stage::{Stage, binary};
use crate::subject::{Subject, in_seconds, time};
use crate::support::{SOON, eventually};

/// Seen failing without the pause of `grant_slots`, and, for the edit, when every record of a new role waited.
#[tokio::test]
async fn near_the_memory_limit_no_grant_begins_and_what_ends_is_ended() {
    alone(async |plane, stage| {
        let [ending, deleted, edited, waiting] =
            ["ending", "deleted", "edited", "waiting"].map(|name| stage.identity(name));
        let [role, other, ..] = waiting.names();
        let own = operator(plane).await;
        let end = in_seconds(12);
        stage.declare(&ending, json!([{"role": role, "temporary": {"expirationTime": end}}])).await;
        for subject in [&deleted, &edited] {
            stage.declare(subject, json!([{"role": role}])).await;
        }
        for subject in [&ending, &deleted, &edited] {
            subject.has(&[role]).await;
            stage.ready(&subject.object()).await;
        }
        own.stop().await.unwrap();
        // One byte: the process is above the limit from its start.
        let own = Operator::start_with(plane, binary(), "limited", &["--memory-limit=1"]).await.unwrap();
        shedding(&own, 1).await;
        stage.api.apply(&[waiting.declares(json!([{"role": role}]))]).await;
        stage.delete(&deleted.object()).await;
        deleted.has(&[]).await;
        stage.declare(&edited, json!([{"role": other}])).await;
        edited.has(&[other]).await;
        ending.ends(role, time(&json!(end)), "near the memory limit").await;
        waits(&stage, &waiting).await;
        let log = std::fs::read_to_string(own.log_file()).unwrap();
        let said = log.lines().filter(|line| line.contains("the memory is above 80 % of the limit")).count();
        assert_eq!(said, 1, "{log}");
        own.stop().await.unwrap();
        let own = Operator::start_with(plane, binary(), "unlimited", &["--memory-limit=1000000000"]).await.unwrap();
        waiting.has(&[role]).await;
        shedding(&own, 0).await;
        own.stop().await.unwrap();
    })
    .await;
}

async fn shedding(operator: &Operator, expected: u8) {
    let line = format!("membership_load_shedding {expected}");
    eventually(SOON, &line, async || {
        let metrics = operator.metrics().await;
        if metrics.lines().any(|known| known == line) { Ok(()) } else { Err(metrics) }
    })
    .await;
}

/// Nothing of the declaration is recorded or sent for some seconds.
async fn waits(stage: &Stage, subject: &Subject) {
    tokio::time::sleep(Duration::from_secs(3)).await;
    subject.has_now(&[], "near the memory limit");
    assert!(subject.writes().is_empty(), "{:#?}", subject.writes());
    let object = stage.api.get(&subject.object()).await;
    assert!(object["metadata"]["annotations"].is_null(), "{object:#}");
}
