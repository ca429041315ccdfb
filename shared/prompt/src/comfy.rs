//! Prompts as ComfyUI reads them: `comfy/sd1_clip.py` (`token_weights`, `escape_important`), whose
//! behaviour this follows. A weight stands for itself, where A1111 multiplies it with those around
//! it; square brackets and `BREAK` are letters.

use crate::foreign::{mention, without_networks, words};
use crate::note::{About, Notes, quoted};
use crate::{Piece, Run, is_attempt, pieces};

/// `(word)`
const EMPHASIS: f64 = 1.1;
/// What stands for `\(` and `\)` meanwhile.
const ESCAPED: [(&str, &str, &str); 2] = [(r"\(", "\0\u{2}", "("), (r"\)", "\0\u{1}", ")")];

/// Reads a prompt.
pub fn read(prompt: &str, notes: &mut Notes) -> Vec<Piece> {
    let mut text = without_networks(prompt, notes);
    mention(&text, notes);
    mention_only_a1111(&text, notes);
    for (written, meanwhile, _) in ESCAPED {
        text = text.replace(written, meanwhile);
    }
    let mut runs = weighted(&text, notes);
    for run in &mut runs {
        if let Some(words) = &mut run.words {
            mention_unpaired(words, notes);
            for (_, meanwhile, letter) in ESCAPED {
                *words = words.replace(meanwhile, letter);
            }
        }
    }
    pieces(runs, notes)
}

/// Something that is still to be taken apart, or not any more.
enum Part<'a> {
    Text(&'a str, f64),
    Words(&'a str, f64),
}

fn weighted(text: &str, notes: &mut Notes) -> Vec<Run> {
    let mut runs = Vec::new();
    // A list instead of recursion: a prompt of nothing but brackets is as deep as it is long.
    let mut parts = vec![Part::Text(text, 1.0)];
    while let Some(part) = parts.pop() {
        let (text, weight) = match part {
            Part::Words(words, weight) => {
                runs.push(Run::words(words, weight));
                continue;
            }
            Part::Text(text, weight) => (text, weight),
        };
        for item in items(text).into_iter().rev() {
            let inside = item
                .strip_prefix('(')
                .and_then(|item| item.strip_suffix(')'));
            parts.push(match inside {
                Some(inside) => emphasised(inside, weight, notes),
                None => Part::Words(item, weight),
            });
        }
    }
    runs
}

/// What is in a bracket, with its own weight if it has one.
fn emphasised<'a>(inside: &'a str, around: f64, notes: &mut Notes) -> Part<'a> {
    if let Some(colon) = inside.rfind(':').filter(|colon| *colon > 0) {
        let written = inside[colon + 1..].trim();
        match written.parse::<f64>() {
            Ok(weight) if weight.is_finite() => return Part::Text(&inside[..colon], weight),
            _ if is_attempt(written) => notes.add(About::NoWeight, quoted(written)),
            _ => {}
        }
    }
    Part::Text(inside, around * EMPHASIS)
}

/// A text at its outermost brackets, each with what is in it. A bracket that closes nothing counts
/// too, so that the next one opens nothing, as in ComfyUI.
fn items(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut start, mut level) = (0, 0_i64);
    for (at, c) in text.char_indices() {
        match c {
            '(' => {
                if level == 0 && at > start {
                    items.push(&text[start..at]);
                    start = at;
                }
                level += 1;
            }
            ')' => {
                level -= 1;
                if level == 0 {
                    items.push(&text[start..=at]);
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    if start < text.len() {
        items.push(&text[start..]);
    }
    items
}

fn mention_only_a1111(text: &str, notes: &mut Notes) {
    if !words(text, "BREAK").is_empty() {
        notes.add(About::OnlyA1111, quoted("BREAK"));
    }
    let square = text.split_once('[').and_then(|(before, after)| {
        let (inside, _) = after.split_once(']')?;
        (!before.ends_with('\\')).then_some(inside)
    });
    if let Some(inside) = square {
        notes.add(About::OnlyA1111, quoted(&format!("[{inside}]")));
    }
}

fn mention_unpaired(words: &str, notes: &mut Notes) {
    if words.contains(['(', ')']) {
        notes.add(About::Unpaired, quoted(words));
    }
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::PromptSyntax;

    use crate::{Note, Piece, Reading};

    fn read(prompt: &str) -> Reading {
        crate::read(prompt, PromptSyntax::Comfy)
    }

    fn words(words: &str, weight: f64) -> Piece {
        Piece::Words {
            words: words.to_owned(),
            weight: weight as f32,
        }
    }

    #[test]
    fn emphasis_multiplies_and_a_weight_stands_for_itself() {
        for (prompt, expected) in [
            (
                "a (b) c",
                vec![words("a ", 1.0), words("b", 1.1), words(" c", 1.0)],
            ),
            ("((b))", vec![words("b", 1.1 * 1.1)]),
            ("(b:1.4)", vec![words("b", 1.4)]),
            ("(a (b:1.4):1.5)", vec![words("a ", 1.5), words("b", 1.4)]),
            ("(a:b)", vec![words("a:b", 1.1)]),
            ("(:1.5)", vec![words(":1.5", 1.1)]),
            ("(b:inf)", vec![words("b:inf", 1.1)]),
            (r"b \(c\)", vec![words("b (c)", 1.0)]),
            (r"(b \(c\):1.2)", vec![words("b (c)", 1.2)]),
        ] {
            assert_eq!(read(prompt).pieces, expected, "{prompt}");
        }
    }

    #[test]
    fn what_only_a1111_understands_is_letters_and_said() {
        for (prompt, part) in [
            ("a [b] c", "“[b]” is read letter by letter, as ComfyUI does"),
            ("a [b:c:0.5]", "“[b:c:0.5]” is read letter by letter"),
            ("a BREAK b", "“BREAK” is read letter by letter"),
        ] {
            let reading = read(prompt);
            assert_eq!(reading.pieces, [words(prompt, 1.0)], "{prompt}");
            let said = reading.notes.first().map(Note::to_string);
            let said = said.unwrap_or_default();
            assert!(said.starts_with(part), "{prompt}: {said}");
        }
    }

    #[test]
    fn brackets_without_a_partner_are_letters_and_said() {
        for (prompt, expected) in [
            ("a (b", vec![words("a ", 1.0), words("(b", 1.0)]),
            ("a) (b:1.2) c", vec![words("a) (b:1.2) c", 1.0)]),
        ] {
            let reading = read(prompt);
            assert_eq!(reading.pieces, expected, "{prompt}");
            let said = reading.notes.first().map(Note::to_string);
            let said = said.unwrap_or_default();
            assert!(said.starts_with("A bracket in "), "{prompt}: {said}");
        }
        for written in ["1,2", "nan", "-inf", "Infinity"] {
            let said = read(&format!("(b:{written})")).notes[0].to_string();
            let expected = format!("“{written}” is no weight");
            assert!(said.starts_with(&expected), "{said}");
        }
    }

    #[test]
    fn nothing_but_brackets_is_read_too() {
        let deep = format!("{}a{}", "(".repeat(2000), ")".repeat(2000));
        let reading = read(&deep);
        assert_eq!(
            reading.pieces,
            [words("a", 100.0)],
            "held back, and no crash"
        );
    }
}
