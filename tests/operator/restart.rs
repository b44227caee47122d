//! Tests with an operator of their own: it is killed, started without its flags, or its API server goes away.
//!
//! They share two control planes and take turns on each, since an operator acts on all namespaces. What is killed is
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
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::operator::Operator;
use crate::stage::{Stage, binary, with_stage_on};
use crate::support;

static PLANES: [Mutex<OnceCell<ControlPlane>>; 2] =
    [Mutex::const_new(OnceCell::const_new()), Mutex::const_new(OnceCell::const_new())];

/// A turn on a control plane: no operator runs on it yet, and nothing is left of other tests.
pub async fn turn(test: impl AsyncFnOnce(&ControlPlane)) {
    let [one, other] = &PLANES;
    let turn = tokio::select! {
        turn = one.lock() => turn,
        turn = other.lock() => turn,
    };
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
    const KINDS: &str = "projectmemberships,membershipproviders";
    let kubectl = plane.kubectl();
    // Nobody waits for a lease of a replica that was killed.
    let lease = ["delete", "lease", "membership-operator", "--namespace=membership-system", "--ignore-not-found"];
    kubectl.ok(&lease).await.unwrap();
    kubectl.ok(&["delete", KINDS, "--all", "--all-namespaces", "--wait=false"]).await.unwrap();
    let left = kubectl.ok(&["get", KINDS, "--all-namespaces", "--output=json"]).await.unwrap();
    let left: Value = serde_json::from_str(&left).unwrap();
    for object in left["items"].as_array().into_iter().flatten() {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let nothing = json!({"metadata": {"finalizers": null}}).to_string();
        let namespace = format!("--namespace={}", text("namespace"));
        let patch = ["patch", kind, text("name"), &namespace, "--type=merge", "--patch", &nothing];
        kubectl.ok(&patch).await.unwrap();
    }
}
