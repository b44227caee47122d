//! The labels of namespaces. They are watched as soon as the first allow rule selects namespaces by label.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};

use super::context::Context;
use super::state::namespaces::Labels;
use super::stored::Stored;
use super::watch::{self, Interruptions, Reconnect, readable};

/// Watches the namespaces once their labels are needed. A change wakes the memberships that it may affect.
pub async fn watch(ctx: Arc<Context>, client: Client, writer: Writer<PartialObjectMeta<Namespace>>) {
    let mut wanted = ctx.namespaces.wanted.subscribe();
    if wanted.wait_for(|wanted| *wanted).await.is_err() {
        return;
    }
    let mut labels: BTreeMap<String, Labels> = BTreeMap::new();
    let mut relisted_others = false;
    let metrics = ctx.metrics.clone();
    let mut interruptions = Interruptions::default();
    watch_objects(Api::<Stored<PartialObjectMeta<Namespace>>>::all(client), watch::config())
        .backoff(Reconnect::default())
        .try_filter_map(move |event| future::ready(Ok(readable(event, &metrics))))
        .modify(|namespace| namespace.annotations_mut().clear())
        .reflect(writer)
        .inspect(move |event| interruptions.log("Namespace", event))
        .for_each(move |event| {
            match event {
                Ok(Event::Apply(namespace)) => {
                    if is_new(&mut labels, &namespace) {
                        wake(&ctx, Some(&namespace.name_any()));
                    }
                }
                Ok(Event::InitApply(namespace)) => relisted_others |= is_new(&mut labels, &namespace),
                Ok(Event::Delete(namespace)) => drop(labels.remove(&namespace.name_any())),
                // The store shows the result of a new list only from now on.
                Ok(Event::InitDone) if relisted_others => wake(&ctx, None),
                Ok(Event::InitDone) => {}
                Ok(Event::Init) => relisted_others = false,
                Err(_) => {}
            }
            future::ready(())
        })
        .await;
}

/// Stores a namespace's labels. Returns whether they have changed.
fn is_new(labels: &mut BTreeMap<String, Labels>, namespace: &PartialObjectMeta<Namespace>) -> bool {
    labels.insert(namespace.name_any(), namespace.labels().clone()).as_ref() != Some(namespace.labels())
}

/// Wakes the memberships that are governed by allow rules, in one namespace or in all.
fn wake(ctx: &Context, namespace: Option<&str>) {
    ctx.targets.governed(namespace).iter().for_each(|membership| ctx.wake(membership));
}
