//! What a refusal means. Servers of different ages say the same in different words (docs/reference/infisical.md,
//! "Errors" and "A server of June 2025"); here they become one reason. What is compared is what is the same in all of
//! them: the status, the error's name, what was asked for, and how a sentence begins.

mod messages;

use serde::Deserialize;

use crate::api::SubjectKind;
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::Response;
use messages::ErrorMessages;

/// What was asked for.
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

/// Whom a request was about, for its classification and messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestContext<'a> {
    pub(crate) operation: Operation,
    pub(crate) kind: SubjectKind,
    /// The project's id, or the slug that is looked for.
    pub(crate) project: &'a str,
    /// The subject's id, or the name that is looked for.
    pub(crate) subject: &'a str,
    /// The roles that were sent.
    pub(crate) roles: &'a [String],
}

/// What a refusal means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The server has no such route: it is another generation.
    NoRoute,
    /// POST: there is a membership.
    AlreadyMember(Error),
    /// PATCH, DELETE, GET: there is none, or the subject is unknown.
    NotMember(Error),
    /// There is no project with this slug.
    NoSuchName,
    /// DELETE: the member has a row of the literal `custom`, or more rights than the caller, and can't be removed before
    /// a PATCH has taken its roles away.
    LockedOut(Error),
    /// The list needs a permanent role.
    OnlyTemporary(Error),
    /// What the project itself answers decides what this means; otherwise it is this.
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

/// A failure of the server or of what stands before it, whatever was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerFailure {
    /// Too many requests.
    RateLimited,
    /// 5xx.
    Broken,
    /// The server has no such route.
    NoRoute,
    /// The body isn't an error of Infisical's.
    Nonsense,
}

/// The body of an error. `message` is a text, or for validation a list of issues; [`Response::said`] reads both.
#[derive(Deserialize)]
struct ErrorBody {
    error: String,
}

/// Whether the answer is a failure, not a refusal.
pub(crate) fn failure(answer: &Response) -> Option<ServerFailure> {
    // October 2024 answers too many requests with 500 (rate-limit.json, "GET list, request 61").
    if answer.status == 429 || (answer.status == 500 && answer.retry_after.is_some()) {
        return Some(ServerFailure::RateLimited);
    }
    if answer.status >= 500 {
        return Some(ServerFailure::Broken);
    }
    match error_of(answer).as_deref() {
        None => Some(ServerFailure::Nonsense),
        // With a space: the words of the HTTP framework. A missing thing is `NotFound` (docs/reference/infisical.md,
        // "Three generations of the identity-membership path").
        Some("Not Found") if answer.status == 404 => Some(ServerFailure::NoRoute),
        Some(_) => None,
    }
}

/// The name that a refusal has.
pub(crate) fn error_of(answer: &Response) -> Option<String> {
    serde_json::from_slice::<ErrorBody>(&answer.body).ok().map(|body| body.error)
}

/// The error of a failure.
pub(crate) fn failed(failure: ServerFailure, answer: &Response) -> Error {
    match failure {
        ServerFailure::RateLimited => rate_limited(answer),
        ServerFailure::Broken => broken(answer),
        ServerFailure::NoRoute => answer.nonsense("no such route"),
        ServerFailure::Nonsense => answer.nonsense("an error that isn't Infisical's"),
    }
}

/// [`Error::Unauthorized`] where the access token isn't accepted (any more): bad, expired or malformed 403, revoked,
/// missing or at its end 401 (docs/reference/infisical.md, "Auth and limits"). A body of the wrong form is 401 in
/// October 2024.
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
            answer.said()
        ),
    })
}

/// Reads an answer that isn't a success and doesn't speak of the token.
pub(crate) fn read(answer: &Response, asked: &RequestContext<'_>) -> Meaning {
    let error = error_of(answer).unwrap_or_default();
    // October 2024 (name-resolution.json, "project by unknown slug").
    if asked.operation == Operation::FindProject && error.starts_with("Failed to find project by") {
        return Meaning::NoSuchName;
    }
    match failure(answer) {
        Some(ServerFailure::NoRoute) => return Meaning::NoRoute,
        Some(failure) => return Meaning::Other(failed(failure, answer)),
        None => {}
    }
    let words = ErrorMessages { answer, asked, error, said: answer.said() };
    match answer.status {
        _ if words.error == "ValidationFailure" => words.invalid(),
        403 => words.forbidden(),
        404 => words.not_found(),
        400 => words.bad_request(),
        _ => Meaning::Other(words.rejected("")),
    }
}

/// [`Error::RateLimited`] with the wait that the server named.
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
    // PATCH and DELETE answer 500 also for an identity that doesn't exist (issue #7255), and PATCH where it met a DELETE.
    let effect = answer.context.effect_unknown();
    answer.context.unreachable(&format!("answered {}: {}", answer.status, answer.said()), effect)
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

/// Why a membership that gives no access any more is kept, for events.
pub(crate) fn why_kept(refused: &Error) -> &'static str {
    match refused {
        Error::Forbidden { .. } | Error::MayNotGrant { .. } => {
            "the operator's identity may not remove it: give it Delete under Access Control → Roles, or remove the \
             membership by hand"
        }
        refused if messages::is_of_a_project(&refused.to_string()) => {
            "Infisical doesn't remove the membership of an identity that the project manages itself: delete the identity \
             in the project, under Access Control → Machine Identities"
        }
        _ => "Infisical refuses to remove it, as the operator's log says: remove it by hand",
    }
}

#[cfg(test)]
mod tests;
