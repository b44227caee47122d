//! Names are looked up once: what they stand for is kept, and never looked up again by itself. A rename moves no
//! rights, and whoever gets a name later inherits none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::admit::{self, Beside, Reading};
use super::connections::{Connection, Link};
use super::context::Context;
use super::in_use;
use super::outcome::Stop;
use super::provider_object::Named;
use super::resolve::{self, is_finalized};
use super::write;
use crate::api::membership::ProjectMembershipStatus;
use crate::api::{ManagementPolicy, ProjectMembership, Reason, SubjectKind};
use crate::core::layers::Phase;
use crate::core::member::{Project, Term};
use crate::core::policy::allow::Place;
use crate::core::policy::{self, Pinned, Refusal};
use crate::core::status::{self, InForce, Told};
use crate::provider::error::Effect;
use crate::provider::quota::Kind;
use crate::provider::{Error, Provider, Retry, Urgency};
use crate::telemetry::liveness::waiting;

/// Stands for the id of a user who isn't known at the provider: no id looks so.
const NOT_KNOWN_YET: &str = "(not known yet)";

/// What looking an object's names up came to.
pub enum Lookup {
    /// All of them are known now.
    Found,
    /// The user isn't in the project, and is brought in when the first role starts.
    Later,
    /// The object has changed meanwhile, so that it has to be looked at anew.
    Overtaken,
    /// They aren't, for this reason.
    Refused {
        /// Why.
        refusal: Refusal,
        /// When another try may help; `None`: on a change, and at the resync.
        retry: Option<Retry>,
    },
}

impl From<Refusal> for Lookup {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, retry: None }
    }
}

impl From<Error> for Lookup {
    fn from(error: Error) -> Self {
        let refusal = Refusal { reason: error.reason(), message: error.to_string() };
        let retry = Some(error.retry()).filter(|retry| *retry != Retry::Terminal);
        Self::Refused { refusal, retry }
    }
}

/// Why a lookup ends early.
enum Ended {
    With(Lookup),
    Stopped(Stop),
}

impl<T: Into<Lookup>> From<T> for Ended {
    fn from(lookup: T) -> Self {
        Self::With(lookup.into())
    }
}

/// Looks up what the object names, through its provider, and keeps it.
pub async fn look_up(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    connection: &Connection,
    named: &Named,
) -> Result<Lookup, Stop> {
    match found(ctx, object, connection, named).await {
        // Another object may stand under its name by now.
        Ok(_) if still_there(ctx, object).is_none() => Err(Stop::Gone),
        Ok(pinned) => {
            tracing::debug!(
                namespace = object.namespace(),
                name = object.name_any(),
                project = pinned.project_id,
                subject = pinned.subject_id,
                "names looked up"
            );
            let others = ctx.targets.pin(object, pinned);
            others.iter().filter(|other| !ctx.apart(object, other)).for_each(|other| ctx.wake(other));
            Ok(Lookup::Found)
        }
        Err(Ended::With(lookup)) => Ok(lookup),
        Err(Ended::Stopped(stop)) => Err(stop),
    }
}

async fn found(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    connection: &Connection,
    named: &Named,
) -> Result<Pinned, Ended> {
    let (spec, server) = (&object.spec, &connection.server);
    let deleting = object.metadata.deletion_timestamp.is_some();
    let mut pinned = ctx.targets.pinned(object);
    if !deleting {
        may_look_up(ctx, object, named, pinned.project_id.as_ref().or(spec.project.id.as_ref()))?;
    }
    let urgency = if deleting { Urgency::Revoke } else { Urgency::Grant };
    let namespace = object.namespace().unwrap_or_default();
    let permit = async || connection.quota.permit(Kind::Read, urgency, &namespace).await;
    if let (None, None, Some(name)) = (&spec.project.id, &pinned.project_id, &spec.project.name) {
        let organization = policy::organization_id(spec, server)?;
        let found = connection.provider.find_project(&permit().await, name, organization.as_deref()).await;
        let ids = match found {
            // It names another project than was asked for.
            Err(Error::ProjectNotFound { message, .. }) => Err(Refusal { reason: Reason::ProjectNotFound, message }),
            found => Ok(found?),
        };
        let found = ids.and_then(|ids| one_project(ids, name)).and_then(|id| {
            let allowed = if deleting { Ok(()) } else { may_look_up(ctx, object, named, Some(&id)) };
            allowed.map(|()| id)
        });
        let somewhere = Place { project_id: Some(NOT_KNOWN_YET), ..anywhere(object) };
        pinned.project_id = Some(found.map_err(|refusal| untold(ctx, object, named, somewhere, name, refusal))?);
    }
    let Some(project) = policy::project(spec, server, &pinned)? else {
        return Ok(pinned);
    };
    if let (None, None, Some(name)) = (&spec.subject.id, &pinned.subject_id, &spec.subject.name) {
        // That its kind is one that the provider knows is looked at first.
        policy::target(spec, server, &pinned)?;
        if !deleting {
            may_look_up(ctx, object, named, Some(&project.id))?;
        }
        let enforces = spec.management_policy == ManagementPolicy::Enforce && !spec.suspend && !deleting;
        let invites = connection.provider.capabilities(spec.subject.kind).invites && enforces;
        // Of several objects that name a newcomer one invites, and the others find who was invited: two invitations at
        // once are two mails and two memberships.
        let door = ctx.targets.door(&connection.endpoint, &project.id, name);
        let _alone = if invites { Some(waiting(door.lock()).await) } else { None };
        let ids = connection.provider.find_subject(&permit().await, &project, spec.subject.kind, name).await;
        let in_project = Place { project_id: Some(&project.id), ..anywhere(object) };
        let somebody = Place { subject_id: Some(NOT_KNOWN_YET), ..in_project };
        let untold = |refusal| untold(ctx, object, named, somebody, name, refusal);
        // It may name another subject than was asked for. Whoever is named so isn't invited by a similar name.
        if let Err(Error::SubjectNotFound { message }) = ids {
            return Err(untold(Refusal { reason: Reason::SubjectNotFound, message }).into());
        }
        pinned.subject_id = Some(match one_subject(ids?, spec.subject.kind, name, &project) {
            Ok(id) if deleting => id,
            Ok(id) => {
                let place = Place { subject_id: Some(&id), ..in_project };
                may_be_at(ctx, object, named, place).map_err(untold)?;
                id
            }
            Err(NotOne::None(_)) if invites => bring_in(ctx, object, connection, named, &project, name).await?,
            Err(NotOne::None(refusal) | NotOne::Several(refusal)) => return Err(untold(refusal).into()),
        });
    }
    Ok(pinned)
}

/// Whether the object could grant its roles anywhere that its names may stand for. Where it couldn't nothing is looked up:
/// the credential that can see them isn't its namespace's.
fn may_look_up(
    ctx: &Context,
    object: &ProjectMembership,
    named: &Named,
    project_id: Option<&String>,
) -> Result<(), Refusal> {
    may_be_at(ctx, object, named, Place { project_id: project_id.map(String::as_str), ..anywhere(object) })
}

/// Where an object's target is as far as its spec's subject tells.
fn anywhere(object: &ProjectMembership) -> Place<'_> {
    let subject = &object.spec.subject;
    Place {
        project_id: object.spec.project.id.as_deref(),
        subject_kind: subject.kind,
        subject_id: subject.id.as_deref(),
    }
}

/// Where rules list ids, whoever names another, nobody or several of them is told the same: what the credential sees is not
/// for its namespace to find out. `unlisted`: the place with an id that no list has.
fn untold(
    ctx: &Context,
    object: &ProjectMembership,
    named: &Named,
    unlisted: Place<'_>,
    name: &str,
    refusal: Refusal,
) -> Refusal {
    match may_be_at(ctx, object, named, unlisted) {
        Ok(()) => refusal,
        Err(unlisted) if unlisted.reason != Reason::NotAllowed => unlisted,
        Err(_) => Refusal {
            reason: Reason::NotAllowed,
            message: format!(
                "{:?} {:?} has no allow rule for namespace {:?} that what is named {name:?} falls under, or there is no such one: write its id, or ask whoever keeps the provider for a rule",
                object.spec.provider_ref.kind,
                object.spec.provider_ref.name,
                object.namespace().unwrap_or_default()
            ),
        },
    }
}

fn may_be_at(ctx: &Context, object: &ProjectMembership, named: &Named, place: Place<'_>) -> Result<(), Refusal> {
    let admitted = policy::admit(&object.spec)?;
    let labels = resolve::labels(ctx, object);
    let governed = resolve::governed(named, object, labels.as_ref(), place);
    governed.map_or(Ok(()), |governed| governed.may_look_up(&admitted))
}

/// Why a name stands for no subject.
pub enum NotOne {
    /// Nobody has it.
    None(Refusal),
    /// Several have it.
    Several(Refusal),
}

/// The one project of a name, of those that were found.
pub fn one_project(ids: Vec<String>, name: &str) -> Result<String, Refusal> {
    let count = ids.len();
    let refused = |message| Refusal { reason: Reason::ProjectNotFound, message };
    match <[String; 1]>::try_from(ids) {
        Ok([id]) => Ok(id),
        Err(_) if count == 0 => Err(refused(format!(
            "there is no project named {name:?} that the provider's credential can see: check project.name (Infisical: the slug; ZITADEL: the name, in the organization of organizationId), or write project.id"
        ))),
        Err(_) => Err(refused(format!("{count} projects are named {name:?}: create the object again with project.id"))),
    }
}

/// The one subject of a name, of those that were found.
pub fn one_subject(ids: Vec<String>, kind: SubjectKind, name: &str, project: &Project) -> Result<String, NotOne> {
    let count = ids.len();
    let refused = |message| Refusal { reason: Reason::SubjectNotFound, message };
    match <[String; 1]>::try_from(ids) {
        Ok([id]) => Ok(id),
        Err(_) if count == 0 => Err(NotOne::None(refused(format!(
            "there is no {kind:?} named {name:?} that the provider's credential can see from project {}: check subject.name, or write subject.id",
            project.id
        )))),
        Err(_) => Err(NotOne::Several(refused(format!(
            "{count} subjects of kind {kind:?} are named {name:?}: create the object again with subject.id"
        )))),
    }
}

/// Brings a user into the project who isn't there yet, when a role starts. What the server may leave the user with
/// when this is cut short is written down first, and the finalizer is there to end it.
async fn bring_in(
    ctx: &Context,
    object: &Arc<ProjectMembership>,
    connection: &Connection,
    named: &Named,
    project: &Project,
    name: &str,
) -> Result<String, Ended> {
    let now = ctx.now();
    let capabilities = connection.provider.capabilities(SubjectKind::User);
    let reading = reading_of_newcomer(ctx, object, connection, named, project, now);
    if let Some(aside) = &reading.aside {
        return Err(aside.clone().into());
    }
    if reading.layer.phase != Phase::Counts || reading.layer.in_effect(now).next().is_none() {
        say_scheduled(ctx, object, &reading).await?;
        return Err(Lookup::Later.into());
    }
    let before = object.status.clone().unwrap_or_default();
    let mut record = reading.layer.record_before(now);
    // What the invitation leaves the user with is ours to take away, the base that gives nothing too: or the membership
    // would outlast the object.
    for role in capabilities.left_by_an_invitation() {
        record.entry(role.to_owned()).or_insert(Term::Permanent);
    }
    let told = Told::new(Reason::Progressing, format!("{name:?} is brought into project {}", project.id));
    let mut status = status_of(ctx, object, &reading, &record, &told);
    if before.observed_generation == status.observed_generation && !before.conditions.is_empty() {
        // Another try is no news: Ready doesn't flicker.
        status.conditions.clone_from(&before.conditions);
    }
    let object = write::status(ctx, object, &status).await.map_err(stopped)?;
    if !is_finalized(&object) {
        in_use::hold(ctx, &object, &connection.uid).await.map_err(Ended::Stopped)?;
    }
    let namespace = object.namespace().unwrap_or_default();
    let permit = connection.quota.permit(Kind::Write, Urgency::Grant, &namespace).await;
    // Permit, then look again: whoever is mailed can't be unmailed.
    let invited = if is_wanted(ctx, &object, connection, project) {
        connection.provider.invite(&permit, project, name).await.map_err(Some)
    } else {
        permit.unused();
        Err(None)
    };
    let may_have = |error: &Option<Error>| error.as_ref().is_some_and(|error| error.effect() == Effect::Unknown);
    if invited.as_ref().is_err_and(|error| !may_have(error))
        && let Some(object) = still_there(ctx, &object)
    {
        // Nothing was granted: a start that was written down for it was none.
        let managed = before.managed_roles.clone();
        let roles = before.roles.clone();
        let after = object.status.clone().unwrap_or_default();
        let after = ProjectMembershipStatus { managed_roles: managed, roles, ..after };
        write::status(ctx, &object, &after).await.map_err(stopped)?;
    }
    invited.map_err(|error| Ended::With(error.map_or(Lookup::Overtaken, Lookup::from)))
}

/// Reads an object whose user isn't in the project yet.
fn reading_of_newcomer(
    ctx: &Context,
    object: &ProjectMembership,
    connection: &Connection,
    named: &Named,
    project: &Project,
    now: Timestamp,
) -> Reading {
    let (labels, record) = (resolve::labels(ctx, object), ctx.written.record(object));
    let beside = Beside {
        capabilities: connection.provider.capabilities(SubjectKind::User),
        observed: None,
        record: &record,
        others: &BTreeSet::new(),
        unready: None,
        shadowed: false,
        ourselves: false,
        governed: resolve::governed(named, object, labels.as_ref(), newcomer(project)),
        now,
    };
    admit::read(object, &beside)
}

/// Where a user stands who isn't in the project yet: whose id isn't known is none of a rule's subjects.
fn newcomer(project: &Project) -> Place<'_> {
    Place { project_id: Some(&project.id), subject_kind: SubjectKind::User, subject_id: Some(NOT_KNOWN_YET) }
}

/// The object as last seen, unless it is gone, whatever stands under its name.
fn still_there(ctx: &Context, object: &ProjectMembership) -> Option<Arc<ProjectMembership>> {
    ctx.latest(&write::reference(object)).filter(|latest| latest.uid() == object.uid())
}

/// Whether the object, as it is now, still has somebody brought in through this connection.
fn is_wanted(ctx: &Context, object: &ProjectMembership, connection: &Connection, project: &Project) -> bool {
    let Some(object) = still_there(ctx, object) else {
        return false;
    };
    let current =
        matches!(ctx.connections.get(&connection.key), Some(Link::Ready(link)) if std::ptr::eq(&*link, connection));
    // The rules, too, are those of now.
    let Some(named) = ctx.providers.find(&connection.key) else {
        return false;
    };
    let now = ctx.now();
    let layer = reading_of_newcomer(ctx, &object, connection, &named, project, now).layer;
    current && layer.phase == Phase::Counts && layer.in_effect(now).next().is_some()
}

async fn say_scheduled(ctx: &Context, object: &Arc<ProjectMembership>, reading: &Reading) -> Result<(), Ended> {
    let told =
        Told::new(Reason::Converged, "no role is in effect: the user is brought into the project when one starts");
    let status = status_of(ctx, object, reading, &reading.layer.managed, &told);
    write::status(ctx, object, &status).await.map(drop).map_err(stopped)
}

fn status_of(
    ctx: &Context,
    object: &ProjectMembership,
    reading: &Reading,
    record: &BTreeMap<String, Term>,
    told: &Told,
) -> ProjectMembershipStatus {
    let now = ctx.now();
    let old = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let roles = status::roles(&reading.layer, &[], &old.roles, &InForce::default(), now);
    let managed = reading.renames.written(record, &[]);
    ProjectMembershipStatus {
        observed_generation: generation,
        conditions: status::conditions(&old.conditions, told, &[], generation, now),
        active_roles: status::active_roles(&roles),
        next_transition_time: status::next_transition(&roles, &managed, now),
        roles,
        managed_roles: managed,
        last_handled_reconcile_at: super::record::asked(object).or(old.last_handled_reconcile_at.clone()),
        ..old
    }
}

fn stopped(error: kube::Error) -> Ended {
    Ended::Stopped(error.into())
}

/// How long to wait before names are looked up again: a second, doubling up to five minutes, or as the provider says.
pub fn retry_after(retry: Retry, failures: u32) -> Option<Duration> {
    match retry {
        Retry::Terminal => None,
        Retry::After(delay) => Some(delay),
        Retry::Backoff => Some(Duration::from_secs(1 << failures.min(8)).min(Duration::from_secs(300))),
    }
}
