//! What the metrics learn of each request.

use std::time::Duration;

/// One request, as metrics count it.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The kind of provider: `Infisical` or `ZITADEL`.
    pub provider: &'static str,
    /// The server.
    pub endpoint: &'a str,
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The path's pattern, as `/api/v1/projects/{project}/identity-memberships`: one value whatever the ids.
    pub route: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// From sending to the answer's last byte.
    pub elapsed: Duration,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered with this status.
    Answered(u16),
    /// It was never sent: the URL isn't allowed, or there was no connection.
    NotSent,
    /// No whole answer within the time limit.
    TimedOut,
    /// The connection broke, or the answer was too large.
    Broken,
    /// The caller gave up before the answer.
    Abandoned,
}

impl Outcome {
    /// The label's value: the status, or one word.
    pub fn code(self) -> String {
        match self {
            Self::Answered(status) => status.to_string(),
            Self::NotSent => "not_sent".to_owned(),
            Self::TimedOut => "timed_out".to_owned(),
            Self::Broken => "broken".to_owned(),
            Self::Abandoned => "abandoned".to_owned(),
        }
    }
}

/// Counts requests.
pub trait Observer: Send + Sync {
    /// Called once for each request, when it is over.
    fn request(&self, observed: &Observed<'_>);
}

/// Counts nothing.
impl Observer for () {
    fn request(&self, _: &Observed<'_>) {}
}
