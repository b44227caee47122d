//! How memberships of users are refused (user-memberships.json; Infisical's
//! `backend/src/services/membership-user/membership-user-service.ts` for the current server).

use super::{Errors, Refusal};

impl Errors {
    /// `details` of a name that is not a member.
    pub(crate) fn no_user_of_that_name(self, username: &str) -> Refusal {
        let name = if self.since_2025() { format!("'{username}'") } else { username.to_owned() };
        self.refusal(404, "NotFound", format!("Project membership not found for user {name}"))
    }

    /// A membership id that isn't one, at the current server: before any other check.
    pub(crate) fn no_such_membership(self, id: &str) -> Refusal {
        self.refusal(404, "NotFound", format!("Membership with id {id} not found"))
    }

    /// GET of one, at June 2025 (infisical-june-2025/user-memberships.json, 3).
    pub(crate) fn no_user_of_that_id(self, membership: &str) -> Refusal {
        self.refusal(404, "NotFound", format!("Project membership not found for user {membership}"))
    }

    pub(crate) fn user_membership_not_found(self) -> Refusal {
        self.refusal(404, "NotFound", "User membership not found")
    }

    /// PATCH of a membership that isn't one of the project: not a 404 (user-memberships.json, 72).
    pub(crate) fn forbidden_update(self) -> Refusal {
        self.refusal(403, "ForbiddenError", "Forbidden member update")
    }

    /// Inviting to a missing project (user-memberships.json, 38).
    pub(crate) fn no_project_to_invite_to(self) -> Refusal {
        self.refusal(403, "ForbiddenError", "Access denied to one or more of the specified projects")
    }

    pub(crate) fn not_part_of_project(self) -> Refusal {
        self.refusal(400, "Delete project membership", "Some users are not part of project")
    }

    pub(crate) fn remove_yourself(self) -> Refusal {
        self.refusal(400, "Delete project membership", "Cannot remove yourself from project")
    }

    pub(crate) fn invalid_emails(self, emails: &[String]) -> Refusal {
        self.refusal(400, "BadRequest", format!("Invalid emails: {}", emails.join(", ")))
    }
}
