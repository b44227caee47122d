//! Reports the result of a pass: the status of each declaration, events, logs and metrics, and when the next pass is due.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::ResourceExt;
use tokio::time::Instant;

use super::connections::Connection;
use super::context::Context;
use super::faults::{EarlyEnd, ObjectFault, spread};
use super::queue::NextPass;
use super::resolve::resolve;
use super::snapshot::{self, ConnectedSnapshot};
use super::state::targets::Unit;
use super::state::tombstones;
use super::{precedence, release, reporting, write};
use crate::api::event::EventKind;
use crate::api::membership::TargetStatus;
use crate::api::{ABANDON, ProjectMembership, Reason};
use crate::core::policy::Refusal;
use crate::core::report::{self, NextAttempt, Report, again, next_edge, reports};
use crate::core::snapshot::Declaration;
use crate::core::step::{PassEnd, PassOutcome};
use crate::core::write::ConfirmedWrite;
use crate::provider::Urgency;
use crate::provider::http::text;

/// How long a request takes before its progress is reported.
const SLOW: Duration = Duration::from_secs(1);
/// How long a target waits for its turn before the wait is reported.
const LONG: Duration = Duration::from_secs(60);
/// The longest backoff between failed passes.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// The longest backoff while the end of a grant or a revocation is due.
const LONGEST_WHILE_DUE: Duration = Duration::from_secs(5);

/// The span whose fields are in every log line that is written during a pass.
pub fn span(ctx: &Context, unit: &Unit) -> tracing::Span {
    let first = ctx.targets.declarations(unit).into_iter().next();
    let namespace = first.as_ref().and_then(|reference| reference.namespace.clone());
    let name = first.as_ref().map(|reference| tombstones::name_of(&reference.name));
    match unit {
        Unit::Target(through, _) => {
            let provider = &through.provider;
            tracing::error_span!("reconcile", namespace, name, %provider)
        }
        Unit::Object(_) | Unit::Provider(_) => tracing::error_span!("reconcile", namespace, name),
    }
}

/// Reports to each declaration of a target, and releases those of which nothing is left to revoke.
pub async fn all<G>(
    ctx: &Context,
    unit: &Unit,
    taken: &ConnectedSnapshot,
    outcome: &PassOutcome,
) -> Result<NextPass<G>, EarlyEnd> {
    let ConnectedSnapshot { snapshot, connection, roster, .. } = taken;
    let (reports, due_in, settled) = ctx.targets.with_memory(unit, |remembered| {
        let memory = &mut remembered.memory;
        let reports = reports(snapshot, outcome, memory);
        if memory.end(snapshot, outcome) {
            // Whether the change is in force is unknown.
            roster.doubt(&snapshot.target.subject_id);
        }
        let again = again(snapshot, outcome, memory, &reports);
        let due_in = due_in(taken, outcome, again, memory, unit);
        (reports, due_in, again == NextAttempt::AtEdge)
    });
    match &outcome.kind {
        PassEnd::Failed { error, .. } => note_provider(ctx, connection, Some(error.reason()), None),
        PassEnd::NotAsked => {}
        PassEnd::Settled | PassEnd::Contested => {
            let listed = outcome.observation.as_ref().map(|observation| Instant::from_std(observation.listed));
            note_provider(ctx, connection, None, listed);
        }
    }
    claim_places(ctx, taken);
    let edge =
        next_edge(&reports, snapshot.now).map(|edge| (Instant::now() + taken.until(ctx, edge), Urgency::End(edge)));
    let named = snapshot.target_status();
    let writes = snapshot.declarations.iter().zip(reports).map(|(declaration, report)| {
        emit_ignored_target(ctx, &declaration.object, &named);
        one(ctx, &declaration.object, report, true, settled)
    });
    let reported = joined(join_all(writes).await)?;
    Ok(NextPass::after(due_in).or_earlier(NextPass::at(edge)).or_earlier(reported))
}

/// Reports the progress of a request that takes long.
pub async fn while_slow(ctx: &Context, unit: &Unit, taken: &ConnectedSnapshot, request: impl Future<Output = ()>) {
    let mut request = std::pin::pin!(request);
    if tokio::time::timeout(SLOW, &mut request).await.is_err() {
        tokio::join!(request, progress(ctx, unit, taken));
    }
}

/// Reports a wait that has become long, or returns when it will have. Revocations do not wait for a report.
pub async fn long_wait<G>(ctx: &Context, unit: &Unit, taken: &ConnectedSnapshot, urgency: Urgency) -> NextPass<G> {
    if urgency.revokes() || taken.snapshot.declarations.iter().all(Declaration::is_observed) {
        return NextPass::until_woken();
    }
    let began = ctx.targets.with_memory(unit, |remembered| remembered.memory.began);
    let left = began.map(|began| (began + LONG).saturating_duration_since(taken.snapshot.at));
    match left {
        Some(left) if !left.is_zero() => NextPass::after(left),
        Some(_) | None => {
            Box::pin(progress(ctx, unit, taken)).await;
            NextPass::until_woken()
        }
    }
}

/// Reports that grants are being carried out. A failure does not matter: the result is reported in any case.
pub async fn progress(ctx: &Context, unit: &Unit, taken: &ConnectedSnapshot) {
    let ConnectedSnapshot { snapshot, roster, .. } = taken;
    let observation = roster.observation(&snapshot.target.subject_id);
    let reports = ctx
        .targets
        .with_memory(unit, |remembered| report::progress(snapshot, observation.as_ref(), &remembered.memory));
    for (uid, report) in reports {
        if let Some(declaration) = taken.declaration(&uid) {
            let written = write::status(ctx, &declaration.object, &report.status).await;
            if let Err(error) = written {
                tracing::debug!(%error, "the progress of a grant was not reported");
            }
        }
    }
}

/// Reports to objects whose references cannot be resolved: nothing is done at the provider.
pub async fn unresolved<G>(
    ctx: &Context,
    objects: Vec<(Arc<ProjectMembership>, Refusal)>,
) -> Result<NextPass<G>, EarlyEnd> {
    let writes = objects.into_iter().map(async |(object, refusal)| {
        let now = ctx.now();
        let is_abandoned = object.annotations().get(ABANDON).is_some_and(|value| value == "true");
        if is_abandoned && object.metadata.deletion_timestamp.is_some() {
            release::abandon(ctx, &object).await?;
            return Ok(NextPass::until_woken());
        }
        let report = report::unresolved(&object, &refusal, snapshot::enforces_expiry(ctx, &object), now);
        let is_stuck = object.metadata.deletion_timestamp.is_some() && !report.is_released;
        let edge = next_edge(std::slice::from_ref(&report), now);
        let at_edge = NextPass::at(edge.map(|edge| (Instant::now() + ctx.until(edge), Urgency::End(edge))));
        // The provider object's check starts the passes of its memberships. The remaining times are those at which an
        // end is due, the wait has to be reported, or Ready has to turn False.
        let retry = is_stuck.then(|| NextPass::after(Duration::from_secs(60)));
        let pause = at_edge.or_earlier(retry.unwrap_or(NextPass::until_woken()));
        one(ctx, &object, report, false, false).await.map(|reported| pause.or_earlier(reported))
    });
    joined(join_all(writes).await)
}

/// The earliest of the pauses, or all faults.
pub fn joined<G>(outcomes: Vec<Result<NextPass<G>, EarlyEnd>>) -> Result<NextPass<G>, EarlyEnd> {
    let mut faults: Vec<ObjectFault> = Vec::new();
    let mut pause = NextPass::until_woken();
    for outcome in outcomes {
        match outcome {
            Ok(other) => pause = pause.or_earlier(other),
            Err(EarlyEnd::Faults(more)) => faults.extend(more),
            Err(EarlyEnd::Overtaken) => return Err(EarlyEnd::Overtaken),
        }
    }
    if faults.is_empty() { Ok(pause) } else { Err(EarlyEnd::Faults(faults)) }
}

/// Reports to one object. `is_evaluated`: its record was evaluated. `settled`: nothing is left to do at the provider.
async fn one<G>(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    report: Report,
    is_evaluated: bool,
    settled: bool,
) -> Result<NextPass<G>, EarlyEnd> {
    let Report { ready_condition, status, overdue, is_released } = report;
    if is_released {
        release::release(ctx, object).await?;
        return Ok(NextPass::until_woken());
    }
    let report_in = if !overdue.is_empty() {
        reporting::revocation_failed(ctx, object, &overdue, &ready_condition);
        None
    } else {
        reporting::nothing_overdue(ctx, object);
        let is_leaving = object.metadata.deletion_timestamp.is_some();
        (!is_leaving).then(|| reporting::condition(ctx, object, &ready_condition)).flatten()
    };
    let written = match is_evaluated {
        true => write::status(ctx, object, &status).await,
        false => write::status_of_unevaluated(ctx, object, &status).await,
    };
    written.map_err(|error| {
        EarlyEnd::Faults(vec![ObjectFault { object: object.clone(), error: Arc::new(error), settled }])
    })?;
    reporting::no_fault(ctx, &object.uid().unwrap_or_default());
    reporting::missed_grants(ctx, object, &status.roles);
    ctx.metrics.count_reason(ready_condition.reason);
    Ok(report_in.map_or_else(NextPass::until_woken, NextPass::after))
}

/// How long until the next pass, if no edge and no event comes first.
fn due_in(
    taken: &ConnectedSnapshot,
    outcome: &PassOutcome,
    again: NextAttempt,
    memory: &mut crate::core::memory::Memory,
    unit: &Unit,
) -> Duration {
    let snapshot = &taken.snapshot;
    let backoff = match again {
        NextAttempt::AtEdge => {
            memory.failures = 0;
            let listed = outcome.observation.as_ref().map(|observation| observation.listed);
            let (now, interval) = (Instant::now().into_std(), snapshot.interval());
            let interval =
                if outcome.kind == PassEnd::NotAsked { snapshot.provider.resync.provider() } else { interval };
            let is_listed = !matches!(outcome.kind, PassEnd::NotAsked | PassEnd::Failed { .. } | PassEnd::Contested);
            let resync = listed.filter(|_| is_listed).map(|began| (began + interval).saturating_duration_since(now));
            // A few milliseconds later than the resync, so that the observation is certainly too old by then.
            return resync.unwrap_or(interval) + Duration::from_millis(5);
        }
        NextAttempt::After(delay) => return delay,
        NextAttempt::Backoff => memory.backoff(LONGEST_BACKOFF),
        NextAttempt::Soon => memory.backoff(LONGEST_WHILE_DUE),
    };
    spread(backoff, unit, memory.failures)
}

/// Records which declarations may be carried out: they have a claim to a place among the declarations of the target,
/// whose number is bounded.
fn claim_places(ctx: &Context, taken: &ConnectedSnapshot) {
    if taken.snapshot.provider.unready.is_some() {
        return;
    }
    for declaration in &taken.snapshot.declarations {
        if let Ok(resolved) = resolve(ctx, &declaration.object) {
            let claims = precedence::claims_place(ctx, &declaration.object, &resolved, taken.snapshot.now);
            let due = ctx.targets.may_count(&declaration.object, claims);
            ctx.wake_units(due, Urgency::Grant);
        }
    }
}

/// Reports a write that a list shows.
pub fn confirmed(ctx: &Context, taken: &ConnectedSnapshot, confirmed: Option<ConfirmedWrite>) {
    let Some(ConfirmedWrite { effects, kept }) = confirmed else {
        return;
    };
    let target = taken.snapshot.target_status();
    for (uid, event_kind, roles) in effects.events {
        let Some(declaration) = taken.declaration(&uid) else { continue };
        let object = &declaration.object;
        let justification = object.spec.justification.as_deref();
        tracing::info!(
            namespace = object.namespace(),
            name = tombstones::name_of(&object.name_any()),
            provider = target.provider,
            project = target.project_id,
            subject = target.subject_id,
            roles = roles.join(", "),
            justification,
            "{}",
            event_kind.reason()
        );
        ctx.events.emit(object, event_kind, &roles, justification);
    }
    for end in effects.ends {
        ctx.metrics.lateness(taken.snapshot.now.duration_since(end));
    }
    if let Some(why) = kept {
        let role = taken.snapshot.provider.capabilities.empty_role.unwrap_or_default();
        let message = format!("the membership no longer has access and remains with the role {role:?}: {why}");
        tracing::warn!("{message}");
        let concerned = taken.snapshot.declarations.iter().filter(|d| d.is_leaving());
        let concerned = concerned.chain(taken.snapshot.declarations.iter()).next();
        if let Some(object) = concerned.map(|declaration| &declaration.object) {
            let justification = object.spec.justification.as_deref();
            ctx.events.emit(object, EventKind::MembershipKept, &[message], justification);
        }
    }
}

/// Requests a check of the provider object if a pass found another result than the last check.
pub fn note_provider(ctx: &Context, connection: &Connection, failure: Option<Reason>, answered: Option<Instant>) {
    if connection.is_to_be_checked(failure, answered, Instant::now()) {
        ctx.wake_provider(&connection.key);
    }
}

/// Reports that `status.target` is ignored because it differs from the target that the spec and the provider object
/// name: it was forged or is out of date.
fn emit_ignored_target(ctx: &Context, object: &ProjectMembership, named: &TargetStatus) {
    let Some(stored) = object.status.as_ref().and_then(|status| status.target.as_ref()) else {
        return;
    };
    let (stored, named) = (fields(stored), fields(named));
    let differs: Vec<String> = (stored.iter().zip(&named))
        .filter(|(stored, named)| stored != named)
        // A user who can forge the status can write any text into it.
        .map(|((field, stored), (_, named))| format!("{field} is {:?}, not {named:?}", text::filtered(stored, &[])))
        .collect();
    if !differs.is_empty() {
        let message = format!("status.target is not what the spec names and is ignored: {}", differs.join("; "));
        tracing::warn!(namespace = object.namespace(), name = object.name_any(), "{message}");
        ctx.events.emit(object, EventKind::Failed, &[message], None);
    }
}

fn fields(target: &TargetStatus) -> [(&'static str, String); 7] {
    let TargetStatus { provider, endpoint, organization_id, project_id, grant_id, subject_kind, subject_id } = target;
    [
        ("provider", provider.clone()),
        ("endpoint", endpoint.clone()),
        ("organizationId", organization_id.clone().unwrap_or_default()),
        ("projectId", project_id.clone()),
        ("grantId", grant_id.clone().unwrap_or_default()),
        ("subjectKind", format!("{subject_kind:?}")),
        ("subjectId", subject_id.clone()),
    ]
}
