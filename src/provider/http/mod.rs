//! The HTTP client of both providers: what may be called, how long and how large a response may be, and what of it may
//! be shown.
//!
//! A provider makes one [`Server`] from the [`Client`] and calls it under a [`Permit`]. A failure here states whether
//! the request may have been carried out; what a response *means* is decided by the provider's own module.

mod answer;
mod endpoint;
mod failure;
mod rate_limit;
mod request;
mod resolver;
mod retry_after;
pub(crate) mod text;
mod trust;
mod wire;

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use secrecy::SecretString;
use tokio::time::Instant;

pub use crate::telemetry::{ObservedRequest, Observer, RequestOutcome};
pub use crate::transport::{Proxies, TIME_LIMIT};
pub use answer::{RequestInfo, Response, url_hint};
pub use endpoint::{Endpoint, Policy, UrlError};
pub use request::{Method, Request};
pub use trust::{Trust, TrustError};
pub use wire::{InProcessServer, NoResponse};

use super::error::Effect;
use super::quota::RequestKind;
use super::{Error, Permit};
use crate::clock::Clock;
use crate::core::clocks::ProviderClock;
use crate::lease::Leadership;
use failure::{FailedRequest, cause, redirected};
use rate_limit::rate_limit;
use wire::Destination;

/// How long a connection may take to be established, name service and TLS included.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a response may take to begin, from requesting a connection. Long enough for an Infisical without its Redis,
/// which responds after ten seconds or never (outages.json).
pub const BEGIN_LIMIT: Duration = Duration::from_secs(20);
/// The most bytes of a response.
pub const ANSWER_LIMIT: usize = 1 << 20;
/// The most bytes of a list.
pub const LIST_LIMIT: usize = 64 << 20;
/// How long an unused connection is kept. Shorter than the limits of the usual servers and load balancers (60 s and
/// more): a request that meets a connection just being closed is a write of unknown outcome.
const IDLE_LIMIT: Duration = Duration::from_secs(45);
/// How long to wait if a server reports too many requests without a time to wait.
const DEFAULT_PAUSE: Duration = Duration::from_secs(5);

/// Connections to servers under one [`Policy`]. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    wire: Destination,
    policy: Arc<Policy>,
    observer: Arc<dyn Observer>,
    leadership: Arc<Leadership>,
    clock: Clock,
}

impl Client {
    /// A client under `policy` that reports each request to `observer`. Fails if the system's certificate authorities
    /// or the proxies can't be read.
    pub fn new(policy: Policy, observer: Arc<dyn Observer>) -> Result<Self, Error> {
        // Another client of this process may have installed it: that is the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if policy.usable_proxies().is_none() && !policy.proxies.is_empty() {
            tracing::warn!(
                "a proxy is set in the environment and is not used for providers: behind it no address can be checked; \
                 name the providers' hosts with --allowed-hosts to use it"
            );
        }
        let policy = Arc::new(policy);
        let wire = Destination::network(&policy)?;
        Ok(Self { wire, policy, observer, leadership: Leadership::alone(), clock: Clock::system() })
    }

    /// Whether certificates are verified with the compiled-in authorities because the system has none.
    pub fn trusts_compiled_in(&self) -> bool {
        matches!(self.wire, Destination::Network { trusts_compiled_in: true, .. })
    }

    /// A client of servers in this process, with their own clock.
    pub fn in_process(
        policy: Policy,
        observer: Arc<dyn Observer>,
        servers: Arc<dyn InProcessServer>,
        clock: Clock,
    ) -> Self {
        let (wire, policy) = (Destination::InProcess(servers), Arc::new(policy));
        Self { wire, policy, observer, leadership: Leadership::alone(), clock }
    }

    /// The same connections, writing only while `leadership` leaves enough time.
    pub fn led_by(&self, leadership: Arc<Leadership>) -> Self {
        Self { leadership, ..self.clone() }
    }

    /// Whether this process may send anything now.
    pub fn leads(&self) -> bool {
        self.leadership.leads(Instant::now())
    }

    /// A client with separate connections that accepts only certificates of these authorities, not of the system's.
    pub fn trusting(&self, trust: &Trust) -> Result<Self, Error> {
        Ok(Self { wire: self.wire.trusting(&self.policy, trust)?, ..self.clone() })
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A server to call. `provider` names its kind in messages: `Infisical`, `ZITADEL`.
    pub fn server(&self, provider: &'static str, endpoint: Endpoint) -> Server {
        Server { client: self.clone(), provider, endpoint, clock: Mutex::default() }
    }
}

/// One server, as one provider object calls it.
pub struct Server {
    client: Client,
    provider: &'static str,
    endpoint: Endpoint,
    /// The server's clock, by the `Date` of its last response.
    clock: Mutex<Option<ProviderClock>>,
}

impl Server {
    /// The server's address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The local wall clock.
    pub fn now(&self) -> Timestamp {
        self.client.clock.now()
    }

    /// The server's clock, by the `Date` of its last response.
    pub fn clock(&self) -> Option<ProviderClock> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By how much the server's clock is certainly ahead of the local clock.
    pub fn clock_skew(&self) -> Option<SignedDuration> {
        self.clock().map(|clock| clock.skew(self.now(), Instant::now().into_std()))
    }

    /// Sends a request and reads its complete response, with any status; only 3xx is an error, since no redirect is
    /// followed. A response that requests a wait pauses the permit's quota. Only the leader sends requests, and it
    /// sends [writes](Request::reads) only if the lease outlasts them: this is the only place that checks it, just
    /// before sending. One permit is one request: before each further one under it, call [`Permit::charge`].
    pub async fn call(&self, permit: &Permit, request: Request<'_>) -> Result<Response, Error> {
        let context = RequestInfo {
            provider: self.provider,
            endpoint: self.endpoint.to_string(),
            method: request.method.as_str(),
            route: request.route,
            request_id: uuid::Uuid::new_v4().to_string(),
            writes: request.writes,
        };
        let observed = ObservedRequest {
            provider: self.provider,
            endpoint: self.endpoint.as_str(),
            method: context.method,
            route: context.route,
            outcome: RequestOutcome::Abandoned,
            elapsed: Duration::ZERO,
        };
        let began = Instant::now();
        // Reported when it is dropped, so that an abandoned request counts as well.
        let mut observed = scopeguard::guard(observed, |observed| {
            self.client.observer.request(&ObservedRequest { elapsed: began.elapsed(), ..observed });
        });
        let request_id = context.request_id.clone();
        // Sign-ins are counted separately (rate-limit.json, "login, request 200").
        let (signs_in, request_reads) = (request.bearer.is_none(), request.method == Method::Get);
        let result = self.attempt(permit, &request, context).await;
        observed.outcome = match &result {
            Ok(answer) => RequestOutcome::Answered(answer.status),
            Err((outcome, _)) => *outcome,
        };
        // The ids are logged here and are in no message: a condition with a new id after each try would be written
        // after each try.
        let ObservedRequest { method, route, outcome, .. } = *observed;
        let answer_id = result.as_ref().ok().and_then(Response::server_id);
        // The spans around it name the target and the provider object.
        tracing::debug!(endpoint = %self.endpoint, method, route, code = outcome.code(), %request_id, answer_id, "request");
        let answer = result.map_err(|(_, error)| error)?;
        if let Some(reported) = answer.rate_limit
            && !signs_in
        {
            let kind = if request_reads { RequestKind::Read } else { RequestKind::Write };
            permit.rate_limit(kind, reported);
        }
        if answer.status == 429 || answer.status >= 500 && answer.retry_after.is_some() {
            permit.pause(answer.retry_after.unwrap_or(DEFAULT_PAUSE));
        } else {
            permit.answered();
        }
        Ok(answer)
    }

    async fn attempt(
        &self,
        permit: &Permit,
        request: &Request<'_>,
        context: RequestInfo,
    ) -> Result<Response, FailedRequest> {
        let prepared = self.prepare(request, &context)?;
        if !self.client.leadership.leads(Instant::now()) {
            return Err(context.not_sent("isn't called: this replica doesn't lead"));
        }
        if request.writes && !permit.may_write(&self.client.leadership, Instant::now()) {
            // Of several requests of one change the first may have been carried out.
            let effect = if permit.has_written() { Effect::Unknown } else { Effect::None };
            let what = "isn't called: this replica's lease leaves no time for a write; retried when it is renewed";
            return Err((RequestOutcome::NotSent, context.unreachable(what, effect)));
        }
        permit.sends();
        self.exchange(prepared, request, context).await
    }

    fn prepare(&self, request: &Request<'_>, context: &RequestInfo) -> Result<reqwest::Request, FailedRequest> {
        let refused = |error: &dyn Display| context.not_sent(&format!("isn't called: {error}"));
        self.client.policy.check(&self.endpoint).map_err(|error| refused(&error))?;
        let segments = request.segments().map_err(|error| (RequestOutcome::NotSent, error))?;
        let mut url = self.endpoint.with_path(segments.into_iter()).map_err(|error| refused(&error))?;
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let headers = request.headers(&context.request_id);
        let method = reqwest::Method::from_bytes(context.method.as_bytes()).unwrap_or_default();
        let mut prepared = reqwest::Request::new(method, url);
        *prepared.headers_mut() = headers.ok_or_else(|| refused(&"a header has invalid characters"))?;
        if let Some(body) = &request.body {
            let bytes = body.bytes.as_ref().map_err(|error| refused(error))?;
            *prepared.body_mut() = Some(bytes.clone().into());
        }
        Ok(prepared)
    }

    /// Sends, and reads within the limits of time and size.
    async fn exchange(
        &self,
        prepared: reqwest::Request,
        request: &Request<'_>,
        context: RequestInfo,
    ) -> Result<Response, FailedRequest> {
        let began = Instant::now();
        let whole = async {
            let begins = tokio::time::timeout(BEGIN_LIMIT, self.client.wire.send(prepared, &context)).await;
            let Ok(begun) = begins else {
                let what = format!("did not respond within {} s", BEGIN_LIMIT.as_secs());
                return Err(context.lost(RequestOutcome::TimedOut, &what));
            };
            let mut response = begun?;
            self.note_clock(response.headers(), began.elapsed());
            // A refusal is short for every request.
            let long = request.list && response.status().is_success();
            let limit = if long { LIST_LIMIT } else { ANSWER_LIMIT };
            let body = read(&mut response, limit, &context).await?;
            Ok((response, body))
        };
        let limit = if request.writes { self.client.leadership.write_limit() } else { TIME_LIMIT };
        let Some(exchanged) = within(limit, whole).await else {
            let what = format!("did not respond completely within {} s", limit.as_secs());
            return Err(context.lost(RequestOutcome::TimedOut, &what));
        };
        let (response, body) = exchanged?;
        let status = response.status().as_u16();
        let secrets: Vec<SecretString> = request.secrets.iter().map(|&secret| secret.clone()).collect();
        let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let answer = Response {
            status,
            retry_after: header(RETRY_AFTER).and_then(|value| retry_after::retry_after(value, self.now())),
            rate_limit: rate_limit(response.headers(), Instant::now()),
            body,
            content_type: header(CONTENT_TYPE).unwrap_or_default().to_owned(),
            context,
            secrets,
        };
        match status {
            300..400 => Err((RequestOutcome::Answered(status), redirected(&answer, header(LOCATION)))),
            _ => Ok(answer),
        }
    }

    fn note_clock(&self, headers: &HeaderMap, elapsed: Duration) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(retry_after::http_date);
        if let Some(date) = date {
            let now = self.now();
            let clock = ProviderClock::new(retry_after::skew(date, now, elapsed), now, Instant::now().into_std());
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock);
        }
    }
}

/// As [`tokio::time::timeout`], but nothing of `future` runs after the limit: a process that was suspended, and resumes
/// when another replica holds the lease, doesn't send what it was about to send.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let end = Instant::now() + limit;
    let mut future = pin!(future);
    let in_time = poll_fn(|context| match Instant::now() < end {
        true => future.as_mut().poll(context).map(Some),
        false => Poll::Ready(None),
    });
    tokio::time::timeout_at(end, in_time).await.ok().flatten()
}

/// Reads the body up to `limit` bytes. No compression is offered, so what is counted is what is kept.
async fn read(response: &mut reqwest::Response, limit: usize, context: &RequestInfo) -> Result<Vec<u8>, FailedRequest> {
    let too_large = || {
        let what = format!("answered with more than {} MiB: check that the URL is the provider's own", limit >> 20);
        context.lost(RequestOutcome::Broken, &what)
    };
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    if announced > limit {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced.min(ANSWER_LIMIT));
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(too_large()),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => {
                let what = format!("dropped the connection during its response: {}", cause(&error));
                return Err(context.lost(RequestOutcome::Broken, &what));
            }
        }
    }
}
