//! A request before it is sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::form_urlencoded;

use crate::provider::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Create, sign in, or search.
    Post,
    /// Replace.
    Put,
    /// Change.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// As it stands in the request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request before it is sent. Built by chaining: `Request::get(ROUTE).id(project).bearer(token)`.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub(super) method: Method,
    pub(super) route: &'static str,
    pub(super) ids: Vec<&'a str>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) bearer: Option<&'a SecretString>,
    basic: Option<(&'a str, &'a SecretString)>,
    pub(super) secrets: Vec<&'a SecretString>,
    pub(super) body: Option<Body>,
    pub(super) writes: bool,
    pub(super) list: bool,
}

/// A body that isn't shown by Debug: it may hold a secret.
#[derive(Clone)]
pub(super) struct Body {
    /// Its bytes, or why there are none.
    pub(super) bytes: Result<Vec<u8>, String>,
    content_type: &'static str,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[body]")
    }
}

impl<'a> Request<'a> {
    /// A request of `route`, the path's pattern: each `{…}` in it stands for one of the [`ids`](Self::id). Everything
    /// but GET is taken for a write until [`reads`](Self::reads) says otherwise.
    pub fn new(method: Method, route: &'static str) -> Self {
        Self {
            method,
            route,
            ids: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            bearer: None,
            basic: None,
            secrets: Vec::new(),
            body: None,
            writes: method != Method::Get,
            list: false,
        }
    }

    pub fn get(route: &'static str) -> Self {
        Self::new(Method::Get, route)
    }

    /// The next id of the route, in order. It is encoded so that it stays one segment.
    pub fn id(mut self, id: &'a str) -> Self {
        self.ids.push(id);
        self
    }

    /// A parameter of the query.
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// A header, in lower case. Not for secrets: the value may be logged by a proxy.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The access token to present. It is redacted wherever the answer is shown.
    pub fn bearer(mut self, token: &'a SecretString) -> Self {
        self.bearer = Some(token);
        self.hide(token)
    }

    /// A client's id and secret (RFC 6749, section 2.3.1: each is encoded as in a form before they are joined).
    pub fn basic(mut self, id: &'a str, secret: &'a SecretString) -> Self {
        self.basic = Some((id, secret));
        self.hide(secret)
    }

    /// A secret that the answer may repeat: it is redacted wherever the answer is shown.
    pub fn hide(mut self, secret: &'a SecretString) -> Self {
        self.secrets.push(secret);
        self
    }

    /// The body, as JSON.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).map_err(|error| error.to_string());
        self.body = Some(Body { bytes, content_type: "application/json" });
        self
    }

    /// The body, as a form.
    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body = Some(Body { bytes: Ok(form.into_bytes()), content_type: "application/x-www-form-urlencoded" });
        self
    }

    /// Says that the request changes nothing although its method isn't GET (a search by POST, a sign-in): what became
    /// of it when its answer is lost doesn't matter.
    pub fn reads(mut self) -> Self {
        self.writes = false;
        self
    }

    /// Says that the answer is a list: it may have 64 MiB instead of 1 MiB.
    pub fn list(mut self) -> Self {
        self.list = true;
        self
    }

    /// The headers; `None` where a value can't be one (a token with a line break).
    pub(super) fn headers(&self, request_id: &str) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_str(request_id).ok()?);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
        }
        let bearer = self.bearer.map(|token| format!("Bearer {}", token.expose_secret()));
        let basic = self.basic.map(|(id, secret)| {
            let part = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            format!("Basic {}", STANDARD.encode(format!("{}:{}", part(id), part(secret.expose_secret()))))
        });
        if let Some(authorization) = bearer.or(basic) {
            let mut value = HeaderValue::from_str(&authorization).ok()?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(body) = &self.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(body.content_type));
        }
        Some(headers)
    }

    /// The segments of the path, ids in their places.
    pub(super) fn segments(&self) -> Result<Vec<&str>, Error> {
        let mut ids = self.ids.iter().copied();
        let segments: Option<Vec<&str>> = self
            .route
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| if segment.starts_with('{') { ids.next() } else { Some(segment) })
            .collect();
        match (segments, ids.next()) {
            (Some(segments), None) => Ok(segments),
            _ => Err(Error::Rejected { message: format!("{} needs another number of ids: this is a bug", self.route) }),
        }
    }
}
