//! Why a declaration cannot be carried out, as far as that does not depend on the observation. What depends on it is
//! checked afterwards: [`super::refuse_adoption`] and [`super::refuse_taking`].

use super::EvaluationInputs;
use crate::api::{ManagementPolicy, ProjectMembership, Reason};
use crate::core::grants::Grant;
use crate::core::policy::{Admitted, Refusal};

const OURSELVES: &str = "the subject is the account that the operator itself uses with this provider object: its roles are not managed by ProjectMemberships";
const OBSERVES: &str = "managementPolicy is Observe: differences are shown, nothing is written";
const SHADOWED: &str = "another provider object declares roles for this subject in this project on the same server and takes precedence: declare all of them with one provider object";
const SUSPENDED: &str = "spec.suspend is true: nothing is granted or repaired; what was granted still ends, and differences from the declaration are shown";

/// Why an object may not be carried out, whether or not it only observes.
pub(super) fn refused(
    admission: &Result<Admitted, Refusal>,
    grants: &[Grant],
    inputs: &EvaluationInputs<'_>,
) -> Option<Refusal> {
    let not_ready = inputs.unready.cloned();
    let invalid = || admission.as_ref().err().cloned();
    let ourselves = || inputs.ourselves.then(|| Refusal::new(Reason::NotAllowed, OURSELVES));
    let not_allowed = || inputs.governed?.may_grant(admission.as_ref().ok()?, grants).err();
    not_ready.or_else(invalid).or_else(ourselves).or_else(not_allowed)
}

/// Why the grants of an object that isn't being deleted don't count. `refused`: why it may not be carried out.
pub(super) fn inactive(
    object: &ProjectMembership,
    refused: Option<Refusal>,
    inputs: &EvaluationInputs<'_>,
) -> Option<Refusal> {
    let observes = object.spec.management_policy == ManagementPolicy::Observe;
    let observed = || observes.then(|| Refusal::new(Reason::Observed, OBSERVES));
    let shadowed = || inputs.shadowed.then(|| Refusal::new(Reason::Conflict, SHADOWED));
    suspended(object).or(refused).or_else(observed).or_else(shadowed)
}

/// The refusal of an object that is suspended; `None` if it isn't.
pub fn suspended(object: &ProjectMembership) -> Option<Refusal> {
    object.spec.suspend.then(|| Refusal::new(Reason::Suspended, SUSPENDED))
}
