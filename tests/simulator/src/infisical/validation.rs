//! Validates a request's body and query before anything else, with the messages of the server's validator (errors.json,
//! temporary-grants.json, pagination.json).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::time;

/// A role as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RoleInput {
    pub(crate) slug: String,
    pub(crate) temporary: Option<TemporaryInput>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TemporaryInput {
    pub(crate) range: String,
    pub(crate) start: Timestamp,
    pub(crate) milliseconds: f64,
}

/// Why a body is not accepted.
#[derive(Debug, PartialEq)]
pub(crate) enum Invalid {
    Issues(Vec<Value>),
    /// The server's validator fails itself: 500.
    Crash,
    /// A range that is empty, which the package that reads ranges throws on: 500, and since 2025 400.
    EmptyRange,
}

/// The roles of a PATCH of an identity or a group: at least one.
pub(crate) fn patch_roles(body: &Value) -> Result<Vec<RoleInput>, Invalid> {
    let roles = roles(object(body)?.get("roles"))?;
    if roles.is_empty() { Err(Invalid::Issues(vec![too_few("roles")])) } else { Ok(roles) }
}

/// The roles of a PATCH of a user: at least one, and one of them permanent (user-memberships.json, 54 and 55).
pub(crate) fn patch_user_roles(body: &Value) -> Result<Vec<RoleInput>, Invalid> {
    let roles = roles(object(body)?.get("roles"))?;
    let mut issues = Vec::new();
    if roles.is_empty() {
        issues.push(too_few("roles"));
    }
    if roles.iter().all(|role| role.temporary.is_some()) {
        let message = "At least one long lived role is required";
        issues.push(json!({"code": "custom", "message": message, "path": ["roles"]}));
    }
    if issues.is_empty() { Ok(roles) } else { Err(Invalid::Issues(issues)) }
}

/// The users that a request invites or removes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Names {
    emails: Vec<String>,
    usernames: Vec<String>,
    pub(crate) role_slugs: Option<Vec<String>>,
}

impl Names {
    /// All of them, each once.
    pub(crate) fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for name in self.emails.iter().chain(&self.usernames) {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }
}

/// The names of a request. The current server requires lower case.
pub(crate) fn names(body: &Value, current: bool) -> Result<Names, Invalid> {
    let fields = object(body)?;
    let mut issues = Vec::new();
    let emails = texts(fields, "emails", &mut issues).unwrap_or_default();
    for at in (0..emails.len()).filter(|at| !is_email(&emails[*at])) {
        issues.push(json!({
            "validation": "email", "code": "invalid_string", "message": "Invalid email", "path": ["emails", at],
        }));
    }
    let usernames = texts(fields, "usernames", &mut issues).unwrap_or_default();
    let role_slugs = texts(fields, "roleSlugs", &mut issues);
    if current {
        for (names, field, what) in [(&emails, "emails", "Email"), (&usernames, "usernames", "Username")] {
            if names.iter().any(|name| *name != name.to_lowercase()) {
                let message = format!("{what} must be lowercase");
                issues.push(json!({"code": "custom", "message": message, "path": [field]}));
            }
        }
        if role_slugs.as_ref().is_some_and(Vec::is_empty) {
            issues.push(too_few("roleSlugs"));
        }
    }
    if issues.is_empty() { Ok(Names { emails, usernames, role_slugs }) } else { Err(Invalid::Issues(issues)) }
}

/// Whether a text looks like an e-mail address.
pub(crate) fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(who, host)| {
        !who.is_empty() && host.contains('.') && !host.starts_with('.') && !host.ends_with('.') && !host.contains('@')
    })
}

fn texts(fields: &Map<String, Value>, name: &str, issues: &mut Vec<Value>) -> Option<Vec<String>> {
    let items = match fields.get(name)? {
        Value::Array(items) => items,
        other => {
            issues.push(wrong_type("array", Some(other), json!([name])));
            return None;
        }
    };
    let mut texts = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match item {
            Value::String(text) => texts.push(text.clone()),
            other => issues.push(wrong_type("string", Some(other), json!([name, at]))),
        }
    }
    Some(texts)
}

fn too_few(field: &str) -> Value {
    json!({
        "code": "too_small", "minimum": 1, "type": "array", "inclusive": true, "exact": false,
        "message": "Array must contain at least 1 element(s)", "path": [field],
    })
}

/// An id that must be a UUID on the newer paths.
pub(crate) fn not_a_uuid(field: &str) -> Value {
    json!({"validation": "uuid", "code": "invalid_string", "message": "Invalid uuid", "path": [field]})
}

/// The roles of a POST: `roles` wins over `role`, which is `no-access` if it is not there. `roles` may be empty.
pub(crate) fn post_roles(body: &Value) -> Result<Vec<RoleInput>, Invalid> {
    let fields = object(body)?;
    let role = match fields.get("role") {
        None => "no-access".to_owned(),
        Some(Value::String(role)) => role.clone(),
        Some(other) => {
            return Err(Invalid::Issues(vec![wrong_type("string", Some(other), json!(["role"]))]));
        }
    };
    match fields.get("roles") {
        None => Ok(vec![RoleInput { slug: role, temporary: None }]),
        given => roles(given),
    }
}

/// The fields of a login or a renewal, which must be strings.
pub(crate) fn strings<const N: usize>(body: &Value, names: [&str; N]) -> Result<[String; N], Invalid> {
    let fields = object(body)?;
    let mut issues = Vec::new();
    let values = names.map(|name| match fields.get(name) {
        Some(Value::String(value)) => value.clone(),
        other => {
            issues.push(wrong_type("string", other, json!([name])));
            String::new()
        }
    });
    if issues.is_empty() { Ok(values) } else { Err(Invalid::Issues(issues)) }
}

fn object(body: &Value) -> Result<&Map<String, Value>, Invalid> {
    body.as_object().ok_or_else(|| Invalid::Issues(vec![wrong_type("object", Some(body), json!([]))]))
}

fn roles(given: Option<&Value>) -> Result<Vec<RoleInput>, Invalid> {
    let Some(Value::Array(items)) = given else {
        return Err(Invalid::Issues(vec![wrong_type("array", given, json!(["roles"]))]));
    };
    let mut roles = Vec::new();
    let mut issues = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match role(at, item) {
            Ok(role) => roles.push(role),
            Err(Invalid::Issues(of_it)) => issues.extend(of_it),
            Err(failed @ (Invalid::Crash | Invalid::EmptyRange)) => return Err(failed),
        }
    }
    if issues.is_empty() { Ok(roles) } else { Err(Invalid::Issues(issues)) }
}

/// One role: a union of the permanent and the temporary form. The first that fits is taken, and unknown fields are
/// dropped, so temporary fields without `isTemporary: true` make a permanent role.
fn role(at: usize, item: &Value) -> Result<RoleInput, Invalid> {
    let permanent = match permanent(at, item) {
        Ok(role) => return Ok(role),
        Err(issues) => issues,
    };
    match temporary(at, item) {
        Ok(role) => Ok(role),
        // Right in form and wrong in content: the validator then reports only on this form.
        Err(Broken::Content(issues)) => Err(Invalid::Issues(issues)),
        Err(Broken::Crash) => Err(Invalid::Crash),
        Err(Broken::EmptyRange) => Err(Invalid::EmptyRange),
        Err(Broken::Form(temporary)) => Err(Invalid::Issues(vec![json!({
            "code": "invalid_union",
            "unionErrors": [
                {"issues": permanent, "name": "ZodError"},
                {"issues": temporary, "name": "ZodError"},
            ],
            "path": ["roles", at],
            "message": "Invalid input",
        })])),
    }
}

fn permanent(at: usize, item: &Value) -> Result<RoleInput, Vec<Value>> {
    let Some(fields) = item.as_object() else {
        return Err(vec![wrong_type("object", Some(item), json!(["roles", at]))]);
    };
    let mut issues = Vec::new();
    let slug = string(fields, at, "role", &mut issues);
    match fields.get("isTemporary") {
        None | Some(Value::Bool(false)) => {}
        Some(other) => issues.push(wrong_literal(false, Some(other), at)),
    }
    if issues.is_empty() { Ok(RoleInput { slug, temporary: None }) } else { Err(issues) }
}

enum Broken {
    Form(Vec<Value>),
    Content(Vec<Value>),
    Crash,
    EmptyRange,
}

fn temporary(at: usize, item: &Value) -> Result<RoleInput, Broken> {
    let Some(fields) = item.as_object() else {
        return Err(Broken::Form(vec![wrong_type("object", Some(item), json!(["roles", at]))]));
    };
    let mut issues = Vec::new();
    let slug = string(fields, at, "role", &mut issues);
    if fields.get("isTemporary") != Some(&Value::Bool(true)) {
        issues.push(wrong_literal(true, fields.get("isTemporary"), at));
    }
    match fields.get("temporaryMode") {
        Some(Value::String(mode)) if mode == "relative" => {}
        Some(Value::String(mode)) => issues.push(json!({
            "received": mode, "code": "invalid_enum_value", "options": ["relative"],
            "path": ["roles", at, "temporaryMode"],
            "message": format!("Invalid enum value. Expected 'relative', received '{mode}'"),
        })),
        other => issues.push(wrong_type("'relative'", other, json!(["roles", at, "temporaryMode"]))),
    }
    let range = string(fields, at, "temporaryRange", &mut issues);
    let start = string(fields, at, "temporaryAccessStartTime", &mut issues);
    if !issues.is_empty() {
        return Err(Broken::Form(issues));
    }
    content(at, slug, range, &start)
}

fn content(at: usize, slug: String, range: String, start: &str) -> Result<RoleInput, Broken> {
    if range.is_empty() {
        return Err(Broken::EmptyRange);
    }
    let mut issues = Vec::new();
    let milliseconds = time::range_milliseconds(&range).filter(|milliseconds| *milliseconds > 0.0);
    if milliseconds.is_none() {
        issues.push(json!({
            "code": "custom", "message": "Temporary range must be a positive number",
            "path": ["roles", at, "temporaryRange"],
        }));
    }
    if !time::is_datetime(start) {
        issues.push(json!({
            "code": "invalid_string", "validation": "datetime", "message": "Invalid datetime",
            "path": ["roles", at, "temporaryAccessStartTime"],
        }));
    }
    let (Some(milliseconds), true) = (milliseconds, issues.is_empty()) else {
        return Err(Broken::Content(issues));
    };
    let start = time::start(start).ok_or(Broken::Crash)?;
    Ok(RoleInput { slug, temporary: Some(TemporaryInput { range, start, milliseconds }) })
}

fn string(fields: &Map<String, Value>, at: usize, name: &str, issues: &mut Vec<Value>) -> String {
    match fields.get(name) {
        Some(Value::String(text)) => text.clone(),
        other => {
            issues.push(wrong_type("string", other, json!(["roles", at, name])));
            String::new()
        }
    }
}

fn wrong_literal(expected: bool, received: Option<&Value>, at: usize) -> Value {
    let mut issue = json!({
        "code": "invalid_literal", "expected": expected, "path": ["roles", at, "isTemporary"],
        "message": format!("Invalid literal value, expected {expected}"),
    });
    if let Some(received) = received {
        issue["received"] = received.clone();
    }
    issue
}

pub(crate) fn wrong_type(expected: &str, received: Option<&Value>, path: Value) -> Value {
    let received = match received {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    };
    let message = match received {
        "undefined" => "Required".to_owned(),
        received => format!("Expected {expected}, received {received}"),
    };
    json!({"code": "invalid_type", "expected": expected, "received": received, "path": path, "message": message})
}
