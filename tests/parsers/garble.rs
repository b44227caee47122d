//! Malformed responses, derived from valid ones: truncated, duplicated, corrupted, with other types, nested too deep.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// What is done to an answer.
#[derive(Clone, Debug)]
pub enum Garble {
    /// Cut off here.
    Cut(Index),
    /// A part is left out.
    Without(Index, Index),
    /// A part comes twice.
    Twice(Index, Index),
    /// A byte is another one, also one that is no text.
    Byte(Index, u8),
    /// These bytes stand in between.
    Between(Index, Vec<u8>),
    /// A value is another one.
    Value(Index, Value),
    /// A value of an object is gone.
    Gone(Index),
    /// A field stands twice, the second time with another value.
    Again(Index, Value),
    /// A value stands under so many brackets.
    Deep(Index, u16),
}

/// Any of them.
pub fn garble() -> impl Strategy<Value = Garble> {
    let at = any::<Index>;
    prop_oneof![
        2 => at().prop_map(Garble::Cut),
        2 => (at(), at()).prop_map(|(from, to)| Garble::Without(from, to)),
        2 => (at(), at()).prop_map(|(from, to)| Garble::Twice(from, to)),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Garble::Byte(at, byte)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Garble::Between(at, bytes)),
        6 => (at(), strange()).prop_map(|(at, value)| Garble::Value(at, value)),
        3 => at().prop_map(Garble::Gone),
        2 => (at(), strange()).prop_map(|(at, value)| Garble::Again(at, value)),
        1 => (at(), 1_u16..120).prop_map(|(at, depth)| Garble::Deep(at, depth)),
    ]
}

/// Values of other types, sizes and characters.
fn strange() -> impl Strategy<Value = Value> {
    let text = "(\u{1b}\\[31m|\u{202e}|\u{0}|eyJhbGciOiJIUzI1NiJ9\\.e30\\.x|[a-z0-9 -]){0,80}";
    prop_oneof![
        select(vec![json!(null), json!(true), json!(0), json!(-1), json!(""), json!([]), json!({}), json!([[]])]),
        select(vec![json!(u64::MAX), json!(i64::MIN), json!(1e308), json!(0.1), json!("18446744073709551616")]),
        select(vec![json!("-1"), json!("+1"), json!("9999-99-99T99:99:99Z"), json!("-009999-01-01T00:00:00Z")]),
        text.prop_map(|text| json!(text)),
        (1_usize..20_000).prop_map(|length| json!("x".repeat(length))),
    ]
}

/// The answer after all this was done to it.
pub fn garbled(body: &Value, garbles: &[Garble]) -> Vec<u8> {
    let mut bytes = body.to_string().into_bytes();
    for garble in garbles {
        bytes = once(bytes, garble);
    }
    bytes
}

fn once(mut bytes: Vec<u8>, garble: &Garble) -> Vec<u8> {
    if bytes.is_empty() {
        return bytes;
    }
    let length = bytes.len();
    let part = |from: &Index, to: &Index| {
        let (from, to) = (from.index(length), to.index(length));
        from.min(to)..from.max(to)
    };
    match garble {
        Garble::Cut(at) => bytes.truncate(at.index(length)),
        Garble::Without(from, to) => drop(bytes.drain(part(from, to))),
        Garble::Twice(from, to) => {
            let part = part(from, to);
            let twice = bytes[part.clone()].to_vec();
            bytes.splice(part.start..part.start, twice);
        }
        Garble::Byte(at, byte) => bytes[at.index(length)] = *byte,
        Garble::Between(at, more) => {
            let at = at.index(length);
            bytes.splice(at..at, more.iter().copied());
        }
        Garble::Value(at, value) => return changed(bytes, at, |there| *there = value.clone()),
        Garble::Gone(at) => {
            return changed(bytes, at, |there| match there {
                Value::Object(fields) => drop(fields.keys().next().cloned().and_then(|key| fields.remove(&key))),
                Value::Array(rows) => drop(rows.pop()),
                other => *other = Value::Null,
            });
        }
        Garble::Again(at, value) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let fields: Vec<_> = text.match_indices("\":").map(|(end, _)| end).collect();
            if fields.is_empty() {
                return bytes;
            }
            let end = fields[at.index(fields.len())];
            let begin = text[..end].rfind('"').unwrap_or(end);
            let again = format!("{}:{value},", &text[begin..=end]);
            return [&text.as_bytes()[..begin], again.as_bytes(), &text.as_bytes()[begin..]].concat();
        }
        Garble::Deep(at, depth) => {
            let marked = changed(bytes, at, |there| *there = json!("<deep>"));
            let deep = "[".repeat((*depth).into()) + &"]".repeat((*depth).into());
            return String::from_utf8_lossy(&marked).replace("\"<deep>\"", &deep).into_bytes();
        }
    }
    bytes
}

/// The same with one value of it changed, where it still is JSON.
fn changed(bytes: Vec<u8>, at: &Index, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let Ok(mut body) = serde_json::from_slice::<Value>(&bytes) else {
        return bytes;
    };
    let mut paths = Vec::new();
    collect(&body, String::new(), &mut paths);
    let path = &paths[at.index(paths.len())];
    if let Some(there) = body.pointer_mut(path) {
        change(there);
    }
    body.to_string().into_bytes()
}

fn collect(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect(field, format!("{path}/{key}"), paths);
            }
        }
        Value::Array(rows) => {
            for (index, row) in rows.iter().enumerate() {
                collect(row, format!("{path}/{index}"), paths);
            }
        }
        _ => {}
    }
    paths.push(path);
}

/// Fails unless a message may stand in a status: bounded, visible, without the token.
pub fn assert_presentable(message: &str, token: &str) {
    assert!(message.chars().count() <= 1024, "{} characters: {message}", message.chars().count());
    assert!(!message.chars().any(char::is_control), "control characters: {message:?}");
    assert!(!message.contains(token) && !message.contains("eyJhbGci"), "a token: {message}");
}
