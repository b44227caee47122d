//! The `x-ratelimit-*` headers, so that requests can wait before one is refused (rate-limit.json: `x-ratelimit-limit:
//! 60`, `x-ratelimit-remaining: 0`, `x-ratelimit-reset: 57`, seconds).

use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::time::Instant;

use super::retry_after::LONGEST;
use crate::provider::quota::ReportedLimit;

/// The limit in the headers; `None` if any of them is missing or not understood. Some servers write the reset as a
/// point in time: a value above [`LONGEST`] is considered one and ignored.
pub(super) fn rate_limit(headers: &HeaderMap, now: Instant) -> Option<ReportedLimit> {
    let number = |name| number(headers.get(name)?.to_str().ok()?);
    let reset = Duration::from_secs(number("x-ratelimit-reset")?);
    let (limit, remaining) = (number("x-ratelimit-limit")?, number("x-ratelimit-remaining")?);
    let known = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    (reset <= LONGEST).then_some(ReportedLimit { limit: known(limit), remaining: known(remaining), until: now + reset })
}

/// The number that a value is, or begins with: `60, 60;w=60` is what gateways write.
fn number(value: &str) -> Option<u64> {
    value.split([',', ';']).next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_headers_together_are_a_limit() {
        let read = |limit: &str, remaining: &str, reset: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in
                [("x-ratelimit-limit", limit), ("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", reset)]
            {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            let now = Instant::now();
            rate_limit(&headers, now).map(|found| (found.limit, found.remaining, (found.until - now).as_secs()))
        };
        assert_eq!(read("60", "59", "60"), Some((60, 59, 60)));
        assert_eq!(read("200, 200;w=60", "0", "57"), Some((200, 0, 57)));
        assert_eq!(read("99999999999", "1", "0"), Some((u32::MAX, 1, 0)));
        for (limit, remaining, reset) in [
            ("", "59", "60"),
            ("60", "", "60"),
            ("60", "59", ""),
            ("60", "-1", "60"),
            ("sixty", "59", "60"),
            // A point in time.
            ("60", "0", "1795286538"),
        ] {
            assert_eq!(read(limit, remaining, reset), None, "{limit:?} {remaining:?} {reset:?}");
        }
    }
}
