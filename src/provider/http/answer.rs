//! A response, and what of it may be shown.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::text;
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::quota::ReportedLimit;

/// The request that a response or a failure belongs to, for messages.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// `Infisical` or `ZITADEL`.
    pub provider: &'static str,
    /// The server's URL.
    pub endpoint: String,
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The path's pattern.
    pub route: &'static str,
    /// The request's own id, sent as `x-request-id`. For logs only.
    pub request_id: String,
    /// Whether the request changes something.
    pub writes: bool,
}

impl RequestInfo {
    /// The effect of a request of this kind whose response is missing or invalid.
    pub fn effect_unknown(&self) -> Effect {
        if self.writes { Effect::Unknown } else { Effect::None }
    }

    /// [`Error::Unreachable`] with `what` happened, and where.
    pub fn unreachable(&self, what: &str, effect: Effect) -> Error {
        let Self { provider, endpoint, method, route, .. } = self;
        Error::Unreachable { message: format!("{provider} at {endpoint} {what} ({method} {route})"), effect }
    }
}

/// A server's response, bounded in size.
pub struct Response {
    pub status: u16,
    /// The wait that `Retry-After` requests, at most an hour.
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
    /// The request it belongs to.
    pub context: RequestInfo,
    pub(super) rate_limit: Option<ReportedLimit>,
    pub(super) content_type: String,
    pub(super) secrets: Vec<SecretString>,
}

/// What to try if a server responds as if it wasn't the provider: a URL with a path, as of a page in the browser or of
/// the API itself (`/api`), is seldom intended. `None`: the URL has no path.
pub fn url_hint(endpoint: &str) -> Option<String> {
    let url = url::Url::parse(endpoint).ok()?;
    let path = url.path().trim_end_matches('/');
    let origin = url.origin().ascii_serialization();
    (!path.is_empty()).then(|| {
        format!(
            "the URL ends in {path:?}, and the paths of the API are added to it: unless the provider is served below that, \
             create the provider object again with {origin} alone"
        )
    })
}

/// The fields of an error that are used. All others are skipped, whatever they contain.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorFields {
    message: serde_json::Value,
    error: serde_json::Value,
    error_description: serde_json::Value,
    #[serde(rename = "reqId")]
    request_id: serde_json::Value,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as a JSON object. Anything else is [`Error::Unreachable`]: HTML with 200, an incomplete body, another
    /// shape. Whether a write was carried out is then unknown.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // A struct would accept an array as its fields in order.
        match self.body.trim_ascii_start().starts_with(b"[") {
            true => Err(self.nonsense("JSON of another shape (line 1, column 1)")),
            false => self.read(),
        }
    }

    /// The body as an array, if the server responds with one.
    pub fn array<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        self.read()
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // The error's own text may quote the body; its place can't.
            let what = if self.content_type.contains("html") || self.body.trim_ascii_start().starts_with(b"<") {
                "a web page".to_owned()
            } else if self.body.is_empty() {
                "nothing".to_owned()
            } else if error.is_data() {
                format!("JSON of another shape (line {}, column {})", error.line(), error.column())
            } else {
                format!("no whole JSON ({} bytes)", self.body.len())
            };
            self.nonsense(&what)
        })
    }

    /// [`Error::Unreachable`]: the response is invalid, it was `what`.
    pub fn nonsense(&self, what: &str) -> Error {
        let hint = url_hint(&self.context.endpoint)
            .unwrap_or_else(|| "check that the URL is the provider's own, and any proxy in front of it".to_owned());
        let what = format!("answered {} with {what}: {hint}", self.status);
        self.context.unreachable(&what, self.context.effect_unknown())
    }

    /// The body's error text: `message` (also the messages of a list of them), else `error_description`, else `error`,
    /// filtered. Empty if it has none of them.
    pub fn error_text(&self) -> String {
        let ErrorFields { message, error_description, error, .. } = self.error_fields();
        let mut texts = [message, error_description, error].into_iter().map(|field| messages(&field));
        self.filtered(&texts.find(|text| !text.is_empty()).unwrap_or_default())
    }

    /// The server's own id of the request, if an error has one (Infisical: `reqId`), for logs.
    pub(super) fn server_id(&self) -> Option<String> {
        let error = if self.is_success() { None } else { Some(self.error_fields()) }?;
        error.request_id.as_str().map(|id| text::bounded(&self.filtered(id), 64))
    }

    fn error_fields(&self) -> ErrorFields {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A text of this response, safe to be shown (see [`text::filtered`]): without the secrets of the request.
    pub fn filtered(&self, text: &str) -> String {
        text::filtered(text, &self.secrets.iter().collect::<Vec<_>>())
    }
}

#[cfg(test)]
impl Response {
    /// A response to a request that was never sent.
    pub(crate) fn made_up(status: u16, writes: bool, retry_after: Option<Duration>, body: &str) -> Self {
        let context = RequestInfo {
            provider: "Infisical",
            endpoint: "https://example.com".to_owned(),
            method: if writes { "PATCH" } else { "GET" },
            route: "/api/{project}",
            request_id: "1234".to_owned(),
            writes,
        };
        let (content_type, secrets) = ("application/json".to_owned(), vec![SecretString::from("hunter2hunter2")]);
        Self { status, retry_after, body: body.as_bytes().to_vec(), context, rate_limit: None, content_type, secrets }
    }
}

/// Never the body: it may hold a token.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// A text, or the `message` of each entry of a list with the place that it refers to, as in validation errors.
fn messages(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Array(issues) => issues
            .iter()
            .take(5)
            .filter_map(|issue| {
                let message = issue.get("message")?.as_str()?;
                let path: Vec<String> = issue.get("path").and_then(Value::as_array).map_or_else(Vec::new, |path| {
                    path.iter().map(|p| p.as_str().map_or_else(|| p.to_string(), str::to_owned)).collect()
                });
                Some(if path.is_empty() { message.to_owned() } else { format!("{}: {message}", path.join(".")) })
            })
            .collect::<Vec<_>>()
            .join("; "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(writes: bool, content_type: &str, body: &str) -> Response {
        Response { content_type: content_type.to_owned(), ..Response::made_up(200, writes, None, body) }
    }

    #[test]
    fn what_is_no_json_is_unreachable_and_never_quoted() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its shape matters")]
        struct Rows {
            rows: Vec<u8>,
        }
        for (content_type, body, expected) in [
            ("text/html", "<html>hunter2", "with a web page"),
            ("application/json", "\n<!doctype html>hunter2", "with a web page"),
            ("application/json", "", "with nothing"),
            ("application/json", r#"{"rows":[1,"#, "with no whole JSON (11 bytes)"),
            ("application/json", r#"{"rows":"hunter2"}"#, "JSON of another shape"),
            ("application/json", r#"{"hunter2":[]}"#, "JSON of another shape"),
        ] {
            let error = answer(true, content_type, body).json::<Rows>().unwrap_err();
            let text = error.to_string();
            assert!(text.contains(expected), "{body}: {text}");
            assert!(!text.contains("hunter2"), "{body}: {text}");
            assert_eq!(error.effect(), Effect::Unknown, "{body}");
            let read = answer(false, content_type, body).json::<Rows>().unwrap_err();
            assert_eq!(read.effect(), Effect::None, "{body}");
        }
    }

    #[test]
    fn only_known_fields_are_shown() {
        for (body, shown) in [
            (r#"{"message":"no hunter2hunter2","error":"E","stack":"x"}"#, "no [redacted]"),
            (r#"{"error":"invalid_grant","error_description":"gone"}"#, "gone"),
            (r#"{"error":"NotFound"}"#, "NotFound"),
            (
                r#"{"message":[{"code":"custom","message":"bad","path":["roles",1,"range"]},{"message":"worse"}]}"#,
                "roles.1.range: bad; worse",
            ),
            (r#"{"message":{"secret":"x"}}"#, ""),
            ("<html>", ""),
            ("[]", ""),
        ] {
            assert_eq!(answer(false, "", body).error_text(), shown, "{body}");
        }
    }
}
