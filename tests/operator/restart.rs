//! Tests with an operator of their own: it is killed, started without its flags, or its API server goes away.
//!
//! They share a few control planes and take turns on each, since an operator acts on all namespaces. What is killed is
//! killed once for all tests of `killed`.

mod clock;
mod killed;
mod named;
mod undecodable;
mod unseen;
mod urls;
mod versions;
mod without_apiserver;

use control_plane::{ControlPlane, Options};
use futures::StreamExt;
use futures::future::select_all;
use tokio::sync::{Mutex, OnceCell};

use crate::api::Api;
use crate::operator::{NAMESPACE, Operator};
use crate::stage::{Stage, binary, with_stage_on};
use crate::support;

/// How many there are: the tests mostly wait, and each control plane costs seconds of a processor and 400 MB.
const PLANES: usize = 4;

static TURNS: [Mutex<OnceCell<ControlPlane>>; PLANES] = [const { Mutex::const_new(OnceCell::const_new()) }; PLANES];

/// A turn on a control plane: no operator runs on it yet, and nothing is left of other tests.
pub async fn turn(test: impl AsyncFnOnce(&ControlPlane)) {
    let (turn, ..) = select_all(TURNS.iter().map(|turn| Box::pin(turn.lock()))).await;
    let plane = turn.get_or_init(async || support::start(Options::default()).await.unwrap()).await;
    sweep(plane).await;
    test(plane).await;
}

/// A turn with a stage.
pub async fn alone(test: impl AsyncFnOnce(&ControlPlane, Stage)) {
    turn(async |plane| with_stage_on(plane, async |stage| test(plane, stage).await).await).await;
}

/// An operator of the test's own.
pub async fn operator(plane: &ControlPlane) -> Operator {
    Operator::start(plane, binary(), "own").await.unwrap()
}

/// Takes away what another test has left, finalizers and all. Its providers are gone.
async fn sweep(plane: &ControlPlane) {
    let api = Api::new(plane, "default").await;
    // Some tests leave objects that only kubectl can read.
    let names = r#"jsonpath={range .items[*]}{.metadata.namespace}{" "}{.kind}/{.metadata.name}{"\n"}{end}"#;
    let kinds = "projectmemberships,membershipproviders,clustermembershipproviders";
    let left = plane.kubectl().ok(&["get", kinds, "--all-namespaces", "--output", names]).await.unwrap();
    let objects = futures::stream::iter(left.lines().filter_map(|line| line.split_once(' ')));
    objects
        .for_each_concurrent(16, async |(namespace, object)| {
            api.in_namespace(namespace).delete_by_force(&object.to_lowercase()).await;
        })
        .await;
    // No test waits for a lease of a replica that was killed.
    api.in_namespace(NAMESPACE).delete_by_force("lease/membership-operator").await;
}
