//! The driver: one pass over one target. What to do next is decided by [`step::next_step`]; here it is carried out. `lib.rs`
//! names the call for each stage of the pipeline.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt;
use kube::ResourceExt;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::context::Context;
use super::faults::EarlyEnd;
use super::queue::{
    Deliver, NextPass, PendingTicket, SlotKind, Ticket, TicketKey, TicketKind, TicketResult, TicketSource,
};
use super::roster::{ListCaller, Wait};
use super::snapshot::{self, CachedTarget, ConnectedSnapshot};
use super::state::targets::{TargetMemory, Unit};
use super::{apply, faults, object, providers, record, release, report};
use crate::core::record::Record;
use crate::core::step::{self, NextStep, Observe, Step};
use crate::core::write::ConfirmedWrite;
use crate::provider::Urgency;
use crate::provider::quota::{Permit, Quota, RequestKind};

/// A slot of the passes that write to the API server.
type Slot = (SlotKind, Permit);

/// Runs one pass, or checks a provider object: until everything is reported, or something has to be waited for.
pub async fn pass(ctx: Arc<Context>, unit: Arc<Unit>, brought: Option<TicketResult>) -> NextPass<TicketResult> {
    if !ctx.begun.is_ready() {
        // When this replica begins to lead, there is a pass over every target and a check of every provider object.
        return NextPass::until_woken();
    }
    let began = Instant::now();
    let span = report::span(&ctx, &unit);
    let outcome = match &*unit {
        Unit::Provider(key) => return Box::pin(providers::check(&ctx, key)).await,
        Unit::Object(_) => object::pass(&ctx, &unit).instrument(span).await,
        Unit::Target(..) => target(&ctx, &unit, brought).instrument(span).await,
    };
    ctx.metrics.pass(began.elapsed(), outcome.is_ok());
    let pause = outcome.unwrap_or_else(|stop| faults::pause(&ctx, &unit, &stop));
    // A write that was sent is confirmed and reported, also while the operator is being stopped.
    let is_sent = ctx.targets.with_memory(&unit, |remembered| remembered.memory.attempt.sent.is_some());
    NextPass { is_unfinished: pause.is_unfinished || is_sent, ..pause }
}

/// One pass over all declarations of a target.
async fn target(
    ctx: &Arc<Context>,
    unit: &Arc<Unit>,
    brought: Option<TicketResult>,
) -> Result<NextPass<TicketResult>, EarlyEnd> {
    let (mut permit, mut slot) = (None, None);
    match brought {
        Some(TicketResult::Permit(brought)) => permit = Some(brought),
        Some(TicketResult::Slot(kind, brought)) => slot = Some((kind, brought)),
        Some(TicketResult::Listed(not_before, outcome)) => {
            ctx.targets.with_memory(unit, |remembered| remembered.memory.listed(not_before.into_std(), outcome));
        }
        Some(TicketResult::Again) | None => {}
    }
    // Single objects are not processed under a permit.
    let faults = match permit {
        Some(_) => Vec::new(),
        None => Box::pin(record::restore(ctx, unit)).await?,
    };
    let outcome = steps(ctx, unit, permit, slot).await;
    match (outcome, faults.is_empty()) {
        (Ok(pause), false) => Ok(pause.or_earlier(faults::pause(ctx, unit, &EarlyEnd::Faults(faults)))),
        (Err(EarlyEnd::Faults(more)), _) => {
            // What is retried begins with what the objects record, and with the write that is not confirmed.
            ctx.targets.with_memory(unit, |remembered| remembered.memory.begin_again());
            Err(EarlyEnd::Faults(faults.into_iter().chain(more).collect()))
        }
        (outcome, _) => outcome,
    }
}

/// Carries out one step after the other. `permit`: of the provider's quota. `slot`: of the passes that write to the API server.
async fn steps(
    ctx: &Arc<Context>,
    unit: &Arc<Unit>,
    mut permit: Option<Permit>,
    mut slot: Option<Slot>,
) -> Result<NextPass<TicketResult>, EarlyEnd> {
    loop {
        let CachedTarget { unresolved, taken } = snapshot::take(ctx, unit);
        let Some(taken) = taken else {
            let Some((object, _)) = unresolved.first() else { return Ok(NextPass::until_woken()) };
            let payer = object.namespace().unwrap_or_default();
            if !take_slot(ctx, &mut slot, SlotKind::Write, &payer) {
                return Ok(until_slot(ctx, SlotKind::Write, payer, NextPass::until_woken()));
            }
            return Box::pin(report::unresolved(ctx, unresolved)).await;
        };
        let (confirmed, NextStep { step, payer, edge }) = decide(ctx, unit, &taken);
        report::confirmed(ctx, &taken, confirmed);
        let until = edge.map(|edge| (Instant::now() + taken.until(ctx, edge), Urgency::End(edge)));
        let pause = NextPass::at(until);
        if let Some(kind) = needed_slot(ctx, &step)
            && !take_slot(ctx, &mut slot, kind, &payer)
        {
            // What was done is reported, also while the operator is being stopped.
            let is_unfinished = matches!(step, Step::Report(_));
            return Ok(NextPass { is_unfinished, ..until_slot(ctx, kind, payer, pause) });
        }
        // A permit that a former step waited for may not be needed any more.
        let wanted = wanted_permit(&step);
        match (step, permit.take().filter(|permit| Some(permit.kind()) == wanted)) {
            (Step::Release(releases), _) => Box::pin(release::all(ctx, &taken, releases)).await?,
            (Step::Record { records, ends, .. }, _) => {
                Box::pin(record::write(ctx, unit, &taken, records, ends)).await?;
            }
            (Step::Observe(observe), _) => {
                let pause = pause.or_earlier(report::long_wait(ctx, unit, &taken, observe.urgency).await);
                return Ok(until_listed(taken, observe, payer, pause));
            }
            (Step::Apply(apply), None) => {
                let pause = pause.or_earlier(report::long_wait(ctx, unit, &taken, apply.urgency).await);
                return Ok(until_permitted(&taken, RequestKind::Write, apply.urgency, payer, pause));
            }
            (Step::Apply(apply), Some(permit)) => {
                let sending = apply::send(ctx, unit, &taken, permit, *apply);
                Box::pin(report::while_slow(ctx, unit, &taken, sending)).await;
            }
            (Step::Explain(urgency), None) => {
                return Ok(until_permitted(&taken, RequestKind::Read, urgency, payer, pause));
            }
            (Step::Explain(_), Some(permit)) => Box::pin(apply::explain(ctx, unit, &taken, permit)).await,
            (Step::Report(outcome), _) => {
                let reported = Box::pin(report::all(ctx, unit, &taken, &outcome)).await;
                let others = Box::pin(report::unresolved(ctx, unresolved)).await;
                return report::joined(vec![reported, others]).map(|reported| reported.or_earlier(pause));
            }
        }
    }
}

/// The kind of permit that a step needs.
fn wanted_permit(step: &Step) -> Option<RequestKind> {
    match step {
        Step::Apply(_) => Some(RequestKind::Write),
        Step::Explain(_) => Some(RequestKind::Read),
        Step::Release(_) | Step::Record { .. } | Step::Observe(_) | Step::Report(_) => None,
    }
}

/// The slot that a step needs before it writes to the API server. What is due to end does not wait.
fn needed_slot(ctx: &Context, step: &Step) -> Option<SlotKind> {
    let begins_a_grant = |records: &[Record]| records.iter().any(|record| !record.new.is_empty());
    // An edit that also removes a role does not wait for memory.
    let only_grants = |urgency: &Urgency| *urgency > Urgency::Exchange;
    match step {
        Step::Release(_) | Step::Report(_) => Some(SlotKind::Write),
        Step::Record { ends: true, .. } => None,
        Step::Record { records, urgency, .. }
            if ctx.sheds.load(Ordering::Acquire) && only_grants(urgency) && begins_a_grant(records) =>
        {
            Some(SlotKind::Grant)
        }
        Step::Record { .. } => Some(SlotKind::Write),
        Step::Observe(_) | Step::Apply(_) | Step::Explain(_) => None,
    }
}

/// Decides the next step by what was observed last.
fn decide(ctx: &Context, unit: &Unit, taken: &ConnectedSnapshot) -> (Option<ConfirmedWrite>, NextStep) {
    let ConnectedSnapshot { snapshot, connection, roster, .. } = taken;
    let through = (connection.uid.clone(), connection.endpoint.clone());
    let evidence = roster.evidence();
    let (confirmed, next, evidence_changed) = ctx.targets.with_memory(unit, |remembered| {
        if remembered.through != through {
            let late_writes = std::mem::take(&mut remembered.memory.late_writes);
            *remembered = TargetMemory { through, ..TargetMemory::default() };
            remembered.memory.late_writes = late_writes;
        }
        let evidence_changed = std::mem::replace(&mut remembered.evidence, evidence) != evidence;
        let observation = roster.observation(&snapshot.target.subject_id);
        let (confirmed, next) = step::decide(snapshot, observation.as_ref(), &mut remembered.memory);
        (confirmed, next, evidence_changed)
    });
    if evidence_changed {
        // It decides which provider object takes precedence.
        ctx.wake_units(ctx.targets.rivals(unit), Urgency::Grant);
    }
    (confirmed, next)
}

/// The pause until a list that is needed.
fn until_listed(
    taken: ConnectedSnapshot,
    observe: Observe,
    payer: String,
    pause: NextPass<TicketResult>,
) -> NextPass<TicketResult> {
    let Observe { not_before, spacing, urgency, .. } = observe;
    let not_before = Instant::from_std(not_before);
    if not_before > Instant::now() {
        return NextPass::at(Some((not_before, urgency))).or_earlier(pause);
    }
    let ConnectedSnapshot { snapshot, connection, roster, .. } = taken;
    // A waiting target keeps no more of the snapshot than this.
    let subject_id = snapshot.target.subject_id;
    let wait = TicketKey { kind: TicketKind::List, urgency, connection: connection.number };
    let span = Span::current();
    let source = move |deliver: Deliver<TicketResult>| {
        let (asked, shared, subject) = (Instant::now(), roster.clone(), subject_id.clone());
        let ended = move || {
            let outcome = shared.outcome(&subject, not_before, asked);
            deliver(outcome.map_or(TicketResult::Again, |outcome| TicketResult::Listed(not_before, outcome)));
        };
        match roster.wait(urgency, spacing, ended) {
            Wait::Follows(follower) => PendingTicket::Request(Box::new(follower)),
            Wait::Requests(requester) => PendingTicket::Task(Box::pin(
                async move {
                    let asker = ListCaller { quota: &connection.quota, urgency, namespace: &payer, spacing };
                    let outcome = roster.observe(&*connection.provider, asker, &subject_id, Some(not_before)).await;
                    drop(requester);
                    TicketResult::Listed(not_before, outcome.map(drop))
                }
                .instrument(span),
            )),
        }
    };
    NextPass { ticket: Some(Ticket { wait, source: Box::new(source) }), ..pause }
}

/// Takes a slot of the passes that write to the API server, if the pass has none and one is free. A slot for a grant serves
/// any write. Returns whether it has one.
fn take_slot(ctx: &Context, slot: &mut Option<Slot>, kind: SlotKind, payer: &str) -> bool {
    if slot.as_ref().is_none_or(|(known, _)| *known != kind && kind == SlotKind::Grant) {
        let permit = ctx.slots(kind).permit(RequestKind::Write, Urgency::Grant, payer).now_or_never();
        *slot = permit.map(|permit| (kind, permit));
    }
    slot.is_some()
}

/// The pause until a slot of the passes that write to the API server is free.
fn until_slot(ctx: &Context, kind: SlotKind, payer: String, pause: NextPass<TicketResult>) -> NextPass<TicketResult> {
    let wait = TicketKey { kind: TicketKind::Slot(kind), urgency: Urgency::Grant, connection: 0 };
    let result = move |permit| TicketResult::Slot(kind, permit);
    let source = requested(ctx.slots(kind).clone(), (RequestKind::Write, Urgency::Grant), payer, result);
    NextPass { ticket: Some(Ticket { wait, source }), ..pause }
}

/// The pause until a permit is granted.
fn until_permitted(
    taken: &ConnectedSnapshot,
    kind: RequestKind,
    urgency: Urgency,
    payer: String,
    pause: NextPass<TicketResult>,
) -> NextPass<TicketResult> {
    let wait = TicketKey { kind: TicketKind::Permit(kind), urgency, connection: taken.connection.number };
    let source = requested(taken.connection.quota.clone(), (kind, urgency), payer, TicketResult::Permit);
    NextPass { ticket: Some(Ticket { wait, source }), ..pause }
}

/// A request for a permit of a quota, which waits there.
fn requested(
    quota: Quota,
    (kind, urgency): (RequestKind, Urgency),
    payer: String,
    result: impl FnOnce(Permit) -> TicketResult + Send + 'static,
) -> TicketSource<TicketResult> {
    Box::new(move |deliver| {
        let request = quota.request(kind, urgency, &payer, move |permit| deliver(result(permit)));
        PendingTicket::Request(Box::new(request))
    })
}
