//! Texts within the byte limits of `events.k8s.io/v1`.
//!
//! The API server compares `len()` of a Go string with its limits, which is a number of bytes, although its error
//! message names "characters" (kubernetes, `pkg/apis/core/validation/events.go`). A text that is one byte too long
//! loses the event.

use jiff::Timestamp;

/// The maximum length of a note, in bytes.
pub const NOTE: usize = 1024;
/// The maximum length of an object's name, in bytes.
const NAME: usize = 253;
/// Marks a text that was truncated.
const ELLIPSIS: char = '…';

/// `text` in at most `limit` bytes. If it is longer, it is truncated between two characters and ends with an ellipsis.
pub fn truncated(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut kept =
        text.get(..text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len_utf8()))).unwrap_or_default().to_owned();
    kept.push(ELLIPSIS);
    kept
}

/// The name of an event about the object `regarding`, built as in client-go: the object's name and a number. If that is
/// too long for a name, the event's name is a UUID.
pub fn event_name(regarding: &str, number: i128) -> String {
    let name = format!("{regarding}.{number:x}");
    if name.len() <= NAME { name } else { uuid::Uuid::new_v4().to_string() }
}

/// The number of an event that was emitted at `at`: its time in nanoseconds, and always larger than `last`, because two
/// events about one object must not have the same name.
pub fn next_number(last: i128, at: Timestamp) -> i128 {
    at.as_nanosecond().max(last + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_truncated_by_bytes_between_two_characters() {
        for (text, limit, expected) in [
            ("", 8, ""),
            ("ascii", 5, "ascii"),
            ("ascii!", 5, "as…"),
            ("ДДДД", 8, "ДДДД"),
            ("ДДДДД", 8, "ДД…"),
            ("ДДДДД", 9, "ДДД…"),
            ("東京都東京都", 10, "東京…"),
            ("🦀🦀🦀", 11, "🦀🦀…"),
        ] {
            assert_eq!(truncated(text, limit), expected, "{text} in {limit} bytes");
        }
    }

    #[test]
    fn an_event_is_named_after_its_object_where_the_name_has_room() {
        let at: Timestamp = "2026-11-21T12:00:00.000000001Z".parse().unwrap();
        let number = next_number(0, at);
        assert_eq!(event_name("ci", number), format!("ci.{number:x}"));
        let longest = "a".repeat(NAME - format!(".{number:x}").len());
        assert_eq!(event_name(&longest, number).len(), NAME);
        for name in [format!("{longest}b"), "a".repeat(NAME)] {
            assert_eq!(event_name(&name, number).len(), 36, "a UUID");
        }
    }

    #[test]
    fn no_two_events_have_the_same_number() {
        let at: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let first = next_number(0, at);
        let second = next_number(first, at);
        assert!(second > first);
        assert!(next_number(second, at - jiff::SignedDuration::from_secs(60)) > second, "after the clock jumped back");
    }

    proptest! {
        #[test]
        fn a_truncated_text_fits_and_is_the_beginning_of_the_whole(
            text in "(?s).{0,40}|[а-я東🦀a-z]{0,600}",
            limit in 3_usize..1200,
        ) {
            let found = truncated(&text, limit);
            prop_assert!(found.len() <= limit, "{} bytes of {limit}", found.len());
            match found.strip_suffix(ELLIPSIS) {
                Some(kept) if found != text => {
                    prop_assert!(text.starts_with(kept));
                    prop_assert!(limit - found.len() < 4, "no more is missing than has to be");
                }
                _ => prop_assert_eq!(&found, &text),
            }
            prop_assert_eq!(found == text, text.len() <= limit);
        }
    }
}
