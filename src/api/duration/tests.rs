use proptest::prelude::*;

use super::*;

fn seconds(text: &str) -> Result<u64, DurationError> {
    Duration(text.to_owned()).seconds()
}

#[test]
fn each_unit_is_read_at_most_once_and_in_order() {
    for (text, expected) in [
        ("1s", 1),
        ("90s", 90),
        ("90m", 5_400),
        ("2h", 7_200),
        ("1d", 86_400),
        ("1w", 604_800),
        ("1h30m", 5_400),
        ("1w1d1h1m1s", 694_861),
        ("0h30m", 1_800),
        ("007m", 420),
        ("3652d", 315_532_800),
        ("87660h", LONGEST),
    ] {
        assert_eq!(seconds(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_wrong_duration_is_refused_with_the_correct_format() {
    for text in [
        "", "h", "90", "1h30", "30m1h", "1h1h", "1.5h", "-1h", "+1h", " 1h", "1h ", "1 h", "1H", "1y", "1ms", "1h-30m",
        "１h", "1ｈ", "1\u{0}h", "P1D", "1é",
    ] {
        assert_eq!(seconds(text), Err(DurationError::Form(text.to_owned())), "{text:?}");
    }
    assert_eq!(
        seconds("1.5h").unwrap_err().to_string(),
        "\"1.5h\" is not a duration: write weeks, days, hours, minutes and seconds in this order, as 1d, 90m or 1h30m"
    );
}

#[test]
fn nothing_is_no_duration() {
    for text in ["0s", "0h0m", "000d"] {
        assert_eq!(seconds(text), Err(DurationError::Zero(text.to_owned())), "{text}");
    }
    assert_eq!(seconds("0s").unwrap_err().to_string(), "\"0s\" is a duration of nothing: write at least 1s");
}

#[test]
fn ten_years_are_the_longest() {
    for text in ["87660h1s", "3653d", "522w", "99999999999999999999s", "18446744073709551615w1s"] {
        assert_eq!(seconds(text), Err(DurationError::TooLong(text.to_owned())), "{text}");
    }
    assert_eq!(seconds("3653d").unwrap_err().to_string(), "\"3653d\" is longer than ten years: write at most 3652d");
}

#[test]
fn a_message_quotes_no_more_than_forty_characters() {
    let zeros = "0".repeat(10_000);
    for text in [format!("{zeros}s"), format!("9{zeros}s"), zeros] {
        assert!(seconds(&text).unwrap_err().to_string().chars().count() < 200);
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(w in 0_u64..500, d in 0_u64..40, h in 0_u64..100, m in 0_u64..100, s in 0_u64..100) {
        let parts = [(w, "w"), (d, "d"), (h, "h"), (m, "m"), (s, "s")];
        let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
        let total = w * 604_800 + d * 86_400 + h * 3_600 + m * 60 + s;
        prop_assume!((1..=LONGEST).contains(&total));
        prop_assert_eq!(Duration(text.clone()).to_string(), text.clone());
        prop_assert_eq!(seconds(&text), Ok(total));
    }

    #[test]
    fn no_text_breaks_the_reading(text in "\\PC*|[0-9wdhms]{0,60}") {
        if let Ok(seconds) = seconds(&text) {
            prop_assert!((1..=LONGEST).contains(&seconds));
        }
    }
}
