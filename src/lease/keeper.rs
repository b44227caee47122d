//! Reads and writes the Lease. Every write is made under the resourceVersion that was read (compare and swap).

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;

use super::election::{Election, Record, Step, Terms};
use super::leadership::Leadership;
use super::{Config, NAME};
use crate::clock::Clock;
use crate::telemetry::Metrics;

/// Keeps the Lease for this process.
pub struct Keeper {
    api: Api<Lease>,
    election: Election,
    leadership: Arc<Leadership>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// As read or written last; `None` outside: it has to be read; inside: there is none.
    known: Option<Option<Lease>>,
    /// Who was said to lead.
    told: Option<String>,
    /// The last attempt to read or write it has failed.
    failing: bool,
}

impl Keeper {
    /// Of a process that nobody else is as: `identity` is its alone, a restarted one's another.
    pub fn new(
        client: Client,
        config: &Config,
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
            told: None,
            failing: false,
        }
    }

    /// Waits for the Lease, takes it, and renews it. Returns only when it was taken away, with who has it now.
    pub async fn keep(&mut self) -> Option<String> {
        loop {
            let turn = self.turn().await;
            self.log_failure(turn.as_ref().err());
            let wait = match turn {
                Ok(Step::Lost { to }) => {
                    self.metrics.leads(false);
                    return to;
                }
                Ok(Step::Wait(until)) => until.saturating_duration_since(Instant::now()),
                Ok(Step::Take) => self.terms().look_every(),
                Err(_) => {
                    self.known = None;
                    self.terms().look_every()
                }
            };
            self.metrics.leads(self.leadership.leads(Instant::now()));
            tokio::time::sleep(wait).await;
        }
    }

    /// Logs the first of several failures in a row, and their end.
    fn log_failure(&mut self, error: Option<&String>) {
        let namespace = self.api.namespace().unwrap_or_default();
        match error {
            Some(error) if !self.failing => {
                tracing::warn!(
                    "the Lease {namespace}/{NAME} could not be read or written, and is tried again: {error}"
                );
            }
            None if self.failing => tracing::info!("the Lease {namespace}/{NAME} can be read and written again"),
            Some(_) | None => {}
        }
        self.failing = error.is_some();
    }

    /// Gives the Lease back, so that nobody has to wait until it ends. Nothing may be under way any more.
    pub async fn release(&mut self) {
        if !self.election.is_ours() {
            return;
        }
        self.leadership.held_until(None);
        // An answer that was lost may have moved the resourceVersion.
        for _ in 0..3 {
            match self.give_back().await {
                Ok(()) => {
                    tracing::info!("the lease is given back");
                    return;
                }
                Err(error) => tracing::debug!(%error, "the lease could not be given back"),
            }
        }
        tracing::warn!("the lease could not be given back: it runs out by itself");
    }

    fn terms(&self) -> Terms {
        self.election.terms()
    }

    /// One look or write, as is due.
    async fn turn(&mut self) -> Result<Step, String> {
        if self.known.is_none() || !self.election.is_ours() {
            let found = self.look().await?;
            self.election.saw(found.as_ref().map(record), Instant::now());
            self.known = Some(found);
            if !self.election.is_ours() {
                self.leadership.held_until(None);
            }
        }
        let step = self.election.step(Instant::now());
        if step == Step::Take {
            self.take().await?;
            return Ok(self.election.step(Instant::now()));
        }
        self.tell();
        Ok(step)
    }

    async fn look(&self) -> Result<Option<Lease>, String> {
        self.in_time(self.api.get_opt(NAME)).await
    }

    async fn take(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let record = self.election.record(self.clock.now());
        let written = self.write(&record).await?;
        self.election.wrote(record, began);
        self.leadership.held_until(self.election.until());
        self.known = Some(Some(written));
        self.tell();
        Ok(())
    }

    async fn give_back(&mut self) -> Result<(), String> {
        if self.known.is_none() {
            self.known = Some(self.look().await?);
        }
        let found = self.known.clone().flatten().as_ref().map(record);
        let Some(Record { holder: Some(holder), .. }) = &found else {
            return Ok(());
        };
        if holder != self.election.identity() {
            return Ok(());
        }
        let record = Record { holder: None, ..self.election.record(self.clock.now()) };
        self.write(&record).await.map(drop)
    }

    /// Writes over what is known.
    async fn write(&mut self, record: &Record) -> Result<Lease, String> {
        let known = self.known.take().flatten();
        let lease = with(known.clone(), record);
        let params = PostParams::default();
        match known {
            None => self.in_time(self.api.create(&params, &lease)).await,
            Some(_) => self.in_time(self.api.replace(NAME, &params, &lease)).await,
        }
    }

    /// A request of bounded length. What became of one that took too long is unknown: the Lease is read again, on a new
    /// connection.
    async fn in_time<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
        let limit = self.terms().attempt();
        match tokio::time::timeout(limit, request).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => {
                self.metrics.api_server_timed_out("lease");
                Err(format!("no answer in {limit:?}"))
            }
        }
    }

    /// Says who leads, when it is somebody else than before.
    fn tell(&mut self) {
        let holder = self.election.holder();
        if holder == self.told.as_deref() {
            return;
        }
        let identity = self.election.identity();
        match holder {
            Some(holder) if holder == identity => tracing::info!(identity, "this replica leads"),
            Some(holder) => tracing::info!(identity, holder, "another replica leads: standing by"),
            None => {}
        }
        self.told = holder.map(str::to_owned);
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
        renewed: spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or_default(),
        terms: seconds.map(|s| s.clamp(Terms::SHORTEST, Terms::LONGEST)).and_then(Terms::seconds),
    }
}

/// The Lease as it is to be: what others wrote into it stays, its resourceVersion too.
fn with(known: Option<Lease>, record: &Record) -> Lease {
    let named = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
    let mut lease = known.unwrap_or(Lease { metadata: named, spec: None });
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    let renewed = record.renewed.map(MicroTime);
    if record.holder.is_some() && spec.holder_identity != record.holder {
        spec.acquire_time.clone_from(&renewed);
    }
    // None rather than an empty name: the API server takes no empty one.
    spec.holder_identity.clone_from(&record.holder);
    spec.renew_time = renewed;
    spec.lease_transitions = Some(record.transitions);
    spec.lease_duration_seconds = record.terms.and_then(|terms| i32::try_from(terms.duration().as_secs()).ok());
    lease
}
