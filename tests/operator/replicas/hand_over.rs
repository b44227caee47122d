//! How soon the other replica acts after the end of the first.

use std::time::Duration;

use control_plane::Filter;
use serde_json::json;
use simulator::{Fault, Order};
use tokio::time::Instant;

use super::{leader_and_other, leads_within};
use crate::evidence::Call;
use crate::restart::alone;
use crate::subject::each;
use crate::support::{OPERATOR, SOON, eventually};

/// Longer than the check of what is in progress, shorter than three seconds less the take-over.
const ANSWER: Duration = Duration::from_millis(1200);
const LEASE: u64 = 8;

/// Seen to fail when the watches began before the lease was acquired.
#[tokio::test]
async fn a_replica_on_standby_keeps_no_objects_and_is_ready_once_it_could_list_them() {
    alone(async |plane, stage| {
        let before = plane.audit().mark().unwrap();
        let (first, second) = leader_and_other(plane, LEASE).await;
        stage.declare(&stage.identity("there"), json!([{"role": "viewer"}])).await;
        stage.ready(&stage.identity("there").object()).await;
        let user = format!("system:serviceaccount:{}:{}", OPERATOR.0, OPERATOR.1);
        let kinds = ["projectmemberships", "membershipproviders", "clustermembershipproviders"];
        let of = |kind: &str, verb: &str| {
            let filter = Filter::new().user(&user).resource(kind).verb(verb);
            plane.audit().events(before, &filter).unwrap()
        };
        for kind in kinds {
            let lists = of(kind, "list");
            let (small, whole): (Vec<_>, Vec<_>) = lists.iter().partition(|list| list.uri.ends_with("limit=1"));
            assert!(!small.is_empty(), "{kind}: it isn't known that it could list them");
            assert_eq!((whole.len(), of(kind, "watch").len()), (1, 1), "{kind}: {lists:#?}");
        }
        first.stop().await.unwrap();
        leads_within(&second, SOON).await;
        stage.delete(&stage.identity("there").object()).await;
        second.stop().await.unwrap();
    })
    .await;
}

/// Seen to fail without `Keeper::release`: the other one waited until the lease had expired.
#[tokio::test]
async fn a_replica_that_is_asked_to_stop_ends_its_writes_and_hands_over_within_three_seconds() {
    alone(async |plane, stage| {
        let (first, second) = leader_and_other(plane, LEASE).await;
        let subjects = stage.both("stopped");
        for subject in &subjects {
            let (method, path) = subject.call(Call::Create);
            stage.at(subject).order(Order::next(Fault::DelayAfter(ANSWER)).on(method, &path));
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
        }
        eventually(SOON, "both writes are under way", async || {
            if subjects.iter().all(|subject| !subject.writes().is_empty()) { Ok(()) } else { Err(first.log()) }
        })
        .await;
        let began = Instant::now();
        let (stopped, ()) = tokio::join!(first.stop(), async {
            leads_within(&second, SOON).await;
        });
        stopped.unwrap();
        let took = began.elapsed();
        assert!(took <= Duration::from_secs(3), "handed over after {took:?}");
        each(&subjects, async |subject| {
            let [a, b, ..] = subject.names();
            stage.ready(&subject.object()).await;
            subject.has_now(&[a], "after the hand-over");
            subject.was_written(1, "what was under way was ended, and not repeated");
            stage.change(subject, json!({"roles": [{"role": a}, {"role": b}]})).await;
            subject.has(&[a, b]).await;
        })
        .await;
        second.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_is_killed_is_replaced_within_the_duration_of_the_lease() {
    alone(async |plane, stage| {
        let (first, second) = leader_and_other(plane, LEASE).await;
        let subjects = stage.both("killed");
        for subject in &subjects {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
            stage.ready(&subject.object()).await;
        }
        let began = Instant::now();
        first.kill().await.unwrap();
        for subject in &subjects {
            stage.api.merge(&subject.object(), &json!({"spec": {"roles": [{"role": subject.names()[1]}]}})).await;
        }
        leads_within(&second, SOON).await;
        let took = began.elapsed();
        assert!(took <= Duration::from_secs(LEASE), "replaced after {took:?}");
        each(&subjects, async |subject| {
            stage.ready(&subject.object()).await;
            subject.has_now(&[subject.names()[1]], "as was declared while there was no leader");
            subject.was_written(2, "one by each replica");
        })
        .await;
        second.stop().await.unwrap();
    })
    .await;
}
