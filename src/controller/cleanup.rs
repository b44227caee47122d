//! The end of an object: what it managed is revoked, then the finalizer goes. A bad spec can't block it.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use super::context::Context;
use super::outcome::{Again, Outcome, Stop};
use super::reconcile::{next_look, recheck_credential};
use super::resolve::{Resolved, scene};
use super::targets::Memory;
use super::{admit, record, write};
use crate::api::membership::ProjectMembershipStatus;
use crate::api::{DeletionPolicy, ProjectMembership, Reason};
use crate::events::Happening;
use crate::layers;
use crate::member::Term;
use crate::policy::Refusal;
use crate::provider::{Error, Retry};
use crate::status::{self, Told};

/// How soon to ask again whether an heir has written down what it takes over.
const HEIR: Duration = Duration::from_secs(1);

/// What a user can do about a revocation that the provider refuses permanently.
const RELEASE: &str = "To release the object without revoking, set spec.deletionPolicy to Orphan (permanent roles stay), or let an administrator set the annotation membership.dev/abandon to \"true\" (all access stays)";

/// Whether an object that is being deleted holds nothing at the provider, so that it needn't be asked.
pub fn nothing_to_revoke(ctx: &Context, reference: &ObjectRef<ProjectMembership>, resolved: &Resolved) -> bool {
    let capabilities = resolved.capabilities();
    scene(ctx, reference, resolved, capabilities, None)
        .is_some_and(|scene| scene.acting.layer.managed.is_empty() && scene.acting.layer.carried.is_empty())
}

/// Lets the object go.
pub async fn let_go(ctx: &Context, object: &Arc<ProjectMembership>, resolved: &Resolved) -> Result<Action, Stop> {
    write::remove_finalizer(ctx, object).await?;
    if ctx.targets.kin(object).len() <= 1 {
        ctx.targets.forget(&resolved.connection.uid, &resolved.spot());
    }
    Ok(Action::await_change())
}

/// The administrator's last way out: the object goes, the access stays, and an event and a metric say so.
pub async fn abandon(ctx: &Context, object: &Arc<ProjectMembership>) -> Result<Action, Stop> {
    let managed = object.status.iter().flat_map(|status| &status.managed_roles);
    let roles: Vec<String> = managed.map(|role| role.role.clone()).collect();
    tracing::warn!(
        namespace = object.namespace(),
        name = object.name_any(),
        roles = roles.join(", "),
        "abandoned: the access stays at the provider"
    );
    ctx.events.tell(object, Happening::Abandoned, &roles, object.spec.justification.as_deref());
    ctx.metrics.abandoned();
    write::remove_finalizer(ctx, object).await?;
    Ok(Action::await_change())
}

/// After a pass over an object that is being deleted.
pub async fn finish(
    ctx: &Context,
    resolved: &Resolved,
    mut outcome: Outcome,
    memory: &mut Memory,
) -> Result<Action, Stop> {
    let object = outcome.scene.object.clone();
    let others = outcome.scene.other_layers();
    if let Some(Error::ProjectNotFound { gone: true, .. }) = outcome.error {
        tracing::info!(
            namespace = object.namespace(),
            name = object.name_any(),
            "the project is gone, and the access with it"
        );
        return let_go(ctx, &object, resolved).await;
    }
    if let (None, Some(member)) = (&outcome.error, &outcome.member) {
        let shown = record::answered_for(&outcome.scene, member.as_ref(), memory);
        if layers::record_after(&outcome.scene.acting.layer, &others, &shown, outcome.scene.now).is_empty() {
            return let_go(ctx, &object, resolved).await;
        }
    }
    let waiting = layers::heirs_to_wait_for(&outcome.scene.acting.layer, &others, outcome.scene.now);
    for (other, layer) in outcome.scene.other_objects.iter().zip(&others) {
        if waiting.iter().any(|heir| heir.uid == layer.uid) {
            ctx.wake(other);
        }
    }
    let message = match &outcome.error {
        Some(error) if error.retry() == Retry::Terminal => {
            format!("the access couldn't be revoked yet: {error}. {RELEASE}")
        }
        Some(error) => format!("the access couldn't be revoked yet: {error}"),
        None if waiting.is_empty() => format!("the access couldn't be revoked yet: {}", outcome.told.message),
        None => "another object on this target takes over some of the roles: waiting until it has written them down"
            .to_owned(),
    };
    if waiting.is_empty() || outcome.error.is_some() {
        ctx.metrics.unrevoked(outcome.told.reason);
    } else {
        outcome.again = Again::After(HEIR);
    }
    outcome.told = Told::new(Reason::RevokeFailed, message);
    let new = record::status_after(&outcome, memory);
    write::status(ctx, &object, &new).await?;
    recheck_credential(ctx, resolved, &outcome);
    Ok(Action::requeue(next_look(ctx, resolved, &outcome, &new, memory)))
}

/// Whether an object's own status says that it holds nothing at the provider.
pub fn never_acted(object: &ProjectMembership) -> bool {
    let generation = object.metadata.generation.unwrap_or_default();
    object.status.as_ref().is_some_and(|status| {
        status.observed_generation >= generation - 1
            && status.managed_roles.is_empty()
            && status.carried_roles.is_empty()
    })
}

/// Takes the finalizer off an object that holds nothing.
pub async fn release(ctx: &Context, object: &Arc<ProjectMembership>) -> Result<Action, Stop> {
    write::remove_finalizer(ctx, object).await?;
    Ok(Action::await_change())
}

/// An object that is being deleted and whose provider isn't to be had: the finalizer stays and Ready says why, unless
/// there is nothing to revoke or everything is let go of.
pub async fn without_provider(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    refusal: &Refusal,
) -> Result<Action, Stop> {
    let old = object.status.clone().unwrap_or_default();
    let managed = admit::managed(&old.managed_roles);
    let orphaned = object.spec.deletion_policy == DeletionPolicy::Orphan;
    let only_permanent = managed.values().all(|term| *term == Term::Permanent);
    if never_acted(object) || (orphaned && only_permanent && old.carried_roles.is_empty()) {
        return release(ctx, object).await;
    }
    let generation = object.metadata.generation.unwrap_or_default();
    let told = Told::new(
        Reason::RevokeFailed,
        format!(
            "the access can't be revoked: {}. Mend that, or set deletionPolicy: Orphan to leave permanent roles behind",
            refusal.message
        ),
    );
    let conditions = status::conditions(&old.conditions, &told, &[], generation, ctx.now());
    let new = ProjectMembershipStatus { conditions, ..old };
    write::status(ctx, object, &new).await?;
    ctx.metrics.unrevoked(Reason::RevokeFailed);
    Ok(Action::requeue(Duration::from_secs(60)))
}
