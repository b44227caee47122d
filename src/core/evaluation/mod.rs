//! Evaluates the declarations of a target: which grants count, what each has recorded, and why one is inactive. Pure.

mod checks;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

pub use checks::suspended;
use checks::{inactive, refused};

use super::places::MOST_DECLARATIONS;
use super::snapshot::{Declaration, Snapshot, is_finalized, is_status_lost};
use crate::api::membership::{CarriedRole, ManagedRole, PendingGrants, ProjectMembershipStatus, RoleGrant, RoleState};
use crate::api::{AdoptionPolicy, DeletionPolicy, ManagementPolicy, ProjectMembership, Reason, RoleManagement};
use crate::core::grants::{self, RecordHistory, Starts};
use crate::core::layers::{Layer, Phase};
use crate::core::member::{Capabilities, Entry, Member, Term, Verbatim, Window};
use crate::core::plan;
use crate::core::policy::allow::Governed;
use crate::core::policy::{self, Admitted, Refusal};
use crate::core::renames::{self, Renames};
use crate::core::status::term_of;

/// All declarations of a target, evaluated at one instant.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// One for each declaration of the snapshot, in the same order.
    pub evaluations: Vec<DeclarationEvaluation>,
    /// Unmanaged roles that no declaration which removes something may take, not even when the whole member is removed.
    pub spared: BTreeSet<String>,
}

/// An object as a layer, with what is needed to write its status.
#[derive(Clone, Debug)]
pub struct DeclarationEvaluation {
    pub layer: Layer,
    /// The spec's roles, if the spec was admitted.
    pub admitted: Option<Admitted>,
    /// Why the object is inactive (its grants don't count); `None` if they count or the object is being deleted.
    pub inactive: Option<Refusal>,
    /// Whether the object is inactive only because of what the provider shows: a later observation may lift that.
    pub refused_by_observation: bool,
    /// Whether the object is suspended or only observes, and could be carried out otherwise: the provider's state is
    /// then compared with what the object declares.
    pub compares: bool,
    /// The current names of the roles that the object has recorded.
    pub renames: Renames,
}

impl DeclarationEvaluation {
    /// Whether the object has recorded nothing.
    pub fn holds_nothing(&self) -> bool {
        self.layer.managed.is_empty() && self.layer.carried.is_empty()
    }

    /// Its grants do not count, for this reason.
    fn hold(&mut self, refusal: Refusal) {
        self.layer.phase = Phase::Holds;
        self.layer.grants.clear();
        self.inactive = Some(refusal);
    }

    /// The object's declaration as a layer that counts, with the starts of its status and spec. The provider is compared
    /// with this layer while the object is suspended or only observes.
    pub fn declared(&self, object: &ProjectMembership, now: Timestamp) -> Option<Layer> {
        let admitted = self.admitted.as_ref()?;
        let roles = object.status.iter().flat_map(|status| &status.roles);
        let starts = roles.filter_map(|role| Some((role.role.clone(), role.start_time?))).collect();
        let mut grants = grants::evaluate(admitted, &Starts::recorded(starts), now);
        self.renames.follow(&mut grants, &self.layer.managed);
        let mut layer = Layer { phase: Phase::Counts, grants, ..self.layer.clone() };
        layer.managed = layer.record_before(now);
        Some(layer)
    }
}

/// The inputs, besides the object itself, from which it is evaluated.
#[derive(Clone, Copy, Debug)]
pub struct EvaluationInputs<'a> {
    /// The provider's capabilities.
    pub capabilities: Capabilities,
    /// The member as the provider shows it.
    pub observed: Option<&'a Member>,
    /// The roles that the object has recorded as managed.
    pub record: &'a [ManagedRole],
    /// The roles of the record that are known to be the operator's own; `None`: all of them are.
    pub trusted: Option<&'a BTreeSet<String>>,
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

/// Evaluates all declarations of a target against the member that the provider shows.
pub fn evaluate(snapshot: &Snapshot, observed: Option<&Member>) -> Evaluation {
    let Snapshot { declarations, provider, now, .. } = snapshot;
    let all_recorded: Vec<BTreeSet<String>> = declarations
        .iter()
        .map(|declaration| {
            let Declaration { object, record, trusted, .. } = declaration;
            recorded(object, record, trusted.as_ref(), snapshot.governed(declaration), observed).0.into_keys().collect()
        })
        .collect();
    let mut recorders: HashMap<&str, usize> = HashMap::new();
    all_recorded.iter().flatten().for_each(|role| *recorders.entry(role).or_default() += 1);
    let shown = || observed.into_iter().flat_map(|member| &member.entries).map(|entry| &entry.role);
    let mut evaluations = Vec::with_capacity(declarations.len());
    for (declaration, own) in declarations.iter().zip(&all_recorded) {
        let by_others =
            |role: &&String| recorders.get(role.as_str()).is_some_and(|all| *all > usize::from(own.contains(*role)));
        let others: BTreeSet<String> = shown().filter(by_others).cloned().collect();
        let takes_no_new = provider.leaving.as_ref().filter(|_| !declaration.is_finalized());
        let inputs = EvaluationInputs {
            capabilities: provider.capabilities,
            observed,
            record: &declaration.record,
            trusted: declaration.trusted.as_ref(),
            others: &others,
            unready: provider.unready.as_ref().or(takes_no_new),
            shadowed: snapshot.shadowed,
            ourselves: provider.is_ourselves,
            governed: snapshot.governed(declaration),
            now: *now,
        };
        evaluations.push(evaluate_one(&declaration.object, &inputs));
    }
    let refusals: Vec<Option<Refusal>> = (declarations.iter().zip(&evaluations))
        .map(|(declaration, evaluated)| refuse_adoption(&declaration.object, evaluated, &evaluations, observed, *now))
        .collect();
    for (evaluated, refusal) in evaluations.iter_mut().zip(refusals) {
        if let Some(refusal) = refusal {
            evaluated.hold(refusal);
        }
    }
    let unmanaged = unmanaged(&evaluations, provider.capabilities, observed, *now);
    for (evaluated, declaration) in evaluations.iter_mut().zip(declarations) {
        if let Some(refusal) = refuse_taking(evaluated, snapshot.governed(declaration), &unmanaged) {
            evaluated.hold(refusal);
            evaluated.refused_by_observation = true;
        }
        if evaluated.layer.phase == Phase::Holds {
            bring_ends_forward(&mut evaluated.layer.managed, &evaluated.renames, &declaration.object, *now);
            end_unjustified(evaluated, declaration, snapshot.governed(declaration), *now);
        }
    }
    let spared = spared(snapshot, &evaluations, unmanaged);
    Evaluation { evaluations, spared }
}

/// The unmanaged roles that none of the declarations which remove a role may take.
fn spared(snapshot: &Snapshot, evaluations: &[DeclarationEvaluation], unmanaged: BTreeSet<String>) -> BTreeSet<String> {
    let removes = |layer: &Layer| layer.managed.keys().any(|role| !layer.keeps(role, snapshot.now));
    let removing: Vec<Governed<'_>> = (snapshot.declarations.iter().zip(evaluations))
        .filter(|(_, evaluated)| removes(&evaluated.layer))
        .filter_map(|(declaration, _)| snapshot.governed(declaration))
        .collect();
    let is_governed = snapshot.provider.cluster.is_some();
    let may_be_taken = |role: &String| !is_governed || removing.iter().any(|governed| governed.may_take(role).is_ok());
    unmanaged.into_iter().filter(|role| !may_be_taken(role)).collect()
}

/// Evaluates one object.
pub fn evaluate_one(object: &ProjectMembership, inputs: &EvaluationInputs<'_>) -> DeclarationEvaluation {
    let none = ProjectMembershipStatus::default();
    let status = object.status.as_ref().unwrap_or(&none);
    let (mut managed, renames) = recorded(object, inputs.record, inputs.trusted, inputs.governed, inputs.observed);
    let admission = policy::admit(&object.spec);
    let deleting = object.metadata.deletion_timestamp.is_some();
    let asked_for = admission.as_ref().map_or_else(
        |_| Vec::new(),
        |admitted| grants::evaluate(admitted, &starts(object, status, &managed, inputs), inputs.now),
    );
    let refused = refused(&admission, &asked_for, inputs);
    // An object may not see the state of roles that it could not be granted.
    let compares = !deleting && only_observes(object) && refused.is_none();
    let inactive = if deleting { None } else { inactive(object, refused, inputs) };
    let phase = match (deleting, &inactive) {
        (true, _) => Phase::Leaves,
        (false, Some(_)) => Phase::Holds,
        (false, None) => Phase::Counts,
    };
    let admitted = admission.ok();
    let mut grants = if phase == Phase::Counts { asked_for } else { Vec::new() };
    renames.follow(&mut grants, &managed);
    if deleting {
        bring_ends_forward(&mut managed, &renames, object, inputs.now);
        add_unrecorded(object, status, admitted.as_ref(), inputs.governed, &mut managed);
        if object.spec.deletion_policy == DeletionPolicy::Orphan {
            managed.retain(|_, term| *term != Term::Permanent && !inputs.capabilities.enforces_expiry);
        }
    }
    let layer = Layer {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        phase,
        exclusive: object.spec.role_management == RoleManagement::Exclusive,
        grants,
        managed,
        carried: status.carried_roles.iter().map(carried).filter(|entry| may_restore(inputs, entry)).collect(),
    };
    DeclarationEvaluation { layer, admitted, inactive, refused_by_observation: false, compares, renames }
}

/// Applies the ends that a spec which is not admitted brings forward to the roles that its object has recorded.
fn bring_ends_forward(
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

/// The roles that an object has recorded, under their current names. Under allow rules, a user who can forge a record must
/// not be able to remove roles that no rule gives them.
fn recorded(
    object: &ProjectMembership,
    record: &[ManagedRole],
    trusted: Option<&BTreeSet<String>>,
    governed: Option<Governed<'_>>,
    observed: Option<&Member>,
) -> (BTreeMap<String, Term>, Renames) {
    let declared = object.spec.roles.iter().map(|grant| grant.role.as_str()).collect();
    let (mut managed, renames) =
        renames::recognise(record, &declared, observed.map_or(&[][..], |member| &member.entries));
    if let (Some(governed), Some(trusted)) = (governed, trusted) {
        managed.retain(|role, _| trusted.contains(renames.recorded_as(role)) || !governed.forbids_taking(role));
    }
    (managed, renames)
}

/// Ends what a declaration that does not count would hold only on the word of a record that the operator is not known to
/// have written, for longer than any rule allows.
fn end_unjustified(
    evaluated: &mut DeclarationEvaluation,
    declaration: &Declaration,
    governed: Option<Governed<'_>>,
    now: Timestamp,
) {
    if let (Some(governed), Some(trusted)) = (governed, &declaration.trusted) {
        let DeclarationEvaluation { layer, renames, .. } = evaluated;
        for (role, term) in &mut layer.managed {
            let is_known = trusted.contains(renames.recorded_as(role));
            if !is_known && !term.ended(now) && governed.forbids_restoring(role, *term) {
                *term = Term::Temporary(Window { start: now, end: now });
            }
        }
    }
}

fn only_observes(object: &ProjectMembership) -> bool {
    object.spec.suspend || object.spec.management_policy == ManagementPolicy::Observe
}

/// The refusal of an object whose target has too many declarations.
pub fn beyond_the_bound() -> Refusal {
    let message = format!(
        "more than {MOST_DECLARATIONS} ProjectMemberships declare roles for this subject in this project through this provider object, and this is one of the youngest: nothing is granted for it; declare the roles in fewer objects, or delete objects that are not needed"
    );
    Refusal::new(Reason::Conflict, message)
}

/// Refuses an object with `adoptionPolicy: Refuse` if one of its declared roles existed before it. This is checked
/// after all declarations of the target were evaluated, because a role that any of them has recorded is managed.
fn refuse_adoption(
    object: &ProjectMembership,
    evaluated: &DeclarationEvaluation,
    all: &[DeclarationEvaluation],
    observed: Option<&Member>,
    now: Timestamp,
) -> Option<Refusal> {
    if object.spec.adoption_policy != AdoptionPolicy::Refuse || evaluated.layer.phase != Phase::Counts {
        return None;
    }
    let before = plan::preexisting(&evaluated.layer, all.iter().map(|other| &other.layer), observed, now);
    let message = format!(
        "{} was there before this object, and adoptionPolicy is Refuse: remove it at the provider, or set adoptionPolicy: Adopt",
        quoted(&before)
    );
    (!before.is_empty()).then(|| Refusal::new(Reason::AlreadyExists, message))
}

/// The unmanaged roles in force: no declaration has recorded them, so that removing one takes away a grant that the
/// operator didn't make. The role that gives no access isn't included.
fn unmanaged(
    evaluations: &[DeclarationEvaluation],
    capabilities: Capabilities,
    observed: Option<&Member>,
    now: Timestamp,
) -> BTreeSet<String> {
    let ours = |role: &String| evaluations.iter().any(|evaluated| evaluated.layer.managed.contains_key(role));
    let entries = observed.into_iter().flat_map(|member| &member.entries);
    let in_force = entries.filter(|entry| !entry.term.ended(now)).map(|entry| &entry.role);
    in_force.filter(|role| !ours(role) && Some(role.as_str()) != capabilities.empty_role).cloned().collect()
}

/// Refuses an Exclusive object that would remove an unmanaged role which no rule lets its namespace remove. A role that
/// the object declares itself is permitted.
fn refuse_taking(
    evaluated: &DeclarationEvaluation,
    governed: Option<Governed<'_>>,
    unmanaged: &BTreeSet<String>,
) -> Option<Refusal> {
    let (Some(governed), Phase::Counts, true) = (governed, evaluated.layer.phase, evaluated.layer.exclusive) else {
        return None;
    };
    let declared = |role: &String| evaluated.layer.grants.iter().any(|grant| grant.role == *role);
    unmanaged.iter().filter(|role| !declared(role)).find_map(|role| governed.may_take(role).err())
}

/// The starts from which the object's grants may count.
fn starts(
    object: &ProjectMembership,
    status: &ProjectMembershipStatus,
    managed: &BTreeMap<String, Term>,
    inputs: &EvaluationInputs<'_>,
) -> Starts {
    // The finalizer is added before the first write to the provider: an object without it never granted anything,
    // however long it has waited.
    let past = match (is_finalized(object), is_status_lost(object)) {
        (false, _) => RecordHistory::New,
        (true, true) => RecordHistory::Lost,
        (true, false) => RecordHistory::Recorded,
    };
    let of_roles = status.roles.iter().filter_map(|role| Some((role.role.clone(), role.start_time?)));
    let of_managed = status.managed_roles.iter().filter_map(|role| Some((role.role.clone(), role.start_time?)));
    let mut recorded: BTreeMap<String, Timestamp> = BTreeMap::new();
    // A role that is declared under its new name began when it was granted under its former name.
    let of_renamed = managed.iter().filter_map(|(role, term)| Some((role.clone(), term.known_start()?)));
    for (role, start) in of_roles.chain(of_managed).chain(of_renamed) {
        recorded.entry(role).and_modify(|known| *known = (*known).min(start)).or_insert(start);
    }
    let entries = inputs.observed.map_or(&[][..], |member| &member.entries);
    let unmanaged = entries.iter().filter(|entry| !inputs.others.contains(&entry.role));
    let provider = unmanaged.filter_map(|entry| Some((entry.role.clone(), entry.term.window()?)));
    let expired = status.roles.iter().filter(|role| role.state == RoleState::Expired);
    let expired = expired
        .filter_map(|role| Some((role.role.clone(), Window { start: role.start_time?, end: role.expiration_time? })));
    Starts { past, recorded, provider: provider.collect(), expired: expired.collect() }
}

/// Adds what a version without the annotation for pending grants may have granted and not recorded: the permanent roles
/// of a spec that the status doesn't cover, of an Exclusive object that adopts. Deleting an object raises its generation
/// by one.
fn add_unrecorded(
    object: &ProjectMembership,
    status: &ProjectMembershipStatus,
    admitted: Option<&Admitted>,
    governed: Option<Governed<'_>>,
    managed: &mut BTreeMap<String, Term>,
) {
    let spec = &object.spec;
    let generation = object.metadata.generation.unwrap_or_default();
    let on_its_word =
        spec.role_management == RoleManagement::Exclusive && spec.adoption_policy == AdoptionPolicy::Adopt;
    // That version added the finalizer only when it was about to grant.
    let never_acted = only_observes(object) && status.observed_generation != -1;
    let is_covered = PendingGrants::of(object).is_some() || status.observed_generation >= generation - 1;
    if !on_its_word || never_acted || is_covered || !is_finalized(object) {
        return;
    }
    let may = |role: &str| governed.is_none_or(|governed| governed.may_take(role).is_ok());
    for wanted in admitted.into_iter().flat_map(Admitted::roles).filter(|wanted| may(&wanted.role)) {
        managed.entry(wanted.role.clone()).or_insert(Term::Permanent);
    }
}

/// `status.managedRoles` as terms.
pub fn managed(roles: &[ManagedRole]) -> BTreeMap<String, Term> {
    roles.iter().map(|role| (role.role.clone(), term_of(role))).collect()
}

/// Whether an unmanaged role that a repair removed temporarily may be restored because a status records it. Under allow
/// rules, a status alone is not enough for a role that could never be granted to the namespace: otherwise a user who
/// forges the status would receive that role.
fn may_restore(inputs: &EvaluationInputs<'_>, entry: &Entry) -> bool {
    inputs.governed.is_none_or(|governed| governed.may_restore(&entry.role, entry.term))
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
fn quoted(roles: &[String]) -> String {
    roles.iter().map(|role| format!("{role:?}")).collect::<Vec<_>>().join(", ")
}
