//! The end of an object: its finalizer is removed when nothing of it is left to revoke. An invalid spec can't block this.

use std::sync::Arc;

use kube::ResourceExt;

use super::context::Context;
use super::faults::EarlyEnd;
use super::snapshot::ConnectedSnapshot;
use super::{tombstones, write};
use crate::api::ProjectMembership;
use crate::api::event::EventKind;
use crate::core::report::{RemainingAccess, released};
use crate::core::step::Release;

/// Releases declarations of a target.
pub async fn all(ctx: &Context, taken: &ConnectedSnapshot, releases: Vec<Release>) -> Result<(), EarlyEnd> {
    for Release { uid, is_abandoned } in releases {
        if let Some(declaration) = taken.declaration(&uid) {
            match is_abandoned {
                true => abandon(ctx, &declaration.object).await?,
                false => release(ctx, &declaration.object).await?,
            }
        }
    }
    Ok(())
}

/// The administrator's last resort: the object is released and its access is left in place, with an event and a metric.
pub async fn abandon(ctx: &Context, object: &Arc<ProjectMembership>) -> Result<(), EarlyEnd> {
    let managed = object.status.iter().flat_map(|status| &status.managed_roles);
    let roles: Vec<String> = managed.map(|role| role.role.clone()).collect();
    tracing::warn!(
        namespace = object.namespace(),
        name = object.name_any(),
        roles = roles.join(", "),
        "abandoned: the access remains at the provider"
    );
    ctx.events.emit(object, EventKind::Abandoned, &roles, object.spec.justification.as_deref());
    ctx.metrics.abandoned.inc();
    release_as(ctx, object, RemainingAccess::Abandoned).await
}

/// Removes the finalizer from an object that holds nothing.
pub async fn release(ctx: &Context, object: &Arc<ProjectMembership>) -> Result<(), EarlyEnd> {
    release_as(ctx, object, RemainingAccess::of(object)).await
}

/// Removes the operator's finalizer. If another controller's finalizer keeps the object, the status first reports what
/// happened to the access, because the operator doesn't write the status after that.
async fn release_as(ctx: &Context, object: &Arc<ProjectMembership>, left: RemainingAccess) -> Result<(), EarlyEnd> {
    if tombstones::end(ctx, object) {
        ctx.reports.forget(&ctx.metrics, &object.uid().unwrap_or_default());
        return Ok(());
    }
    let stopped = |error| EarlyEnd::of(object, error);
    let mut object = object.clone();
    if let Some(status) = released(&object, left, ctx.now()) {
        match write::status(ctx, &object, &status).await {
            Ok(written) => object = written,
            Err(error) if write::is_conflict(&error) => return Err(stopped(error)),
            // Only access justifies keeping an object: it isn't kept because its status could not be written.
            Err(error) => tracing::debug!(%error, "the status of a released object was not written"),
        }
    }
    write::remove_finalizer(ctx, &object).await.map_err(stopped)?;
    ctx.reports.forget(&ctx.metrics, &object.uid().unwrap_or_default());
    Ok(())
}
