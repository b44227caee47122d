//! Turns an object, as the API server stores it, into a layer of its target.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;

use super::places::MOST_DECLARATIONS;
use crate::api::membership::{CarriedRole, ManagedRole, ProjectMembershipStatus, ProviderKind, RoleGrant, RoleState};
use crate::api::{
    AdoptionPolicy, DeletionPolicy, FINALIZER, ManagementPolicy, ProjectMembership, Reason, RoleManagement,
};
use crate::core::grants::{self, Past, Starts};
use crate::core::layers::{Layer, Phase};
use crate::core::member::{Capabilities, Entry, Member, Term, Verbatim, Window};
use crate::core::plan;
use crate::core::policy::allow::Governed;
use crate::core::policy::{self, Admitted, Refusal, When};
use crate::core::renames::{self, Renames};
use crate::core::status::term_of;

/// An object as a layer, with what is needed to write its status.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The layer.
    pub layer: Layer,
    /// The spec's roles, if the spec was admitted.
    pub admitted: Option<Admitted>,
    /// Why the object is inactive (its grants don't count); `None` if they count or the object is being deleted.
    pub aside: Option<Refusal>,
    /// Whether the object is suspended or only observes, and could be carried out otherwise: the provider's state is
    /// then compared with what the object declares.
    pub compares: bool,
    /// The current names of the roles that the object has recorded.
    pub renames: Renames,
    /// Whether the grants have to be recorded before the first write to the provider, because the spec alone doesn't
    /// tell what this object granted.
    pub records_first: bool,
}

/// The inputs, besides the object itself, from which it is evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The provider's capabilities.
    pub capabilities: Capabilities,
    /// The member as the provider shows it.
    pub observed: Option<&'a Member>,
    /// The roles that the object has recorded as managed, as far as the record is trusted.
    pub record: &'a [ManagedRole],
    /// Roles that the provider shows and that other declarations of the target have recorded: they belong to those
    /// declarations.
    pub others: &'a BTreeSet<String>,
    /// Why the provider isn't ready. Then only ends and revocations are carried out.
    pub unready: Option<&'a Refusal>,
    /// Whether another provider object takes precedence on this target.
    pub shadowed: bool,
    /// Whether the subject is the account that the operator itself signs in with.
    pub ourselves: bool,
    /// The allow rules that govern the object; `None` if only the rights of the provider object's credential limit what
    /// it may do.
    pub governed: Option<Governed<'a>>,
    /// The current time.
    pub now: Timestamp,
}

/// Evaluates one object.
pub fn read(object: &ProjectMembership, beside: &Beside<'_>) -> Reading {
    let status = object.status.clone().unwrap_or_default();
    let (mut managed, renames) = recognised(object, beside.record, beside.observed);
    let admission = policy::admit(&object.spec);
    let deleting = object.metadata.deletion_timestamp.is_some();
    let asked_for = admission.as_ref().map_or_else(
        |_| Vec::new(),
        |admitted| grants::evaluate(admitted, &starts(object, &status, &managed, beside), beside.now),
    );
    let refused = refused(&admission, &asked_for, beside);
    let looks_on = object.spec.suspend || object.spec.management_policy == ManagementPolicy::Observe;
    // An object may not see the state of roles that it could not be granted.
    let compares = !deleting && looks_on && refused.is_none();
    let aside = if deleting { None } else { aside(object, refused, beside) };
    let phase = match (deleting, &aside) {
        (true, _) => Phase::Leaves,
        (false, Some(_)) => Phase::Holds,
        (false, None) => Phase::Counts,
    };
    let admitted = admission.ok();
    let mut grants = if phase == Phase::Counts { asked_for } else { Vec::new() };
    let spec_tells = !(object.spec.role_management == RoleManagement::Additive
        || object.spec.adoption_policy == AdoptionPolicy::Refuse
        || grants.iter().any(|grant| grant.term != Term::Permanent)
        || claimed(object, &status, &grants));
    // Rules that allow a grant now may no longer allow it when the object is deleted; its status then shows what it
    // granted.
    let records_first = !spec_tells || beside.governed.is_some();
    renames.follow(&mut grants, &managed);
    if deleting {
        bring_ends_forward(&mut managed, &renames, object, beside.now);
        if spec_tells {
            let may = |role: &str| beside.governed.is_none_or(|governed| governed.may_take(role).is_ok());
            add_unrecorded(object, &status, admitted.as_ref(), may, &mut managed);
        }
        if object.spec.deletion_policy == DeletionPolicy::Orphan {
            managed.retain(|_, term| *term != Term::Permanent && !beside.capabilities.enforces_expiry);
        }
    }
    let layer = Layer {
        uid: object.uid().unwrap_or_default(),
        phase,
        exclusive: object.spec.role_management == RoleManagement::Exclusive,
        grants_unrecorded: !records_first,
        grants,
        managed,
        carried: status.carried_roles.iter().map(carried).filter(|entry| may_restore(beside, entry)).collect(),
    };
    Reading { layer, admitted, aside, compares, renames, records_first }
}

/// Applies the ends that a spec which is not admitted brings forward to the roles that its object has recorded.
pub fn bring_ends_forward(
    managed: &mut BTreeMap<String, Term>,
    renames: &Renames,
    object: &ProjectMembership,
    now: Timestamp,
) {
    for (role, term) in managed {
        let meant = |declared: &&RoleGrant| declared.role == *role || declared.role == renames.recorded_as(role);
        *term = grants::brought_forward(*term, object.spec.roles.iter().filter(meant), now);
    }
}

/// `status.managedRoles` with the ends that the spec brings forward.
pub fn record_of(object: &ProjectMembership, now: Timestamp) -> Vec<ManagedRole> {
    let recorded = object.status.iter().flat_map(|status| &status.managed_roles);
    let shortened = |recorded: &ManagedRole| {
        let declared = object.spec.roles.iter().filter(|declared| declared.role == recorded.role);
        match grants::brought_forward(term_of(recorded), declared, now) {
            Term::Temporary(window) if recorded.expiration_time.is_none_or(|end| window.end < end) => ManagedRole {
                start_time: recorded.start_time.or(Some(window.start)),
                expiration_time: Some(window.end),
                ..recorded.clone()
            },
            Term::Temporary(_) | Term::Permanent => recorded.clone(),
        }
    };
    recorded.map(shortened).collect()
}

/// The roles that an object has recorded, under their current names.
pub fn recognised(
    object: &ProjectMembership,
    record: &[ManagedRole],
    observed: Option<&Member>,
) -> (BTreeMap<String, Term>, Renames) {
    let declared = object.spec.roles.iter().map(|grant| grant.role.as_str()).collect();
    renames::recognise(record, &declared, observed.map_or(&[][..], |member| &member.entries))
}

/// The refusal of an object that is suspended; `None` if it isn't.
pub fn suspended(object: &ProjectMembership) -> Option<Refusal> {
    let message = "spec.suspend is true: nothing is granted or repaired; what was granted still ends, and differences from the declaration are shown";
    object.spec.suspend.then(|| Refusal { reason: Reason::Suspended, message: message.to_owned() })
}

/// The refusal of an object whose target has too many declarations.
pub fn beyond_the_bound() -> Refusal {
    Refusal {
        reason: Reason::Conflict,
        message: format!(
            "more than {MOST_DECLARATIONS} ProjectMemberships declare roles for this subject in this project through this provider object, and this is one of the youngest: nothing is granted for it; declare the roles in fewer objects, or delete objects that are not needed"
        ),
    }
}

/// Why the grants of an object that isn't being deleted don't count. `refused`: why its declaration can't be carried
/// out.
fn aside(object: &ProjectMembership, refused: Option<Refusal>, beside: &Beside<'_>) -> Option<Refusal> {
    let because = |reason, message: &str| Some(Refusal { reason, message: message.to_owned() });
    if let Some(refusal) = suspended(object).or(refused) {
        return Some(refusal);
    }
    if object.spec.management_policy == ManagementPolicy::Observe {
        return because(Reason::Observed, "managementPolicy is Observe: differences are shown, nothing is written");
    }
    if beside.shadowed {
        return because(
            Reason::Conflict,
            "another provider object declares roles for this subject in this project on the same server and takes precedence: declare all of them with one provider object",
        );
    }
    None
}

/// Why an object's declaration can't be carried out.
fn refused(admission: &Result<Admitted, Refusal>, asked_for: &[grants::Grant], beside: &Beside<'_>) -> Option<Refusal> {
    if let Some(unready) = beside.unready {
        return Some(unready.clone());
    }
    let admitted = match admission {
        Ok(admitted) => admitted,
        Err(refusal) => return Some(refusal.clone()),
    };
    if beside.ourselves {
        let message = "the subject is whom the operator itself signs in as with this provider object: its roles are kept by whoever keeps that";
        return Some(Refusal { reason: Reason::NotAllowed, message: message.to_owned() });
    }
    beside.governed.and_then(|governed| governed.may_grant(admitted, asked_for).err())
}

/// Refuses an object with `adoptionPolicy: Refuse` if one of its declared roles existed before it. This is checked
/// after all declarations of the target were evaluated, because a role that any of them has recorded is managed.
pub fn refuse_adoption(
    object: &ProjectMembership,
    index: usize,
    readings: &mut [Reading],
    observed: Option<&Member>,
    now: Timestamp,
) {
    if object.spec.adoption_policy != AdoptionPolicy::Refuse {
        return;
    }
    let layers: Vec<Layer> = readings.iter().map(|reading| reading.layer.clone()).collect();
    let (Some(reading), Some(layer)) = (readings.get_mut(index), layers.get(index)) else {
        return;
    };
    if layer.phase != Phase::Counts {
        return;
    }
    let before = plan::preexisting(layer, &layers, observed, now);
    if before.is_empty() {
        return;
    }
    reading.layer.phase = Phase::Holds;
    reading.layer.grants.clear();
    reading.aside = Some(Refusal {
        reason: Reason::AlreadyExists,
        message: format!(
            "{} was there before this object, and adoptionPolicy is Refuse: remove it at the provider, or set adoptionPolicy: Adopt",
            quoted(&before)
        ),
    });
}

/// The unmanaged roles in force: no declaration has recorded them, so that removing one takes away a grant that the
/// operator didn't make. The role that gives no access isn't included.
pub fn foreign(
    readings: &[Reading],
    capabilities: Capabilities,
    observed: Option<&Member>,
    now: Timestamp,
) -> BTreeSet<String> {
    let ours = |role: &String| readings.iter().any(|reading| reading.layer.managed.contains_key(role));
    let entries = observed.into_iter().flat_map(|member| &member.entries);
    let in_force = entries.filter(|entry| !entry.term.ended(now)).map(|entry| &entry.role);
    in_force.filter(|role| !ours(role) && Some(role.as_str()) != capabilities.empty_role).cloned().collect()
}

/// Refuses an Exclusive object that would remove an unmanaged role which no rule lets its namespace remove. A role that
/// the object declares itself is permitted.
pub fn refuse_taking(reading: &mut Reading, governed: Option<Governed<'_>>, foreign: &BTreeSet<String>) {
    let (Some(governed), Phase::Counts, true) = (governed, reading.layer.phase, reading.layer.exclusive) else {
        return;
    };
    let declared = |role: &String| reading.layer.grants.iter().any(|grant| grant.role == *role);
    let refused = foreign.iter().filter(|role| !declared(role)).find_map(|role| governed.may_take(role).err());
    if let Some(refusal) = refused {
        reading.layer.phase = Phase::Holds;
        reading.layer.grants.clear();
        reading.aside = Some(refusal);
    }
}

/// Whether the status is already for this generation of the spec but doesn't record all of its grants, as after a
/// failed pass: then the spec can no longer stand in for what isn't recorded.
fn claimed(object: &ProjectMembership, status: &ProjectMembershipStatus, grants: &[grants::Grant]) -> bool {
    let recorded = |role: &String| status.managed_roles.iter().any(|managed| managed.role == *role);
    Some(status.observed_generation) == object.metadata.generation && !grants.iter().all(|grant| recorded(&grant.role))
}

/// The starts from which the object's grants may count.
fn starts(
    object: &ProjectMembership,
    status: &ProjectMembershipStatus,
    managed: &BTreeMap<String, Term>,
    beside: &Beside<'_>,
) -> Starts {
    let finalized = object.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    // The finalizer is added before the first write to the provider: an object without it never granted anything,
    // however long it has waited.
    let past = match (finalized, status.observed_generation) {
        (false, _) => Past::New,
        (true, -1) => Past::Lost,
        (true, _) => Past::Recorded,
    };
    let of_roles = status.roles.iter().filter_map(|role| Some((role.role.clone(), role.start_time?)));
    let of_managed = status.managed_roles.iter().filter_map(|role| Some((role.role.clone(), role.start_time?)));
    let mut recorded: BTreeMap<String, Timestamp> = BTreeMap::new();
    // A role that is declared under its new name began when it was granted under its former name.
    let of_renamed = managed.iter().filter_map(|(role, term)| match term {
        Term::Temporary(window) if window.start != Timestamp::MIN => Some((role.clone(), window.start)),
        Term::Temporary(_) | Term::Permanent => None,
    });
    for (role, start) in of_roles.chain(of_managed).chain(of_renamed) {
        recorded.entry(role).and_modify(|known| *known = (*known).min(start)).or_insert(start);
    }
    let entries = beside.observed.map_or(&[][..], |member| &member.entries);
    let foreign = entries.iter().filter(|entry| !beside.others.contains(&entry.role));
    let provider = foreign.filter_map(|entry| match entry.term {
        Term::Permanent => None,
        Term::Temporary(window) => Some((entry.role.clone(), window)),
    });
    let expired = status.roles.iter().filter(|role| role.state == RoleState::Expired);
    let expired = expired
        .filter_map(|role| Some((role.role.clone(), Window { start: role.start_time?, end: role.expiration_time? })));
    Starts { past, recorded, provider: provider.collect(), expired: expired.collect() }
}

/// Adds what an object may have granted without recording it: the permanent roles of a spec that its status doesn't
/// cover. Deleting an object raises its generation by one.
fn add_unrecorded(
    object: &ProjectMembership,
    status: &ProjectMembershipStatus,
    admitted: Option<&Admitted>,
    may: impl Fn(&str) -> bool,
    managed: &mut BTreeMap<String, Term>,
) {
    let generation = object.metadata.generation.unwrap_or_default();
    let onlooker = object.spec.suspend || object.spec.management_policy == ManagementPolicy::Observe;
    // A pass adds the operator's finalizer only when it is about to grant: an object with the finalizer and without a
    // status has granted before it was suspended or set to Observe.
    let never_acted = onlooker && status.observed_generation != -1;
    if never_acted || status.observed_generation >= generation - 1 {
        return;
    }
    for wanted in admitted.into_iter().flat_map(Admitted::roles).filter(|wanted| may(&wanted.role)) {
        managed.entry(wanted.role.clone()).or_insert(Term::Permanent);
    }
}

/// The roles that an object is presumed to manage when its status is about to cover a spec that no pass has finished. A
/// pass may have granted permanent roles on the basis of that spec alone and been interrupted before it recorded them.
/// Such an object is about to grant the roles that it declares in any case.
pub fn presumed(
    object: &ProjectMembership,
    status: &ProjectMembershipStatus,
    record: &[ManagedRole],
) -> BTreeMap<String, Term> {
    let mut managed = managed(record);
    let spec = &object.spec;
    let edited = status.observed_generation != -1 && Some(status.observed_generation) < object.metadata.generation;
    let acts = !spec.suspend && spec.management_policy == ManagementPolicy::Enforce;
    let on_its_word = spec.role_management == RoleManagement::Exclusive
        && spec.adoption_policy == AdoptionPolicy::Adopt
        && spec.provider_ref.kind == ProviderKind::MembershipProvider;
    let finalized = object.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    let (true, Ok(admitted)) = (edited && acts && on_its_word && finalized, policy::admit(spec)) else {
        return managed;
    };
    if admitted.roles().iter().all(|wanted| wanted.when == When::Always) {
        for wanted in admitted.roles() {
            managed.entry(wanted.role.clone()).or_insert(Term::Permanent);
        }
    }
    managed
}

/// `status.managedRoles` as terms.
pub fn managed(roles: &[ManagedRole]) -> BTreeMap<String, Term> {
    roles.iter().map(|role| (role.role.clone(), term_of(role))).collect()
}

/// Whether an unmanaged role that a repair removed temporarily may be restored because a status records it. Under allow
/// rules, a status alone is not enough for a role that could never be granted to the namespace: otherwise a user who
/// forges the status would receive that role.
fn may_restore(beside: &Beside<'_>, entry: &Entry) -> bool {
    beside.governed.is_none_or(|governed| governed.may_restore(&entry.role, entry.term))
}

fn carried(role: &CarriedRole) -> Entry {
    let term = match (role.start_time, role.expiration_time) {
        (Some(start), Some(end)) => Term::Temporary(Window { start, end }),
        (None, None) => Term::Permanent,
        // The operator never writes only half of a window: it counts as ended.
        (Some(at), None) | (None, Some(at)) => Term::Temporary(Window { start: at, end: at }),
    };
    let verbatim = match (&role.range, &role.start) {
        (Some(range), Some(start)) => Some(Verbatim { range: range.clone(), start: start.clone() }),
        _ => None,
    };
    Entry { verbatim, ..Entry::new(role.role.clone(), term) }
}

/// Role names for a message.
pub fn quoted(roles: &[String]) -> String {
    roles.iter().map(|role| format!("{role:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn presumed_of(generation: i64, observed: i64, spec: Value) -> Vec<String> {
        let mut object = json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
            "metadata": {"name": "ci", "generation": generation, "finalizers": [FINALIZER]},
            "spec": {
                "providerRef": {"name": "infisical"}, "project": {"id": "web"},
                "subject": {"kind": "Identity", "id": "ci"}, "roles": [{"role": "viewer"}, {"role": "deployer"}],
            },
            "status": {"observedGeneration": observed, "managedRoles": [{"role": "viewer"}]},
        });
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let object: ProjectMembership = serde_json::from_value(object).unwrap();
        let status = object.status.clone().unwrap();
        presumed(&object, &status, &status.managed_roles).into_keys().collect()
    }

    /// Seen failing when `presumed` returned only what the status records.
    #[test]
    fn what_may_have_been_granted_on_a_specs_word_is_written_down_while_its_object_waits() {
        let both = vec!["deployer".to_owned(), "viewer".to_owned()];
        let recorded = vec!["viewer".to_owned()];
        assert_eq!(presumed_of(2, 1, json!({})), both, "an edit that no pass has finished");
        assert_eq!(presumed_of(2, 2, json!({})), recorded, "a spec that the status speaks of");
        assert_eq!(presumed_of(2, -1, json!({})), recorded, "a status that was lost");
        for (spec, why) in [
            (json!({"suspend": true}), "a suspended object"),
            (json!({"managementPolicy": "Observe"}), "one that only looks"),
            (json!({"roleManagement": "Additive"}), "an Additive one writes down first"),
            (json!({"adoptionPolicy": "Refuse"}), "one that adopts nothing writes down first"),
            (json!({"roles": [{"role": "deployer", "temporary": {"duration": "1h"}}]}), "so do temporary roles"),
            (json!({"providerRef": {"kind": "ClusterMembershipProvider", "name": "c"}}), "and what is under rules"),
        ] {
            assert_eq!(presumed_of(2, 1, spec), recorded, "{why}");
        }
    }
}
