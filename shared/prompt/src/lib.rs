//! What a prompt says beyond its words: emphasis, breaks, and what Mimeo does not understand.
//!
//! People bring their prompts along from A1111 (stable-diffusion-webui) and ComfyUI, which write
//! emphasis alike and mean different things by it. Here a prompt becomes pieces of one weight each,
//! and, once somebody has turned these into tokens, chunks as long as the text encoder reads. Text and
//! numbers only, so that the page can say what a prompt means before anybody has a model.
//!
//! ```text
//! prompt ─▶ read ─▶ pieces: words and their weight ─▶ (tokens) ─▶ chunks of 75 ─▶ (text encoder)
//!             └──▶ notes: what is left out, or means something else elsewhere
//! ```
//!
//! Weights do something to what the text encoder says, which is up to whoever has one
//! (`mimeo_diffusion::emphasis`).

mod a1111;
mod chunk;
mod comfy;
mod foreign;
mod note;

pub use chunk::{CHUNK, Chunk, chunks};
use mimeo_protocol::PromptSyntax;
pub use note::Note;
use note::{About, Notes};

/// Emphasis beyond this is a typing error, and would leave nothing but noise.
const MAX_WEIGHT: f64 = 100.0;

/// A stretch of a prompt.
///
/// - `T`: words, or their tokens
#[derive(Debug, Clone, PartialEq)]
pub enum Piece<T = String> {
    /// Words of one weight.
    Words {
        /// What they are.
        words: T,
        /// How much they count; 1 is as they are.
        weight: f32,
    },
    /// What follows begins a new chunk.
    Break,
}

impl<T> Piece<T> {
    /// The same piece of something else.
    ///
    /// # Errors
    /// That of `change`.
    pub fn try_map<U, E>(self, change: impl FnOnce(T) -> Result<U, E>) -> Result<Piece<U>, E> {
        Ok(match self {
            Self::Words { words, weight } => Piece::Words {
                words: change(words)?,
                weight,
            },
            Self::Break => Piece::Break,
        })
    }
}

/// A prompt that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// In the order of the prompt; none is empty.
    pub pieces: Vec<Piece>,
    /// What is to be said about it.
    pub notes: Vec<Note>,
}

/// Reads a prompt.
#[must_use]
pub fn read(prompt: &str, syntax: PromptSyntax) -> Reading {
    let mut notes = Notes::default();
    let pieces = match syntax {
        PromptSyntax::A1111 => a1111::read(prompt, &mut notes),
        PromptSyntax::Comfy => comfy::read(prompt, &mut notes),
        // Whoever wants letters knows that they get letters.
        PromptSyntax::Plain => letters(prompt),
        // Nobody chose this: it came with an old recipe, perhaps under a new prompt.
        PromptSyntax::Cut => {
            if says_more(prompt) {
                notes.add(About::OldRecipe, note::quoted(prompt));
            }
            letters(prompt)
        }
    };
    Reading {
        pieces,
        notes: notes.into_vec(),
    }
}

/// Whether a prompt is the same in every syntax, however many tokens a word takes.
#[must_use]
pub fn is_the_same_in_every_syntax(prompt: &str) -> bool {
    // A token is at least a byte.
    let fits = prompt.len() <= CHUNK;
    let is_plain = |syntax| {
        let reading = read(prompt, syntax);
        reading.pieces == letters(prompt) && reading.notes.is_empty()
    };
    fits && is_plain(PromptSyntax::A1111) && is_plain(PromptSyntax::Comfy)
}

/// Whether the usual syntax finds more in a prompt than letters.
fn says_more(prompt: &str) -> bool {
    let mut notes = Notes::default();
    a1111::read(prompt, &mut notes) != letters(prompt) || !notes.into_vec().is_empty()
}

/// The prompt as it stands.
fn letters(prompt: &str) -> Vec<Piece> {
    pieces([Run::words(prompt, 1.0)], &mut Notes::default())
}

/// A stretch of a prompt while it is read.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    /// None for a break.
    words: Option<String>,
    weight: f64,
}

impl Run {
    const BREAK: Self = Self {
        words: None,
        weight: 1.0,
    };

    fn words(words: impl Into<String>, weight: f64) -> Self {
        Self {
            words: Some(words.into()),
            weight,
        }
    }
}

/// What was read, without empty words and with weights that can be computed with.
fn pieces(runs: impl IntoIterator<Item = Run>, notes: &mut Notes) -> Vec<Piece> {
    let piece = |run: Run| {
        let Some(words) = run.words else {
            return Some(Piece::Break);
        };
        let weight = run.weight.clamp(-MAX_WEIGHT, MAX_WEIGHT);
        if weight != run.weight {
            notes.add(About::Clamped, note::quoted(&words));
        }
        (!words.is_empty()).then_some(Piece::Words {
            words,
            weight: weight as f32,
        })
    };
    runs.into_iter().filter_map(piece).collect()
}

/// What stands after a colon where a weight is expected: whether it was meant as one, such as "1,2".
fn is_attempt(text: &str) -> bool {
    let text = text.trim();
    let is_of_a_number = |c: char| c.is_ascii_digit() || ".,+-%eE".contains(c);
    let is_number = text.chars().any(|c| c.is_ascii_digit()) && text.chars().all(is_of_a_number);
    // "nan", "inf" and "infinity", in any case: numbers to Python and Rust, and weights to nobody.
    is_number || text.parse().is_ok_and(|number: f64| !number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [PromptSyntax; 4] = [
        PromptSyntax::A1111,
        PromptSyntax::Comfy,
        PromptSyntax::Plain,
        PromptSyntax::Cut,
    ];

    fn notes(prompt: &str, syntax: PromptSyntax) -> Vec<String> {
        let notes = read(prompt, syntax).notes;
        notes.iter().map(Note::to_string).collect()
    }

    #[test]
    fn a_caption_is_the_same_in_every_syntax() {
        let caption = "bob hair, black hair, tan skin, open eyes, red t-shirt, gray background";
        for syntax in ALL {
            let reading = read(caption, syntax);
            assert_eq!(reading.pieces, letters(caption), "{syntax:?}");
            assert_eq!(reading.notes, [], "nothing to say: {syntax:?}");
        }
        assert!(is_the_same_in_every_syntax(caption), "and that is known");
        for other in ["(smile)", "a BREAK b", "[hat]", r"a \(b\)", "<lora:x:1>"] {
            assert!(!is_the_same_in_every_syntax(other), "{other}");
        }
        let long = "smile, ".repeat(11);
        assert!(!is_the_same_in_every_syntax(&long), "it may have 76 tokens");
    }

    #[test]
    fn whoever_wants_letters_gets_letters() {
        let prompt = r"(a:1.2) [b:c:0.5] BREAK <lora:x:1> \(d\)";
        let expected = [Piece::Words {
            words: prompt.to_owned(),
            weight: 1.0,
        }];
        for syntax in [PromptSyntax::Plain, PromptSyntax::Cut] {
            assert_eq!(read(prompt, syntax).pieces, expected, "{syntax:?}");
        }
        assert_eq!(
            notes(prompt, PromptSyntax::Plain),
            [""; 0],
            "it was asked for"
        );
    }

    #[test]
    fn an_old_recipe_under_a_new_prompt_says_that_it_reads_letters() {
        assert_eq!(notes("smile", PromptSyntax::Cut), [""; 0], "no difference");
        let [note] = &notes("(smile:1.2)", PromptSyntax::Cut)[..] else {
            panic!("one note");
        };
        assert!(note.contains("prompt syntax a1111"), "the remedy: {note}");
    }

    #[test]
    fn weights_beyond_every_use_are_held_back_and_said() {
        let deep = format!("{}smile{}", "(".repeat(900), ")".repeat(900));
        for (prompt, held) in [
            ("(smile:1000)", 100.0),
            ("(smile:-1000)", -100.0),
            (deep.as_str(), 100.0),
        ] {
            let reading = read(prompt, PromptSyntax::A1111);
            let [Piece::Words { weight, .. }] = reading.pieces[..] else {
                panic!("one piece: {reading:?}");
            };
            assert_eq!(weight, held, "{prompt}");
            assert_eq!(reading.notes.len(), 1, "said: {:?}", reading.notes);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(prompt in r"([a-c ,:.0-9()\[\]|\\<>{}#_-]|BREAK|AND|é|\n){0,60}") {
            for syntax in ALL {
                for piece in read(&prompt, syntax).pieces {
                    if let Piece::Words { words, weight } = piece {
                        prop_assert!(weight.is_finite() && !words.is_empty(), "{words:?}: {weight}");
                    }
                }
            }
        }

        #[test]
        fn text_without_signs_stays_as_it_is(prompt in "[a-z ,éß語]{0,60}") {
            for syntax in ALL {
                prop_assert_eq!(&read(&prompt, syntax).pieces, &letters(&prompt));
            }
        }
    }
}
