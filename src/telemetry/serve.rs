//! `/metrics`, `/healthz` and `/readyz`.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Format, Health, Metrics};

/// The maximum number of open connections. If there are more, the oldest is closed: the response to a request takes
/// milliseconds, so no probe or scraper waits on the connection that has been open for the longest time.
const CONNECTIONS: usize = 64;
/// How long a connection may stay open. It serves one request.
const LIFETIME: Duration = Duration::from_secs(10);
/// How long to wait after a connection could not be accepted, for example because no file descriptors are left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`. Fails if the address cannot be bound. Logs the address that it listens on.
pub async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Health,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving /metrics, /healthz and /readyz");
    let routes = Router::new()
        .route("/healthz", get(async |State((_, health)): State<Served>| answer(health.alive(Instant::now()))))
        .route("/readyz", get(async |State((_, health)): State<Served>| answer(health.ready(Instant::now()))))
        .route("/metrics", get(text))
        .with_state((metrics, health));
    let mut open = Open::default();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => open.serve(stream, routes.clone()).await,
            Err(error) => {
                tracing::warn!(%error, "a connection to the metrics port could not be accepted");
                open.close_oldest().await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

type Served = (Arc<Metrics>, Health);

/// The open connections, the oldest first.
#[derive(Default)]
struct Open(VecDeque<JoinHandle<()>>);

impl Open {
    async fn serve(&mut self, stream: TcpStream, routes: Router) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() >= CONNECTIONS {
            self.close_oldest().await;
        }
        let connection = http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        self.0.push_back(tokio::spawn(async {
            let _ = tokio::time::timeout(LIFETIME, connection).await;
        }));
    }

    /// Closes the oldest connection. Returns when its file descriptor is free.
    async fn close_oldest(&mut self) {
        if let Some(oldest) = self.0.pop_front() {
            oldest.abort();
            let _ = oldest.await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn answer(health: Result<(), String>) -> Response {
    match health {
        Ok(()) => "ok\n".into_response(),
        Err(what) => (StatusCode::SERVICE_UNAVAILABLE, what + "\n").into_response(),
    }
}

async fn text(State((metrics, health)): State<Served>, headers: HeaderMap) -> Response {
    let now = Instant::now();
    metrics.measured(health.reachability.unanswered_for(now), health.backlog.oldest_due(now));
    let format = Format::accepted(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
    match metrics.text(format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
