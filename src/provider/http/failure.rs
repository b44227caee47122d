//! What a failure to send means, in messages without secrets.

use std::error::Error as StdError;

use super::answer::{RequestInfo, Response};
use super::endpoint::UrlError;
use super::text;
use super::wire::NoResponse;
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::telemetry::RequestOutcome;

/// A request without a response, for the metrics and for the caller.
pub(super) type FailedRequest = (RequestOutcome, Error);

impl RequestInfo {
    /// `what` prevented that the request was sent.
    pub(super) fn not_sent(&self, what: &str) -> FailedRequest {
        (RequestOutcome::NotSent, self.unreachable(what, Effect::None))
    }

    /// `what` happened after the request was sent: whether it was carried out is unknown.
    pub(super) fn lost(&self, outcome: RequestOutcome, what: &str) -> FailedRequest {
        (outcome, self.unreachable(what, self.effect_unknown()))
    }
}

/// What a failure to send means: without a connection nothing was sent; after that the effect is unknown.
pub(super) fn failure(error: &reqwest::Error, context: &RequestInfo) -> FailedRequest {
    if let Some(refusal) = source::<UrlError>(error) {
        return context.not_sent(&format!("isn't called: {refusal}"));
    }
    let cause = cause(error);
    if error.is_connect() || error.is_builder() {
        let check = if cause.contains("certificate") {
            "check that its certificate is for this host and hasn't expired; if a private authority issued it, set that \
             authority in spec.caBundle"
        } else {
            "check the URL, that the server is up, and what is in between (network policy, proxy)"
        };
        context.not_sent(&format!("can't be reached: {cause}: {check}"))
    } else {
        context.lost(RequestOutcome::Broken, &format!("dropped the connection: {cause}"))
    }
}

/// The same for a server in this process.
pub(super) fn no_answer(no_answer: NoResponse, context: &RequestInfo) -> FailedRequest {
    match no_answer {
        NoResponse::NotConnected => context.not_sent("can't be reached"),
        NoResponse::BrokenOff => context.lost(RequestOutcome::Broken, "dropped the connection"),
    }
}

/// A redirect isn't followed: the credential would be sent to an unintended server.
pub(super) fn redirected(answer: &Response, location: Option<&str>) -> Error {
    // What follows the path may contain a code or a token.
    let target = location.and_then(|l| l.split(['?', '#']).next()).unwrap_or("nowhere");
    let what = format!(
        "answered {} and points to {}, which isn't followed with a credential: write the URL that it points to, if it is \
         the provider's",
        answer.status,
        answer.filtered(target),
    );
    answer.context.unreachable(&what, answer.context.effect_unknown())
}

/// The innermost causes of a failure, filtered; reqwest's own text would repeat the URL.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = source.source();
    }
    if causes.is_empty() {
        causes.push(if error.is_timeout() { "no response in time" } else { "no response" }.to_owned());
    }
    text::filtered(&causes.join(": "), &[])
}

/// The first source of type `T`.
fn source<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(source) = next {
        if let Some(found) = source.downcast_ref::<T>() {
            return Some(found);
        }
        next = source.source();
    }
    None
}
