//! What other programs and their extensions understand in a prompt, and Mimeo does not.

use crate::note::{About, Notes, quoted};

/// The prompt without `<lora:name:1>` and its kin, which no text encoder was ever meant to see.
pub fn without_networks(prompt: &str, notes: &mut Notes) -> String {
    let mut kept = String::with_capacity(prompt.len());
    let mut rest = prompt;
    while let Some(start) = rest.find('<') {
        let (before, from) = rest.split_at(start);
        kept.push_str(before);
        let taken = match network(from) {
            Some(network) => {
                notes.add(About::Network, quoted(network));
                network.len()
            }
            None => {
                kept.push('<');
                1
            }
        };
        rest = &from[taken..];
    }
    kept.push_str(rest);
    kept
}

/// `<kind:arguments>` at the start of a text that begins with `<`.
fn network(text: &str) -> Option<&str> {
    let (inside, _) = text.strip_prefix('<')?.split_once('>')?;
    let (kind, arguments) = inside.split_once(':')?;
    let is_network = !kind.is_empty() && kind.chars().all(is_of_a_word) && !arguments.is_empty();
    is_network.then(|| &text[..inside.len() + 2])
}

/// Notes what is taken letter by letter although some program gives it a meaning.
pub fn mention(prompt: &str, notes: &mut Notes) {
    if !words(prompt, "AND").is_empty() {
        notes.add(About::Together, String::new());
    }
    let enclosed = |from: &str, to: &str| {
        let (_, after) = prompt.split_once(from)?;
        let (inside, _) = after.split_once(to)?;
        (!inside.is_empty()).then(|| format!("{from}{inside}{to}"))
    };
    let wildcard = enclosed("__", "__").filter(|text| !text.contains(char::is_whitespace));
    let embedding = prompt.split_whitespace().find_map(|word| {
        let at = word.find("embedding:")?;
        Some(word[at..].to_owned())
    });
    let comment = prompt.lines().find(|line| line.starts_with('#'));
    let found = [
        enclosed("{", "}"),
        wildcard,
        embedding,
        comment.map(str::to_owned),
    ];
    for text in found.into_iter().flatten() {
        notes.add(About::Foreign, quoted(&text));
    }
    if let Some(line) = prompt.lines().find(|line| is_picture_info(line)) {
        notes.add(About::PictureInfo, quoted(line));
    }
}

/// Whether a line is one of those that A1111 writes behind the prompt into its pictures.
fn is_picture_info(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("Negative prompt:") || (line.starts_with("Steps: ") && line.contains(", "))
}

/// Where a word stands by itself in a text.
pub fn words(text: &str, word: &str) -> Vec<usize> {
    let found = text.match_indices(word).map(|(at, _)| at);
    let is_apart = |at: &usize| {
        let (before, after) = (&text[..*at], &text[at + word.len()..]);
        !before.ends_with(is_of_a_word) && !after.starts_with(is_of_a_word)
    };
    found.filter(is_apart).collect()
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(prompt: &str) -> Vec<String> {
        let mut notes = Notes::default();
        let kept = without_networks(prompt, &mut notes);
        mention(&kept, &mut notes);
        let notes = notes.into_vec();
        notes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn networks_are_left_out_and_other_angles_are_letters() {
        for (prompt, kept) in [
            ("a <lora:glasses:0.8> b", "a  b"),
            ("<lyco:x:1><hypernet:y:1>", ""),
            ("a <3 b > c", "a <3 b > c"),
            ("<lora> <:x> <a b:c>", "<lora> <:x> <a b:c>"),
            ("< <lora:é:1>é", "< é"),
        ] {
            let mut notes = Notes::default();
            assert_eq!(without_networks(prompt, &mut notes), kept, "{prompt}");
            assert_eq!(
                notes.into_vec().is_empty(),
                prompt == kept,
                "said if and only if it is left out: {prompt}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_said_by_name() {
        for (prompt, part) in [
            ("a cat AND a dog", "AND is read as a word"),
            ("a {red|blue} hat", "“{red|blue}” is read letter by letter"),
            ("__hair__, smile", "“__hair__” is read letter by letter"),
            ("embedding:bad-hands-5, hat", "“embedding:bad-hands-5,” is"),
            ("hat\n# no cat", "“# no cat” is read letter by letter"),
            (
                "hat\nNegative prompt: cat\nSteps: 20, Sampler: Euler, Seed: 1",
                "From “Negative prompt: cat” on it looks like",
            ),
            ("hat\nSteps: 20, Sampler: Euler", "From “Steps: 20, Sampler"),
            ("<lora:x:1>", "“<lora:x:1>” is left out of the prompt"),
        ] {
            let said = said(prompt);
            assert!(
                said.len() == 1 && said[0].starts_with(part),
                "{part} in {said:?}"
            );
        }
        for prompt in [
            "SAND, ANDY, and",
            "a__b",
            "snake_case_name",
            "{}",
            "C# is #1",
        ] {
            assert_eq!(said(prompt), [""; 0], "{prompt} says nothing else");
        }
    }
}
