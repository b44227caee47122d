//! A provider object must exist longer than the access that was granted through it. The finalizer
//! `membership.dev/in-use` is added to it before its first membership gets a finalizer, and is removed when the
//! provider object is being deleted and none of its memberships has a finalizer any more. The finalizer is kept on a
//! provider object that isn't being deleted: removing and adding it with every grant that ends and starts would cost
//! two writes each.
//!
//! Work on one provider object never waits for another. The lock that the memberships that are being finalized share is
//! only tried, so that nothing waits for it while their writes wait for the quota. Only the PATCH that adds the
//! finalizer to the provider object is made under a lock that is waited for, which belongs to that object: one PATCH is
//! sent, and all that wait share its outcome.

use std::sync::Arc;

use kube::Resource;
use kube::api::{ListParams, ObjectMeta, Patch};
use serde_json::json;
use tokio::time::Instant;

use super::context::Context;
use super::faults::EarlyEnd;
use super::provider_key::ProviderKey;
use super::provider_object::ProviderObject;
use super::state::tombstones;
use super::write;
use crate::api::membership::PendingGrants;
use crate::api::{IN_USE, ProjectMembership};
use crate::core::snapshot::is_finalized;
use crate::telemetry::liveness::waiting;

/// Adds the operator's finalizer to a membership that is about to hold access, after the finalizer that keeps its
/// provider object, with the record of what is about to be granted. `provider` is the provider object's uid.
pub async fn hold(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    provider: &str,
    pending: Option<&PendingGrants>,
) -> Result<Arc<ProjectMembership>, EarlyEnd> {
    let key = ProviderKey::named_by(object);
    let finalizing = ctx.in_use.finalizing(provider).ok_or(EarlyEnd::Overtaken)?;
    // The provider object existed when the pass began; another one may have its name by now.
    let stays = |named: &Arc<dyn ProviderObject>| named.uid() == provider && !named.is_being_deleted();
    let hold = async {
        let named = ctx.providers.find(&key).filter(stays).ok_or(EarlyEnd::Overtaken)?;
        mark(ctx, named.as_ref()).await.map_err(|error| EarlyEnd::of(object, error))?;
        let held = match pending {
            Some(pending) => write::pending_grants(ctx, object, pending).await,
            None => write::add_finalizer(ctx, object).await,
        };
        held.map_err(|error| EarlyEnd::of(object, error))
    };
    let held = hold.await;
    drop(finalizing);
    if !ctx.in_use.is_finalizing(provider) {
        // A check that tried to release the provider object meanwhile has ended without doing so.
        ctx.wake_leaving(Some(&key));
    }
    held
}

/// Records what is about to be granted, with the finalizer if it is missing.
pub async fn recorded(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    provider: &str,
    pending: &PendingGrants,
) -> Result<Arc<ProjectMembership>, EarlyEnd> {
    match is_finalized(object) {
        true => write::pending_grants(ctx, object, pending).await.map_err(|error| EarlyEnd::of(object, error)),
        false => hold(ctx, object, provider, Some(pending)).await,
    }
}

/// Makes sure that a provider object has the finalizer. Of many concurrent callers one sends the PATCH, and the others
/// share its outcome.
async fn mark(ctx: &Context, provider: &dyn ProviderObject) -> Result<(), Arc<kube::Error>> {
    if is_marked(provider.metadata()) {
        return Ok(());
    }
    let asked = Instant::now();
    let mark = ctx.in_use.mark(provider.uid());
    let mut mark = waiting(mark.lock()).await;
    if mark.stands {
        return Ok(());
    }
    if let Some((_, error)) = mark.failed.as_ref().filter(|(began, _)| *began >= asked) {
        return Err(error.clone());
    }
    let began = Instant::now();
    let outcome = add_finalizer(ctx, provider).await.map_err(Arc::new);
    mark.stands = outcome.is_ok();
    mark.failed = outcome.as_ref().err().map(|error| (began, error.clone()));
    outcome
}

async fn add_finalizer(ctx: &Context, provider: &dyn ProviderObject) -> Result<(), kube::Error> {
    let Err(error) = finalizers_are(ctx, provider, provider.metadata(), with_ours(provider.metadata())).await else {
        return Ok(());
    };
    if !write::is_conflict(&error) {
        return Err(error);
    }
    // The provider object has changed since the watch last showed it (its status is written at the same time). It is
    // read once for all that wait, by a list, because the operator has no permission to get single objects.
    let named = ListParams::default().fields(&format!("metadata.name={}", provider.name()));
    let found = provider.api(ctx.client.clone()).list(&named).await?;
    let same = found.items.iter().map(Resource::meta).find(|found| found.uid == provider.metadata().uid);
    match same {
        Some(found) if is_marked(found) => Ok(()),
        Some(found) => finalizers_are(ctx, provider, found, with_ours(found)).await,
        None => Err(error),
    }
}

/// Releases a provider object that is being deleted, if none of its memberships has a finalizer any more and no
/// tombstone is left to revoke. Returns `true` if it was released.
pub async fn release(ctx: &Context, provider: &dyn ProviderObject) -> Result<bool, Arc<kube::Error>> {
    match ctx.in_use.releasing(provider.uid()) {
        Some(_releasing) => remove_finalizer(ctx, provider).await.map_err(Arc::new),
        None => Ok(false),
    }
}

async fn remove_finalizer(ctx: &Context, provider: &dyn ProviderObject) -> Result<bool, kube::Error> {
    let memberships = ctx.memberships_of(&provider.key());
    let latest = memberships.iter().map(|membership| ctx.latest(&write::reference(membership)));
    // A tombstone for the endpoint of a former provider object doesn't need this one.
    let holds = |membership: &ProjectMembership| {
        tombstones::left_at(membership).is_none()
            && (is_finalized(membership) || ctx.tombstones.is_stripped(membership))
    };
    if latest.flatten().any(|membership| holds(&membership)) {
        return Ok(false);
    }
    if is_marked(provider.metadata()) {
        let others = provider.metadata().finalizers.iter().flatten().filter(|finalizer| *finalizer != IN_USE);
        match finalizers_are(ctx, provider, provider.metadata(), others.cloned().collect()).await {
            Ok(()) => {}
            // The provider object is already gone.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Adds the finalizer to a provider object that doesn't have it although memberships of it hold access: they were
/// finalized by a version that didn't add it, or another writer removed it.
pub async fn restore(ctx: &Context, provider: &dyn ProviderObject) -> Result<(), Arc<kube::Error>> {
    let held = || ctx.memberships_of(&provider.key()).iter().any(|membership| is_finalized(membership));
    if !is_marked(provider.metadata()) && held() {
        let known = ctx.in_use.mark(provider.uid());
        waiting(known.lock()).await.stands = false;
        mark(ctx, provider).await?;
    }
    Ok(())
}

fn is_marked(provider: &ObjectMeta) -> bool {
    provider.finalizers.iter().flatten().any(|finalizer| finalizer == IN_USE)
}

fn with_ours(provider: &ObjectMeta) -> Vec<String> {
    provider.finalizers.iter().flatten().cloned().chain([IN_USE.to_owned()]).collect()
}

/// Replaces the finalizers of the provider object, provided that it is unchanged since the version in `known`.
async fn finalizers_are(
    ctx: &Context,
    provider: &dyn ProviderObject,
    known: &ObjectMeta,
    finalizers: Vec<String>,
) -> Result<(), kube::Error> {
    let metadata = ObjectMeta {
        resource_version: known.resource_version.clone(),
        uid: known.uid.clone(),
        finalizers: Some(finalizers),
        ..ObjectMeta::default()
    };
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let api = provider.api(ctx.client.clone());
    write::own_provider(ctx, provider, api.patch(provider.name(), &write::params(), &patch)).await
}
