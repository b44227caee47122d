//! Filters a provider's text before it reaches a condition, an event or a log.

use secrecy::{ExposeSecret, SecretString};

use crate::api::characters::is_hidden;
pub(crate) use crate::core::text::bounded;

/// The most characters of a provider's text that are shown.
pub const LONGEST: usize = 256;

/// The replacement for a secret.
const REDACTED: &str = "[redacted]";

/// A known secret that is shorter is not redacted: that would garble the text and protect nothing.
const SHORTEST_SECRET: usize = 4;

/// A word with letters and digits that is longer than this is considered a token. A UUID has 36 characters; the secrets
/// and personal access tokens of both providers have 64 and more.
const LONGEST_WORD: usize = 40;

/// Makes a provider's text safe to show: control and invisible characters become blanks, `secrets` and everything that
/// looks like a token are replaced, and at most [`LONGEST`] characters remain.
pub fn filtered(text: &str, secrets: &[&SecretString]) -> String {
    // First the characters, so that nothing hides a secret from the search; last the length, so that no part of a
    // secret is left.
    let visible: String = text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect();
    let mut plain = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in secrets.iter().map(|s| s.expose_secret()).filter(|s| s.chars().count() >= SHORTEST_SECRET) {
        plain = plain.replace(secret, REDACTED);
    }
    bounded(&without_tokens(&plain), LONGEST)
}

/// Replaces words that look like tokens, and the word after `Bearer` or `Basic`.
fn without_tokens(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut after_scheme = false;
    for (word, rest) in words(text) {
        let replace = !word.is_empty() && (after_scheme || looks_like_a_token(word));
        shown.push_str(if replace { REDACTED } else { word });
        shown.push_str(rest);
        // `Bearer eyJ…`, `Bearer: …` and `Bearer="…"` alike; the separator doesn't matter.
        after_scheme = !word.is_empty()
            && (word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic") || word.ends_with("Bearer="));
    }
    shown
}

/// The text as pairs of a word (possibly empty) and its separator from the next.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut left = text;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let word_end = left.find(|c| !is_token_character(c)).unwrap_or(left.len());
        let (word, after) = left.split_at(word_end);
        let (between, next) = after.split_at(after.find(is_token_character).unwrap_or(after.len()));
        left = next;
        Some((word, between))
    })
}

/// A character of base64 in both alphabets, of a JWT and of most opaque tokens. A slash isn't one: it would turn a path
/// with two UUIDs into one word.
fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '+' | '=' | '-')
}

fn looks_like_a_token(word: &str) -> bool {
    let long_after = |mark: &str| word.find(mark).is_some_and(|at| word.len() - at >= mark.len() + 8);
    // A JWT's first part is `{"…` in base64; Infisical's service tokens begin with `st.`.
    long_after("eyJ")
        || (word.starts_with("st.") && long_after("st."))
        || (word.len() > LONGEST_WORD
            && word.contains(|c: char| c.is_ascii_digit())
            && word.contains(|c: char| c.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn what_providers_say_stays_readable() {
        for text in [
            "Specified role was not found: nope",
            "Route PATCH:/api/v1/projects/6ec3d92b-3251-4084-9a12-ffb509a03ffc/identity-memberships/c7e4e5d3-f44e-42c0-b7cd-f56f9b698566 not found",
            "Identity with id c7e4e5d3-f44e-42c0-b7cd-f56f9b698566 doesn't exists in project with id 6ec3d92b-3251-4084-9a12-ffb509a03ffc",
            "Errors.Project.Member.NotExisting (QUERY-fk2fs)",
            "Größe · 東京",
        ] {
            assert_eq!(filtered(text, &[]), text);
        }
    }

    #[test]
    fn what_is_secret_or_invisible_goes() {
        let known = secret("hunter2hunter2");
        let cases = [
            ("token eyJhbGciOiJIUzI1NiJ9.eyJpZCI6MX0.c2ln is bad", "token [redacted] is bad"),
            ("Authorization: Bearer abc def", "Authorization: Bearer [redacted] def"),
            ("authorization: bearer \"abc\"", "authorization: bearer \"[redacted]\""),
            ("service token st.6ec3d92b.aaaa.bbbb", "service token [redacted]"),
            ("got \"hunter2hunter2\"!", "got \"[redacted]\"!"),
            ("hunter2\u{200b}hunter2", "hunter2 hunter2"),
            ("a\r\nb\tc\u{1b}[31md\u{202e}e", "a b c [31md e"),
            ("secret 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.", "secret [redacted]"),
        ];
        for (text, shown) in cases {
            assert_eq!(filtered(text, &[&known]), shown, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = "ab ".repeat(1000);
        let shown = filtered(&long, &[]);
        assert_eq!(shown.chars().count(), LONGEST);
        assert!(shown.ends_with('…'));
    }

    proptest! {
        #[test]
        fn nothing_secret_invisible_or_long_is_ever_shown(
            before in ".{0,300}",
            known in "[A-Za-z0-9+/=_.~-]{8,80}",
            after in "(.|\n){0,300}",
            jwt in "eyJ[A-Za-z0-9_-]{8,60}",
        ) {
            prop_assume!(!REDACTED.contains(&known));
            let shown = filtered(&format!("{before}{known}{after} {jwt} {known}"), &[&secret(&known)]);
            prop_assert!(shown.chars().count() <= LONGEST);
            prop_assert!(!shown.contains(&known), "{shown:?} shows {known:?}");
            prop_assert!(!shown.contains(&jwt), "{shown:?} shows {jwt:?}");
            prop_assert!(!shown.chars().any(is_hidden), "{shown:?}");
        }

        #[test]
        fn a_text_that_was_filtered_stays_as_it_is(text in "(.|\n){0,400}") {
            let once = filtered(&text, &[]);
            prop_assert_eq!(filtered(&once, &[]), once);
        }
    }
}
