//! The watches. An object that cannot be decoded is counted and logged with its name, and does not prevent the others
//! from being watched.

mod merge;

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;
use tokio::time::Instant;

use self::merge::Merge;
use super::state::memberships::Memberships;
use super::stored::Stored;
use crate::api::ProjectMembership;
use crate::kubernetes::WATCH_SECONDS;
use crate::telemetry::Metrics;

/// The backoff before an interrupted watch starts again. It increases, but is bounded so that a deletion in the
/// meantime ends access without a long delay.
pub struct Reconnect(Duration);

impl Reconnect {
    const FIRST: Duration = Duration::from_millis(800);
    const LONGEST: Duration = Duration::from_secs(5);
}

impl Default for Reconnect {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl Iterator for Reconnect {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let next = (self.0 * 2).min(Self::LONGEST);
        Some(std::mem::replace(&mut self.0, next))
    }
}

impl Backoff for Reconnect {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Within this time after a failure of a watch, the next failure counts as one in a row.
const IN_A_ROW: Duration = Duration::from_secs(30);

/// Decides whether to log that a watch fails: watches are interrupted occasionally, and most continue immediately.
#[derive(Debug, Default)]
pub struct Interruptions {
    failed: Option<Instant>,
    logged: bool,
}

impl Interruptions {
    /// Processes one item of a watch, and logs the second failure in a row and the end of those failures that were
    /// logged.
    pub fn log<T>(&mut self, kind: &str, event: &Result<T, watcher::Error>) {
        match event {
            Ok(_) if self.went_on() => tracing::info!(kind, "the watch continues"),
            Ok(_) => {}
            Err(error) if is_routine(error) => tracing::debug!(kind, %error, "the watch restarts"),
            Err(error) if self.fails(Instant::now()) => {
                tracing::warn!(kind, %error, "the watch failed and is retried; until then changes are not observed");
            }
            Err(error) => tracing::debug!(kind, %error, "the watch was interrupted"),
        }
    }

    fn fails(&mut self, now: Instant) -> bool {
        let in_a_row = self.failed.is_some_and(|failed| now.duration_since(failed) < IN_A_ROW);
        let logs = in_a_row && !self.logged;
        (self.failed, self.logged) = (Some(now), in_a_row);
        logs
    }

    fn went_on(&mut self) -> bool {
        self.failed = None;
        std::mem::take(&mut self.logged)
    }
}

/// Whether an error is expected: a resourceVersion that is too old (410), or a kind that is not served (404), which is
/// reported elsewhere.
fn is_routine(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == 410,
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

/// The configuration of a watch. The API server ends each watch after `WATCH_SECONDS`, so that a watch without any data
/// for longer is known to be broken.
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// The APIs to list and watch a kind: one for all namespaces, or one for each of the given ones.
pub fn apis_of<K>(client: &Client, namespaces: &[String]) -> Vec<Api<Stored<K>>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespaces {
        [] => vec![Api::all(client.clone())],
        namespaces => namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect(),
    }
}

/// What is called with the objects and events of a watch.
pub struct Handlers<C, E> {
    /// Called with each object before the store contains it.
    pub complete: C,
    /// Called with each event after the store reflects it.
    pub on_event: E,
}

/// What a watch keeps up to date.
pub trait Cache<K>: Send + 'static {
    /// Processes an event. The objects of a list count when it is complete.
    fn apply(&mut self, event: &Event<K>);

    /// Reads all objects, by namespace and name, one after the other.
    fn reader(&self) -> impl Fn() -> Objects<K> + Send + 'static + use<Self, K>;
}

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Cache<K> for Writer<K> {
    fn apply(&mut self, event: &Event<K>) {
        self.apply_watcher_event(event);
    }

    fn reader(&self) -> impl Fn() -> Objects<K> + Send + 'static + use<K> {
        let store = self.as_reader();
        move || {
            let mut objects = store.state();
            objects.sort_by_cached_key(|object| (object.namespace(), object.name_any()));
            Box::new(objects.into_iter())
        }
    }
}

impl Cache<ProjectMembership> for Arc<Memberships> {
    fn apply(&mut self, event: &Event<ProjectMembership>) {
        Memberships::apply(self, event);
    }

    fn reader(&self) -> impl Fn() -> Objects<ProjectMembership> + Send + 'static + use<> {
        let memberships = self.clone();
        move || {
            let (names, memberships) = (memberships.names(), memberships.clone());
            let get =
                move |(namespace, name): (String, String)| memberships.get(&ObjectRef::new(&name).within(&namespace));
            Box::new(names.into_iter().filter_map(get))
        }
    }
}

/// The objects of a cache. Thousands of them are not decoded at once.
type Objects<K> = Box<dyn Iterator<Item = Arc<K>> + Send>;

/// Watches all objects of a kind, keeps the cache up to date, and yields the objects that were applied. `not_served` is
/// true while the API server does not know the kind (404); the request is repeated, since a kind may be installed later.
/// `apis`: one for all namespaces, or one for each namespace.
pub fn objects<K>(
    apis: Vec<Api<Stored<K>>>,
    mut cache: impl Cache<K>,
    metrics: Arc<Metrics>,
    not_served: signal::Sender<bool>,
    handlers: Handlers<impl Fn(&mut K) + Send + 'static, impl Fn(&Event<K>) + Send + 'static>,
) -> impl Stream<Item = Result<Arc<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    let Handlers { complete, on_event } = handlers;
    let namespaces: Vec<Option<String>> = apis.iter().map(|api| api.namespace().map(str::to_owned)).collect();
    let mut merge = Merge::new(apis.len());
    let (of_namespace, reflected) = (cache.reader(), cache.reader());
    let parts = apis.into_iter().enumerate().map(|(part, api)| {
        watch(api, config()).backoff(Reconnect::default()).map_ok(move |event| (part, event)).boxed()
    });
    let (mut interruptions, kind) = (Interruptions::default(), K::kind(&()));
    stream::select_all(parts)
        .inspect(move |received| interruptions.log(&kind, received))
        .filter_map(move |received| {
            let readable = |(part, event)| {
                let mut event = readable(event, &metrics)?;
                if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = &mut event {
                    complete(object);
                }
                Some((part, event))
            };
            future::ready(received.map(readable).transpose())
        })
        .flat_map(move |received| {
            let events = received
                .map(|(part, event)| merge.take(part, event, |other| known(&of_namespace, namespaces.get(other))));
            stream::iter(match events {
                Ok(events) => events.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        })
        .inspect(move |event| match event {
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
                not_served.send_replace(true);
            }
            Ok(Event::InitDone) => drop(not_served.send_replace(false)),
            _ => {}
        })
        .inspect(move |event| {
            if let Ok(event) = event {
                cache.apply(event);
                on_event(event);
            }
        })
        .flat_map(move |event| {
            let listed = matches!(event, Ok(Event::InitDone)).then(&reflected);
            stream::iter(applied(listed, event))
        })
}

/// The objects that an event reports as applied. Objects of a list are returned when the list ends, from the store: it
/// does not contain new objects before that, and a pass over an object that the store lacks does nothing.
fn applied<K, E>(listed: Option<Objects<K>>, event: Result<Event<K>, E>) -> impl Iterator<Item = Result<Arc<K>, E>>
where
    K: 'static,
{
    let one = match event {
        Ok(Event::Apply(object)) => Some(Ok(Arc::new(object))),
        Ok(Event::Init | Event::InitApply(_) | Event::InitDone | Event::Delete(_)) => None,
        Err(error) => Some(Err(error)),
    };
    listed.into_iter().flatten().map(Ok).chain(one)
}

/// The known objects of a watch that belongs to a namespace.
fn known<K: ResourceExt + Clone>(cached: &impl Fn() -> Objects<K>, namespace: Option<&Option<String>>) -> Vec<K> {
    let namespace = namespace.and_then(|namespace| namespace.as_deref());
    let of_namespace = |object: &Arc<K>| namespace.is_none_or(|it| object.meta().namespace.as_deref() == Some(it));
    cached().filter(of_namespace).map(Arc::unwrap_or_clone).collect()
}

/// The event, if its object can be decoded. An object that cannot is counted and logged with its name.
pub fn readable<K: Resource<DynamicType = ()>>(event: Event<Stored<K>>, metrics: &Metrics) -> Option<Event<K>> {
    let object = |stored: Stored<K>| {
        let (namespace, name) = (stored.meta().namespace.clone(), stored.meta().name.clone());
        if let Some(error) = stored.lost_status() {
            metrics.undecodable.inc();
            tracing::error!(
                kind = %K::kind(&()), namespace, name, error,
                "the status of this object cannot be decoded and counts as lost: it is written again by the next pass"
            );
        }
        let undecodable = |error| {
            metrics.undecodable.inc();
            tracing::error!(
                kind = %K::kind(&()), namespace, name, %error,
                "this object cannot be decoded: it is ignored, and so is its deletion, until it is corrected"
            );
        };
        stored.into_object().map_err(undecodable).ok()
    };
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::Apply(stored) => object(stored).map(Event::Apply),
        Event::InitApply(stored) => object(stored).map(Event::InitApply),
        Event::Delete(stored) => object(stored).map(Event::Delete),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    #[test]
    fn a_watch_that_fails_twice_in_a_row_is_logged_once() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut watch = Interruptions::default();
        let logged: Vec<u64> = [0, 100, 105, 110, 900, 905].into_iter().filter(|at| watch.fails(after(*at))).collect();
        assert_eq!(logged, [105, 905], "one that goes on at once is not logged");
        assert!(watch.went_on(), "and its end is");
        assert!(!watch.went_on());
        assert!(!watch.fails(after(910)), "the first after it went on");
    }

    #[test]
    fn the_objects_of_a_list_are_processed_when_it_is_complete() {
        use Event::{Apply, Delete, Init, InitApply, InitDone};
        let mut writer = Writer::default();
        let mut after = |event: Event<ConfigMap>| {
            writer.apply_watcher_event(&event);
            let listed = matches!(event, InitDone).then(writer.reader());
            let applied: Vec<Result<_, ()>> = applied(listed, Ok(event)).collect();
            applied.into_iter().map(|object| object.unwrap().name_any()).collect::<Vec<_>>()
        };
        let object = |name: &str| ConfigMap {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        };
        assert_eq!(after(Apply(object("a"))), ["a"]);
        let none: [&str; 0] = [];
        for event in [Init, InitApply(object("c")), InitApply(object("b"))] {
            assert_eq!(after(event), none, "the list isn't read to its end");
        }
        assert_eq!(after(InitDone), ["b", "c"]);
        assert_eq!(after(Delete(object("c"))), none);
        // A list that was interrupted starts again.
        for event in [Init, InitApply(object("d")), Init, InitApply(object("e"))] {
            assert_eq!(after(event), none);
        }
        assert_eq!(after(InitDone), ["e"]);
    }
}
