//! Lines for people and for machines.
//!
//! Nothing here fails: when the reader of a stream is gone (`mimeo … | head`), a run goes on
//! without it.

use std::io::{self, Write as _};

use serde::Serialize;

/// A line on stdout: what the user asked for.
pub fn out(text: &str) {
    _ = writeln!(io::stdout().lock(), "{text}");
}

/// A line on stderr: how it is going.
pub fn err(text: &str) {
    _ = writeln!(io::stderr().lock(), "{text}");
}

/// A line of JSON on stdout, for `--json`.
pub fn json(value: &impl Serialize) {
    // Everything the program reports is plain data, which JSON can always hold.
    let text = serde_json::to_string(value).unwrap_or_default();
    out(&escaped(&text));
}

/// The same JSON in printable ASCII: it may quote a stranger's file, and must not steer a terminal.
fn escaped(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            ascii.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut units) {
            ascii.push_str(&format!("\\u{unit:04x}"));
        }
    }
    ascii
}

/// The text as one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_is_ascii_and_means_the_same() {
        let text = "ねこ \u{202e} \u{9b} 😀 \\ \" \n \u{7f}";
        let json = serde_json::to_string(text).unwrap();
        let ascii = escaped(&json);
        assert!(
            ascii.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "printable ASCII only: {ascii}"
        );
        let back: String = serde_json::from_str(&ascii).unwrap();
        assert_eq!(back, text, "nothing is lost");
    }

    #[test]
    fn line_breaks_become_spaces() {
        assert_eq!(one_line("a\n  b\r\nc "), "a b c", "one sentence, one line");
    }
}
