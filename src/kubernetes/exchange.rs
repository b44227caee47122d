//! One request and its response, within their time limits, over a connection that is known to work.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Response, Uri};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, connect::Connect};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use scopeguard::ScopeGuard;
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt};
use tower_http::timeout::{TimeoutBody, TimeoutError};

use super::WATCH_SECONDS;
use crate::telemetry::ApiReachability;
use crate::telemetry::Metrics;
use crate::transport::replaceable::Replaceable;

/// How long an unused connection is kept: shorter than load balancers keep a flow without traffic.
const IDLE_LIMIT: Duration = Duration::from_secs(45);

/// A response of the API server. It was read completely, unless it is that of a watch.
pub type ApiResponse = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// The time limits of requests.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// From sending a request to the last byte of its response; for a watch, to the head of its response.
    pub single: Duration,
    /// The same for one page of a list.
    pub list: Duration,
    /// How long a watch may receive nothing.
    pub watch_silence: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        let watch_silence = Duration::from_secs(u64::from(WATCH_SECONDS) + 3);
        Self { single: Duration::from_secs(10), list: Duration::from_secs(30), watch_silence }
    }
}

/// A request that timed out. Whether it was carried out is unknown.
#[derive(thiserror::Error, Clone, Copy, Debug, PartialEq, Eq)]
#[error("the Kubernetes API server did not respond within {} s; the request is retried on a new connection", .0.as_secs_f64())]
pub struct TimedOut(pub Duration);

/// The kinds of requests with different limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestClass {
    Single,
    List,
    Watch,
}

impl RequestClass {
    /// Determined by the parameters that make a request a watch or one page of a list
    /// (<https://kubernetes.io/docs/reference/using-api/api-concepts/>).
    fn of<B>(request: &Request<B>) -> Self {
        let parameters = || request.uri().query().unwrap_or_default().split('&');
        match () {
            () if parameters().any(|parameter| parameter == "watch=true") => Self::Watch,
            () if parameters().any(|parameter| parameter.starts_with("limit=")) => Self::List,
            () => Self::Single,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::List => "list",
            Self::Watch => "watch",
        }
    }
}

/// A pool of connections to the API server.
type Connections = BoxCloneSyncService<Request<Body>, Response<Incoming>, legacy::Error>;

/// New connections, which are replaced after a request without a response. They use HTTP/1, where cancelling a request
/// closes its connection.
pub(super) fn connections<C>(connector: C) -> Replaceable<Connections>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let make = move || {
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .build(connector.clone());
        Connections::new(client)
    };
    Replaceable::new(make(), move || Some(make()))
}

/// Sends requests.
pub(super) struct Exchange {
    pub(super) connections: Replaceable<Connections>,
    pub(super) limits: TimeLimits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reachability: Arc<ApiReachability>,
}

impl Exchange {
    pub(super) async fn send(self: Arc<Self>, request: Request<Body>) -> Result<ApiResponse, BoxError> {
        let kind = RequestClass::of(&request);
        let limit = if kind == RequestClass::List { self.limits.list } else { self.limits.single };
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (number, client) = self.connections.current();
        // If it is dropped without a response, by the limit here or by its caller (the Lease has its own limit), the next
        // request is sent on a new connection.
        let unanswered = scopeguard::guard((), |()| {
            self.reachability.failed(Instant::now());
            self.connections.replace(number);
        });
        let answer = async {
            let response = client.oneshot(request).await?;
            if kind == RequestClass::Watch && response.status().is_success() {
                return Ok(response.map(|body| self.clone().watched(number, uri.clone(), body)));
            }
            let (head, body) = response.into_parts();
            let body = Full::new(body.collect().await?.to_bytes()).map_err(|never| match never {}).boxed_unsync();
            Ok(Response::from_parts(head, body))
        };
        let Ok(answer) = tokio::time::timeout(limit, answer).await else {
            let seconds = limit.as_secs_f64();
            let path = uri.path();
            // One line at the beginning: while no request receives a response, further lines would add nothing.
            if self.reachability.unanswered_for(Instant::now()).is_zero() {
                tracing::warn!(%method, path, seconds, "the Kubernetes API server did not respond in time: the connection is dropped");
            } else {
                tracing::debug!(%method, path, seconds, "the Kubernetes API server did not respond in time: the connection is dropped");
            }
            self.metrics.api_server_timed_out(kind.name());
            return Err(TimedOut(limit).into());
        };
        if answer.is_ok() {
            ScopeGuard::into_inner(unanswered);
            self.reachability.answered();
        }
        answer
    }

    /// The body of a watch.
    fn watched(self: Arc<Self>, number: u64, uri: Uri, body: Incoming) -> UnsyncBoxBody<Bytes, BoxError> {
        let limit = self.limits.watch_silence;
        let body = TimeoutBody::new(limit, body).map_err(move |error| {
            if !error.is::<TimeoutError>() {
                return error;
            }
            let seconds = limit.as_secs_f64();
            tracing::warn!(
                path = uri.path(),
                seconds,
                "a watch of the Kubernetes API server stopped responding: it is resumed on a new connection"
            );
            self.metrics.api_server_timed_out(RequestClass::Watch.name());
            self.connections.replace(number);
            TimedOut(limit).into()
        });
        body.boxed_unsync()
    }
}
