//! The routes below `/_simulator` that both providers have. They are not logged and not affected by orders.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Front, Order};
use crate::locked;

/// `requests`, `orders` and `clock` of a provider.
pub(crate) fn generic(front: Front) -> Router {
    Router::new()
        .route("/requests", get(requests).delete(clear_requests))
        .route("/orders", get(orders).post(add_orders).delete(clear_orders))
        .route("/clock", get(clock).post(set_clock))
        .with_state(front)
}

/// An invalid control request, and why.
pub(crate) struct Nonsense(String);

impl Nonsense {
    pub(crate) fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl IntoResponse for Nonsense {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({"error": self.0}))).into_response()
    }
}

/// A body as JSON of this form, or what is wrong with it.
pub(crate) fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, Nonsense> {
    serde_json::from_slice(body).map_err(|error| Nonsense(error.to_string()))
}

#[derive(Deserialize)]
struct Narrowed {
    #[serde(default)]
    method: String,
    #[serde(default)]
    path: String,
}

async fn requests(State(front): State<Front>, Query(only): Query<Narrowed>) -> Response {
    let mut requests = front.requests();
    requests.retain(|request| request.matches(&only.method, &only.path));
    Json(json!({"count": requests.len(), "requests": requests})).into_response()
}

async fn clear_requests(State(front): State<Front>) -> StatusCode {
    front.clear_requests();
    StatusCode::NO_CONTENT
}

async fn orders(State(front): State<Front>) -> Response {
    Json(front.orders()).into_response()
}

async fn add_orders(State(front): State<Front>, body: Bytes) -> Result<Response, Nonsense> {
    let orders: Vec<Order> = match body.trim_ascii_start().first() {
        Some(b'[') => parsed(&body)?,
        _ => vec![parsed(&body)?],
    };
    orders.into_iter().for_each(|order| front.order(order));
    Ok(Json(front.orders()).into_response())
}

async fn clear_orders(State(front): State<Front>) -> StatusCode {
    front.clear_orders();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Timing {
    offset_seconds: Option<i64>,
    delay_milliseconds: Option<u64>,
}

async fn clock(State(front): State<Front>) -> Response {
    Json(json!({
        "now": front.now().to_string(),
        "offsetSeconds": front.clock_offset().as_secs(),
        "delayMilliseconds": u64::try_from(locked(&front.0.delay).as_millis()).unwrap_or(u64::MAX),
    }))
    .into_response()
}

async fn set_clock(State(front): State<Front>, body: Bytes) -> Result<Response, Nonsense> {
    let timing: Timing = parsed(&body)?;
    if let Some(seconds) = timing.offset_seconds {
        front.set_clock_offset(SignedDuration::from_secs(seconds));
    }
    if let Some(milliseconds) = timing.delay_milliseconds {
        front.set_delay(Duration::from_millis(milliseconds));
    }
    Ok(clock(State(front)).await)
}
