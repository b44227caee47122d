//! Reports what needs a user's attention: one event and one log line when it begins, and again while it lasts. The
//! times are decided by [`notices`](crate::core::notices).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::context::Context;
use super::provider_key::ProviderKey;
use super::state::outage::FaultScope;
use super::state::tombstones;
use crate::api::condition::Standing;
use crate::api::event::EventKind;
use crate::api::membership::{RoleStatus, TargetStatus};
use crate::api::{ProjectMembership, Reason};
use crate::core::evaluation;
use crate::core::notices::Notices;
use crate::core::snapshot::ready;
use crate::core::status::{self, ReadyCondition};

/// Reports why an object is not ready: a failure when it begins, a wait when it has lasted for some time. Returns how
/// soon a wait has to be reported, if the next pass has to be scheduled for that.
pub fn condition(ctx: &Context, object: &ProjectMembership, ready_condition: &ReadyCondition) -> Option<Duration> {
    let uid = object.uid().unwrap_or_default();
    let now = Instant::now().into_std();
    match ready_condition.reason.standing() {
        Standing::Waiting => {
            let (due, left) = ctx.reports.update(&ctx.metrics, &uid, |notices| {
                (notices.waits(ready_condition.reason, now), notices.grace_left(ready_condition.reason, now))
            });
            if due {
                report_wait(ctx, object, ready_condition);
            }
            return left;
        }
        Standing::Stalled | Standing::Failing if begins(object, ready_condition.reason) => {
            emit(ctx, object, EventKind::Failed, ready_condition.reason, &ready_condition.message);
        }
        Standing::Stalled | Standing::Failing | Standing::Ready => {}
    }
    ctx.reports.update(&ctx.metrics, &uid, Notices::waits_no_more);
    None
}

/// Whether the status does not contain this reason yet.
fn begins(object: &ProjectMembership, reason: Reason) -> bool {
    ready(object).is_none_or(|(_, known)| known != reason.to_string())
}

/// Reports a wait. The log has one line about a provider that is not ready, and not one line about each of its
/// memberships.
fn report_wait(ctx: &Context, object: &ProjectMembership, ready_condition: &ReadyCondition) {
    let message = format!("{}: {}", ready_condition.reason, ready_condition.message);
    let provider = ctx.providers.find(&ProviderKey::named_by(object));
    if provider.is_some_and(|provider| provider.is_reported_not_ready()) {
        ctx.events.emit(object, EventKind::Waiting, &[message], object.spec.justification.as_deref());
    } else {
        emit(ctx, object, EventKind::Waiting, ready_condition.reason, &message);
    }
}

fn emit(ctx: &Context, object: &ProjectMembership, event_kind: EventKind, reason: Reason, message: &str) {
    let (namespace, name) = (object.namespace(), object.name_any());
    let name = tombstones::name_of(&name);
    tracing::warn!(namespace, name, %reason, "{message}");
    let justification = object.spec.justification.as_deref();
    ctx.events.emit(object, event_kind, &[message.to_owned()], justification);
}

/// Reports that access which should have ended may still be in force: with an event, a log line and a metric at the
/// first failure, and again every ten minutes while it lasts. `why`: what is wrong, where, and what to do.
pub fn revocation_failed(ctx: &Context, object: &ProjectMembership, roles: &BTreeSet<String>, why: &ReadyCondition) {
    let now = Instant::now().into_std();
    let due =
        ctx.reports.update(&ctx.metrics, &object.uid().unwrap_or_default(), |notices| notices.revocation_failed(now));
    if due {
        let quoted: Vec<String> = roles.iter().map(|role| format!("{role:?}")).collect();
        let message = format!(
            "could not revoke {} of {} ({}): {}; the access may still be in force, and the operator keeps trying",
            quoted.join(", "),
            place(object),
            because(object, roles, ctx.now()),
            why.message,
        );
        ctx.metrics.unrevoked(why.reason);
        emit(ctx, object, EventKind::RevokeFailed, why.reason, &message);
    }
}

/// Reports the temporary grants that the object's new status marks as not granted. For a suspended object nothing is
/// reported, because not granting is what its spec requests.
pub fn missed_grants(ctx: &Context, object: &ProjectMembership, new: &[RoleStatus]) {
    let old = object.status.as_ref().map_or(&[][..], |status| &status.roles);
    let missed: Vec<String> = status::missed(old, new).map(|role| role.role.clone()).collect();
    if missed.is_empty() || object.spec.suspend {
        return;
    }
    ctx.metrics.missed(missed.len());
    tracing::warn!(
        namespace = object.namespace(),
        name = tombstones::name_of(&object.name_any()),
        roles = missed.join(", "),
        "not granted: the windows ended before the roles could be granted"
    );
    ctx.events.emit(object, EventKind::NotGranted, &missed, object.spec.justification.as_deref());
}

/// Records that nothing of the object is overdue. (Each revocation has its own event.)
pub fn nothing_overdue(ctx: &Context, object: &ProjectMembership) {
    ctx.reports.update(&ctx.metrics, &object.uid().unwrap_or_default(), Notices::revoked);
}

/// The subject and the project of an object, for a message.
fn place(object: &ProjectMembership) -> String {
    match object.status.as_ref().and_then(|status| status.target.as_ref()) {
        Some(TargetStatus { provider, project_id, subject_kind, subject_id, .. }) => {
            format!("{subject_kind:?} {subject_id} in project {project_id} through {provider}")
        }
        None => {
            let (project, subject) = (&object.spec.project, &object.spec.subject);
            let text = |id: &Option<String>, name: &Option<String>| id.clone().or(name.clone()).unwrap_or_default();
            let (project, id) = (text(&project.id, &project.name), text(&subject.id, &subject.name));
            format!("{:?} {id:?} in project {project:?}", subject.kind)
        }
    }
}

/// Why managed roles should have ended, for a message.
fn because(object: &ProjectMembership, roles: &BTreeSet<String>, now: Timestamp) -> String {
    if let Some(deleted) = &object.metadata.deletion_timestamp {
        return format!("its object is being deleted since {}", deleted.0);
    }
    let managed = evaluation::record_of(object, now);
    let ends = managed.iter().filter(|role| roles.contains(&role.role)).filter_map(|role| role.expiration_time);
    match ends.filter(|end| *end <= now).min() {
        Some(end) => format!("it expired at {end}"),
        None => "it is no longer declared".to_owned(),
    }
}

/// Records that a request about an object failed or was refused by the API server. If the failure may concern all
/// objects, the API server is probed; a failure that concerns this object is logged. Returns how many passes in a row
/// have met a fault.
pub fn fault(ctx: &Context, kind: &str, object: &ObjectMeta, error: &kube::Error) -> u32 {
    let concern = FaultScope::of(error);
    let undecided = ctx.outage.is_undecided();
    if concern == FaultScope::Server {
        ctx.outage.suspect();
    }
    let what = error.to_string();
    let (in_a_row, logged) = ctx.reports.update(&ctx.metrics, object.uid.as_deref().unwrap_or_default(), |notices| {
        let in_a_row = notices.fault();
        (in_a_row, concern.is_logged(in_a_row, undecided) && notices.logs_fault(&what))
    });
    let (namespace, name) = (object.namespace.as_deref(), object.name.as_deref().map(tombstones::name_of));
    if logged {
        tracing::warn!(kind, namespace, name, "a request to the API server failed and is retried: {what}");
    } else {
        tracing::debug!(kind, namespace, name, "a request to the API server failed and is retried: {what}");
    }
    in_a_row
}

/// Records that all requests about the object with this uid succeeded.
pub fn no_fault(ctx: &Context, uid: &str) {
    ctx.reports.update(&ctx.metrics, uid, Notices::no_fault);
}
