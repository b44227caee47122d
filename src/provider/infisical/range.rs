//! Infisical's format of the length of a temporary role: `2h`, `90m`, `1500ms`.

use jiff::{SignedDuration, Timestamp};

/// The units that are sent, in milliseconds, the largest first.
const UNITS: [(&str, i64); 5] = [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// A length in milliseconds as one unit: Infisical refuses `1h30m` (temporary-grants.json).
pub(crate) fn text(milliseconds: i64) -> String {
    UNITS
        .iter()
        .find(|(_, unit)| milliseconds % unit == 0)
        .map_or_else(|| format!("{milliseconds}ms"), |(letter, unit)| format!("{}{letter}", milliseconds / unit))
}

/// A start as Infisical accepts it: UTC with seconds and `Z`, milliseconds at most. Offsets, a date alone and missing
/// seconds are refused (temporary-grants.json).
pub(crate) fn start(at: Timestamp) -> String {
    let form = if at.as_millisecond() % 1_000 == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%3fZ" };
    at.strftime(form).to_string()
}

/// The length that Infisical parses from a range: a decimal number and optionally a unit, in any case, blanks between
/// them. So `1M` is one *minute*, `1y` 365.25 days, and a bare number is milliseconds (docs/reference/infisical.md,
/// "PATCH and time"). `None` if it refuses the range.
pub(crate) fn length(range: &str) -> Option<SignedDuration> {
    let digits = range.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(range.len());
    let (number, unit) = range.split_at_checked(digits)?;
    // `1e3` and `1.` aren't numbers for Infisical, though they are for Rust.
    if number.ends_with('.') || number.matches('.').count() > 1 {
        return None;
    }
    let milliseconds = match unit.trim_start_matches(' ').to_ascii_lowercase().as_str() {
        "" if unit.is_empty() => 1.0,
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1e3,
        "m" | "min" | "mins" | "minute" | "minutes" => 6e4,
        "h" | "hr" | "hrs" | "hour" | "hours" => 36e5,
        "d" | "day" | "days" => 864e5,
        "w" | "week" | "weeks" => 6048e5,
        "y" | "yr" | "yrs" | "year" | "years" => 315_576e5,
        _ => return None,
    };
    let length = number.parse::<f64>().ok()? * milliseconds;
    // Fractions of a millisecond are truncated, as in JavaScript's dates. Beyond this Infisical responds with 500.
    #[expect(clippy::cast_possible_truncation, reason = "bounded on both sides")]
    (length > 0.0 && length < 8.64e15).then(|| SignedDuration::from_millis(length as i64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_is_sent_as_one_unit() {
        for (milliseconds, sent) in [
            (7_200_000, "2h"),
            (5_400_000, "90m"),
            (90_000, "90s"),
            (604_800_000, "1w"),
            (1_209_600_000, "2w"),
            (691_200_000, "8d"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (3_600_001, "3600001ms"),
            (315_576_000_000, "87660h"),
        ] {
            assert_eq!(text(milliseconds), sent);
        }
    }

    #[test]
    fn a_start_has_seconds_and_z() {
        for (at, sent) in [
            ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
            ("2026-11-21T12:00:00.5+02:00", "2026-11-21T10:00:00.500Z"),
            ("2026-11-21T10:00:00.123456789Z", "2026-11-21T10:00:00.123Z"),
            ("2026-11-21T10:00:00.000456Z", "2026-11-21T10:00:00Z"),
        ] {
            assert_eq!(start(at.parse().unwrap()), sent);
        }
    }

    #[test]
    fn ranges_are_read_as_the_recorded_server_reads_them() {
        for (range, milliseconds) in [
            ("1ms", Some(1)),
            ("1s", Some(1_000)),
            ("2m", Some(120_000)),
            ("3h", Some(10_800_000)),
            ("1d", Some(86_400_000)),
            ("1w", Some(604_800_000)),
            ("1y", Some(31_557_600_000)),
            ("1.5h", Some(5_400_000)),
            (".5h", Some(1_800_000)),
            ("60000", Some(60_000)),
            ("1 hour", Some(3_600_000)),
            ("1M", Some(60_000)),
            ("-1h", None),
            ("0s", None),
            ("1mo", None),
            ("1h30m", None),
            ("1e3", None),
            (" 1h", None),
            ("abc", None),
            ("", None),
            ("1.2.3h", None),
            ("999999999999999999999999y", None),
        ] {
            assert_eq!(length(range), milliseconds.map(SignedDuration::from_millis), "{range:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_means_the_length_it_was_made_of(milliseconds in 1_i64..=315_576_000_000) {
            prop_assert_eq!(length(&text(milliseconds)), Some(SignedDuration::from_millis(milliseconds)));
        }

        #[test]
        fn whole_seconds_are_sent_in_whole_units(seconds in 1_i64..=315_576_000) {
            let sent = text(seconds * 1_000);
            prop_assert!(!sent.ends_with("ms"), "{}", sent);
            prop_assert_eq!(length(&sent), Some(SignedDuration::from_secs(seconds)));
        }

        #[test]
        fn a_start_is_read_back_to_the_millisecond(nanoseconds in 0_i64..4_102_444_800_000_000_000) {
            let at = Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap();
            let back: Timestamp = start(at).parse().unwrap();
            prop_assert_eq!(back.as_millisecond(), at.as_millisecond());
        }
    }
}
