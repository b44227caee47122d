//! Reads and writes the Lease. Every write is made under the resourceVersion that was read (compare and swap).

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::election::{Election, LeaseRecord, LeaseStep, LeaseTerms};
use super::leadership::Leadership;
use super::{LeaseConfig, NAME};
use crate::clock::Clock;
use crate::telemetry::Metrics;

/// Keeps the Lease for this process.
pub struct Keeper {
    api: Api<Lease>,
    election: Election,
    leadership: Arc<Leadership>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// The Lease as last read or written. `None` outside: it must be read; `None` inside: there is no Lease.
    known: Option<Option<Lease>>,
    /// The leader that was logged last.
    logged_holder: Option<String>,
    /// Whether the last attempt to read or write the Lease failed.
    failing: bool,
}

/// A keeper that runs in a separate task. Dropping this ends the task.
pub struct Keeping {
    end: oneshot::Sender<()>,
    /// Returns the keeper if it was asked to end, or the new holder if the Lease was lost.
    task: JoinHandle<Result<Keeper, Option<String>>>,
}

impl Keeping {
    /// Returns only when another process has taken the Lease, with the new holder.
    pub async fn lost(&mut self) -> Option<String> {
        match (&mut self.task).await {
            Ok(Err(to)) => to,
            // The task ends otherwise only by [`Keeping::end`] or a panic: then the Lease is not renewed any more.
            Ok(Ok(_)) | Err(_) => None,
        }
    }

    /// Ends the renewals. Returns the keeper, which can release the Lease. `None`: the Lease was lost.
    pub async fn end(self) -> Option<Keeper> {
        // Sending fails if the task has ended.
        let _ = self.end.send(());
        self.task.await.ok()?.ok()
    }
}

impl Keeper {
    /// Keeps the Lease in a separate task, so that no work in another task delays a renewal.
    pub fn spawn(mut self) -> Keeping {
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                to = self.keep() => Err(to),
                _ = ended => Ok(self),
            }
        });
        Keeping { end, task }
    }

    /// A keeper for this process. `identity` must be unique to this process, also across its restarts.
    pub fn new(
        client: Client,
        config: &LeaseConfig,
        identity: String,
        leadership: Arc<Leadership>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        Self {
            api: Api::namespaced(client, &config.namespace),
            election: Election::new(identity, config.terms),
            leadership,
            metrics,
            clock,
            known: None,
            logged_holder: None,
            failing: false,
        }
    }

    /// Waits for the Lease, takes it, and renews it. Returns only when another process has taken it, with the new
    /// holder.
    pub async fn keep(&mut self) -> Option<String> {
        loop {
            let turn = self.turn().await;
            self.log_failure(turn.as_ref().err());
            let wait = match turn {
                Ok(LeaseStep::Lost { to }) => {
                    self.metrics.leads(false);
                    return to;
                }
                Ok(LeaseStep::Wait(until)) => until.saturating_duration_since(Instant::now()),
                Ok(LeaseStep::Take) => self.terms().read_every(),
                Err(_) => {
                    self.known = None;
                    self.terms().read_every()
                }
            };
            self.metrics.leads(self.leadership.leads(Instant::now()));
            tokio::time::sleep(wait).await;
        }
    }

    /// Logs the first of several consecutive failures, and the first success after them.
    fn log_failure(&mut self, error: Option<&String>) {
        let namespace = self.api.namespace().unwrap_or_default();
        match error {
            Some(error) if !self.failing => {
                tracing::warn!("the Lease {namespace}/{NAME} could not be read or written, and is retried: {error}");
            }
            None if self.failing => tracing::info!("the Lease {namespace}/{NAME} can be read and written again"),
            Some(_) | None => {}
        }
        self.failing = error.is_some();
    }

    /// Releases the Lease, so that no other replica has to wait until it expires. No write may be in progress any more.
    pub async fn release(&mut self) {
        if !self.election.is_ours() {
            return;
        }
        self.leadership.held_until(None);
        // A write whose response was lost may have changed the resourceVersion.
        for _ in 0..3 {
            match self.give_back().await {
                Ok(()) => {
                    tracing::info!("the lease is released");
                    return;
                }
                Err(error) => tracing::debug!(%error, "the lease could not be given back"),
            }
        }
        tracing::warn!("the lease could not be released: it will expire");
    }

    fn terms(&self) -> LeaseTerms {
        self.election.terms()
    }

    /// Reads or writes once, if either is due.
    async fn turn(&mut self) -> Result<LeaseStep, String> {
        if self.known.is_none() || !self.election.is_ours() {
            let found = self.read_lease().await?;
            self.election.observe(found.as_ref().map(record), Instant::now());
            self.known = Some(found);
            if !self.election.is_ours() {
                self.leadership.held_until(None);
            }
        }
        let step = self.election.step(Instant::now());
        if step == LeaseStep::Take {
            self.take().await?;
            return Ok(self.election.step(Instant::now()));
        }
        self.log_leader();
        Ok(step)
    }

    async fn read_lease(&self) -> Result<Option<Lease>, String> {
        self.in_time(self.api.get_opt(NAME)).await
    }

    async fn take(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let record = self.election.record(self.clock.now());
        let written = self.write(&record).await?;
        self.election.wrote(record, began);
        self.leadership.held_until(self.election.until());
        self.known = Some(Some(written));
        self.log_leader();
        Ok(())
    }

    async fn give_back(&mut self) -> Result<(), String> {
        if self.known.is_none() {
            self.known = Some(self.read_lease().await?);
        }
        let holder = self.known.as_ref().and_then(Option::as_ref).and_then(|lease| record(lease).holder);
        if holder.as_deref() != Some(self.election.identity()) {
            return Ok(());
        }
        let record = LeaseRecord { holder: None, ..self.election.record(self.clock.now()) };
        self.write(&record).await.map(drop)
    }

    /// Writes the record over the Lease that is known.
    async fn write(&mut self, record: &LeaseRecord) -> Result<Lease, String> {
        let known = self.known.take().flatten();
        let lease = with(known.clone(), record);
        let params = PostParams::default();
        match known {
            None => self.in_time(self.api.create(&params, &lease)).await,
            Some(_) => self.in_time(self.api.replace(NAME, &params, &lease)).await,
        }
    }

    /// Runs a request with a time limit. The outcome of one that took too long is unknown: the Lease is read again, on
    /// a new connection.
    async fn in_time<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
        let limit = self.terms().attempt();
        match tokio::time::timeout(limit, request).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => {
                self.metrics.api_server_timed_out("lease");
                Err(format!("no response within {limit:?}"))
            }
        }
    }

    /// Logs the leader if it has changed.
    fn log_leader(&mut self) {
        let holder = self.election.holder();
        if holder == self.logged_holder.as_deref() {
            return;
        }
        let identity = self.election.identity();
        match holder {
            Some(holder) if holder == identity => tracing::info!(identity, "this replica leads"),
            Some(holder) => tracing::info!(identity, holder, "another replica leads: standing by"),
            None => {}
        }
        self.logged_holder = holder.map(str::to_owned);
    }
}

fn record(lease: &Lease) -> LeaseRecord {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    LeaseRecord {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
        renewed: spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or_default(),
        terms: seconds.map(|s| s.clamp(LeaseTerms::SHORTEST, LeaseTerms::LONGEST)).and_then(LeaseTerms::seconds),
    }
}

/// The Lease to write: fields that others set are kept, and so is the resourceVersion.
fn with(known: Option<Lease>, record: &LeaseRecord) -> Lease {
    let named = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
    let mut lease = known.unwrap_or(Lease { metadata: named, spec: None });
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    let renewed = record.renewed.map(MicroTime);
    if record.holder.is_some() && spec.holder_identity != record.holder {
        spec.acquire_time.clone_from(&renewed);
    }
    // `None` instead of an empty name, which the API server rejects.
    spec.holder_identity.clone_from(&record.holder);
    spec.renew_time = renewed;
    spec.lease_transitions = Some(record.transitions);
    spec.lease_duration_seconds = record.terms.and_then(|terms| i32::try_from(terms.duration().as_secs()).ok());
    lease
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server with one Lease, which counts the writes to it.
    #[derive(Clone, Default)]
    struct LeaseServer {
        lease: Arc<Mutex<Option<Vec<u8>>>>,
        writes: Arc<AtomicUsize>,
    }

    impl LeaseServer {
        fn client(&self) -> Client {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            Client::new(service, "default")
        }

        async fn answer(&self, request: Request<Body>) -> Response<Body> {
            let method = request.method().clone();
            let body = request.into_body().collect_bytes().await.unwrap();
            if method != Method::GET {
                self.writes.fetch_add(1, Ordering::SeqCst);
                *self.lease.lock().unwrap() = Some(body.to_vec());
            }
            match self.lease.lock().unwrap().clone() {
                Some(lease) => Response::new(Body::from(lease)),
                None => {
                    let missing = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
                    Response::builder().status(404).body(Body::from(missing.to_string().into_bytes())).unwrap()
                }
            }
        }
    }

    fn keeper(server: &LeaseServer) -> Keeper {
        let terms = LeaseTerms::seconds(5).unwrap();
        let config = LeaseConfig { namespace: "default".to_owned(), terms };
        let (leadership, metrics) = (Leadership::elected(terms), Arc::default());
        Keeper::new(server.client(), &config, "one".to_owned(), leadership, metrics, Clock::system())
    }

    /// Seen failing with the keeper polled by the task that is blocked: no write at all.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_lease_is_renewed_while_the_main_task_is_busy() {
        let server = LeaseServer::default();
        let keeping = keeper(&server).spawn();
        let began = std::time::Instant::now();
        // This task is busy and not polled in the meantime.
        while server.writes.load(Ordering::SeqCst) < 3 {
            assert!(began.elapsed() < Duration::from_secs(30), "the Lease was not renewed");
            std::thread::yield_now();
        }
        keeping.end().await.unwrap().release().await;
        let lease = server.lease.lock().unwrap().clone().unwrap();
        let lease: serde_json::Value = serde_json::from_slice(&lease).unwrap();
        assert!(lease["spec"].get("holderIdentity").is_none(), "it was given back: {lease:#}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_loses_the_lease_learns_to_whom() {
        let server = LeaseServer::default();
        let mut keeping = keeper(&server).spawn();
        while server.writes.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        // The next renewal finds what another replica wrote.
        let taken = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME},
            "spec": {"holderIdentity": "two", "leaseTransitions": 7, "leaseDurationSeconds": 5,
                "renewTime": "2026-01-01T00:00:00.000000Z"},
        });
        let takes = server.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (takes, taken) = (takes.clone(), taken.clone());
            async move {
                let conflict = json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409});
                let (code, body) = match *request.method() {
                    Method::GET => (200, taken),
                    _ => (409, conflict),
                };
                takes.writes.fetch_add(1, Ordering::SeqCst);
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        let keeper = keeping.end().await.unwrap();
        let api = Api::namespaced(Client::new(service, "default"), "default");
        keeping = Keeper { api, ..keeper }.spawn();
        assert_eq!(keeping.lost().await.as_deref(), Some("two"));
    }
}
