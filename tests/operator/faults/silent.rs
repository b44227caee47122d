//! Connections to the API server stop responding: they stay open and no data passes, while new ones work, as with a
//! load balancer that dropped its flows.
//!
//! Seen to fail without the limit in `kubernetes::exchange`: the roles with the second end stay in force, the deleted
//! object stays, and the edit is detected after the watch's 295 s.

use std::time::Duration;

use control_plane::TcpProxy;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Fault, Order};
use tokio::time::Instant;

use crate::evidence::Call;
use crate::operator::{NAMESPACE, Operator};
use crate::restart::alone;
use crate::stage::{Stage, binary};
use crate::subject::{Subject, until};
use crate::support::{SOON, eventually};

/// The limit of a request to the API server, and a margin for a busy machine.
const LATE: SignedDuration = SignedDuration::from_secs(10 + 6);
/// The same for the release of a deleted object, which is retried after five seconds.
const RELEASED: Duration = Duration::from_secs(10 + 5 + 4);
/// The same for a watch, with the request that resumes it.
const UNSEEN: Duration = Duration::from_secs(33 + 10);

/// Of two roles of ZITADEL, which enforces no end, the first ends at this moment and the second a bit later: while a
/// request that reports the first end has no response yet.
fn two_ends(subject: &Subject, end: Timestamp) -> Value {
    let [a, b, ..] = subject.names();
    json!([
        {"role": a, "temporary": {"expirationTime": end.to_string()}},
        {"role": b, "temporary": {"expirationTime": (end + BETWEEN).to_string()}},
    ])
}

/// Between the two ends.
const BETWEEN: SignedDuration = SignedDuration::from_secs(3);

/// How long before an end the connections stop responding.
const BEFORE: SignedDuration = SignedDuration::from_millis(500);

async fn hold_both(stage: &Stage, subjects: &[Subject]) {
    let objects: Vec<Value> = subjects
        .iter()
        .map(|subject| subject.declares(json!([{"role": subject.names()[0]}, {"role": subject.names()[1]}])))
        .collect();
    join_all(objects.iter().map(|object| stage.api.create(object))).await;
    join_all(subjects.iter().map(async |subject| stage.ready(&subject.object()).await)).await;
}

async fn set_ends(stage: &Stage, subjects: &[Subject], end: Timestamp) {
    join_all(subjects.iter().map(|subject| stage.change(subject, json!({"roles": two_ends(subject, end)})))).await;
    assert!(Timestamp::now() < end - BEFORE, "the machine is too slow for this test: declare later ends");
}

/// Waits until nothing is left of any of them, in time and reported.
async fn end(stage: &Stage, subjects: &[Subject], end: Timestamp) {
    join_all(subjects.iter().map(async |subject| {
        let [a, b, ..] = subject.names();
        for (role, end) in [(a, end), (b, end + BETWEEN)] {
            let late = subject.loses(role).await.duration_since(end);
            assert!(late >= SignedDuration::ZERO && late < LATE, "{}: {role} ended {late:#} late", subject.name);
        }
        stage.role_is(&subject.object(), b, "Expired").await;
        let late = Timestamp::now().duration_since(end + BETWEEN);
        assert!(late < LATE + LATE, "{}: reported {late:#} late", subject.name);
    }))
    .await;
}

#[tokio::test]
async fn what_waits_on_a_connection_that_went_silent_is_late_by_the_limit_of_a_request_only() {
    alone(async |plane, stage| {
        let proxy = TcpProxy::start(plane.port()).await.unwrap();
        let lease = [format!("--lease-namespace={NAMESPACE}"), "--lease-duration=20s".to_owned()];
        let lease = lease.each_ref().map(String::as_str);
        let mut operator = Operator::start_behind(plane, &proxy, binary(), "behind", &lease).await.unwrap();
        let one = [stage.user("one")];
        let many: Vec<Subject> = (0..60).map(|number| stage.user(&format!("many-{number}"))).collect();
        let (deleted, edited) = (stage.identity("deleted"), stage.identity("edited"));
        for subject in [&deleted, &edited] {
            stage.declare(subject, json!([{"role": "viewer"}])).await;
            stage.ready(&subject.object()).await;
        }
        let all = [&one[..], &many[..]].concat();
        hold_both(&stage, &all).await;

        // A single end; a deletion whose part at the provider is carried out while the connections don't respond; an
        // edit.
        let first = Timestamp::now() + SignedDuration::from_secs(18);
        let second = first + SignedDuration::from_secs(20);
        set_ends(&stage, &one, first).await;
        set_ends(&stage, &many, second).await;
        let (method, path) = deleted.call(Call::Remove);
        stage.at(&deleted).order(Order::always(Fault::DelayAfter(Duration::from_millis(6_500))).on(method, &path));
        until(first - BEFORE - SignedDuration::from_secs(6)).await;
        stage.api.ask_to_delete(&deleted.object()).await;
        eventually(Duration::from_secs(6), "the deletion is under way", async || {
            let writes = deleted.writes();
            if writes.len() == 2 { Ok(()) } else { Err(format!("{writes:#?}")) }
        })
        .await;
        assert!(Timestamp::now() < first - BEFORE, "the machine is too slow for this test: declare later ends");
        until(first - BEFORE).await;
        proxy.silence();
        let silent = Instant::now();
        let edit = json!({"spec": {"roles": [{"role": "viewer"}, {"role": "deployer"}]}});
        stage.api.merge(&edited.object(), &edit).await;
        let deletion = async {
            stage.api.is_gone(&deleted.object()).await;
            let took = silent.elapsed();
            assert!(took < RELEASED, "gone {took:?} after the connections went silent");
            deleted.has_now(&[], "deleted");
        };
        let edit = async {
            edited.has(&["viewer", "deployer"]).await;
            let took = silent.elapsed();
            assert!(took < UNSEEN, "seen {took:?} after the connections went silent");
        };
        // 60 ends at once: more than there are slots for writes.
        let many = async {
            until(second - BEFORE).await;
            proxy.silence();
            end(&stage, &many, second).await;
        };
        tokio::join!(deletion, edit, end(&stage, &one, first), many);

        let metrics = operator.metrics().await;
        let timeouts = |request: &str| {
            let name = format!("membership_apiserver_request_timeouts_total{{request=\"{request}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u32>().ok()).unwrap_or(0)
        };
        assert!(timeouts("single") >= 2 && timeouts("watch") >= 1 && timeouts("lease") >= 1, "{metrics}");
        assert!(metrics.contains("\nmembership_leader 1\n"), "the Lease was kept: {metrics}");
        assert!(metrics.contains("\nmembership_apiserver_unanswered_seconds 0.0\n"), "{metrics}");
        for path in ["/healthz", "/readyz"] {
            let answer = operator.answer(path).await;
            assert!(answer.ends_with("ok\n"), "{path}: {answer}");
        }
        eventually(SOON, "no pass is due any more", async || {
            let metrics = operator.metrics().await;
            let none = metrics.contains("\nmembership_oldest_due_pass_seconds 0.0\n");
            if none { Ok(()) } else { Err(metrics) }
        })
        .await;
        assert!(!operator.has_ended().unwrap(), "the Lease was lost: {}", operator.log());
        let log = std::fs::read_to_string(operator.log_file()).unwrap();
        for message in ["did not respond in time", "stopped responding"] {
            assert!(log.contains(message), "{message:?} is not logged:\n{log}");
        }
        operator.stop().await.unwrap();
    })
    .await;
}
