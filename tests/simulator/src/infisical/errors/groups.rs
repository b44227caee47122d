//! How memberships of groups are refused (group-memberships.json; Infisical's
//! `backend/src/services/membership-group/membership-group-service.ts` for the current server).

use super::{Errors, Refusal};
use crate::infisical::subjects::Kind;

impl Errors {
    /// GET of a group that is no member.
    pub(crate) fn group_membership_not_found(self, project: &str, group: &str) -> Refusal {
        let message = match (self.current(), self.june_2025()) {
            (true, _) => "Group membership not found".to_owned(),
            (_, true) => format!("Group membership with ID {group} not found in project with ID {project}"),
            (false, false) => "Cannot find group membership".to_owned(),
        };
        self.refusal(404, "NotFound", message)
    }

    /// POST, and PATCH, for a group that the organisation does not have; and at October 2024 for one that the project
    /// doesn't have.
    pub(crate) fn group_not_found(self, group: &str) -> Refusal {
        if self.current() {
            return self.refusal(400, "BadRequest", format!("Group {group} is missing organization membership"));
        }
        self.refusal(404, "NotFound", format!("Failed to find group with ID {group}"))
    }

    /// PATCH and DELETE of a group that the project doesn't have.
    pub(crate) fn group_not_member(self, group: &str) -> Refusal {
        if self.current() { self.no_membership_of(Kind::Group) } else { self.group_not_found(group) }
    }

    /// DELETE of a group that the organisation does not have.
    pub(crate) fn group_gone(self, group: &str) -> Refusal {
        if self.current() {
            return self.refusal(400, "BadRequest", "Group details not found");
        }
        self.group_not_found(group)
    }

    pub(crate) fn group_not_found_by_name(self, name: &str) -> Refusal {
        let by = if self.june_2025() { "ID or name" } else { "name" };
        self.refusal(404, "NotFound", format!("Failed to find group with {by} {name}"))
    }

    pub(crate) fn group_already_member(self, project: &str, group: &str) -> Refusal {
        let message = if self.current() {
            "Group is already a member".to_owned()
        } else {
            format!("Group with ID {group} already exists in project with id {project}")
        };
        self.refusal(400, "BadRequest", message)
    }

    /// A missing project, on the paths of groups: 404 even at October 2024.
    pub(crate) fn no_project_for_groups(self, project: &str) -> Refusal {
        if self.current() {
            return self.missing_project(project);
        }
        self.refusal(404, "NotFound", format!("Failed to find project with ID {project}"))
    }
}
