//! `/metrics`, `/healthz` and `/readyz`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{Health, Metrics};

/// Serves until `shutdown`. Fails where the address can't be had. Tells the address that it listens on.
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
    axum::serve(listener, routes).with_graceful_shutdown(shutdown).await
}

type Served = (Arc<Metrics>, Health);

fn answer(health: Result<(), String>) -> Response {
    match health {
        Ok(()) => "ok\n".into_response(),
        Err(what) => (StatusCode::SERVICE_UNAVAILABLE, what + "\n").into_response(),
    }
}

async fn text(State((metrics, health)): State<Served>) -> Response {
    let now = Instant::now();
    metrics.measured(health.reachability.unanswered_for(now), health.passes.oldest_due(now));
    match metrics.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
