//! What has to be recorded before it is granted at the provider. Pure.

use std::collections::BTreeSet;

use crate::api::ProjectMembership;
use crate::api::membership::{CarriedRole, ManagedRole, PendingGrants, TargetStatus};
use crate::core::clocks::Agreement;
use crate::core::evaluation::{DeclarationEvaluation, Evaluation};
use crate::core::layers::{Layer, Phase};
use crate::core::member::{Change, Entry, Member, Term};
use crate::core::plan::{Plan, PlanInputs, base_to_record};
use crate::core::snapshot::{Declaration, Snapshot};

/// What to record of one declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The uid of the object.
    pub uid: String,
    /// Everything that the object manages once its grants are carried out.
    pub roles: Vec<ManagedRole>,
    /// Unmanaged entries that a repair removes temporarily.
    pub carried_roles: Vec<CarriedRole>,
    /// What the references were resolved to, if the status does not contain it.
    pub target: Option<TargetStatus>,
    /// The object needs the finalizer.
    pub finalize: bool,
    /// The roles that are new.
    pub new: Vec<NewRole>,
}

/// A role that was not recorded before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRole {
    pub role: String,
    /// It is granted within a window.
    pub is_temporary: bool,
    /// No start of it was recorded before.
    pub is_first: bool,
}

impl Record {
    /// The content of the annotation of the object.
    pub fn pending(self, object: &ProjectMembership) -> PendingGrants {
        let Self { roles, carried_roles, target, .. } = self;
        PendingGrants { number: PendingGrants::next_number(object), roles, carried_roles, target }
    }
}

/// What has to be recorded before the plan is carried out. `refused`: roles that do not exist at the provider.
pub fn records(
    snapshot: &Snapshot,
    evaluation: &Evaluation,
    layers: &[Layer],
    plan: &Plan,
    view: &PlanInputs<'_>,
) -> Vec<Record> {
    let may_carry = |declaration: &Declaration, evaluated: &DeclarationEvaluation, entry: &Entry| {
        let governed = snapshot.governed(declaration);
        evaluated.layer.phase != Phase::Holds && governed.is_none_or(|rules| rules.may_restore(&entry.role, entry.term))
    };
    let pairs = || snapshot.declarations.iter().zip(&evaluation.evaluations);
    let mut carried =
        carried_by(plan, layers, view, |entry| pairs().any(|(d, evaluated)| may_carry(d, evaluated, entry)));
    let invites = matches!(plan.change(), Some(Change::Create(_)));
    let mut left: Vec<&str> = snapshot.provider.capabilities.left_by_an_invitation().filter(|_| invites).collect();
    let mut records = Vec::new();
    for (declaration, evaluated) in pairs() {
        let layer = &evaluated.layer;
        let counts = layer.phase == Phase::Counts;
        let mut record = if counts { layer.record_before(snapshot.now) } else { layer.managed.clone() };
        record.retain(|role, term| {
            let agree = snapshot.clocks == Agreement::Agree || *term == Term::Permanent;
            (agree && !view.refused.contains(role)) || layer.managed.contains_key(role)
        });
        // The declaration that adds the base role also records it. Otherwise the base role would remain when the last
        // role is removed.
        let base = base_to_record(layer, layers, view).filter(|base| !layer.managed.contains_key(*base));
        record.extend(base.map(|base| (base.to_owned(), Term::Permanent)));
        if counts && layer.in_effect(snapshot.now).next().is_some() {
            // The operator must be able to remove the roles that adding a member may leave behind.
            for role in std::mem::take(&mut left) {
                record.entry(role.to_owned()).or_insert(Term::Permanent);
            }
        }
        // A role that is granted again by its name may have another id by now. After a crash, the next process must not
        // consider it an unmanaged role.
        let shown = |role: &str| entries(view.observed).iter().any(|entry| entry.role == role);
        let again = |role: &&String| evaluated.renames.id_of(role).is_some() && !shown(role);
        let again: Vec<&String> = plan.gained().iter().filter(again).collect();
        // The ids that names were resolved to are recorded before anything is granted to them.
        let pins = counts && !record.is_empty() && !is_pinned(declaration);
        let carries: Vec<Entry>;
        (carries, carried) = carried.into_iter().partition(|entry| may_carry(declaration, evaluated, entry));
        let takes = counts || snapshot.provider.leaving.is_none();
        let finalize = !record.is_empty() && !declaration.is_finalized() && takes;
        let grants = record != layer.managed;
        if !grants && !pins && carries.is_empty() && again.is_empty() && !finalize {
            continue;
        }
        let started = |role: &str| {
            let mut known = declaration.object.status.iter().flat_map(|status| &status.roles);
            known.any(|known| known.role == role && known.start_time.is_some())
        };
        let new = record.iter().filter(|(role, _)| !layer.managed.contains_key(*role));
        let new_role = |(role, term): (&String, &Term)| NewRole {
            role: role.clone(),
            is_temporary: *term != Term::Permanent,
            is_first: !started(role),
        };
        records.push(Record {
            uid: declaration.uid().to_owned(),
            roles: evaluated.renames.without_ids(&again).written(&record, entries(view.observed)),
            carried_roles: match carries.is_empty() {
                true => carried_before(declaration),
                false => carries.iter().map(carried_role).collect(),
            },
            target: (pins || is_elsewhere(declaration, snapshot)).then(|| snapshot.target_status()),
            finalize,
            new: new.map(new_role).collect(),
        });
    }
    records
}

/// The entries of a member's row at the provider.
pub fn entries(member: Option<&Member>) -> &[Entry] {
    member.map_or(&[][..], |member| &member.entries)
}

fn carried_before(declaration: &Declaration) -> Vec<CarriedRole> {
    declaration.object.status.as_ref().map(|status| status.carried_roles.clone()).unwrap_or_default()
}

/// Whether the ids that the object's names were resolved to are in its status, or it uses no names.
fn is_pinned(declaration: &Declaration) -> bool {
    let spec = &declaration.object.spec;
    let named = spec.project.name.is_some() || spec.subject.name.is_some();
    !named || declaration.object.status.as_ref().is_some_and(|status| status.target.is_some())
}

/// Whether the object's status names another server, where it held access before.
fn is_elsewhere(declaration: &Declaration, snapshot: &Snapshot) -> bool {
    let target = declaration.object.status.as_ref().and_then(|status| status.target.as_ref());
    target.is_some_and(|target| target.endpoint != snapshot.provider.endpoint)
}

/// Unmanaged entries that a repair removes temporarily and that are not recorded yet. `is_useful`: whether the record of
/// an entry by some declaration allows to restore it; any other record would be requested again and again.
fn carried_by(plan: &Plan, layers: &[Layer], view: &PlanInputs<'_>, is_useful: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    let recreates = |change: &&Change| matches!(change, Change::Recreate(_));
    let ours = |entry: &Entry| {
        layers.iter().any(|l| l.managed.contains_key(&entry.role) || l.has_in_effect(&entry.role, view.now))
    };
    let mut unmanaged: Vec<Entry> = Vec::new();
    for change in plan.change().into_iter().chain(plan.fallbacks()).filter(recreates) {
        for entry in change.outcome().iter().filter(|entry| !ours(entry)) {
            // In the form in which it is read from the record again: without its id.
            let entry = Entry { role_id: None, ..entry.clone() };
            if !unmanaged.contains(&entry) && is_useful(&entry) {
                unmanaged.push(entry);
            }
        }
    }
    let written = |entry: &Entry| layers.iter().any(|layer| layer.carried.contains(entry));
    if unmanaged.iter().all(written) { Vec::new() } else { unmanaged }
}

fn carried_role(entry: &Entry) -> CarriedRole {
    CarriedRole {
        role: entry.role.clone(),
        start_time: entry.term.window().map(|window| window.start),
        expiration_time: entry.term.end(),
        range: entry.verbatim.as_ref().map(|v| v.range.clone()),
        start: entry.verbatim.as_ref().map(|v| v.start.clone()),
    }
}

/// Whether a temporary grant of a declaration is in effect and is not recorded yet.
pub fn begins_temporary(evaluated: &DeclarationEvaluation, refused: &BTreeSet<String>, snapshot: &Snapshot) -> bool {
    let layer = &evaluated.layer;
    layer.in_effect(snapshot.now).any(|grant| {
        grant.term != Term::Permanent && !layer.managed.contains_key(&grant.role) && !refused.contains(&grant.role)
    })
}
