//! A provider object outlives the access that was granted through it: the finalizer `membership.dev/in-use` stands on it
//! before the first membership is finalized, and goes when it is being deleted and none is any more.
//!
//! It stays on a provider object that isn't being deleted: taking it off and putting it back with every grant that comes
//! and goes would cost two writes each.

use std::collections::HashSet;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::core::PartialObjectMetaExt;
use tokio::sync::{Mutex, RwLock};

use super::connections::ProviderKey;
use super::context::Context;
use super::departed;
use super::outcome::Stop;
use super::provider_object::{Named, ProviderObject};
use super::providers::of_provider;
use super::resolve::is_finalized;
use super::write;
use crate::api::{IN_USE, ProjectMembership};

/// Memberships that come to hold access and provider objects that go keep out of each other's way.
#[derive(Default)]
pub struct InUse {
    /// Taken shared while a membership is finalized, alone while it is looked whether any is.
    gate: RwLock<()>,
    /// The uids of the provider objects that it was put on: the watch may not show it yet.
    marked: Mutex<HashSet<String>>,
}

/// Puts our finalizer on a membership that is about to hold access, and before it the one that keeps its provider object,
/// which is the one of the uid `provider`.
pub async fn hold(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    provider: &str,
) -> Result<Arc<ProjectMembership>, Stop> {
    let _shared = ctx.in_use.gate.read().await;
    // It was there when the pass began; another one may stand under its name by now.
    let stays = |named: &Named| named.uid().is_some_and(|uid| uid == provider) && !named.is_being_deleted();
    let named = ctx.providers.find(&ProviderKey::named_by(object)).filter(stays).ok_or(Stop::Overtaken)?;
    match &named {
        Named::OfNamespace(provider) => mark(ctx, provider.as_ref()).await?,
        Named::OfCluster(provider) => mark(ctx, provider.as_ref()).await?,
    }
    Ok(write::add_finalizer(ctx, object).await?)
}

async fn mark<K: ProviderObject>(ctx: &Context, provider: &K) -> Result<(), kube::Error> {
    let uid = provider.uid().unwrap_or_default();
    let mut marked = ctx.in_use.marked.lock().await;
    if marked.contains(&uid) || is_marked(provider) {
        return Ok(());
    }
    let mut finalizers = provider.finalizers().to_vec();
    finalizers.push(IN_USE.to_owned());
    finalizers_are(ctx, provider, finalizers).await?;
    marked.insert(uid);
    Ok(())
}

/// For a provider object that is being deleted: lets it go where no membership of it is finalized any more, nor one that departed is to be revoked. `true`: it
/// goes.
pub async fn let_go<K: ProviderObject>(ctx: &Context, provider: &K) -> Result<bool, kube::Error> {
    let _alone = ctx.in_use.gate.write().await;
    let memberships = of_provider(ctx, &provider.key());
    let latest = memberships.iter().map(|membership| ctx.latest(&write::reference(membership)));
    // What was left behind at the endpoint of a former provider object does not need this one.
    let holds = |membership: &ProjectMembership| {
        departed::left_at(membership).is_none() && (is_finalized(membership) || ctx.departed.is_stripped(membership))
    };
    if latest.flatten().any(|membership| holds(&membership)) {
        return Ok(false);
    }
    if is_marked(provider) {
        let finalizers = provider.finalizers().iter().filter(|finalizer| *finalizer != IN_USE).cloned().collect();
        match finalizers_are(ctx, provider, finalizers).await {
            Ok(()) => {}
            // It went meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    ctx.in_use.marked.lock().await.remove(&provider.uid().unwrap_or_default());
    Ok(true)
}

/// Whether memberships of this provider object hold access though nothing keeps it: they were finalized by a version that
/// didn't put the finalizer on, or somebody took it off.
pub async fn mend<K: ProviderObject>(ctx: &Context, provider: &K) -> Result<(), kube::Error> {
    let held = || of_provider(ctx, &provider.key()).iter().any(|membership| is_finalized(membership));
    if !is_marked(provider) && held() {
        let _shared = ctx.in_use.gate.read().await;
        ctx.in_use.marked.lock().await.remove(&provider.uid().unwrap_or_default());
        mark(ctx, provider).await?;
    }
    Ok(())
}

fn is_marked<K: ProviderObject>(provider: &K) -> bool {
    provider.finalizers().iter().any(|finalizer| finalizer == IN_USE)
}

async fn finalizers_are<K: ProviderObject>(
    ctx: &Context,
    provider: &K,
    finalizers: Vec<String>,
) -> Result<(), kube::Error> {
    let metadata = ObjectMeta {
        resource_version: provider.resource_version(),
        uid: provider.uid(),
        finalizers: Some(finalizers),
        ..ObjectMeta::default()
    };
    let patch = Patch::Merge(metadata.into_request_partial::<K>());
    let params = PatchParams { field_manager: Some(write::MANAGER.to_owned()), ..PatchParams::default() };
    let api = provider.api(ctx.client.clone());
    write::own_provider(ctx, provider, api.patch(&provider.name_any(), &params, &patch)).await
}
