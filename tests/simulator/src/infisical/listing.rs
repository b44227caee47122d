//! The query of the list of memberships (pagination.json).

use serde_json::{Value, json};

/// What of the list is wanted.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Listing {
    pub(crate) limit: Option<usize>,
    /// Without a limit it is ignored.
    pub(crate) offset: usize,
    pub(crate) order_by_name: bool,
    pub(crate) descending: bool,
    /// A part of a name, whatever the case.
    pub(crate) search: String,
}

impl Listing {
    /// Reads the query, or says what is wrong with it.
    pub(crate) fn read(pairs: &[(String, String)]) -> Result<Self, Vec<Value>> {
        let mut listing = Self::default();
        let mut issues = Vec::new();
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => listing.limit = number(name, value, 1, Some(20_000), &mut issues),
                "offset" => listing.offset = number(name, value, 0, None, &mut issues).unwrap_or(0),
                "orderBy" => listing.order_by_name = one_of(name, value, &["name"], &mut issues),
                "orderDirection" => {
                    listing.descending = one_of(name, value, &["asc", "desc"], &mut issues) && value == "desc";
                }
                "search" => value.trim().to_lowercase().clone_into(&mut listing.search),
                _ => {}
            }
        }
        if issues.is_empty() { Ok(listing) } else { Err(issues) }
    }

    /// The rows that are wanted, each with its name, out of all; and how many there are without limit and offset.
    ///
    /// A limit takes its rows in the order of the names; what comes is in no promised order unless one was asked for.
    /// Rows of equal names are lost and doubled between pages (`reference/infisical.md`, Speed).
    pub(crate) fn apply<T>(&self, rows: Vec<(String, T)>) -> (Vec<T>, usize) {
        let mut rows: Vec<(usize, String, T)> = rows
            .into_iter()
            .enumerate()
            .filter(|(_, (name, _))| name.to_lowercase().contains(&self.search))
            .map(|(at, (name, row))| (at, name, row))
            .collect();
        let total = rows.len();
        if self.limit.is_some() || self.order_by_name {
            rows.sort_by(|(a_at, a, _), (b_at, b, _)| {
                let by_name = if self.descending { b.cmp(a) } else { a.cmp(b) };
                // Nothing orders equal names, and one page's order need not be another's.
                by_name.then_with(|| if self.offset > 0 { b_at.cmp(a_at) } else { a_at.cmp(b_at) })
            });
        }
        if let Some(limit) = self.limit {
            rows = rows.into_iter().skip(self.offset).take(limit).collect();
            if !self.order_by_name {
                rows.sort_by_key(|(at, ..)| *at);
            }
        }
        (rows.into_iter().map(|(.., row)| row).collect(), total)
    }
}

/// A number as JavaScript reads one: blanks are 0, what is none is NaN, a fraction is cut.
fn number(name: &str, value: &str, minimum: u32, maximum: Option<u32>, issues: &mut Vec<Value>) -> Option<usize> {
    let value = value.trim();
    let number = if value.is_empty() { 0.0 } else { value.parse().unwrap_or(f64::NAN) };
    if number.is_nan() {
        issues.push(json!({
            "code": "invalid_type", "expected": "number", "received": "nan", "path": [name],
            "message": "Expected number, received nan",
        }));
        return None;
    }
    if number < f64::from(minimum) {
        issues.push(bound("too_small", "minimum", minimum, "greater", name));
        return None;
    }
    if let Some(maximum) = maximum.filter(|maximum| number > f64::from(*maximum)) {
        issues.push(bound("too_big", "maximum", maximum, "less", name));
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; cut on purpose")]
    Some(number as usize)
}

fn bound(code: &str, bound: &str, value: u32, than: &str, name: &str) -> Value {
    json!({
        "code": code, bound: value, "type": "number", "inclusive": true, "exact": false,
        "message": format!("Number must be {than} than or equal to {value}"), "path": [name],
    })
}

fn one_of(name: &str, value: &str, options: &[&str], issues: &mut Vec<Value>) -> bool {
    let fits = options.contains(&value);
    if !fits {
        let expected = options.iter().map(|o| format!("'{o}'")).collect::<Vec<_>>().join(" | ");
        issues.push(json!({
            "received": value, "code": "invalid_enum_value", "options": options, "path": [name],
            "message": format!("Invalid enum value. Expected {expected}, received '{value}'"),
        }));
    }
    fits
}
