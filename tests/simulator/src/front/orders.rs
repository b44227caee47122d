//! Faults to order: which requests go wrong, when, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::log::path_matches;

/// One rule: requests that match `method` and `path_contains` get the fault `kind`, as often as `when` determines.
///
/// Every matching order counts and acts, in the order in which they were given; of several that replace the handler's
/// response the first one applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// The method, in capitals; none means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// A part of the path (without the query), or all of it with `*` for any characters; empty means any.
    #[serde(default)]
    pub path_contains: String,
    /// Which of the matching requests are affected.
    #[serde(default)]
    pub when: When,
    /// What happens to them.
    pub kind: Fault,
}

/// Which of the matching requests an order affects, counted from the moment of the order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// All of them, until the orders are cleared.
    #[default]
    Always,
    /// The next so many.
    Next(u32),
    /// Only the n-th, the first being 1.
    Nth(u32),
}

/// A fault. Durations are milliseconds in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// Waits before anything is done.
    #[serde(with = "millis")]
    Delay(Duration),
    /// Carries out the request, then waits before the response is sent.
    #[serde(with = "millis")]
    DelayAfter(Duration),
    /// Waits between what a write reads and what it writes. Two concurrent writers then collide as at the real servers,
    /// whose transactions do not see each other (`docs/reference/infisical.md`, PATCH and time).
    #[serde(with = "millis")]
    Window(Duration),
    /// Responds with this, and does nothing.
    Status(Answer),
    /// Carries out the request, then responds with this: a gateway that timed out.
    StatusAfter(Answer),
    /// Closes the connection without a response, and does nothing.
    Reset,
    /// Carries out the request, then closes the connection without a response.
    ResetAfter,
    /// Responds 200 with a page of HTML, as a proxy with a login page does; nothing is done.
    Html,
    /// Truncates the JSON of the response in the middle.
    Truncated,
    /// Responds 200 with these bytes as JSON, and does nothing.
    Bytes(Vec<u8>),
    /// Responds 200 with an endless list, of which a gigabyte is sent; nothing is done.
    Gigabyte,
    /// Carries out the request, then sends the response byte by byte, at this interval.
    #[serde(with = "millis")]
    Drip(Duration),
    /// ZITADEL only: the response to the write is 200, and it never reaches the tables of search and permissions
    /// (`docs/reference/zitadel.md`, trap 4).
    LostWrite,
    /// Omits the last rows of a list; the total is unchanged.
    PartialList {
        /// The number of omitted rows.
        drop: usize,
    },
}

/// A response in place of the server's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; a string is sent as it is, null as nothing, anything else as JSON.
    #[serde(default)]
    pub body: Value,
    /// Further headers, such as `retry-after`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

impl Answer {
    /// A response with a JSON body.
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, body, headers: BTreeMap::new() }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Order {
    /// An order for every request, until the orders are cleared.
    pub fn always(kind: Fault) -> Self {
        Self { method: None, path_contains: String::new(), when: When::Always, kind }
    }

    /// An order for the next request only.
    pub fn next(kind: Fault) -> Self {
        Self { when: When::Next(1), ..Self::always(kind) }
    }

    /// An order for the next `n` requests.
    pub fn next_n(n: u32, kind: Fault) -> Self {
        Self { when: When::Next(n), ..Self::always(kind) }
    }

    /// An order for the `n`-th request from now, the first being 1.
    pub fn nth(n: u32, kind: Fault) -> Self {
        Self { when: When::Nth(n), ..Self::always(kind) }
    }

    /// Narrows the order to a method (empty: any) and a path (as in [`Request::matches`](super::Request::matches)).
    #[must_use]
    pub fn on(mut self, method: &str, path_contains: &str) -> Self {
        self.method = (!method.is_empty()).then(|| method.to_ascii_uppercase());
        path_contains.clone_into(&mut self.path_contains);
        self
    }
}

impl Fault {
    /// A gateway's response with an empty body and no effect.
    pub fn status(status: u16) -> Self {
        Self::Status(Answer::new(status, Value::Null))
    }

    /// Infisical Cloud's refusal of too many requests (`docs/reference/infisical.md`, Auth and limits).
    pub fn infisical_rate_limited(retry_after_seconds: u32) -> Self {
        Self::Status(
            Answer::new(
                429,
                json!({
                    "reqId": "req-simulated",
                    "statusCode": 429,
                    "message": format!("Rate limit exceeded. Please try again in {retry_after_seconds} seconds"),
                    "error": "RateLimitExceeded",
                }),
            )
            .header("retry-after", &retry_after_seconds.to_string())
            .header("x-ratelimit-remaining", "0"),
        )
    }

    /// The response of a self-hosted Infisical of October 2024 to too many requests: a 500 with `retry-after`
    /// (rate-limit.json).
    pub fn infisical_rate_limited_2024(retry_after_seconds: u32) -> Self {
        Self::Status(
            Answer::new(
                500,
                json!({"statusCode": 500, "message": "Something went wrong", "error": "InternalServerError"}),
            )
            .header("retry-after", &retry_after_seconds.to_string())
            .header("x-ratelimit-remaining", "0"),
        )
    }

    /// ZITADEL's refusal of too many requests, which carries no `retry-after` (`docs/reference/zitadel.md`,
    /// Headers and limits).
    pub fn zitadel_rate_limited() -> Self {
        Self::Status(Answer::new(429, zitadel_error(8, "Errors.Quota.Exceeded", "QUOTA-vjAy8")))
    }

    /// ZITADEL's response to the writer that lost a collision on the project's sequence: nothing was written, the same
    /// request succeeds when repeated (zitadel/concurrency.json, the first exchange).
    pub fn zitadel_collision() -> Self {
        let text = "integrity violation of type \"unique\" on \"events2\" (constraint: \"events2_pkey\"): \
                    ERROR: duplicate key value violates unique constraint \"events2_pkey\" (SQLSTATE 23505)";
        Self::Status(Answer::new(
            500,
            json!({
                "code": 2,
                "message": format!("{text} ()"),
                "details": [{"@type": "type.googleapis.com/zitadel.v1.ErrorDetail", "message": text}],
            }),
        ))
    }
}

fn zitadel_error(code: u8, text: &str, id: &str) -> Value {
    json!({
        "code": code,
        "message": format!("{text} ({id})"),
        "details": [{"@type": "type.googleapis.com/zitadel.v1.ErrorDetail", "id": id, "message": text}],
    })
}

/// The effects on one request, combined from all orders that match it.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) delay: Duration,
    pub(crate) instead: Option<Ending>,
    pub(crate) window: Duration,
    pub(crate) lost: bool,
    pub(crate) drop_rows: usize,
    pub(crate) truncated: bool,
    pub(crate) drip: Duration,
    pub(crate) delay_after: Duration,
    pub(crate) afterwards: Option<Ending>,
}

/// How a request ends without the server's own response.
pub(crate) enum Ending {
    Answer(Answer),
    Html,
    Reset,
    Bytes(Vec<u8>),
    Gigabyte,
}

/// The orders in force, each with the number of requests that it has matched.
#[derive(Default)]
pub(crate) struct Orders(Vec<(Order, u32)>);

impl Orders {
    pub(crate) fn add(&mut self, order: Order) {
        self.0.push((order, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The orders that can still match a request.
    pub(crate) fn list(&self) -> Vec<Order> {
        self.0.iter().map(|(order, _)| order.clone()).collect()
    }

    /// The effects on this request. Counts it, and removes orders that are used up.
    pub(crate) fn effects_on(&mut self, method: &str, path: &str) -> Effects {
        let mut effects = Effects::default();
        for (order, met) in &mut self.0 {
            let matches = order.method.as_deref().is_none_or(|m| m.eq_ignore_ascii_case(method))
                && path_matches(path, &order.path_contains);
            if !matches {
                continue;
            }
            *met += 1;
            let meant = match order.when {
                When::Always => true,
                When::Next(n) => *met <= n,
                When::Nth(n) => *met == n,
            };
            if meant {
                effects.add(&order.kind);
            }
        }
        self.0.retain(|(order, met)| match order.when {
            When::Always => true,
            When::Next(n) | When::Nth(n) => *met < n,
        });
        effects
    }
}

impl Effects {
    fn add(&mut self, fault: &Fault) {
        match fault {
            Fault::Delay(d) => self.delay += *d,
            Fault::DelayAfter(d) => self.delay_after += *d,
            Fault::Window(d) => self.window += *d,
            Fault::Status(answer) => {
                self.instead.get_or_insert_with(|| Ending::Answer(answer.clone()));
            }
            Fault::Html => {
                self.instead.get_or_insert(Ending::Html);
            }
            Fault::Reset => {
                self.instead.get_or_insert(Ending::Reset);
            }
            Fault::StatusAfter(answer) => {
                self.afterwards.get_or_insert_with(|| Ending::Answer(answer.clone()));
            }
            Fault::ResetAfter => {
                self.afterwards.get_or_insert(Ending::Reset);
            }
            Fault::Truncated => self.truncated = true,
            Fault::Bytes(bytes) => {
                self.instead.get_or_insert_with(|| Ending::Bytes(bytes.clone()));
            }
            Fault::Gigabyte => {
                self.instead.get_or_insert(Ending::Gigabyte);
            }
            Fault::Drip(d) => self.drip += *d,
            Fault::LostWrite => self.lost = true,
            Fault::PartialList { drop } => self.drop_rows += drop,
        }
    }
}

/// Durations as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_millis(u64::deserialize(deserializer)?))
    }
}
