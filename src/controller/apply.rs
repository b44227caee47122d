//! Sends one write to the provider, under its permit.

use super::context::Context;
use super::roster::Roster;
use super::snapshot::ConnectedSnapshot;
use super::state::targets::Unit;
use crate::core::error::{Effect, Error};
use crate::core::member::{Change, Entry, Member, Receipt};
use crate::core::snapshot::Snapshot;
use crate::core::write::{PlannedWrite, WritePurpose};
use crate::provider::AnyProvider;
use crate::provider::quota::Permit;

/// Sends a write and notes its response. Whether it is in force is decided by the next steps.
pub async fn send(ctx: &Context, unit: &Unit, taken: &ConnectedSnapshot, permit: Permit, apply: PlannedWrite) {
    let ConnectedSnapshot { snapshot, connection, roster, .. } = taken;
    if apply.is_repair() {
        ctx.metrics.repaired.inc();
    }
    let answer = carry_out(&connection.provider, roster, snapshot, permit, &apply).await;
    let now = tokio::time::Instant::now().into_std();
    ctx.targets.with_memory(unit, |remembered| {
        remembered.memory.answered(apply, answer, |role| snapshot.declares(role), now);
    });
}

/// Sends a write, and notes its result in the roster.
pub async fn carry_out(
    provider: &AnyProvider,
    roster: &Roster,
    snapshot: &Snapshot,
    permit: Permit,
    apply: &PlannedWrite,
) -> Result<Receipt, Error> {
    let (target, name) = (&snapshot.target, snapshot.subject_name());
    let PlannedWrite { change, purpose, before, .. } = apply;
    tracing::debug!(?target, ?change, ?purpose, ?before, "writing");
    let answer = if apply.is_repair() {
        tracing::info!(?target, "the provider accepted a write and does not show it: repairing it");
        provider.repair(&permit, target, name, change, before.as_ref()).await
    } else {
        provider.apply(&permit, target, name, change).await
    };
    drop(permit);
    roster.write_answered(answer.as_ref().err());
    match &answer {
        // No list confirms it now, because the list failed.
        Ok(_) if *purpose == WritePurpose::EndUnlisted => roster.doubt(&target.subject_id),
        Ok(receipt) => roster.wrote(&target.subject_id, written(snapshot, change, *receipt)),
        Err(error) => {
            // If a change takes several requests, the first may have been carried out.
            let is_partly_done = matches!(change, Change::Recreate(_)) || *purpose == WritePurpose::Repair;
            let is_changed = matches!(error, Error::Changed { .. });
            if is_changed || is_partly_done || error.effect() == Effect::Unknown {
                roster.doubt(&target.subject_id);
            }
            tracing::debug!(?target, ?purpose, %error, "the write failed");
        }
    }
    answer
}

/// Determines why a member that the provider accepted is not listed.
pub async fn explain(ctx: &Context, unit: &Unit, taken: &ConnectedSnapshot, permit: Permit) {
    let ConnectedSnapshot { snapshot, connection, .. } = taken;
    let answer = connection.provider.explain_absence(&permit, &snapshot.target).await;
    drop(permit);
    ctx.targets.with_memory(unit, |remembered| remembered.memory.explained(answer, snapshot));
}

/// The member that a change should result in.
fn written(snapshot: &Snapshot, change: &Change, receipt: Receipt) -> Option<Member> {
    let kept = receipt.kept.and(snapshot.provider.capabilities.empty_role).map(|role| vec![Entry::permanent(role)]);
    let entries = match change {
        Change::Remove => kept?,
        Change::Create(entries) | Change::Replace(entries) | Change::Recreate(entries) => entries.clone(),
    };
    Some(Member { subject_id: snapshot.target.subject_id.clone(), entries, memberships: 1, version: receipt.version })
}
