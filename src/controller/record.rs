//! What the status of an object must record before its grants are carried out, and what it reports after a pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::admit::{self, Reading};
use super::connections::ProviderKey;
use super::context::Context;
use super::converge::{Look, Pass};
use super::in_use;
use super::outcome::{Outcome, Stop};
use super::resolve::{Scene, is_finalized};
use super::targets::Memory;
use super::write;
use crate::api::membership::{
    CarriedRole, Drift, DriftKind, ManagedRole, ProjectMembershipStatus, RoleStatus, TargetStatus,
};
use crate::api::{ProjectMembership, RECONCILE_AT, Reason};
use crate::clock::Agreement;
use crate::core::layers::{self, Layer, Phase};
use crate::core::member::{Capabilities, Change, Entry, Member, Term};
use crate::core::plan::{self, Plan, View, base_to_record, plan};
use crate::core::status::{self, InForce, Told};
use crate::provider::error::Effect;

/// Records what must be recorded before the provider is written to: first in the status, then by the finalizer. Returns
/// `true` if something was written, so that the objects must be read again.
pub async fn before_the_write(pass: &Pass<'_>, look: &Look, memory: &mut Memory) -> Result<bool, Stop> {
    let (ctx, Look { scene, plan, sighting, .. }) = (pass.ctx, look);
    let observed = sighting.member.as_ref();
    let layer = &scene.acting.layer;
    let counts = layer.phase == Phase::Counts;
    let refused = if counts { not_asked_again(memory, scene) } else { memory.refused.keys().cloned().collect() };
    let view =
        View { observed, capabilities: scene.capabilities, refused: &refused, spared: &scene.spared, now: scene.now };
    let mut record = if counts { layer.record_before(scene.now) } else { layer.managed.clone() };
    record.retain(|role, term| {
        let begins = !refused.contains(role) && (scene.clocks == Agreement::Agree || *term == Term::Permanent);
        begins || layer.managed.contains_key(role)
    });
    // The declaration that adds the base role also records it. Otherwise the base role would remain when the last role
    // is removed.
    let base = base_to_record(layer, &scene.layers(), &view).filter(|base| !layer.managed.contains_key(*base));
    record.extend(base.map(|base| (base.to_owned(), Term::Permanent)));
    let carried = carried_by(plan, scene);
    // The ids that names stand for are recorded before anything is granted to them.
    let named = counts && !record.is_empty() && !is_pinned(scene);
    // The operator must be able to remove the role that adding a member may leave behind.
    let created = matches!(plan.change(), Some(Change::Create(_)));
    let left = scene.capabilities.left_by_an_invitation().filter(|role| created && !layer.managed.contains_key(*role));
    let left: Vec<&str> = left.collect();
    for role in &left {
        record.entry((*role).to_owned()).or_insert(Term::Permanent);
    }
    let grants = counts && scene.acting.records_first && record != layer.managed;
    // A role that is granted again by its name may have another id by now. After a crash, the next process must not
    // take it for an unmanaged role.
    let shown = shown(observed);
    let again = |role: &&String| scene.acting.renames.id_of(role).is_some() && !shown.contains(*role);
    let again: Vec<&String> = plan.gained().iter().filter(again).collect();
    let mut object = scene.object.clone();
    let mut wrote = false;
    if grants || named || !left.is_empty() || base.is_some() || !carried.is_empty() || !again.is_empty() {
        let started = |role: &String| {
            let mut known = scene.object.status.iter().flat_map(|status| &status.roles);
            known.any(|known| known.role == *role && known.start_time.is_some())
        };
        let new = record.iter().filter(|(role, term)| **term != Term::Permanent && !layer.managed.contains_key(*role));
        for role in new.map(|(role, _)| role) {
            memory.unsent.insert((layer.uid.clone(), role.clone()));
            if !started(role) {
                memory.tentative.insert((layer.uid.clone(), role.clone()));
            }
        }
        let managed = scene.acting.renames.without_ids(&again).written(&record, entries(observed));
        let status = status_before(scene, memory, managed, &carried, observed);
        object = write::status(ctx, &object, &status).await?;
        wrote = true;
    }
    // A provider object that is being deleted accepts no new memberships, and roles that were only recorded were never
    // granted.
    let takes = counts || !pass.resolved.named.is_being_deleted();
    if !record.is_empty() && !is_finalized(&object) && takes {
        in_use::hold(ctx, &object, &pass.resolved.connection.uid).await?;
        wrote = true;
    }
    Ok(wrote)
}

/// Whether the ids that the object's names stand for are in its status, or it uses no names.
fn is_pinned(scene: &Scene) -> bool {
    let spec = &scene.object.spec;
    let named = spec.project.name.is_some() || spec.subject.name.is_some();
    !named || scene.object.status.as_ref().is_some_and(|status| status.target.is_some())
}

/// Records what was granted for an earlier generation of the spec: the present spec may not declare those roles any
/// more.
pub async fn after_an_edit(
    ctx: &Context,
    object: Arc<ProjectMembership>,
    memory: &mut Memory,
) -> Result<Arc<ProjectMembership>, kube::Error> {
    let uid = object.uid().unwrap_or_default();
    let Some(granted) = memory.granted.get(&uid).filter(|g| Some(g.generation) != object.metadata.generation) else {
        return Ok(object);
    };
    let old = object.status.clone().unwrap_or_default();
    let status = ProjectMembershipStatus {
        observed_generation: old.observed_generation.max(granted.generation),
        managed_roles: granted.record.clone(),
        ..old
    };
    let object = write::status(ctx, &object, &status).await?;
    memory.granted.remove(&uid);
    Ok(object)
}

/// Whether the object was edited between [`after_an_edit`] and the time at which this scene was read: then what was
/// granted for the earlier spec is not recorded yet, and the present spec may not declare it.
pub fn speaks_of_another(memory: &Memory, scene: &Scene) -> bool {
    let granted = memory.granted.get(&scene.acting.layer.uid);
    granted.is_some_and(|granted| Some(granted.generation) != scene.object.metadata.generation)
}

/// Roles that the provider refused and that no changed spec has requested since. A changed spec requests them again.
fn not_asked_again(memory: &mut Memory, scene: &Scene) -> BTreeSet<String> {
    let asker = (scene.acting.layer.uid.clone(), scene.object.metadata.generation.unwrap_or_default());
    memory.refused.retain(|role, refused| {
        let declares = scene.acting.layer.grants.iter().any(|grant| grant.role == *role);
        !declares || refused.asked_by.contains(&asker)
    });
    memory.refused.keys().cloned().collect()
}

/// Unmanaged entries that a repair removes temporarily and that are not recorded yet.
fn carried_by(plan: &Plan, scene: &Scene) -> Vec<Entry> {
    let recreates = |change: &Change| matches!(change, Change::Recreate(_));
    let layers = scene.layers();
    let ours = |entry: &Entry| {
        layers.iter().any(|l| l.managed.contains_key(&entry.role) || l.has_in_effect(&entry.role, scene.now))
    };
    let written = |entry: &Entry| scene.acting.layer.carried.contains(entry);
    let mut foreign: Vec<Entry> = Vec::new();
    for change in plan.change().into_iter().chain(plan.fallbacks()).filter(|change| recreates(change)) {
        for entry in change.outcome().iter().filter(|entry| !ours(entry)) {
            // In the form in which it is read from the status again: without its id.
            let entry = Entry { role_id: None, ..entry.clone() };
            if !foreign.contains(&entry) {
                foreign.push(entry);
            }
        }
    }
    if foreign.iter().all(written) { Vec::new() } else { foreign }
}

/// The status before a write. If the object does not count, the other fields are left as they are.
fn status_before(
    scene: &Scene,
    memory: &Memory,
    managed: Vec<ManagedRole>,
    carried: &[Entry],
    observed: Option<&Member>,
) -> ProjectMembershipStatus {
    let old = scene.object.status.clone().unwrap_or_default();
    let carried_roles =
        if carried.is_empty() { old.carried_roles.clone() } else { carried.iter().map(carried_role).collect() };
    if scene.acting.layer.phase != Phase::Counts {
        return ProjectMembershipStatus { managed_roles: managed, carried_roles, ..old };
    }
    let generation = scene.object.metadata.generation.unwrap_or_default();
    let told = Told::new(Reason::Progressing, "the grant is written down and about to be carried out");
    let roles = roles_of(scene, &old.roles, &in_force_or_not(scene, Some(observed), memory));
    let conditions = if old.observed_generation == generation && !old.conditions.is_empty() {
        // A planned start or a retry changes nothing that a user must know, so that Ready does not change back and
        // forth.
        old.conditions.clone()
    } else {
        status::conditions(&old.conditions, &told, &[], generation, scene.now)
    };
    ProjectMembershipStatus {
        observed_generation: generation,
        conditions,
        target: Some(scene.target_status.clone()),
        active_roles: status::active_roles(&roles),
        next_transition_time: status::next_transition(&roles, &managed, scene.now),
        roles,
        managed_roles: managed,
        carried_roles,
        drift: Vec::new(),
        last_handled_reconcile_at: old.last_handled_reconcile_at,
    }
}

/// `status.roles` of an object that counts, with the role names of its spec.
fn roles_of(scene: &Scene, old: &[RoleStatus], in_force: &InForce) -> Vec<RoleStatus> {
    let mut roles = status::roles(&scene.acting.layer, &scene.other_layers(), old, in_force, scene.now);
    for role in &mut roles {
        role.role = scene.acting.renames.written_as(&role.role).to_owned();
    }
    roles
}

fn carried_role(entry: &Entry) -> CarriedRole {
    let window = match entry.term {
        Term::Permanent => None,
        Term::Temporary(window) => Some(window),
    };
    CarriedRole {
        role: entry.role.clone(),
        start_time: window.map(|w| w.start),
        expiration_time: window.map(|w| w.end),
        range: entry.verbatim.as_ref().map(|v| v.range.clone()),
        start: entry.verbatim.as_ref().map(|v| v.start.clone()),
    }
}

/// The entries of a member's row at the provider.
pub fn entries(member: Option<&Member>) -> &[Entry] {
    member.map_or(&[][..], |member| &member.entries)
}

/// The roles of a member's row at the provider.
pub fn shown(member: Option<&Member>) -> BTreeSet<String> {
    member.into_iter().flat_map(|member| &member.entries).map(|entry| entry.role.clone()).collect()
}

/// Which roles of the acting object are in force according to the provider's row. The outer `None`: the provider could
/// not be observed.
///
/// An entry whose window has ended grants nothing, though Infisical still lists it. If the provider could not be
/// observed after an end, the end is known to be carried out only if the provider enforces ends itself.
pub fn in_force(scene: &Scene, member: Option<Option<&Member>>) -> InForce {
    let shown = member.map(|member| {
        let entries = member.into_iter().flat_map(|member| &member.entries);
        entries.filter(|entry| !entry.term.ended(scene.now)).map(|entry| entry.role.clone()).collect::<BTreeSet<_>>()
    });
    let (layer, others) = (&scene.acting.layer, scene.other_layers());
    let still = |role: &&String| match &shown {
        Some(shown) => shown.contains(*role),
        None => {
            let ended = layer.managed.get(*role).is_some_and(|term| term.ended(scene.now));
            !(ended && scene.capabilities.enforces_expiry)
        }
    };
    let due = layers::due(layer, &others, scene.capabilities.empty_role, scene.now);
    let overdue: BTreeSet<String> = due.filter(still).cloned().collect();
    let renames = &scene.acting.renames;
    InForce {
        overdue: renames.with_former_names(&overdue),
        shown: shown.map(|shown| renames.with_former_names(&shown)),
        ..InForce::default()
    }
}

/// [`in_force`], with the grants that are known not to have been sent.
fn in_force_or_not(scene: &Scene, member: Option<Option<&Member>>, memory: &Memory) -> InForce {
    let (layer, object) = (&scene.acting.layer, &scene.object);
    let unsent = memory.unsent.iter().filter(|(uid, _)| *uid == layer.uid).map(|(_, role)| role.clone()).collect();
    InForce {
        unsent: scene.acting.renames.with_former_names(&unsent),
        new_since: new_since(object),
        ..in_force(scene, member)
    }
}

/// The creation time of an object whose roles have not been evaluated yet and for which nothing was granted.
fn new_since(object: &ProjectMembership) -> Option<Timestamp> {
    let known = object.status.as_ref().is_some_and(|status| !status.roles.is_empty());
    object.metadata.creation_timestamp.as_ref().filter(|_| !known && !is_finalized(object)).map(|created| created.0)
}

/// Which roles are in force of an object whose provider cannot be asked.
pub fn unobserved(ctx: &Context, object: &ProjectMembership, now: Timestamp) -> InForce {
    let enforces = ctx.providers.find(&ProviderKey::named_by(object)).is_some_and(|named| named.enforces_expiry());
    let managed = admit::record_of(object, now).into_iter();
    let ended = managed.filter(|role| !enforces && role.expiration_time.is_some_and(|end| end <= now));
    InForce { overdue: ended.map(|role| role.role).collect(), ..InForce::default() }
}

/// The roles of a row that the acting object has to record for as long as the provider shows them.
pub fn answered_for(scene: &Scene, member: Option<&Member>, memory: &Memory) -> BTreeSet<String> {
    let refused = memory.refused.keys().cloned().collect();
    let view = View {
        observed: member,
        capabilities: scene.capabilities,
        refused: &refused,
        spared: &scene.spared,
        now: scene.now,
    };
    plan::shown(&scene.acting.layer, &scene.layers(), &view)
}

/// The status after a pass.
pub fn status_after(outcome: &Outcome, memory: &Memory) -> ProjectMembershipStatus {
    let scene = &outcome.scene;
    let (object, layer, now) = (&scene.object, &scene.acting.layer, scene.now);
    let old = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let others = scene.other_layers();
    let in_force = in_force_or_not(scene, outcome.member.as_ref().map(Option::as_ref), memory);
    let there = outcome.member.as_ref().map(|member| shown(member.as_ref())).unwrap_or_default();
    let settled_after = |member: &Option<Member>| {
        layers::record_after(layer, &others, &answered_for(scene, member.as_ref(), memory), now)
    };
    let record = match (&outcome.error, &outcome.member) {
        (Some(_), Some(member)) if outcome.removed => settled_after(member),
        (None, Some(member)) => settled_after(member),
        // The effect of the request is unknown: all of it may have been carried out.
        (Some(error), _) if error.effect() == Effect::Unknown => layer.record_before(now),
        (Some(_) | None, _) => layer.managed.clone(),
    };
    let renames = &scene.acting.renames;
    let mut managed = match (&outcome.error, memory.granted.get(&layer.uid)) {
        // It was granted for this spec, and no observation could show whether it is in force.
        (Some(_), Some(granted)) => granted.record.clone(),
        (Some(_) | None, _) => renames.written(&record, entries(outcome.member.as_ref().and_then(Option::as_ref))),
    };
    // If the provider has only ever refused a grant, the recorded start of that grant does not count.
    let refused = |role: &String| memory.refused.contains_key(role) && !there.contains(role);
    let untried = |role: &String| refused(role) && memory.tentative.contains(&(layer.uid.clone(), role.clone()));
    managed.retain(|managed| !untried(&managed.role));
    let aside = scene.acting.aside.as_ref().map(|refusal| refusal.reason);
    let mut roles = match (layer.phase, aside) {
        (Phase::Counts, _) if outcome.member.is_some() => roles_of(scene, &old.roles, &in_force),
        (Phase::Holds, Some(Reason::Observed)) => {
            status::observed_roles(&object.spec, &old.roles, in_force.shown.as_ref(), now)
        }
        (Phase::Counts | Phase::Holds | Phase::Leaves, _) => {
            let recorded = renames.written(&layer.managed, &[]);
            status::frozen_roles(&old.roles, &recorded, &in_force, now)
        }
    };
    for role in roles.iter_mut().filter(|role| untried(&role.role)) {
        (role.start_time, role.expiration_time) = (None, None);
    }
    // The entries that a repair removed temporarily are back when nothing differs any more.
    let at_rest = outcome.error.is_none() && outcome.told.reason != Reason::Contested;
    let carried = if at_rest { Vec::new() } else { old.carried_roles.clone() };
    ProjectMembershipStatus {
        observed_generation: generation,
        conditions: status::conditions(&old.conditions, &outcome.told, &outcome.drift, generation, now),
        target: Some(scene.target_status.clone()),
        active_roles: status::active_roles(&roles),
        next_transition_time: status::next_transition(&roles, &managed, now),
        roles,
        managed_roles: managed,
        carried_roles: carried,
        drift: outcome.drift.iter().take(status::MOST_DRIFT).cloned().collect(),
        last_handled_reconcile_at: asked(object).or(old.last_handled_reconcile_at),
    }
}

/// The value of the annotation that requests a reconcile, at most 256 characters of it.
pub fn asked(object: &ProjectMembership) -> Option<String> {
    object.annotations().get(RECONCILE_AT).map(|value| value.chars().take(256).collect())
}

/// Whether the object was reported Ready for its present spec: any later difference is drift.
pub fn settled(object: &ProjectMembership) -> bool {
    let Some(status) = &object.status else {
        return false;
    };
    let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    ready && Some(status.observed_generation) == object.metadata.generation
}

/// What to report about a declared role that was renamed at the provider.
pub fn renamed_role(scene: &Scene) -> Option<Told> {
    let Reading { layer, renames, .. } = &scene.acting;
    let mut renamed = renames.of_spec().filter(|(_, present)| layer.has_in_effect(present, scene.now));
    let (former, present) = renamed.next()?;
    let message = format!(
        "the role {former:?} was renamed to {present:?} at the provider: what was granted stays in force under the new name; write {present:?} in spec.roles to keep it, or remove {former:?} from spec.roles to revoke it"
    );
    Some(Told::new(Reason::RoleNotFound, message))
}

/// What to report about a declared role that does not exist at the provider.
pub fn refused_role(scene: &Scene, memory: &Memory) -> Option<Told> {
    let declared = scene.acting.layer.in_effect(scene.now);
    declared
        .filter_map(|grant| memory.refused.get(&grant.role))
        .map(|r| Told::new(Reason::RoleNotFound, r.message.clone()))
        .next()
}

/// The drift that is not repaired. For an object that is suspended or only observes, it is the difference between the
/// provider and the result that its declaration would have.
pub fn drift_of(scene: &Scene, settled: &Plan, observed: Option<&Member>, capabilities: Capabilities) -> Vec<Drift> {
    let of_names = drift_of_names(scene);
    if !scene.acting.compares {
        let counts = scene.acting.layer.phase == Phase::Counts;
        return if counts { with(settled.drift(), of_names) } else { Vec::new() };
    }
    let Some(declared) = scene.declared() else {
        return Vec::new();
    };
    let mut layers: Vec<Layer> = scene.other_layers();
    layers.push(declared);
    let refused = BTreeSet::new();
    let view = View { observed, capabilities, refused: &refused, spared: &scene.spared, now: scene.now };
    with(plan(&layers, &view).drift(), of_names)
}

/// The drift of declared roles that are in force under another name: only the name differs at the provider.
fn drift_of_names(scene: &Scene) -> Vec<Drift> {
    let declared_by_others = |role: &str| scene.others.iter().any(|other| other.layer.has_in_effect(role, scene.now));
    let mut drift = Vec::new();
    for (former, present) in scene.acting.renames.of_spec() {
        drift.push(Drift { role: former.to_owned(), kind: DriftKind::Missing });
        if !declared_by_others(present) {
            drift.push(Drift { role: present.to_owned(), kind: DriftKind::Unexpected });
        }
    }
    drift
}

fn with(drift: &[Drift], more: Vec<Drift>) -> Vec<Drift> {
    let mut drift = drift.to_vec();
    drift.extend(more);
    drift.sort();
    drift.dedup();
    drift
}

/// The target in the form of `status.target`.
pub fn target_status(resolved: &super::resolve::Resolved) -> TargetStatus {
    let target = &resolved.target;
    TargetStatus {
        provider: resolved.connection.key.to_string(),
        endpoint: resolved.connection.endpoint.clone(),
        organization_id: target.project.organization_id.clone(),
        project_id: target.project.id.clone(),
        grant_id: target.project.grant_id.clone(),
        subject_kind: target.subject_kind,
        subject_id: target.subject_id.clone(),
    }
}
