//! Times in HTTP headers: `Retry-After` and `Date`.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The longest wait that a server may request: an absurd one must not delay a revocation for days.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The wait that a `Retry-After` header requests: seconds, or an HTTP date seen from `now`. At most [`LONGEST`].
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // Only too many digits can fail here, and they mean a very long time.
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        Duration::try_from(http_date(value)?.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(LONGEST))
}

/// Reads an HTTP date in any of the three forms that a recipient must accept (RFC 9110, section 5.6.7).
pub fn http_date(value: &str) -> Option<Timestamp> {
    let value = value.trim();
    let civil = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| DateTime::strptime(form, value).ok())?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

/// By how much a server's clock is certainly ahead of the local clock (behind: negative), by a `Date` header that was
/// received at `received` on a call that took `elapsed`. The header has whole seconds and was written between sending
/// and receiving: this uncertainty is subtracted, so that a slow call is no skew.
pub fn skew(date: Timestamp, received: Timestamp, elapsed: Duration) -> SignedDuration {
    let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
    let sent = received.saturating_sub(elapsed).unwrap_or(received);
    // The server's clock was in [date, date + 1 s) at some moment of [sent, received].
    let latest = date.saturating_add(SignedDuration::from_secs(1)).unwrap_or(date);
    if date > received {
        date.duration_since(received)
    } else if latest < sent {
        latest.duration_since(sent)
    } else {
        SignedDuration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn all_three_forms_of_a_date_are_read() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(http_date(text), Some(at("1994-11-06T08:49:37Z")), "{text}");
        }
        for text in ["", "now", "06 Nov 1994", "Sun, 06 Nov 1994 08:49:37 +0100", "2026-11-21T16:43:18Z", "57"] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_wait_is_read_from_seconds_and_dates() {
        let now = at("2026-11-21T16:43:18Z");
        let cases = [
            ("57", Some(57)),
            (" 0 ", Some(0)),
            ("Sat, 21 Nov 2026 16:43:48 GMT", Some(30)),
            ("Sat, 21 Nov 2026 16:43:00 GMT", Some(0)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Fri, 31 Dec 2027 23:59:59 GMT", Some(3600)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_slow_call_or_the_missing_fraction_is_no_skew() {
        let received = at("2026-11-21T16:43:20.4Z");
        let cases = [
            ("2026-11-21T16:43:20Z", 10, 0),
            ("2026-11-21T16:43:19Z", 1_000, 0),
            ("2026-11-21T16:43:00Z", 20_000, 0),
            ("2026-11-21T16:43:00Z", 400, -19_000),
            ("2026-11-21T16:48:20Z", 10, 299_600),
            ("2026-11-21T16:38:20Z", 400, -299_000),
        ];
        for (date, elapsed, milliseconds) in cases {
            let found = skew(at(date), received, Duration::from_millis(elapsed));
            assert_eq!(found, SignedDuration::from_millis(milliseconds), "{date} after {elapsed} ms");
        }
    }

    proptest! {
        #[test]
        fn for_any_retry_after_no_wait_is_longer_than_an_hour(
            any in "(.|\n){0,40}",
            number in "[0-9]{1,40}",
            date in "(Sun|Mon|Sunday|Xxx),? [0-9]{1,3}[ -](Nov|Feb|Xxx)[ -][0-9]{2,6} [0-9]{1,3}:[0-9]{2}:[0-9]{2} GMT",
            seconds in -400_000_000_000_i64..300_000_000_000,
        ) {
            let now = Timestamp::from_second(seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second())).unwrap();
            for text in [any, number, date] {
                prop_assert!(retry_after(&text, now).is_none_or(|wait| wait <= LONGEST), "{text:?}");
                if let Some(date) = http_date(&text) {
                    skew(date, now, Duration::from_secs(u64::MAX));
                }
            }
        }
    }
}
