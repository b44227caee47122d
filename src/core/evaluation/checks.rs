//! Why a declaration cannot be carried out, as far as that does not depend on the observation.

use super::EvaluationInputs;
use crate::api::{ManagementPolicy, ProjectMembership, Reason};
use crate::core::grants::Grant;
use crate::core::policy::{Admitted, Refusal};

/// What a check looks at.
pub(super) struct CheckInputs<'a> {
    pub object: &'a ProjectMembership,
    pub admission: &'a Result<Admitted, Refusal>,
    pub grants: &'a [Grant],
    pub inputs: &'a EvaluationInputs<'a>,
}

/// Why an object may not be carried out; `None`: this check has no objection.
type Check = fn(&CheckInputs<'_>) -> Option<Refusal>;

/// Why a declaration cannot be carried out, in the order in which it is checked. What depends on the observation is
/// checked afterwards: [`super::refuse_adoption`] and [`super::refuse_taking`].
const CHECKS: [Check; 4] = [provider_is_ready, is_valid, is_not_the_operator, is_allowed];

/// Why an object may not be carried out, whether or not it only observes.
pub(super) fn refused(checked: &CheckInputs<'_>) -> Option<Refusal> {
    CHECKS.iter().find_map(|check| check(checked))
}

/// Why the grants of an object that isn't being deleted don't count.
pub(super) fn inactive(checked: &CheckInputs<'_>) -> Option<Refusal> {
    suspended(checked.object)
        .or_else(|| refused(checked))
        .or_else(|| is_enforced(checked))
        .or_else(|| takes_precedence(checked))
}

fn provider_is_ready(checked: &CheckInputs<'_>) -> Option<Refusal> {
    checked.inputs.unready.cloned()
}

fn is_valid(checked: &CheckInputs<'_>) -> Option<Refusal> {
    checked.admission.as_ref().err().cloned()
}

fn is_not_the_operator(checked: &CheckInputs<'_>) -> Option<Refusal> {
    let message = "the subject is the account that the operator itself uses with this provider object: its roles are not managed by ProjectMemberships";
    checked.inputs.ourselves.then(|| Refusal::new(Reason::NotAllowed, message))
}

fn is_allowed(checked: &CheckInputs<'_>) -> Option<Refusal> {
    let admitted = checked.admission.as_ref().ok()?;
    checked.inputs.governed?.may_grant(admitted, checked.grants).err()
}

fn is_enforced(checked: &CheckInputs<'_>) -> Option<Refusal> {
    let observes = checked.object.spec.management_policy == ManagementPolicy::Observe;
    let message = "managementPolicy is Observe: differences are shown, nothing is written";
    observes.then(|| Refusal::new(Reason::Observed, message))
}

fn takes_precedence(checked: &CheckInputs<'_>) -> Option<Refusal> {
    let message = "another provider object declares roles for this subject in this project on the same server and takes precedence: declare all of them with one provider object";
    checked.inputs.shadowed.then(|| Refusal::new(Reason::Conflict, message))
}

/// The refusal of an object that is suspended; `None` if it isn't.
pub fn suspended(object: &ProjectMembership) -> Option<Refusal> {
    let message = "spec.suspend is true: nothing is granted or repaired; what was granted still ends, and differences from the declaration are shown";
    object.spec.suspend.then(|| Refusal::new(Reason::Suspended, message))
}
