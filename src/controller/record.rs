//! Records what is about to be granted, in the objects themselves.

use std::sync::Arc;

use super::context::Context;
use super::faults::Stop;
use super::snapshot::Taken;
use super::state::targets::Unit;
use super::{in_use, replaced, tombstones, write};
use crate::core::record::Record;

/// Writes the records. `ends`: something is due to end that does not depend on them, so that a failure does not end the
/// pass.
pub async fn write(ctx: &Context, unit: &Unit, taken: &Taken, records: Vec<Record>, ends: bool) -> Result<(), Stop> {
    let failed_before = ctx.targets.with_memory(unit, |remembered| remembered.memory.attempt.unrecorded);
    for record in records {
        let Some(declaration) = taken.declaration(&record.uid) else { continue };
        let object = &declaration.object;
        ctx.targets.with_memory(unit, |remembered| remembered.memory.recording(&record));
        let finalize = record.finalize;
        let pending = record.pending(object);
        let written = match finalize {
            true => in_use::hold(ctx, object, &taken.connection.uid, Some(&pending)).await,
            false => write::pending_grants(ctx, object, &pending).await.map_err(Into::into),
        };
        match written {
            Ok(_) => {}
            Err(in_use::Refused::Overtaken) => return Err(Stop::Overtaken),
            Err(in_use::Refused::Kubernetes(error)) => {
                if !ends || failed_before {
                    return Err(Stop::of(object, error));
                }
                // What has to end does not wait until the API server accepts the record of what is to be granted.
                ctx.targets.with_memory(unit, |remembered| remembered.memory.attempt.unrecorded = true);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Repairs the objects before they are evaluated: a finalizer that another writer removed is added again, and the record
/// of access at the endpoint of a former provider object is separated.
pub async fn restore(ctx: &Context, unit: &Unit) -> Result<(), Stop> {
    for object in ctx.declarations(unit) {
        let fault = |error| Stop::of(&object, error);
        let mut present = object.clone();
        if ctx.tombstones.is_stripped(&object) {
            present = tombstones::put_back(ctx, &object).await.map_err(fault)?;
        }
        replaced::part(ctx, &present).await.map_err(|error| fault(Arc::new(error)))?;
    }
    Ok(())
}
