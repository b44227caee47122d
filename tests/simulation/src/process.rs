//! One replica of the operator, as a process: its own client code, lease, caches, queue and passes, and kube's controllers
//! of the provider objects replaced by a loop whose order a seed decides.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource};
use membership_operator::clock::Clock;
use membership_operator::controller::provider_object::ProviderObject;
use membership_operator::controller::providers::Checker;
use membership_operator::controller::run::reconciling;
use membership_operator::controller::wiring::{Dependencies, Feed, Wiring, while_leading, wire};
use membership_operator::controller::{providers, tombstones};
use membership_operator::lease::{self, Keeper, Leadership};
use membership_operator::provider::http;
use membership_operator::telemetry::Metrics;
use tokio::time::Instant;
use tower::Layer;

use crate::kubernetes::ToKubernetes;
use crate::life::Life;
use crate::scheduler::Scheduler;

/// What is told of an operator's checker when it is put together.
pub type Wired = dyn Fn(&Arc<Checker>) + Send + Sync;

/// What a process is started with.
#[derive(Clone)]
pub struct Process {
    pub life: Life,
    /// Its way to the API server.
    pub kubernetes: ToKubernetes,
    /// Its way to the providers.
    pub providers: Arc<dyn http::InProcessServer>,
    /// Where its Lease is; `None`: there is one replica only.
    pub lease: Option<lease::LeaseConfig>,
    /// Its wall clock.
    pub clock: Clock,
    /// Who decides.
    pub scheduler: Scheduler,
    /// Is given what it is made of, to look at what it remembers.
    pub wired: Arc<Wired>,
}

impl Process {
    /// Runs until the process dies or its lease is lost, as the operator then ends itself.
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
            delay: {
                let scheduler = scheduler.clone();
                Box::new(move |unit| scheduler.dispatch_of(&unit.to_string()))
            },
            leadership: leadership.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let Wiring { ctx, checker, providers: checked, cluster_providers, background, event_task } = wire(outside);
        wired(&checker);
        let departing = tombstones::run(ctx.clone(), pending());
        let within = {
            let life = life.clone();
            move |task| life.live(task).boxed()
        };
        let reconciling = reconciling(ctx, within, pending());
        let checking = join(
            drive(checked, scheduler.clone(), checks(checker.clone())),
            drive(cluster_providers, scheduler.clone(), checks(checker)),
        );
        let work = join(join(checking, reconciling), join(departing, join(background, event_task)));
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

/// Checks one kind of provider objects.
fn checks<K: ProviderObject>(checker: Arc<Checker>) -> impl Fn(Arc<K>) -> BoxFuture<'static, Action> {
    move |object| {
        let checker = checker.clone();
        async move {
            let fault = providers::check(object.clone(), checker.clone()).await;
            fault.unwrap_or_else(|fault| providers::after_fault(object, &fault, checker))
        }
        .boxed()
    }
}

type Key = (String, String);

/// Drives the passes of one kind as kube's controllers do: one at a time for an object, and what is asked for meanwhile
/// afterwards. Of what is due at once the names decide the order, so that none of the maps on the way does.
async fn drive<K>(feed: Feed<K>, scheduler: Scheduler, pass: impl Fn(Arc<K>) -> BoxFuture<'static, Action>)
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    let Feed { mut changes, store, mut woken } = feed;
    let mut due: BTreeMap<Key, Instant> = BTreeMap::new();
    let mut running: FuturesUnordered<BoxFuture<'static, (Key, Action)>> = FuturesUnordered::new();
    let mut busy: BTreeSet<Key> = BTreeSet::new();
    loop {
        let next = due.iter().filter(|(key, _)| !busy.contains(*key)).map(|(_, at)| *at).min();
        let mut asked: Vec<Key> = Vec::new();
        tokio::select! {
            biased;
            change = changes.next() => match change {
                Some(Ok(object)) => asked.push(key_of(&ObjectRef::from_obj(&object))),
                Some(Err(_)) => {}
                None => return,
            },
            Some(reference) = woken.recv() => asked.push(key_of(&reference)),
            Some((key, action)) = running.next() => {
                busy.remove(&key);
                if let Some(after) = requeue(&action) {
                    soonest(&mut due, key, Instant::now() + after);
                }
            }
            () = until(next) => {}
        }
        // A list is shown by the store when all of it was read: until then its new objects aren't there.
        while let Some(Some(change)) = changes.next().now_or_never() {
            asked.extend(change.ok().map(|object| key_of(&ObjectRef::from_obj(&object))));
        }
        while let Ok(reference) = woken.try_recv() {
            asked.push(key_of(&reference));
        }
        asked.sort();
        asked.dedup();
        for key in asked {
            soonest(&mut due, key, Instant::now() + scheduler.dispatch());
        }
        let now = Instant::now();
        let ready: Vec<Key> =
            due.iter().filter(|(key, at)| **at <= now && !busy.contains(*key)).map(|(key, _)| key.clone()).collect();
        for key in ready {
            due.remove(&key);
            let Some(object) = store.get(&ObjectRef::new(&key.1).within(&key.0)) else { continue };
            busy.insert(key.clone());
            let pass = pass(object);
            running.push(async move { (key, pass.await) }.boxed());
        }
    }
}

fn key_of<K: Resource<DynamicType = ()>>(reference: &ObjectRef<K>) -> Key {
    (reference.namespace.clone().unwrap_or_default(), reference.name.clone())
}

fn soonest(due: &mut BTreeMap<Key, Instant>, key: Key, at: Instant) {
    due.entry(key).and_modify(|known| *known = (*known).min(at)).or_insert(at);
}

/// When an Action wants another look. kube shows it by Debug alone: `Action { requeue_after: Some(1.5s) }`.
fn requeue(action: &Action) -> Option<Duration> {
    let shown = format!("{action:?}");
    let after = shown.split_once("Some(")?.1.trim_end_matches([' ', '}', ')']);
    let digits = after.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &after[digits.len()..] {
        "s" => 1e9,
        "ms" => 1e6,
        "\u{b5}s" => 1e3,
        _ => 1.0,
    };
    let nanoseconds = digits.parse::<f64>().ok()? * unit;
    Some(Duration::from_nanos(nanoseconds.ceil() as u64))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_action_shows_is_when_it_wants_another_look() {
        assert_eq!(requeue(&Action::await_change()), None);
        for milliseconds in [0, 5, 250, 1_000, 1_500, 300_000, 31_536_000_000] {
            let after = Duration::from_millis(milliseconds);
            assert_eq!(requeue(&Action::requeue(after)), Some(after));
        }
    }
}
