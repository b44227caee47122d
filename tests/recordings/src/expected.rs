//! What is written down beside the recordings: `expected.yaml` of a provider (`tests/contracts/EXPECTED.md`).

use std::collections::BTreeMap;
use std::path::Path;

use membership_operator::api::SubjectKind;
use serde::Deserialize;

use crate::path::Pattern;
use crate::recording::Exchange;

/// The expectations of one provider's recordings.
#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expected {
    /// The collection whose calls, rules and left out endpoints count as well, after these; rows of it that no exchange
    /// here needs are its own affair.
    #[serde(default)]
    pub extends: Option<String>,
    /// How many rules and left out rows are this file's own.
    #[serde(skip)]
    own: (usize, usize),
    /// The endpoints that the operator calls.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// By endpoint, status and error. The first that fits counts.
    pub rules: Vec<Rule>,
    /// Single exchanges of which the rules don't hold. They go before the rules.
    pub exceptions: Vec<Exception>,
    /// The endpoints that the operator never calls. The first that fits counts.
    pub left_out: Vec<LeftOut>,
}

/// An endpoint that the operator calls.
#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// What it is called in the rules.
    pub name: String,
    /// `GET /api/{project}`.
    pub request: String,
    /// The client's operation that brings the request about.
    pub drive: Drive,
    /// Of which kind of subject; left out: Infisical's identities, ZITADEL's users.
    pub kind: Option<SubjectKind>,
}

/// An operation of the client: what is asked of it, and of which kind of subject.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Drive {
    /// Signs in, by universal auth.
    SignIn,
    /// Signs in with a service account's token, by Kubernetes auth.
    SignInKubernetes,
    /// The same by OIDC auth.
    SignInOidc,
    /// Asks for the issuer, and makes an assertion for it.
    Discover,
    /// Finds out which API there is.
    Verify,
    /// Lists the members of a project.
    List,
    /// Adds a member.
    Create,
    /// Changes a member.
    Replace,
    /// Removes a member.
    Remove,
    /// Reads one member, as a create does if the member already exists.
    Look,
    /// Reads the project, as an empty list does.
    LookAtProject,
    /// Finds a project by name.
    FindProject,
    /// Finds a subject by name.
    FindSubject,
    /// Brings a user in by name.
    Invite,
    /// Asks why a member isn't listed.
    ExplainAbsence,
}

impl Drive {
    /// Whether it signs in.
    pub fn signs_in(self) -> bool {
        matches!(self, Self::SignIn | Self::SignInKubernetes | Self::SignInOidc | Self::Discover)
    }
}

/// What is to be made of the answers of some endpoints.
#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The names of the calls.
    pub calls: Vec<String>,
    /// The answer's status.
    pub status: u16,
    /// The error's name or id, one of several, or `none`; omitted: any.
    pub error: Option<OneOf>,
    /// How the message begins; left out: however.
    pub says: Option<OneOf>,
    /// What the client is to make of it.
    pub expect: String,
    /// Where that follows from.
    pub because: String,
}

/// One text or several.
#[derive(Deserialize, Debug, Clone)]
#[serde(untagged)]
pub enum OneOf {
    One(String),
    Several(Vec<String>),
}

/// What is to be made of one exchange's answer.
#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exception {
    /// `errors.json 7`, counted from 0.
    pub exchange: String,
    /// Its name, so that a recording which changes is noticed.
    pub name: String,
    /// What the same server answered to the client's further requests, in the same notation; left out: neutral answers.
    #[serde(default)]
    pub with: Vec<String>,
    /// What the client is to make of it.
    pub expect: String,
    /// Where that follows from.
    pub because: String,
}

/// Endpoints that the operator never calls, or exchanges that say nothing.
#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeftOut {
    /// `POST /api/v1/identities`; several.
    #[serde(default)]
    pub requests: Vec<String>,
    /// Single exchanges of endpoints that it does call, as `errors.json 7`.
    #[serde(default)]
    pub exchanges: Vec<String>,
    /// Why.
    pub because: String,
}

impl OneOf {
    fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(text) => is(text),
            Self::Several(texts) => texts.iter().any(|text| is(text)),
        }
    }
}

/// What is written down about an exchange.
#[derive(Debug)]
pub enum Verdict<'e> {
    /// It is judged.
    Judged(Judged<'e>),
    /// It is left out: the row's place in [`Expected::left_out`].
    LeftOut(usize),
    /// Nothing is.
    Unknown(String),
}

/// How an exchange is judged.
#[derive(Debug)]
pub struct Judged<'e> {
    /// The endpoint.
    pub call: &'e Call,
    pub pattern: Pattern,
    /// The values in the recorded path.
    pub values: BTreeMap<String, String>,
    /// What the client is to make of it.
    pub expect: &'e str,
    /// Where that follows from.
    pub because: &'e str,
    /// The further exchanges that are served besides.
    pub with: &'e [String],
    /// The row that says so: of the rules, or after them of the exceptions.
    pub row: usize,
}

impl Expected {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut expected: Self =
            serde_yaml_ng::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        expected.own = (expected.rules.len(), expected.left_out.len());
        if let (Some(other), Some(folder)) = (&expected.extends, path.parent().and_then(Path::parent)) {
            let other = Self::read(&folder.join(other).join("expected.yaml"))?;
            expected.calls.extend(other.calls);
            expected.rules.extend(other.rules);
            expected.left_out.extend(other.left_out);
        }
        expected.check().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(expected)
    }

    fn check(&self) -> Result<(), String> {
        for call in &self.calls {
            Pattern::parse(&call.request)?;
        }
        for request in self.left_out.iter().flat_map(|row| &row.requests) {
            Pattern::parse(request)?;
        }
        for name in self.rules.iter().flat_map(|rule| &rule.calls) {
            if self.calls.iter().all(|call| call.name != *name) {
                return Err(format!("a rule speaks of {name:?}, which is no call"));
            }
        }
        Ok(())
    }

    /// The endpoint of a request, with the values of its places.
    pub fn call(&self, method: &str, path: &str) -> Option<(&Call, Pattern, BTreeMap<String, String>)> {
        self.calls.iter().find_map(|call| {
            let pattern = Pattern::parse(&call.request).ok()?;
            let values = pattern.matches(method, path)?;
            Some((call, pattern, values))
        })
    }

    /// What is written down about an exchange.
    pub fn verdict(&self, file: &str, number: usize, exchange: &Exchange) -> Verdict<'_> {
        let (method, path) = (exchange.request.method.as_str(), exchange.request.path.as_str());
        let id = format!("{file} {number}");
        let row = self.left_out.iter().position(|row| row.exchanges.contains(&id));
        if let Some(row) = row.or_else(|| self.left_out(method, path)) {
            return Verdict::LeftOut(row);
        }
        let Some((call, pattern, values)) = self.call(method, path) else {
            return Verdict::Unknown(format!("{method} {path} is neither a call nor left out"));
        };
        if let Some(at) = self.exceptions.iter().position(|row| row.exchange == id) {
            let row = &self.exceptions[at];
            if row.name != exchange.name {
                return Verdict::Unknown(format!("the exception for it names {:?}", row.name));
            }
            let (expect, because, with, row) = (&row.expect, &row.because, &row.with, self.rules.len() + at);
            return Verdict::Judged(Judged { call, pattern, values, expect, because, with, row });
        }
        let (status, error, message) = (exchange.response.status, error_of(exchange), message_of(exchange));
        match self.rules.iter().position(|rule| rule.fits(&call.name, status, &error, &message)) {
            Some(row) => {
                let Rule { expect, because, .. } = &self.rules[row];
                Verdict::Judged(Judged { call, pattern, values, expect, because, with: &[], row })
            }
            None => Verdict::Unknown(format!("no rule for {} answered {status} {error}: {message}", call.name)),
        }
    }

    /// The row that leaves a request out.
    pub fn left_out(&self, method: &str, path: &str) -> Option<usize> {
        let fits = |request: &String| Pattern::parse(request).is_ok_and(|p| p.matches(method, path).is_some());
        self.left_out.iter().position(|row| row.requests.iter().any(fits))
    }

    /// How many rows there are: rules, exceptions, what is left out.
    pub fn rows(&self) -> usize {
        self.rules.len() + self.exceptions.len() + self.left_out.len()
    }

    /// Whether a row is written in this file, and not in the one that it extends.
    pub fn is_own(&self, row: usize) -> bool {
        let (rules, left_out) = self.own;
        let exceptions = self.rules.len()..self.rules.len() + self.exceptions.len();
        row < rules || exceptions.contains(&row) || (exceptions.end..exceptions.end + left_out).contains(&row)
    }

    /// How a row is named in a report.
    pub fn row(&self, row: usize) -> String {
        let exception = row.checked_sub(self.rules.len());
        let left_out = exception.and_then(|at| at.checked_sub(self.exceptions.len()));
        match (self.rules.get(row), exception.and_then(|at| self.exceptions.get(at)), left_out) {
            (Some(rule), _, _) => format!("rule {} ({} {})", row + 1, rule.calls.join(", "), rule.status),
            (_, Some(exception), _) => format!("exception for {}", exception.exchange),
            (_, _, Some(at)) => format!("leftOut row {} ({})", at + 1, self.left_out[at].title()),
            _ => "a row that isn't there".to_owned(),
        }
    }
}

impl LeftOut {
    /// What it leaves out.
    pub fn title(&self) -> String {
        self.requests.iter().chain(&self.exchanges).map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Rule {
    fn fits(&self, call: &str, status: u16, error: &str, message: &str) -> bool {
        self.calls.iter().any(|name| name == call)
            && self.status == status
            && self
                .error
                .as_ref()
                .is_none_or(|names| names.any(|name| name == error || name == "none" && error.is_empty()))
            && self.says.as_ref().is_none_or(|beginnings| beginnings.any(|beginning| message.starts_with(beginning)))
    }
}

/// The error's name or id: ZITADEL's id of the details (v1, v2), else `error`; empty where there is none.
pub fn error_of(exchange: &Exchange) -> String {
    let body = &exchange.response.body;
    if exchange.response.status < 300 {
        return String::new();
    }
    let ids = body["details"].as_array().into_iter().flatten();
    let id =
        ids.filter_map(|detail| detail["id"].as_str().or(detail["debug"]["id"].as_str())).find(|id| !id.is_empty());
    id.or(body["error"].as_str()).unwrap_or_default().to_owned()
}

/// The error's message; a text that is no JSON is one itself.
fn message_of(exchange: &Exchange) -> String {
    let body = &exchange.response.body;
    let text = body["message"].as_str().or(body["error_description"].as_str()).or(body.as_str());
    text.unwrap_or_default().to_owned()
}
