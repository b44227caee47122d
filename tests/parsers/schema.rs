//! Values that a CRD's schema admits, made from the schema itself: its types, enums, bounds, patterns, and the patterns of
//! its CEL rules (`self.matches('…')`).
//!
//! Rules between fields ("exactly one of") are not checked: a value may have too many fields, and its reader has to
//! read that as well. The API server itself judges a sample in `tests/cluster/schema/readable.rs`.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use membership_operator::api::crds;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use regex::Regex;
use serde_json::{Map, Value, json};

static CRDS: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(crds::all()).unwrap());
static PATTERNS: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

/// The schema of a part of a kind's objects, `spec` or `status`.
pub fn of(kind: &str, part: &str) -> &'static Value {
    let crd = CRDS.as_array().unwrap().iter().find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap();
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
}

/// Any value that a schema admits.
pub fn value(schema: &Value) -> BoxedStrategy<Value> {
    let values = match schema["type"].as_str().unwrap() {
        "object" if schema["additionalProperties"].is_object() => {
            let values = btree_map("[a-z]{1,8}", value(&schema["additionalProperties"]), 0..3);
            values.prop_map(|fields| json!(fields)).boxed()
        }
        "object" => object(schema),
        "array" => {
            let (least, most) = (bound(schema, "minItems").unwrap_or(0), bound(schema, "maxItems").unwrap());
            vec(value(&schema["items"]), least..=most.min(least + 2)).prop_map(Value::Array).boxed()
        }
        "string" => text(schema).prop_map(Value::String).boxed(),
        "integer" => {
            let least = limit(schema, "minimum").unwrap();
            let most = limit(schema, "maximum").unwrap_or(i64::MAX);
            prop_oneof![Just(least), Just(most), least..=most].prop_map(|number| json!(number)).boxed()
        }
        "boolean" => any::<bool>().prop_map(Value::Bool).boxed(),
        other => panic!("values of type {other} are not made yet"),
    };
    match schema["nullable"] == true {
        true => prop_oneof![9 => values, 1 => Just(Value::Null)].boxed(),
        false => values,
    }
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    let required = |name: &String| schema["required"].as_array().into_iter().flatten().any(|r| r == name.as_str());
    let field = |(name, schema): (&String, &Value)| {
        let value = value(schema);
        let there =
            if required(name) { value.prop_map(Some).boxed() } else { prop::option::weighted(0.6, value).boxed() };
        (Just(name.clone()), there)
    };
    let fields: Vec<_> = schema["properties"].as_object().into_iter().flatten().map(field).collect();
    let there = |(name, value): (String, Option<Value>)| Some((name, value?));
    fields.prop_map(move |fields| Value::Object(fields.into_iter().filter_map(there).collect::<Map<_, _>>())).boxed()
}

fn text(schema: &Value) -> BoxedStrategy<String> {
    if let Some(values) = schema["enum"].as_array() {
        return select(values.iter().map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>()).boxed();
    }
    let longest = bound(schema, "maxLength").unwrap();
    let judge = schema.clone();
    let made = match patterns(schema).first() {
        Some(pattern) => string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap().boxed(),
        None => "(.|\n){0,40}".boxed(),
    };
    // `*` makes 32 repetitions at most: some texts are as long as they may be.
    let lengthened = move |(text, long): (String, bool)| {
        let end = text.chars().next_back().filter(|_| long).into_iter();
        let length = longest.min(4096).saturating_sub(text.chars().count());
        let longer = text.chars().chain(end.flat_map(|end| std::iter::repeat_n(end, length))).collect::<String>();
        if admits(&judge, &json!(longer)).is_ok() { longer } else { text }
    };
    let judge = schema.clone();
    (made, prop::bool::weighted(0.2))
        .prop_map(lengthened)
        .prop_filter("what the schema admits", move |text| admits(&judge, &json!(text)).is_ok())
        .boxed()
}

/// The patterns that a text has to match: the schema's own, and those of its rules.
fn patterns(schema: &Value) -> Vec<String> {
    let rules = rules(schema).filter_map(|rule| matched(rule).filter(|_| !rule.contains("!self.matches(")));
    schema["pattern"].as_str().map(str::to_owned).into_iter().chain(rules).collect()
}

fn rules(schema: &Value) -> impl Iterator<Item = &str> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten().filter_map(|rule| rule["rule"].as_str())
}

/// The pattern of the first `self.matches(…)` in a rule.
fn matched(rule: &str) -> Option<String> {
    let (_, argument) = rule.split_once("self.matches(")?;
    let argument = argument.trim_start_matches('r');
    let (pattern, _) = argument.strip_prefix('\'')?.split_once("')")?;
    Some(pattern.to_owned())
}

/// Whether a schema admits a value, and where it doesn't. A null is a field that isn't there, as to the API server.
pub fn admits(schema: &Value, value: &Value) -> Result<(), String> {
    let at = |place: &str, found: Result<(), String>| found.map_err(|error| format!("{place}: {error}"));
    let within = |is: bool, what: &str| if is { Ok(()) } else { Err(format!("{what}: {value}")) };
    let count = |count: usize, least: &str, most: &str| {
        bound(schema, least).is_none_or(|least| count >= least) && bound(schema, most).is_none_or(|most| count <= most)
    };
    match (schema["type"].as_str().unwrap(), value) {
        ("object", Value::Object(fields)) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                within(fields.contains_key(name.as_str().unwrap()), &format!("{name} is required"))?;
            }
            for (name, field) in fields {
                let schema = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                at(name, schema.map_or_else(|| Err("no such field".to_owned()), |schema| admits(schema, field)))?;
            }
            Ok(())
        }
        ("array", Value::Array(items)) => {
            within(count(items.len(), "minItems", "maxItems"), "so many items")?;
            items.iter().enumerate().try_for_each(|(n, item)| at(&n.to_string(), admits(&schema["items"], item)))
        }
        ("string", Value::String(text)) => {
            let values = schema["enum"].as_array();
            within(values.is_none_or(|values| values.contains(value)), "not of the enum")?;
            within(count(text.chars().count(), "minLength", "maxLength"), "so many characters")?;
            within(schema["format"] != "date-time" || is_in_the_calendar(text), "not in the calendar")?;
            let fits = |pattern: &String| matches(pattern, text);
            let forbidden = |rule: &&str| rule.starts_with("!self.matches(") && !rule.contains("&&");
            let refused = |rule: &str| rule.split_once("self != '")?.1.split_once('\'').map(|(word, _)| word == text);
            within(!rules(schema).any(|rule| refused(rule) == Some(true)), "a refused word")?;
            within(patterns(schema).iter().all(fits), "not of the pattern")?;
            within(!rules(schema).filter(forbidden).filter_map(matched).any(|p| fits(&p)), "of a forbidden pattern")
        }
        ("integer", Value::Number(number)) => {
            let number = number.as_i64().ok_or("not an integer")?;
            let (least, most) = (limit(schema, "minimum"), limit(schema, "maximum"));
            within(least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most), "out of bounds")
        }
        ("boolean", Value::Bool(_)) => Ok(()),
        (_, Value::Null) if schema["nullable"] == true => Ok(()),
        (expected, _) => Err(format!("not of type {expected}: {value}")),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let mut known = PATTERNS.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap()).is_match(text)
}

/// What the API server's check of `date-time` adds to the patterns here.
fn is_in_the_calendar(text: &str) -> bool {
    let number = |range| text.get(range).and_then(|digits: &str| digits.parse::<u32>().ok());
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    day <= match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// A limit of numbers, which schemas have as floats.
fn limit(schema: &Value, name: &str) -> Option<i64> {
    schema[name].as_f64().map(|limit| format!("{limit:.0}").parse().unwrap())
}

fn bound(schema: &Value, name: &str) -> Option<usize> {
    schema[name].as_u64().map(|bound| usize::try_from(bound).unwrap())
}
