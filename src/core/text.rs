//! Texts of bounded length.

/// At most `longest` characters of `text`. An `…` marks omitted text.
pub fn bounded(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest.saturating_sub(1)).chain(['…']).collect(),
    }
}
