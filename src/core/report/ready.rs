//! Why a declaration is or is not ready.

use std::collections::BTreeSet;

use super::{ReportInputs, is_due};
use crate::api::Reason;
use crate::core::changes;
use crate::core::clocks::Agreement;
use crate::core::error::Error;
use crate::core::evaluation::DeclarationEvaluation;
use crate::core::layers::Layer;
use crate::core::policy::Refusal;
use crate::core::record::begins_temporary;
use crate::core::status::ReadyCondition;
use crate::core::step::{PassEnd, needs_observation};

impl ReportInputs<'_> {
    /// The failure that concerns this declaration. What is refused to the other declarations does not concern it.
    pub fn failure(&self) -> Option<(&Error, bool)> {
        let PassEnd::Failed { error, by_change, removed } = &self.outcome.kind else {
            return None;
        };
        let concerned = |layer: &Layer| changes::concerns(&self.outcome.plan, layer, self.now());
        let only_compares = self.evaluated.compares && self.layer().managed.is_empty();
        let not_concerned = !removed && !concerned(self.layer()) && self.layers.iter().any(concerned);
        let is_of_others = *by_change && (only_compares || not_concerned);
        let may_see = needs_observation(self.snapshot, self.declaration, self.evaluated);
        (may_see && !is_of_others).then_some((error, *removed))
    }

    pub fn ready_condition(&self) -> ReadyCondition {
        let inactive = self.inactive();
        if let Some((error, _)) = self.failure() {
            let inactive_reason = inactive
                .as_ref()
                .filter(|refusal| refusal.reason != Reason::Observed && !is_due(self.snapshot, self.outcome));
            if let Some(refusal) = inactive_reason {
                return refusal.clone();
            }
            let message = changes::without_roles(&error.to_string(), &self.roles_of_others());
            return ReadyCondition::new(error.reason(), message);
        }
        if let Some(refusal) = inactive {
            return refusal;
        }
        if self.outcome.kind == PassEnd::Contested {
            let message = "another writer changed this member each time before our write was confirmed: find out who else manages it; the operator tries again";
            return ReadyCondition::new(Reason::Contested, message);
        }
        self.renamed_role()
            .or_else(|| self.refused_role())
            .or_else(|| self.skewed_role())
            .or_else(|| self.memory.drift.ready_condition())
            .unwrap_or_else(|| self.converged())
    }

    /// Why the declaration is inactive. A suspended one waits for its provider only while an end is due.
    fn inactive(&self) -> Option<Refusal> {
        let unready = self.snapshot.provider.unready.clone();
        let is_due = self.layer().managed.values().any(|term| term.ended(self.now()));
        unready.filter(|_| is_due && !self.declaration.is_leaving()).or_else(|| self.evaluated.inactive.clone())
    }

    /// A membership that is kept without access is mentioned, because a user who finds it in the provider's list would
    /// consider it a missed removal.
    fn converged(&self) -> ReadyCondition {
        let declared = |role: &str| self.layer().has_in_effect(role, self.now());
        let role = self.capabilities().empty_role.filter(|role| !declared(role)).unwrap_or_default();
        let kept = self.member().flatten().is_some_and(|member| self.capabilities().is_without_access(member));
        let message = match kept && !role.is_empty() {
            true => format!(
                "the provider holds what is declared; the membership remains with the role {role:?}, which grants nothing"
            ),
            false => "the provider holds what is declared".to_owned(),
        };
        ReadyCondition::new(Reason::Converged, message)
    }

    /// A declared role that was renamed at the provider.
    fn renamed_role(&self) -> Option<ReadyCondition> {
        let DeclarationEvaluation { layer, renames, .. } = self.evaluated;
        let mut renamed = renames.of_spec().filter(|(_, present)| layer.has_in_effect(present, self.now()));
        let (former, present) = renamed.next()?;
        let message = format!(
            "the role {former:?} was renamed to {present:?} at the provider: what was granted remains in force under the new name; write {present:?} in spec.roles to keep it, or remove {former:?} from spec.roles to revoke it"
        );
        Some(ReadyCondition::new(Reason::RoleNotFound, message))
    }

    /// A declared role that does not exist at the provider.
    fn refused_role(&self) -> Option<ReadyCondition> {
        let mut declared =
            self.layer().in_effect(self.now()).filter(|grant| self.outcome.refused.contains(&grant.role));
        let refused = declared.find_map(|grant| self.memory.refused.get(&grant.role))?;
        Some(ReadyCondition::new(Reason::RoleNotFound, refused.message.clone()))
    }

    /// Temporary roles that do not begin because the two clocks disagree, or because the provider's clock is unknown.
    fn skewed_role(&self) -> Option<ReadyCondition> {
        let message = match self.snapshot.clocks {
            Agreement::Agree => return None,
            Agreement::Differ(skew) => format!(
                "the provider's clock is about {} s off the operator's, so that no temporary role is started: correct the clocks",
                // Rounded to half a minute, so that the message stays the same from pass to pass.
                (skew.unsigned_abs().as_secs() + 15) / 30 * 30
            ),
            Agreement::Unknown => "the provider's clock is not known, so that no temporary role is started: its responses need a Date header, which a proxy in between may have removed".to_owned(),
        };
        begins_temporary(self.evaluated, &BTreeSet::new(), self.snapshot)
            .then(|| ReadyCondition::new(Reason::Progressing, message))
    }

    /// Roles of the refused change that other declarations declare or manage and this one does not.
    fn roles_of_others(&self) -> BTreeSet<String> {
        let has = |layer: &Layer, role: &String| {
            layer.managed.contains_key(role) || layer.grants.iter().any(|grant| grant.role == *role)
        };
        let PassEnd::Failed { by_change: true, .. } = self.outcome.kind else {
            return BTreeSet::new();
        };
        let plan = &self.outcome.plan;
        let sent = plan.change().into_iter().flat_map(|change| change.outcome()).map(|entry| &entry.role);
        let roles = sent.chain(plan.lost().iter().map(|(role, _)| role));
        let of_others = |role: &&String| self.layers.iter().any(|layer| has(layer, role));
        roles.filter(|role| !has(self.layer(), role)).filter(of_others).cloned().collect()
    }
}
