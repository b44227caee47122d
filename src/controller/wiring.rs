//! The parts of the controller and the events between them: the watches, what they change in memory, and which passes
//! follow.
//!
//! [`run`](super::run()) runs it; the simulation (`tests/simulation`) runs it with a queue whose order a seed decides.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{Method, Request};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, future};
use kube::client::Body;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch as signal};
use tokio::time::Instant;
use tower::filter::FilterLayer;

use super::context::Context;
use super::provider_key::ProviderKey;
use super::provider_object::{ProviderObject, Providers, ProvidersOfKind};
use super::queue::{Delay, Queue};
use super::state::in_use::InUse;
use super::state::memberships::Memberships;
use super::state::namespaces::NamespaceLabels;
use super::state::outage::{self, Outage};
use super::state::own_writes::OwnWrites;
use super::state::reports::Reports;
use super::state::targets::Unit;
use super::stored::Stored;
use super::watch::{Handlers, apis_of};
use super::{garbage, memory_limit, namespaces, probe, provider_status, standby, tombstones, watch, write};
use crate::api::ProjectMembership;
use crate::clock::Clock;
use crate::controller::events::Events;
use crate::core::member::Urgency;
use crate::core::snapshot::is_finalized;
use crate::lease::Leadership;
use crate::provider::http;
use crate::telemetry::liveness::Passes;
use crate::telemetry::{Metrics, Readiness};

/// How often the wall clock is compared with the monotonic one.
const CLOCK_CHECK: Duration = Duration::from_secs(15);
/// The smallest jump of the wall clock after which all objects are reconciled.
const CLOCK_JUMP: Duration = Duration::from_secs(1);
/// How long the first passes wait for the labels of the namespaces if a rule selects by them. It is also the longest
/// delay of ends of grants.
const LABELS: Duration = Duration::from_secs(10);

/// What the controller needs from its caller.
pub struct Dependencies {
    /// The client of the API server. It must send only GET requests while this process does not lead: see
    /// [`while_leading`].
    pub client: Client,
    /// The HTTP client of the providers, for provider objects of a namespace.
    pub http: http::Client,
    /// The HTTP client for provider objects of the cluster, which may name any address.
    pub cluster_http: http::Client,
    /// The directory of the operator's own tokens, for provider objects of the cluster that sign in with one.
    pub tokens: PathBuf,
    /// The namespaces that are watched. If it is empty, all of them and the cluster-scoped kinds are watched.
    pub namespaces: Vec<String>,
    /// How much later than requested a pass becomes due: zero, except in a simulation.
    pub delay: Delay<Arc<Unit>>,
    /// The memory limit of this process in bytes; `None`: there is none.
    pub memory_limit: Option<u64>,
    /// Whether this process may act.
    pub leadership: Arc<Leadership>,
    pub metrics: Arc<Metrics>,
    /// The wall clock.
    pub clock: Clock,
}

/// A controller that is ready to run.
pub struct Wiring {
    /// The context of all passes.
    pub ctx: Arc<Context>,
    /// The background tasks: among others they let the passes begin when this process leads, and watch the clock. It
    /// never ends.
    pub background: BoxFuture<'static, ()>,
    /// The task that sends the events. It ends when `ctx` is dropped and all events are sent.
    pub event_task: BoxFuture<'static, ()>,
}

/// Builds a controller. Nothing happens until its parts are polled.
pub fn wire(outside: Dependencies) -> Wiring {
    let Dependencies {
        client,
        http,
        cluster_http,
        tokens,
        namespaces: watched,
        delay,
        memory_limit: limit,
        leadership,
        metrics,
        clock,
    } = outside;
    let outage = Arc::new(Outage::default());
    let probing = apis_of(&client, &watched).into_iter().next();
    let client = outage::client(client, outage.clone());
    let readiness = Readiness::default();
    let (events, event_task) = Events::new(client.clone(), metrics.clone(), outage.available());
    let memberships = Arc::<Memberships>::default();
    let (of_namespaces, writer) = ProvidersOfKind::new();
    let (of_cluster, cluster_writer) = ProvidersOfKind::new();
    let (namespaces, namespaces_writer) = NamespaceLabels::new();
    let ctx = Arc::new(Context {
        client: client.clone(),
        http,
        cluster_http,
        tokens,
        memberships: memberships.clone(),
        providers: Providers { of_namespaces, of_cluster },
        namespaces,
        written: OwnWrites::default(),
        in_use: InUse::default(),
        outage,
        write_slots: write::write_slots(),
        pass_slots: write::pass_slots(),
        sheds: AtomicBool::new(false),
        grant_slots: write::pass_slots(),
        targets: Default::default(),
        tombstones: Default::default(),
        connections: Default::default(),
        listing: AtomicBool::new(false),
        queue: Queue::delayed_by(delay),
        passes: Passes::default(),
        readiness: readiness.clone(),
        begun: Readiness::default(),
        clock,
        events,
        reports: Reports::default(),
        membership_count: Notify::new(),
        metrics: metrics.clone(),
    });
    let cluster_apis = if watched.is_empty() { vec![Api::all(client.clone())] } else { Vec::new() };
    let (at_completion, at_event) = (ctx.clone(), ctx.clone());
    let handlers = Handlers {
        complete: move |object: &mut ProjectMembership| {
            at_completion.written.observe(object, at_completion.begun.is_ready());
        },
        on_event: move |event: &Event<ProjectMembership>| membership_event(&at_event, event),
    };
    let apis = apis_of(&client, &watched);
    let changes = watch::objects(apis, memberships, metrics, signal::Sender::new(false), handlers);
    let labels = namespaces::watch(ctx.clone(), client.clone(), namespaces_writer);
    let changes = changes_by_others(changes, ctx.clone(), |ctx, membership| ctx.wake(&ObjectRef::from_obj(membership)));
    let apis = apis_of(&client, &watched);
    let providers = watch_providers(ctx.clone(), writer, apis, |providers| &providers.of_namespaces);
    let cluster_providers =
        watch_providers(ctx.clone(), cluster_writer, cluster_apis, |providers| &providers.of_cluster);
    // What was listed before this replica acts could be out of date when it does, and would only use memory.
    let watching = async move {
        stand_by(&readiness, &client, &watched, leads(&leadership)).await;
        tokio::join!(changes, providers, cluster_providers, labels);
    };
    let (beginning, clock) = (begin(ctx.clone()), watch_clock(ctx.clone()));
    let counts = provider_status::count_memberships(ctx.clone());
    let garbage = garbage::collect_regularly(ctx.clone());
    let memory = memory_limit::watch(ctx.clone(), limit);
    // One API is probed: that of all namespaces, or that of the first watched namespace.
    let probe = probing.map_or_else(|| future::pending().boxed(), |api| probe::probe(ctx.clone(), api).boxed());
    let background = async {
        tokio::join!(watching, beginning, clock, counts, probe, garbage, memory);
    };
    Wiring { background: background.boxed(), event_task: event_task.boxed(), ctx }
}

/// Watches the provider objects of one kind, and requests a check of each that another writer changed. Never ends.
async fn watch_providers<K>(
    ctx: Arc<Context>,
    writer: Writer<K>,
    apis: Vec<Api<Stored<K>>>,
    of_kind: impl Fn(&Providers) -> &ProvidersOfKind<K>,
) where
    K: ProviderObject + Resource<DynamicType = ()> + DeserializeOwned + Clone + 'static,
{
    let ProvidersOfKind { not_served, .. } = of_kind(&ctx.providers);
    // A kind that is not watched is treated as not served.
    not_served.send_replace(apis.is_empty());
    let at_event = ctx.clone();
    let handlers =
        Handlers { complete: |_: &mut K| (), on_event: move |event: &Event<K>| provider_event(&at_event, event) };
    let (not_served, metrics) = (not_served.clone(), ctx.metrics.clone());
    let changes = watch::objects(apis, writer, metrics, not_served, handlers);
    changes_by_others(changes, ctx, |ctx, object| ctx.wake_provider(&object.key())).await;
}

/// Lets only GET requests through unless this process leads, so that no caller can forget to check.
pub fn while_leading(
    leadership: Arc<Leadership>,
) -> FilterLayer<impl Fn(Request<Body>) -> Result<Request<Body>, &'static str> + Clone + Send + 'static> {
    FilterLayer::new(move |request: Request<Body>| {
        let leads = request.method() == Method::GET || leadership.leads(Instant::now());
        leads.then_some(request).ok_or("isn't called: this replica doesn't lead, and only the leader writes")
    })
}

/// Completes when this process begins to act for the first time.
fn leads(leadership: &Arc<Leadership>) -> impl Future<Output = ()> + Send + 'static {
    let leadership = leadership.clone();
    async move { leadership.begins().await }
}

/// Calls `wake` with each object that another writer changed, or that is watched for the first time.
async fn changes_by_others<K: Resource<DynamicType = ()> + Send + Sync>(
    objects: impl Stream<Item = Result<Arc<K>, watcher::Error>> + Send,
    ctx: Arc<Context>,
    wake: impl Fn(&Context, &K) + Send,
) {
    objects
        .for_each(|object| {
            if let Ok(object) = object.as_ref()
                && !ctx.written.is_own(object.meta())
            {
                wake(&ctx, object);
            }
            future::ready(())
        })
        .await;
}

fn provider_event<K: ProviderObject>(ctx: &Context, event: &Event<K>) {
    match event {
        Event::Delete(object) => {
            ctx.written.forget(object.uid());
            ctx.connections.forget(&object.key());
            ctx.wake_memberships_of(&object.key());
        }
        // No event reports the objects that were deleted while the watch was interrupted.
        Event::InitDone => {
            ctx.connections.forget_missing(&ctx.providers).iter().for_each(|key| ctx.wake_memberships_of(key));
        }
        Event::Apply(object) | Event::InitApply(object) => {
            ctx.namespaces.serve(object.rules().unwrap_or_default());
            // A provider object may be another one than the former one of the same name.
            ctx.connections.forget_others(&object.key(), object.uid());
        }
        Event::Init => {}
    }
}

pub(super) fn membership_event(ctx: &Context, event: &Event<ProjectMembership>) {
    if let Event::Init = event {
        ctx.listing.store(true, Ordering::Release);
    }
    tombstones::on_event(ctx, event);
    let due = match event {
        Event::Init => return,
        Event::InitApply(object) => ctx.enter(object),
        Event::Apply(object) => {
            // An object with the finalizer was already counted when it was first watched. The presence of a status
            // shows nothing: the schema gives every object one.
            if !is_finalized(object) {
                ctx.membership_count.notify_one();
                ctx.wake_leaving(Some(&ProviderKey::named_by(object)));
            }
            ctx.enter(object)
        }
        Event::Delete(object) => {
            let uid = object.uid().unwrap_or_default();
            ctx.membership_count.notify_one();
            ctx.reports.forget(&ctx.metrics, &uid);
            ctx.written.forget(&uid);
            ctx.wake_leaving(Some(&ProviderKey::named_by(object)));
            ctx.targets.lost(object)
        }
        // No event reports the objects that were deleted while the watch was interrupted.
        Event::InitDone => {
            ctx.listing.store(false, Ordering::Release);
            ctx.membership_count.notify_one();
            ctx.wake_leaving(None);
            ctx.targets.lost_unseen(|object| ctx.may_be_there(object))
        }
    };
    ctx.wake_units(due, Urgency::Grant);
}

/// Completes when this process begins to act for the first time. Until then it is ready if it could begin.
async fn stand_by(readiness: &Readiness, client: &Client, namespaces: &[String], leads: impl Future<Output = ()>) {
    let mut leads = std::pin::pin!(leads);
    tokio::select! {
        biased;
        () = &mut leads => return,
        () = standby::is_able(client, namespaces) => {}
    }
    readiness.ready();
    tracing::info!("standing by");
    leads.await;
}

/// Starts a pass over every object when the caches are filled.
async fn begin(ctx: Arc<Context>) {
    let Context { memberships, providers, readiness, begun, .. } = &*ctx;
    tokio::join!(memberships.are_known(), providers.are_known());
    readiness.ready();
    // A timeout is no error: unknown labels never count as other labels.
    let _ = tokio::time::timeout(LABELS, ctx.namespaces.are_known()).await;
    begun.ready();
    tracing::info!(memberships = memberships.len(), providers = providers.all().len(), "reconciling all objects");
    providers.all().iter().for_each(|provider| ctx.wake_provider(&provider.key()));
    wake_all(&ctx);
}

/// Starts a pass over every membership.
fn wake_all(ctx: &Context) {
    for (namespace, name) in ctx.memberships.names() {
        ctx.wake(&ObjectRef::new(&name).within(&namespace));
    }
}

/// Compares the clocks. Timers use the monotonic clock and ends of grants the wall clock, so that every object is
/// reconciled when the wall clock jumps.
async fn watch_clock(ctx: Arc<Context>) {
    let mut wall = ctx.now();
    let mut monotonic = Instant::now();
    loop {
        tokio::time::sleep(CLOCK_CHECK).await;
        let passed = ctx.now().duration_since(wall);
        let jump = passed.as_millis() - i128::try_from(monotonic.elapsed().as_millis()).unwrap_or(i128::MAX);
        (wall, monotonic) = (ctx.now(), Instant::now());
        if jump.unsigned_abs() > CLOCK_JUMP.as_millis() {
            tracing::warn!(milliseconds = jump, "the clock jumped: all objects are reconciled again");
            wake_all(&ctx);
        }
    }
}
