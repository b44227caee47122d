//! One request and its response, within their time limits, over a connection that is known to work.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response, Uri};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use tokio::time::Instant;
use tower::{BoxError, Service};
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

/// Why a request was given up. Whether it was carried out is unknown.
#[derive(thiserror::Error, Clone, Copy, Debug, PartialEq, Eq)]
#[error("the Kubernetes API server did not answer within {} s; the request is retried on a new connection", .0.as_secs_f64())]
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

/// Connections to the API server. They use HTTP/1, where giving up a request closes its connection.
pub(super) struct Pool<C> {
    connector: C,
    current: Replaceable<Client<C, Body>>,
}

impl<C: Connect + Clone> Pool<C> {
    pub(super) fn new(connector: C) -> Self {
        let current = Replaceable::new(Self::connections(&connector));
        Self { connector, current }
    }

    fn connections(connector: &C) -> Client<C, Body> {
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .build(connector.clone())
    }

    fn replace(&self, number: u64) {
        self.current.replace(number, || Some(Self::connections(&self.connector)));
    }
}

/// Sends requests.
pub(super) struct Exchange<C> {
    shared: Arc<ExchangeState<C>>,
}

struct ExchangeState<C> {
    pool: Pool<C>,
    limits: TimeLimits,
    metrics: Arc<Metrics>,
    reachability: Arc<ApiReachability>,
}

impl<C> Clone for Exchange<C> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<C> Exchange<C> {
    pub(super) fn new(
        pool: Pool<C>,
        limits: TimeLimits,
        metrics: Arc<Metrics>,
        reachability: Arc<ApiReachability>,
    ) -> Self {
        Self { shared: Arc::new(ExchangeState { pool, limits, metrics, reachability }) }
    }
}

impl<C> Service<Request<Body>> for Exchange<C>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    type Response = ApiResponse;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<ApiResponse, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        exchange(self.shared.clone(), request).boxed()
    }
}

async fn exchange<C>(shared: Arc<ExchangeState<C>>, request: Request<Body>) -> Result<ApiResponse, BoxError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let kind = RequestClass::of(&request);
    let limit = if kind == RequestClass::List { shared.limits.list } else { shared.limits.single };
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let (pool, client) = shared.pool.current.current();
    let mut under_way = RequestInFlight { shared: shared.clone(), pool, answered: false };
    let answer = async {
        let response = client.request(request).await?;
        if kind == RequestClass::Watch && response.status().is_success() {
            return Ok(response.map(|body| watched(shared.clone(), pool, uri.clone(), body)));
        }
        let (head, body) = response.into_parts();
        let body = Full::new(body.collect().await?.to_bytes()).map_err(|never| match never {}).boxed_unsync();
        Ok(Response::from_parts(head, body))
    };
    let Ok(answer) = tokio::time::timeout(limit, answer).await else {
        let seconds = limit.as_secs_f64();
        let path = uri.path();
        // One line at the beginning: while no request is answered, further lines would add nothing.
        if shared.reachability.unanswered_for(Instant::now()).is_zero() {
            tracing::warn!(%method, path, seconds, "the Kubernetes API server did not answer in time: the connection is dropped");
        } else {
            tracing::debug!(%method, path, seconds, "the Kubernetes API server did not answer in time: the connection is dropped");
        }
        shared.metrics.api_server_timed_out(kind.name());
        return Err(TimedOut(limit).into());
    };
    under_way.answered = answer.is_ok();
    answer
}

/// The body of a watch.
fn watched<C>(
    shared: Arc<ExchangeState<C>>,
    pool: u64,
    uri: Uri,
    body: hyper::body::Incoming,
) -> UnsyncBoxBody<Bytes, BoxError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let limit = shared.limits.watch_silence;
    let body = TimeoutBody::new(limit, body).map_err(move |error| {
        if !error.is::<TimeoutError>() {
            return error;
        }
        let seconds = limit.as_secs_f64();
        tracing::warn!(
            path = uri.path(),
            seconds,
            "a watch of the Kubernetes API server went silent: it is resumed on a new connection"
        );
        shared.metrics.api_server_timed_out(RequestClass::Watch.name());
        shared.pool.replace(pool);
        TimedOut(limit).into()
    });
    body.boxed_unsync()
}

/// A request that was sent. If it is dropped without a response, by the limit here or by its caller (the Lease has a
/// limit of its own), it replaces the pool, so that the next request is sent on a new connection.
struct RequestInFlight<C: Connect + Clone> {
    shared: Arc<ExchangeState<C>>,
    pool: u64,
    answered: bool,
}

impl<C: Connect + Clone> Drop for RequestInFlight<C> {
    fn drop(&mut self) {
        let ExchangeState { pool, reachability, .. } = &*self.shared;
        if self.answered {
            reachability.answered();
        } else {
            reachability.failed(Instant::now());
            pool.replace(self.pool);
        }
    }
}
