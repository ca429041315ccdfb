//! Text from strangers, made safe to show.

/// At most `max_chars` characters of `text`, with control and invisible characters escaped.
///
/// Names and metadata of a downloaded file are hostile until shown otherwise: they may hold
/// terminal escapes, line breaks or right-to-left marks. (Whoever shows them in a page still has
/// to escape HTML.) A `…` marks what was cut.
#[must_use]
pub fn printable(text: &str, max_chars: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(max_chars)
        .flat_map(|character| match character {
            // `escape_debug` would also escape quotes, which are harmless and common in JSON.
            '"' | '\'' => vec![character],
            other => other.escape_debug().collect(),
        })
        .collect();
    if text.chars().nth(max_chars).is_some() {
        shown.push('…');
    }
    shown
}

/// A tensor or module name as it stands in an error message.
pub(crate) fn name(text: &str) -> String {
    printable(text, 120)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_marks_are_escaped() {
        assert_eq!(
            printable("a\u{1b}[31m\n\u{202e}\"b\"", 80),
            "a\\u{1b}[31m\\n\\u{202e}\"b\"",
            "nothing that moves the cursor may pass"
        );
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(
            printable("ねこねこ", 2),
            "ねこ…",
            "cut after two characters, not bytes"
        );
        assert_eq!(printable("ねこ", 2), "ねこ", "nothing was cut");
    }
}
