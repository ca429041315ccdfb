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

/// JSON as Python's `json` module writes it, as JSON: `NaN`, `Infinity` and `-Infinity` become
/// `null`.
pub(crate) fn json_of_python(text: &str) -> String {
    const NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    let mut rest = text;
    let mut json = String::with_capacity(rest.len());
    let (mut is_quoted, mut is_escaped) = (false, false);
    while let Some(character) = rest.chars().next() {
        let number = NUMBERS
            .iter()
            .find(|number| !is_quoted && rest.starts_with(**number));
        if let Some(number) = number {
            json.push_str("null");
            rest = &rest[number.len()..];
            continue;
        }
        if is_escaped {
            is_escaped = false;
        } else if character == '"' {
            is_quoted = !is_quoted;
        } else {
            is_escaped = is_quoted && character == '\\';
        }
        json.push(character);
        rest = &rest[character.len_utf8()..];
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_only_python_writes_become_null_and_words_stay() {
        assert_eq!(
            json_of_python("{\"lambda_min_clipped\": -Infinity, \"a\": [NaN, Infinity, 1]}"),
            "{\"lambda_min_clipped\": null, \"a\": [null, null, 1]}",
            "as diffusers' DPMSolverMultistepScheduler is saved"
        );
        let words = r#"{"NaN": "-Infinity \" NaN", "b\\": "ねこ Infinity"}"#;
        assert_eq!(json_of_python(words), words, "inside quotes");
    }

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
