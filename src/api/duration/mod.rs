//! Durations as users write them: `1d`, `90m`, `1h30m`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest duration, in seconds: ten years of 365.25 days.
pub const LONGEST: u64 = 315_576_000;

/// A duration as written: each of `w d h m s` at most once, in this order, whole numbers, at most ten years.
///
/// It is kept as text so that one bad value makes one object invalid, not undecodable.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(transparent)]
pub struct Duration(pub String);

/// Why a text isn't a duration.
#[derive(thiserror::Error, Debug, Clone, PartialEq, Eq)]
pub enum DurationError {
    /// Not of the form.
    #[error(
        "{0:?} is not a duration: write weeks, days, hours, minutes and seconds in this order, as 1d, 90m or 1h30m"
    )]
    Form(String),
    /// Zero.
    #[error("{0:?} is a duration of zero: write at least 1s")]
    Zero(String),
    /// Longer than ten years.
    #[error("{0:?} is longer than ten years: write at most 3652d")]
    TooLong(String),
}

impl Duration {
    /// The duration in seconds, 1 to [`LONGEST`].
    pub fn seconds(&self) -> Result<u64, DurationError> {
        let text = self.0.as_str();
        let quoted = || text.chars().take(40).collect::<String>();
        let form = || DurationError::Form(quoted());
        let mut units = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)].into_iter();
        let mut total: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
            let number = rest.get(..digits).filter(|digits| !digits.is_empty()).ok_or_else(form)?;
            // Only digits: a number that doesn't fit is too large.
            let number: u64 = number.parse().unwrap_or(u64::MAX);
            let unit = rest.get(digits..).and_then(|r| r.chars().next()).ok_or_else(form)?;
            let (_, seconds) = units.find(|(letter, _)| *letter == unit).ok_or_else(form)?;
            total = total.saturating_add(number.saturating_mul(seconds));
            rest = rest.get(digits + 1..).ok_or_else(form)?;
        }
        match total {
            0 if text.is_empty() => Err(form()),
            0 => Err(DurationError::Zero(quoted())),
            t if t > LONGEST => Err(DurationError::TooLong(quoted())),
            t => Ok(t),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
