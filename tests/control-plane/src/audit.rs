//! What was asked of the API server, counted at its own end.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Doing, Error};

/// Counted once, at its end (or, if it stays open, at its start): see
/// [`Event::parse`].
pub(crate) const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// The log of all requests. The API server writes a request down before its
/// answer is complete, so one that was answered has been counted.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
}

/// A moment in the log: what had been written down so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// Before the first request.
    pub const START: Self = Self(0);
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was done: `get`, `list`, `watch`, `create`, `update`, `patch`,
    /// `delete`, `deletecollection`; the HTTP method for what is no resource.
    pub verb: String,
    /// Who asked: `system:serviceaccount:<namespace>:<name>`, `admin`.
    pub user: String,
    /// What the client says of itself: `kubectl/v1.36.3 (linux/amd64) …`.
    pub user_agent: String,
    /// The API group, empty for the core group and for what is no resource.
    pub group: String,
    /// The plural, as `namespaces`; empty for what is no resource.
    pub resource: String,
    /// As `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for what is in no namespace, and for a list of all.
    pub namespace: String,
    /// Empty for a list, and for a create that leaves the name to the server.
    pub name: String,
    /// The path and query that were asked for.
    pub uri: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// Which events to count: those for which all that is set here is so.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    user: Option<String>,
    user_agent: Option<String>,
    verbs: Vec<String>,
    resource: Option<String>,
    subresource: Option<String>,
    namespace: Option<String>,
    refused: Option<bool>,
}

impl Audit {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file, one JSON object a line.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Now: what is counted since this mark began to be answered after it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the log can't be read.
    pub fn mark(&self) -> Result<Mark, Error> {
        let mut file = File::open(&self.path).doing(|| self.doing())?;
        let mut end = file.seek(SeekFrom::End(0)).doing(|| self.doing())?;
        let mut part = [0; 4096];
        // A line that is just being written belongs to what follows.
        while end > 0 {
            let length = end.min(4096) as usize;
            file.seek(SeekFrom::Start(end - length as u64)).doing(|| self.doing())?;
            file.read_exact(&mut part[..length]).doing(|| self.doing())?;
            if let Some(newline) = part[..length].iter().rposition(|byte| *byte == b'\n') {
                return Ok(Mark(end - (length - newline - 1) as u64));
            }
            end -= length as u64;
        }
        Ok(Mark(0))
    }

    /// How many requests since `mark` are as `filter` says.
    ///
    /// # Errors
    ///
    /// As [`Audit::events`].
    pub fn count(&self, mark: Mark, filter: &Filter) -> Result<usize, Error> {
        let mut count = 0;
        self.each(mark, |event| count += usize::from(filter.matches(&event)))?;
        Ok(count)
    }

    /// The requests since `mark` that are as `filter` says, in the order in
    /// which they were answered.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the log can't be read, [`Error::AuditLine`] if it isn't
    /// what the API server writes.
    pub fn events(&self, mark: Mark, filter: &Filter) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        self.each(mark, |event| {
            if filter.matches(&event) {
                events.push(event);
            }
        })?;
        Ok(events)
    }

    /// How many of each kind there were since `mark`, by what
    /// [`Event::request`] says: for a bench's table, or a failing test.
    ///
    /// # Errors
    ///
    /// As [`Audit::events`].
    pub fn table(&self, mark: Mark, filter: &Filter) -> Result<BTreeMap<String, usize>, Error> {
        let mut table = BTreeMap::new();
        self.each(mark, |event| {
            if filter.matches(&event) {
                *table.entry(event.request()).or_default() += 1;
            }
        })?;
        Ok(table)
    }

    /// Reads line by line: after a bench the log has hundreds of megabytes.
    fn each(&self, mark: Mark, mut f: impl FnMut(Event)) -> Result<(), Error> {
        let mut file = File::open(&self.path).doing(|| self.doing())?;
        file.seek(SeekFrom::Start(mark.0)).doing(|| self.doing())?;
        let mut lines = BufReader::new(file);
        let mut line = String::new();
        loop {
            line.clear();
            lines.read_line(&mut line).doing(|| self.doing())?;
            // The end, or a line that is just being written.
            if !line.ends_with('\n') {
                return Ok(());
            }
            if let Some(event) = Event::parse(&line)? {
                f(event);
            }
        }
    }

    fn doing(&self) -> String {
        format!("read {}", self.path.display())
    }
}

impl Event {
    /// One line of the log; `None` for the second of the two lines that a watch
    /// has. It counts when it is accepted (a watch that runs has no other line
    /// yet), everything else when it is done.
    fn parse(line: &str) -> Result<Option<Self>, Error> {
        let value: Value = serde_json::from_str(line).map_err(|_| Error::AuditLine(line.trim().into()))?;
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let verb = text("/verb");
        if (verb == "watch") != (text("/stage") == "ResponseStarted") {
            return Ok(None);
        }
        let code = value.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0);
        Ok(Some(Self {
            verb,
            user: text("/user/username"),
            user_agent: text("/userAgent"),
            group: text("/objectRef/apiGroup"),
            resource: text("/objectRef/resource"),
            subresource: text("/objectRef/subresource"),
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            uri: text("/requestURI"),
            code: u16::try_from(code).unwrap_or(0),
        }))
    }

    /// What was asked, without who and where: `patch memberships/status`, or
    /// `get /readyz`.
    #[must_use]
    pub fn request(&self) -> String {
        let Self { verb, resource, subresource, .. } = self;
        match (resource.is_empty(), subresource.is_empty()) {
            (true, _) => format!("{verb} {}", self.uri.split('?').next().unwrap_or_default()),
            (false, true) => format!("{verb} {resource}"),
            (false, false) => format!("{verb} {resource}/{subresource}"),
        }
    }

    /// Whether the request was one that changes something (if it isn't refused
    /// and isn't a dry run).
    #[must_use]
    pub fn is_write(&self) -> bool {
        WRITES.contains(&self.verb.as_str())
    }
}

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, code, user, .. } = self;
        write!(f, "{} {namespace}/{name} → {code} ({user})", self.request())
    }
}

impl Filter {
    /// All events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only of this user, as `system:serviceaccount:<namespace>:<name>`.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Only of clients whose user agent begins so: `kubectl/`.
    #[must_use]
    pub fn user_agent(mut self, prefix: impl Into<String>) -> Self {
        self.user_agent = Some(prefix.into());
        self
    }

    /// Only this verb; called again, that one as well.
    #[must_use]
    pub fn verb(mut self, verb: impl Into<String>) -> Self {
        self.verbs.push(verb.into());
        self
    }

    /// Only create, update, patch, delete and deletecollection.
    #[must_use]
    pub fn writes(mut self) -> Self {
        self.verbs.extend(WRITES.map(String::from));
        self
    }

    /// Only of this kind of object (a plural), with all its subresources.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Only of this subresource; "" is the object itself.
    #[must_use]
    pub fn subresource(mut self, subresource: impl Into<String>) -> Self {
        self.subresource = Some(subresource.into());
        self
    }

    /// Only in this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Only what was refused or failed (a status of 400 and above), or only
    /// what wasn't.
    #[must_use]
    pub fn refused(mut self, refused: bool) -> Self {
        self.refused = Some(refused);
        self
    }

    /// Whether an event is as this filter says.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        is(&self.user, &event.user)
            && self.user_agent.as_ref().is_none_or(|prefix| event.user_agent.starts_with(prefix))
            && (self.verbs.is_empty() || self.verbs.contains(&event.verb))
            && is(&self.resource, &event.resource)
            && is(&self.subresource, &event.subresource)
            && is(&self.namespace, &event.namespace)
            && self.refused.is_none_or(|refused| refused == (event.code >= 400))
    }
}
