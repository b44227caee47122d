//! The messages of refusals, in all generations and for all kinds, and what they mean.

use super::{Meaning, Operation, RequestContext};
use crate::api::SubjectKind;
use crate::provider::Error;
use crate::provider::http::Response;
use crate::provider::infisical::{BUILT_IN_ROLES, NO_ACCESS};

/// The names of a kind of subject: in messages, among the permissions of a role and in the dashboard.
pub(crate) struct SubjectTerms {
    pub(crate) noun: &'static str,
    permission: &'static str,
    page: &'static str,
}

pub(crate) fn terms(kind: SubjectKind) -> SubjectTerms {
    match kind {
        SubjectKind::Identity => {
            SubjectTerms { noun: "identity", permission: "Identities", page: "Machine Identities" }
        }
        SubjectKind::User => SubjectTerms { noun: "user", permission: "Users", page: "Users" },
        SubjectKind::Group => SubjectTerms { noun: "group", permission: "Groups", page: "Groups" },
    }
}

/// A response with its message and the request.
pub(crate) struct ErrorMessages<'a> {
    pub(crate) answer: &'a Response,
    pub(crate) asked: &'a RequestContext<'a>,
    pub(crate) error: String,
    pub(crate) text: String,
}

impl ErrorMessages<'_> {
    /// The body has the wrong form.
    pub(crate) fn invalid(&self) -> Meaning {
        if self.asked.operation == Operation::FindProject {
            // It isn't considered a slug.
            return Meaning::NoSuchName;
        }
        // Users before October 2025, where an empty list has both messages (user-memberships.json, "update: no roles").
        if self.is_about_a_permanent_role() && !self.text.contains("at least 1 element") {
            return self.only_temporary();
        }
        Meaning::Other(self.rejected(""))
    }

    pub(crate) fn forbidden(&self) -> Meaning {
        let RequestContext { operation, kind, project, .. } = *self.asked;
        let begins = |words: &[&str], text: &str| words.iter().any(|words| text.starts_with(words));
        // Before October 2025, for a membership id that the project doesn't have (user-memberships.json, "update:
        // unknown membership").
        if operation == Operation::Replace && kind == SubjectKind::User && self.text.starts_with("Forbidden member") {
            return self.not_member();
        }
        if begins(&NOT_IN_PROJECT, &self.error) || begins(&NOT_IN_PROJECTS, &self.text) {
            let error = Error::ProjectNotFound {
                gone: false,
                message: format!(
                    "project {project} does not exist, or the operator's identity is not a member of it (Infisical): \
                     check it, and add the identity under Access Control → Machine Identities"
                ),
            };
            // A slug isn't an id that can be requested, and the project itself has already been requested.
            let is_decided = matches!(operation, Operation::FindProject | Operation::LookAtProject);
            return if is_decided { Meaning::Other(error) } else { Meaning::Unclear(error) };
        }
        let error = self.lacks_a_right();
        match self.error.as_str() {
            // Reading grants nothing, so that it is never refused for this reason.
            "ForbiddenError" if operation.reads() || self.text.starts_with("This ") => Meaning::Unclear(error),
            "PermissionBoundaryError" | "ForbiddenError" if operation == Operation::Remove => Meaning::LockedOut(error),
            _ => Meaning::Other(error),
        }
    }

    /// The caller lacks a permission.
    fn lacks_a_right(&self) -> Error {
        let RequestContext { operation, kind, project, subject, .. } = *self.asked;
        let (text, SubjectTerms { permission, noun, .. }) = (&self.text, terms(kind));
        let message = match (self.error.as_str(), operation) {
            // The privilege system of March 2025 (docs/reference/infisical.md, "A server of June 2025").
            ("PermissionBoundaryError", _) if text.contains("missing permission") => {
                return Error::MayNotGrant {
                    message: format!(
                        "the operator's identity may not grant any role in project {project} (Infisical: {text}): give it \
                         Grant Privileges on {permission} under Access Control → Roles (Assign Role on newer servers), or \
                         the role Admin"
                    ),
                };
            }
            ("PermissionBoundaryError", _) => format!(
                "the operator's identity may not grant {} in project {project} (Infisical: {text}): an identity may grant \
                 only what it has; give it these permissions too, or the permission Grant Privileges on {permission} \
                 (Assign Role on newer servers)",
                self.roles()
            ),
            ("ForbiddenError", operation) if !operation.reads() => format!(
                "the operator's identity may not grant {} in project {project} (Infisical: {text}): an identity may grant \
                 only what it has; give it these permissions too",
                self.roles()
            ),
            (_, Operation::FindSubject) if kind != SubjectKind::User => format!(
                "the operator's identity may not look up {noun} {subject:?} in the organization (Infisical: {text}): give \
                 it the organization role Member, or write subject.id instead of subject.name"
            ),
            (_, Operation::Invite) => format!(
                "the operator's identity may not add user {subject:?} to project {project} (Infisical: {text}): give it \
                 Create on Users under Access Control → Roles; for a user who is new to the organization it needs the \
                 organization role Admin too"
            ),
            _ => format!(
                "the operator's identity lacks a permission in project {project} (Infisical: {text}): give it Read, \
                 Create, Edit and Delete on {permission}, and Assign Role (Grant Privileges on older servers), under \
                 Access Control → Roles"
            ),
        };
        Error::Forbidden { message }
    }

    pub(crate) fn not_found(&self) -> Meaning {
        let RequestContext { operation, project, .. } = *self.asked;
        if self.error.starts_with("Custom permission") {
            return self.locked_out();
        }
        // The caller holds the literal `custom`, which is not a role (user-memberships.json, "the user with the literal
        // custom reads").
        if self.error.starts_with("The permission was not found") {
            return Meaning::Other(Error::Forbidden {
                message: format!(
                    "the identity that the operator signs in as has a broken role in project {project} (Infisical: {}): give \
                     it a role that exists under Access Control",
                    self.error
                ),
            });
        }
        if operation == Operation::FindProject {
            return Meaning::NoSuchName;
        }
        // October 2024 responds with it on the paths of groups only (group-memberships.json, "unknown project: list").
        if self.text.starts_with("Project with") || self.text.starts_with("Failed to find project with ID") {
            // Access counts as gone because of this message, so it must be about this project.
            let gone = self.text.to_lowercase().contains(&project.to_lowercase());
            let message =
                format!("project {project} does not exist (Infisical): check the id under Project Settings → Overview");
            return Meaning::Other(Error::ProjectNotFound { gone, message });
        }
        if ROLE_NOT_FOUND.iter().any(|words| self.text.starts_with(words)) {
            return Meaning::Other(self.role_not_found());
        }
        match operation {
            Operation::Create => Meaning::Other(self.subject_not_found()),
            Operation::Look | Operation::Replace | Operation::Remove | Operation::FindSubject => self.not_member(),
            Operation::List | Operation::Invite | Operation::FindProject | Operation::LookAtProject => {
                Meaning::Other(self.rejected(""))
            }
        }
    }

    pub(crate) fn bad_request(&self) -> Meaning {
        let RequestContext { project, subject, kind, .. } = *self.asked;
        let has = |part: &str| self.text.contains(part);
        if has("already a member") || has("already exists in project") {
            let noun = terms(kind).noun;
            let message = format!("{noun} {subject} is a member of project {project} already (Infisical)");
            Meaning::AlreadyMember(Error::Changed { message })
        } else if has("doesn't have membership") || has("Group details not found") {
            self.not_member()
        } else if has("missing organization membership") || has("not part of organization") {
            Meaning::Other(self.subject_not_found())
        } else if self.is_about_a_permanent_role() {
            self.only_temporary()
        } else {
            let hint = HINTS.iter().find(|(words, _)| has(words)).map_or("", |(_, hint)| hint);
            Meaning::Other(self.rejected(hint))
        }
    }

    /// `Identity must have at least one permanent role`, `At least one long lived role is required`.
    fn is_about_a_permanent_role(&self) -> bool {
        let text = self.text.to_lowercase();
        text.contains("at least one") && (text.contains("permanent") || text.contains("long lived"))
    }

    fn not_member(&self) -> Meaning {
        let RequestContext { kind, project, subject, .. } = self.asked;
        let noun = terms(*kind).noun;
        let message = format!("{noun} {subject} is not a member of project {project} (Infisical: {})", self.text);
        Meaning::NotMember(Error::Changed { message })
    }

    fn only_temporary(&self) -> Meaning {
        Meaning::OnlyTemporary(self.rejected(&format!(": it needs a permanent role beside them, as {NO_ACCESS}")))
    }

    /// The member that is to be removed, or otherwise the caller, holds the literal `custom`.
    fn locked_out(&self) -> Meaning {
        let RequestContext { operation, kind, project, subject, .. } = self.asked;
        let removed = *operation == Operation::Remove && *kind == SubjectKind::Identity;
        let whom = if removed { *subject } else { "the operator's own" };
        let error = Error::Forbidden {
            message: format!(
                "{whom} identity has the role \"custom\" in project {project}, which locks it out (Infisical): remove that \
                 role under Access Control → Machine Identities"
            ),
        };
        if removed { Meaning::LockedOut(error) } else { Meaning::Other(error) }
    }

    fn subject_not_found(&self) -> Error {
        let RequestContext { kind, subject, .. } = self.asked;
        let SubjectTerms { noun, page, .. } = terms(*kind);
        let page = page.rsplit(' ').next().unwrap_or(page);
        Error::SubjectNotFound {
            message: format!(
                "{noun} {subject} does not exist in the organization (Infisical: {}): check the id under Organization → \
                 Access Control → {page}",
                self.text
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
        let in_capitals = role.as_ref().is_some_and(|role| *role != role.to_lowercase());
        let case = if in_capitals { "; upper and lower case count in it" } else { "" };
        Error::RoleNotFound { role, message: format!("{what}: check the slug under Access Control → Roles{case}") }
    }

    /// The role that the server reports as missing: `Specified role was not found: x` in October 2024, `Specified roles
    /// 'x' was not found…` now. If it names none of those sent, the only one that may be missing.
    fn missing_role(&self) -> Option<String> {
        let sent = self.asked.roles;
        let quoted = self.text.split('\'').nth(1);
        let last = self.text.strip_prefix("Specified role was not found:");
        let named: Vec<&str> = quoted.or(last).unwrap_or_default().split(',').map(str::trim).collect();
        if let Some(role) = sent.iter().find(|role| named.contains(&role.trim())) {
            return Some(role.clone());
        }
        let mut unknown = sent.iter().filter(|role| !BUILT_IN_ROLES.contains(&role.as_str()));
        unknown.next().filter(|_| unknown.next().is_none()).cloned()
    }

    pub(crate) fn rejected(&self, hint: &str) -> Error {
        let RequestContext { project, .. } = self.asked;
        let text = if self.text.is_empty() { &self.error } else { &self.text };
        Error::Rejected {
            message: format!(
                "Infisical refuses the request for project {project} ({} {}){hint}",
                self.answer.status,
                self.answer.filtered(text)
            ),
        }
    }

    fn roles(&self) -> String {
        let quoted: Vec<String> = self.asked.roles.iter().map(|role| format!("\"{role}\"")).collect();
        if quoted.is_empty() { "this".to_owned() } else { quoted.join(", ") }
    }
}

/// The message for the removal of the caller's own membership.
pub(crate) const OWN_MEMBERSHIP: &str = "your own membership";

/// Whether the refusal is about an identity that the project manages itself.
pub(crate) fn is_of_a_project(refused: &str) -> bool {
    HINTS.iter().any(|(words, hint)| *hint == OF_A_PROJECT && refused.contains(words))
}

/// The beginnings of the error names for a caller who isn't in the project, or, before October 2025, for a missing
/// project.
const NOT_IN_PROJECT: [&str; 3] = ["Identity is not a member of", "User not a part of", "You are not member of"];
/// The same for messages, in response to an invitation.
const NOT_IN_PROJECTS: [&str; 1] = ["Access denied to one or more"];

/// The beginnings of the messages about a role: `Specified role was not found: x`, `Specified roles 'x' was not
/// found…`, `Custom project roles not found`, `Custom role/s not found: `, `One or more custom (project) roles not
/// found`.
const ROLE_NOT_FOUND: [&str; 4] = ["Specified role", "Custom project role", "Custom role", "One or more custom"];

/// What to do about requests that are refused permanently, by words of the response (docs/reference/infisical.md,
/// "Errors"; `backend/src/services/membership/membership-fns.ts` and the three `project-membership-…-factory.ts`).
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
    ("project scoped identity", OF_A_PROJECT),
    ("scoped to project", OF_A_PROJECT),
    (OWN_MEMBERSHIP, ": the subject is the identity that the operator signs in as: leave it to others"),
    ("Invalid emails", ": write the user's e-mail address as subject.name"),
    ("Disposable emails", ": write another e-mail address as subject.name"),
];
const OF_A_PROJECT: &str =
    ": the identity belongs to a project, and is managed there under Access Control → Machine Identities";
const PLAN: &str = ": the Infisical plan doesn't include it: upgrade it, or declare built-in and permanent roles only";
