//! A provider object outlives the access that was granted through it: the finalizer `membership.dev/in-use` stands on it
//! before the first membership is finalized, and goes when it is being deleted and none is any more.
//!
//! It stays on a provider object that isn't being deleted: taking it off and putting it back with every grant that comes
//! and goes would cost two writes each.
//!
//! What concerns one provider object waits for no other. Memberships that are finalized are counted; the count is no lock,
//! so that nothing is held while their own writes wait for their turn. Only the PATCH that puts the finalizer on the
//! provider object is made under a lock, which is that object's own: one is sent, and all that wait share its outcome.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::api::{ListParams, ObjectMeta, Patch, PatchParams};
use kube::core::PartialObjectMetaExt;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::connections::ProviderKey;
use super::context::Context;
use super::departed;
use super::outcome::Stop;
use super::provider_object::{Named, ProviderObject};
use super::providers::of_provider;
use super::resolve::is_finalized;
use super::write;
use crate::api::{IN_USE, ProjectMembership};
use crate::telemetry::liveness::waiting;

/// The use of each provider object, by its uid.
#[derive(Debug, Default)]
pub struct InUse(Mutex<HashMap<String, Use>>);

#[derive(Debug, Default)]
struct Use {
    /// How many memberships are being finalized.
    holders: usize,
    /// The provider object is being let go: no membership may be finalized any more.
    leaves: bool,
    mark: Arc<tokio::sync::Mutex<Mark>>,
}

/// What is known of the finalizer on a provider object.
#[derive(Debug, Default)]
struct Mark {
    /// It was put on: the watch may not show it yet.
    stands: bool,
    /// When the last attempt to put it on began that failed, and why.
    failed: Option<(Instant, Arc<kube::Error>)>,
}

impl InUse {
    /// A membership is about to be finalized. `false`: the provider object is being let go.
    fn begins(&self, uid: &str) -> bool {
        let mut uses = self.lock();
        let found = uses.entry(uid.to_owned()).or_default();
        if !found.leaves {
            found.holders += 1;
        }
        !found.leaves
    }

    /// A membership is finalized, or is not to be. Whether no other is in between.
    fn ended(&self, uid: &str) -> bool {
        self.lock().get_mut(uid).is_none_or(|found| {
            found.holders = found.holders.saturating_sub(1);
            found.holders == 0
        })
    }

    /// The provider object is about to be let go. `false`: memberships are being finalized.
    fn leaves(&self, uid: &str) -> bool {
        let mut uses = self.lock();
        let found = uses.entry(uid.to_owned()).or_default();
        found.leaves = found.holders == 0;
        found.leaves
    }

    /// It stays after all.
    fn stays(&self, uid: &str) {
        if let Some(found) = self.lock().get_mut(uid) {
            found.leaves = false;
        }
    }

    fn mark(&self, uid: &str) -> Arc<tokio::sync::Mutex<Mark>> {
        self.lock().entry(uid.to_owned()).or_default().mark.clone()
    }

    /// Forgets the provider objects that are gone.
    pub fn forget_missing(&self, uids: &HashSet<String>) {
        self.lock().retain(|uid, found| found.holders > 0 || uids.contains(uid));
    }

    /// Of how many provider objects something is remembered.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A membership that is being finalized, until this is dropped.
struct Holder<'a> {
    ctx: &'a Context,
    provider: &'a str,
    key: ProviderKey,
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        if self.ctx.in_use.ended(self.provider) {
            // Whoever was to let it go meanwhile left it at that.
            self.ctx.providers.wake_leaving(Some(&self.key));
        }
    }
}

/// Puts our finalizer on a membership that is about to hold access, and before it the one that keeps its provider object,
/// which is the one of the uid `provider`.
pub async fn hold(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    provider: &str,
) -> Result<Arc<ProjectMembership>, Stop> {
    let key = ProviderKey::named_by(object);
    // It was there when the pass began; another one may stand under its name by now.
    let stays = |named: &Named| named.uid().is_some_and(|uid| uid == provider) && !named.is_being_deleted();
    let named = ctx.providers.find(&key).filter(stays).ok_or(Stop::Overtaken)?;
    if !ctx.in_use.begins(provider) {
        return Err(Stop::Overtaken);
    }
    let _holder = Holder { ctx, provider, key };
    match &named {
        Named::OfNamespace(provider) => mark(ctx, provider.as_ref()).await?,
        Named::OfCluster(provider) => mark(ctx, provider.as_ref()).await?,
    }
    Ok(write::add_finalizer(ctx, object).await?)
}

/// Makes sure that the finalizer stands on a provider object. Of many that ask at once one sends the PATCH, and the others
/// share its outcome.
async fn mark<K: ProviderObject>(ctx: &Context, provider: &K) -> Result<(), Arc<kube::Error>> {
    if is_marked(provider.meta()) {
        return Ok(());
    }
    let asked = Instant::now();
    let mark = ctx.in_use.mark(&provider.uid().unwrap_or_default());
    let mut mark = waiting(mark.lock()).await;
    if mark.stands {
        return Ok(());
    }
    if let Some((_, error)) = mark.failed.as_ref().filter(|(began, _)| *began >= asked) {
        return Err(error.clone());
    }
    let began = Instant::now();
    let outcome = put_on(ctx, provider).await.map_err(Arc::new);
    mark.stands = outcome.is_ok();
    mark.failed = outcome.as_ref().err().map(|error| (began, error.clone()));
    outcome
}

async fn put_on<K: ProviderObject>(ctx: &Context, provider: &K) -> Result<(), kube::Error> {
    let Err(error) = finalizers_are(ctx, provider, provider.meta(), with_ours(provider.meta())).await else {
        return Ok(());
    };
    if !write::is_conflict(&error) {
        return Err(error);
    }
    // It has changed since it was last watched (its status is written at the same time): it is read, once for all that
    // wait. By a list, since the operator may not get single objects.
    let named = ListParams::default().fields(&format!("metadata.name={}", provider.name_any()));
    let found = provider.api(ctx.client.clone()).list(&named).await?;
    let same = found.items.iter().map(Resource::meta).find(|found| found.uid == provider.meta().uid);
    match same {
        Some(found) if is_marked(found) => Ok(()),
        Some(found) => finalizers_are(ctx, provider, found, with_ours(found)).await,
        None => Err(error),
    }
}

/// For a provider object that is being deleted: lets it go where no membership of it is finalized any more, nor one that departed is to be revoked. `true`: it
/// goes.
pub async fn let_go<K: ProviderObject>(ctx: &Context, provider: &K) -> Result<bool, Arc<kube::Error>> {
    let uid = provider.uid().unwrap_or_default();
    if !ctx.in_use.leaves(&uid) {
        return Ok(false);
    }
    let outcome = take_off(ctx, provider).await;
    if !matches!(outcome, Ok(true)) {
        ctx.in_use.stays(&uid);
    }
    outcome.map_err(Arc::new)
}

async fn take_off<K: ProviderObject>(ctx: &Context, provider: &K) -> Result<bool, kube::Error> {
    let memberships = of_provider(ctx, &provider.key());
    let latest = memberships.iter().map(|membership| ctx.latest(&write::reference(membership)));
    // What was left behind at the endpoint of a former provider object does not need this one.
    let holds = |membership: &ProjectMembership| {
        departed::left_at(membership).is_none() && (is_finalized(membership) || ctx.departed.is_stripped(membership))
    };
    if latest.flatten().any(|membership| holds(&membership)) {
        return Ok(false);
    }
    if is_marked(provider.meta()) {
        let finalizers = provider.finalizers().iter().filter(|finalizer| *finalizer != IN_USE).cloned().collect();
        match finalizers_are(ctx, provider, provider.meta(), finalizers).await {
            Ok(()) => {}
            // It went meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Whether memberships of this provider object hold access though nothing keeps it: they were finalized by a version that
/// didn't put the finalizer on, or somebody took it off.
pub async fn mend<K: ProviderObject>(ctx: &Context, provider: &K) -> Result<(), Arc<kube::Error>> {
    let held = || of_provider(ctx, &provider.key()).iter().any(|membership| is_finalized(membership));
    if !is_marked(provider.meta()) && held() {
        let known = ctx.in_use.mark(&provider.uid().unwrap_or_default());
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

/// Writes the finalizers over what `known` says of the provider object.
async fn finalizers_are<K: ProviderObject>(
    ctx: &Context,
    provider: &K,
    known: &ObjectMeta,
    finalizers: Vec<String>,
) -> Result<(), kube::Error> {
    let metadata = ObjectMeta {
        resource_version: known.resource_version.clone(),
        uid: known.uid.clone(),
        finalizers: Some(finalizers),
        ..ObjectMeta::default()
    };
    let patch = Patch::Merge(metadata.into_request_partial::<K>());
    let params = PatchParams { field_manager: Some(write::MANAGER.to_owned()), ..PatchParams::default() };
    let api = provider.api(ctx.client.clone());
    write::own_provider(ctx, provider, api.patch(&provider.name_any(), &params, &patch)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_object_leaves_only_while_no_membership_is_being_finalized_and_none_begins_then() {
        let in_use = InUse::default();
        assert!(in_use.begins("a") && in_use.begins("a"));
        assert!(!in_use.leaves("a"), "two are being finalized");
        assert!(in_use.leaves("b"), "another provider object is not concerned");
        assert!(!in_use.ended("a"));
        assert!(in_use.ended("a"), "the last one wakes whoever was to let it go");
        assert!(in_use.leaves("a"));
        assert!(!in_use.begins("a"), "it goes");
        in_use.stays("a");
        assert!(in_use.begins("a"), "its finalizer could not be taken off");
        in_use.forget_missing(&HashSet::new());
        assert_eq!(in_use.len(), 1, "what is in progress is kept");
        in_use.ended("a");
        in_use.forget_missing(&HashSet::new());
        assert!(in_use.is_empty());
    }
}
