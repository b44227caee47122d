//! Limits of requests a minute (`docs/reference/infisical.md`, Auth and limits; rate-limit.json).

use std::collections::HashMap;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Infisical;
use super::errors::Errors;

/// The number of requests per minute that are accepted. Every call here comes from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// GETs a minute.
    pub reads: u32,
    /// Everything else a minute.
    pub writes: u32,
    /// Both together, if that is limited too.
    #[serde(default)]
    pub total: Option<u32>,
    /// Whether every route has its own allowance.
    #[serde(default)]
    pub per_route: bool,
}

impl Limits {
    /// A self-hosted server of October 2024 in production mode (rate-limit.json).
    pub fn october_2024() -> Self {
        Self { reads: 60, writes: 200, total: None, per_route: true }
    }

    /// Infisical Cloud's free plan.
    pub fn cloud_free() -> Self {
        Self { reads: 200, writes: 90, total: Some(600), per_route: false }
    }
}

/// The accepted requests, by allowance.
#[derive(Default)]
pub(crate) struct Meter {
    limits: Option<Limits>,
    counted: HashMap<String, Allowance>,
}

struct Allowance {
    used: u32,
    ends: Timestamp,
}

/// The state of an allowance after a request.
#[derive(Clone, Copy)]
struct Standing {
    limit: u32,
    remaining: u32,
    reset_seconds: i64,
    refused: bool,
}

impl Meter {
    pub(crate) fn new(limits: Option<Limits>) -> Self {
        Self { limits, counted: HashMap::new() }
    }

    /// Counts a request; none if nothing is limited.
    fn count(&mut self, method: &Method, route: &str, now: Timestamp) -> Option<Standing> {
        let limits = self.limits?;
        let read = method == Method::GET;
        let limit = if read { limits.reads } else { limits.writes };
        let name = if limits.per_route {
            format!("{method} {route}")
        } else {
            (if read { "reads" } else { "writes" }).to_owned()
        };
        let own = self.take(&name, limit, now);
        let total = limits.total.map(|limit| self.take("total", limit, now));
        Some(total.filter(|total| total.refused).unwrap_or(own))
    }

    fn take(&mut self, name: &str, limit: u32, now: Timestamp) -> Standing {
        let fresh =
            Allowance { used: 0, ends: now.saturating_add(SignedDuration::from_mins(1)).unwrap_or(Timestamp::MAX) };
        let allowance = self
            .counted
            .entry(name.to_owned())
            .and_modify(|allowance| {
                if now >= allowance.ends {
                    allowance.used = 0;
                    allowance.ends = fresh.ends;
                }
            })
            .or_insert(fresh);
        let refused = allowance.used >= limit;
        if !refused {
            allowance.used += 1;
        }
        let left = allowance.ends.duration_since(now);
        Standing {
            limit,
            remaining: limit - allowance.used,
            reset_seconds: left.as_secs() + i64::from(left.subsec_nanos() > 0),
            refused,
        }
    }
}

/// The path without its ids: all paths of one route share an allowance (rate-limit.json).
fn route(path: &str) -> String {
    let segments = path.trim_end_matches('/').split('/');
    segments.map(|segment| if Uuid::parse_str(segment).is_ok() { "*" } else { segment }).collect::<Vec<_>>().join("/")
}

/// Accepts or refuses a request; returns the state of the allowance in both cases.
pub(crate) async fn metered(State(infisical): State<Infisical>, request: Request, next: Next) -> Response {
    let now = infisical.now();
    let standing = {
        let mut state = infisical.state();
        state.meter.count(request.method(), &route(request.uri().path()), now)
    };
    let Some(standing) = standing else {
        return next.run(request).await;
    };
    let mut response = if standing.refused {
        let errors = Errors(infisical.state().style);
        errors.rate_limited(standing.reset_seconds).into_response()
    } else {
        next.run(request).await
    };
    let mut tell = |name: &'static str, value: i64| {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(value));
    };
    tell("x-ratelimit-limit", standing.limit.into());
    tell("x-ratelimit-remaining", standing.remaining.into());
    tell("x-ratelimit-reset", standing.reset_seconds);
    if standing.refused {
        tell("retry-after", standing.reset_seconds);
    }
    response
}
