//! The table of memberships, with the indexes that keep a bench of many thousands linear.

use std::collections::{BTreeMap, HashMap};

use super::state::Membership;
use super::subjects::Kind;

/// All memberships: by project, then by subject. A subject may have several in one project.
#[derive(Default)]
pub(crate) struct Memberships {
    projects: BTreeMap<String, HashMap<String, Vec<Membership>>>,
    made: u64,
}

impl Memberships {
    /// A subject's memberships in a project, oldest first.
    pub(crate) fn of(&self, project: &str, subject: &str) -> &[Membership] {
        self.projects.get(project).and_then(|of| of.get(subject)).map_or(&[], Vec::as_slice)
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, project: &str, subject: &str) -> &mut [Membership] {
        let of = self.projects.get_mut(project).and_then(|of| of.get_mut(subject));
        of.map_or(&mut [], Vec::as_mut_slice)
    }

    /// All of a project, oldest first.
    pub(crate) fn of_project(&self, project: &str) -> Vec<&Membership> {
        let mut all: Vec<&Membership> =
            self.projects.get(project).into_iter().flat_map(HashMap::values).flatten().collect();
        all.sort_unstable_by_key(|membership| membership.serial);
        all
    }

    /// All of a project that are of one kind, oldest first.
    pub(crate) fn of_kind(&self, project: &str, kind: Kind) -> Vec<&Membership> {
        let mut all = self.of_project(project);
        all.retain(|membership| membership.kind == kind);
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
        of.entry(membership.subject.clone()).or_default().push(membership);
    }

    /// Takes all of a subject in a project away; how many there were.
    pub(crate) fn remove(&mut self, project: &str, subject: &str) -> usize {
        let of = self.projects.get_mut(project).and_then(|of| of.remove(subject));
        of.map_or(0, |of| of.len())
    }

    /// Takes one membership away; whether it was there.
    pub(crate) fn remove_one(&mut self, project: &str, subject: &str, id: &str) -> bool {
        let Some(of) = self.projects.get_mut(project).and_then(|of| of.get_mut(subject)) else {
            return false;
        };
        let before = of.len();
        of.retain(|membership| membership.id != id);
        of.len() < before
    }

    /// The membership of this id, in whichever project.
    pub(crate) fn by_id(&self, id: &str) -> Option<&Membership> {
        let all = self.projects.values().flat_map(HashMap::values).flatten();
        all.into_iter().find(|membership| membership.id == id)
    }

    pub(crate) fn remove_project(&mut self, project: &str) {
        self.projects.remove(project);
    }

    pub(crate) fn remove_subject(&mut self, subject: &str) {
        for of in self.projects.values_mut() {
            of.remove(subject);
        }
    }
}
