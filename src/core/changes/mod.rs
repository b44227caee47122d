//! What a confirmed change at the provider means for each declaration of its target: which events are emitted for which
//! declaration, and which roles they name. Pure.
//!
//! One pass changes a target on behalf of all its declarations. An event about a declaration names only roles of that
//! declaration, because the roles of another declaration may belong to another namespace.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::event::EventKind;
use crate::api::membership::{RoleState, RoleStatus};
use crate::core::layers::{Layer, Phase};
use crate::core::member::{Term, Window};
use crate::core::plan::{Plan, RemovalReason};

/// A declaration as a layer, and what it reported before the change.
#[derive(Clone, Debug)]
pub struct PriorState {
    /// The declaration, in the state for which the change was planned.
    pub layer: Layer,
    /// The roles that its status reported in force when the pass began, each with the term it had then.
    pub reported: BTreeMap<String, Term>,
}

/// The roles that a status reports in force, each with its term.
pub fn reported(roles: &[RoleStatus]) -> BTreeMap<String, Term> {
    let in_force = roles.iter().filter(|role| matches!(role.state, RoleState::Active | RoleState::Shared));
    let term = |role: &RoleStatus| match (role.start_time, role.expiration_time) {
        (Some(start), Some(end)) => Term::Temporary(Window { start, end }),
        _ => Term::Permanent,
    };
    in_force.map(|role| (role.role.clone(), term(role))).collect()
}

/// What to report about which declaration: the index of the declaration, the kind of event, and the roles.
///
/// A granted role is a *repair* only if the declaration's status reported it in force with the same term: then another
/// writer removed or shortened it at the provider. Everything else is a grant: a first grant, the start of a window, or
/// a role that was lengthened, made permanent or declared again.
pub fn changes(
    declarations: &[PriorState],
    gained: &[String],
    lost: &[(String, RemovalReason)],
    now: Timestamp,
) -> Vec<(usize, EventKind, Vec<String>)> {
    let mut found: BTreeMap<(usize, EventKind), Vec<String>> = BTreeMap::new();
    let mut report = |declaration: usize, event_kind: EventKind, role: &String| {
        found.entry((declaration, event_kind)).or_default().push(role.clone());
    };
    for (index, declaration) in declarations.iter().enumerate() {
        for role in gained {
            if let Some(event_kind) = gain(declaration, role, now) {
                report(index, event_kind, role);
            }
        }
        for (role, _) in lost.iter().filter(|(_, loss)| *loss != RemovalReason::Unexpected) {
            if let Some(term) = declaration.layer.managed.get(role) {
                report(index, if term.ended(now) { EventKind::Expired } else { EventKind::Revoked }, role);
            }
        }
    }
    // An unmanaged role has no declaration. It is removed on behalf of the declarations that tolerate no unmanaged
    // role.
    let exclusive = |declaration: &PriorState| declaration.layer.exclusive && declaration.layer.phase == Phase::Counts;
    let remover = declarations.iter().position(exclusive).unwrap_or_default();
    for (role, _) in lost.iter().filter(|(_, loss)| *loss == RemovalReason::Unexpected) {
        report(remover, EventKind::DriftedAway, role);
    }
    found.into_iter().map(|((declaration, event_kind), roles)| (declaration, event_kind, roles)).collect()
}

/// Whether a planned change concerns a declaration: it grants, removes or changes a role that the declaration has or
/// had, or it removes an unmanaged role that the declaration does not tolerate. The provider's response to any other
/// change is reported by the other declarations.
pub fn concerns(plan: &Plan, declaration: &Layer, now: Timestamp) -> bool {
    let own = |role: &String| declaration.managed.contains_key(role) || declaration.has_in_effect(role, now);
    let named = plan.gained().iter().any(own)
        || plan.lost().iter().any(|(role, _)| own(role))
        || plan.drift().iter().any(|drift| own(&drift.role));
    let exclusive = declaration.exclusive && declaration.phase == Phase::Counts;
    let unmanaged = exclusive && plan.lost().iter().any(|(_, loss)| *loss == RemovalReason::Unexpected);
    // A role that has to go but is not listed is not named.
    let to_go = declaration.managed.keys().any(|role| !declaration.has_in_effect(role, now));
    let unnamed = plan.revokes() && to_go;
    named || unmanaged || unnamed
}

/// A provider's message without the names of these roles, which belong to other declarations: the message is visible in
/// another namespace.
pub fn without_roles(message: &str, roles: &BTreeSet<String>) -> String {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut text = message.to_owned();
    for role in roles.iter().filter(|role| !role.is_empty()) {
        let mut kept = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once(role.as_str()) {
            let whole = !before.ends_with(part_of_name) && !after.starts_with(part_of_name);
            kept.push_str(before);
            kept.push_str(if whole { "(a role of another declaration)" } else { role });
            rest = after;
        }
        kept.push_str(rest);
        text = kept;
    }
    text
}

/// What the grant of `role` means for a declaration. `None`: the declaration does not have the role in effect, or has
/// not recorded it yet.
fn gain(declaration: &PriorState, role: &str, now: Timestamp) -> Option<EventKind> {
    let layer = &declaration.layer;
    let grant = layer.in_effect(now).find(|grant| grant.role == role)?;
    let granted = layer.managed.contains_key(role);
    let repaired = declaration.reported.get(role) == Some(&grant.term);
    granted.then_some(if repaired { EventKind::DriftedBack } else { EventKind::Granted })
}

#[cfg(test)]
mod tests;
