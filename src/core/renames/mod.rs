//! Roles that were renamed at the provider after they were granted, recognized by their ids. Pure.
//!
//! A custom role of Infisical keeps its id and its members when its slug changes. What an object recorded under the
//! former name is still its grant: it ends, and is removed, under the present name of the role.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::membership::ManagedRole;
use crate::core::grants::Grant;
use crate::core::member::{Entry, Term, Window};
use crate::core::status::{managed_roles, term_of};

/// The present names of the roles in a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    /// The recorded ids, by the present names of the roles.
    ids: BTreeMap<String, String>,
    /// The recorded names of renamed roles, by their present names.
    recorded: BTreeMap<String, String>,
    /// The present names of renamed roles that the spec declares by the former name.
    declared: BTreeSet<String>,
}

/// Compares a record with what the provider shows. Returns the managed roles by their present names.
///
/// A role that is shown with the recorded id is managed, under any name. A role that is shown with the recorded name
/// and another id is a different role and is not managed. If one of the ids is unknown, the name decides. `declared`:
/// the roles of the spec.
pub fn recognise(
    record: &[ManagedRole],
    declared: &BTreeSet<&str>,
    shown: &[Entry],
) -> (BTreeMap<String, Term>, Renames) {
    let mut managed: BTreeMap<String, Term> = BTreeMap::new();
    let mut renames = Renames::default();
    for role in record {
        let Some(name) = present_name(role, shown) else {
            continue;
        };
        let term = term_of(role);
        managed.entry(name.to_owned()).and_modify(|known| *known = known.later(term)).or_insert(term);
        if let Some(id) = &role.role_id {
            renames.ids.insert(name.to_owned(), id.clone());
        }
        if name != role.role {
            renames.recorded.insert(name.to_owned(), role.role.clone());
            // The former name may belong to another role now.
            let former_is_free = !shown.iter().any(|entry| entry.role == role.role);
            if former_is_free && declared.contains(role.role.as_str()) && !declared.contains(name) {
                renames.declared.insert(name.to_owned());
            }
        }
    }
    (managed, renames)
}

/// The present name of a recorded role. `None`: the role with this name is a different role.
fn present_name<'a>(role: &'a ManagedRole, shown: &'a [Entry]) -> Option<&'a str> {
    let Some(id) = &role.role_id else {
        return Some(&role.role);
    };
    if let Some(entry) = shown.iter().find(|entry| entry.role_id.as_ref() == Some(id)) {
        return Some(&entry.role);
    }
    let another = |entry: &Entry| entry.role == role.role && entry.role_id.is_some();
    (!shown.iter().any(another)).then_some(&role.role)
}

impl Renames {
    /// The recorded id of a role.
    pub fn id_of(&self, role: &str) -> Option<&str> {
        self.ids.get(role).map(String::as_str)
    }

    /// Whether any role was recorded with its id, so that an unknown name may be a former name.
    pub fn know_ids(&self) -> bool {
        !self.ids.is_empty()
    }

    /// The name under which a role was recorded.
    pub fn recorded_as<'a>(&'a self, role: &'a str) -> &'a str {
        self.recorded.get(role).map_or(role, String::as_str)
    }

    /// The name of a role in the status. It is the former name as long as the spec declares the role by that name;
    /// otherwise nothing would show that the two are the same role.
    pub fn written_as<'a>(&'a self, role: &'a str) -> &'a str {
        if self.declared.contains(role) { self.recorded_as(role) } else { role }
    }

    /// Roles that the spec declares by a former name: the former and the present name.
    pub fn of_spec(&self) -> impl Iterator<Item = (&str, &str)> {
        self.declared.iter().map(|present| (self.recorded_as(present), present.as_str()))
    }

    /// Turns grants that are declared by a former name into grants of the renamed role, limited to what was recorded:
    /// the role stays in force, and nothing more is granted under an undeclared name.
    pub fn follow(&self, grants: &mut [Grant], managed: &BTreeMap<String, Term>) {
        for (former, present) in self.of_spec() {
            let grant = grants.iter_mut().find(|grant| grant.role == former);
            if let (Some(grant), Some(term)) = (grant, managed.get(present)) {
                *grant = Grant { role: present.to_owned(), term: both(grant.term, *term) };
            }
        }
    }

    /// The same without the ids of these roles: they are about to be granted by name, and may be different roles now.
    #[must_use]
    pub fn without_ids(&self, roles: &[&String]) -> Self {
        let mut renames = self.clone();
        renames.ids.retain(|role, _| !roles.contains(&role));
        renames
    }

    /// `status.managedRoles` for a record, with the ids that are shown or known from before.
    pub fn written(&self, record: &BTreeMap<String, Term>, shown: &[Entry]) -> Vec<ManagedRole> {
        let shown_id = |role: &str| shown.iter().find(|entry| entry.role == role)?.role_id.as_deref();
        let id = |role: &str| shown_id(role).or_else(|| self.id_of(role)).map(str::to_owned);
        let mut written = managed_roles(record, id);
        for role in &mut written {
            role.role = self.written_as(&role.role).to_owned();
        }
        written.sort_by(|a, b| a.role.cmp(&b.role));
        written
    }

    /// The shown roles by their present and their former names.
    pub fn with_former_names(&self, shown: &BTreeSet<String>) -> BTreeSet<String> {
        let former = shown.iter().filter_map(|role| self.recorded.get(role).cloned());
        former.chain(shown.iter().cloned()).collect()
    }
}

/// The time that two terms have in common; if they have none, a term that has ended.
fn both(a: Term, b: Term) -> Term {
    match (a, b) {
        (Term::Permanent, other) | (other, Term::Permanent) => other,
        (Term::Temporary(a), Term::Temporary(b)) => {
            Term::Temporary(Window { start: a.start.max(b.start), end: a.end.min(b.end) })
        }
    }
}

#[cfg(test)]
mod tests;
