//! Bodies as the server reads and writes them: JSON made from protocol buffers (`docs/reference/zitadel.md`, JSON).

use axum::body::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::commands::Written;
use super::errors::{Refusal, malformed};

/// A request's body. Nothing at all is an empty message; unknown fields are ignored; the content type is not looked
/// at (project-members.json, 22 and 115).
pub(crate) struct Message {
    text: String,
    fields: Map<String, Value>,
}

impl Message {
    pub(crate) fn read(body: &Bytes) -> Result<Self, Refusal> {
        let text = String::from_utf8_lossy(body).into_owned();
        if text.trim().is_empty() {
            return Ok(Self { text, fields: Map::new() });
        }
        match serde_json::from_str(&text) {
            Ok(Value::Object(fields)) => Ok(Self { text, fields }),
            Ok(_) => Err(malformed("proto:\u{a0}syntax error (line 1:1): unexpected token".to_owned())),
            Err(error) if error.is_eof() => Err(malformed("unexpected EOF".to_owned())),
            Err(error) => Err(malformed(format!("invalid character (line {}:{})", error.line(), error.column()))),
        }
    }

    /// A field under either of its names, `userId` and `user_id`.
    fn field(&self, camel: &str, snake: &str) -> Option<&Value> {
        self.fields.get(camel).or_else(|| self.fields.get(snake)).filter(|value| !value.is_null())
    }

    /// A string; empty if it is not there.
    pub(crate) fn string(&self, camel: &str, snake: &str) -> Result<String, Refusal> {
        match self.field(camel, snake) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(self.unexpected(camel, other)),
        }
    }

    /// A list of strings; empty if it is not there.
    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let list = match self.field(name, name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(self.unexpected(name, other)),
        };
        let item = |item: &Value| match item {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.unexpected(name, other)),
        };
        list.iter().map(item).collect()
    }

    /// An object; none if it is not there.
    pub(crate) fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, Refusal> {
        match self.field(name, name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => Err(self.unexpected(name, other)),
        }
    }

    /// A list; empty if it is not there.
    pub(crate) fn list(&self, name: &str) -> Result<&[Value], Refusal> {
        match self.field(name, name) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(self.unexpected(name, other)),
        }
    }

    /// A number that is not negative, given as one or as a string; 0 if it is not there.
    pub(crate) fn number(&self, fields: &Map<String, Value>, name: &str, kind: &str) -> Result<usize, Refusal> {
        let given = match fields.get(name) {
            None | Some(Value::Null) => return Ok(0),
            Some(given) => given,
        };
        let number = match given {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
            let at = self.column_of(name);
            malformed(format!("proto:\u{a0}(line 1:{at}): invalid value for {kind} field {name}: {given}"))
        })
    }

    fn unexpected(&self, name: &str, value: &Value) -> Refusal {
        let at = self.column_of(name);
        malformed(format!("proto:\u{a0}syntax error (line 1:{at}): unexpected token {value}"))
    }

    /// Where the value of a field begins in the first line, the first column being 1.
    fn column_of(&self, name: &str) -> usize {
        let key = format!("\"{name}\"");
        let Some(after) = self.text.find(&key).map(|at| at + key.len()) else {
            return 1;
        };
        let blanks = self.text[after..].chars().take_while(|c| c.is_whitespace() || *c == ':').count();
        after + blanks + 1
    }
}

/// A time as Go writes it in JSON: three or six digits after the point.
pub(crate) fn written(at: Timestamp) -> String {
    if at.subsec_microsecond() == 0 { format!("{at:.3}") } else { format!("{at:.6}") }
}

/// The details of a write: its sequence, its time under this name, the organisation.
pub(crate) fn write_details(write: &Written, date: &str) -> Value {
    json!({"details": {"sequence": write.sequence.to_string(), date: written(write.at), "resourceOwner": write.org}})
}

/// The details of a list: how many there are in all, and how far the projection was.
pub(crate) fn list_details(total: usize, seen: Timestamp) -> Value {
    let total = (total > 0).then(|| total.to_string());
    without_zeroes(json!({"totalResult": total, "viewTimestamp": written(seen)}))
}

/// That an id has 1 to 200 characters; `field` as the server calls it.
pub(crate) fn bounded(field: &str, id: &str) -> Result<(), Refusal> {
    if (1..=200).contains(&id.chars().count()) {
        return Ok(());
    }
    Err(malformed(format!("invalid {field}: value length must be between 1 and 200 runes, inclusive")))
}

/// The details of a thing.
pub(crate) fn object_details(sequence: u64, created: Timestamp, changed: Timestamp, org: &str) -> Value {
    json!({
        "sequence": sequence.to_string(),
        "creationDate": written(created),
        "changeDate": written(changed),
        "resourceOwner": org,
    })
}

/// The same object without its empty fields: zero values are left out.
pub(crate) fn without_zeroes(mut object: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.retain(|_, value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            _ => true,
        });
    }
    object
}
