//! Tombstones: objects that were deleted although the operator had not released them. Another writer removed the
//! operator's finalizer, and what they granted is still at the provider.
//!
//! Such an object is kept as it was last seen, as an object that is being deleted and has the operator's finalizer,
//! under a name that no real object can have. It goes through the same pipeline as any other object; its status is kept
//! here instead of at the API server. A new object with the former name is a separate object. All tombstones are lost
//! when the process ends.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use kube::api::ListParams;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::context::Context;
use super::faults::EarlyEnd;
use super::provider_key::ProviderKey;
use super::queue::NextPass;
use super::state::outage::FaultScope;
use super::state::targets::Unit;
use super::state::tombstones::{FinalizerState, MARK, Tombstone, TombstoneState, as_kept, name_of, uid_of};
use super::{in_use, write};
use crate::api::event::EventKind;
use crate::api::membership::{ManagedRole, ProviderKind};
use crate::api::{DeletionPolicy, FINALIZER, ProjectMembership};
use crate::core::snapshot::is_finalized;
use crate::provider::Urgency;

/// The wait between two attempts to read whether an object no longer exists.
const RETRY: Duration = Duration::from_millis(500);
/// An upper bound for a write's duration: after it, a user who was being invited can be found by name.
const LONGEST_WRITE: Duration = Duration::from_secs(35);

/// Processes an event of the watch. It must be called before the operator's own writes of the object are dropped.
///
/// Before this replica begins to act, it only records which objects have the finalizer, because the replica that led
/// until then removed finalizers as well.
pub fn on_event(ctx: &Context, event: &Event<ProjectMembership>) {
    let acts = ctx.begun.is_ready();
    let mut state = ctx.tombstones.lock();
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let uid = object.uid().unwrap_or_default();
            if is_finalized(object) {
                state.holds.entry(uid).or_insert(FinalizerState::Ours);
            } else if object.metadata.deletion_timestamp.is_some() && state.misses(&uid) && acts {
                // Finalizers of other controllers keep the object for now.
                state.holds.insert(uid, FinalizerState::Released);
                found(&mut state, ctx, Arc::new(object.clone()));
            }
        }
        Event::Delete(object) => {
            let held = state.holds.remove(&object.uid().unwrap_or_default());
            if held == Some(FinalizerState::Ours) && acts {
                found(&mut state, ctx, Arc::new(object.clone()));
            }
        }
        // The store still shows the objects from before the list.
        Event::Init if acts => {
            let held = ctx.memberships.filter(|object| object.uid().is_some_and(|uid| state.misses(&uid)));
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
                    if let Some(object) = ctx.written.newer(|| Some(object)) {
                        found(&mut state, ctx, object);
                    }
                }
            }
        }
    }
}

fn found(state: &mut TombstoneState, ctx: &Context, object: Arc<ProjectMembership>) {
    keep(state, ctx, &object, as_kept(&object, ctx.now()), None);
}

/// Keeps a tombstone of `object`. Its first pass confirms the deletion, unless it is a declaration from `since` on.
fn keep(
    state: &mut TombstoneState,
    ctx: &Context,
    object: &ProjectMembership,
    mut kept: ProjectMembership,
    since: Option<Instant>,
) {
    if object.spec.provider_ref.kind == ProviderKind::ClusterMembershipProvider
        && let Some(status) = &mut kept.status
    {
        let (record, trusted) =
            (ctx.written.trusted_record(object).into_iter(), ctx.written.trusted(object, iter::empty()));
        let is_trusted = |managed: &ManagedRole| trusted.as_ref().is_none_or(|t| t.contains(&managed.role));
        status.managed_roles = record.filter(is_trusted).collect();
    }
    let (reference, object) = (write::reference(&kept), Arc::new(kept));
    state.objects.insert(reference, Tombstone { object: object.clone(), since });
    ctx.wake_unit(Unit::of_object(&object), Urgency::Revoke);
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
    keep(&mut ctx.tombstones.lock(), ctx, object, kept, Some(Instant::now()));
}

/// Adds the operator's finalizer to an object from which another writer removed it.
pub async fn put_back(ctx: &Context, object: &Arc<ProjectMembership>) -> Result<Arc<ProjectMembership>, EarlyEnd> {
    warn(ctx, object, "the finalizer membership.dev/revoke was removed: it is added again");
    let provider = ctx.providers.find(&ProviderKey::named_by(object));
    let provider = provider.as_ref().map_or("", |named| named.uid());
    match in_use::hold(ctx, object, provider, None).await {
        // The finalizer is also added if the provider object was deleted.
        Err(EarlyEnd::Overtaken) => {
            write::add_finalizer(ctx, object).await.map_err(|error| EarlyEnd::of(object, error))
        }
        held => held,
    }
}

fn warn(ctx: &Context, object: &ProjectMembership, message: &str) {
    tracing::warn!(namespace = object.namespace(), name = name_of(&object.name_any()), "{message}");
    ctx.events.emit(object, EventKind::Failed, &[message.to_owned()], None);
}

/// Makes a tombstone a declaration of its target, when its deletion is confirmed and no invitation of its user is in
/// progress any more. Returns when the pass over it continues; `None`: now, or the unit is not a tombstone.
pub async fn confirm<G>(ctx: &Context, unit: &Unit) -> Result<Option<NextPass<G>>, EarlyEnd> {
    let first = ctx.targets.declarations(unit).into_iter().next();
    let Some(Tombstone { object, since }) = first.and_then(|reference| ctx.tombstones.find(&reference)) else {
        return Ok(None);
    };
    let since = match since {
        Some(since) => since,
        None => match is_gone(ctx, &object).await {
            Ok(true) => {
                warn(
                    ctx,
                    &object,
                    "deleted after the finalizer membership.dev/revoke was removed: what it granted is revoked",
                );
                let named = object.spec.project.name.is_some() || object.spec.subject.name.is_some();
                let is_unknown = named && object.status.as_ref().is_none_or(|status| status.target.is_none());
                let since = Instant::now() + if is_unknown { LONGEST_WRITE } else { Duration::ZERO };
                ctx.tombstones.is_declaration(&object, since);
                since
            }
            Ok(false) => {
                end(ctx, &object);
                return Ok(Some(NextPass::until_woken()));
            }
            // The CRD is missing. Nothing would start another pass.
            Err(error) if FaultScope::of(&error) == FaultScope::Gone => return Ok(Some(NextPass::after(RETRY))),
            Err(error) => return Err(EarlyEnd::of(&object, error)),
        },
    };
    let left = since.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        return Ok(Some(NextPass::after(left)));
    }
    ctx.wake_units(ctx.enter(&object), Urgency::Revoke);
    let own = ctx.targets.unit_of(&write::reference(&object));
    Ok((own != *unit).then(|| {
        ctx.wake_unit(own, Urgency::Revoke);
        NextPass::until_woken()
    }))
}

/// Drops a tombstone of which nothing is left to revoke. Returns `false` if the object is not a tombstone.
pub fn end(ctx: &Context, object: &ProjectMembership) -> bool {
    if ctx.tombstones.lock().objects.remove(&write::reference(object)).is_none() {
        return false;
    }
    ctx.wake_units(ctx.targets.lost(object), Urgency::Grant);
    ctx.wake_leaving(Some(&ProviderKey::named_by(object)));
    tracing::info!(
        namespace = object.namespace(),
        name = name_of(&object.name_any()),
        "nothing of it is left to revoke"
    );
    true
}

/// Reads from the API server whether the object no longer exists, or is being deleted without the operator's finalizer.
/// The watch is not sufficient: its list may be stale, and an object that can no longer be decoded is missing from it
/// as well.
async fn is_gone(ctx: &Context, tombstone: &ProjectMembership) -> Result<bool, kube::Error> {
    let (name, uid) = (tombstone.name_any(), tombstone.uid());
    let named = ListParams::default().fields(&format!("metadata.name={}", name_of(&name)));
    let list = write::api(ctx, tombstone).list(&named).await?;
    let there = list.items.iter().map(Resource::meta).find(|there| there.uid.as_deref() == uid.as_deref().map(uid_of));
    Ok(there.is_none_or(|there| {
        let ours = there.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
        there.deletion_timestamp.is_some() && !ours
    }))
}
