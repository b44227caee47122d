//! The labels of namespaces. They are watched as soon as the first allow rule selects namespaces by label.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};

use super::context::Context;
use super::state::namespaces::Labels;
use super::stored::Stored;
use super::watch::{self, Interruptions, Reconnect, readable};
use crate::api::membership::ProviderKind;

/// Watches the namespaces once their labels are needed. A change wakes the memberships that it may affect.
pub async fn watch(ctx: Arc<Context>, client: Client) {
    let mut wanted = ctx.namespaces.wanted.subscribe();
    if wanted.wait_for(|wanted| *wanted).await.is_err() {
        return;
    }
    // What a list in progress has returned so far.
    let mut listed: HashMap<String, Labels> = HashMap::new();
    let metrics = ctx.metrics.clone();
    let mut interruptions = Interruptions::default();
    watch_objects(Api::<Stored<PartialObjectMeta<Namespace>>>::all(client), watch::config())
        .backoff(Reconnect::default())
        .try_filter_map(move |event| future::ready(Ok(readable(event, &metrics))))
        .inspect(move |event| interruptions.log("Namespace", event))
        .for_each(move |event| {
            match event {
                Ok(Event::Apply(namespace)) => {
                    if ctx.namespaces.applied(&namespace) {
                        wake(&ctx, Some(&namespace.name_any()));
                    }
                }
                Ok(Event::Delete(namespace)) => ctx.namespaces.deleted(&namespace),
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(namespace)) => {
                    listed.insert(namespace.name_any(), namespace.labels().clone());
                }
                Ok(Event::InitDone) => {
                    if ctx.namespaces.listed(std::mem::take(&mut listed)) {
                        wake(&ctx, None);
                    }
                }
                Err(_) => {}
            }
            future::ready(())
        })
        .await;
}

/// Wakes the memberships that are governed by allow rules, in one namespace or in all.
fn wake(ctx: &Context, namespace: Option<&str>) {
    for membership in ctx.memberships.state() {
        let governed = membership.spec.provider_ref.kind == ProviderKind::ClusterMembershipProvider;
        if governed && namespace.is_none_or(|namespace| membership.metadata.namespace.as_deref() == Some(namespace)) {
            ctx.wake(&ObjectRef::from_obj(membership.as_ref()));
        }
    }
}
