//! Instants: as users write them in a spec, and as the operator writes them into a status.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// The first and the last instant that the schema of a status admits (`schema::status_time`).
const STATUS_TIMES: (Timestamp, Timestamp) =
    (Timestamp::constant(-30_610_224_000, 0), Timestamp::constant(221_845_391_999, 0));

/// An instant of RFC 3339 as written, as `2026-12-01T08:00:00Z`.
///
/// It is kept as text so that one bad value makes one object invalid, not undecodable: the end that was admitted before
/// is then still carried out.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(transparent)]
pub struct Time(pub String);

/// A text that is not an instant.
#[derive(thiserror::Error, Debug, Clone, PartialEq, Eq)]
#[error("{0:?} is not a time: write date, time and offset, as 2026-12-01T08:00:00Z or 2026-12-01T08:00:00+01:00")]
pub struct TimeError(String);

impl Time {
    /// The instant that the text stands for.
    pub fn timestamp(&self) -> Result<Timestamp, TimeError> {
        self.0.parse().map_err(|_| TimeError(self.0.chars().take(40).collect()))
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at.to_string())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes an instant of a status. One that the schema does not admit (a window without a start or an end, an impossible
/// year from a provider) becomes the nearest admitted one; otherwise the API server would refuse the whole status.
pub fn in_status<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    let (first, last) = STATUS_TIMES;
    at.map(|at| at.clamp(first, last)).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::membership::ManagedRole;

    #[test]
    fn a_time_is_read_as_it_is_written_and_a_bad_one_is_quoted() {
        for (text, seconds) in [
            ("1970-01-01T00:00:01Z", 1),
            ("1970-01-01T01:00:01+01:00", 1),
            ("1969-12-31T23:00:01-01:00", 1),
            ("1970-01-01T00:00:01.999999999Z", 1),
        ] {
            assert_eq!(Time(text.to_owned()).timestamp().unwrap().as_second(), seconds, "{text}");
        }
        for text in
            ["", "tomorrow", "2026-12-01", "2026-12-01T08:00:00", "2027-01-01T00:00:00+14:60", "2027-02-29T00:00:00Z"]
        {
            let error = Time(text.to_owned()).timestamp().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is not a time: write date, time and offset")), "{error}");
        }
    }

    #[test]
    fn the_bounds_of_status_times_are_the_schemas() {
        let (first, last) = STATUS_TIMES;
        assert_eq!(
            (first.to_string().as_str(), last.to_string().as_str()),
            ("1000-01-01T00:00:00Z", "8999-12-31T23:59:59Z")
        );
    }

    #[test]
    fn a_time_in_status_that_the_schema_does_not_admit_is_written_as_the_nearest_that_it_does() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let role =
            |start, end| ManagedRole { role: "r".to_owned(), start_time: start, expiration_time: end, role_id: None };
        let written = |start, end| serde_json::to_value(role(start, end)).unwrap();
        assert_eq!(
            written(Some(Timestamp::MIN), Some(Timestamp::MAX)),
            json!({"role": "r", "startTime": "1000-01-01T00:00:00Z", "expirationTime": "8999-12-31T23:59:59Z"})
        );
        assert_eq!(
            written(at("2026-12-01T08:00:00.25Z"), None),
            json!({"role": "r", "startTime": "2026-12-01T08:00:00.25Z"})
        );
    }
}
