//! A pass over one object that does not share the pass of a target: a name in it is not resolved yet, or its target has
//! too many declarations.

use std::sync::Arc;

use tokio::time::Instant;

use super::connections::Connection;
use super::context::Context;
use super::faults::EarlyEnd;
use super::names::{self, LookupEnd};
use super::provider_object::ProviderObject;
use super::queue::NextPass;
use super::resolve::{Resolved, Unresolved, resolve};
use super::state::targets::Unit;
use super::{precedence, record, release, report, tombstones, write};
use crate::api::{ProjectMembership, Reason};
use crate::core::evaluation::beyond_the_bound;
use crate::core::report::never_acted;
use crate::core::snapshot::is_status_lost;
use crate::provider::Urgency;

/// One pass over one object.
pub async fn pass<G>(ctx: &Context, unit: &Unit) -> Result<NextPass<G>, EarlyEnd> {
    if let Some(next) = tombstones::confirm(ctx, unit).await? {
        return Ok(next);
    }
    let faults = record::restore(ctx, unit).await?;
    if !faults.is_empty() {
        return Err(EarlyEnd::Faults(faults));
    }
    let Some(object) = ctx.declarations(unit).into_iter().next() else {
        return Ok(NextPass::until_woken());
    };
    match resolve(ctx, &object) {
        Err(Unresolved::Checking) => Ok(NextPass::until_woken()),
        Err(Unresolved::Named(connection, named)) => names_first(ctx, &object, &connection, &named).await,
        Err(Unresolved::Refused(refusal)) => report::unresolved(ctx, vec![(object, refusal)]).await,
        Ok(resolved) => without_place(ctx, object, &resolved).await,
    }
}

/// The object has no place among the declarations of its target. It gets one when it may be carried out and another one
/// is deleted.
async fn without_place<G>(
    ctx: &Context,
    object: Arc<ProjectMembership>,
    resolved: &Resolved,
) -> Result<NextPass<G>, EarlyEnd> {
    let now = ctx.now();
    let evaluated = precedence::alone(ctx, &object, resolved, now);
    let claims = precedence::claims_place(ctx, &object, resolved, now);
    ctx.wake_units(ctx.targets.may_count(&object, claims), Urgency::Grant);
    if !ctx.targets.is_beyond_bound(&object) {
        return Ok(NextPass::until_woken());
    }
    if object.metadata.deletion_timestamp.is_some() && evaluated.holds_nothing() {
        release::release(ctx, &object).await?;
        return Ok(NextPass::until_woken());
    }
    let of_its_own = evaluated.inactive.filter(|_| !evaluated.compares);
    let refusal = of_its_own.unwrap_or_else(beyond_the_bound);
    let reported = report::unresolved(ctx, vec![(object, refusal)]).await?;
    Ok(reported.or_earlier(NextPass::after(resolved.connection.resync.provider())))
}

/// Looks up the names of an object.
async fn names_first<G>(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    connection: &Arc<Connection>,
    named: &Arc<dyn ProviderObject>,
) -> Result<NextPass<G>, EarlyEnd> {
    if object.metadata.deletion_timestamp.is_some() && never_acted(object) {
        release::release(ctx, object).await?;
        return Ok(NextPass::until_woken());
    }
    let began = Instant::now();
    match names::look_up(ctx, object, connection, named).await {
        Ok(()) => {
            report::note_provider(ctx, connection, None, Some(began));
            // Its target's pass is due.
            Ok(NextPass::until_woken())
        }
        Err(LookupEnd::Gone) => Ok(NextPass::until_woken()),
        Err(LookupEnd::Stopped(stop)) => Err(stop),
        Err(LookupEnd::Overtaken) => Ok(NextPass::now()),
        Err(LookupEnd::Later) => {
            let object = ctx.latest(&write::reference(object));
            let edge = object.and_then(|object| object.status.as_ref()?.next_transition_time);
            Ok(NextPass::at(edge.map(|edge| (Instant::now() + ctx.until(edge), Urgency::Grant))))
        }
        Err(LookupEnd::Refused { refusal, retry }) => {
            report::note_provider(ctx, connection, Some(refusal.reason), None);
            let Some(object) = ctx.still_there(object) else {
                return Ok(NextPass::until_woken());
            };
            // The name was never resolved, and the provider has no such subject or project, so that there is nothing to
            // revoke. A lost status may have contained the id that the name was resolved to at that time: then the
            // object is kept.
            let never_resolved =
                !is_status_lost(&object) && matches!(refusal.reason, Reason::SubjectNotFound | Reason::ProjectNotFound);
            if object.metadata.deletion_timestamp.is_some() && never_resolved {
                release::release(ctx, &object).await?;
                return Ok(NextPass::until_woken());
            }
            let retry = retry.and_then(|retry| names::retry_after(retry, ctx.targets.not_found(&object)));
            let again = retry.unwrap_or(connection.resync.provider());
            let reported = report::unresolved(ctx, vec![(object, refusal)]).await?;
            Ok(reported.or_earlier(NextPass::after(again)))
        }
    }
}
