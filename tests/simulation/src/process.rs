//! One replica of the operator, as a process: its own client code, lease, caches, queue and passes. A seed decides the
//! order of the queue.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::join;
use kube::Client;
use membership_operator::clock::Clock;
use membership_operator::controller::context::Context;
use membership_operator::controller::run::reconciling;
use membership_operator::controller::wiring::{Dependencies, Wiring, while_leading, wire};
use membership_operator::lease::{self, Keeper, Leadership};
use membership_operator::provider::http;
use membership_operator::telemetry::Metrics;
use tower::Layer;

use crate::kubernetes::ToKubernetes;
use crate::life::Life;
use crate::scheduler::Scheduler;

/// Receives the parts of an operator when it is built.
pub type Wired = dyn Fn(&Arc<Context>) + Send + Sync;

/// What a process is started with.
#[derive(Clone)]
pub struct Process {
    pub life: Life,
    /// Its connection to the API server.
    pub kubernetes: ToKubernetes,
    /// Its connection to the providers.
    pub providers: Arc<dyn http::InProcessServer>,
    /// Its Lease; `None`: there is only one replica.
    pub lease: Option<lease::LeaseConfig>,
    /// Its wall clock.
    pub clock: Clock,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// Receives its parts, to inspect its state.
    pub wired: Arc<Wired>,
}

impl Process {
    /// Runs until the process is killed or its lease is lost, after which the operator exits.
    pub async fn run(self) {
        let life = self.life.clone();
        tokio::select! {
            biased;
            () = life.over() => {}
            () = life.live(self.act()) => {}
        }
    }

    async fn act(self) {
        let Self { life, kubernetes, providers: servers, lease, clock, scheduler, wired } = self;
        let metrics = Arc::new(Metrics::default());
        let leadership = lease.as_ref().map_or_else(Leadership::alone, |lease| Leadership::elected(lease.terms));
        let client = Client::new(while_leading(leadership.clone()).layer(kubernetes.clone()), "default");
        let policy = http::Policy {
            allow_http: ["infisical.test", "zitadel.test"].map(str::to_owned).into(),
            restrict_addresses: true,
            ..http::Policy::default()
        };
        let http = http::Client::in_process(policy, metrics.clone(), servers, clock.clone()).led_by(leadership.clone());
        let outside = Dependencies {
            client,
            cluster_http: http.clone(),
            http,
            tokens: PathBuf::new(),
            namespaces: Vec::new(),
            memory_limit: None,
            delay: {
                let scheduler = scheduler.clone();
                Box::new(move |unit| scheduler.dispatch_of(&unit.to_string()))
            },
            leadership: leadership.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let Wiring { ctx, background, event_task } = wire(outside);
        wired(&ctx);
        let within = {
            let life = life.clone();
            move |task| {
                let life = life.clone();
                async move { life.pass(task).await }.boxed()
            }
        };
        let reconciling = reconciling(ctx, within, pending());
        let work = join(reconciling, join(background, event_task));
        let Some(lease) = lease else {
            work.await;
            return;
        };
        let unbound = Client::new(kubernetes, "default");
        let mut keeper = Keeper::new(unbound, &lease, life.name().to_owned(), leadership, metrics, clock);
        tokio::select! {
            biased;
            to = keeper.keep() => scheduler.write(format!("{} lost its lease to {to:?} and ends", life.name())),
            _ = work => {}
        }
    }
}
