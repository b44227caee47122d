//! The watches: one object that can't be read is counted and named, and stops none of the others.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, future};
use kube::core::error_boundary::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;

use crate::telemetry::Metrics;

/// How long a watch that broke off waits before it begins anew: ever longer, and never so long that whoever deleted an
/// object meanwhile would wait for the end of its access.
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

/// Watches all objects of a kind, keeps `writer`'s store filled, and yields those that were applied. `saw` is told of
/// each event when the store shows it; `not_served` says whether the API server doesn't know the kind (404): it is asked
/// again, since a kind may be installed later.
///
/// When `leads` ends, everything is listed anew, and `listed` says true when the store shows that list: what a replica
/// that stood by was told late mustn't count when it begins to act.
pub fn objects<K>(
    api: Api<DeserializeGuard<K>>,
    writer: Writer<K>,
    metrics: Arc<Metrics>,
    not_served: signal::Sender<bool>,
    saw: impl Fn(&Event<K>) + Send + 'static,
    leads: impl Future<Output = ()> + Send + 'static,
    listed: signal::Sender<bool>,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone,
{
    let leading = Arc::new(AtomicBool::new(false));
    let led = leading.clone();
    let standing_by = watch(api.clone(), watcher::Config::default()).take_until(leads);
    let acting = watch(api, watcher::Config::default()).inspect(move |_| led.store(true, Ordering::Relaxed));
    standing_by
        .chain(acting)
        .backoff(Reconnect::default())
        .filter_map(move |event| future::ready(event.map(|event| readable(event, &metrics)).transpose()))
        .inspect(move |event| match event {
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
                not_served.send_replace(true);
            }
            Ok(Event::InitDone) => drop(not_served.send_replace(false)),
            _ => {}
        })
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .inspect(move |event| {
            if let Ok(event) = event {
                saw(event);
                if matches!(event, Event::InitDone) && leading.load(Ordering::Relaxed) {
                    listed.send_replace(true);
                }
            }
        })
        .applied_objects()
}

fn readable<K: Resource<DynamicType = ()>>(event: Event<DeserializeGuard<K>>, metrics: &Metrics) -> Option<Event<K>> {
    let object = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            metrics.undecodable();
            tracing::error!(
                kind = %K::kind(&()),
                namespace = invalid.metadata.namespace,
                name = invalid.metadata.name,
                error = invalid.error,
                "this object can't be read: nothing of it is carried out until it is mended, its deletion neither"
            );
            None
        }
    };
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::Apply(guard) => object(guard).map(Event::Apply),
        Event::InitApply(guard) => object(guard).map(Event::InitApply),
        Event::Delete(guard) => object(guard).map(Event::Delete),
    }
}
