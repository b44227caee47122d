//! What a controller is made of, and who wakes whom: the watches, what they change in memory, and whose passes follow.
//!
//! [`run`](super::run()) drives it with kube's controllers; the simulation (`tests/simulation`) with a scheduler of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, future};
use kube::client::Body;
use kube::core::error_boundary::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use tokio::sync::{mpsc, watch as signal};
use tokio::time::Instant;
use tower::filter::FilterLayer;

use super::connections::ProviderKey;
use super::context::{Context, Written};
use super::providers::{Checker, of_provider};
use super::watch;
use crate::api::{MembershipProvider, ProjectMembership};
use crate::clock::Clock;
use crate::events::Events;
use crate::lease::Leadership;
use crate::provider::http;
use crate::telemetry::{Metrics, Readiness};

/// How often the wall clock is compared with the monotonic one.
const CLOCK_CHECK: Duration = Duration::from_secs(15);
/// A jump that is worth waking everybody for.
const CLOCK_JUMP: Duration = Duration::from_secs(1);

/// What a controller needs from outside.
pub struct Outside {
    /// The API server. Nothing but GET is to get through where this process doesn't lead: see [`while_leading`].
    pub client: Client,
    /// The providers.
    pub http: http::Client,
    /// Whether this process may act.
    pub leadership: Arc<Leadership>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The wall clock.
    pub clock: Clock,
}

/// A controller, ready to be driven.
pub struct Wiring {
    /// What a pass over a membership needs.
    pub ctx: Arc<Context>,
    /// What a check of a provider object needs.
    pub checker: Arc<Checker>,
    /// What asks for passes over memberships.
    pub memberships: Feed<ProjectMembership>,
    /// What asks for checks of provider objects.
    pub providers: Feed<MembershipProvider>,
    /// What goes on beside the passes: it begins them when this process leads, and watches the clock. It never ends.
    pub aside: BoxFuture<'static, ()>,
    /// What sends the events. It ends when `ctx` is dropped and all are sent.
    pub telling: BoxFuture<'static, ()>,
}

/// What asks for passes over the objects of one kind.
pub struct Feed<K: Resource<DynamicType = ()> + 'static> {
    /// The objects that somebody else changed. It fills the store, so it has to be polled.
    pub changes: BoxStream<'static, Result<K, watcher::Error>>,
    /// The objects as last watched.
    pub store: Store<K>,
    /// The objects that are to be looked at for another reason.
    pub woken: mpsc::UnboundedReceiver<ObjectRef<K>>,
}

/// Puts a controller together. Nothing happens until it is driven.
pub fn wire(outside: Outside) -> Wiring {
    let Outside { client, http, leadership, metrics, clock } = outside;
    let (events, telling) = Events::new(client.clone(), metrics.clone());
    let (memberships, memberships_writer) = reflector::store();
    let (providers, providers_writer) = reflector::store();
    let (wake, woken) = mpsc::unbounded_channel();
    let (wake_provider, woken_providers) = mpsc::unbounded_channel();
    let ctx = Arc::new(Context {
        client: client.clone(),
        memberships: memberships.clone(),
        providers: providers.clone(),
        written: Written::default(),
        targets: Default::default(),
        connections: Default::default(),
        wake,
        wake_provider,
        readiness: Readiness::default(),
        begun: Readiness::default(),
        clock,
        events,
        metrics: metrics.clone(),
    });
    let checker = Arc::new(Checker::new(ctx.clone(), http));
    let (providers_listed, memberships_listed) = (signal::Sender::new(false), signal::Sender::new(false));
    let listed = [providers_listed.subscribe(), memberships_listed.subscribe()];
    let saw_provider = {
        let checker = checker.clone();
        move |event: &Event<MembershipProvider>| provider_event(&checker, event)
    };
    let provider_stream = watch::objects(
        Api::<DeserializeGuard<MembershipProvider>>::all(client.clone()),
        providers_writer,
        metrics.clone(),
        saw_provider,
        leads(&leadership),
        providers_listed,
    );
    let saw_membership = {
        let ctx = ctx.clone();
        move |event: &Event<ProjectMembership>| membership_event(&ctx, event)
    };
    let membership_stream = watch::objects(
        Api::<DeserializeGuard<ProjectMembership>>::all(client),
        memberships_writer,
        metrics,
        saw_membership,
        leads(&leadership),
        memberships_listed,
    );
    let (ready, clock) = (announce(ctx.clone(), listed), watch_clock(ctx.clone()));
    Wiring {
        memberships: Feed { changes: by_others(membership_stream, ctx.clone()).boxed(), store: memberships, woken },
        providers: Feed {
            changes: by_others(provider_stream, ctx.clone()).boxed(),
            store: providers,
            woken: woken_providers,
        },
        aside: async {
            tokio::join!(ready, clock);
        }
        .boxed(),
        telling: telling.boxed(),
        ctx,
        checker,
    }
}

/// Lets nothing but GET through unless this process leads: no caller can forget to ask.
pub fn while_leading(
    leadership: Arc<Leadership>,
) -> FilterLayer<impl Fn(Request<Body>) -> Result<Request<Body>, &'static str> + Clone + Send + 'static> {
    FilterLayer::new(move |request: Request<Body>| {
        let leads = request.method() == Method::GET || leadership.leads(Instant::now());
        leads.then_some(request).ok_or("isn't asked: this replica doesn't lead, and only the leader writes")
    })
}

/// Ends when this process is to act for the first time.
fn leads(leadership: &Arc<Leadership>) -> impl Future<Output = ()> + Send + 'static {
    let leadership = leadership.clone();
    async move { leadership.begins().await }
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

fn provider_event(checker: &Checker, event: &Event<MembershipProvider>) {
    if let Event::Delete(object) = event {
        let key = ProviderKey::of(object);
        if let Some(uid) = &object.metadata.uid {
            checker.ctx.written.forget(uid);
        }
        checker.forget(&key);
        for membership in of_provider(&checker.ctx, &key) {
            checker.ctx.wake(&ObjectRef::from_obj(membership.as_ref()));
        }
    }
    if let Event::InitDone = event {
        for key in checker.forget_missing() {
            of_provider(&checker.ctx, &key).iter().for_each(|m| checker.ctx.wake(&ObjectRef::from_obj(m.as_ref())));
        }
    }
    if let Event::Apply(object) | Event::InitApply(object) = event {
        // A provider object under an old name may be another one.
        let key = ProviderKey::of(object);
        checker.forget_others(&key, object.metadata.uid.as_deref().unwrap_or_default());
    }
}

fn membership_event(ctx: &Context, event: &Event<ProjectMembership>) {
    let concerned = |object: &ProjectMembership, mut others: Vec<ObjectRef<ProjectMembership>>| {
        others.retain(|other| !ctx.apart(object, other));
        others
    };
    let others = match event {
        Event::Apply(object) | Event::InitApply(object) => concerned(object, ctx.targets.saw(object)),
        Event::Delete(object) => {
            if let Some(uid) = &object.metadata.uid {
                ctx.written.forget(uid);
            }
            concerned(object, ctx.targets.lost(object))
        }
        // What was deleted while the watch was broken off is told by nobody.
        Event::InitDone => ctx.targets.lost_unseen(|object| ctx.memberships.get(object).is_some()),
        Event::Init => Vec::new(),
    };
    others.iter().for_each(|other| ctx.wake(other));
}

/// Says when the caches are filled, and has everything looked at when this replica begins to act.
async fn announce(ctx: Arc<Context>, listed: [signal::Receiver<bool>; 2]) {
    let Context { memberships, providers, readiness, begun, .. } = &*ctx;
    let filled = async { tokio::join!(memberships.wait_until_ready(), providers.wait_until_ready()) };
    if let (Ok(()), Ok(())) = filled.await {
        readiness.ready();
        tracing::info!(memberships = memberships.len(), providers = providers.len(), "the caches are filled");
        for mut listed in listed {
            // The sender lives as long as the watch.
            let _ = listed.wait_for(|listed| *listed).await;
        }
        begun.ready();
        tracing::info!(memberships = memberships.len(), providers = providers.len(), "all is looked at");
        for provider in providers.state() {
            // The receiver lives as long as the controller.
            let _ = ctx.wake_provider.send(ObjectRef::from_obj(provider.as_ref()));
        }
        memberships.state().iter().for_each(|membership| ctx.wake(&ObjectRef::from_obj(membership.as_ref())));
    }
    future::pending().await
}

/// Timers run on the monotonic clock, ends on the wall clock: when the wall clock jumps, everybody looks again.
async fn watch_clock(ctx: Arc<Context>) {
    let mut wall = ctx.now();
    let mut monotonic = Instant::now();
    loop {
        tokio::time::sleep(CLOCK_CHECK).await;
        let passed = ctx.now().duration_since(wall);
        let jump = passed.as_millis() - i128::try_from(monotonic.elapsed().as_millis()).unwrap_or(i128::MAX);
        (wall, monotonic) = (ctx.now(), Instant::now());
        if jump.unsigned_abs() > CLOCK_JUMP.as_millis() {
            tracing::warn!(milliseconds = jump, "the clock jumped: looking at everything again");
            for membership in ctx.memberships.state() {
                ctx.wake(&ObjectRef::from_obj(membership.as_ref()));
            }
        }
    }
}
