//! Ranges and start times as Infisical parses them (temporary-grants.json).

use jiff::{SignedDuration, Timestamp};

/// The longest that a JavaScript date can be from 1970, in milliseconds.
const LAST_DATE: f64 = 8.64e15;

/// Reads a range as the JavaScript package `ms` does: a number and at most one unit, in any case; no unit means
/// milliseconds. `1M` is a minute. None: it isn't a range.
pub(crate) fn range_milliseconds(range: &str) -> Option<f64> {
    if range.len() > 100 {
        return None;
    }
    let unsigned = range.strip_prefix('-').unwrap_or(range);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, unit) = unsigned.split_at(digits);
    // The package requires digits after a dot and accepts one dot at most.
    if number.is_empty() || number.ends_with('.') || number.matches('.').count() > 1 {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let unit = match unit.trim_start_matches(' ').to_ascii_lowercase().as_str() {
        "" | "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1e3,
        "m" | "min" | "mins" | "minute" | "minutes" => 6e4,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3.6e6,
        "d" | "day" | "days" => 8.64e7,
        "w" | "week" | "weeks" => 6.048e8,
        "y" | "yr" | "yrs" | "year" | "years" => 3.155_76e10,
        _ => return None,
    };
    let sign = if range.starts_with('-') { -1.0 } else { 1.0 };
    Some(sign * number * unit)
}

/// `start` and so many milliseconds, cut to whole ones. None if JavaScript has no such date.
pub(crate) fn plus(start: Timestamp, milliseconds: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_precision_loss, reason = "JavaScript's own arithmetic")]
    let end = start.as_millisecond() as f64 + milliseconds;
    if end.abs() > LAST_DATE {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above, and JavaScript truncates too")]
    let end = end as i64;
    // Later than the year 9999 is a date in JavaScript, but none here.
    Some(Timestamp::from_millisecond(end).unwrap_or(Timestamp::MAX))
}

/// Whether a start time has the form that is accepted: UTC with seconds and `Z`, with or without a fraction.
pub(crate) fn is_datetime(text: &str) -> bool {
    let Some(text) = text.strip_suffix('Z') else {
        return false;
    };
    let (seconds, fraction) = match text.split_once('.') {
        Some((seconds, fraction)) => (seconds, Some(fraction)),
        None => (text, None),
    };
    let fraction_is_fine = fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()));
    let form = b"0000-00-00T00:00:00";
    fraction_is_fine
        && seconds.len() == form.len()
        && seconds.bytes().zip(form).all(|(b, f)| if *f == b'0' { b.is_ascii_digit() } else { b == *f })
}

/// A start time of that form, its fraction cut to milliseconds. None: there is no such date.
pub(crate) fn start(text: &str) -> Option<Timestamp> {
    let start: Timestamp = text.parse().ok()?;
    Timestamp::from_millisecond(start.as_millisecond()).ok()
}

/// A time as the server writes it: three digits after the point.
pub(crate) fn written(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Now, cut to what the server stores.
pub(crate) fn cut(at: Timestamp) -> Timestamp {
    let nanoseconds = i64::from(at.subsec_nanosecond() % 1_000_000);
    at.checked_sub(SignedDuration::from_nanos(nanoseconds)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::{is_datetime, plus, range_milliseconds, start, written};

    #[test]
    fn ranges_are_read_as_recorded() {
        for (range, milliseconds) in [
            ("1ms", 1.0),
            ("1s", 1e3),
            ("2m", 1.2e5),
            ("3h", 1.08e7),
            ("1d", 8.64e7),
            ("1w", 6.048e8),
            ("1y", 31_557_600_000.0),
            ("1.5h", 5.4e6),
            (".5h", 1.8e6),
            ("1 hour", 3.6e6),
            ("60000", 6e4),
            ("1M", 6e4),
            ("-1h", -3.6e6),
            ("0s", 0.0),
        ] {
            assert_eq!(range_milliseconds(range), Some(milliseconds), "{range}");
        }
        for range in ["1mo", "1h30m", "abc", " 1h", "1e3", "", "1.", "1 h ", "1..5h"] {
            assert_eq!(range_milliseconds(range), None, "{range}");
        }
    }

    #[test]
    fn start_times_are_read_as_recorded() {
        for good in ["2026-11-21T10:00:00Z", "2026-11-21T10:00:00.123456Z"] {
            assert!(is_datetime(good), "{good}");
        }
        for bad in ["2026-11-21T10:00:00+02:00", "2026-11-21", "2026-11-21T10:00Z", "2026-11-21T10:00:00", ""] {
            assert!(!is_datetime(bad), "{bad}");
        }
        assert_eq!(start("2026-11-21T10:00:00.123456Z").map(written).as_deref(), Some("2026-11-21T10:00:00.123Z"));
        assert_eq!(start("2026-13-41T10:00:00Z"), None);
    }

    #[test]
    fn a_date_beyond_all_dates_is_none() {
        let start = start("2026-11-21T10:00:00Z").unwrap();
        assert!(plus(start, 9e15).is_none());
        assert!(plus(start, 8e15).is_some());
    }
}
