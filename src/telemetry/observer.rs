//! What the metrics receive about each request.

use std::time::Duration;

/// One request, as the metrics count it.
#[derive(Clone, Copy, Debug)]
pub struct ObservedRequest<'a> {
    /// The kind of provider: `Infisical` or `ZITADEL`.
    pub provider: &'static str,
    /// The server.
    pub endpoint: &'a str,
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The pattern of the path, as `/api/v1/projects/{project}/identity-memberships`: one value for all ids.
    pub route: &'static str,
    pub outcome: RequestOutcome,
    /// The time from sending the request to the last byte of the response.
    pub elapsed: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The server answered with this status.
    Answered(u16),
    /// It was not sent: the URL is not allowed, or there was no connection.
    NotSent,
    /// There was no complete response within the time limit.
    TimedOut,
    /// The connection broke, or the response was too large.
    Broken,
    /// The caller gave up before the response.
    Abandoned,
}

impl RequestOutcome {
    /// The value of the metric's label: the status, or one word.
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
    /// Called once for each request, when it has ended.
    fn request(&self, observed: &ObservedRequest<'_>);
}

/// Counts nothing.
impl Observer for () {
    fn request(&self, _: &ObservedRequest<'_>) {}
}
