//! Tombstones: objects that were deleted although the operator had not released them. Another writer removed the
//! operator's finalizer, and what they granted is still at the provider.
//!
//! Such an object is kept as it was last seen, as an object that is being deleted and has the operator's finalizer,
//! under a name that no real object can have. It goes through the same pipeline as any other object; its status is kept
//! here instead of at the API server. A new object with the former name is a separate object. All tombstones are lost
//! when the process ends.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use tokio::sync::Notify;

use super::connections::ProviderKey;
use super::context::Context;
use super::{in_use, replaced, reporting, write};
use crate::api::event::Happening;
use crate::api::membership::{ManagedRole, ProjectMembershipStatus, ProviderKind};
use crate::api::{DeletionPolicy, FINALIZER, ProjectMembership};
use crate::core::snapshot::is_finalized;
use crate::provider::Urgency;

/// Separates an object's name from its uid in a tombstone's name. No name of a real object contains it.
const MARK: char = '/';
/// The wait between two checks whether an object is really gone.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// An upper bound for a write's duration: after it, a user who was being invited can be found by name.
const LONGEST_WRITE: Duration = Duration::from_secs(35);

/// The tombstones, and the objects that carry the operator's finalizer.
#[derive(Debug, Default)]
pub struct Tombstones {
    state: Mutex<State>,
    found: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Objects that were seen with the operator's finalizer, by uid.
    holds: HashMap<String, Hold>,
    /// The objects with the operator's finalizer that existed before the list in progress.
    before: Vec<Arc<ProjectMembership>>,
    /// Objects, as last seen, that appear to have been deleted without the operator's release and are not processed
    /// yet.
    waiting: Vec<Arc<ProjectMembership>>,
    /// The tombstones, until nothing of them is left to revoke.
    objects: HashMap<ObjectRef<ProjectMembership>, Arc<ProjectMembership>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// The object is expected to have the operator's finalizer.
    Ours,
    /// The operator has removed the finalizer, or is about to.
    LetGo,
}

/// Processes an event of the watch. It must be called before the operator's own writes of the object are forgotten.
///
/// Before this replica begins to act, it only records which objects have the finalizer, because the replica that led
/// until then removed finalizers as well.
pub fn saw(ctx: &Context, event: &Event<ProjectMembership>) {
    let acts = ctx.begun.is_ready();
    let mut state = ctx.tombstones.lock();
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            ctx.written.saw(object, !acts);
            let uid = object.uid().unwrap_or_default();
            if is_finalized(object) {
                state.holds.entry(uid).or_insert(Hold::Ours);
            } else if object.metadata.deletion_timestamp.is_some() && state.misses(&uid) && acts {
                // Finalizers of other controllers keep the object for now.
                state.holds.insert(uid, Hold::LetGo);
                state.found(ctx, Arc::new(object.clone()));
            }
        }
        Event::Delete(object) => {
            let held = state.holds.remove(&object.uid().unwrap_or_default());
            if held == Some(Hold::Ours) && acts {
                state.found(ctx, Arc::new(object.clone()));
            }
        }
        // The store still shows the objects from before the list.
        Event::Init if acts => {
            let held = ctx.memberships.state_filter(|object| object.uid().is_some_and(|uid| state.misses(&uid)));
            state.before = held;
        }
        Event::Init => {}
        // The watch reports no deletion that happened while it was interrupted.
        Event::InitDone => {
            for object in std::mem::take(&mut state.before) {
                let there = ctx.memberships.get(&write::reference(&object));
                let uid = object.uid().unwrap_or_default();
                if there.is_none_or(|there| there.uid() != object.uid()) && state.misses(&uid) {
                    state.holds.remove(&uid);
                    state.found(ctx, ctx.written.newer(object));
                }
            }
        }
    }
    if !state.waiting.is_empty() {
        ctx.tombstones.found.notify_one();
    }
}

impl State {
    fn misses(&self, uid: &str) -> bool {
        self.holds.get(uid) == Some(&Hold::Ours)
    }

    fn found(&mut self, ctx: &Context, object: Arc<ProjectMembership>) {
        self.keep(ctx, &object, as_kept(&object, ctx.now()));
        self.waiting.push(object);
    }

    fn keep(&mut self, ctx: &Context, object: &ProjectMembership, mut kept: ProjectMembership) {
        if object.spec.provider_ref.kind == ProviderKind::ClusterMembershipProvider
            && let Some(status) = &mut kept.status
        {
            let (record, trusted) = (ctx.written.record(object).into_iter(), ctx.written.trusted(object));
            let is_trusted = |managed: &ManagedRole| trusted.as_ref().is_none_or(|t| t.contains(&managed.role));
            status.managed_roles = record.filter(is_trusted).collect();
        }
        let kept = Arc::new(kept);
        self.objects.insert(write::reference(&kept), kept);
    }
}

impl Tombstones {
    /// Records that the object has the operator's finalizer.
    pub fn holds(&self, uid: &str) {
        self.lock().holds.entry(uid.to_owned()).or_insert(Hold::Ours);
    }

    /// Records that the operator is about to remove its finalizer, so that the object's deletion is expected.
    pub fn lets_go(&self, uid: &str) {
        if let Some(hold) = self.lock().holds.get_mut(uid) {
            *hold = Hold::LetGo;
        }
    }

    /// Records that removing the finalizer has failed.
    pub fn holds_on(&self, uid: &str) {
        if let Some(hold) = self.lock().holds.get_mut(uid) {
            *hold = Hold::Ours;
        }
    }

    /// Forgets the finalizers of objects that are gone. `there`: as for [`super::context::Written::forget_missing`].
    pub fn forget_missing(&self, there: impl FnOnce() -> Option<HashSet<String>>) {
        let mut state = self.lock();
        if !state.holds.is_empty()
            && let Some(there) = there()
        {
            state.holds.retain(|uid, _| there.contains(uid));
        }
    }

    /// The number of objects whose finalizer is remembered.
    pub fn held(&self) -> usize {
        self.lock().holds.len()
    }

    /// Whether another writer removed the operator's finalizer from an object that isn't being deleted.
    pub fn is_stripped(&self, object: &ProjectMembership) -> bool {
        let lives = object.metadata.deletion_timestamp.is_none() && !is_finalized(object);
        lives && object.uid().is_some_and(|uid| self.lock().misses(&uid))
    }

    /// The tombstone with this reference, if there is one.
    pub fn get(&self, reference: &ObjectRef<ProjectMembership>) -> Option<Arc<ProjectMembership>> {
        self.lock().objects.get(reference).cloned()
    }

    /// Replaces a tombstone's status. Returns `None` if the object is not a tombstone.
    pub fn says(&self, object: &ProjectMembership, status: &ProjectMembershipStatus) -> Option<Arc<ProjectMembership>> {
        let mut state = self.lock();
        let kept = state.objects.get_mut(&write::reference(object))?;
        *kept = Arc::new(ProjectMembership { status: Some(status.clone()), ..(**kept).clone() });
        Some(kept.clone())
    }

    /// The tombstones that name a provider object: it must not be released before them.
    pub fn of_provider(&self, key: &ProviderKey) -> Vec<Arc<ProjectMembership>> {
        let state = self.lock();
        let objects = state.objects.values().cloned();
        objects.filter(|object| ProviderKey::named_by(object) == *key).collect()
    }

    /// The uids of the tombstones.
    pub fn uids(&self) -> Vec<String> {
        self.lock().objects.values().filter_map(|kept| kept.uid()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates a tombstone from an object for the access that it holds at the endpoint of a former provider object. That
/// access is revoked as if the object were being deleted, while the object itself continues with the new provider
/// object.
pub fn leave_behind(ctx: &Context, object: &ProjectMembership, endpoint: &str) {
    let mut kept = as_kept(object, ctx.now());
    if object.metadata.deletion_timestamp.is_none() {
        // The deletion policy applies only if a user deletes the object.
        kept.spec.deletion_policy = DeletionPolicy::Delete;
    }
    let uid = format!("{}{MARK}{endpoint}", object.uid().unwrap_or_default());
    kept.metadata.name = Some(format!("{}{MARK}{uid}", object.name_any()));
    kept.metadata.uid = Some(uid);
    let mut state = ctx.tombstones.lock();
    state.keep(ctx, object, kept.clone());
    state.waiting.push(Arc::new(kept));
    ctx.tombstones.found.notify_one();
}

/// The endpoint for which [`leave_behind`] created this tombstone; `None` if it did not create the object.
pub fn left_at(object: &ProjectMembership) -> Option<String> {
    object.metadata.name.as_deref()?.splitn(3, MARK).nth(2).map(str::to_owned)
}

/// The uid that a tombstone's object had.
pub fn uid_of(uid: &str) -> &str {
    uid.split_once(MARK).map_or(uid, |(uid, _)| uid)
}

/// Whether this name is a tombstone's.
pub fn is_one(name: &str) -> bool {
    name.contains(MARK)
}

/// The name that a tombstone's object had.
pub fn name_of(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(name, _)| name)
}

/// Adds the operator's finalizer to an object from which another writer removed it.
pub async fn put_back(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
) -> Result<Arc<ProjectMembership>, Arc<kube::Error>> {
    tell(ctx, object, "somebody took the finalizer membership.dev/revoke off: it is put back");
    let provider = ctx.providers.find(&ProviderKey::named_by(object));
    let provider = provider.as_ref().and_then(|named| named.uid()).map_or("", String::as_str);
    match in_use::hold(ctx, object, provider, None).await {
        // The finalizer is also added if the provider object is gone.
        Err(in_use::Refused::Overtaken) => write::add_finalizer(ctx, object).await.map_err(Arc::new),
        Err(in_use::Refused::Kubernetes(error)) => Err(error),
        Ok(held) => Ok(held),
    }
}

fn tell(ctx: &Context, object: &ProjectMembership, message: &str) {
    tracing::warn!(namespace = object.namespace(), name = object.name_any(), "{message}");
    ctx.events.tell(object, Happening::Failed, &[message.to_owned()], None);
}

/// Processes tombstones until nothing of them is left to revoke, or until `stopped` completes: then the passes in
/// progress are finished.
pub async fn run(ctx: Arc<Context>, stopped: impl Future<Output = ()> + Clone) {
    let mut under_way = FuturesUnordered::new();
    let mut stop = std::pin::pin!(stopped.clone());
    loop {
        let waiting = std::mem::take(&mut ctx.tombstones.lock().waiting);
        under_way.extend(waiting.into_iter().map(|object| to_its_end(&ctx, object, stopped.clone())));
        tokio::select! {
            () = &mut stop => break,
            () = ctx.tombstones.found.notified() => {}
            Some(()) = under_way.next() => {}
        }
    }
    while under_way.next().await.is_some() {}
}

async fn to_its_end(ctx: &Arc<Context>, object: Arc<ProjectMembership>, stopped: impl Future<Output = ()>) {
    let mut stopped = std::pin::pin!(stopped.fuse());
    let left_behind = left_at(&object).is_some();
    let reference =
        if left_behind { write::reference(&object) } else { write::reference(&as_kept(&object, ctx.now())) };
    let Some(kept) = ctx.tombstones.get(&reference) else {
        return;
    };
    let went = async {
        while !left_behind && !is_gone(ctx, &object).await? {
            tokio::time::sleep(FIRST_WAIT).await;
        }
        Some(())
    };
    tokio::select! {
        went = went => if went.is_none() {
            end(ctx, &kept);
            return;
        },
        () = &mut stopped => return,
    }
    if !left_behind {
        let message = "deleted after somebody took the finalizer membership.dev/revoke off: what it granted is revoked";
        tell(ctx, &object, message);
    }
    let object = kept;
    let named = object.spec.project.name.is_some() || object.spec.subject.name.is_some();
    if named && object.status.as_ref().is_none_or(|status| status.target.is_none()) {
        tokio::select! {
            () = tokio::time::sleep(LONGEST_WRITE) => {}
            () = &mut stopped => return,
        }
    }
    // From now on it is a declaration of its target.
    ctx.targets.saw(&object).into_iter().for_each(|unit| ctx.wake_unit(unit, Urgency::Revoke));
    ctx.wake(&reference);
}

/// Drops a tombstone of which nothing is left to revoke. Returns `false` if the object is not a tombstone.
pub fn end(ctx: &Context, object: &ProjectMembership) -> bool {
    if ctx.tombstones.lock().objects.remove(&write::reference(object)).is_none() {
        return false;
    }
    ctx.targets.lost(object).into_iter().for_each(|unit| ctx.wake_unit(unit, Urgency::Grant));
    ctx.providers.wake_leaving(Some(&ProviderKey::named_by(object)));
    replaced::forget_unneeded(ctx);
    tracing::info!(
        namespace = object.namespace(),
        name = name_of(&object.name_any()),
        "nothing of it is left to revoke"
    );
    true
}

/// Asks the API server whether the object is gone, or is being deleted without the operator's finalizer. The watch is
/// not sufficient: its list may be stale, and an object that can't be read any more is missing from it as well. `None`
/// if the object exists and nothing is to be revoked; `false` if the API server doesn't respond.
async fn is_gone(ctx: &Context, object: &ProjectMembership) -> Option<bool> {
    ctx.outage.is_over().await;
    let named = ListParams::default().fields(&format!("metadata.name={}", object.name_any()));
    match write::api(ctx, object).list(&named).await {
        Err(error) => {
            reporting::fault(ctx, object, &error);
            Some(false)
        }
        Ok(list) => match list.items.into_iter().find(|there| there.meta().uid == object.metadata.uid) {
            None => Some(true),
            Some(there) => {
                let ours = there.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
                (there.meta().deletion_timestamp.is_some() && !ours).then_some(true)
            }
        },
    }
}

/// The object as one that is being deleted and that has the operator's finalizer.
fn as_kept(object: &ProjectMembership, now: Timestamp) -> ProjectMembership {
    let mut kept = object.clone();
    let uid = object.uid().unwrap_or_default();
    kept.metadata.name = Some(format!("{}{MARK}{uid}", object.name_any()));
    if !is_finalized(object) {
        kept.finalizers_mut().push(FINALIZER.to_owned());
    }
    if object.metadata.deletion_timestamp.is_none() {
        // Deleting an object that has a finalizer raises its generation.
        kept.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
        kept.metadata.deletion_timestamp = Some(Time(now));
    }
    kept
}
