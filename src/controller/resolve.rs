//! Resolves an object's references to a verified connection and a target, and reads all declarations of that target as
//! layers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use super::admit::{self, Beside, Reading};
use super::connections::{Connection, Link, ProviderKey, Retired};
use super::context::Context;
use super::namespaces::Labels;
use super::precedence;
use super::provider_object::Named;
use super::targets::Spot;
use super::tombstones;
use crate::api::membership::{ManagedRole, ProviderKind, TargetStatus};
use crate::api::{FINALIZER, ProjectMembership, Reason};
use crate::clock::{self, Agreement};
use crate::controller::roster::Evidence;
use crate::core::grants::{self, Starts};
use crate::core::layers::{Layer, Phase};
use crate::core::member::{Capabilities, Member, Target};
use crate::core::policy::allow::{Governed, Namespace, Place};
use crate::core::policy::{self, Refusal};
use crate::provider::Provider;
use crate::provider::http::text;

/// The result of resolving an object's references.
#[derive(Clone)]
pub struct Resolved {
    /// The uid of the object.
    pub uid: String,
    /// The connection to the provider.
    pub connection: Arc<Connection>,
    /// The provider object in its present version, with its rules.
    pub named: Named,
    /// Why the provider is not ready. The connection is then the last one that was ready, and serves only ends and
    /// revocations.
    pub unready: Option<Refusal>,
    /// The target at the provider.
    pub target: Target,
    /// The provider object is gone, and the connection is the one that was kept of it.
    pub retired: bool,
}

impl Resolved {
    /// The capabilities and requirements of the provider for this kind of subject.
    pub fn capabilities(&self) -> Capabilities {
        self.connection.provider.capabilities(self.target.subject_kind)
    }

    /// The object that this was resolved for, in the version of the cache; `None`: it is gone. Another object may have
    /// its name by now, with another subject.
    pub fn object(&self, ctx: &Context, reference: &ObjectRef<ProjectMembership>) -> Option<Arc<ProjectMembership>> {
        ctx.latest(reference).filter(|object| object.uid().as_ref() == Some(&self.uid))
    }

    /// This value with the present rules of the provider object. `None`: the provider object, its connection or its
    /// readiness has changed since this was resolved, so that it may not be used any more.
    pub fn renewed(&self, ctx: &Context) -> Option<Self> {
        if self.retired {
            let retired = ctx.connections.retired(&self.connection.key, &self.connection.endpoint)?;
            return Arc::ptr_eq(&retired.connection, &self.connection).then(|| self.clone());
        }
        let named =
            ctx.providers.find(&self.connection.key).filter(|named| named.uid() == Some(&self.connection.uid))?;
        let current = match (ctx.connections.get(&self.connection.key)?, &self.unready) {
            (Link::Ready(current), None) | (Link::Failed { last: Some(current), .. }, Some(_)) => current,
            (Link::Ready(current), Some(_)) if named.is_being_deleted() => current,
            (Link::Ready(_), Some(_)) | (Link::Failed { .. }, _) => return None,
        };
        Arc::ptr_eq(&current, &self.connection).then(|| Self { named, ..self.clone() })
    }

    /// Whether the subject of the target is the account that the operator itself uses at the provider.
    pub fn is_ourselves(&self) -> bool {
        self.connection.provider.signed_in_as().is_some_and(|id| id == self.target.subject_id)
    }

    /// The rules that apply to an object of the target. `labels`: those of its namespace.
    pub fn governed<'a>(&'a self, object: &'a ProjectMembership, labels: Option<&'a Labels>) -> Option<Governed<'a>> {
        let place = Place {
            project_id: Some(&self.target.project.id),
            subject_kind: self.target.subject_kind,
            subject_id: Some(&self.target.subject_id),
        };
        governed(&self.named, object, labels, place)
    }

    /// What is known about the credential's rights in the target's project.
    pub fn evidence(&self) -> Evidence {
        self.connection.rosters.evidence(&self.target.project, self.target.subject_kind)
    }

    /// The subject, project and server whose roles are managed.
    ///
    /// The organization is not part of it: a project belongs to exactly one, and whether an object's spec names it
    /// makes no difference.
    pub fn spot(&self) -> Spot {
        let mut target = self.target.clone();
        target.project.organization_id = None;
        Spot { endpoint: self.connection.endpoint.clone(), target }
    }
}

/// Why an object's references cannot be resolved yet.
pub enum Unresolved {
    /// The provider object is being checked for the first time. When the check is done, its memberships are reconciled.
    Checking,
    /// A name of the object has yet to be looked up through this connection.
    Named(Arc<Connection>, Named),
    /// Something is missing or wrong.
    Refused(Refusal),
}

impl From<Refusal> for Unresolved {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Resolves an object's provider and target. If the provider object is gone, or was created again and is unusable, the
/// retired connection of the former one serves for ends and revocations.
pub fn resolve(ctx: &Context, object: &ProjectMembership) -> Result<Resolved, Unresolved> {
    let key = ProviderKey::named_by(object);
    let refusal = match tombstones::left_at(object) {
        Some(_) => provider_not_found(ctx, &key),
        None => match resolve_current(ctx, object, &key) {
            Err(Unresolved::Refused(refusal)) => refusal,
            resolved => return resolved,
        },
    };
    let endpoint =
        tombstones::left_at(object).or_else(|| Some(object.status.as_ref()?.target.as_ref()?.endpoint.clone()));
    let retired = endpoint.and_then(|endpoint| ctx.connections.retired(&key, &endpoint));
    let Some(Retired { named, connection }) = retired else {
        return Err(refusal.into());
    };
    match policy::target(&object.spec, &connection.server, &ctx.targets.pinned(object)) {
        Ok(Some(target)) => {
            let uid = object.uid().unwrap_or_default();
            Ok(Resolved { uid, connection, named, unready: Some(refusal), target, retired: true })
        }
        Ok(None) | Err(_) => Err(refusal.into()),
    }
}

fn provider_not_found(ctx: &Context, key: &ProviderKey) -> Refusal {
    let place = match key.kind {
        ProviderKind::MembershipProvider => format!(" in namespace {:?}", key.namespace),
        ProviderKind::ClusterMembershipProvider => String::new(),
    };
    let message = if ctx.providers.serve(key.kind) {
        format!("there is no {:?} {:?}{place}: this object waits until it is created", key.kind, key.name)
    } else {
        format!(
            "{:?} {:?} can't be had: its kind isn't installed (kubectl apply -f crds/), or the operator was started with --watch-namespaces and serves none",
            key.kind, key.name
        )
    };
    Refusal { reason: Reason::ProviderNotFound, message }
}

fn resolve_current(ctx: &Context, object: &ProjectMembership, key: &ProviderKey) -> Result<Resolved, Unresolved> {
    let Some(named) = ctx.providers.find(key) else {
        return Err(provider_not_found(ctx, key).into());
    };
    let link = ctx.connections.get(key).ok_or(Unresolved::Checking)?;
    let waits = matches!(link, Link::Failed { .. }) || named.is_being_deleted() && !is_finalized(object);
    let unready = waits.then(|| unready(key, &link));
    let connection = match (link.usable().filter(|usable| Some(&usable.uid) == named.uid()), &unready) {
        (Some(connection), _) => connection,
        (None, Some(unready)) => return Err(unready.clone().into()),
        // Another provider object has this name now.
        (None, None) => return Err(Unresolved::Checking),
    };
    told_by_another(object, &connection)?;
    match (policy::target(&object.spec, &connection.server, &ctx.targets.pinned(object))?, unready) {
        (Some(target), unready) => {
            let uid = object.uid().unwrap_or_default();
            Ok(Resolved { uid, connection, named, unready, target, retired: false })
        }
        (None, Some(unready)) => Err(unready.into()),
        (None, None) => Err(Unresolved::Named(connection, named)),
    }
}

/// Why a provider object's memberships wait. About a provider object of the cluster the message gives only the reason:
/// its Secrets, its server's messages and the rest of its status are for its administrators only.
fn unready(key: &ProviderKey, link: &Link) -> Refusal {
    let ProviderKey { kind, name, .. } = key;
    let message = match (link, kind) {
        (Link::Ready(_), _) => format!("{kind:?} {name:?} is being deleted and takes no new memberships"),
        (Link::Failed { reason, message, .. }, ProviderKind::MembershipProvider) => {
            format!("{kind:?} {name:?} is not ready: {reason}: {message}")
        }
        (Link::Failed { reason, .. }, ProviderKind::ClusterMembershipProvider) => {
            format!("{kind:?} {name:?} is not ready: {reason}: its own status tells whoever keeps it why")
        }
    };
    Refusal { reason: Reason::ProviderNotReady, message }
}

/// Refuses an object whose names were looked up at another server: the ids of one server are not valid at another, and
/// names are never looked up again.
fn told_by_another(object: &ProjectMembership, connection: &Connection) -> Result<(), Refusal> {
    let named = object.spec.project.name.is_some() || object.spec.subject.name.is_some();
    match object.status.as_ref().and_then(|status| status.target.as_ref()) {
        Some(target) if named && target.endpoint != connection.endpoint => Err(Refusal {
            reason: Reason::InvalidSpec,
            message: format!(
                "the names were looked up at {:?}, and the provider object now stands for {}: delete this object and create it again",
                text::filtered(&target.endpoint, &[]),
                connection.endpoint
            ),
        }),
        _ => Ok(()),
    }
}

/// A snapshot of all declarations of one target through one provider object, as layers.
pub struct Scene {
    /// The acting object.
    pub object: Arc<ProjectMembership>,
    /// The evaluation of the acting object, which is also the first of the layers.
    pub acting: Reading,
    /// The evaluations of the other declarations.
    pub others: Vec<Reading>,
    /// References to the other declarations, in the same order.
    pub other_objects: Vec<ObjectRef<ProjectMembership>>,
    /// The capabilities and requirements of the provider.
    pub capabilities: Capabilities,
    /// Roles that no declaration granted and that no rule allows the acting object to remove, not even when it removes
    /// the whole member.
    pub spared: BTreeSet<String>,
    /// Whether the provider's clock and the operator's agree: a temporary grant begins only if they do.
    pub clocks: Agreement,
    /// The uids and generations of the objects that count.
    pub asked_by: BTreeSet<(String, i64)>,
    /// The target in the form of `status.target`.
    pub target_status: TargetStatus,
    /// The time for which everything is evaluated, by the clock that is ahead, so that an end takes effect at the
    /// earlier of the two times.
    pub now: Timestamp,
    /// How far that clock is ahead of the operator's clock.
    pub lead: SignedDuration,
}

impl Scene {
    /// The present time of the clock that `now` was read from.
    pub fn clock(&self, ctx: &Context) -> Timestamp {
        ctx.now().saturating_add(self.lead).unwrap_or(Timestamp::MAX)
    }

    /// The acting object's declaration as a layer that counts, with the start times of its status and spec. The
    /// provider is compared with this layer while the object is suspended or only observes.
    pub fn declared(&self) -> Option<Layer> {
        let admitted = self.acting.admitted.as_ref()?;
        let status = self.object.status.clone().unwrap_or_default();
        let starts = status.roles.iter().filter_map(|role| Some((role.role.clone(), role.start_time?))).collect();
        let mut grants = grants::evaluate(admitted, &Starts::recorded(starts), self.now);
        self.acting.renames.follow(&mut grants, &self.acting.layer.managed);
        let mut layer = Layer { phase: Phase::Counts, grants, ..self.acting.layer.clone() };
        layer.managed = layer.record_before(self.now);
        Some(layer)
    }

    /// All layers, the acting one first.
    pub fn layers(&self) -> Vec<Layer> {
        std::iter::once(&self.acting).chain(&self.others).map(|reading| reading.layer.clone()).collect()
    }

    /// Whether any declaration of the target has recorded a role with its id.
    pub fn know_ids(&self) -> bool {
        std::iter::once(&self.acting).chain(&self.others).any(|reading| reading.renames.know_ids())
    }

    /// The layers of the other declarations.
    pub fn other_layers(&self) -> Vec<Layer> {
        self.others.iter().map(|reading| reading.layer.clone()).collect()
    }
}

/// Evaluates the acting object and the other declarations of its target; `None`: the object is gone.
pub fn scene(
    ctx: &Context,
    reference: &ObjectRef<ProjectMembership>,
    resolved: &Resolved,
    capabilities: Capabilities,
    observed: Option<&Member>,
) -> Option<Scene> {
    let object = resolved.object(ctx, reference)?;
    let (provider, wall, at) = (resolved.connection.provider.clock(), ctx.now(), Instant::now());
    let clocks = clock::agreement(provider.as_ref(), wall, at);
    let lead = clock::lead(provider.as_ref(), wall, at);
    let now = wall.saturating_add(lead).unwrap_or(Timestamp::MAX);
    let declarations: Vec<Arc<ProjectMembership>> =
        ctx.targets.declarations(&object).iter().filter_map(|declarations| ctx.latest(declarations)).collect();
    let shadowed = precedence::is_shadowed(ctx, &object, resolved, now);
    let mut objects = vec![object.clone()];
    objects.extend(declarations.into_iter().filter(|other| {
        other.uid() != object.uid() && resolve(ctx, other).is_ok_and(|r| same_plan(&r, resolved)) && has_a_say(other)
    }));
    let records: Vec<Vec<ManagedRole>> = objects.iter().map(|object| ctx.written.record(object)).collect();
    let written_down = |(object, record): (&Arc<ProjectMembership>, &Vec<ManagedRole>)| -> BTreeSet<String> {
        admit::recognised(object, record, observed).0.into_keys().collect()
    };
    let recorded: Vec<BTreeSet<String>> = objects.iter().zip(&records).map(written_down).collect();
    let mut recorders: HashMap<&str, usize> = HashMap::new();
    recorded.iter().flatten().for_each(|role| *recorders.entry(role).or_default() += 1);
    let labels: Vec<Option<Labels>> = objects.iter().map(|object| labels(ctx, object)).collect();
    let governed: Vec<Option<Governed<'_>>> =
        objects.iter().zip(&labels).map(|(object, labels)| resolved.governed(object, labels.as_ref())).collect();
    let ourselves = resolved.is_ourselves();
    let mut readings: Vec<Reading> = Vec::with_capacity(objects.len());
    for (index, ((object, record), governed)) in objects.iter().zip(&records).zip(&governed).enumerate() {
        let own = recorded.get(index);
        let by_others = |role: &&String| {
            let by_itself = usize::from(own.is_some_and(|own| own.contains(*role)));
            recorders.get(role.as_str()).is_some_and(|all| *all > by_itself)
        };
        let shown = observed.into_iter().flat_map(|member| &member.entries).map(|entry| &entry.role);
        let others: BTreeSet<String> = shown.filter(by_others).cloned().collect();
        let unready = resolved.unready.as_ref();
        let beside = Beside {
            capabilities,
            observed,
            record,
            others: &others,
            unready,
            shadowed,
            ourselves,
            governed: *governed,
            now,
        };
        let mut reading = admit::read(object, &beside);
        if let Some(governed) = governed {
            // A user who can forge a status must not be able to remove roles that no rule gives them.
            let Reading { layer, renames, .. } = &mut reading;
            let written = |role: &str| ctx.written.knows(object, renames.recorded_as(role));
            layer.managed.retain(|role, _| governed.may_take(role).is_ok() || written(role));
        }
        readings.push(reading);
    }
    for (index, object) in objects.iter().enumerate() {
        admit::refuse_adoption(object, index, &mut readings, observed, now);
    }
    let foreign = admit::foreign(&readings, capabilities, observed, now);
    for (reading, governed) in readings.iter_mut().zip(&governed) {
        admit::refuse_taking(reading, *governed, &foreign);
    }
    for (reading, object) in readings.iter_mut().zip(&objects).filter(|(r, _)| r.layer.phase == Phase::Holds) {
        admit::bring_ends_forward(&mut reading.layer.managed, &reading.renames, object, now);
    }
    let spared = match governed.first() {
        Some(Some(governed)) => foreign.into_iter().filter(|role| governed.may_take(role).is_err()).collect(),
        Some(None) | None => BTreeSet::new(),
    };
    for (index, reading) in readings.iter_mut().enumerate() {
        // Only an object's own pass may begin its grants, and only when the finalizer is there to end them.
        reading.layer.grants_unrecorded &= index == 0 && is_finalized(&object);
    }
    let counting = objects.iter().zip(&readings).filter(|(_, reading)| reading.layer.phase == Phase::Counts);
    let generation = |object: &ProjectMembership| object.metadata.generation.unwrap_or_default();
    let asked_by = counting.map(|(object, _)| (object.uid().unwrap_or_default(), generation(object))).collect();
    let mut readings = readings.into_iter();
    let acting = readings.next()?;
    let other_objects = objects.iter().skip(1).map(|other| ObjectRef::from_obj(other.as_ref())).collect();
    let target_status = super::record::target_status(resolved);
    let others = readings.collect();
    Some(Scene {
        object,
        acting,
        others,
        other_objects,
        capabilities,
        spared,
        clocks,
        asked_by,
        target_status,
        now,
        lead,
    })
}

/// The labels of an object's namespace, if any rule selects by labels.
pub fn labels(ctx: &Context, object: &ProjectMembership) -> Option<Labels> {
    ctx.namespaces.labels(object.metadata.namespace.as_deref().unwrap_or_default())
}

/// The rules that apply to an object at `place`; `None`: its provider object has none.
pub fn governed<'a>(
    named: &'a Named,
    object: &'a ProjectMembership,
    labels: Option<&'a Labels>,
    place: Place<'a>,
) -> Option<Governed<'a>> {
    let namespace = Namespace { name: object.metadata.namespace.as_deref().unwrap_or_default(), labels };
    let provider = object.spec.provider_ref.name.as_str();
    named.rules().map(|rules| Governed { provider, rules, namespace, place })
}

/// Whether an object is evaluated: one that is being deleted and has nothing left to revoke counts as gone.
fn has_a_say(object: &ProjectMembership) -> bool {
    object.metadata.deletion_timestamp.is_none() || is_finalized(object)
}

/// Whether the operator's finalizer is on the object.
pub fn is_finalized(object: &ProjectMembership) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Whether two objects share a plan: they must name the same provider object, because one credential must not write on
/// behalf of another.
pub fn same_plan(a: &Resolved, b: &Resolved) -> bool {
    a.connection.uid == b.connection.uid && a.spot() == b.spot()
}
