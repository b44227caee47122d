//! Invisible characters, and characters that change the order in which others are displayed: in a name they make one
//! subject look like another. The only list, for what the schema refuses and for what is removed from messages.

/// Control characters, and the line and paragraph separators.
const CONTROL: &[(char, char)] = &[('\0', '\u{1f}'), ('\u{7f}', '\u{9f}'), ('\u{2028}', '\u{2029}')];

/// Embeddings, overrides and isolates of the bidirectional algorithm: they reorder the text after them.
const REORDERING: &[(char, char)] = &[('\u{202a}', '\u{202e}'), ('\u{2066}', '\u{2069}')];

/// Characters without a glyph of their own: Unicode's Default_Ignorable_Code_Point, annotation and musical controls, the
/// controls of hieroglyphs, and the blanks that are no spaces (U+2800, fillers). Not those of its category Cf that show
/// (U+0600 to U+0605 and other signs before numbers).
const INVISIBLE: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2060}', '\u{2065}'),
    ('\u{206a}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether a character is invisible, or reorders others.
pub fn is_hidden(c: char) -> bool {
    [CONTROL, REORDERING, INVISIBLE].into_iter().flatten().any(|(first, last)| (*first..=*last).contains(&c))
}

/// A pattern (RE2) of one character that is invisible or reorders others.
pub fn hidden() -> String {
    class(&[CONTROL, REORDERING, INVISIBLE])
}

/// A pattern (RE2) of one character that no text may have, except for tabs and line ends: one that controls a terminal,
/// or reorders others. Characters that are only invisible are part of how some scripts and emoji are written.
pub fn disruptive() -> String {
    let besides_lines = [('\0', '\u{8}'), ('\u{b}', '\u{c}'), ('\u{e}', '\u{1f}'), ('\u{7f}', '\u{9f}')];
    class(&[&besides_lines, REORDERING])
}

fn class(ranges: &[&[(char, char)]]) -> String {
    let range = |(first, last): &(char, char)| format!("\\x{{{:x}}}-\\x{{{:x}}}", *first as u32, *last as u32);
    format!("[{}]", ranges.iter().copied().flatten().map(range).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    fn chars(pattern: &str) -> impl Strategy<Value = char> {
        string_regex(pattern).unwrap().prop_map(|text| text.chars().next().unwrap())
    }

    proptest! {
        /// Unicode's own list of invisible characters, its control and its formatting characters.
        #[test]
        fn what_unicode_calls_ignorable_or_formatting_is_hidden(
            ignorable in chars(r"\p{Default_Ignorable_Code_Point}"),
            control in chars(r"[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]"),
            format in chars(r"\p{Cf}"),
        ) {
            let shows = matches!(
                format,
                '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{110bd}' | '\u{110cd}'
            );
            prop_assert!(is_hidden(ignorable), "{ignorable:?}");
            prop_assert!(is_hidden(control), "{control:?}");
            prop_assert_eq!(is_hidden(format), !shows, "{:?}", format);
        }

        #[test]
        fn letters_digits_signs_and_spaces_show(shown in chars(r"[\p{L}\p{Mn}\p{N}\p{P}\p{S}\p{Zs}--\p{Default_Ignorable_Code_Point}--\x{2800}]")) {
            prop_assert!(!is_hidden(shown), "{shown:?}");
        }
    }

    #[test]
    fn the_pattern_is_the_list() {
        assert!(hidden().starts_with(r"[\x{0}-\x{1f}\x{7f}-\x{9f}\x{2028}-\x{2029}\x{202a}-\x{202e}"), "{}", hidden());
        let pattern = regex::Regex::new(&hidden()).unwrap();
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert_eq!(pattern.is_match(&c.to_string()), is_hidden(c), "{c:?}");
        }
    }
}
