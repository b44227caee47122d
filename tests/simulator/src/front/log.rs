//! The log of requests.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most bytes of a request's body that are kept.
const BODY_LIMIT: usize = 16 * 1024;

/// The most requests that are kept; the oldest are dropped first.
const LOG_LIMIT: usize = 200_000;

/// One request, recorded when it arrived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// When it arrived, by the server's own clock.
    pub at: Timestamp,
    /// The method, in capitals.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without the question mark; empty if there was none.
    pub query: String,
    /// The name of the caller: an identity's, a user's, or empty if the credential was missing or unknown.
    pub caller: String,
    /// The status of the response; none before the response, and for a connection closed without one.
    pub status: Option<u16>,
    /// The body, cut to 16 KiB; secrets and tokens in JSON bodies are removed.
    pub body: String,
}

/// The requests, oldest first.
#[derive(Default)]
pub(crate) struct Log {
    /// The number of the first entry, counted since the start, so that clearing does not affect requests in progress.
    first: usize,
    entries: Vec<Request>,
}

impl Log {
    /// Records a request and returns its number.
    pub(crate) fn push(&mut self, request: Request) -> usize {
        if self.entries.len() >= LOG_LIMIT {
            let surplus = self.entries.len() / 2;
            self.entries.drain(..surplus);
            self.first += surplus;
        }
        self.entries.push(request);
        self.first + self.entries.len() - 1
    }

    /// Records the status of a request's response.
    pub(crate) fn answered(&mut self, number: usize, status: u16) {
        if let Some(entry) = number.checked_sub(self.first).and_then(|at| self.entries.get_mut(at)) {
            entry.status = Some(status);
        }
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        self.entries.clone()
    }

    pub(crate) fn count(&self, method: &str, path_pattern: &str) -> usize {
        self.entries.iter().filter(|r| r.matches(method, path_pattern)).count()
    }

    pub(crate) fn clear(&mut self) {
        self.first += self.entries.len();
        self.entries.clear();
    }
}

impl Request {
    /// Whether it has this method (empty: any) and this path: `*` stands for any characters; without one, a part
    /// of the path is enough.
    pub fn matches(&self, method: &str, path_pattern: &str) -> bool {
        (method.is_empty() || self.method.eq_ignore_ascii_case(method)) && path_matches(&self.path, path_pattern)
    }
}

/// Whether a path matches the pattern: see [`Request::matches`].
pub(crate) fn path_matches(path: &str, pattern: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return path.contains(pattern);
    };
    let Some(mut rest) = path.strip_prefix(head) else {
        return false;
    };
    let mut parts = tail.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The body as it is kept: truncated, and without secrets.
pub(crate) fn presentable(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(mut json) => {
            if redact(&mut json) {
                json.to_string()
            } else {
                String::from_utf8_lossy(body).into_owned()
            }
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    match text.char_indices().map(|(at, _)| at).find(|at| *at >= BODY_LIMIT) {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// Removes the values of secret fields; returns whether there were any.
fn redact(json: &mut Value) -> bool {
    match json {
        Value::Object(fields) => {
            let mut found = false;
            for (name, value) in fields {
                if ["clientSecret", "accessToken", "jwt", "assertion"].contains(&name.as_str()) {
                    *value = Value::String("redacted".to_owned());
                    found = true;
                } else {
                    found |= redact(value);
                }
            }
            found
        }
        Value::Array(items) => items.iter_mut().fold(false, |found, item| redact(item) | found),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{path_matches, presentable};

    #[test]
    fn a_pattern_may_leave_out_the_middle() {
        assert!(path_matches("/api/v2/workspace/p/identity-memberships/i", "/api/*/identity-memberships/*"));
        assert!(path_matches("/api/v2/workspace/p/identity-memberships", "/api/*/identity-memberships"));
        assert!(!path_matches("/api/v2/workspace/p/identity-memberships/i", "/api/*/identity-memberships"));
        assert!(path_matches("/a/b", "a/"));
        assert!(!path_matches("/a/b", "/x/*"));
    }

    #[test]
    fn the_log_keeps_no_secret() {
        let kept = presentable(br#"{"clientId":"c","clientSecret":"s3cret"}"#);
        assert!(!kept.contains("s3cret") && kept.contains("clientId"), "{kept}");
    }
}
