//! Tests with an operator of their own: it is killed, stopped, started without its flags, or its API server goes away.
//!
//! They share a second control plane and take turns on it: an operator acts on all namespaces.

mod apiserver;
mod killed;
mod started;
mod undecodable;
mod urls;

use control_plane::{ControlPlane, Options};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::operator::Operator;
use crate::stage::{Stage, binary, with_stage_on};
use crate::support;

static PLANE: OnceCell<(ControlPlane, Mutex<u32>)> = OnceCell::const_new();

/// A test's turn: a stage on a control plane on which no operator runs yet, and nothing is left of other tests.
async fn alone(test: impl AsyncFnOnce(&ControlPlane, Stage)) {
    let start = async || (support::start(Options::default()).await.unwrap(), Mutex::new(0));
    let (plane, turn) = PLANE.get_or_init(start).await;
    let _turn = turn.lock().await;
    sweep(plane).await;
    with_stage_on(plane, async |stage| test(plane, stage).await).await;
}

/// An operator of the test's own.
async fn operator(plane: &ControlPlane) -> Operator {
    Operator::start(plane, binary(), "own").await.unwrap()
}

/// Takes away what another test has left, finalizers and all. Its providers are gone.
async fn sweep(plane: &ControlPlane) {
    let kubectl = plane.kubectl();
    for kind in ["projectmemberships", "membershipproviders"] {
        let list = kubectl.ok(&["get", kind, "--all-namespaces", "--output=json"]).await.unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        for object in list["items"].as_array().into_iter().flatten() {
            let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
            let (namespace, name) = (namespace.as_str().unwrap_or_default(), name.as_str().unwrap_or_default());
            let nothing = json!({"metadata": {"finalizers": null}}).to_string();
            let at = ["--namespace", namespace];
            kubectl.ok(&[&at[..], &["patch", kind, name, "--type=merge", "--patch", &nothing]].concat()).await.unwrap();
            let delete = ["delete", kind, name, "--ignore-not-found"];
            kubectl.ok(&[&at[..], &delete].concat()).await.unwrap();
        }
    }
}
