//! The errors of a provider, and how they are handled.

use std::time::Duration;

use crate::api::Reason;

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// On a change of the object, its provider or its secret, and at the slow resync.
    Terminal,
    /// After the time that the provider requested.
    After(Duration),
    /// Soon, with increasing delays.
    Backoff,
}

/// Whether a request that failed may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It was not carried out: it was refused, or never sent.
    None,
    /// Unknown: observe before retrying.
    Unknown,
}

/// A provider's refusal or failure. Every text in it is bounded and filtered (docs/security.md: no token, no whole
/// body).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No connection, no response in time, 5xx, or an invalid response.
    Unreachable {
        /// What happened, where, and what to do.
        message: String,
        /// Whether the request may have been carried out.
        effect: Effect,
    },
    /// Too many requests.
    RateLimited {
        /// What happened, where, and what to do.
        message: String,
        /// The wait that the provider requests.
        after: Option<Duration>,
    },
    /// The credential is refused.
    Unauthorized {
        /// What happened, where, and what to do.
        message: String,
    },
    /// The credential's permissions are insufficient.
    Forbidden {
        /// What happened, where, and what to do.
        message: String,
    },
    /// The credential may grant no role, so that every role list is refused, with any content. Removing a membership
    /// may still be allowed.
    MayNotGrant {
        /// What happened, where, and what to do.
        message: String,
    },
    /// A role of the list doesn't exist.
    RoleNotFound {
        /// The role that the provider named, if it named one.
        role: Option<String>,
        /// What happened, where, and what to do.
        message: String,
    },
    /// The subject doesn't exist.
    SubjectNotFound {
        /// What happened, where, and what to do.
        message: String,
    },
    /// The project doesn't exist, or not for this credential or organization.
    ProjectNotFound {
        /// The provider reports explicitly that there is no such project, so that no access to it can be left.
        gone: bool,
        /// What happened, where, and what to do.
        message: String,
    },
    /// The member isn't what was observed: it was created, removed or changed meanwhile.
    Changed {
        /// What happened and where.
        message: String,
    },
    /// The provider accepted the member and will never list it.
    MemberNotListed {
        /// What happened, where, and what to do.
        message: String,
    },
    /// The provider accepted the write and does not show it.
    Unconfirmed {
        /// What happened, where, and what happens next.
        message: String,
    },
    /// The provider refuses the request for another reason.
    Rejected {
        /// What happened, where, and what to do.
        message: String,
    },
}

/// How an error is handled.
struct Handling {
    reason: Reason,
    retry: Retry,
    lacks_rights: bool,
    effect: Effect,
}

impl Error {
    fn handling(&self) -> Handling {
        let refused = |reason| Handling { reason, retry: Retry::Terminal, lacks_rights: false, effect: Effect::None };
        let lacks_rights = |reason| Handling { lacks_rights: true, ..refused(reason) };
        let passes = |reason| Handling { retry: Retry::Backoff, ..refused(reason) };
        match self {
            Self::Unreachable { effect, .. } => Handling { effect: *effect, ..passes(Reason::Unreachable) },
            Self::RateLimited { after: Some(after), .. } => {
                Handling { retry: Retry::After(*after), ..refused(Reason::RateLimited) }
            }
            Self::RateLimited { after: None, .. } => passes(Reason::RateLimited),
            Self::Unauthorized { .. } => Handling { retry: Retry::Backoff, ..lacks_rights(Reason::Unauthorized) },
            Self::Forbidden { .. } | Self::MayNotGrant { .. } => lacks_rights(Reason::Forbidden),
            Self::RoleNotFound { .. } => refused(Reason::RoleNotFound),
            Self::SubjectNotFound { .. } => refused(Reason::SubjectNotFound),
            Self::ProjectNotFound { .. } => lacks_rights(Reason::ProjectNotFound),
            Self::Changed { .. } => passes(Reason::Progressing),
            // Of these two, the request was accepted.
            Self::MemberNotListed { .. } => Handling { effect: Effect::Unknown, ..refused(Reason::MemberNotListed) },
            Self::Unconfirmed { .. } => Handling { effect: Effect::Unknown, ..passes(Reason::Unconfirmed) },
            Self::Rejected { .. } => refused(Reason::Rejected),
        }
    }

    /// The reason in conditions, events and metrics.
    pub fn reason(&self) -> Reason {
        self.handling().reason
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        self.handling().retry
    }

    /// Whether the provider reports that the credential's permissions are insufficient for the request.
    pub fn lacks_rights(&self) -> bool {
        self.handling().lacks_rights
    }

    /// Whether the request that failed may have been carried out.
    pub fn effect(&self) -> Effect {
        self.handling().effect
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable { message, .. }
            | Self::RateLimited { message, .. }
            | Self::Unauthorized { message }
            | Self::Forbidden { message }
            | Self::MayNotGrant { message }
            | Self::RoleNotFound { message, .. }
            | Self::SubjectNotFound { message }
            | Self::ProjectNotFound { message, .. }
            | Self::Changed { message }
            | Self::MemberNotListed { message }
            | Self::Unconfirmed { message }
            | Self::Rejected { message } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}
