//! Starts, runs and stops the operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, future};
use tokio::sync::watch as signal;

use super::context::Context;
use super::queue::{NextPass, TicketResult};
use super::reconcile;
use super::state::targets::Unit;
use super::wiring::{Dependencies, Wiring, while_leading, wire};
use crate::clock::Clock;
use crate::kubernetes::{self, ApiServer};
use crate::lease::{self, Keeper, Keeping, Leadership};
use crate::provider::http;
use crate::telemetry::ApiReachability;
use crate::telemetry::{Health, Metrics, serve};
use crate::transport::roots;

/// The longest wait for writes that were sent. No write takes longer.
const STOPPING: Duration = Duration::from_secs(35);
/// How long passes may continue when the operator is stopped while another replica waits, which has to take over within
/// three seconds. After this time only writes that were sent are waited for, and then the same time again for their
/// reports.
const GRACE: Duration = Duration::from_secs(1);

/// The configuration of the operator.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// The address at which `/metrics`, `/healthz` and `/readyz` are served.
    pub address: SocketAddr,
    /// Which URLs provider objects may name.
    pub urls: http::Policy,
    /// The Lease that decides which of several replicas acts; `None`: there is only one replica.
    pub lease: Option<lease::LeaseConfig>,
    /// The namespaces that are watched. If it is empty, all of them and the cluster-scoped kinds are watched.
    pub namespaces: Vec<String>,
    /// The directory of the operator's own tokens, for provider objects of the cluster that sign in with one.
    pub tokens: PathBuf,
    /// The memory limit of this process in bytes; `None`: there is none.
    pub memory_limit: Option<u64>,
}

/// Why the operator cannot run.
#[derive(thiserror::Error, Debug)]
pub enum RunError {
    /// The client of the API server cannot be created.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::ClientError),
    /// The HTTP client of the providers cannot be created.
    #[error(transparent)]
    Http(#[from] crate::provider::Error),
    /// The Lease was lost: another replica acts now.
    #[error(
        "the lease was lost{}: nothing more is written. This process must be restarted, and will then be on standby",
        to.as_ref().map_or_else(String::new, |to| format!(" to {to}"))
    )]
    LeaseLost {
        /// The holder of the Lease, if it is known.
        to: Option<String>,
    },
    /// The address is unavailable.
    #[error("can't listen on {address}: {error}. Choose another with --listen")]
    Listen {
        address: SocketAddr,
        /// Why it cannot be listened on.
        error: std::io::Error,
    },
}

/// Runs until `stop` is true, then lets what is in progress finish.
pub async fn run(config: OperatorConfig, stop: signal::Receiver<bool>) -> Result<(), RunError> {
    announce(&config);
    let leadership = config.lease.as_ref().map_or_else(Leadership::alone, |lease| Leadership::elected(lease.terms));
    let metrics = Arc::new(Metrics::default());
    let reachability = Arc::new(ApiReachability::default());
    let api_server = ApiServer::infer(&config.urls.proxies, metrics.clone(), reachability.clone()).await?;
    // Only GET requests are sent unless this process leads, except about the Lease, so that no caller can forget to
    // check.
    let client = api_server.client()?.with_layer(&while_leading(leadership.clone())).build();
    let unbound = api_server.client()?.build();
    let anywhere = http::Policy { restrict_addresses: false, ..config.urls.clone() };
    let http = http::Client::new(config.urls, metrics.clone())?.led_by(leadership.clone());
    let cluster_http = http::Client::new(anywhere, metrics.clone())?.led_by(leadership.clone());
    if http.trusts_compiled_in() {
        roots::report_fallback("providers");
    }
    let clock = Clock::system();
    let elected = config.lease.is_some();
    let mut keeping = config.lease.map(|lease| {
        let (leadership, metrics, clock) = (leadership.clone(), metrics.clone(), clock.clone());
        Keeper::new(unbound, &lease, lease::identity(), leadership, metrics, clock).spawn()
    });
    let stopped = {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await) }.shared()
    };
    let OperatorConfig { namespaces, tokens, memory_limit, .. } = config;
    let outside = Dependencies {
        client,
        http,
        cluster_http,
        tokens,
        namespaces,
        delay: Box::new(|_| Duration::ZERO),
        memory_limit,
        leadership: leadership.clone(),
        metrics: metrics.clone(),
        clock,
    };
    let Wiring { ctx, background, event_task } = wire(outside);
    let event_task = tokio::spawn(event_task);
    let health =
        Health { caches: ctx.readiness.clone(), reachability, passes: ctx.passes.clone(), backlog: ctx.clone() };
    let serving = tokio::spawn(serve(config.address, metrics.clone(), health, stopped.clone()));
    let reconciling = reconciling(ctx.clone(), |pass| pass, stopped.clone());
    let reconciling = async {
        // A provider object that is not in the cache yet must not be reported as missing.
        ctx.providers.are_known().await;
        reconciling.await;
    };
    let finishing = async {
        stopped.clone().await;
        tracing::info!("stopping: work in progress is finished first");
        if !elected {
            return tokio::time::sleep(STOPPING).await;
        }
        tokio::time::sleep(GRACE).await;
        leadership.close();
        let writing = !leadership.is_idle();
        let _ = tokio::time::timeout(STOPPING, leadership.idle()).await;
        if writing {
            // The writes still have to be confirmed and reported.
            tokio::time::sleep(GRACE).await;
        }
    };
    tokio::select! {
        () = reconciling => {}
        () = background => {}
        () = finishing => tracing::info!("some passes didn't finish in time; the next start repeats them"),
        error = listening(serving, config.address) => return Err(error),
        to = lost(&mut keeping, &metrics) => return Err(RunError::LeaseLost { to }),
    }
    if let Some(keeping) = keeping
        && let Some(mut keeper) = keeping.end().await
        && leadership.is_idle()
    {
        keeper.release().await;
    }
    drop(ctx);
    // Events that are still waiting may delay the exit by a second at most.
    let _ = tokio::time::timeout(Duration::from_secs(1), event_task).await;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "stopped");
    Ok(())
}

/// Logs the version, and the arguments that decide what the operator does.
fn announce(config: &OperatorConfig) {
    let lease = config.lease.as_ref().map(|lease| format!("{}, {:?}", lease.namespace, lease.terms.duration()));
    let or_all = |names: &[String]| if names.is_empty() { "all".to_owned() } else { names.join(", ") };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespaces = or_all(&config.namespaces),
        lease = lease.unwrap_or_else(|| "none".to_owned()),
        allowed_hosts = or_all(config.urls.allowed_hosts.as_deref().unwrap_or_default()),
        "starting"
    );
}

/// Returns only when the Lease was lost, with its holder.
async fn lost(keeping: &mut Option<Keeping>, metrics: &Metrics) -> Option<String> {
    match keeping {
        Some(keeping) => keeping.lost().await,
        None => {
            metrics.leads(true);
            future::pending().await
        }
    }
}

/// Returns only when the address cannot be listened on.
async fn listening(serving: tokio::task::JoinHandle<std::io::Result<()>>, address: SocketAddr) -> RunError {
    match serving.await {
        Ok(Err(error)) => RunError::Listen { address, error },
        // The server stops when the operator does.
        Ok(Ok(())) | Err(_) => future::pending().await,
    }
}

/// Runs the passes over targets and the checks of provider objects until `stopped`, and lets those in progress finish.
/// `within` wraps the task of each pass.
pub async fn reconciling(
    ctx: Arc<Context>,
    within: impl Fn(BoxFuture<'static, NextPass<TicketResult>>) -> BoxFuture<'static, NextPass<TicketResult>>,
    stopped: impl Future<Output = ()>,
) {
    let pass = |unit: Arc<Unit>, brought| {
        let (name, ctx, passes) = (unit.to_string(), ctx.clone(), ctx.passes.clone());
        // Allocated when the pass begins: thousands may be started at once, and few of them run.
        let pass = async move { Box::pin(reconcile::pass(ctx, unit, brought)).await };
        within(async move { passes.run(name, pass).await }.boxed())
    };
    let waits = |unit: &Arc<Unit>, ticket| {
        let (name, ctx) = (format!("{unit} (ticket)"), ctx.clone());
        async move { ctx.passes.run(name, ticket).await }.boxed()
    };
    ctx.queue.run(pass, waits, stopped).await;
}
