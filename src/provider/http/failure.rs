//! What a failure to send means, in words that show nothing secret.

use std::error::Error as StdError;

use super::answer::{RequestInfo, Response};
use super::endpoint::UrlError;
use super::text;
use super::wire::NoResponse;
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::telemetry::RequestOutcome;

/// What a failure to send means: without a connection nothing was sent, later nobody knows.
pub(super) fn failure(error: &reqwest::Error, context: &RequestInfo) -> (RequestOutcome, Error) {
    if let Some(refusal) = source::<UrlError>(error) {
        return (RequestOutcome::NotSent, context.unreachable(&format!("isn't called: {refusal}"), Effect::None));
    }
    let cause = cause(error);
    if error.is_connect() || error.is_builder() {
        let check = if cause.contains("certificate") {
            "check that its certificate is for this host and hasn't expired; where it is of an authority of your own, \
             give that in spec.caBundle"
        } else {
            "check the URL, that the server is up, and what lies between (network policy, proxy)"
        };
        (RequestOutcome::NotSent, context.unreachable(&format!("can't be reached: {cause}: {check}"), Effect::None))
    } else {
        (RequestOutcome::Broken, context.unreachable(&format!("broke off: {cause}"), context.effect_unknown()))
    }
}

/// The same of a server in this process.
pub(super) fn no_answer(no_answer: NoResponse, context: &RequestInfo) -> (RequestOutcome, Error) {
    match no_answer {
        NoResponse::NotConnected => (RequestOutcome::NotSent, context.unreachable("can't be reached", Effect::None)),
        NoResponse::BrokenOff => (RequestOutcome::Broken, context.unreachable("broke off", context.effect_unknown())),
    }
}

/// A redirect isn't followed: the credential would go where nobody meant it to.
pub(super) fn redirected(answer: &Response, location: Option<&str>) -> Error {
    // What follows the path may hold a code or a token.
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
        causes.push(if error.is_timeout() { "no answer in time" } else { "no answer" }.to_owned());
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
