//! A stage without processes: the operator's own code in this process, over an API server in memory, with a clock that
//! jumps to the next awaited time. It is for the variants of a promise; its first scenario, and what only the real API
//! server can show, is on the real one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, Request, Response, StatusCode, header};
use futures::FutureExt;
use http_body_util::{BodyExt, Full};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use membership_operator::clock::Clock;
use serde_json::{Value, json};
use simulation::apiserver::state::Refusal;
use simulation::apiserver::{ApiServer, routes};
use simulation::kubernetes::ToKubernetes;
use simulation::life::Life;
use simulation::process::Process;
use simulation::providers::{Providers, Roles, Sent, TargetKey, ToProviders, Witness};
use simulation::scheduler::{Odds, Scheduler};
use simulator::Simulator;

use crate::api::Api;
use crate::stage::Stage;

thread_local! {
    /// The clock of the test that runs on this thread.
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

/// The time that the operator and the providers of this test have.
pub fn now() -> Timestamp {
    CLOCK.with_borrow(|clock| clock.as_ref().map_or_else(Timestamp::now, Clock::now))
}

/// The operator of a stage in memory, and what surrounds it.
pub struct InMemory {
    /// The faults of both connections; none occurs unless a test asks for it.
    pub scheduler: Scheduler,
    /// The operator's own wall clock.
    clock: Clock,
    server: ApiServer,
    providers: Providers,
    running: Mutex<Option<Life>>,
    written: Arc<Mutex<Vec<routes::Request>>>,
}

impl InMemory {
    /// Starts the operator.
    pub fn start(&self) {
        let life = Life::new("operator".to_owned());
        let written = self.written.clone();
        let process = Process {
            kubernetes: ToKubernetes {
                server: self.server.clone(),
                scheduler: self.scheduler.clone(),
                life: life.clone(),
                sees: Arc::new(move |_, request| written.lock().unwrap().push(request.clone())),
            },
            providers: Arc::new(ToProviders {
                providers: self.providers.clone(),
                scheduler: self.scheduler.clone(),
                life: life.clone(),
                witness: Arc::new(Unobserved),
            }),
            life: life.clone(),
            lease: None,
            clock: self.clock.clone(),
            scheduler: self.scheduler.clone(),
            wired: Arc::new(|_| {}),
        };
        tokio::spawn(process.run());
        *self.running.lock().unwrap() = Some(life);
    }

    /// Sets how far the operator's wall clock is ahead of the time of everything else.
    pub fn set_clock_ahead(&self, by: SignedDuration) {
        self.clock.jump(by - self.clock.now().duration_since(now()));
    }

    /// Kills the operator.
    pub fn kill(&self) {
        let running = self.running.lock().unwrap().take();
        running.unwrap_or_else(|| panic!("no operator runs")).end();
    }

    /// The most passes that have run at once.
    pub fn most_passes(&self) -> usize {
        self.running.lock().unwrap().as_ref().map_or(0, Life::most_passes)
    }

    /// The operator's writes to the API server about an object, events excluded, oldest first.
    pub fn writes_about(&self, name: &str) -> Vec<routes::Request> {
        let written = self.written.lock().unwrap();
        written.iter().filter(|request| request.name.as_deref() == Some(name)).cloned().collect()
    }
}

/// Runs a test on a stage of its own, in a runtime whose time is paused. A test that fails shows what the operator sent.
pub async fn in_memory(test: impl AsyncFnOnce(Stage)) {
    // Away from the beginning of tokio's time, so that there are instants before now.
    tokio::time::advance(Duration::from_secs(86_400)).await;
    let clock = Clock::following("2026-01-01T00:00:00.4Z".parse().unwrap());
    CLOCK.set(Some(clock.clone()));
    let (simulator, handlers) = Simulator::in_process({
        let clock = clock.clone();
        move || clock.now()
    });
    let simulator = Arc::new(simulator);
    let server = ApiServer::new(clock.clone());
    let api = Api::of(client(server.clone()), "test");
    let scheduler = Scheduler::new(1, Odds::default());
    let memory = InMemory {
        scheduler: scheduler.clone(),
        clock: clock.apart(),
        server,
        providers: Providers { simulator: simulator.clone(), handlers },
        running: Mutex::default(),
        written: Arc::default(),
    };
    memory.start();
    api.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": api.namespace()}})).await;
    let stage = Stage::furnished(api, simulator).await.in_memory(memory);
    let result = AssertUnwindSafe(test(stage)).catch_unwind().await;
    CLOCK.set(None);
    if let Err(failure) = result {
        let trace = scheduler.trace();
        eprintln!("--- what the operator sent ---\n{}", trace[trace.len().saturating_sub(60)..].join("\n"));
        resume_unwind(failure);
    }
}

/// The writes are read from the simulator's log.
struct Unobserved;

impl Witness for Unobserved {
    fn sends(&self, _: &Life, _: &Sent) {}
    fn carried_out(&self, _: &str, _: &Sent, _: &BTreeMap<TargetKey, Roles>, _: &BTreeMap<TargetKey, Roles>) {}
}

/// An administrator's connection to an API server in memory.
fn client(server: ApiServer) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = server.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let (code, object) =
                answer(&server, &parts, &body).unwrap_or_else(|refusal| (refusal.code, refusal.status()));
            let mut response = Response::new(Full::from(object.to_string()));
            *response.status_mut() = StatusCode::from_u16(code)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(response)
        }
    });
    Client::new(service, "test")
}

fn answer(server: &ApiServer, parts: &axum::http::request::Parts, body: &[u8]) -> Result<(u16, Value), Refusal> {
    let read = routes::Request::read(parts.method.as_str(), parts.uri.path(), body);
    let request = read.ok_or_else(|| Refusal::new(404, "NotFound", "there is no such path"))?;
    let applied = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/apply-patch+yaml");
    server.request(&if applied { replacement(server, request) } else { request })
}

/// What a server-side apply by the only writer of these fields amounts to.
fn replacement(server: &ApiServer, mut request: routes::Request) -> routes::Request {
    let place = (request.namespace.as_deref().unwrap_or_default(), request.name.as_deref().unwrap_or_default());
    let Some(mut object) = server.get(&request.plural, place) else {
        return routes::Request { method: Method::POST.to_string(), name: None, ..request };
    };
    for (field, value) in request.body.as_object().into_iter().flatten() {
        if field != "metadata" {
            object[field] = value.clone();
        }
    }
    for field in ["labels", "annotations"] {
        for (name, value) in request.body["metadata"][field].as_object().into_iter().flatten() {
            if object["metadata"][field].is_null() {
                object["metadata"][field] = json!({});
            }
            object["metadata"][field][name] = value.clone();
        }
    }
    request.method = Method::PUT.to_string();
    request.body = object;
    request
}
