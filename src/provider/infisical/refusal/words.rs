//! The words of refusals, in all generations and for all kinds, and what they come to.

use super::{Asked, Operation, Refusal};
use crate::api::SubjectKind;
use crate::provider::Error;
use crate::provider::http::Answer;
use crate::provider::infisical::{BUILT_IN_ROLES, NO_ACCESS};

/// What a kind of subject is called, in sentences, among the permissions of a role and in the dashboard.
struct Terms {
    noun: &'static str,
    permission: &'static str,
    page: &'static str,
}

fn terms(kind: SubjectKind) -> Terms {
    match kind {
        SubjectKind::Identity => Terms { noun: "identity", permission: "Identities", page: "Machine Identities" },
        SubjectKind::User => Terms { noun: "user", permission: "Users", page: "Users" },
        SubjectKind::Group => Terms { noun: "group", permission: "Groups", page: "Groups" },
    }
}

/// An answer with what it says and what was asked.
pub(super) struct Words<'a> {
    pub(super) answer: &'a Answer,
    pub(super) asked: &'a Asked<'a>,
    pub(super) error: String,
    pub(super) said: String,
}

impl Words<'_> {
    /// The body has the wrong form.
    pub(super) fn invalid(&self) -> Refusal {
        if self.asked.operation == Operation::FindProject {
            // Whatever it takes for no slug.
            return Refusal::NoSuchName;
        }
        // Users in October 2024, where an empty list is told both (user-memberships.json, "update: no roles").
        if self.said.contains("At least one long lived role") && !self.said.contains("at least 1 element") {
            return self.only_temporary();
        }
        Refusal::Other(self.rejected(""))
    }

    pub(super) fn forbidden(&self) -> Refusal {
        let Asked { operation, kind, project, subject, .. } = *self.asked;
        let said = &self.said;
        let Terms { permission, .. } = terms(kind);
        // October 2024, for a membership id that the project hasn't (user-memberships.json, "update: unknown
        // membership").
        if said == "Forbidden member update" {
            return self.not_member();
        }
        let ambiguous = match self.error.as_str() {
            // October 2024 for a missing project and for a caller who isn't a member alike; now for the caller only.
            "Identity is not a member of the specified project"
            | "User not a part of the specified project"
            | "You are not member of this project" => true,
            _ => said.starts_with("Access denied to one or more of the specified projects"),
        };
        if ambiguous {
            return Refusal::Other(Error::ProjectNotFound {
                gone: false,
                message: format!(
                    "project {project} does not exist, or the operator's identity is not a member of it (Infisical): \
                     check it, and add the identity under Access Control → Machine Identities"
                ),
            });
        }
        let message = match (self.error.as_str(), operation) {
            ("PermissionBoundaryError" | "ForbiddenError", _) => format!(
                "the operator's identity may not grant {} in project {project} (Infisical: {said}): nobody may give \
                 more than they have; give it these rights too, or the permission Assign Role (formerly Grant \
                 Privileges) on {permission}",
                self.roles()
            ),
            (_, Operation::FindSubject) if kind != SubjectKind::User => format!(
                "the operator's identity may not look up {} {subject:?} in the organization (Infisical: {said}): give it \
                 the organization role Member, or write subject.id instead of subject.name",
                terms(kind).noun
            ),
            (_, Operation::Invite) => format!(
                "the operator's identity may not add user {subject:?} to project {project} (Infisical: {said}): give it \
                 Create on Users under Access Control → Roles; for a user who is new to the organization it needs the \
                 organization role Admin too"
            ),
            _ => format!(
                "the operator's identity lacks a permission in project {project} (Infisical: {said}): give it Read, \
                 Create, Edit and Delete on {permission}, and Assign Role, under Access Control → Roles"
            ),
        };
        match (self.error.as_str(), operation) {
            ("PermissionBoundaryError" | "ForbiddenError", Operation::Remove) => {
                Refusal::LockedOut(Error::Forbidden { message })
            }
            _ => Refusal::Other(Error::Forbidden { message }),
        }
    }

    pub(super) fn not_found(&self) -> Refusal {
        let Asked { operation, project, .. } = *self.asked;
        if self.error == "Custom permission not found" {
            return self.locked_out();
        }
        // The caller holds the literal `custom`, which is no role (user-memberships.json, "the user with the literal
        // custom reads").
        if self.error == "The permission was not found" {
            return Refusal::Other(Error::Forbidden {
                message: format!(
                    "whoever the operator signs in as has a broken role in project {project} (Infisical: {}): give it a \
                     role that exists under Access Control",
                    self.error
                ),
            });
        }
        if operation == Operation::FindProject {
            return Refusal::NoSuchName;
        }
        // October 2024 says it of the paths of groups only (group-memberships.json, "unknown project: list").
        if self.said.starts_with("Project with") || self.said.starts_with("Failed to find project with ID") {
            // Access is taken for gone on this word, so it must be about this very project.
            let gone = self.said.to_lowercase().contains(&project.to_lowercase());
            let message =
                format!("project {project} does not exist (Infisical): check the id under Project Settings → Overview");
            return Refusal::Other(Error::ProjectNotFound { gone, message });
        }
        if ROLE_NOT_FOUND.iter().any(|words| self.said.starts_with(words)) {
            return Refusal::Other(self.role_not_found());
        }
        match operation {
            Operation::Create => Refusal::Other(self.subject_not_found()),
            Operation::Look | Operation::Replace | Operation::Remove | Operation::FindSubject => self.not_member(),
            Operation::List | Operation::Invite | Operation::FindProject => Refusal::Other(self.rejected("")),
        }
    }

    pub(super) fn bad_request(&self) -> Refusal {
        let Asked { project, subject, kind, .. } = *self.asked;
        let says = |text: &str| self.said.contains(text);
        if says("already a member") || says("already exists in project") {
            let noun = terms(kind).noun;
            let message = format!("{noun} {subject} is a member of project {project} already (Infisical)");
            Refusal::AlreadyMember(Error::Changed { message })
        } else if says("doesn't have membership") || says("Group details not found") {
            self.not_member()
        } else if says("missing organization membership") || says("not part of organization") {
            Refusal::Other(self.subject_not_found())
        } else if says("at least one permanent role") {
            self.only_temporary()
        } else {
            let hint = HINTS.iter().find(|(words, _)| says(words)).map_or("", |(_, hint)| hint);
            Refusal::Other(self.rejected(hint))
        }
    }

    fn not_member(&self) -> Refusal {
        let Asked { kind, project, subject, .. } = self.asked;
        let noun = terms(*kind).noun;
        let message = format!("{noun} {subject} is not a member of project {project} (Infisical: {})", self.said);
        Refusal::NotMember(Error::Changed { message })
    }

    fn only_temporary(&self) -> Refusal {
        Refusal::OnlyTemporary(self.rejected(&format!(": it needs a permanent role beside them, as {NO_ACCESS}")))
    }

    /// Somebody holds the literal `custom`: the member that is to be removed, otherwise the caller.
    fn locked_out(&self) -> Refusal {
        let Asked { operation, kind, project, subject, .. } = self.asked;
        let removed = *operation == Operation::Remove && *kind == SubjectKind::Identity;
        let whom = if removed { *subject } else { "the operator's own" };
        let error = Error::Forbidden {
            message: format!(
                "{whom} identity has the role \"custom\" in project {project}, which locks it out (Infisical): take that \
                 role away under Access Control → Machine Identities"
            ),
        };
        if removed { Refusal::LockedOut(error) } else { Refusal::Other(error) }
    }

    fn subject_not_found(&self) -> Error {
        let Asked { kind, subject, .. } = self.asked;
        let Terms { noun, page, .. } = terms(*kind);
        let page = page.rsplit(' ').next().unwrap_or(page);
        Error::SubjectNotFound {
            message: format!(
                "{noun} {subject} does not exist in the organization (Infisical: {}): check the id under Organization → \
                 Access Control → {page}",
                self.said
            ),
        }
    }
    fn role_not_found(&self) -> Error {
        let role = self.missing_role();
        let project = self.asked.project;
        let what = match &role {
            Some(role) => format!("role \"{role}\" does not exist in project {project} (Infisical)"),
            None => format!("one of the roles {} does not exist in project {project} (Infisical)", self.roles()),
        };
        Error::RoleNotFound { role, message: format!("{what}: check the slug under Access Control → Roles") }
    }

    /// The role that the server says is missing: `Specified role was not found: x` in October 2024, `Specified roles
    /// 'x' was not found…` now. Where it names none of those sent, the only one that may be missing.
    fn missing_role(&self) -> Option<String> {
        let sent = self.asked.roles;
        let quoted = self.said.split('\'').nth(1);
        let last = self.said.strip_prefix("Specified role was not found:");
        let named: Vec<&str> = quoted.or(last).unwrap_or_default().split(',').map(str::trim).collect();
        if let Some(role) = sent.iter().find(|role| named.contains(&role.trim())) {
            return Some(role.clone());
        }
        let mut unknown = sent.iter().filter(|role| !BUILT_IN_ROLES.contains(&role.as_str()));
        unknown.next().filter(|_| unknown.next().is_none()).cloned()
    }

    pub(super) fn rejected(&self, hint: &str) -> Error {
        let Asked { project, .. } = self.asked;
        let said = if self.said.is_empty() { &self.error } else { &self.said };
        Error::Rejected {
            message: format!(
                "Infisical refuses the request for project {project} ({} {}){hint}",
                self.answer.status,
                self.answer.filtered(said)
            ),
        }
    }

    fn roles(&self) -> String {
        let quoted: Vec<String> = self.asked.roles.iter().map(|role| format!("\"{role}\"")).collect();
        if quoted.is_empty() { "this".to_owned() } else { quoted.join(", ") }
    }
}

/// How the answers begin that speak of a role. The last is that of today's servers (Infisical's
/// `backend/src/services/membership-user/membership-user-service.ts`), the third October 2024's for groups.
const ROLE_NOT_FOUND: [&str; 4] =
    ["Specified role", "Custom project roles", "Custom role/s not found", "One or more custom roles not found"];

/// What to do about requests that are refused for good, by words of the answer (reference/infisical.md, "Errors";
/// `backend/src/services/membership/membership-fns.ts` and the three `project-membership-…-factory.ts`).
const HINTS: [(&str, &str); 11] = [
    ("Temporary access is not available", PLAN),
    ("rbac", PLAN),
    ("RBAC", PLAN),
    ("plan restriction", PLAN),
    ("Upgrade plan", PLAN),
    (
        "only supports Admin and Member roles",
        ": projects of this product know the permanent roles admin and member only, so declare one of them",
    ),
    (
        "project scoped identity",
        ": the identity belongs to a project, and is managed there under Access Control → Machine Identities",
    ),
    (
        "scoped to project",
        ": the identity belongs to a project, and is managed there under Access Control → Machine Identities",
    ),
    ("your own membership", ": the subject is the identity that the operator signs in as: leave it to others"),
    ("Invalid emails", ": write the user's e-mail address as subject.name"),
    ("Disposable emails", ": write another e-mail address as subject.name"),
];
const PLAN: &str = ": the Infisical plan doesn't include it: upgrade it, or declare built-in and permanent roles only";
