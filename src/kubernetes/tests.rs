//! Tests against a server behind a TCP proxy whose connections stop responding.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use control_plane::TcpProxy;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt, future};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{Event, watcher};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, ResourceExt};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Barrier;

use super::exchange::TimedOut;
use super::*;
use crate::telemetry::Format;

fn timed_out(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(error) if error.is::<TimedOut>())
}

const LIMITS: TimeLimits = TimeLimits {
    single: Duration::from_millis(500),
    list: Duration::from_secs(20),
    watch_silence: Duration::from_millis(700),
};
/// Long enough for a request with an immediate response, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(450);

/// A server of config maps, whose responses a test controls.
struct Server {
    watches: AtomicUsize,
    /// All requests for the object `together` receive their responses when this many have arrived.
    together: Barrier,
}

#[derive(Deserialize)]
struct Parameters {
    watch: Option<bool>,
}

fn config_map(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n", "resourceVersion": "2"}})
}

async fn one(State(server): State<Arc<Server>>, axum::extract::Path(name): axum::extract::Path<String>) -> Response {
    match name.as_str() {
        "together" => {
            server.together.wait().await;
        }
        "slow" => tokio::time::sleep(2 * LIMITS.single).await,
        "dribble" => return body(stream::repeat_with(|| Bytes::from_static(b" ")).boxed()),
        _ => {}
    }
    axum::Json(config_map(&name)).into_response()
}

/// Each watch sends an object that is named after the number of watches so far, ten times within the time limit of a
/// single request.
async fn all(State(server): State<Arc<Server>>, Query(parameters): Query<Parameters>) -> Response {
    if parameters.watch == Some(true) {
        let watches = server.watches.fetch_add(1, Ordering::SeqCst) + 1;
        let event = json!({"type": "MODIFIED", "object": config_map(&format!("watch-{watches}"))});
        return body(stream::repeat(Bytes::from(format!("{event}\n"))).boxed());
    }
    // Slower than the limit of a single request, within the limit of a page of a list.
    tokio::time::sleep(2 * LIMITS.single).await;
    let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}, "items": []});
    axum::Json(list).into_response()
}

fn body(parts: BoxStream<'static, Bytes>) -> Response {
    let parts = parts.then(|part| async {
        tokio::time::sleep(LIMITS.single / 10).await;
        Ok::<_, Infallible>(part)
    });
    Response::new(axum::body::Body::from_stream(parts))
}

/// A client of the server, and the proxy between them.
async fn behind_a_proxy() -> (Api<ConfigMap>, ApiServer, TcpProxy) {
    let server = Server { watches: AtomicUsize::new(0), together: Barrier::new(8) };
    let routes = Router::new()
        .route("/api/v1/namespaces/n/configmaps", get(all))
        .route("/api/v1/namespaces/n/configmaps/{name}", get(one))
        .with_state(Arc::new(server));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = TcpProxy::start(listener.local_addr().unwrap().port()).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let config = Config::new(url.parse().unwrap());
    let api_server =
        ApiServer { config, proxy: None, limits: LIMITS, metrics: Arc::default(), reachability: Arc::default() };
    let client = api_server.client().unwrap().build();
    (Api::namespaced(client, "n"), api_server, proxy)
}

fn timeouts(api_server: &ApiServer, request: &str) -> usize {
    let text = api_server.metrics.text(Format::Classic).unwrap();
    let name = format!("membership_apiserver_request_timeouts_total{{request=\"{request}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

/// Opens eight connections, which then are idle.
async fn fill_the_pool(api: &Api<ConfigMap>, proxy: &TcpProxy) {
    future::try_join_all((0..8).map(|_| api.get("together"))).await.unwrap();
    assert_eq!(proxy.accepted(), 8);
}

async fn is_answered_at_once(api: &Api<ConfigMap>) {
    let began = Instant::now();
    api.get("any").await.unwrap();
    assert!(began.elapsed() < AT_ONCE, "answered after {:?}", began.elapsed());
}

/// Seen failing without `Replaceable::replace`: the second request is sent on the next connection that doesn't respond.
#[tokio::test]
async fn a_request_without_an_answer_ends_in_time_and_the_next_one_is_sent_on_a_new_connection() {
    let (api, api_server, proxy) = behind_a_proxy().await;
    fill_the_pool(&api, &proxy).await;
    proxy.silence();
    let began = Instant::now();
    let error = api.get("any").await.unwrap_err();
    let took = began.elapsed();
    assert!(timed_out(&error), "{error}");
    assert!(took >= LIMITS.single && took < 2 * LIMITS.single, "given up after {took:?}");
    assert!(!api_server.reachability.unanswered_for(tokio::time::Instant::now()).is_zero());
    is_answered_at_once(&api).await;
    assert_eq!(proxy.accepted(), 9);
    assert_eq!((timeouts(&api_server, "single"), timeouts(&api_server, "watch")), (1, 0));
    assert!(api_server.reachability.unanswered_for(tokio::time::Instant::now()).is_zero());
}

/// Like the requests about the Lease. Seen failing without `UnderWay`.
#[tokio::test]
async fn after_a_request_that_its_caller_gave_up_the_next_one_is_sent_on_a_new_connection() {
    let (api, api_server, proxy) = behind_a_proxy().await;
    fill_the_pool(&api, &proxy).await;
    proxy.silence();
    tokio::time::timeout(LIMITS.single / 5, api.get("any")).await.unwrap_err();
    is_answered_at_once(&api).await;
    assert_eq!(timeouts(&api_server, "single"), 0, "that it timed out is for its caller to say");
}

/// Seen failing with the limit on the response's head alone.
#[tokio::test]
async fn a_response_that_dribbles_in_ends_at_the_limit_of_the_whole_request() {
    let (api, _, _proxy) = behind_a_proxy().await;
    let began = Instant::now();
    assert!(timed_out(&api.get("dribble").await.unwrap_err()));
    assert!(began.elapsed() < 2 * LIMITS.single, "given up after {:?}", began.elapsed());
    is_answered_at_once(&api).await;
}

#[tokio::test]
async fn a_page_of_a_list_has_a_limit_of_its_own() {
    let (api, _, _proxy) = behind_a_proxy().await;
    assert!(timed_out(&api.get("slow").await.unwrap_err()));
    api.list(&kube::api::ListParams::default().limit(500)).await.unwrap();
}

/// Seen failing without `TimeoutBody`: kube notices after `WATCH_SECONDS` and five more. Also seen failing with the
/// limit of a single request on the whole watch: it is cut off while events arrive.
#[tokio::test]
async fn a_watch_goes_on_while_events_come_and_is_resumed_on_a_new_connection_when_it_went_silent() {
    let (api, api_server, proxy) = behind_a_proxy().await;
    let config = watch::Config::default().timeout(WATCH_SECONDS);
    let events = watcher(api, config).default_backoff();
    let mut names = Box::pin(events.try_filter_map(|event| {
        future::ready(Ok(match event {
            Event::Apply(object) => Some(object.name_any()),
            _ => None,
        }))
    }));
    let (began, mut events) = (Instant::now(), 0);
    while began.elapsed() < 4 * LIMITS.single {
        // The list takes some time first.
        assert_eq!(names.next().await.unwrap().unwrap(), "watch-1", "after {:?}", began.elapsed());
        events += 1;
    }
    assert!(events > 10, "{events}");
    proxy.silence();
    let began = Instant::now();
    let resumed = loop {
        match names.next().await.unwrap() {
            Ok(name) if name == "watch-1" => {}
            Ok(name) => break name,
            Err(error) => assert!(error.to_string().contains("did not respond within 0.7 s"), "{error}"),
        }
    };
    assert_eq!(resumed, "watch-2");
    assert!(began.elapsed() < Duration::from_secs(5), "resumed after {:?}", began.elapsed());
    assert_eq!(timeouts(&api_server, "watch"), 1);
}
