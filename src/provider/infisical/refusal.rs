//! What a refusal means. The two generations of error bodies that are known say the same in different words
//! (reference/infisical.md, "Errors"); here they become one reason.

use serde::Deserialize;

use super::{BUILT_IN_ROLES, NO_ACCESS};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::Answer;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// All members of the project.
    List,
    /// One member.
    Look,
    /// POST.
    Create,
    /// PATCH.
    Replace,
    /// DELETE.
    Remove,
}

/// Whom a request was about, for its classification and messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) operation: Operation,
    pub(super) project: &'a str,
    pub(super) subject: &'a str,
    /// The roles that were sent.
    pub(super) roles: &'a [String],
}

/// What a refusal means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server has no such route: it is another generation.
    NoRoute,
    /// POST: there is a membership.
    AlreadyMember(Error),
    /// PATCH, DELETE, GET: there is none, or the identity is unknown.
    NotMember(Error),
    /// DELETE: the member has a row of the literal `custom` and can't be removed before a PATCH repairs it.
    LockedOut(Error),
    /// The list needs a permanent role.
    OnlyTemporary(Error),
    /// Everything else.
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::AlreadyMember(error)
            | Refusal::NotMember(error)
            | Refusal::LockedOut(error)
            | Refusal::OnlyTemporary(error)
            | Refusal::Other(error) => error,
            Refusal::NoRoute => {
                Self::Unreachable { message: "Infisical has no such route".to_owned(), effect: Effect::None }
            }
        }
    }
}

/// A failure of the server or of what stands before it, whatever was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Too many requests.
    RateLimited,
    /// 5xx.
    Broken,
    /// The server has no such route.
    NoRoute,
    /// The body isn't an error of Infisical's.
    Nonsense,
}

/// The body of an error. `message` is a text, or for validation a list of issues; [`Answer::said`] reads both.
#[derive(Deserialize)]
struct Body {
    error: String,
}

/// Whether the answer is a failure, not a refusal.
pub(super) fn failure(answer: &Answer) -> Option<Failure> {
    // October 2024 answers too many requests with 500 (rate-limit.json, "GET list, request 61").
    if answer.status == 429 || (answer.status == 500 && answer.retry_after.is_some()) {
        return Some(Failure::RateLimited);
    }
    if answer.status >= 500 {
        return Some(Failure::Broken);
    }
    match error_of(answer).as_deref() {
        None => Some(Failure::Nonsense),
        // With a space: the words of the HTTP framework. A missing thing is `NotFound` (reference/infisical.md, "Three
        // generations of the identity-membership path").
        Some("Not Found") if answer.status == 404 => Some(Failure::NoRoute),
        Some(_) => None,
    }
}

/// The name that a refusal has.
pub(super) fn error_of(answer: &Answer) -> Option<String> {
    serde_json::from_slice::<Body>(&answer.body).ok().map(|body| body.error)
}

/// The error of a failure.
pub(super) fn failed(failure: Failure, answer: &Answer) -> Error {
    match failure {
        Failure::RateLimited => rate_limited(answer),
        Failure::Broken => broken(answer),
        Failure::NoRoute => answer.nonsense("no such route"),
        Failure::Nonsense => answer.nonsense("an error that isn't Infisical's"),
    }
}

/// [`Error::Unauthorized`] where the access token isn't accepted (any more): bad, expired or malformed 403, revoked,
/// missing or at its end 401 (reference/infisical.md, "Auth and limits"). A body of the wrong form is 401 in October 2024.
pub(super) fn token(answer: &Answer) -> Option<Error> {
    let error = error_of(answer)?;
    let refused = match answer.status {
        401 => error != "ValidationFailure",
        403 => error == "TokenError",
        _ => false,
    };
    refused.then(|| Error::Unauthorized {
        message: format!(
            "Infisical at {} refuses the access token ({}): check the credential and its trusted addresses",
            answer.context.endpoint,
            answer.said()
        ),
    })
}

/// Reads an answer that isn't a success and doesn't speak of the token.
pub(super) fn read(answer: &Answer, asked: &Asked<'_>) -> Refusal {
    match failure(answer) {
        Some(Failure::NoRoute) => return Refusal::NoRoute,
        Some(failure) => return Refusal::Other(failed(failure, answer)),
        None => {}
    }
    let words = Words { answer, asked, error: error_of(answer).unwrap_or_default(), said: answer.said() };
    match answer.status {
        403 => Refusal::Other(words.forbidden()),
        404 => words.not_found(),
        400 => words.bad_request(),
        _ => Refusal::Other(words.rejected("")),
    }
}

/// [`Error::RateLimited`] with the wait that the server named.
fn rate_limited(answer: &Answer) -> Error {
    let wait = answer.retry_after.map_or_else(String::new, |wait| format!(", to wait {} s", wait.as_secs()));
    Error::RateLimited {
        message: format!(
            "Infisical at {} answers {}: too many requests{wait}: see spec.limits",
            answer.context.endpoint, answer.status
        ),
        after: answer.retry_after,
    }
}

/// [`Error::Unreachable`] of a 5xx.
fn broken(answer: &Answer) -> Error {
    // PATCH and DELETE answer 500 also for an identity that doesn't exist (issue #7255), and PATCH where it met a DELETE.
    let effect = answer.context.effect_unknown();
    answer.context.unreachable(&format!("answered {}: {}", answer.status, answer.said()), effect)
}

/// An answer with what it says and what was asked.
struct Words<'a> {
    answer: &'a Answer,
    asked: &'a Asked<'a>,
    error: String,
    said: String,
}

impl Words<'_> {
    fn forbidden(&self) -> Error {
        let Asked { project, .. } = self.asked;
        let said = &self.said;
        match self.error.as_str() {
            // October 2024 for a missing project and for a caller who isn't a member alike; now for the caller only.
            "Identity is not a member of the specified project" | "You are not member of this project" => {
                Error::ProjectNotFound {
                    gone: false,
                    message: format!(
                        "project {project} does not exist, or the operator's identity is not a member of it (Infisical): \
                         check the id, and add the identity under Access Control → Machine Identities"
                    ),
                }
            }
            "PermissionBoundaryError" | "ForbiddenError" => Error::Forbidden {
                message: format!(
                    "the operator's identity may not grant {} in project {project} (Infisical: {said}): nobody may give \
                     more than they have; give it these rights too, or the permission Assign Role (formerly Grant \
                     Privileges) on Identities",
                    self.roles()
                ),
            },
            _ => Error::Forbidden {
                message: format!(
                    "the operator's identity lacks a permission in project {project} (Infisical: {said}): give it Read, \
                     Create, Edit and Delete on Identities, and Assign Role, under Access Control → Roles"
                ),
            },
        }
    }

    fn not_found(&self) -> Refusal {
        let Asked { operation, project, subject, .. } = *self.asked;
        let message = format!("identity {subject} is not a member of project {project} (Infisical: {})", self.said);
        if self.error == "Custom permission not found" {
            return self.locked_out();
        }
        if self.said.starts_with("Project with") {
            // Access is taken for gone on this word, so it must be about this very project.
            let gone = self.said.to_lowercase().contains(&project.to_lowercase());
            let message =
                format!("project {project} does not exist (Infisical): check the id under Project Settings → Overview");
            return Refusal::Other(Error::ProjectNotFound { gone, message });
        }
        if self.said.starts_with("Specified role") || self.said.starts_with("Custom project roles") {
            return Refusal::Other(self.role_not_found());
        }
        match operation {
            Operation::Create => Refusal::Other(self.subject_not_found()),
            Operation::Look | Operation::Replace | Operation::Remove => Refusal::NotMember(Error::Changed { message }),
            Operation::List => Refusal::Other(self.rejected("")),
        }
    }

    fn bad_request(&self) -> Refusal {
        let Asked { project, subject, .. } = *self.asked;
        let says = |text: &str| self.said.contains(text);
        if says("already a member") || says("already exists in project") {
            let message = format!("identity {subject} is a member of project {project} already (Infisical)");
            Refusal::AlreadyMember(Error::Changed { message })
        } else if says("doesn't have membership") {
            let message = format!("identity {subject} is not a member of project {project} (Infisical)");
            Refusal::NotMember(Error::Changed { message })
        } else if says("missing organization membership") {
            Refusal::Other(self.subject_not_found())
        } else if says("at least one permanent role") {
            Refusal::OnlyTemporary(self.rejected(&format!(": it needs a permanent role beside them, as {NO_ACCESS}")))
        } else if says("Temporary access is not available") || says("rbac") || says("plan restriction") {
            Refusal::Other(self.rejected(": the Infisical plan doesn't include it"))
        } else if says("your own membership") {
            Refusal::Other(self.rejected(": the subject is the identity that the operator signs in as"))
        } else {
            Refusal::Other(self.rejected(""))
        }
    }

    /// Somebody holds the literal `custom`: the member that is to be removed, otherwise the caller.
    fn locked_out(&self) -> Refusal {
        let Asked { operation, project, subject, .. } = self.asked;
        let whom = if *operation == Operation::Remove { *subject } else { "the operator's own" };
        let error = Error::Forbidden {
            message: format!(
                "{whom} identity has the role \"custom\" in project {project}, which locks it out (Infisical): take that \
                 role away under Access Control → Machine Identities"
            ),
        };
        if *operation == Operation::Remove { Refusal::LockedOut(error) } else { Refusal::Other(error) }
    }

    fn subject_not_found(&self) -> Error {
        Error::SubjectNotFound {
            message: format!(
                "identity {} does not exist in the organization (Infisical: {}): check the id under Organization → Access \
                 Control → Identities",
                self.asked.subject, self.said
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

    fn rejected(&self, hint: &str) -> Error {
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

/// A write that followed one that was carried out: its failure leaves neither the old state nor the new one.
pub(super) fn after_a_write(error: Error) -> Error {
    match error {
        Error::Unreachable { message, .. } | Error::RateLimited { message, .. } => {
            Error::Unreachable { message, effect: Effect::Unknown }
        }
        refused => refused,
    }
}

#[cfg(test)]
mod tests;
