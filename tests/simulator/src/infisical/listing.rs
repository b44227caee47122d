//! The query of the list of memberships (pagination.json).

use serde_json::{Value, json};

/// The requested part of the list.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Listing {
    pub(crate) limit: Option<usize>,
    /// Without a limit it is ignored.
    pub(crate) offset: usize,
    pub(crate) order_by_name: bool,
    pub(crate) descending: bool,
    /// A part of a name, in any case; `_` stands for any character and `%` for any number of them.
    pub(crate) search: String,
}

impl Listing {
    /// Reads the query, or returns its error.
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

    /// The requested rows of all, each with its name; and their number without limit and offset.
    ///
    /// A limit takes its rows in the order of the names; the result has no guaranteed order unless one was requested.
    /// Rows of equal names are lost and duplicated between pages (`docs/reference/infisical.md`, Speed).
    pub(crate) fn apply<T>(&self, rows: Vec<(String, T)>) -> (Vec<T>, usize) {
        let mut rows: Vec<(usize, String, T)> = rows
            .into_iter()
            .enumerate()
            .filter(|(_, (name, _))| like(&name.to_lowercase(), &self.search))
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

/// The requested part of the list of the third generation.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Paging {
    limit: Option<usize>,
    /// Counts without a limit too.
    offset: usize,
}

impl Paging {
    /// Reads the query, or returns its error.
    pub(crate) fn read(pairs: &[(String, String)]) -> Result<Self, Vec<Value>> {
        let mut paging = Self::default();
        let mut issues = Vec::new();
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => paging.limit = number(name, value, 1, Some(1000), &mut issues),
                "offset" => paging.offset = number(name, value, 0, None, &mut issues).unwrap_or(0),
                _ => {}
            }
        }
        if issues.is_empty() { Ok(paging) } else { Err(issues) }
    }

    /// The rows of the page. They have no order, and every page is taken from another order: pages lose and duplicate
    /// rows.
    pub(crate) fn apply<T>(&self, mut rows: Vec<T>) -> Vec<T> {
        if self.offset > 0 && self.limit.is_some() {
            rows.reverse();
        }
        rows.into_iter().skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect()
    }
}

/// Whether a part of the text fits the pattern: the server puts the search text between two `%` of a LIKE and escapes
/// nothing (name-resolution.json, "search=rob_t").
pub(crate) fn like(text: &str, pattern: &str) -> bool {
    fn fits(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => true,
            Some(('%', rest)) => (0..=text.len()).any(|from| fits(&text[from..], rest)),
            Some((wanted, rest)) => {
                text.split_first().is_some_and(|(first, text)| (*wanted == '_' || first == wanted) && fits(text, rest))
            }
        }
    }
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    (0..=text.len()).any(|from| fits(&text[from..], &pattern))
}

/// A number as JavaScript reads one: blanks are 0, what is none is NaN, a fraction is cut.
pub(crate) fn number(
    name: &str,
    value: &str,
    minimum: u32,
    maximum: Option<u32>,
    issues: &mut Vec<Value>,
) -> Option<usize> {
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
