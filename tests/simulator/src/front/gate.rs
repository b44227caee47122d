//! The stages of a request in a simulated provider: log, orders, delay, the API itself, orders again, response.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE};
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::log::presentable;
use super::orders::{Answer, Effects, Ending};
use super::{Faults, Provider};
use crate::{Request as Logged, locked};

/// Bodies beyond this are refused, in bytes.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Makes the HTTP server close the connection without a response.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection closed by order")
    }
}

impl std::error::Error for Closed {}

struct Gate<P> {
    provider: P,
    api: TowerToHyperService<Router>,
    control: TowerToHyperService<Router>,
}

impl<P: Clone> Clone for Gate<P> {
    fn clone(&self) -> Self {
        Self { provider: self.provider.clone(), api: self.api.clone(), control: self.control.clone() }
    }
}

/// A simulated provider without a port: requests are passed to it in this process. Cheap to clone.
#[derive(Clone)]
pub struct Handler(Arc<dyn Fn(Request<Body>) -> Answering + Send + Sync>);

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Closed>> + Send>>;

impl Handler {
    pub(crate) fn into<P: Provider>(provider: P) -> Self {
        let gate = Gate::of(provider);
        Self(Arc::new(move |request| {
            let gate = gate.clone();
            Box::pin(async move { gate.answer(request).await })
        }))
    }

    /// Carries out a request; `None`: the connection was closed without a response.
    pub async fn answer(&self, request: Request<Body>) -> Option<Response<Body>> {
        (self.0)(request).await.ok()
    }
}

/// Serves a provider on a listener until the returned task is aborted; its connections end with it.
pub(crate) fn serve<P: Provider>(listener: TcpListener, provider: P) -> JoinHandle<()> {
    let gate = Gate::of(provider);
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    };
                    let _ = stream.set_nodelay(true);
                    let gate = gate.clone();
                    let service = service_fn(move |request| answered(gate.clone(), request));
                    connections.spawn(async move {
                        // An error here is a connection that was closed, by an order or by the client.
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

/// Handles a request in a separate task: a server carries out what it has begun even if the client cancels.
async fn answered<P: Provider>(gate: Gate<P>, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
    tokio::spawn(async move { gate.answer(request.map(Body::new)).await }).await.unwrap_or(Err(Closed))
}

impl<P: Provider> Gate<P> {
    fn of(provider: P) -> Self {
        let control = super::generic_control(provider.front().clone()).merge(provider.control());
        Self {
            api: TowerToHyperService::new(provider.api()),
            control: TowerToHyperService::new(Router::new().nest("/_simulator", control)),
            provider,
        }
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Closed> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| Closed)?;
        if parts.uri.path().starts_with("/_simulator") {
            return called(&self.control, Request::from_parts(parts, Body::from(body))).await;
        }
        let front = &self.provider.front().0;
        let method = parts.method.as_str().to_owned();
        let path = parts.uri.path().to_owned();
        let number = locked(&front.log).push(Logged {
            at: front.clock.now(),
            method: method.clone(),
            path: path.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            caller: self.provider.caller_name(&parts.headers),
            status: None,
            body: presentable(&body),
        });
        let effects = locked(&front.orders).effects_on(&method, &path);
        let delay = *locked(&front.delay) + effects.delay;
        pause(delay).await;
        let outcome = self.carried_out(Request::from_parts(parts, Body::from(body)), &effects).await;
        let mut response = match outcome {
            Ok(response) => response,
            Err(closed) => {
                pause(effects.delay_after).await;
                return Err(closed);
            }
        };
        if let Ok(date) = HeaderValue::from_str(&front.clock.http_date()) {
            response.headers_mut().insert(DATE, date);
        }
        locked(&front.log).answered(number, response.status().as_u16());
        pause(effects.delay_after).await;
        if effects.drip.is_zero() { Ok(response) } else { dripping(response, effects.drip).await }
    }

    async fn carried_out(&self, mut request: Request<Body>, effects: &Effects) -> Result<Response<Body>, Closed> {
        if let Some(ending) = &effects.instead {
            return ended(ending);
        }
        request.extensions_mut().insert(Faults { window: effects.window, lost: effects.lost });
        let response = called(&self.api, request).await?;
        if let Some(ending) = &effects.afterwards {
            return ended(ending);
        }
        if effects.drop_rows == 0 && !effects.truncated {
            return Ok(response);
        }
        let (mut parts, body) = response.into_parts();
        let mut body = to_bytes(body, usize::MAX).await.map_err(|_| Closed)?;
        if effects.drop_rows > 0 {
            body = without_rows(body, effects.drop_rows);
        }
        if effects.truncated {
            body.truncate(body.len() / 2);
        }
        parts.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(parts, Body::from(body)))
    }
}

async fn called(service: &TowerToHyperService<Router>, request: Request<Body>) -> Result<Response<Body>, Closed> {
    match service.call(request).await {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

fn ended(ending: &Ending) -> Result<Response<Body>, Closed> {
    match ending {
        Ending::Reset => Err(Closed),
        Ending::Bytes(bytes) => Ok(json_of(Body::from(bytes.clone()))),
        Ending::Gigabyte => Ok(gigabyte()),
        Ending::Answer(answer) => Ok(given(answer)),
        Ending::Html => {
            let mut response = Response::new(Body::from("<!doctype html><html><body>Please sign in</body></html>"));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            Ok(response)
        }
    }
}

/// A list of the requested shape, as far as a client reads it.
fn gigabyte() -> Response<Body> {
    const MEBIBYTE: usize = 1 << 20;
    let block = Bytes::from(vec![b' '; MEBIBYTE]);
    let begin = Bytes::from_static(br#"{"identityMemberships":["#);
    let blocks = std::iter::once(begin).chain(std::iter::repeat_n(block, 1024));
    json_of(Body::from_stream(futures::stream::iter(blocks.map(Ok::<Bytes, Closed>))))
}

fn json_of(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The same response, byte by byte.
async fn dripping(response: Response<Body>, apart: Duration) -> Result<Response<Body>, Closed> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Closed)?;
    let bytes = futures::stream::unfold(body, move |mut left| async move {
        pause(apart).await;
        (!left.is_empty()).then(|| (Ok::<Bytes, Closed>(left.split_to(1)), left))
    });
    Ok(Response::from_parts(parts, Body::from_stream(bytes)))
}

fn given(answer: &Answer) -> Response<Body> {
    let (body, content_type) = match &answer.body {
        Value::Null => (String::new(), "text/plain; charset=utf-8"),
        Value::String(text) => (text.clone(), "text/plain; charset=utf-8"),
        json => (json.to_string(), "application/json"),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The same response without the last rows of its first list. The totals are unchanged, so that a client can detect it
/// by comparing them.
fn without_rows(body: Bytes, drop: usize) -> Bytes {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(&body) else {
        return body;
    };
    for value in fields.values_mut() {
        if let Value::Array(rows) = value {
            rows.truncate(rows.len().saturating_sub(drop));
            break;
        }
    }
    Bytes::from(Value::Object(fields).to_string())
}
