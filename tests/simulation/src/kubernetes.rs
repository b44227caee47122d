//! The connection from a process to the API server: applies the delivery of each request, and the delays of a watch.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::Value;
use tokio::time::Instant;

use crate::apiserver::state::{Change, Refusal};
use crate::apiserver::{ApiServer, routes};
use crate::life::Life;
use crate::scheduler::{CallResult, Scheduler, Server};

/// Receives each write and its process.
pub type Sees = Arc<dyn Fn(&Life, &routes::Request) + Send + Sync>;

/// One process's connection to the API server, as [`kube::Client::new`] accepts it.
#[derive(Clone)]
pub struct ToKubernetes {
    /// The API server.
    pub server: ApiServer,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The process.
    pub life: Life,
    /// Receives each write that is sent.
    pub sees: Sees,
}

/// There was no response.
#[derive(Clone, Copy, Debug)]
pub struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection was closed")
    }
}

impl std::error::Error for BrokenOff {}

/// A response: an object at once, or a watch line by line.
pub type Answered = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Answer = Result<Answered, BrokenOff>;

impl tower::Service<Request<Body>> for ToKubernetes {
    type Response = Answered;
    type Error = BrokenOff;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BrokenOff>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().asked(request).boxed()
    }
}

impl ToKubernetes {
    async fn asked(self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let Some(read) = routes::Request::read(parts.method.as_str(), parts.uri.path(), &body) else {
            return Ok(answer(404, &Value::Null));
        };
        if let Some(watch) = parts.uri.query().and_then(routes::watch) {
            return self.watched(read, watch).await;
        }
        // Events bypass the scheduler and decide nothing: their names depend on another clock.
        if read.plural == "events" {
            let (code, object) = self.server.request(&read).unwrap_or_else(|refusal| (refusal.code, refusal.status()));
            return Ok(answer(code, &object));
        }
        let delivery = self.scheduler.delivery(Server::Kubernetes, !read.reads());
        if !read.reads() || !delivery.is_ordinary() {
            let name = read.name.as_deref().unwrap_or_default();
            let of = if read.status { "/status" } else { "" };
            let body = if read.plural == "leases" { String::new() } else { read.body.to_string() };
            let who = self.life.name();
            self.scheduler.write(format!("{who} {} {}/{name}{of} {body} -> {delivery:?}", read.method, read.plural));
        }
        if !read.reads() {
            (self.sees)(&self.life, &read);
        }
        let (server, query) = (self.server.clone(), parts.uri.query().unwrap_or_default().to_owned());
        let page = (read.reads() && read.name.is_none()).then(|| self.scheduler.page());
        let result = delivery
            .apply(&self.life, async move {
                let answer = server.request(&read);
                answer.map(|(code, object)| (code, page.map_or(object.clone(), |page| paged(object, &query, page))))
            })
            .await;
        match result {
            CallResult::Answer(Ok((code, object))) => Ok(answer(code, &object)),
            CallResult::Answer(Err(refusal)) => Ok(answer(refusal.code, &refusal.status())),
            CallResult::Code(code, _) => {
                Ok(answer(code, &Refusal::new(code, reason(code), "by order of the seed").status()))
            }
            CallResult::Half(_) | CallResult::BrokenOff | CallResult::NotConnected => Err(BrokenOff),
        }
    }

    /// A watch: its events are delayed, and it ends when its time has passed, when the API server is down, or when the
    /// seed decides so.
    async fn watched(self, request: routes::Request, watch: routes::Watch) -> Answer {
        if !self.scheduler.reaches(Server::Kubernetes) {
            return Err(BrokenOff);
        }
        let ends = Instant::now() + Duration::from_secs(watch.seconds);
        let watching = Watching { to: self, request, after: watch.after, ends, ready: VecDeque::new() };
        let lines = stream::unfold(Some(watching), |watching| async move {
            let mut watching = watching?;
            let (line, goes_on) = watching.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(line))), goes_on.then_some(watching)))
        });
        Ok(Response::new(StreamBody::new(lines).boxed_unsync()))
    }
}

struct Watching {
    to: ToKubernetes,
    request: routes::Request,
    after: u64,
    ends: Instant,
    ready: VecDeque<Change>,
}

impl Watching {
    /// The next line, and whether more may follow; `None`: the watch has ended.
    async fn next(&mut self) -> Option<(String, bool)> {
        let Self { to, request, .. } = self;
        while self.ready.is_empty() {
            let changed = to.server.changed();
            let mut changed = std::pin::pin!(changed.notified());
            changed.as_mut().enable();
            let Some(new) = to.server.changes(&request.plural, request.namespace.as_deref(), self.after) else {
                return Some((routes::expired(), false));
            };
            self.ready.extend(new);
            if self.ready.is_empty() && tokio::time::timeout_at(self.ends, changed).await.is_err() {
                return None;
            }
        }
        let change = self.ready.pop_front()?;
        let (late, breaks) = to.scheduler.watch_event(&request.plural);
        tokio::time::sleep(late).await;
        if breaks || !to.scheduler.reaches(Server::Kubernetes) {
            to.scheduler.write(format!("{} watch of {} breaks off", to.life.name(), request.plural));
            return None;
        }
        self.after = change.revision;
        Some((routes::line(&change), true))
    }
}

fn answer(code: u16, object: &Value) -> Answered {
    let mut response = Response::new(Full::from(object.to_string()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The next page of a list. The continue token contains the version of the first page, and the last object.
fn paged(mut list: Value, query: &str, most: usize) -> Value {
    let token = query.split('&').find_map(|pair| pair.strip_prefix("continue=")).unwrap_or_default();
    let (revision, last) = token.split_once('.').unwrap_or_default();
    let key = |object: &Value| {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        format!("{}_{}", text("namespace"), text("name"))
    };
    if !revision.is_empty() {
        list["metadata"]["resourceVersion"] = revision.into();
    }
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    if let Some(items) = list["items"].as_array_mut() {
        items.retain(|item| key(item).as_str() > last);
        let more = items.len() > most;
        items.truncate(most);
        if let Some(last) = items.last().filter(|_| more).map(key) {
            list["metadata"]["continue"] = format!("{revision}.{last}").into();
        }
    }
    list
}

fn reason(code: u16) -> &'static str {
    match code {
        403 => "Forbidden",
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    }
}
