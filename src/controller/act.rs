//! Carries out one change and confirms it, and learns from a refusal which roles don't exist.

use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use super::admit::Reading;
use super::context::Context;
use super::converge::{CONFIRM_SPACING, Pass};
use super::resolve::Scene;
use super::targets::{Memory, Refused};
use crate::api::Reason;
use crate::api::event::Happening;
use crate::core::confirm::{Confirmation, confirmation};
use crate::core::member::{Change, Entry, Member};
use crate::core::plan::{Loss, Plan};
use crate::provider::error::Effect;
use crate::provider::quota::{Kind, Permit};
use crate::provider::{Error, Provider, Receipt, Urgency};

/// How long a write may stay unconfirmed before it is repaired. ZITADEL's search shows a write after 43 ms at most
/// (docs/reference/zitadel.md, "Consistency"). Repairing a write that is only late costs a few requests and changes
/// nothing.
const DEADLINE: Duration = Duration::from_secs(2);
/// How often a write is repaired before the pass gives up and reports it.
const REPAIRS: u32 = 2;

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// An observation that began after the write shows it.
    Confirmed,
    /// Another write has replaced it.
    Overtaken,
    /// The member differs from the observation that the change was planned on: another writer changed it.
    LookAgain,
    /// The provider doesn't know one of the roles, which is left out from now on. Nothing was written.
    Learnt,
    /// The provider accepted the write, and no observation could show it: the change may be in force or not.
    Unshown(Error),
    /// The change was refused with this error, and its removals were carried out alone.
    Removed(Error),
}

/// Sends a change under its permit and waits until an observation shows it. `cure`: the provider's list differs from
/// the state on which the provider decides, so that the change is made through another one (`repair`).
pub async fn carry_out(
    pass: &Pass<'_>,
    permit: Permit,
    before: Option<&Member>,
    change: &Change,
    cure: bool,
) -> Result<Sent, Error> {
    let connection = &pass.resolved.connection;
    let target = &pass.resolved.target;
    let roster = pass.roster();
    let name = pass.name();
    let urgency = permit.urgency();
    tracing::debug!(object = %pass.reference, ?target, ?change, ?before, "writing");
    let answer = if cure {
        pass.ctx.metrics.repaired();
        connection.provider.repair(&permit, target, name, change, before).await
    } else {
        connection.provider.apply(&permit, target, name, change).await
    };
    drop(permit);
    roster.write_answered(answer.as_ref().err());
    match answer {
        Ok(receipt) => {
            roster.wrote(&target.subject_id, written(pass, change, receipt));
            let sent = confirm(pass, change, receipt, urgency).await.unwrap_or_else(|error| {
                roster.doubt(&target.subject_id);
                match error {
                    Error::Changed { .. } => Sent::LookAgain,
                    error => Sent::Unshown(error),
                }
            });
            if let (Sent::Confirmed, Some(why)) = (&sent, receipt.kept) {
                report_kept(pass, why);
            }
            Ok(sent)
        }
        Err(Error::Changed { .. }) => {
            roster.doubt(&target.subject_id);
            Ok(Sent::LookAgain)
        }
        Err(error) => {
            // If a change takes several requests, the first may have been carried out.
            if error.effect() == Effect::Unknown || matches!(change, Change::Recreate(_)) {
                roster.doubt(&target.subject_id);
            }
            Err(error)
        }
    }
}

/// The member that a change should result in.
fn written(pass: &Pass<'_>, change: &Change, receipt: Receipt) -> Option<Member> {
    let kept = receipt.kept.and(pass.capabilities().empty_role).map(|role| vec![Entry::permanent(role)]);
    let entries = match change {
        Change::Remove => kept?,
        Change::Create(entries) | Change::Replace(entries) | Change::Recreate(entries) => entries.clone(),
    };
    let subject_id = pass.resolved.target.subject_id.clone();
    Some(Member { subject_id, entries, memberships: 1, version: receipt.version })
}

/// Reports that a membership could not be removed and no longer gives any access.
fn report_kept(pass: &Pass<'_>, why: &str) {
    let role = pass.capabilities().empty_role.unwrap_or_default();
    let message = format!("the membership has no access any more and stays with the role {role:?}: {why}");
    tracing::warn!(object = %pass.reference, "{message}");
    if let Some(object) = pass.resolved.object(pass.ctx, pass.reference) {
        let justification = object.spec.justification.as_deref();
        pass.ctx.events.tell(&object, Happening::MembershipKept, &[message], justification);
    }
}

/// Waits until an observation that began after the write shows it, and repeats by a repair what the provider lost.
async fn confirm(pass: &Pass<'_>, change: &Change, mut receipt: Receipt, urgency: Urgency) -> Result<Sent, Error> {
    let connection = &pass.resolved.connection;
    let target = &pass.resolved.target;
    let roster = pass.roster();
    for repaired in 0..=REPAIRS {
        let deadline = Instant::now() + DEADLINE;
        let mut pause = Duration::from_millis(20);
        let mut not_before = Instant::now();
        let shown = loop {
            let asker = pass.asker(urgency, CONFIRM_SPACING);
            let sighting = roster.observe(&connection.provider, asker, &target.subject_id, Some(not_before)).await?;
            match confirmation(change, receipt, sighting.member.as_ref(), pass.capabilities()) {
                Confirmation::Shown => return Ok(Sent::Confirmed),
                Confirmation::Overtaken => return Ok(Sent::Overtaken),
                Confirmation::NotYet if Instant::now() >= deadline => break sighting.member,
                Confirmation::NotYet => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
            not_before = Instant::now();
        };
        if repaired < REPAIRS {
            pass.ctx.metrics.repaired();
            tracing::info!(object = %pass.reference, ?target, "the provider accepted a write and its list doesn't show it: repairing it");
            let permit = connection.quota.permit(Kind::Write, urgency, pass.namespace).await;
            receipt = connection.provider.repair(&permit, target, pass.name(), change, shown.as_ref()).await?;
            drop(permit);
            roster.wrote(&target.subject_id, written(pass, change, receipt));
        } else if shown.is_none() && *change != Change::Remove {
            let permit = connection.quota.permit(Kind::Read, urgency, pass.namespace).await;
            connection.provider.explain_absence(&permit, target).await?;
        }
    }
    Err(Error::Unconfirmed {
        message: format!(
            "the provider answered the write with yes, but {} s and {REPAIRS} repairs later its list of project {} doesn't show it; trying again",
            DEADLINE.as_secs() * u64::from(REPAIRS + 1),
            target.project.id
        ),
    })
}

/// Stores which declared roles don't exist, as a refusal shows. Returns `true` if it is worth planning again without
/// them.
pub fn learn(memory: &mut Memory, scene: &Scene, plan: &Plan, change: &Change, error: &Error) -> bool {
    let Error::RoleNotFound { role, message } = error else {
        return false;
    };
    let sent = |role: &String| change.outcome().iter().any(|entry| entry.role == *role);
    let culprits: Vec<String> = match role {
        Some(role) if sent(role) => vec![role.clone()],
        // The provider named no role that was sent: it must be one that the provider hasn't accepted before.
        Some(_) | None => plan.gained().to_vec(),
    };
    let layers = scene.layers();
    let mut learnt = false;
    for culprit in culprits {
        let declared = layers.iter().any(|layer| layer.grants.iter().any(|grant| grant.role == culprit));
        if !declared {
            continue;
        }
        let refused = memory.refused.entry(culprit).or_insert_with(|| {
            learnt = true;
            Refused { message: message.clone(), at: Instant::now(), asked_by: Default::default() }
        });
        refused
            .asked_by
            .insert((scene.object.uid().unwrap_or_default(), scene.object.metadata.generation.unwrap_or_default()));
    }
    learnt
}

/// Wakes the objects that were not allowed to take away an unmanaged role that is gone now.
pub fn wake_not_allowed(ctx: &Context, scene: &Scene, plan: &Plan) {
    if plan.lost().iter().any(|(_, loss)| *loss == Loss::Unexpected) {
        let waiting = |reading: &Reading| reading.aside.as_ref().is_some_and(|a| a.reason == Reason::NotAllowed);
        let others = scene.other_objects.iter().zip(&scene.others);
        others.filter(|(_, reading)| waiting(reading)).for_each(|(object, _)| ctx.wake(object));
    }
}
