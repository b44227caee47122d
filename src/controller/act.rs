//! One change, carried out and confirmed; and what is learnt and told of it.

use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use super::admit::Reading;
use super::context::Context;
use super::converge::{CONFIRM_SPACING, Pass};
use super::resolve::Scene;
use super::targets::{Memory, Refused};
use crate::api::Reason;
use crate::confirm::{Confirmation, confirmation};
use crate::events::Happening;
use crate::layers::Layer;
use crate::member::{Change, Member};
use crate::plan::{Loss, Plan};
use crate::provider::error::Effect;
use crate::provider::quota::{Kind, Permit};
use crate::provider::{Error, Provider, Receipt, Urgency};

/// How long a write may go unshown before it is healed.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often a write is healed before the pass gives up and says so.
const HEALS: u32 = 2;

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// An observation that began after it shows it.
    Confirmed,
    /// Something else was written since.
    Overtaken,
    /// The member wasn't what it was taken for: nothing was written.
    LookAgain,
    /// The provider doesn't know a role of the list, which is left out from now on: nothing was written.
    Learnt,
    /// The provider said yes, and no observation could show it: it may be in force or not.
    Unshown(Error),
    /// The change was refused with this error, and what was to go went alone.
    Removed(Error),
}

/// Sends a change under its permit and waits until an observation shows it. `cure`: what is listed isn't what the
/// provider believes in, so that the change is made by way of another.
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
        pass.ctx.metrics.healed();
        connection.provider.heal(&permit, target, name, change, before).await
    } else {
        connection.provider.apply(&permit, target, name, change).await
    };
    drop(permit);
    match answer {
        Ok(receipt) => {
            roster.wrote(&target.subject_id, written(change, &target.subject_id, receipt));
            Ok(confirm(pass, change, receipt, urgency).await.unwrap_or_else(|error| {
                roster.doubt(&target.subject_id);
                Sent::Unshown(error)
            }))
        }
        Err(Error::Changed { .. }) => {
            roster.doubt(&target.subject_id);
            Ok(Sent::LookAgain)
        }
        Err(error) => {
            // Of several requests the first may have been carried out.
            if error.effect() == Effect::Unknown || matches!(change, Change::Recreate(_)) {
                roster.doubt(&target.subject_id);
            }
            Err(error)
        }
    }
}

/// The row that a change should make.
fn written(change: &Change, subject_id: &str, receipt: Receipt) -> Option<Member> {
    (*change != Change::Remove).then(|| Member {
        subject_id: subject_id.to_owned(),
        entries: change.outcome().to_vec(),
        memberships: 1,
        version: receipt.version,
    })
}

/// Waits until an observation that began after the write shows it, and heals what the provider lost.
async fn confirm(pass: &Pass<'_>, change: &Change, mut receipt: Receipt, urgency: Urgency) -> Result<Sent, Error> {
    let connection = &pass.resolved.connection;
    let target = &pass.resolved.target;
    let roster = pass.roster();
    for healed in 0..=HEALS {
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
        if healed < HEALS {
            pass.ctx.metrics.healed();
            tracing::warn!(object = %pass.reference, ?target, "the provider answered a write with yes and doesn't show it: writing it again another way");
            let permit = connection.quota.permit(Kind::Write, urgency, pass.namespace).await;
            receipt = connection.provider.heal(&permit, target, pass.name(), change, shown.as_ref()).await?;
            drop(permit);
            roster.wrote(&target.subject_id, written(change, &target.subject_id, receipt));
        } else if shown.is_none() && *change != Change::Remove {
            let permit = connection.quota.permit(Kind::Read, urgency, pass.namespace).await;
            connection.provider.explain_absence(&permit, target).await?;
        }
    }
    Err(Error::Unconfirmed {
        message: format!(
            "the provider answered the write with yes, but {} s and {HEALS} repairs later its list of project {} doesn't show it; trying again",
            DEADLINE.as_secs() * u64::from(HEALS + 1),
            target.project.id
        ),
    })
}

/// Learns from a refusal which declared roles don't exist. `true`: planning again without them is worth a try.
pub fn learn(memory: &mut Memory, scene: &Scene, plan: &Plan, change: &Change, error: &Error) -> bool {
    let Error::RoleNotFound { role, message } = error else {
        return false;
    };
    let sent = |role: &String| change.outcome().iter().any(|entry| entry.role == *role);
    let culprits: Vec<String> = match role {
        Some(role) if sent(role) => vec![role.clone()],
        // The provider named none: one of those that it hasn't taken before.
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

/// Tells what a confirmed change did: events, metrics, one line in the log.
pub fn tell(ctx: &Context, scene: &Scene, plan: &Plan) {
    let settled = super::record::settled(&scene.object);
    let recorded = |role: &String| scene.acting.layer.managed.contains_key(role);
    let (repaired, granted): (Vec<String>, Vec<String>) =
        plan.gained().iter().cloned().partition(|role| settled && recorded(role));
    tell_roles(ctx, scene, Happening::Granted, &granted);
    tell_roles(ctx, scene, Happening::DriftedBack, &repaired);
    tell_losses(ctx, scene, plan);
}

/// Tells which roles went, and measures how late an end was.
pub fn tell_losses(ctx: &Context, scene: &Scene, plan: &Plan) {
    let of = |wanted: Loss| {
        plan.lost().iter().filter(|(_, loss)| *loss == wanted).map(|(role, _)| role.clone()).collect::<Vec<_>>()
    };
    tell_roles(ctx, scene, Happening::Revoked, &of(Loss::Revoked));
    tell_roles(ctx, scene, Happening::Expired, &of(Loss::Expired));
    let strangers = of(Loss::Unexpected);
    tell_roles(ctx, scene, Happening::DriftedAway, &strangers);
    if !strangers.is_empty() {
        // Whoever wasn't allowed to take them away may have waited for somebody who is.
        let waiting = |reading: &Reading| reading.aside.as_ref().is_some_and(|a| a.reason == Reason::NotAllowed);
        let others = scene.other_objects.iter().zip(&scene.others);
        others.filter(|(_, reading)| waiting(reading)).for_each(|(object, _)| ctx.wake(object));
    }
    let now = scene.clock(ctx);
    for role in of(Loss::Expired) {
        if let Some(end) = scene.layers().iter().filter_map(|layer: &Layer| layer.managed.get(&role)?.end()).max() {
            ctx.metrics.lateness(now.duration_since(end));
        }
    }
}

fn tell_roles(ctx: &Context, scene: &Scene, happening: Happening, roles: &[String]) {
    if roles.is_empty() {
        return;
    }
    let object = &scene.object;
    let justification = object.spec.justification.as_deref();
    tracing::info!(
        namespace = object.namespace().unwrap_or_default(),
        name = object.name_any(),
        project = scene.target_status.project_id,
        subject = scene.target_status.subject_id,
        roles = roles.join(", "),
        justification,
        "{}",
        happening.reason()
    );
    ctx.events.tell(object, happening, roles, justification);
}
