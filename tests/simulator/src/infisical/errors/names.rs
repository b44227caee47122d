//! How look-ups of projects, identities, groups and roles are refused (name-resolution.json).

use super::{Errors, NO_ACCESS, Refusal};

impl Errors {
    /// October 2024 wraps the error of everything that it doesn't find: 500.
    pub(crate) fn project_not_found_by_slug(self, slug: &str) -> Refusal {
        if self.since_2025() {
            return self.refusal(404, "NotFound", format!("Project with slug '{slug}' not found"));
        }
        self.went_wrong("Failed to find project by slug")
    }

    pub(crate) fn project_not_found_by_id(self, id: &str) -> Refusal {
        if self.since_2025() { self.missing_project(id) } else { self.went_wrong("Failed to find project by id") }
    }

    pub(crate) fn not_of_organization(self) -> Refusal {
        self.refusal(403, "Identity is not apart of this organization", NO_ACCESS)
    }

    /// A route for people only.
    pub(crate) fn not_for_identities(self, path: &str) -> Refusal {
        self.refusal(403, &format!("Forbidden access to {path}"), NO_ACCESS)
    }

    pub(crate) fn group_unknown(self, id: &str) -> Refusal {
        self.refusal(404, "NotFound", format!("Cannot find group with ID {id}"))
    }
}
