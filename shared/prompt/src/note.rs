//! What is to be said about a prompt.

use std::fmt;

/// Texts that are quoted of one kind; the rest is counted.
const MAX_QUOTED: usize = 3;
/// Characters that are quoted of a text.
const MAX_QUOTE: usize = 60;

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// `<lora:name:1>` and its kin.
    Network,
    /// `[from:to:when]` and `[one|other]`.
    Change,
    /// `AND`.
    Together,
    /// What other programs' extensions understand.
    Foreign,
    /// What A1111 writes into its pictures behind the prompt.
    PictureInfo,
    /// What A1111 understands and ComfyUI does not.
    OnlyA1111,
    /// What stands where a weight is expected.
    NoWeight,
    /// A bracket that is not closed, which A1111 takes for emphasis of all that follows.
    Unclosed,
    /// A bracket without another, which ComfyUI takes for a letter.
    Unpaired,
    /// A weight beyond every use.
    Clamped,
    /// A recipe from before there was a syntax.
    OldRecipe,
}

/// Something that is left out of a prompt or read otherwise than some program does, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    about: About,
    /// As they are quoted.
    texts: Vec<String>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = listed(&self.texts);
        let are = if self.texts.len() == 1 { "is" } else { "are" };
        match self.about {
            About::Network => write!(
                f,
                "{list} {are} left out of the prompt: LoRAs and other networks are chosen beside it."
            ),
            About::Change => write!(
                f,
                "A prompt stays the same while a picture is drawn, so it reads {list}."
            ),
            About::Together => write!(
                f,
                "AND is read as a word: a picture is drawn from one prompt, not from several together."
            ),
            About::Foreign => write!(
                f,
                "{list} {are} read letter by letter: wildcards, choices, comments and embeddings are not understood in a prompt."
            ),
            About::PictureInfo => write!(
                f,
                "From {list} on it looks like a picture's parameters as A1111 keeps them, and is read as words. Leave only the prompt, and set the rest where it belongs."
            ),
            About::OnlyA1111 => write!(
                f,
                "{list} {are} read letter by letter, as ComfyUI does; the prompt syntax a1111 understands it."
            ),
            About::NoWeight => write!(
                f,
                "{list} {are} no weight such as 1.2, and read letter by letter."
            ),
            About::Unclosed => write!(
                f,
                "The bracket before {list} is not closed, so all that follows is weighted. Close it, or write a backslash before a bracket that is a letter."
            ),
            About::Unpaired => write!(
                f,
                "A bracket in {list} has no partner and is read as a letter. Write a backslash before it if it is meant as one."
            ),
            About::Clamped => write!(
                f,
                "The weight of {list} is held at 100, beyond which nothing is drawn but noise."
            ),
            About::OldRecipe => write!(
                f,
                "This recipe is from before prompts had a syntax, so {list} is read letter by letter. Choose the prompt syntax a1111 for emphasis."
            ),
        }
    }
}

/// Collects notes: one of a kind.
#[derive(Debug, Default)]
pub struct Notes(Vec<Note>);

impl Notes {
    /// One more text of a kind.
    pub fn add(&mut self, about: About, text: String) {
        match self.0.iter_mut().find(|note| note.about == about) {
            Some(note) if note.texts.contains(&text) => {}
            Some(note) => note.texts.push(text),
            None => self.0.push(Note {
                about,
                texts: vec![text],
            }),
        }
    }

    /// All of them, as they came.
    pub fn into_vec(self) -> Vec<Note> {
        self.0
    }
}

/// A text from a prompt as a sentence holds it: one line, and not all of a long one.
pub fn quoted(text: &str) -> String {
    let text = text.trim();
    let mut shown: String = text.chars().take(MAX_QUOTE).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    // A prompt may come from a stranger's file, and a terminal obeys control characters.
    shown.retain(|c| !c.is_control());
    format!("“{shown}”")
}

fn listed(texts: &[String]) -> String {
    let quoted = texts.iter().take(MAX_QUOTED);
    let mut list = quoted.map(String::as_str).collect::<Vec<_>>().join(", ");
    if texts.len() > MAX_QUOTED {
        list.push_str(&format!(" and {} more", texts.len() - MAX_QUOTED));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_a_kind_are_one_sentence() {
        let mut notes = Notes::default();
        for number in [1, 2, 2, 3, 4, 5] {
            notes.add(About::Network, quoted(&format!("<lora:{number}:1>")));
        }
        let [note] = &notes.into_vec()[..] else {
            panic!("one note");
        };
        assert_eq!(
            note.to_string(),
            "“<lora:1:1>”, “<lora:2:1>”, “<lora:3:1>” and 2 more are left out of the prompt: LoRAs and other networks are chosen beside it.",
            "each once, the rest counted"
        );
    }

    #[test]
    fn a_quote_is_short_and_obeyed_by_no_terminal() {
        assert_eq!(
            quoted(" a\u{1b}[31m\nb "),
            "“a[31mb”",
            "no escape, one line"
        );
        let long = quoted(&"é".repeat(100));
        assert_eq!(long.chars().count(), MAX_QUOTE + 3, "{long}");
    }
}
