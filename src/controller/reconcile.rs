//! The reconcile loop: one pass over one object, with one call for each stage of the pipeline in `lib.rs`.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;
use tracing::Instrument;

use super::admit;
use super::cleanup;
use super::connections::{Connection, ProviderKey};
use super::context::Context;
use super::converge::Pass;
use super::names::{self, Lookup};
use super::outage::{self, Concern, Failed};
use super::outcome::{Again, Outcome, Stop};
use super::precedence::counts;
use super::provider_object::Named;
use super::record;
use super::replaced;
use super::reporting::{self, Overdue};
use super::resolve::{Resolved, Unresolved, is_finalized, resolve, scene};
use super::targets::Memory;
use super::tombstones;
use super::write;
use crate::api::event::Happening;
use crate::api::membership::{ProjectMembershipStatus, TargetStatus};
use crate::api::{ABANDON, ProjectMembership, Reason};
use crate::core::changes;
use crate::core::layers::Phase;
use crate::core::policy::Refusal;
use crate::core::status::{self, Told};
use crate::provider::http::text;
use crate::provider::{Error, Urgency};
use crate::telemetry::liveness::{name_of, waiting};

/// The longest backoff between failed passes.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// The longest backoff while the end of a grant or a revocation is due.
const LONGEST_WHILE_DUE: Duration = Duration::from_secs(5);

/// A request of a pass to the API server was refused or failed.
#[derive(thiserror::Error, Debug)]
#[error("the API server: {error}")]
pub struct Fault {
    /// The error that the request returned.
    pub error: Arc<kube::Error>,
    /// Whether the pass had nothing left to do at the provider, so that only the report is missing.
    pub settled: bool,
}

/// Runs one pass over one object.
pub async fn reconcile(object: Arc<ProjectMembership>, ctx: Arc<Context>) -> Result<Action, Fault> {
    if !ctx.begun.is_ready() {
        // When this replica begins to lead, every object is reconciled.
        return Ok(Action::await_change());
    }
    let reference = write::reference(&object);
    let began = Instant::now();
    let action = match ctx.passes.run(name_of(&reference), road(&ctx, &reference)).instrument(span(&object)).await {
        Ok(action) => Ok(action),
        Err(Stop::Gone) => Ok(Action::await_change()),
        Err(Stop::Overtaken) => Ok(Action::requeue(Duration::ZERO)),
        Err(Stop::Kubernetes(error)) => Err(Fault { error, settled: false }),
        Err(Stop::Unreported(error)) => Err(Fault { error, settled: true }),
    };
    if action.is_ok() {
        reporting::no_fault(&ctx, object.as_ref());
    }
    ctx.metrics.pass(began.elapsed(), action.is_ok());
    action
}

/// The span whose fields are in every log line that is written during a pass.
fn span(object: &ProjectMembership) -> tracing::Span {
    let (namespace, name) = (object.namespace(), object.name_any());
    let (name, provider) = (tombstones::name_of(&name), ProviderKey::named_by(object));
    tracing::error_span!("reconcile", namespace, name, %provider)
}

/// Decides when to retry after a fault: see [`super::outage`].
pub fn after_fault(object: Arc<ProjectMembership>, fault: &Fault, ctx: Arc<Context>) -> Action {
    let reference = write::reference(&object);
    // A write in the meantime may have changed when the next grant ends.
    let object = ctx.latest(&reference).unwrap_or(object);
    let (now, concern) = (ctx.now(), Concern::of(&fault.error));
    let in_a_row = reporting::fault(&ctx, object.as_ref(), &fault.error);
    let failed = Failed {
        concern,
        in_a_row,
        waits: concern == Concern::Server && ctx.outage.waits(&reference, in_a_row),
        revokes: !fault.settled && urgency(&object, now).revokes(),
        next_end: outage::next_end(&object, now),
    };
    failed.retry().map_or_else(Action::await_change, |retry| {
        // The jitter must not delay a pass past the end of a grant.
        let spread = spread(retry, &object.uid().unwrap_or_default(), failed.in_a_row);
        Action::requeue(failed.next_end.map_or(spread, |end| spread.min(end)))
    })
}

async fn road(ctx: &Context, reference: &ObjectRef<ProjectMembership>) -> Result<Action, Stop> {
    let mut object = ctx.latest(reference).ok_or(Stop::Gone)?;
    if ctx.tombstones.is_stripped(&object) {
        object = tombstones::put_back(ctx, &object).await?;
    }
    if object.metadata.deletion_timestamp.is_some() {
        if !is_finalized(&object) {
            return Ok(Action::await_change());
        }
        if object.annotations().get(ABANDON).is_some_and(|value| value == "true") {
            return cleanup::abandon(ctx, &object).await;
        }
    }
    if replaced::part(ctx, &object).await? {
        return Ok(Action::requeue(Duration::ZERO));
    }
    let resolved = match resolve(ctx, &object) {
        Ok(resolved) => resolved,
        Err(Unresolved::Checking) => return Ok(Action::await_change()),
        Err(Unresolved::Named(connection, named)) => return names_first(ctx, &object, &connection, &named).await,
        Err(Unresolved::Refused(refusal)) => return waits(ctx, &object, &refusal, None).await,
    };
    let urgency_now = urgency(&object, ctx.now());
    // While its provider object is gone, a deletion waits, and only ends of grants are carried out.
    let acts = match resolved.retired && tombstones::left_at(&object).is_none() {
        true => matches!(urgency_now, Urgency::End(_)),
        false => urgency_now.revokes(),
    };
    if let Some(unready) = resolved.unready.as_ref().filter(|_| !acts) {
        return waits(ctx, &object, unready, None).await;
    }
    let cell = ctx.targets.cell(&resolved.connection.uid, &resolved.spot());
    let mut memory = waiting(cell.lock()).await;
    // The wait for the target's lock may have been long, so the object is read again.
    let object = resolved.object(ctx, reference).ok_or(Stop::Gone)?;
    let object = record::after_an_edit(ctx, object, &mut memory).await?;
    tell_ignored_target(ctx, &object, &resolved);
    let namespace = object.namespace().unwrap_or_default();
    let not_before = oldest_view(&object, &resolved, &mut memory);
    if object.metadata.deletion_timestamp.is_some() && cleanup::nothing_to_revoke(ctx, reference, &resolved) {
        return cleanup::let_go(ctx, &object, &resolved).await;
    }
    claim_a_place(ctx, &object, &resolved);
    if let Some(refusal) = nothing_to_do(ctx, &object, reference, &resolved) {
        return waits(ctx, &object, &refusal, Some(resolved.connection.resync.provider())).await;
    }
    let pass = Pass {
        ctx,
        reference,
        resolved: &resolved,
        namespace: &namespace,
        urgency: urgency(&object, ctx.now()),
        name: object.spec.subject.name.clone(),
        reported: object.status.as_ref().map(|status| changes::reported(&status.roles)).unwrap_or_default(),
    };
    let outcome = pass.converge(&mut memory, not_before).await?;
    report(ctx, &resolved, outcome, &mut memory).await
}

/// Why an object does not need an observation: it may not grant anything, and it holds nothing that would have to end.
/// The provider is then not asked, because the credential does not belong to the object's namespace. `None`: the pass
/// continues.
fn nothing_to_do(
    ctx: &Context,
    object: &ProjectMembership,
    reference: &ObjectRef<ProjectMembership>,
    resolved: &Resolved,
) -> Option<Refusal> {
    let reading = scene(ctx, reference, resolved, resolved.capabilities(), None)?.acting;
    let holds_nothing = reading.layer.managed.is_empty() && reading.layer.carried.is_empty();
    if holds_nothing && object.metadata.deletion_timestamp.is_none() && !ctx.targets.has_place(object) {
        let of_its_own = reading.aside.filter(|_| !reading.compares);
        return Some(of_its_own.unwrap_or_else(admit::beyond_the_bound));
    }
    let governed = resolved.named.rules().is_some() && reading.layer.phase == Phase::Holds;
    let refused = |aside: &Refusal| {
        matches!(aside.reason, Reason::NotAllowed | Reason::Progressing | Reason::Suspended | Reason::InvalidSpec)
    };
    // An object that would be carried out if it were not suspended is compared with what the provider shows.
    let unseen = governed && holds_nothing && !reading.compares;
    reading.aside.filter(|aside| unseen && refused(aside))
}

/// Enters an object that may be carried out among the evaluated declarations of its target, whose number is bounded.
fn claim_a_place(ctx: &Context, object: &ProjectMembership, resolved: &Resolved) {
    if resolved.unready.is_none() {
        let may_count = counts(ctx, object, resolved, ctx.now());
        ctx.targets.may_count(object, may_count).iter().for_each(|other| ctx.wake(other));
    }
}

/// The earliest time at which a usable observation began. An observation may be as old as drift may remain, and no
/// older than a request to reconcile.
fn oldest_view(object: &ProjectMembership, resolved: &Resolved, memory: &mut Memory) -> Option<Instant> {
    let handled = object.status.as_ref().and_then(|status| status.last_handled_reconcile_at.clone());
    let asked = record::asked(object);
    if asked.is_some() && asked != handled {
        memory.refused.clear();
        memory.repairs = Default::default();
        return Some(Instant::now());
    }
    let interval = interval(object, resolved);
    memory.refused.retain(|_, refused| refused.at.elapsed() < interval);
    Instant::now().checked_sub(interval)
}

/// How urgent a pass over an object's target is.
pub fn urgency(object: &ProjectMembership, now: Timestamp) -> Urgency {
    let managed = admit::record_of(object, now);
    match managed.iter().filter_map(|role| role.expiration_time).filter(|end| *end <= now).min() {
        Some(end) => Urgency::End(end),
        None if object.metadata.deletion_timestamp.is_some() => Urgency::Revoke,
        None if !record::settled(object) => Urgency::Grant,
        None => Urgency::Resync,
    }
}

/// How long drift of an object may remain undetected: its resync interval.
pub fn interval(object: &ProjectMembership, resolved: &Resolved) -> Duration {
    resolved.connection.resync.membership(object.spec.resync_interval.as_ref())
}

/// Reports the result of a pass in the status, events, logs and metrics, and returns when the next pass is due.
async fn report(ctx: &Context, resolved: &Resolved, outcome: Outcome, memory: &mut Memory) -> Result<Action, Stop> {
    let object = outcome.scene.object.clone();
    let settled = outcome.again == Again::AtEdge;
    let unreported = |stop: Stop| if settled { stop.when_settled() } else { stop };
    note_provider(ctx, &resolved.connection, outcome.error.as_ref().map(Error::reason), outcome.listed);
    if object.metadata.deletion_timestamp.is_some() {
        return cleanup::finish(ctx, resolved, outcome, memory).await.map_err(unreported);
    }
    let new = record::status_after(&outcome, memory);
    let overdue = record::in_force(&outcome.scene, outcome.member.as_ref().map(Option::as_ref)).overdue;
    report_failure(ctx, &object, &overdue, &outcome.told);
    write::status(ctx, &object, &new).await.map_err(|error| unreported(error.into()))?;
    reporting::missed_grants(ctx, &object, &new.roles);
    memory.granted.remove(&outcome.scene.acting.layer.uid);
    ctx.metrics.told(outcome.told.reason);
    Ok(Action::requeue(next_look(ctx, resolved, &outcome, &new, memory)))
}

/// Reports what needs a user's attention: access that is overdue, or else why the object is not ready. Returns how soon
/// the next pass is due for this report.
fn report_failure(
    ctx: &Context,
    object: &ProjectMembership,
    overdue: &BTreeSet<String>,
    told: &Told,
) -> Option<Duration> {
    if overdue.is_empty() {
        reporting::nothing_overdue(ctx, object);
        return reporting::condition(ctx, object, told);
    }
    let because = reporting::because(object, overdue, ctx.now());
    let overdue = Overdue { roles: overdue, because: &because, reason: told.reason, message: &told.message };
    reporting::revocation_failed(ctx, object, &overdue);
    None
}

/// Requests a check of the provider object if a pass found another result than the last check.
fn note_provider(ctx: &Context, connection: &Connection, failure: Option<Reason>, answered: Option<Instant>) {
    if connection.is_to_be_checked(failure, answered, Instant::now()) {
        ctx.providers.wake(&connection.key);
    }
}

/// Reports that `status.target` is ignored because it differs from the target that the spec and the provider object
/// name: it was forged or is out of date.
fn tell_ignored_target(ctx: &Context, object: &ProjectMembership, resolved: &Resolved) {
    let Some(said) = object.status.as_ref().and_then(|status| status.target.as_ref()) else {
        return;
    };
    let named = record::target_status(resolved);
    let (said, named) = (fields(said), fields(&named));
    let differs: Vec<String> = (said.iter().zip(&named))
        .filter(|(said, named)| said != named)
        // A user who can forge the status can write any text into it.
        .map(|((field, said), (_, named))| format!("{field} is {:?}, not {named:?}", text::filtered(said, &[])))
        .collect();
    if !differs.is_empty() {
        let message = format!("status.target is not what the spec names and is ignored: {}", differs.join("; "));
        tracing::warn!(namespace = object.namespace(), name = object.name_any(), "{message}");
        ctx.events.tell(object, Happening::Failed, &[message], None);
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

/// How long to wait for the next pass: until the next edge, until the observation is too old, until Ready of a waiting
/// object has to turn False, or until a failure may be over.
pub fn next_look(
    ctx: &Context,
    resolved: &Resolved,
    outcome: &Outcome,
    new: &ProjectMembershipStatus,
    memory: &mut Memory,
) -> Duration {
    let scene = &outcome.scene;
    let uid = scene.acting.layer.uid.clone();
    let interval = interval(&scene.object, resolved);
    let resync = outcome.listed.map_or(interval, |began| (began + interval).saturating_duration_since(Instant::now()));
    let look = match outcome.again {
        Again::AtEdge => {
            memory.failures.remove(&uid);
            // A few milliseconds later than the resync, so that the observation is certainly too old by then.
            resync + Duration::from_millis(5)
        }
        Again::After(delay) => delay,
        Again::Backoff => backoff(memory, &uid, LONGEST_BACKOFF),
        Again::Soon => backoff(memory, &uid, LONGEST_WHILE_DUE),
    };
    let now = scene.clock(ctx);
    let edges = [new.next_transition_time, status::patience_ends(&new.conditions)];
    // An edge that has passed since the scene was read is due now: nothing else would start a pass for it.
    let edges = edges.into_iter().flatten().filter(|edge| *edge > scene.now);
    let edge = edges.map(|edge| Duration::try_from(edge.duration_since(now)).unwrap_or_default()).min();
    edge.map_or(look, |edge| look.min(edge))
}

/// The backoff of an object: half a second, doubled after each failure up to `longest`, with a jitter of a tenth so
/// that objects that failed together are not retried together.
fn backoff(memory: &mut Memory, uid: &str, longest: Duration) -> Duration {
    let failures = memory.failures.entry(uid.to_owned()).or_default();
    let wait = Duration::from_millis(500).saturating_mul(1 << (*failures).min(20)).min(longest);
    *failures += 1;
    spread(wait, uid, *failures)
}

fn spread(wait: Duration, uid: &str, failures: u32) -> Duration {
    let mut hasher = DefaultHasher::new();
    (uid, failures).hash(&mut hasher);
    wait.mul_f64(0.95 + (hasher.finish() % 100) as f64 / 1000.0)
}

/// Handles an object with a name that has yet to be looked up at the provider.
async fn names_first(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    connection: &Connection,
    named: &Named,
) -> Result<Action, Stop> {
    if object.metadata.deletion_timestamp.is_some() && cleanup::never_acted(object) {
        return cleanup::release(ctx, object).await;
    }
    let began = Instant::now();
    let lookup = names::look_up(ctx, object, connection, named).await?;
    match &lookup {
        Lookup::Refused { refusal, .. } => note_provider(ctx, connection, Some(refusal.reason), None),
        Lookup::Found => note_provider(ctx, connection, None, Some(began)),
        Lookup::Overtaken | Lookup::Later => {}
    }
    match lookup {
        Lookup::Found | Lookup::Overtaken => Ok(Action::requeue(Duration::ZERO)),
        Lookup::Later => {
            let object = ctx.latest(&write::reference(object)).ok_or(Stop::Gone)?;
            let edge = object.status.as_ref().and_then(|status| status.next_transition_time);
            let until = edge.map(|edge| Duration::try_from(edge.duration_since(ctx.now())).unwrap_or_default());
            Ok(until.map_or_else(Action::await_change, Action::requeue))
        }
        Lookup::Refused { refusal, retry } => {
            let object = ctx.latest(&write::reference(object)).ok_or(Stop::Gone)?;
            // The name was never resolved, and the provider knows no such subject or project, so that there is nothing
            // to revoke. A status that was lost may have held the id that the name stood for at that time: then the
            // object is kept.
            let known = object.status.as_ref().is_none_or(|status| status.observed_generation == -1);
            let nobody = !known && matches!(refusal.reason, Reason::SubjectNotFound | Reason::ProjectNotFound);
            if object.metadata.deletion_timestamp.is_some() && nobody {
                return cleanup::release(ctx, &object).await;
            }
            let retry = retry.and_then(|retry| names::retry_after(retry, ctx.targets.not_found(&object)));
            waits(ctx, &object, &refusal, Some(retry.unwrap_or(connection.resync.provider()))).await
        }
    }
}

/// Handles an object whose provider or target is unavailable: nothing is done at the provider, and the status gives the
/// reason. `again`: when the next pass is due if no event starts one earlier.
async fn waits(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    refusal: &Refusal,
    again: Option<Duration>,
) -> Result<Action, Stop> {
    if object.metadata.deletion_timestamp.is_some() {
        return cleanup::without_provider(ctx, object, refusal).await;
    }
    let now = ctx.now();
    let old = object.status.clone().unwrap_or_default();
    let record = admit::record_of(object, now);
    let ends: Vec<Timestamp> = record.iter().filter_map(|role| role.expiration_time).collect();
    // A suspended object does not wait for its provider unless the end of a grant is due.
    let suspended = admit::suspended(object).filter(|_| ends.iter().all(|end| *end > now));
    let Refusal { reason, message } = suspended.unwrap_or_else(|| refusal.clone());
    let told = Told::new(reason, message);
    let generation = object.metadata.generation.unwrap_or_default();
    let conditions = status::conditions(&old.conditions, &told, &[], generation, now);
    let edge = ends.into_iter().chain(status::patience_ends(&conditions)).filter(|edge| *edge > now).min();
    let in_force = record::unobserved(ctx, object, now);
    let report_in = report_failure(ctx, object, &in_force.overdue, &told);
    let roles = status::frozen_roles(&old.roles, &record, &in_force, now);
    let started = old.observed_generation != -1 || !is_finalized(object);
    let known = |role: &str| old.managed_roles.iter().find(|known| known.role == role)?.role_id.clone();
    let managed = status::managed_roles(&admit::presumed(object, &old, &record), known);
    let new = ProjectMembershipStatus {
        active_roles: status::active_roles(&roles),
        next_transition_time: status::next_transition(&roles, &managed, now),
        roles,
        managed_roles: managed,
        // A lost status remains marked as lost until a pass has observed the provider.
        observed_generation: if started { generation } else { -1 },
        conditions,
        // Without an observation the drift is unknown.
        drift: Vec::new(),
        last_handled_reconcile_at: record::asked(object).or(old.last_handled_reconcile_at.clone()),
        ..old
    };
    write::status(ctx, object, &new).await?;
    reporting::missed_grants(ctx, object, &new.roles);
    ctx.metrics.told(told.reason);
    // The provider object's check starts the passes of its memberships. The remaining times are those at which an end
    // is due, the wait has to be reported, or Ready has to turn False.
    let edge = edge.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    let until = edge.into_iter().chain(again).chain(report_in).min();
    Ok(until.map_or_else(Action::await_change, Action::requeue))
}
