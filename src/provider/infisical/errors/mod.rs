//! What a refusal means. Server versions word the same refusal differently (docs/reference/infisical.md, "Errors" and
//! "A server of June 2025"); here they become one reason. Only what is the same in all versions is compared: the
//! status, the error's name, the request, and how the message begins.

mod messages;

use serde::Deserialize;

use crate::api::SubjectKind;
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::Response;
use messages::ErrorMessages;
pub(crate) use messages::terms;

/// The operation that was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
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
    /// POST of a user by name.
    Invite,
    /// A project by its slug.
    FindProject,
    /// A project by its id.
    LookAtProject,
    /// A subject by its name.
    FindSubject,
}

impl Operation {
    /// Whether it changes nothing.
    fn reads(self) -> bool {
        match self {
            Self::List | Self::Look | Self::FindProject | Self::LookAtProject | Self::FindSubject => true,
            Self::Create | Self::Replace | Self::Remove | Self::Invite => false,
        }
    }
}

/// What a request was about, for its classification and messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestContext<'a> {
    pub(crate) operation: Operation,
    pub(crate) kind: SubjectKind,
    /// The project's id, or the slug that is looked up.
    pub(crate) project: &'a str,
    /// The subject's id, or the name that is looked up.
    pub(crate) subject: &'a str,
    /// The roles that were sent.
    pub(crate) roles: &'a [String],
}

impl<'a> RequestContext<'a> {
    /// A request that sends no roles.
    pub(crate) fn new(operation: Operation, kind: SubjectKind, project: &'a str, subject: &'a str) -> Self {
        Self { operation, kind, project, subject, roles: &[] }
    }
}

/// What a refusal means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The server has no such route: it is another generation.
    NoRoute,
    /// POST: there is a membership.
    AlreadyMember(Error),
    /// PATCH, DELETE, GET: there is no membership, or the subject is unknown.
    NotMember(Error),
    /// There is no project with this slug.
    NoSuchName,
    /// DELETE: the member has a row of the literal `custom`, or more permissions than the caller, and can't be removed
    /// before a PATCH has removed its roles.
    LockedOut(Error),
    /// The list needs a permanent role.
    OnlyTemporary(Error),
    /// A read of the project decides what this means; otherwise it is this error.
    Unclear(Error),
    /// Everything else.
    Other(Error),
}

impl From<Error> for Meaning {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Meaning> for Error {
    fn from(refusal: Meaning) -> Self {
        match refusal {
            Meaning::AlreadyMember(error)
            | Meaning::NotMember(error)
            | Meaning::LockedOut(error)
            | Meaning::OnlyTemporary(error)
            | Meaning::Unclear(error)
            | Meaning::Other(error) => error,
            Meaning::NoRoute => {
                Self::Unreachable { message: "Infisical has no such route".to_owned(), effect: Effect::None }
            }
            Meaning::NoSuchName => Self::ProjectNotFound {
                gone: false,
                message: "Infisical knows no project of this slug: check it under Project Settings → Overview"
                    .to_owned(),
            },
        }
    }
}

/// The body of an error. `message` is a text, or for validation a list of issues; [`Response::error_text`] reads both.
#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

/// The meaning of a response that is a failure of the server, or of a proxy in front of it, and not a refusal: the same
/// for any request.
pub(crate) fn failure(answer: &Response) -> Option<Meaning> {
    // October 2024 responds to too many requests with 500 (rate-limit.json, "GET list, request 61").
    if answer.status == 429 || (answer.status == 500 && answer.retry_after.is_some()) {
        return Some(Meaning::Other(rate_limited(answer)));
    }
    if answer.status >= 500 {
        return Some(Meaning::Other(broken(answer)));
    }
    match error_of(answer).as_deref() {
        None => Some(Meaning::Other(answer.nonsense("an error that isn't Infisical's"))),
        // With a space: the message of the HTTP framework. A missing thing is `NotFound` (docs/reference/infisical.md,
        // "Three generations of the identity-membership path").
        Some("Not Found") if answer.status == 404 => Some(Meaning::NoRoute),
        Some(_) => None,
    }
}

/// The name of a refusal.
pub(crate) fn error_of(answer: &Response) -> Option<String> {
    serde_json::from_slice::<ErrorBody>(&answer.body).ok().map(|body| body.error)
}

/// [`Error::Unauthorized`] where the access token isn't accepted (any more): bad, expired or malformed 403, revoked,
/// missing or expired 401 (docs/reference/infisical.md, "Auth and limits"). A body of the wrong form is 401 in October
/// 2024.
pub(crate) fn token(answer: &Response) -> Option<Error> {
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
            answer.error_text()
        ),
    })
}

/// Interprets a response that isn't a success and isn't about the token.
pub(crate) fn read(answer: &Response, asked: &RequestContext<'_>) -> Meaning {
    let error = error_of(answer).unwrap_or_default();
    // October 2024 (name-resolution.json, "project by unknown slug").
    if asked.operation == Operation::FindProject && error.starts_with("Failed to find project by") {
        return Meaning::NoSuchName;
    }
    if let Some(failure) = failure(answer) {
        return failure;
    }
    let words = ErrorMessages { answer, asked, error, text: answer.error_text() };
    match answer.status {
        _ if words.error == "ValidationFailure" => words.invalid(),
        403 => words.forbidden(),
        404 => words.not_found(),
        400 => words.bad_request(),
        _ => Meaning::Other(words.rejected("")),
    }
}

/// [`Error::RateLimited`] with the wait that the server requested.
fn rate_limited(answer: &Response) -> Error {
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
fn broken(answer: &Response) -> Error {
    // PATCH and DELETE also return 500 for an identity that doesn't exist (issue #7255), and PATCH if it collides with
    // a DELETE.
    let effect = answer.context.effect_unknown();
    answer.context.unreachable(&format!("answered {}: {}", answer.status, answer.error_text()), effect)
}

/// A write that followed one that was carried out: its failure leaves neither the old state nor the new one.
pub(crate) fn after_a_write(error: Error) -> Error {
    match error {
        Error::Unreachable { message, .. } | Error::RateLimited { message, .. } => {
            Error::Unreachable { message, effect: Effect::Unknown }
        }
        refused => refused,
    }
}

/// Whether the removal of the caller's own membership was refused.
pub(crate) fn is_of_ourselves(refused: &Error) -> bool {
    refused.to_string().contains(messages::OWN_MEMBERSHIP)
}

/// Why a membership that no longer gives access is kept, for events.
pub(crate) fn why_kept(refused: &Error) -> &'static str {
    match refused {
        Error::Forbidden { .. } | Error::MayNotGrant { .. } => {
            "the operator's identity may not remove it: give it Delete under Access Control → Roles, or remove the \
             membership manually"
        }
        refused if messages::is_of_a_project(&refused.to_string()) => {
            "Infisical doesn't remove the membership of an identity that the project manages itself: delete the identity \
             in the project, under Access Control → Machine Identities"
        }
        _ => "Infisical refuses to remove it, as the operator's log shows: remove it manually",
    }
}

#[cfg(test)]
mod tests;
