//! The driver: one pass over one target, with one call for each stage of the pipeline in `lib.rs`. What to do next is
//! decided by [`step::next_step`]; here it is carried out.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::Instrument;

use super::context::Context;
use super::queue::{Brought, Pause, Ticket, Wait};
use super::roster::{Asker, Roster};
use super::snapshot::{self, Found, Taken};
use super::state::targets::{Remembered, Unit};
use super::{apply, faults, object, record, release, report};
use crate::core::memory::Confirmed;
use crate::core::step::{self, Next, Observe, Step};
use crate::provider::Urgency;
use crate::provider::quota::{Kind, Permit};

/// Runs one pass: until everything is reported, or something has to be waited for.
pub async fn pass(ctx: Arc<Context>, unit: Arc<Unit>, brought: Option<Brought>) -> Pause<Brought> {
    if !ctx.begun.is_ready() {
        // When this replica begins to lead, there is a pass over every target.
        return Pause::until_woken();
    }
    let began = Instant::now();
    let span = report::span(&ctx, &unit);
    let outcome = match &*unit {
        Unit::Object(_) => object::pass(&ctx, &unit).instrument(span).await,
        Unit::Target(..) => target(&ctx, &unit, brought).instrument(span).await,
    };
    ctx.metrics.pass(began.elapsed(), outcome.is_ok());
    outcome.unwrap_or_else(|stop| faults::pause(&ctx, &stop))
}

/// One pass over all declarations of a target.
async fn target(
    ctx: &Arc<Context>,
    unit: &Arc<Unit>,
    brought: Option<Brought>,
) -> Result<Pause<Brought>, faults::Stop> {
    let mut permit = None;
    match brought {
        Some(Brought::Permit(brought)) => permit = Some(brought),
        Some(Brought::Listed(not_before, outcome)) => {
            ctx.targets.with_memory(unit, |remembered| remembered.memory.listed(not_before.into_std(), outcome));
        }
        None => {}
    }
    Box::pin(record::restore(ctx, unit)).await?;
    loop {
        let Found { unresolved, taken } = snapshot::take(ctx, unit);
        let reported = Box::pin(report::unresolved(ctx, unresolved)).await;
        let Some(taken) = taken else {
            return reported;
        };
        let (confirmed, Next { step, payer, edge }) = decide(ctx, unit, &taken);
        report::confirmed(ctx, &taken, confirmed);
        let at_edge = edge.map(|edge| (Instant::now() + taken.until(ctx, edge), Urgency::End(edge)));
        let at_edge = Pause { until: at_edge, ..Pause::until_woken() };
        let pause = at_edge.or_earlier(reported?).or_earlier(report::long_wait(ctx, unit, &taken).await);
        match (step, permit.take()) {
            (Step::Apply(apply), Some(permit)) if permit.kind() == Kind::Write => {
                let sending = apply::send(ctx, unit, &taken, permit, *apply);
                Box::pin(report::while_slow(ctx, unit, &taken, sending)).await;
            }
            (Step::Explain(_), Some(permit)) if permit.kind() == Kind::Read => {
                Box::pin(apply::explain(ctx, unit, &taken, permit)).await;
            }
            (step, unneeded) => {
                // What was decided before the wait for the permit does not apply any more.
                unneeded.into_iter().for_each(Permit::unused);
                match step {
                    Step::Release(releases) => Box::pin(release::all(ctx, &taken, releases)).await?,
                    Step::Record { records, revokes } => {
                        Box::pin(record::write(ctx, unit, &taken, records, revokes)).await?;
                    }
                    Step::Observe(observe) => return Ok(observing(ctx, unit, taken, observe, payer, pause)),
                    Step::Apply(apply) => {
                        let wait = Wait::Write(apply.urgency);
                        return Ok(permitted(ctx, unit, &taken, Kind::Write, wait, apply.urgency, payer, pause));
                    }
                    Step::Explain(urgency) => {
                        let wait = Wait::Read(urgency);
                        return Ok(permitted(ctx, unit, &taken, Kind::Read, wait, urgency, payer, pause));
                    }
                    Step::Report(outcome) => {
                        let reported = Box::pin(report::all(ctx, unit, &taken, &outcome)).await?;
                        return Ok(reported.or_earlier(pause));
                    }
                }
            }
        }
    }
}

/// Decides the next step by what was observed last.
fn decide(ctx: &Context, unit: &Unit, taken: &Taken) -> (Option<Confirmed>, Next) {
    let Taken { snapshot, connection, roster, .. } = taken;
    let through = (connection.uid.clone(), connection.endpoint.clone());
    let evidence = roster.evidence();
    let (confirmed, next, evidence_changed) = ctx.targets.with_memory(unit, |remembered| {
        if remembered.through != through {
            *remembered = Remembered { through, ..Remembered::default() };
        }
        let evidence_changed = std::mem::replace(&mut remembered.evidence, evidence) != evidence;
        let observation = roster.observation(&snapshot.target.subject_id);
        let (confirmed, next) = step::decide(snapshot, observation.as_ref(), &mut remembered.memory);
        (confirmed, next, evidence_changed)
    });
    if evidence_changed {
        // It decides which provider object takes precedence.
        ctx.targets.rivals(unit).into_iter().for_each(|rival| ctx.wake_unit(rival, Urgency::Grant));
    }
    (confirmed, next)
}

/// The pause until a list that is needed.
fn observing(
    ctx: &Context,
    unit: &Unit,
    taken: Taken,
    observe: Observe,
    payer: String,
    pause: Pause<Brought>,
) -> Pause<Brought> {
    let Observe { not_before, spacing, urgency, .. } = observe;
    let not_before = Instant::from_std(not_before);
    let is_unfinished = is_unfinished(ctx, unit);
    if not_before > Instant::now() {
        let later = Pause { until: Some((not_before, urgency)), is_unfinished, ..Pause::until_woken() };
        return later.or_earlier(pause);
    }
    let Taken { snapshot, connection, roster, .. } = taken;
    let list = list(roster, connection, snapshot.target.subject_id, not_before, (urgency, payer, spacing));
    let ticket = Ticket { wait: Wait::List(urgency), future: Box::pin(list.in_current_span()) };
    Pause { ticket: Some(ticket), is_unfinished, ..pause }
}

async fn list(
    roster: Arc<Roster>,
    connection: Arc<super::connections::Connection>,
    subject_id: String,
    not_before: Instant,
    (urgency, namespace, spacing): (Urgency, String, std::time::Duration),
) -> Brought {
    let asker = Asker { quota: &connection.quota, urgency, namespace: &namespace, spacing };
    let outcome = roster.observe(&connection.provider, asker, &subject_id, Some(not_before)).await;
    Brought::Listed(not_before, outcome.map(drop))
}

/// The pause until a permit is granted.
#[allow(clippy::too_many_arguments, reason = "they are what distinguishes one permit from another")]
fn permitted(
    ctx: &Context,
    unit: &Unit,
    taken: &Taken,
    kind: Kind,
    wait: Wait,
    urgency: Urgency,
    payer: String,
    pause: Pause<Brought>,
) -> Pause<Brought> {
    let quota = taken.connection.quota.clone();
    let permit = async move { Brought::Permit(quota.permit(kind, urgency, &payer).await) };
    let future = Box::pin(permit.in_current_span());
    Pause { ticket: Some(Ticket { wait, future }), is_unfinished: is_unfinished(ctx, unit), ..pause }
}

/// Whether a write of the target was sent that is not confirmed yet.
fn is_unfinished(ctx: &Context, unit: &Unit) -> bool {
    ctx.targets.with_memory(unit, |remembered| remembered.memory.attempt.sent.is_some())
}
