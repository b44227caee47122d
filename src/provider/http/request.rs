//! A request before it is sent.

use secrecy::SecretString;
use serde::Serialize;

use crate::provider::Error;

/// The method.
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
#[derive(Debug)]
pub struct Request<'a> {
    pub(super) method: Method,
    pub(super) route: &'static str,
    pub(super) ids: Vec<&'a str>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) bearer: Option<&'a SecretString>,
    pub(super) secrets: Vec<&'a SecretString>,
    pub(super) body: Option<Body>,
    pub(super) writes: bool,
    pub(super) list: bool,
}

/// A body that isn't shown by Debug: it may hold a secret.
pub(super) struct Body(pub(super) Result<Vec<u8>, serde_json::Error>);

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
            secrets: Vec::new(),
            body: None,
            writes: method != Method::Get,
            list: false,
        }
    }

    /// A GET.
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

    /// A secret that the answer may repeat: it is redacted wherever the answer is shown.
    pub fn hide(mut self, secret: &'a SecretString) -> Self {
        self.secrets.push(secret);
        self
    }

    /// The body, as JSON.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = Some(Body(serde_json::to_vec(body)));
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
