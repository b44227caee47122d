//! Whether an answer is the recorded one.
//!
//! Everything must be equal, but for what a server makes itself: ids, times and sequences. A recorded one stands for
//! the simulator's own from its first sight on, and must go on doing so: an id for one id only, in both directions; a
//! later sequence of a project for a later one; a time for one time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// What the recorded values that a server makes stand for.
#[derive(Clone, Default)]
pub struct Bindings {
    ids: BTreeMap<String, String>,
    sequences: BTreeMap<(String, u64), u64>,
    times: BTreeMap<(String, String), String>,
}

/// What is known about the exchange that is compared.
pub struct Context<'a> {
    /// The aggregate that sequences belong to.
    pub aggregate: &'a str,
    /// The recording is cut: so many rows came.
    pub cut: Option<usize>,
    /// The recording has only some of the fields.
    pub shortened: bool,
    /// The texts of errors are localised and not compared.
    pub any_text: bool,
    /// The rows were asked for in an order.
    pub ordered: bool,
}

type Differences = Vec<String>;

/// Compares, and binds where all is well; otherwise what differs.
pub fn compare(context: &Context, bindings: &mut Bindings, expected: &Value, got: &Value) -> Result<(), Differences> {
    let mut tried = bindings.clone();
    value(context, &mut tried, &Place::default(), expected, got)?;
    *bindings = tried;
    Ok(())
}

/// Where in a body something stands.
#[derive(Clone, Default)]
struct Place {
    path: String,
    /// The id of the object that it belongs to.
    owner: String,
}

impl Place {
    fn field(&self, name: &str) -> Self {
        Self { path: format!("{}.{name}", self.path), owner: self.owner.clone() }
    }

    fn item(&self, at: usize) -> Self {
        Self { path: format!("{}[{at}]", self.path), owner: self.owner.clone() }
    }

    fn differs(&self, expected: &Value, got: &Value) -> Result<(), Differences> {
        Err(vec![format!("{}: expected {expected}, got {got}", self.path)])
    }
}

fn value(
    context: &Context,
    bindings: &mut Bindings,
    place: &Place,
    expected: &Value,
    got: &Value,
) -> Result<(), Differences> {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => object(context, bindings, place, expected, got),
        (Value::Array(expected), Value::Array(got)) => array(context, bindings, place, expected, got),
        // A list of which the recorder kept nothing but a note: "… 23 rows of every resource".
        (Value::String(_), Value::Array(got)) if context.cut == Some(got.len()) => Ok(()),
        (expected, got) if expected == got => Ok(()),
        (expected, got) => place.differs(expected, got),
    }
}

fn object(
    context: &Context,
    bindings: &mut Bindings,
    place: &Place,
    expected: &Map<String, Value>,
    got: &Map<String, Value>,
) -> Result<(), Differences> {
    let mut place = place.clone();
    if let Some(Value::String(id)) = expected.get("id") {
        place.owner.clone_from(id);
    }
    let mut differences = Vec::new();
    for (name, expected) in expected {
        let place = place.field(name);
        match got.get(name) {
            None => differences.push(format!("{}: expected {expected}, got nothing", place.path)),
            Some(got) => {
                differences.extend(field(context, bindings, &place, name, expected, got).err().unwrap_or_default());
            }
        }
    }
    let unexpected = got.iter().filter(|(name, _)| !expected.contains_key(*name) && !context.shortened);
    for (name, got) in unexpected {
        differences.push(format!("{}.{name}: expected nothing, got {got}", place.path));
    }
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

fn field(
    context: &Context,
    bindings: &mut Bindings,
    place: &Place,
    name: &str,
    expected: &Value,
    got: &Value,
) -> Result<(), Differences> {
    let (Value::String(e), Value::String(g)) = (expected, got) else {
        return value(context, bindings, place, expected, got);
    };
    let same = match name {
        "id"
        | "identityId"
        | "userId"
        | "groupId"
        | "projectId"
        | "grantId"
        | "customRoleId"
        | "kmsSecretManagerKeyId"
        | "projectMembershipId" => bindings.same_id(e, g),
        "sequence" => bindings.same_sequence(context.aggregate, e, g),
        "createdAt" | "updatedAt" | "creationDate" | "changeDate" | "deletionDate" => {
            is_like_time(e, g) && bindings.same_time(&place.owner, e, g)
        }
        "viewTimestamp" | "timestamp" => g.parse::<Timestamp>().is_ok(),
        // The server's own name for the request.
        "reqId" => g.starts_with("req-"),
        // What was redacted.
        "accessToken" | "access_token" | "id_token" | "publicKey" => !g.is_empty(),
        "message" => context.any_text || bindings.in_text(e) == *g,
        _ => e == g,
    };
    if same { Ok(()) } else { place.differs(expected, got) }
}

fn array(
    context: &Context,
    bindings: &mut Bindings,
    place: &Place,
    expected: &[Value],
    got: &[Value],
) -> Result<(), Differences> {
    // A recording is cut at the outermost list.
    let outermost = place.path.matches('.').count() == 1 && !place.path.contains('[');
    let rows = context.cut.filter(|_| outermost);
    // Where the recorder cut a list it may have left a note in it: "… 99 more rows".
    let expected = match expected.split_last() {
        Some((Value::String(_), rest)) if rows.is_some() => rest,
        _ => expected,
    };
    if got.len() != rows.unwrap_or(expected.len()) {
        return Err(vec![format!(
            "{}: expected {} items, got {}: {}",
            place.path,
            rows.unwrap_or(expected.len()),
            got.len(),
            Value::from(got)
        )]);
    }
    if context.ordered || !is_unordered(&place.path) {
        let mut differences = Vec::new();
        for (at, (expected, got)) in expected.iter().zip(got).enumerate() {
            differences.extend(value(context, bindings, &place.item(at), expected, got).err().unwrap_or_default());
        }
        return if differences.is_empty() { Ok(()) } else { Err(differences) };
    }
    let mut left: Vec<&Value> = got.iter().collect();
    for (at, expected) in expected.iter().enumerate() {
        let place = place.item(at);
        let found = left.iter().position(|got| {
            let mut tried = bindings.clone();
            let fits = value(context, &mut tried, &place, expected, got).is_ok();
            if fits {
                *bindings = tried;
            }
            fits
        });
        match found {
            Some(found) => {
                left.remove(found);
            }
            None => {
                return Err(vec![format!(
                    "{}: expected {expected}, got none like it among {}",
                    place.path,
                    left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                )]);
            }
        }
    }
    Ok(())
}

/// Rows that come out of a database without ORDER BY: the recordings themselves show them now in this order, now in
/// that one. What a PATCH answers is in the order of the request.
fn is_unordered(path: &str) -> bool {
    let lists = ["", ".result", ".identityMemberships", ".memberships", ".groupMemberships", ".workspaces"];
    let of_roles = [".identityMembership", ".membership", ".groupMembership"];
    lists.contains(&path) || path.strip_suffix(".roles").is_some_and(|of| of_roles.contains(&of) || of.ends_with(']'))
}

impl Bindings {
    /// Notes that an id of the world stands for itself.
    pub fn know(&mut self, id: &str) {
        self.ids.insert(id.to_owned(), id.to_owned());
    }

    /// Records what a recorded id stands for, replacing an earlier entry.
    pub fn bind(&mut self, recorded: &str, got: &str) {
        self.ids.insert(recorded.to_owned(), got.to_owned());
    }

    /// A recorded path with the ids that its own stand for.
    pub fn translated(&self, path: &str) -> String {
        let segments = path.split('/').map(|segment| self.ids.get(segment).map_or(segment, String::as_str));
        segments.collect::<Vec<_>>().join("/")
    }

    /// A recorded text with the ids that its own stand for.
    fn in_text(&self, text: &str) -> String {
        let others = self.ids.iter().filter(|(recorded, bound)| recorded != bound);
        others.fold(text.to_owned(), |text, (recorded, bound)| text.replace(recorded.as_str(), bound))
    }

    fn same_id(&mut self, recorded: &str, got: &str) -> bool {
        match self.ids.get(recorded) {
            Some(bound) => bound == got,
            None if self.ids.values().any(|bound| bound == got) => false,
            None => {
                self.ids.insert(recorded.to_owned(), got.to_owned());
                true
            }
        }
    }

    fn same_sequence(&mut self, aggregate: &str, recorded: &str, got: &str) -> bool {
        let (Ok(recorded), Ok(got)) = (recorded.parse::<u64>(), got.parse::<u64>()) else {
            return false;
        };
        let of_it = self.sequences.iter().filter(|((of, _), _)| of == aggregate);
        let in_step = of_it.clone().all(|((_, r), g)| r.cmp(&recorded) == g.cmp(&got));
        if in_step {
            self.sequences.insert((aggregate.to_owned(), recorded), got);
        }
        in_step
    }

    fn same_time(&mut self, owner: &str, recorded: &str, got: &str) -> bool {
        let key = (owner.to_owned(), recorded.to_owned());
        self.times.entry(key).or_insert_with(|| got.to_owned()) == got
    }
}

/// Both are times of the same form: with three digits after the point, or with more than three in both (a time of
/// ZITADEL's that happens to end in three zeros has three).
fn is_like_time(expected: &str, got: &str) -> bool {
    let digits =
        |time: &str| time.split_once('.').map(|(_, rest)| rest.trim_end_matches('Z').len()).unwrap_or_default();
    let form = |digits: usize| matches!(digits, 3 | 6 | 9);
    got.parse::<Timestamp>().is_ok() && got.ends_with('Z') && form(digits(expected)) && form(digits(got))
}
