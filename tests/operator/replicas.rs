//! Two operators at once: one is the leader, the other on standby, in all cases in which the first ends or is
//! suspended.
//!
//! They take turns with the tests of `restart` on its control plane.

mod churn;
mod hand_over;
mod paused;
mod without_apiserver;

use std::time::Duration;

use control_plane::ControlPlane;
use tokio::time::Instant;

use crate::operator::{NAMESPACE, Operator};
use crate::stage::binary;
use crate::support::eventually;

/// A replica with a lease of this many seconds. It is ready, whether it leads or not.
async fn replica(plane: &ControlPlane, name: &str, lease: u64) -> Operator {
    let arguments = [format!("--lease-namespace={NAMESPACE}"), format!("--lease-duration={lease}s")];
    Operator::start_with(plane, binary(), name, &arguments.each_ref().map(String::as_str)).await.unwrap()
}

/// The first leads, the second is on standby.
async fn leader_and_other(plane: &ControlPlane, lease: u64) -> (Operator, Operator) {
    let first = replica(plane, "first", lease).await;
    leads_within(&first, Duration::from_secs(20)).await;
    let second = replica(plane, "second", lease).await;
    assert!(!leads(&second).await && leads(&first).await, "one leads, and it is the first");
    (first, second)
}

async fn leads(operator: &Operator) -> bool {
    let metrics = operator.metrics().await;
    metrics.lines().any(|line| line == "membership_leader 1")
}

/// Waits until a replica leads, and returns how long that took.
async fn leads_within(operator: &Operator, limit: Duration) -> Duration {
    let began = Instant::now();
    eventually(limit, "the replica leads", async || if leads(operator).await { Ok(()) } else { Err(operator.log()) })
        .await;
    began.elapsed()
}
