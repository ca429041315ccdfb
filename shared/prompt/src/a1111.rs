//! Prompts as A1111 reads them: stable-diffusion-webui, `modules/prompt_parser.py`
//! (`parse_prompt_attention`, and the grammar of schedules above it) and `modules/sd_hijack_clip.py`
//! (`tokenize_line`), whose behaviour this follows.
//!
//! Two differences. A1111 takes a `BREAK` within brackets for a word; here it is a break. And what
//! changes from step to step is read as one thing, since a LoRA is trained under one prompt.

use crate::foreign::{mention, without_networks, words};
use crate::note::{About, Notes, quoted};
use crate::{Piece, Run, is_attempt, pieces};

/// `(word)`; `[word]` is its inverse.
const EMPHASIS: f64 = 1.1;

/// Reads a prompt.
pub fn read(prompt: &str, notes: &mut Notes) -> Vec<Piece> {
    let text = without_networks(prompt, notes);
    let text = settled(&text, notes);
    mention(&text, notes);
    let runs = emphasised(&text, notes);
    pieces(merged(runs), notes)
}

/// An open bracket.
struct Bracket {
    kind: char,
    /// Where it is in the prompt.
    source: usize,
    /// Where it is in what is settled.
    start: usize,
    /// The colons and bars in it, and not in a bracket within.
    cuts: Vec<(usize, char)>,
}

/// The prompt with one thing for everything that changes while a picture is drawn.
fn settled(text: &str, notes: &mut Notes) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<Bracket> = Vec::new();
    let mut chars = text.char_indices();
    while let Some((source, c)) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next().map(|(_, escaped)| escaped));
                continue;
            }
            '(' | '[' => open.push(Bracket {
                kind: c,
                source,
                start: out.len(),
                cuts: Vec::new(),
            }),
            ')' => _ = open.pop_if(|bracket| bracket.kind == '('),
            ']' => {
                let square = open.iter().rposition(|bracket| bracket.kind == '[');
                let bracket = square.and_then(|at| open.drain(at..).next());
                if let Some(bracket) = bracket
                    && let Some(kept) = bracket.settled(&out)
                {
                    let changing = quoted(&text[bracket.source..=source]);
                    notes.add(About::Change, format!("{changing} as {}", quoted(&kept)));
                    out.truncate(bracket.start);
                    out.push_str(&kept);
                    continue;
                }
            }
            ':' | '|' => {
                if let Some(bracket) = open.last_mut() {
                    bracket.cuts.push((out.len(), c));
                }
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

impl Bracket {
    /// What a square bracket that was just closed comes to, if it changes: of `[one|other]` the
    /// first, of `[from:to:when]` what stands there in the end, or what stood there before nothing.
    ///
    /// - `out`: up to what the bracket holds
    fn settled(&self, out: &str) -> Option<String> {
        let first = self.start + 1;
        if let Some((bar, _)) = self.cuts.iter().find(|(_, cut)| *cut == '|') {
            return Some(out[first..*bar].to_owned());
        }
        let is_when = |from: usize| {
            let when = out[from + 1..].trim();
            let is_of_a_number = |c: char| c.is_ascii_digit() || ".+-".contains(c);
            when.chars().all(is_of_a_number) && when.parse::<f64>().is_ok()
        };
        let (from, to) = match self.cuts[..] {
            [(when, _)] if is_when(when) => ("", &out[first..when]),
            [(to, _), (when, _)] if is_when(when) => (&out[first..to], &out[to + 1..when]),
            _ => return None,
        };
        let is_gone = to.trim().is_empty();
        Some(if is_gone { from } else { to }.to_owned())
    }
}

/// The prompt in runs of one weight, as often as a bracket or an escape begins a new one.
fn emphasised(text: &str, notes: &mut Notes) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    // Which run each open bracket begins with, and where it stands.
    let (mut round, mut square) = (Vec::new(), Vec::new());
    let weigh = |runs: &mut [Run], factor: f64| {
        for run in runs {
            // Infinity and then 0 would be no number.
            run.weight = (run.weight * factor).clamp(f64::MIN, f64::MAX);
        }
    };
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let mut taken = c.len_utf8();
        match c {
            '\\' => {
                let escaped = rest[1..].chars().next();
                let escaped = escaped.filter(|c| r"()[]\".contains(*c));
                // Before anything else a backslash is nothing.
                runs.push(Run::words(
                    escaped.map_or_else(String::new, String::from),
                    1.0,
                ));
                taken += escaped.map_or(0, char::len_utf8);
            }
            '(' => round.push((runs.len(), at)),
            '[' => square.push((runs.len(), at)),
            ')' if !round.is_empty() => {
                if let Some((first, _)) = round.pop() {
                    weigh(&mut runs[first..], EMPHASIS);
                }
            }
            ']' if !square.is_empty() => {
                if let Some((first, _)) = square.pop() {
                    weigh(&mut runs[first..], EMPHASIS.recip());
                }
            }
            ':' if !round.is_empty() => match closing_weight(rest) {
                Some((Ok(weight), length)) => {
                    if let Some((first, _)) = round.pop() {
                        weigh(&mut runs[first..], weight);
                    }
                    taken = length;
                }
                Some((Err(attempt), _)) => {
                    notes.add(About::NoWeight, quoted(attempt));
                    runs.push(Run::words(":", 1.0));
                }
                None => runs.push(Run::words(":", 1.0)),
            },
            ')' | ']' | ':' => runs.push(Run::words(c, 1.0)),
            _ => {
                taken = rest
                    .find(['\\', '(', ')', '[', ']', ':'])
                    .unwrap_or(rest.len());
                push_broken(&mut runs, &rest[..taken]);
            }
        }
        at += taken;
    }
    for (unclosed, factor) in [(round, EMPHASIS), (square, EMPHASIS.recip())] {
        for (first, at) in unclosed {
            weigh(&mut runs[first..], factor);
            notes.add(About::Unclosed, quoted(&text[at + 1..]));
        }
    }
    runs
}

/// `:1.2)` at the start of a text: the weight and how long it is; or, of `:1,2)`, what was meant as one.
fn closing_weight(text: &str) -> Option<(Result<f64, &str>, usize)> {
    let (inside, _) = text.strip_prefix(':')?.split_once(')')?;
    let written = inside.trim();
    let is_of_a_number = |c: char| c.is_ascii_digit() || ".+-".contains(c);
    let weight = written
        .chars()
        .all(is_of_a_number)
        .then(|| written.parse::<f64>());
    match weight {
        Some(Ok(weight)) if weight.is_finite() => Some((Ok(weight), inside.len() + 2)),
        _ if is_attempt(written) => Some((Err(written), 0)),
        _ => None,
    }
}

/// Words with a break for every `BREAK` among them, which takes the blanks around it along.
fn push_broken(runs: &mut Vec<Run>, text: &str) {
    const BREAK: &str = "BREAK";
    let mut from = 0;
    for at in words(text, BREAK) {
        runs.push(Run::words(text[from..at].trim_end(), 1.0));
        runs.push(Run::BREAK);
        let after = &text[at + BREAK.len()..];
        from = text.len() - after.trim_start().len();
    }
    runs.push(Run::words(&text[from..], 1.0));
}

/// Neighbours of one weight as one: `gla\(ss` is one word to the tokenizer.
fn merged(runs: Vec<Run>) -> Vec<Run> {
    let mut merged: Vec<Run> = Vec::with_capacity(runs.len());
    for run in runs {
        let before = merged.last_mut().filter(|last| last.weight == run.weight);
        match (before.and_then(|last| last.words.as_mut()), &run.words) {
            (Some(before), Some(words)) => before.push_str(words),
            _ => merged.push(run),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::PromptSyntax;

    use crate::{Note, Piece, Reading};

    fn read(prompt: &str) -> Reading {
        crate::read(prompt, PromptSyntax::A1111)
    }

    fn words(words: &str, weight: f64) -> Piece {
        Piece::Words {
            words: words.to_owned(),
            weight: weight as f32,
        }
    }

    /// The examples in A1111's own documentation of the syntax.
    #[test]
    fn emphasis_is_read_as_a1111_documents_it() {
        for (prompt, expected) in [
            ("normal text", vec![words("normal text", 1.0)]),
            (
                "an (important) word",
                vec![
                    words("an ", 1.0),
                    words("important", 1.1),
                    words(" word", 1.0),
                ],
            ),
            ("(unbalanced", vec![words("unbalanced", 1.1)]),
            (r"\(literal\]", vec![words("(literal]", 1.0)]),
            (
                "(unnecessary)(parens)",
                vec![words("unnecessaryparens", 1.1)],
            ),
            (
                "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
                vec![
                    words("a ", 1.0),
                    words("house", 1.3 * 1.1 * 1.1),
                    words(" ", 1.1),
                    words("on", 1.0),
                    words(" a ", 1.1),
                    words("hill", 0.55),
                    words(", sun, ", 1.1),
                    words("sky", 1.1_f64.powi(4)),
                    words(".", 1.1),
                ],
            ),
        ] {
            assert_eq!(read(prompt).pieces, expected, "{prompt}");
        }
    }

    #[test]
    fn brackets_weigh_up_and_down_and_weights_multiply() {
        for (prompt, expected) in [
            ("((smile))", words("smile", 1.1 * 1.1)),
            ("[smile]", words("smile", 1.0 / 1.1)),
            ("([smile])", words("smile", 1.0 / 1.1 * 1.1)),
            ("((smile:1.2):1.5)", words("smile", 1.2 * 1.5)),
            ("(smile: 1.4 )", words("smile", 1.4)),
            ("(smile:-.5)", words("smile", -0.5)),
            ("(a:b:1.2)", words("a:b", 1.2)),
            ("(a:b)", words("a:b", 1.1)),
            ("smile:1.2", words("smile:1.2", 1.0)),
            (r"a\b\\c", words(r"ab\c", 1.0)),
            (r"glasses \(round\)", words("glasses (round)", 1.0)),
            (r"\(smile:1.2\)", words("(smile:1.2)", 1.0)),
        ] {
            assert_eq!(read(prompt).pieces, [expected], "{prompt}");
        }
    }

    #[test]
    fn break_begins_a_new_chunk_wherever_it_stands() {
        let expected =
            |first, last, weight| vec![words(first, weight), Piece::Break, words(last, weight)];
        for (prompt, pieces) in [
            ("a, BREAK b", expected("a,", "b", 1.0)),
            ("a\nBREAK\nb", expected("a", "b", 1.0)),
            ("(a BREAK b:1.5)", expected("a", "b", 1.5)),
            ("BREAKFAST, BREAK_1", vec![words("BREAKFAST, BREAK_1", 1.0)]),
            ("break", vec![words("break", 1.0)]),
            ("a BREAK BREAK b", {
                let mut pieces = expected("a", "b", 1.0);
                pieces.insert(1, Piece::Break);
                pieces
            }),
        ] {
            assert_eq!(read(prompt).pieces, pieces, "{prompt}");
        }
    }

    #[test]
    fn what_changes_while_a_picture_is_drawn_is_read_as_one_thing_and_said() {
        for (prompt, expected) in [
            ("a [cat:dog:0.5]", "a dog"),
            ("a [cat:12] b", "a cat b"),
            ("a [cat::0.5]", "a cat"),
            ("a [:cat:.5]", "a cat"),
            ("a [cat|dog]", "a cat"),
            ("a [cat|dog|cow]", "a cat"),
            ("a [b:[c:d:2]:1]e", "a de"),
            ("[cat:dog: 0.5 ]", "dog"),
        ] {
            let reading = read(prompt);
            assert_eq!(reading.pieces, [words(expected, 1.0)], "{prompt}");
            let said = reading.notes.first().map(Note::to_string);
            let said = said.unwrap_or_default();
            let stays = said.starts_with("A prompt stays the same while a picture is drawn");
            assert!(stays, "{prompt}: {said}");
        }
        let said = read("a [cat:dog:0.5]").notes[0].to_string();
        assert!(said.contains("“[cat:dog:0.5]” as “dog”"), "{said}");
    }

    #[test]
    fn brackets_that_only_look_like_a_schedule_lower_the_weight() {
        for (prompt, expected) in [
            ("[cat:dog]", "cat:dog"),
            ("[a:b:c:0.5]", "a:b:c:0.5"),
            ("[a: b]", "a: b"),
        ] {
            let reading = read(prompt);
            assert_eq!(reading.pieces, [words(expected, 1.0 / 1.1)], "{prompt}");
        }
        let escaped = read(r"\[cat:dog:0.5\]");
        assert_eq!(escaped.pieces, [words("[cat:dog:0.5]", 1.0)], "letters");
        assert_eq!(escaped.notes, [], "as they were meant");
    }

    #[test]
    fn typing_errors_in_brackets_are_said() {
        for (prompt, pieces, part) in [
            (
                "(smile:1,2)",
                vec![words("smile:1,2", 1.1)],
                "“1,2” is no weight",
            ),
            (
                "(smile:1.2.3)",
                vec![words("smile:1.2.3", 1.1)],
                "“1.2.3” is no weight",
            ),
            (
                "(smile:120%)",
                vec![words("smile:120%", 1.1)],
                "“120%” is no weight",
            ),
            (
                "(smile:nan)",
                vec![words("smile:nan", 1.1)],
                "“nan” is no weight",
            ),
            (
                "(smile: -Infinity )",
                vec![words("smile: -Infinity ", 1.1)],
                "“-Infinity” is no weight",
            ),
            (
                "(smile:1e9)",
                vec![words("smile:1e9", 1.1)],
                "“1e9” is no weight",
            ),
            (
                "(smile:12345)",
                vec![words("smile", 100.0)],
                "The weight of “smile” is held at 100",
            ),
            (
                "sad :( girl",
                vec![words("sad :", 1.0), words(" girl", 1.1)],
                "The bracket before “girl” is not closed",
            ),
        ] {
            let reading = read(prompt);
            assert_eq!(reading.pieces, pieces, "{prompt}");
            let said = reading.notes.first().map(Note::to_string);
            let said = said.unwrap_or_default();
            assert!(said.starts_with(part), "{prompt}: {said}");
        }
        assert_eq!(read("happy :) girl").notes, [], "a letter");
        let endless = "9".repeat(400);
        let reading = read(&format!("(smile:{endless})"));
        let said = reading.notes[0].to_string();
        assert!(
            said.contains("is no weight"),
            "more than a number holds: {said}"
        );
        let long = "9".repeat(300);
        let reading = read(&format!("(((smile:{long}):{long}):0)"));
        assert_eq!(reading.pieces, [words("smile", 0.0)], "0 is 0");
    }
}
