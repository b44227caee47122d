//! Records what is about to be granted, in the objects themselves.

use kube::ResourceExt;
use kube::core::Status;

use super::context::Context;
use super::faults::{EarlyEnd, ObjectFault};
use super::snapshot::ConnectedSnapshot;
use super::state::targets::Unit;
use super::state::tombstones::is_one;
use super::{in_use, replaced, tombstones, write};
use crate::api::membership::PendingGrants;
use crate::core::record::Record;

/// Writes the records. `ends`: something is due to end that does not depend on them, so that a failure does not end the
/// pass.
pub async fn write(
    ctx: &Context,
    unit: &Unit,
    taken: &ConnectedSnapshot,
    records: Vec<Record>,
    ends: bool,
) -> Result<(), EarlyEnd> {
    let failed_before = ctx.targets.with_memory(unit, |remembered| remembered.memory.attempt.unrecorded);
    for record in records {
        let Some(declaration) = taken.declaration(&record.uid) else { continue };
        let object = &declaration.object;
        ctx.targets.with_memory(unit, |remembered| remembered.memory.recording(&record));
        let finalize = record.finalize;
        let pending = record.pending(object);
        let written = match finalize {
            true => in_use::hold(ctx, object, &taken.connection.uid, Some(&pending)).await,
            false => write::pending_grants(ctx, object, &pending).await.map_err(|error| EarlyEnd::of(object, error)),
        };
        match written {
            // A record that cannot be decoded would be written again and again.
            Ok(written) if PendingGrants::of(&written).is_none() && !is_one(&written.name_any()) => {
                return Err(EarlyEnd::of(object, unreadable()));
            }
            Ok(_) => {}
            Err(EarlyEnd::Faults(_)) if ends && !failed_before => {
                // What has to end does not wait until the API server accepts the record of what is to be granted.
                ctx.targets.with_memory(unit, |remembered| remembered.memory.attempt.unrecorded = true);
                return Ok(());
            }
            Err(stop) => return Err(stop),
        }
    }
    Ok(())
}

/// Repairs the objects before they are evaluated: a finalizer that another writer removed is added again, and the record
/// of access at the endpoint of a former provider object is separated. Returns the faults that do not prevent the
/// evaluation.
pub async fn restore(ctx: &Context, unit: &Unit) -> Result<Vec<ObjectFault>, EarlyEnd> {
    let mut faults = Vec::new();
    for object in ctx.declarations(unit) {
        let mut present = object.clone();
        if ctx.tombstones.is_stripped(&object) {
            match tombstones::put_back(ctx, &object).await {
                Ok(restored) => present = restored,
                Err(EarlyEnd::Faults(more)) => faults.extend(more),
                Err(EarlyEnd::Overtaken) => return Err(EarlyEnd::Overtaken),
            }
        }
        replaced::part(ctx, &present).await.map_err(|error| EarlyEnd::of(&present, error))?;
    }
    Ok(faults)
}

/// The refusal of a record that has more roles than a status may contain.
fn unreadable() -> kube::Error {
    let message = "the record of the roles that this object may have granted is too large: the provider has refused to remove roles for so long that no more can be recorded; first correct the problem in the condition Ready";
    kube::Error::Api(Box::new(Status { code: 413, ..Status::failure(message, "RequestEntityTooLarge") }))
}
