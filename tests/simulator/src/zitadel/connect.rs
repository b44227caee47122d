//! The Connect protocol of v2 of the API: JSON by POST, refusals in their own form (internal-permissions-v2.json, 1, 21
//! and 93 to 97).

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::routing::{MethodRouter, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value, json};

use super::Zitadel;
use super::errors::{self, Refusal, answered};
use super::wire::Message;

/// A service with its methods; what it doesn't have is refused as the real mux does.
pub(crate) fn service(name: &str, methods: Vec<(&str, MethodRouter<Zitadel>)>) -> Router<Zitadel> {
    let mut router = Router::new().route(&format!("/{name}/{{*method}}"), any(not_found));
    for (method, handler) in methods {
        router = router.route(&format!("/{name}/{method}"), handler.fallback(wrong_method));
    }
    router.layer(map_response(in_connects_form))
}

/// A method of a service.
pub(crate) fn method<H, T>(handler: H) -> MethodRouter<Zitadel>
where
    H: axum::handler::Handler<T, Zitadel>,
    T: 'static,
{
    post(handler)
}

/// A request message of this name.
pub(crate) fn read(body: &Bytes, package: &str, name: &str) -> Result<Message, Refusal> {
    let before = format!("unmarshal message: unmarshal into *{package}.{name}: proto:\u{a0}");
    Message::read(body).map_err(|refusal| refusal.after(&before))
}

/// The response for an unknown path, here and by a server without the service.
pub(crate) async fn not_found() -> Response {
    let content_type = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    (StatusCode::NOT_FOUND, [content_type], "404 page not found\n").into_response()
}

async fn wrong_method() -> Response {
    let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// The refusal of a response in the form of Connect; anything else as it is.
async fn in_connects_form(response: Response) -> Response {
    match response.extensions().get::<Refusal>() {
        Some(refusal) => refused(refusal),
        None => response,
    }
}

/// A refusal in the form of Connect.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let mut body = Map::new();
    body.insert("code".to_owned(), name_of(refusal.code).into());
    body.insert("message".to_owned(), refusal.message().into());
    if let Some(id) = refusal.id {
        let detail = json!({
            "type": "zitadel.v1.ErrorDetail",
            "value": STANDARD_NO_PAD.encode(error_detail(id, &refusal.text)),
            "debug": {"id": id, "message": refusal.text},
        });
        body.insert("details".to_owned(), Value::Array(vec![detail]));
    }
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, answered(&Value::Object(body))).into_response()
}

/// Connect's name of a gRPC code, of those that occur.
fn name_of(code: u8) -> &'static str {
    match code {
        3 => "invalid_argument",
        5 => "not_found",
        6 => "already_exists",
        7 => "permission_denied",
        9 => "failed_precondition",
        12 => "unimplemented",
        16 => "unauthenticated",
        _ => "unknown",
    }
}

/// The message `zitadel.v1.ErrorDetail {string id = 1; string message = 2;}` in protocol buffers' encoding.
fn error_detail(id: &str, message: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, text) in [(0x0a, id), (0x12, message)] {
        bytes.push(tag);
        let mut length = text.len();
        while length >= 0x80 {
            bytes.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap_or_default());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// A page of a v2 list: 100 rows unless the request limits it, at most 1,000 (internal-permissions-v2.json, 28 to 35).
pub(crate) struct Page {
    offset: usize,
    limit: usize,
    pub(crate) ascending: bool,
}

impl Page {
    pub(crate) fn read(message: &Message) -> Result<Self, Refusal> {
        let empty = Map::new();
        let page = message.object("pagination")?.unwrap_or(&empty);
        let limit = match message.number(page, "limit", "uint32")? {
            0 => 100,
            1001.. => return Err(errors::limit_exceeded()),
            limit => limit,
        };
        let ascending = page.get("asc").and_then(Value::as_bool).unwrap_or_default();
        Ok(Self { offset: message.number(page, "offset", "uint64")?, limit, ascending })
    }

    /// The page of the rows, and its details: without a total past the end. Rows that the caller may not see are
    /// counted, and dropped after the page was cut, so that pages may be short.
    pub(crate) fn apply<T>(&self, rows: Vec<T>, sees: impl Fn(&T) -> bool) -> (Vec<T>, Value) {
        let total = rows.len();
        let mut page: Vec<T> = rows.into_iter().skip(self.offset).take(self.limit).collect();
        let mut details = Map::new();
        if !page.is_empty() {
            details.insert("totalResult".to_owned(), total.to_string().into());
        }
        details.insert("appliedLimit".to_owned(), self.limit.to_string().into());
        page.retain(sees);
        (page, Value::Object(details))
    }
}

/// The ids of a filter such as `{"ids": […]}`.
pub(crate) fn ids(filter: &Value, field: &str) -> Vec<String> {
    let list = filter.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// An invalid filter.
pub(crate) fn no_filter(request: &str, at: usize, filter: &str) -> Refusal {
    errors::malformed(format!(
        "invalid {request}.Filters[{at}]: embedded message failed validation | \
         caused by: invalid {filter}.Filter: value is required"
    ))
}
