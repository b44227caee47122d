//! A name is resolved once: its id is kept, and the name is never looked up again automatically. A rename therefore
//! moves no access, and a user who gets a name later doesn't inherit the access of its former holder.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::connections::{Connection, ConnectionState};
use super::context::Context;
use super::faults::EarlyEnd;
use super::provider_object::ProviderObject;
use super::resolve::{self, Resolved};
use super::{in_use, precedence, write};
use crate::api::membership::{PendingGrants, ProjectMembershipStatus};
use crate::api::{ManagementPolicy, ProjectMembership, Reason, SubjectKind};
use crate::core::evaluation::DeclarationEvaluation;
use crate::core::layers::Phase;
use crate::core::member::{Project, Target, Term};
use crate::core::policy::allow::ResolvedTarget;
use crate::core::policy::{self, PinnedIds, Refusal};
use crate::core::snapshot::requested;
use crate::core::status::{self, InForce, ReadyCondition};
use crate::provider::error::Effect;
use crate::provider::quota::RequestKind;
use crate::provider::{Error, Retry, Urgency};
use crate::telemetry::liveness::waiting;

/// Stands for the id of a user who isn't known at the provider. No real id has this form.
const NOT_KNOWN_YET: &str = "(not known yet)";

/// Why an object's names were not resolved.
pub enum LookupEnd {
    /// The user isn't in the project yet, and is invited when the first role starts.
    Later,
    /// The object was deleted.
    Gone,
    /// The object has changed during the lookup, so that its names must be looked up again.
    Overtaken,
    /// They could not be resolved.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// When to retry; `None`: only after a change, and at the resync.
        retry: Option<Retry>,
    },
    /// The API server refused a request or failed.
    Stopped(EarlyEnd),
}

impl From<Refusal> for LookupEnd {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, retry: None }
    }
}

impl From<Error> for LookupEnd {
    fn from(error: Error) -> Self {
        let refusal = Refusal { reason: error.reason(), message: error.to_string() };
        let retry = Some(error.retry()).filter(|retry| *retry != Retry::Terminal);
        Self::Refused { refusal, retry }
    }
}

/// Looks up the object's names through its provider, and keeps the ids.
pub async fn look_up(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    connection: &Arc<Connection>,
    named: &Arc<dyn ProviderObject>,
) -> Result<(), LookupEnd> {
    let pinned = found(ctx, object, connection, named).await?;
    if ctx.still_there(object).is_none() {
        // Another object may have this name by now.
        return Err(LookupEnd::Gone);
    }
    tracing::debug!(
        namespace = object.namespace(),
        name = object.name_any(),
        project = pinned.project_id,
        subject = pinned.subject_id,
        "names looked up"
    );
    ctx.wake_units(ctx.targets.pin(object, pinned), Urgency::Grant);
    Ok(())
}

async fn found(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    connection: &Arc<Connection>,
    named: &Arc<dyn ProviderObject>,
) -> Result<PinnedIds, LookupEnd> {
    let (spec, server) = (&object.spec, &connection.server);
    let deleting = object.metadata.deletion_timestamp.is_some();
    let mut pinned = ctx.targets.pinned(object);
    if !deleting {
        may_look_up(ctx, object, named.as_ref(), pinned.project_id.as_ref().or(spec.project.id.as_ref()))?;
    }
    let urgency = if deleting { Urgency::Revoke } else { Urgency::Grant };
    let namespace = object.namespace().unwrap_or_default();
    let permit = async || connection.quota.permit(RequestKind::Read, urgency, &namespace).await;
    if let (None, None, Some(name)) = (&spec.project.id, &pinned.project_id, &spec.project.name) {
        let organization = policy::organization_id(spec, server)?;
        let found = connection.provider.find_project(&permit().await, name, organization.as_deref()).await;
        let ids = match found {
            // The provider's error names a project other than the one that was requested.
            Err(Error::ProjectNotFound { message, .. }) => Err(Refusal { reason: Reason::ProjectNotFound, message }),
            found => Ok(found?),
        };
        let found = ids.and_then(|ids| one_project(ids, name)).and_then(|id| {
            let allowed = if deleting { Ok(()) } else { may_look_up(ctx, object, named.as_ref(), Some(&id)) };
            allowed.map(|()| id)
        });
        let somewhere = ResolvedTarget { project_id: Some(NOT_KNOWN_YET), ..anywhere(object) };
        pinned.project_id =
            Some(found.map_err(|refusal| concealed(ctx, object, named.as_ref(), somewhere, name, refusal))?);
    }
    let Some(project) = policy::project(spec, server, &pinned)? else {
        return Ok(pinned);
    };
    if let (None, None, Some(name)) = (&spec.subject.id, &pinned.subject_id, &spec.subject.name) {
        // This first checks that the provider supports the subject's kind.
        policy::target(spec, server, &pinned)?;
        if !deleting {
            may_look_up(ctx, object, named.as_ref(), Some(&project.id))?;
        }
        let enforces = spec.management_policy == ManagementPolicy::Enforce && !spec.suspend && !deleting;
        let invites = connection.provider.capabilities(spec.subject.kind).invites && enforces;
        // If several objects name a user who is not yet a member, one of them invites the user and the others find the
        // invited user: two simultaneous invitations would send two mails and create two memberships.
        let invite_lock = ctx.targets.invite_lock(&connection.endpoint, &project.id, name);
        let _alone = if invites { Some(waiting(invite_lock.lock()).await) } else { None };
        let ids = connection.provider.find_subject(&permit().await, &project, spec.subject.kind, name).await;
        let in_project = ResolvedTarget { project_id: Some(&project.id), ..anywhere(object) };
        let unlisted = ResolvedTarget { subject_id: Some(NOT_KNOWN_YET), ..in_project };
        let concealed = |refusal| concealed(ctx, object, named.as_ref(), unlisted, name, refusal);
        // The provider's error may name a subject other than the one that was requested. A user with a similar name is
        // not invited.
        if let Err(Error::SubjectNotFound { message }) = ids {
            return Err(concealed(Refusal { reason: Reason::SubjectNotFound, message }).into());
        }
        pinned.subject_id = Some(match one_subject(ids?, spec.subject.kind, name, &project) {
            Ok(id) if deleting => id,
            Ok(id) => {
                let place = ResolvedTarget { subject_id: Some(&id), ..in_project };
                may_be_at(ctx, object, named.as_ref(), place).map_err(concealed)?;
                id
            }
            Err(NotUnique::None(_)) if invites => invite(ctx, object, connection, named, &project, name).await?,
            Err(NotUnique::None(refusal) | NotUnique::Several(refusal)) => return Err(concealed(refusal).into()),
        });
    }
    Ok(pinned)
}

/// Refuses the lookup if the allow rules permit the object's roles for no possible result of its names. The credential
/// that would be used belongs to the provider object, and its visibility must not be open to the object's namespace.
fn may_look_up(
    ctx: &Context,
    object: &ProjectMembership,
    named: &dyn ProviderObject,
    project_id: Option<&String>,
) -> Result<(), Refusal> {
    may_be_at(ctx, object, named, ResolvedTarget { project_id: project_id.map(String::as_str), ..anywhere(object) })
}

/// The object's target as far as the ids in its spec determine it.
fn anywhere(object: &ProjectMembership) -> ResolvedTarget<'_> {
    let subject = &object.spec.subject;
    ResolvedTarget {
        project_id: object.spec.project.id.as_deref(),
        subject_kind: subject.kind,
        subject_id: subject.id.as_deref(),
    }
}

/// If rules list ids, a namespace gets the same message whether the name resolves to an unlisted id, to nothing or to
/// several subjects or projects: the namespace must not learn what the credential can see. `unlisted`: the place with
/// an id that no rule lists.
fn concealed(
    ctx: &Context,
    object: &ProjectMembership,
    named: &dyn ProviderObject,
    unlisted: ResolvedTarget<'_>,
    name: &str,
    refusal: Refusal,
) -> Refusal {
    match may_be_at(ctx, object, named, unlisted) {
        Ok(()) => refusal,
        Err(unlisted) if unlisted.reason != Reason::NotAllowed => unlisted,
        Err(_) => Refusal {
            reason: Reason::NotAllowed,
            message: format!(
                "{:?} {:?} has no allow rule for namespace {:?} that covers what is named {name:?}, or it does not exist: write its id, or ask the maintainers of the provider object for a rule",
                object.spec.provider_ref.kind,
                object.spec.provider_ref.name,
                object.namespace().unwrap_or_default()
            ),
        },
    }
}

fn may_be_at(
    ctx: &Context,
    object: &ProjectMembership,
    named: &dyn ProviderObject,
    place: ResolvedTarget<'_>,
) -> Result<(), Refusal> {
    let admitted = policy::admit(&object.spec)?;
    let labels = resolve::labels(ctx, object);
    let governed = resolve::governed(named, object, labels.as_ref(), place);
    governed.map_or(Ok(()), |governed| governed.may_look_up(&admitted))
}

/// Why a name doesn't identify one subject.
pub enum NotUnique {
    /// No subject has the name.
    None(Refusal),
    /// Several subjects have the name.
    Several(Refusal),
}

/// The only project among those found for a name.
pub fn one_project(ids: Vec<String>, name: &str) -> Result<String, Refusal> {
    let message = match only(ids) {
        Ok(id) => return Ok(id),
        Err(0) => format!(
            "there is no project named {name:?} that the provider's credential can see: check project.name (Infisical: the slug; ZITADEL: the name, in the organization of organizationId), or write project.id"
        ),
        Err(count) => format!("{count} projects are named {name:?}: create the object again with project.id"),
    };
    Err(Refusal { reason: Reason::ProjectNotFound, message })
}

/// The only subject among those found for a name.
pub fn one_subject(ids: Vec<String>, kind: SubjectKind, name: &str, project: &Project) -> Result<String, NotUnique> {
    let refused = |message| Refusal { reason: Reason::SubjectNotFound, message };
    only(ids).map_err(|count| match count {
        0 => NotUnique::None(refused(format!(
            "there is no {kind:?} named {name:?} that the provider's credential can see from project {}: check subject.name, or write subject.id",
            project.id
        ))),
        _ => NotUnique::Several(refused(format!(
            "{count} subjects of kind {kind:?} are named {name:?}: create the object again with subject.id"
        ))),
    })
}

/// The only id, or their number.
fn only(ids: Vec<String>) -> Result<String, usize> {
    <[String; 1]>::try_from(ids).map(|[id]| id).map_err(|ids| ids.len())
}

/// Invites a user who isn't in the project yet, when a role starts. The roles that the server may leave the user with
/// if this is interrupted are recorded first, and the finalizer is added so that they are revoked later.
async fn invite(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    connection: &Arc<Connection>,
    named: &Arc<dyn ProviderObject>,
    project: &Project,
    name: &str,
) -> Result<String, LookupEnd> {
    let now = ctx.now();
    let capabilities = connection.provider.capabilities(SubjectKind::User);
    let evaluated = evaluate_alone(ctx, object, connection, named, project);
    if let Some(inactive) = &evaluated.inactive {
        return Err(inactive.clone().into());
    }
    if evaluated.layer.phase != Phase::Counts || evaluated.layer.in_effect(now).next().is_none() {
        patch_scheduled(ctx, object, &evaluated).await?;
        return Err(LookupEnd::Later);
    }
    let before = object.status.clone().unwrap_or_default();
    let mut record = evaluated.layer.record_before(now);
    // The roles that an invitation grants are recorded as managed, including the base role that gives no access:
    // otherwise the membership would outlast the object.
    for role in capabilities.left_by_an_invitation() {
        record.entry(role.to_owned()).or_insert(Term::Permanent);
    }
    let pending = PendingGrants {
        number: PendingGrants::next_number(object),
        roles: evaluated.renames.written(&record, &[]),
        ..PendingGrants::default()
    };
    let object = in_use::recorded(ctx, object, &connection.uid, &pending).await.map_err(LookupEnd::Stopped)?;
    let namespace = object.namespace().unwrap_or_default();
    let permit = connection.quota.permit(RequestKind::Write, Urgency::Grant, &namespace).await;
    // Check again under the permit: an invitation mail can't be recalled.
    let invited = if is_wanted(ctx, &object, connection, project) {
        connection.provider.invite(&permit, project, name).await.map_err(Some)
    } else {
        Err(None)
    };
    let may_have = |error: &Option<Error>| error.as_ref().is_some_and(|error| error.effect() == Effect::Unknown);
    if !invited.as_ref().is_err_and(may_have)
        && let Some(object) = ctx.still_there(&object)
    {
        let mut after = object.status.clone().unwrap_or_default();
        if invited.is_err() {
            // Nothing was granted, so that a start which was recorded for the grant is removed.
            (after.managed_roles, after.roles) = (before.managed_roles, before.roles);
        }
        // The status includes the record from now on: the invitation had a response (`core::late_writes`).
        write::status(ctx, &object, &after).await.map_err(|error| stopped(&object, error))?;
    }
    invited.map_err(|error| error.map_or(LookupEnd::Overtaken, LookupEnd::from))
}

/// Evaluates an object whose user isn't in the project yet. The id is unknown, so that it matches none of a rule's
/// subjects.
fn evaluate_alone(
    ctx: &Context,
    object: &ProjectMembership,
    connection: &Arc<Connection>,
    named: &Arc<dyn ProviderObject>,
    project: &Project,
) -> DeclarationEvaluation {
    let target =
        Target { project: project.clone(), subject_kind: SubjectKind::User, subject_id: NOT_KNOWN_YET.to_owned() };
    let (connection, named) = (connection.clone(), named.clone());
    let resolved = Resolved { connection, named, unready: None, leaving: None, target, retired: false };
    precedence::alone(ctx, object, &resolved, ctx.now())
}

/// Whether the object, in its current version, still requires this user to be invited through this connection.
fn is_wanted(ctx: &Context, object: &ProjectMembership, connection: &Arc<Connection>, project: &Project) -> bool {
    let Some(object) = ctx.still_there(object) else {
        return false;
    };
    let current = matches!(ctx.connections.get(&connection.key), Some(ConnectionState::Ready(link)) if Arc::ptr_eq(&link, connection));
    // The current rules apply.
    let Some(named) = ctx.providers.find(&connection.key) else {
        return false;
    };
    let layer = evaluate_alone(ctx, &object, connection, &named, project).layer;
    current && layer.phase == Phase::Counts && layer.in_effect(ctx.now()).next().is_some()
}

/// Reports that the user is invited later.
async fn patch_scheduled(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    evaluated: &DeclarationEvaluation,
) -> Result<(), LookupEnd> {
    let message = "no role is in effect: the user is invited to the project when one starts";
    let ready_condition = ReadyCondition::new(Reason::Converged, message);
    let now = ctx.now();
    let old = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let roles = status::roles(&evaluated.layer, &[], &old.roles, &InForce::default(), now);
    let managed = evaluated.renames.written(&evaluated.layer.managed, &[]);
    let status = ProjectMembershipStatus {
        observed_generation: generation,
        conditions: status::conditions(&old.conditions, &ready_condition, &[], generation, now),
        active_roles: status::active_roles(&roles),
        next_transition_time: status::next_transition(&roles, &managed, now),
        roles,
        managed_roles: managed,
        last_handled_reconcile_at: requested(object).or(old.last_handled_reconcile_at.clone()),
        ..old
    };
    write::status(ctx, object, &status).await.map(drop).map_err(|error| stopped(object, error))
}

fn stopped(object: &Arc<ProjectMembership>, error: kube::Error) -> LookupEnd {
    LookupEnd::Stopped(EarlyEnd::of(object, error))
}

/// How long to wait before names are looked up again: one second, doubled with each failure up to five minutes, or the
/// delay that the provider requests. `None`: no retry.
pub fn retry_after(retry: Retry, failures: u32) -> Option<Duration> {
    match retry {
        Retry::Terminal => None,
        Retry::After(delay) => Some(delay),
        Retry::Backoff => Some(Duration::from_secs(1 << failures.min(8)).min(Duration::from_secs(300))),
    }
}
