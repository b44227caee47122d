//! Starting, running and stopping.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, Request};
use futures::{FutureExt, Stream, StreamExt, future};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::client::{Body, ClientBuilder};
use kube::core::error_boundary::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{Controller, controller, watcher};
use kube::{Api, Client, Resource};
use tokio::sync::{mpsc, watch as signal};
use tokio::time::Instant;
use tower::filter::FilterLayer;

use super::connections::ProviderKey;
use super::context::{Context, Written};
use super::in_use::InUse;
use super::namespaces::{self, Namespaces};
use super::provider_object::{Kind, ProviderObject, Providers};
use super::providers::{self, Checker, of_provider};
use super::resolve::is_finalized;
use super::{departed, reconcile, watch, write};
use crate::api::ProjectMembership;
use crate::events::Events;
use crate::lease::{self, Keeper, Leadership};
use crate::provider::http;
use crate::telemetry::{Metrics, Readiness, serve};

/// How often the wall clock is compared with the monotonic one.
const CLOCK_CHECK: Duration = Duration::from_secs(15);
/// A jump that is worth waking everybody for.
const CLOCK_JUMP: Duration = Duration::from_secs(1);
/// The longest that writes that were sent are waited for. No write takes longer.
const STOPPING: Duration = Duration::from_secs(35);
/// How long passes may go on when the operator is told to stop and another replica waits, which is to take over within
/// three seconds. After it only writes that were sent are waited for, and as long again for what is to be said of them.
const GRACE: Duration = Duration::from_secs(1);
/// How long the first passes wait for the namespaces' labels, where a rule selects by them. Ends wait no longer.
const LABELS: Duration = Duration::from_secs(10);

/// What the operator is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub address: SocketAddr,
    /// Which URLs provider objects may name.
    pub urls: http::Policy,
    /// The Lease that says which of several replicas acts; `None`: there is one only.
    pub lease: Option<lease::Config>,
    /// The namespaces that are looked at; none: all of them, and what belongs to the cluster.
    pub namespaces: Vec<String>,
    /// The folder of the operator's own tokens, for provider objects of the cluster that sign in with one.
    pub tokens: PathBuf,
}

/// Why the operator can't run.
#[derive(thiserror::Error, Debug)]
pub enum RunError {
    /// There is no way to the API server.
    #[error("no way to the Kubernetes API server: {0}. In a Pod it is found by itself; elsewhere set KUBECONFIG")]
    Kubeconfig(#[from] kube::config::InferConfigError),
    /// The client can't be made.
    #[error("the Kubernetes client can't be made: {0}")]
    Client(#[from] kube::Error),
    /// The providers' client can't be made.
    #[error(transparent)]
    Http(#[from] crate::provider::Error),
    /// Another replica acts now.
    #[error(
        "the lease was lost{}: nothing more is written. This is to be started again, and will stand by",
        to.as_ref().map_or_else(String::new, |to| format!(" to {to}"))
    )]
    LeaseLost {
        /// Who has it.
        to: Option<String>,
    },
    /// The address isn't to be had.
    #[error("{address} can't be listened on: {error}. Choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

/// Runs until `stop` says true, then lets what is under way finish.
pub async fn run(config: Config, stop: signal::Receiver<bool>) -> Result<(), RunError> {
    let leadership = config.lease.as_ref().map_or_else(Leadership::alone, |lease| Leadership::elected(lease.terms));
    let (unbound, client) = kubernetes(&leadership).await?;
    let metrics = Arc::new(Metrics::default());
    let anywhere = http::Policy { restrict_addresses: false, ..config.urls.clone() };
    let http = http::Client::new(config.urls, metrics.clone())?.led_by(leadership.clone());
    let cluster_http = http::Client::new(anywhere, metrics.clone())?.led_by(leadership.clone());
    let elected = config.lease.is_some();
    let keeper = config.lease.map(|lease| Keeper::new(unbound, &lease, leadership.clone(), metrics.clone()));
    let readiness = Readiness::default();
    let stopped = {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await) }.shared()
    };
    let serving = tokio::spawn(serve(config.address, metrics.clone(), readiness.clone(), stopped.clone()));
    let (events, telling) = Events::start(client.clone(), metrics.clone());
    let (memberships, memberships_writer) = reflector::store();
    let (of_namespaces, of_namespaces_feed) = kind();
    let (of_cluster, of_cluster_feed) = kind();
    let (namespaces, namespaces_writer) = Namespaces::new();
    let (wake, woken) = mpsc::unbounded_channel();
    let ctx = Arc::new(Context {
        client: client.clone(),
        memberships: memberships.clone(),
        providers: Providers { of_namespaces, of_cluster },
        namespaces,
        written: Written::default(),
        turns: write::turns(),
        in_use: InUse::default(),
        targets: Default::default(),
        departed: Default::default(),
        connections: Default::default(),
        wake,
        readiness: readiness.clone(),
        begun: Readiness::default(),
        events,
        metrics: metrics.clone(),
    });
    let made = Mutex::new(HashMap::new());
    let checker = Arc::new(Checker { ctx: ctx.clone(), http, cluster_http, tokens: config.tokens, made });

    let Providers { of_namespaces, of_cluster } = &ctx.providers;
    let apis = apis_of(&client, &config.namespaces);
    let checking_namespaced =
        checking(&checker, apis, of_namespaces.store.clone(), of_namespaces_feed, leads(&leadership), stopped.clone());
    let apis = if config.namespaces.is_empty() { vec![Api::all(client.clone())] } else { Vec::new() };
    let checking_cluster =
        checking(&checker, apis, of_cluster.store.clone(), of_cluster_feed, leads(&leadership), stopped.clone());

    let memberships_listed = signal::Sender::new(false);
    let are_listed = memberships_listed.subscribe();
    let saw_membership = {
        let ctx = ctx.clone();
        move |event: &Event<ProjectMembership>| membership_event(&ctx, event)
    };
    let membership_stream = watch::objects(
        apis_of(&client, &config.namespaces),
        memberships_writer,
        metrics.clone(),
        signal::Sender::new(false),
        saw_membership,
        leads(&leadership),
        memberships_listed,
    );
    let reconciling = Controller::for_stream(by_others(membership_stream, ctx.clone()), memberships.clone())
        .reconcile_on(receiver(woken))
        .graceful_shutdown_on(stopped.clone())
        .run(reconcile::reconcile, reconcile::after_fault, ctx.clone())
        .for_each(|_| future::ready(()));
    let reconciling = async {
        // A provider that isn't in the cache yet is no missing provider.
        ctx.providers.are_known().await;
        reconciling.await;
    };
    let labels = {
        let (leads, watch) = (leads(&leadership), namespaces::watch(ctx.clone(), client.clone(), namespaces_writer));
        // What a replica that stood by was told late mustn't count: it lists them when it begins to act.
        async move {
            leads.await;
            watch.await;
        }
    };
    let ready = announce(ctx.clone(), are_listed);
    let clock = watch_clock(ctx.clone());

    let departed = departed::run(ctx.clone(), stopped.clone());
    let work = async { tokio::join!(checking_namespaced, checking_cluster, reconciling, departed) };
    let aside = async { tokio::join!(ready, clock, labels) };
    let finishing = async {
        stopped.clone().await;
        tracing::info!("stopping: what is under way is finished first");
        if !elected {
            return tokio::time::sleep(STOPPING).await;
        }
        tokio::time::sleep(GRACE).await;
        leadership.close();
        let writing = !leadership.is_idle();
        let _ = tokio::time::timeout(STOPPING, leadership.idle()).await;
        if writing {
            // What was written is still to be confirmed and told.
            tokio::time::sleep(GRACE).await;
        }
    };
    let mut keeper = keeper;
    tokio::select! {
        _ = work => {}
        _ = aside => {}
        () = finishing => tracing::info!("some passes didn't finish in time and are left for the next start"),
        error = listening(serving, config.address) => return Err(error),
        to = keep(&mut keeper, &metrics) => return Err(RunError::LeaseLost { to }),
    }
    if let Some(mut keeper) = keeper
        && leadership.is_idle()
    {
        keeper.release().await;
    }
    drop((ctx, checker));
    // Events that wait are worth a moment, not more.
    let _ = tokio::time::timeout(Duration::from_secs(1), telling).await;
    tracing::info!("stopped");
    Ok(())
}

/// Ends when this process is to act for the first time.
fn leads(leadership: &Arc<Leadership>) -> impl Future<Output = ()> + Send + 'static {
    let leadership = leadership.clone();
    async move { leadership.begins().await }
}

/// Returns only when the lease was lost, with who has it.
async fn keep(keeper: &mut Option<Keeper>, metrics: &Metrics) -> Option<String> {
    match keeper {
        Some(keeper) => keeper.keep().await,
        None => {
            metrics.leads(true);
            future::pending().await
        }
    }
}

/// A client for the Lease, and one for everything else, which sends nothing but GET unless this process leads: no caller
/// can forget to ask.
async fn kubernetes(leadership: &Arc<Leadership>) -> Result<(Client, Client), RunError> {
    let mut config = kube::Config::infer().await?;
    let agent = concat!("membership-operator/", env!("CARGO_PKG_VERSION"));
    config.headers.push((axum::http::header::USER_AGENT, axum::http::HeaderValue::from_static(agent)));
    let unbound = Client::try_from(config.clone())?;
    let leadership = leadership.clone();
    let while_leading = move |request: Request<Body>| {
        let leads = request.method() == Method::GET || leadership.leads(std::time::Instant::now());
        leads.then_some(request).ok_or("isn't asked: this replica doesn't lead, and only the leader writes")
    };
    let bound = ClientBuilder::try_from(config)?.with_layer(&FilterLayer::new(while_leading)).build();
    Ok((unbound, bound))
}

/// The objects that somebody else changed, or that are seen for the first time.
fn by_others<K: Resource + Send>(
    objects: impl Stream<Item = Result<K, watcher::Error>> + Send,
    ctx: Arc<Context>,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send {
    objects.filter(move |object| {
        let own = object.as_ref().is_ok_and(|object| ctx.written.is_own(object.meta()));
        future::ready(!own)
    })
}

fn receiver<T: Send + 'static>(mut receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// Ends only when the address can't be listened on.
async fn listening(serving: tokio::task::JoinHandle<std::io::Result<()>>, address: SocketAddr) -> RunError {
    match serving.await {
        Ok(Err(error)) => RunError::Listen { address, error },
        // It stops when the operator does.
        Ok(Ok(())) | Err(_) => future::pending().await,
    }
}

/// The ways to list and watch a kind: of all namespaces, or of each of these.
fn apis_of<K>(client: &Client, namespaces: &[String]) -> Vec<Api<DeserializeGuard<K>>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespaces {
        [] => vec![Api::all(client.clone())],
        namespaces => namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect(),
    }
}

/// What feeds the store of one kind of provider objects, and its controller.
struct Feed<K: ProviderObject> {
    writer: Writer<K>,
    woken: mpsc::UnboundedReceiver<ObjectRef<K>>,
    not_served: signal::Sender<bool>,
    listed: signal::Sender<bool>,
}

fn kind<K: ProviderObject>() -> (Kind<K>, Feed<K>) {
    let (store, writer) = reflector::store();
    let (wake, woken) = mpsc::unbounded_channel();
    let (not_served, listed) = (signal::Sender::new(false), signal::Sender::new(false));
    let kind = Kind { store, wake, not_served: not_served.subscribe(), listed: listed.subscribe() };
    (kind, Feed { writer, woken, not_served, listed })
}

/// Watches one kind of provider objects and checks them.
fn checking<K: ProviderObject>(
    checker: &Arc<Checker>,
    apis: Vec<Api<DeserializeGuard<K>>>,
    store: Store<K>,
    feed: Feed<K>,
    leads: impl Future<Output = ()> + Send + 'static,
    stopped: impl Future<Output = ()> + Send + Sync + 'static,
) -> impl Future<Output = ()> {
    let ctx = checker.ctx.clone();
    let saw = {
        let checker = checker.clone();
        move |event: &Event<K>| provider_event(&checker, event)
    };
    let Feed { writer, woken, not_served, listed } = feed;
    // What isn't looked for is as good as not served.
    not_served.send_replace(apis.is_empty());
    let stream = watch::objects(apis, writer, ctx.metrics.clone(), not_served, saw, leads, listed);
    Controller::for_stream(by_others(stream, ctx), store)
        .with_config(controller::Config::default().debounce(Duration::ZERO))
        .reconcile_on(receiver(woken))
        .graceful_shutdown_on(stopped)
        .run(providers::check, provider_fault, checker.clone())
        .for_each(|_| future::ready(()))
}

fn provider_fault<K>(_: Arc<K>, fault: &reconcile::Fault, _: Arc<Checker>) -> controller::Action {
    tracing::warn!(%fault, "a provider could not be checked");
    controller::Action::requeue(Duration::from_secs(5))
}

fn provider_event<K: ProviderObject>(checker: &Checker, event: &Event<K>) {
    if let Event::Delete(object) = event {
        let key = object.key();
        if let Some(uid) = &object.meta().uid {
            checker.ctx.written.forget(uid);
        }
        checker.forget(&key);
        for membership in of_provider(&checker.ctx, &key) {
            checker.ctx.wake(&ObjectRef::from_obj(membership.as_ref()));
        }
    }
    if let Event::InitDone = event {
        for key in checker.forget_missing(K::KIND) {
            of_provider(&checker.ctx, &key).iter().for_each(|m| checker.ctx.wake(&ObjectRef::from_obj(m.as_ref())));
        }
    }
    if let Event::Apply(object) | Event::InitApply(object) = event {
        checker.ctx.namespaces.serve(object.rules().unwrap_or_default());
        // A provider object under an old name may be another one.
        let key = object.key();
        checker.forget_others(&key, object.meta().uid.as_deref().unwrap_or_default());
    }
}

fn membership_event(ctx: &Context, event: &Event<ProjectMembership>) {
    let concerned = |object: &ProjectMembership, mut others: Vec<ObjectRef<ProjectMembership>>| {
        others.retain(|other| !ctx.apart(object, other));
        others
    };
    departed::saw(ctx, event);
    if let Event::Apply(object) = event
        && !is_finalized(object)
    {
        ctx.providers.wake_leaving(Some(&ProviderKey::named_by(object)));
    }
    let others = match event {
        Event::Apply(object) | Event::InitApply(object) => concerned(object, ctx.targets.saw(object)),
        Event::Delete(object) => {
            if let Some(uid) = &object.metadata.uid {
                ctx.written.forget(uid);
            }
            ctx.providers.wake_leaving(Some(&ProviderKey::named_by(object)));
            concerned(object, ctx.targets.lost(object))
        }
        // What was deleted while the watch was broken off is told by nobody.
        Event::InitDone => {
            ctx.providers.wake_leaving(None);
            ctx.targets.lost_unseen(|object| ctx.memberships.get(object).is_some())
        }
        Event::Init => Vec::new(),
    };
    others.iter().for_each(|other| ctx.wake(other));
}

/// Says when the caches are filled, and has everything looked at when this replica begins to act.
async fn announce(ctx: Arc<Context>, mut memberships_listed: signal::Receiver<bool>) {
    let Context { memberships, providers, readiness, begun, .. } = &*ctx;
    let filled = async { tokio::join!(memberships.wait_until_ready(), providers.are_known()) };
    if let (Ok(()), ()) = filled.await {
        readiness.ready();
        tracing::info!(memberships = memberships.len(), providers = providers.count(), "the caches are filled");
        // The sender lives as long as the watch.
        let _ = memberships_listed.wait_for(|listed| *listed).await;
        providers.are_listed().await;
        // Labels that aren't known are no other labels.
        let _ = tokio::time::timeout(LABELS, ctx.namespaces.are_known()).await;
        begun.ready();
        tracing::info!(memberships = memberships.len(), providers = providers.count(), "all is looked at");
        providers.of_namespaces.store.state().iter().for_each(|provider| providers.wake(&provider.key()));
        providers.of_cluster.store.state().iter().for_each(|provider| providers.wake(&provider.key()));
        memberships.state().iter().for_each(|membership| ctx.wake(&ObjectRef::from_obj(membership.as_ref())));
    }
    future::pending().await
}

/// Timers run on the monotonic clock, ends on the wall clock: when the wall clock jumps, everybody looks again.
async fn watch_clock(ctx: Arc<Context>) {
    let mut wall = Timestamp::now();
    let mut monotonic = Instant::now();
    loop {
        tokio::time::sleep(CLOCK_CHECK).await;
        let passed = Timestamp::now().duration_since(wall);
        let jump = passed.as_millis() - i128::try_from(monotonic.elapsed().as_millis()).unwrap_or(i128::MAX);
        (wall, monotonic) = (Timestamp::now(), Instant::now());
        if jump.unsigned_abs() > CLOCK_JUMP.as_millis() {
            tracing::warn!(milliseconds = jump, "the clock jumped: looking at everything again");
            for membership in ctx.memberships.state() {
                ctx.wake(&ObjectRef::from_obj(membership.as_ref()));
            }
        }
    }
}
