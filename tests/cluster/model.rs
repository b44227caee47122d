//! The simulation's API server against the real one: the same random requests to both, the same answers and the same
//! events of a watch, but for times, uids and the numbers of resourceVersions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use membership_operator::clock::Clock;
use serde_json::{Value, json};
use simulation::apiserver::ApiServer;
use simulation::apiserver::routes::{self, line};
use simulation::rng::Rng;

use crate::support::{membership, plane, with_namespace};

const REQUESTS: usize = 1200;
const SEED: u64 = 7;
const MEMBERSHIPS: &str = "apis/membership.dev/v1alpha1";
const LEASES: &str = "apis/coordination.k8s.io/v1";

/// One of the two.
struct Side {
    server: Server,
    /// All resourceVersions and the uid of each object, by its path, as this side has named them.
    versions: BTreeMap<String, Vec<String>>,
    uids: BTreeMap<String, String>,
    /// What each object was when it was last seen.
    shown: BTreeMap<String, Value>,
}

enum Server {
    Real(Client),
    Model(ApiServer),
}

/// What a request is to carry: each side puts in what it calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Any,
    Newest,
    /// The one before.
    Stale,
}

#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: String,
    body: Value,
    version: Version,
    /// Whether a uid is put in: the object's, or another's.
    uid: Option<bool>,
}

impl Side {
    async fn asked(&mut self, asked: &Asked) -> Value {
        let mut body = asked.body.clone();
        let object = asked.path.trim_end_matches("/status").to_owned();
        let known = self.versions.get(&object).cloned().unwrap_or_default();
        let version = match asked.version {
            Version::Any => None,
            Version::Newest => known.last(),
            Version::Stale => known.len().checked_sub(2).and_then(|at| known.get(at)),
        };
        if let Some(version) = version {
            body["metadata"]["resourceVersion"] = version.clone().into();
        }
        match (asked.uid, self.uids.get(&object)) {
            (Some(true), Some(uid)) => body["metadata"]["uid"] = uid.clone().into(),
            (Some(false), Some(_)) => body["metadata"]["uid"] = "00000000-0000-4000-8000-00000000dead".into(),
            _ => {}
        }
        let (code, mut answer) = self.server.answer(&asked.method, &asked.path, &body).await;
        let path = match answer["metadata"]["name"].as_str() {
            Some(name) if !object.ends_with(name) => format!("{object}/{name}"),
            _ => object,
        };
        let version = answer["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        if let Some(uid) = answer["metadata"]["uid"].as_str() {
            self.uids.insert(path.clone(), uid.to_owned());
        }
        neutral(&mut answer);
        if let Some(version) = version.filter(|_| answer.get("items").is_none()) {
            let known = self.versions.entry(path.clone()).or_default();
            // Who writes a field is kept in managedFields, so that a first write of a manager moves the version though
            // it changes nothing that is compared here.
            if self.shown.insert(path, answer.clone()).as_ref() == Some(&answer) {
                known.pop();
            }
            known.push(version);
        }
        json!({"code": code, "answer": answer})
    }
}

impl Server {
    async fn answer(&self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let bytes = if *method == Method::GET || *method == Method::DELETE {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        match self {
            Self::Real(client) => {
                let kind = if *method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
                let request =
                    Request::builder().method(method).uri(format!("/{path}")).header(header::CONTENT_TYPE, kind);
                let answer = client.send(request.body(Body::from(bytes)).unwrap()).await.unwrap();
                let code = answer.status().as_u16();
                let bytes = answer.into_body().collect_bytes().await.unwrap();
                (code, serde_json::from_slice(&bytes).unwrap())
            }
            Self::Model(server) => {
                let request = routes::Request::read(method.as_str(), path, &bytes).expect("a path of the API");
                server.request(&request).unwrap_or_else(|refusal| (refusal.code, refusal.status()))
            }
        }
    }

    /// The events of a namespace's memberships after a resourceVersion.
    /// Begins to watch a namespace. The real server keeps few events for a watch that begins later. Returns the lines of
    /// events so far.
    async fn watch(&self, namespace: &str, after: &str) -> Lines {
        match self {
            Self::Real(client) => {
                let uri = format!(
                    "/{MEMBERSHIPS}/namespaces/{namespace}/projectmemberships?watch=true&resourceVersion={after}&timeoutSeconds=600"
                );
                let answer = client.send(Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
                let shown = Arc::new(Mutex::new(Vec::new()));
                let (into, mut body) = (shown.clone(), answer.into_body());
                tokio::spawn(async move {
                    while let Some(Ok(frame)) = body.frame().await {
                        into.lock().unwrap().extend_from_slice(frame.data_ref().unwrap());
                    }
                });
                let text = move || String::from_utf8(shown.lock().unwrap().clone()).unwrap();
                Box::new(text)
            }
            Self::Model(server) => {
                let (server, namespace, after) = (server.clone(), namespace.to_owned(), after.parse().unwrap());
                let changes = move || server.changes("projectmemberships", Some(&namespace), after).unwrap();
                Box::new(move || changes().iter().map(line).collect())
            }
        }
    }
}

/// The lines of a watch so far.
type Lines = Box<dyn Fn() -> String>;

/// The events of a watch, when no more come.
async fn events(lines: &Lines) -> Vec<Value> {
    let mut text = lines();
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = std::mem::replace(&mut text, lines());
        if text == before {
            break;
        }
    }
    let event = |line: &str| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        neutral(&mut event["object"]);
        event
    };
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    let mut events: Vec<Value> = text.lines().map(event).collect();
    // As above: what changes nothing but managedFields.
    events.retain(|event| {
        last.insert(event["object"]["metadata"]["name"].to_string(), event["object"].clone()).as_ref()
            != Some(&event["object"])
            || event["type"] != "MODIFIED"
    });
    events
}

/// Takes out what two servers can't have in common.
fn neutral(answer: &mut Value) {
    if answer["status"] == "Failure" {
        *answer = json!({"reason": answer["reason"], "code": answer["code"]});
        return;
    }
    for item in answer.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        neutral(item);
    }
    if let Some(metadata) = answer.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion"] {
            metadata.remove(field);
        }
        for field in ["uid", "creationTimestamp", "deletionTimestamp"] {
            if metadata.contains_key(field) {
                metadata.insert(field.to_owned(), "there".into());
            }
        }
    }
    if let Some(details) = answer.get_mut("details").and_then(Value::as_object_mut) {
        details.remove("uid");
    }
}

fn version(rng: &mut Rng) -> Version {
    *rng.one_of(&[Version::Any, Version::Newest, Version::Newest, Version::Stale])
}

/// The next request: what the operator sends and what people do, at random.
fn next(rng: &mut Rng, namespace: &str) -> Asked {
    let of = format!("{MEMBERSHIPS}/namespaces/{namespace}/projectmemberships");
    let lease = format!("{LEASES}/namespaces/{namespace}/leases");
    let name = *rng.one_of(&["a", "b", "c"]);
    let uid = *rng.one_of(&[None, None, Some(true), Some(true), Some(false)]);
    let asked = |method: Method, path: String, body: Value, version: Version, uid: Option<bool>| Asked {
        method,
        path,
        body,
        version,
        uid,
    };
    let finalizers = |rng: &mut Rng| {
        let all = [&[][..], &["membership.dev/revoke"], &["membership.dev/revoke", "example.com/other"]];
        json!(*rng.one_of(&all))
    };
    match rng.weighted(&[8, 6, 8, 4, 8, 6, 3, 2, 3, 6]) {
        0 => {
            let mut object = membership(name);
            if rng.chance(300) {
                object["metadata"]["finalizers"] = finalizers(rng);
            }
            object["status"] = json!({"activeRoles": "forged"});
            object["metadata"]["generation"] = 7.into();
            asked(Method::POST, of, object, Version::Any, None)
        }
        1 => {
            let patches = [
                json!({"suspend": true}),
                json!({"suspend": null}),
                json!({"roles": [{"role": "viewer"}, {"role": "deployer", "temporary": {"duration": "2h"}}]}),
                json!({"roles": [{"role": "viewer"}]}),
                json!({"unknown": 1, "deletionPolicy": "Orphan"}),
                json!({"resyncInterval": "5m"}),
                json!({"resyncInterval": null}),
            ];
            let body = json!({"spec": rng.one_of(&patches).clone(), "status": {"activeRoles": "forged"}});
            asked(Method::PATCH, format!("{of}/{name}"), body, version(rng), uid)
        }
        2 => {
            let patches = [
                json!({"observedGeneration": 3, "activeRoles": "viewer", "managedRoles": [{"role": "viewer"}]}),
                json!({"activeRoles": null, "managedRoles": []}),
                json!({"observedGeneration": null}),
                json!({"unknown": 1}),
            ];
            let body = json!({"status": rng.one_of(&patches).clone(), "spec": {"suspend": true}});
            asked(Method::PATCH, format!("{of}/{name}/status"), body, version(rng), uid)
        }
        3 => {
            let annotations =
                [json!({"membership.dev/reconcile-at": "1"}), json!({"membership.dev/reconcile-at": null})];
            let body = json!({"metadata": {"annotations": rng.one_of(&annotations).clone()}});
            asked(Method::PATCH, format!("{of}/{name}"), body, version(rng), uid)
        }
        4 => {
            let body = json!({"metadata": {"finalizers": finalizers(rng)}});
            asked(Method::PATCH, format!("{of}/{name}"), body, version(rng), uid)
        }
        5 => asked(Method::DELETE, format!("{of}/{name}"), json!({}), Version::Any, None),
        6 => asked(Method::GET, format!("{of}/{name}"), json!({}), Version::Any, None),
        7 => asked(Method::GET, of, json!({}), Version::Any, None),
        8 => asked(Method::POST, lease, lease_of("first"), Version::Any, None),
        _ => {
            let (version, holder) = (version(rng), *rng.one_of(&["first", "second"]));
            asked(Method::PUT, format!("{lease}/operator"), lease_of(holder), version, None)
        }
    }
}

fn lease_of(holder: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "operator"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 60, "leaseTransitions": 1,
            "renewTime": "2026-01-01T00:00:00.000000Z"},
    })
}

#[tokio::test]
async fn the_simulated_api_server_responds_and_notifies_like_the_real_one() {
    with_namespace(async |ns| {
        let kubeconfig = Kubeconfig::read_from(plane().await.admin_kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let side = |server| Side { server, versions: BTreeMap::new(), uids: BTreeMap::new(), shown: BTreeMap::new() };
        let mut real = side(Server::Real(Client::try_from(config).unwrap()));
        let mut model = side(Server::Model(ApiServer::new(Clock::system())));
        let list = format!("{MEMBERSHIPS}/namespaces/{}/projectmemberships", ns.name);
        let (_, before) = real.server.answer(&Method::GET, &list, &json!({})).await;
        let before = before["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let watches = (real.server.watch(&ns.name, &before).await, model.server.watch(&ns.name, "0").await);
        let mut rng = Rng::new(SEED, 0);
        for number in 0..REQUESTS {
            let asked = next(&mut rng, &ns.name);
            let (expected, there) = (real.asked(&asked).await, model.asked(&asked).await);
            assert!(there == expected, "request {number}: {asked:?}\n  real:  {expected}\n  model: {there}");
        }
        let (expected, there) = (events(&watches.0).await, events(&watches.1).await);
        assert!(expected.len() > REQUESTS / 10, "the watch shows little: {}", expected.len());
        for (number, (expected, there)) in expected.iter().zip(&there).enumerate() {
            assert!(there == expected, "event {number}\n  real:  {expected}\n  model: {there}");
        }
        assert_eq!(there.len(), expected.len());
    })
    .await;
}
