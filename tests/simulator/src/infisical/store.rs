//! The table of memberships, with the indexes that keep a bench of many thousands linear.

use std::collections::{BTreeMap, HashMap};

use super::state::Membership;

/// All memberships: by project, then by identity. An identity may have several in one project.
#[derive(Default)]
pub(crate) struct Memberships {
    projects: BTreeMap<String, HashMap<String, Vec<Membership>>>,
    made: u64,
}

impl Memberships {
    /// An identity's memberships in a project, oldest first.
    pub(crate) fn of(&self, project: &str, identity: &str) -> &[Membership] {
        self.projects.get(project).and_then(|of| of.get(identity)).map_or(&[], Vec::as_slice)
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, project: &str, identity: &str) -> &mut [Membership] {
        let of = self.projects.get_mut(project).and_then(|of| of.get_mut(identity));
        of.map_or(&mut [], Vec::as_mut_slice)
    }

    /// All of a project, oldest first.
    pub(crate) fn of_project(&self, project: &str) -> Vec<&Membership> {
        let mut all: Vec<&Membership> =
            self.projects.get(project).into_iter().flat_map(HashMap::values).flatten().collect();
        all.sort_unstable_by_key(|membership| membership.serial);
        all
    }

    /// All of a project, to be changed, in no order.
    pub(crate) fn of_project_mut(&mut self, project: &str) -> impl Iterator<Item = &mut Membership> {
        self.projects.get_mut(project).into_iter().flat_map(HashMap::values_mut).flatten()
    }

    /// All there are, by project, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Membership> {
        self.projects.keys().flat_map(|project| self.of_project(project))
    }

    pub(crate) fn insert(&mut self, mut membership: Membership) {
        self.made += 1;
        membership.serial = self.made;
        let of = self.projects.entry(membership.project.clone()).or_default();
        of.entry(membership.identity.clone()).or_default().push(membership);
    }

    /// Takes all of an identity in a project away; how many there were.
    pub(crate) fn remove(&mut self, project: &str, identity: &str) -> usize {
        let of = self.projects.get_mut(project).and_then(|of| of.remove(identity));
        of.map_or(0, |of| of.len())
    }

    pub(crate) fn remove_project(&mut self, project: &str) {
        self.projects.remove(project);
    }

    pub(crate) fn remove_identity(&mut self, identity: &str) {
        for of in self.projects.values_mut() {
            of.remove(identity);
        }
    }
}
