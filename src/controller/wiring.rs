//! The parts of the controller and the events between them: the watches, what they change in memory, and which passes
//! follow.
//!
//! [`run`](super::run()) runs it with kube's controllers; the simulation (`tests/simulation`) uses its own scheduler.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{Method, Request};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, future};
use k8s_openapi::NamespaceResourceScope;
use kube::client::Body;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::{Notify, mpsc, watch as signal};
use tokio::time::Instant;
use tower::filter::FilterLayer;

use super::context::Context;
use super::provider_key::ProviderKey;
use super::provider_object::{ProviderObject, Providers, ProvidersOfKind};
use super::providers::Checker;
use super::queue::{Delay, Queue};
use super::state::in_use::InUse;
use super::state::namespaces::NamespaceLabels;
use super::state::outage::{self, Outage};
use super::state::own_writes::OwnWrites;
use super::state::reports::Reports;
use super::state::targets::Unit;
use super::stored::Stored;
use super::watch::Handlers;
use super::{garbage, namespaces, probe, provider_status, tombstones, watch, write};
use crate::api::{ClusterMembershipProvider, MembershipProvider, ProjectMembership};
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
    /// Whether this process may act.
    pub leadership: Arc<Leadership>,
    pub metrics: Arc<Metrics>,
    /// The wall clock.
    pub clock: Clock,
}

/// A controller that is ready to run.
pub struct Wiring {
    /// The context of the passes over memberships.
    pub ctx: Arc<Context>,
    /// The context of the checks of provider objects.
    pub checker: Arc<Checker>,
    /// The sources of checks of provider objects of namespaces.
    pub providers: Feed<MembershipProvider>,
    /// The sources of checks of provider objects of the cluster.
    pub cluster_providers: Feed<ClusterMembershipProvider>,
    /// The background tasks: among others they let the passes begin when this process leads, and watch the clock. It
    /// never ends.
    pub background: BoxFuture<'static, ()>,
    /// The task that sends the events. It ends when `ctx` is dropped and all events are sent.
    pub event_task: BoxFuture<'static, ()>,
}

/// The sources of passes over the objects of one kind.
pub struct Feed<K: Resource<DynamicType = ()> + 'static> {
    /// The objects that another writer changed. This stream fills the store, so it has to be polled.
    pub changes: BoxStream<'static, Result<K, watcher::Error>>,
    /// The cache of the objects.
    pub store: Store<K>,
    /// The objects that have to be reconciled for another reason.
    pub woken: mpsc::UnboundedReceiver<ObjectRef<K>>,
}

/// Builds a controller. Nothing happens until its parts are polled.
pub fn wire(outside: Dependencies) -> Wiring {
    let Dependencies { client, http, cluster_http, tokens, namespaces: watched, delay, leadership, metrics, clock } =
        outside;
    let outage = Arc::new(Outage::default());
    let probing = apis_of(&client, &watched).into_iter().next();
    let client = outage::client(client, outage.clone());
    let (events, event_task) = Events::new(client.clone(), metrics.clone(), outage.available());
    let (memberships, memberships_writer) = reflector::store();
    let (of_namespaces, of_namespaces_source) = source();
    let (of_cluster, of_cluster_source) = source();
    let (namespaces, namespaces_writer) = NamespaceLabels::new();
    let ctx = Arc::new(Context {
        client: client.clone(),
        memberships: memberships.clone(),
        providers: Providers { of_namespaces, of_cluster },
        namespaces,
        written: OwnWrites::default(),
        in_use: InUse::default(),
        outage,
        turns: write::turns(),
        targets: Default::default(),
        tombstones: Default::default(),
        connections: Default::default(),
        listing: AtomicBool::new(false),
        queue: Queue::delayed_by(delay),
        passes: Passes::default(),
        readiness: Readiness::default(),
        begun: Readiness::default(),
        clock,
        events,
        reports: Reports::default(),
        membership_count: Notify::new(),
        metrics: metrics.clone(),
    });
    let checker = Arc::new(Checker::new(ctx.clone(), http, cluster_http, tokens));
    let of_cluster = if watched.is_empty() { vec![Api::all(client.clone())] } else { Vec::new() };
    let (at_completion, at_event) = (ctx.clone(), ctx.clone());
    let handlers = Handlers {
        complete: move |object: &mut ProjectMembership| {
            at_completion.written.observe(object, at_completion.begun.is_ready());
        },
        on_event: move |event: &Event<ProjectMembership>| membership_event(&at_event, event),
    };
    let listed = signal::Sender::new(false);
    let are_listed = listed.subscribe();
    let changes = watch::objects(
        apis_of(&client, &watched),
        memberships_writer,
        metrics,
        signal::Sender::new(false),
        handlers,
        leads(&leadership),
        listed,
    );
    let labels = {
        let (leads, watch) = (leads(&leadership), namespaces::watch(ctx.clone(), client.clone(), namespaces_writer));
        // The view of a standby replica may be out of date and must not be used: the namespaces are listed when it
        // begins to act.
        async move {
            leads.await;
            watch.await;
        }
    };
    let changes = passes_after(changes, ctx.clone());
    let (ready, clock) = (announce(ctx.clone(), are_listed), watch_clock(ctx.clone()));
    let counts = provider_status::count_memberships(ctx.clone());
    let garbage = garbage::collect_regularly(checker.clone());
    // One API is probed: that of all namespaces, or that of the first watched namespace.
    let probe = probing.map_or_else(|| future::pending().boxed(), |api| probe::probe(ctx.clone(), api).boxed());
    let background = async {
        tokio::join!(changes, ready, clock, labels, counts, probe, garbage);
    };
    Wiring {
        providers: of_namespaces_source.watched(apis_of(&client, &watched), &checker, leads(&leadership)),
        cluster_providers: of_cluster_source.watched(of_cluster, &checker, leads(&leadership)),
        background: background.boxed(),
        event_task: event_task.boxed(),
        ctx,
        checker,
    }
}

/// What fills the cache of one kind of provider objects and tracks its state.
struct CacheSource<K: ProviderObject> {
    store: Store<K>,
    writer: Writer<K>,
    woken: mpsc::UnboundedReceiver<ObjectRef<K>>,
    not_served: signal::Sender<bool>,
    listed: signal::Sender<bool>,
}

fn source<K: ProviderObject>() -> (ProvidersOfKind<K>, CacheSource<K>) {
    let (store, writer) = reflector::store();
    let (wake, woken) = mpsc::unbounded_channel();
    let (not_served, listed) = (signal::Sender::new(false), signal::Sender::new(false));
    let kind =
        ProvidersOfKind { store: store.clone(), wake, not_served: not_served.subscribe(), listed: listed.subscribe() };
    (kind, CacheSource { store, writer, woken, not_served, listed })
}

impl<K: ProviderObject> CacheSource<K> {
    fn watched(
        self,
        apis: Vec<Api<Stored<K>>>,
        checker: &Arc<Checker>,
        leads: impl Future<Output = ()> + Send + 'static,
    ) -> Feed<K> {
        let Self { store, writer, woken, not_served, listed } = self;
        // A kind that is not watched is treated as not served.
        not_served.send_replace(apis.is_empty());
        let ctx = checker.ctx.clone();
        let checker = checker.clone();
        let handlers =
            Handlers { complete: |_: &mut K| (), on_event: move |event: &Event<K>| provider_event(&checker, event) };
        let changes = watch::objects(apis, writer, ctx.metrics.clone(), not_served, handlers, leads, listed);
        Feed { changes: by_others(changes, ctx).boxed(), store, woken }
    }
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

/// The objects that another writer changed, or that are watched for the first time.
fn by_others<K: Resource + Send>(
    objects: impl Stream<Item = Result<K, watcher::Error>> + Send,
    ctx: Arc<Context>,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send {
    objects.filter(move |object| {
        let own = object.as_ref().is_ok_and(|object| ctx.written.is_own(object.meta()));
        future::ready(!own)
    })
}

/// Requests a pass over the target of each membership that another writer changed, or that is watched for the first
/// time.
async fn passes_after(
    objects: impl Stream<Item = Result<ProjectMembership, watcher::Error>> + Send,
    ctx: Arc<Context>,
) {
    let changed = by_others(objects, ctx.clone());
    changed
        .for_each(|object| {
            if let Ok(object) = object {
                ctx.wake(&ObjectRef::from_obj(&object));
            }
            future::ready(())
        })
        .await;
}

/// The APIs to list and watch a kind: one for all namespaces, or one for each of the given ones.
fn apis_of<K>(client: &Client, namespaces: &[String]) -> Vec<Api<Stored<K>>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespaces {
        [] => vec![Api::all(client.clone())],
        namespaces => namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect(),
    }
}

fn provider_event<K: ProviderObject>(checker: &Checker, event: &Event<K>) {
    if let Event::Delete(object) = event {
        let key = object.key();
        if let Some(uid) = &object.meta().uid {
            checker.ctx.written.forget(uid);
        }
        checker.forget(&key);
        for membership in checker.ctx.memberships_of(&key) {
            checker.ctx.wake(&ObjectRef::from_obj(membership.as_ref()));
        }
    }
    if let Event::InitDone = event {
        for key in checker.forget_missing(K::KIND) {
            checker.ctx.memberships_of(&key).iter().for_each(|m| checker.ctx.wake(&ObjectRef::from_obj(m.as_ref())));
        }
    }
    if let Event::Apply(object) | Event::InitApply(object) = event {
        checker.ctx.namespaces.serve(object.rules().unwrap_or_default());
        // A provider object may be another one than the former one of the same name.
        let key = object.key();
        checker.forget_others(&key, object.meta().uid.as_deref().unwrap_or_default());
    }
}

pub(super) fn membership_event(ctx: &Context, event: &Event<ProjectMembership>) {
    if let Event::Init = event {
        ctx.listing.store(true, Ordering::Release);
    }
    tombstones::on_event(ctx, event);
    if let Event::InitDone = event {
        ctx.listing.store(false, Ordering::Release);
    }
    match event {
        // An object with the finalizer was already counted when it was first watched. The presence of a status shows
        // nothing: the schema gives every object one.
        Event::Apply(object) if is_finalized(object) => {}
        Event::Apply(object) => {
            ctx.membership_count.notify_one();
            ctx.providers.wake_leaving(Some(&ProviderKey::named_by(object)));
        }
        Event::Delete(object) => {
            ctx.membership_count.notify_one();
            ctx.reports.forget(&ctx.metrics, &object.uid().unwrap_or_default());
        }
        Event::InitDone => ctx.membership_count.notify_one(),
        Event::Init | Event::InitApply(_) => {}
    }
    let due = match event {
        Event::Apply(object) | Event::InitApply(object) => ctx.enter(object),
        Event::Delete(object) => {
            if let Some(uid) = &object.metadata.uid {
                ctx.written.forget(uid);
            }
            ctx.providers.wake_leaving(Some(&ProviderKey::named_by(object)));
            ctx.targets.lost(object)
        }
        // No event reports the objects that were deleted while the watch was interrupted.
        Event::InitDone => {
            ctx.providers.wake_leaving(None);
            ctx.targets.lost_unseen(|object| ctx.may_be_there(object))
        }
        Event::Init => BTreeSet::new(),
    };
    due.into_iter().for_each(|unit| ctx.wake_unit(unit, Urgency::Grant));
}

/// Reports when the caches are filled, and starts a pass over every object when this replica begins to act.
async fn announce(ctx: Arc<Context>, mut memberships_listed: signal::Receiver<bool>) {
    let Context { memberships, providers, readiness, begun, .. } = &*ctx;
    let filled = async { tokio::join!(memberships.wait_until_ready(), providers.are_known()) };
    if let (Ok(()), ()) = filled.await {
        readiness.ready();
        tracing::info!(memberships = memberships.len(), providers = providers.count(), "the caches are filled");
        // The sender is not dropped before the watch.
        let _ = memberships_listed.wait_for(|listed| *listed).await;
        providers.are_listed().await;
        // A timeout is no error: unknown labels never count as other labels.
        let _ = tokio::time::timeout(LABELS, ctx.namespaces.are_known()).await;
        begun.ready();
        tracing::info!(memberships = memberships.len(), providers = providers.count(), "reconciling all objects");
        providers.of_namespaces.store.state().iter().for_each(|provider| providers.wake(&provider.key()));
        providers.of_cluster.store.state().iter().for_each(|provider| providers.wake(&provider.key()));
        memberships.state().iter().for_each(|membership| ctx.wake(&ObjectRef::from_obj(membership.as_ref())));
    }
    future::pending().await
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
            for membership in ctx.memberships.state() {
                ctx.wake(&ObjectRef::from_obj(membership.as_ref()));
            }
        }
    }
}
