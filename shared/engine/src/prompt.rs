//! From prompts to what the model is conditioned on.

use burn::tensor::{Tensor, TensorData};
use mimeo_diffusion::emphasis::{from_the_empty_prompt, keeping_the_mean};
use mimeo_diffusion::tokenizer::{MAX_TOKENS, TokenizerError};
use mimeo_diffusion::{Conditioning, Tokenizer};
use mimeo_lora::LoraStack;
use mimeo_prompt::{CHUNK, Chunk, Piece, chunks, read};
use mimeo_protocol::PromptSyntax;

use crate::base::Base;
use crate::error::EngineError;
use crate::text::{TextEncoder, TextModel};

/// More chunks than this are a mistake, and memory for nobody.
const MAX_CHUNKS: usize = 20;
/// Characters of a prompt that a sentence about it shows.
const MAX_SHOWN: usize = 40;

/// A prompt as a text encoder reads it.
struct Read {
    chunks: Vec<Chunk>,
    /// Tokens of the prompt.
    tokens: usize,
    /// What is to be said about its signs.
    notes: Vec<mimeo_prompt::Note>,
}

impl Base {
    /// What the model is conditioned on under each prompt: of one picture, with 77 tokens for every
    /// chunk of 75.
    ///
    /// What two text encoders say of a token lies side by side. In one vector a prompt is said by its
    /// first chunk, without emphasis, as A1111 and ComfyUI have it. An empty prompt is read like any
    /// other, as in ComfyUI and kohya's trainer; diffusers and A1111 take zeros for it in XL.
    ///
    /// - `size`: width and height of the picture, px
    /// - `lora`: acts on all prompts with one strength each
    ///
    /// # Errors
    /// [`EngineError::Tokenizer`] when the vocabulary cannot spell a prompt,
    /// [`EngineError::PromptTooLong`], [`EngineError::Load`] when a text encoder cannot be read any more.
    pub async fn encode_prompts<S: AsRef<str>>(
        &self,
        prompts: &[S],
        syntax: PromptSyntax,
        size: (u32, u32),
        lora: &LoraStack<'_>,
    ) -> Result<Vec<Conditioning>, EngineError> {
        let lengths = self.count_chunks(prompts, syntax)?;
        // Text encoders and VAE are never on the device together.
        self.vae.put_down();
        let mut hidden_states = Vec::new();
        let mut pooled = None;
        for encoder in &*self.text_encoders {
            let mut chunks = Vec::new();
            for (prompt, length) in prompts.iter().zip(&lengths) {
                let mut read = read_with(&encoder.tokenizer, prompt.as_ref(), syntax)?;
                // Shorter only where the other tokenizer spells a word in more tokens.
                read.chunks.resize_with(*length, Chunk::default);
                chunks.extend(read.chunks);
            }
            let model = encoder.model.hold().await?;
            let (states, vectors) = self.say((encoder, &model), &chunks, syntax, lora);
            hidden_states.push(states);
            pooled = vectors.or(pooled);
        }
        let hidden_states = match hidden_states.len() {
            1 => hidden_states.swap_remove(0),
            _ => Tensor::cat(hidden_states, 2),
        };

        let [_, tokens, width] = hidden_states.dims();
        let mut first = 0;
        let of_prompt = |count: &usize| {
            let states = hidden_states.clone().narrow(0, first, *count);
            let vector = |pooled: &Tensor<2>| Box::new(pooled.clone().narrow(0, first, 1));
            let conditioning = Conditioning {
                hidden_states: states.reshape([1, count * tokens, width]),
                pooled: pooled.as_ref().map(vector),
                size: self.size_conditioning(size).map(|size| vec![size]),
            };
            first += count;
            conditioning
        };
        Ok(lengths.iter().map(of_prompt).collect())
    }

    /// [`Self::encode_prompts`] for one prompt.
    ///
    /// # Errors
    /// As there.
    pub async fn encode_prompt(
        &self,
        prompt: &str,
        syntax: PromptSyntax,
        size: (u32, u32),
        lora: &LoraStack<'_>,
    ) -> Result<Conditioning, EngineError> {
        let encoded = self.encode_prompts(&[prompt], syntax, size, lora).await?;
        // One prompt, one answer.
        Ok(Conditioning::cat(encoded))
    }

    /// Whether a prompt can be read.
    ///
    /// # Errors
    /// As [`Self::encode_prompts`], if it cannot.
    pub fn check_prompt(&self, prompt: &str, syntax: PromptSyntax) -> Result<(), EngineError> {
        self.count_chunks(&[prompt], syntax).map(|_| ())
    }

    /// What a user should know about a prompt, each as one sentence: that it is long, or holds what is
    /// not understood.
    ///
    /// # Errors
    /// As [`Self::encode_prompts`].
    pub fn prompt_notes(
        &self,
        prompt: &str,
        syntax: PromptSyntax,
    ) -> Result<Vec<String>, EngineError> {
        let Read {
            chunks,
            tokens,
            notes,
        } = self.read_prompt(prompt, syntax)?;
        let shown = shown(prompt);
        let length = match (syntax, chunks.len()) {
            (PromptSyntax::Cut, _) if tokens > CHUNK => Some(format!(
                "The prompt {shown} has {tokens} tokens, of which the first {CHUNK} are read, because the recipe is from before Mimeo read more. Choose the prompt syntax a1111 to read all."
            )),
            (_, 0 | 1) => None,
            (_, count) => Some(format!(
                "The prompt {shown} has {tokens} tokens and is read in {count} chunks of up to {CHUNK}."
            )),
        };
        let notes = notes.iter().map(ToString::to_string);
        Ok(length.into_iter().chain(notes).collect())
    }

    /// Whether a prompt conditions the model alike in two syntaxes, of which one knows no weights.
    ///
    /// # Errors
    /// As [`Self::encode_prompts`].
    pub fn reads_alike(
        &self,
        prompt: &str,
        syntax: PromptSyntax,
        without_weights: PromptSyntax,
    ) -> Result<bool, EngineError> {
        let read = |syntax| self.read_prompt(prompt, syntax);
        Ok(read(syntax)?.chunks == read(without_weights)?.chunks)
    }

    /// How many chunks each prompt has: as many as the tokenizer makes that makes most.
    pub(crate) fn count_chunks<S: AsRef<str>>(
        &self,
        prompts: &[S],
        syntax: PromptSyntax,
    ) -> Result<Vec<usize>, EngineError> {
        let count = |prompt: &S| {
            let mut lengths = self.text_encoders.iter().map(|encoder| {
                let read = read_with(&encoder.tokenizer, prompt.as_ref(), syntax)?;
                Ok::<_, EngineError>(read.chunks.len())
            });
            lengths.try_fold(1, |most, length| Ok(most.max(length?)))
        };
        prompts.iter().map(count).collect()
    }

    /// A prompt as the first text encoder reads it.
    fn read_prompt(&self, prompt: &str, syntax: PromptSyntax) -> Result<Read, EngineError> {
        // There is one at least.
        read_with(&self.text_encoders[0].tokenizer, prompt, syntax)
    }

    /// What a text encoder says of chunks: `[chunks, tokens, width]`, and in one vector each if it can.
    fn say(
        &self,
        (encoder, model): (&TextEncoder, &TextModel),
        chunks: &[Chunk],
        syntax: PromptSyntax,
        lora: &LoraStack<'_>,
    ) -> (Tensor<3>, Option<Tensor<2>>) {
        let ids = chunks
            .iter()
            .map(|chunk| encoder.tokenizer.framed(&chunk.ids));
        let (hidden_states, pooled) = model.forward(&ids.collect::<Vec<_>>(), self.output, lora);
        let mut weights = chunks.iter().flat_map(|chunk| &chunk.weights);
        if weights.any(|weight| *weight != 1.0) {
            let emphasised = self.emphasised(hidden_states, (encoder, model), chunks, syntax, lora);
            (emphasised, pooled)
        } else {
            (hidden_states, pooled)
        }
    }

    /// - `hidden_states`: `[chunks, tokens, width]`
    fn emphasised(
        &self,
        hidden_states: Tensor<3>,
        (encoder, model): (&TextEncoder, &TextModel),
        chunks: &[Chunk],
        syntax: PromptSyntax,
        lora: &LoraStack<'_>,
    ) -> Tensor<3> {
        let weights: Vec<f32> = chunks
            .iter()
            .flat_map(|chunk| framed(&chunk.weights))
            .collect();
        let weights = TensorData::new(weights, [chunks.len(), MAX_TOKENS]);
        let weights = Tensor::from_data(weights, self.device());
        match syntax {
            PromptSyntax::Comfy => {
                let (empty, _) = model.forward(&[encoder.tokenizer.framed(&[])], self.output, lora);
                from_the_empty_prompt(hidden_states, empty, weights)
            }
            // The others know no weights but 1, which change nothing.
            PromptSyntax::A1111 | PromptSyntax::Plain | PromptSyntax::Cut => {
                keeping_the_mean(hidden_states, weights)
            }
        }
    }
}

fn read_with(
    tokenizer: &Tokenizer,
    prompt: &str,
    syntax: PromptSyntax,
) -> Result<Read, EngineError> {
    let reading = read(prompt, syntax);
    let tokens_of = |words: String| tokenizer.tokens(&words);
    let pieces = reading.pieces.into_iter();
    let pieces: Vec<Piece<Vec<u32>>> = pieces
        .map(|piece| piece.try_map(tokens_of))
        .collect::<Result<_, TokenizerError>>()?;
    let tokens = pieces.iter().map(|piece| match piece {
        Piece::Words { words, .. } => words.len(),
        Piece::Break => 0,
    });
    let tokens = tokens.sum();
    let chunks = chunks(pieces, syntax, tokenizer.comma());
    if chunks.len() > MAX_CHUNKS {
        return Err(EngineError::PromptTooLong {
            chunks: chunks.len(),
            limit: MAX_CHUNKS,
            prompt: shown(prompt),
        });
    }
    Ok(Read {
        chunks,
        tokens,
        notes: reading.notes,
    })
}

/// About how many chunks a prompt has, for whoever has no vocabulary: most words and every sign are a
/// token of CLIP's, and long words are several.
pub(crate) fn about_chunks(prompt: &str, syntax: PromptSyntax) -> usize {
    /// Letters of a word that are about one token.
    const LETTERS: usize = 6;
    let tokens = |words: &str| {
        let words = words.split_whitespace().map(|word| {
            let letters = word.chars().filter(|c| c.is_alphanumeric()).count();
            letters.div_ceil(LETTERS) + word.chars().count() - letters
        });
        vec![0; words.sum()]
    };
    let pieces = read(prompt, syntax).pieces.into_iter();
    let pieces = pieces.map(|piece| match piece {
        Piece::Words { words, weight } => Piece::Words {
            words: tokens(&words),
            weight,
        },
        Piece::Break => Piece::Break,
    });
    chunks(pieces, syntax, None).len().min(MAX_CHUNKS)
}

/// The weights of a chunk as the text encoder reads it: start, end and what fills up stay as they are.
fn framed(weights: &[f32]) -> [f32; MAX_TOKENS] {
    let mut framed = [1.0; MAX_TOKENS];
    for (place, weight) in framed.iter_mut().skip(1).zip(weights) {
        *place = *weight;
    }
    framed
}

/// A prompt as a sentence shows it.
fn shown(prompt: &str) -> String {
    let mut shown: String = prompt.chars().take(MAX_SHOWN).collect();
    if shown.len() < prompt.len() {
        shown.push('…');
    }
    // As a string literal: a prompt may come from a stranger's file, and a terminal obeys control
    // characters.
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::read_back;
    use crate::bundled;
    use crate::runtime::block_on;

    const SIZE: (u32, u32) = (128, 128);
    const OWN: &LoraStack<'_> = &LoraStack::none();

    fn numbers(conditioning: &Conditioning) -> Vec<f32> {
        block_on(read_back(conditioning.hidden_states.clone())).expect("f32")
    }

    #[test]
    fn a_prompt_is_as_long_as_it_needs_and_what_is_not_understood_is_said() {
        let base = bundled::base();
        let long = ["glasses"; 40].join(", ");
        let (long, in_two) = (long.as_str(), "has 79 tokens and is read in 2 chunks");
        for (prompt, syntax, tokens, parts) in [
            ("glasses, smile", PromptSyntax::A1111, 77, vec![]),
            (long, PromptSyntax::A1111, 2 * 77, vec![in_two]),
            (long, PromptSyntax::Comfy, 2 * 77, vec![in_two]),
            (long, PromptSyntax::Plain, 2 * 77, vec![in_two]),
            (
                long,
                PromptSyntax::Cut,
                77,
                vec!["of which the first 75 are read"],
            ),
            (
                "hat BREAK smile",
                PromptSyntax::A1111,
                2 * 77,
                vec!["has 2 tokens and is read in 2 chunks"],
            ),
            ("(smile:1.2)", PromptSyntax::A1111, 77, vec![]),
            (
                "(smile:1.2)",
                PromptSyntax::Cut,
                77,
                vec!["is read letter by letter"],
            ),
            (
                "<lora:x:1>",
                PromptSyntax::A1111,
                77,
                vec!["is left out of the prompt"],
            ),
        ] {
            let states = base.encode_prompt(prompt, syntax, SIZE, OWN);
            let states = block_on(states).expect("it can be read");
            assert_eq!(
                states.hidden_states.dims(),
                [1, tokens, 64],
                "{prompt} as {syntax:?}"
            );
            let notes = base.prompt_notes(prompt, syntax).expect("it can be read");
            assert_eq!(
                notes.len(),
                parts.len(),
                "{prompt} as {syntax:?}: {notes:?}"
            );
            for (note, part) in notes.iter().zip(parts) {
                assert!(note.contains(part), "{part} in {note}");
            }
        }
    }

    #[test]
    fn a_prompt_is_the_same_whatever_is_read_beside_it() {
        let base = bundled::base();
        let long = ["glasses"; 40].join(", ");
        let prompts = ["(glasses:1.4), smile", "", &long, "[hat] BREAK (smile)"];
        for syntax in [
            PromptSyntax::A1111,
            PromptSyntax::Comfy,
            PromptSyntax::Plain,
        ] {
            let together = base.encode_prompts(&prompts, syntax, SIZE, OWN);
            let together = block_on(together).expect("they can be read");
            for (prompt, states) in prompts.iter().zip(&together) {
                let alone = base.encode_prompt(prompt, syntax, SIZE, OWN);
                let alone = block_on(alone).expect("it can be read");
                let [dims, alone_dims] = [states, &alone].map(|it| it.hidden_states.dims());
                assert_eq!(dims, alone_dims, "{prompt} as {syntax:?}");
                let pairs = numbers(states).into_iter().zip(numbers(&alone));
                let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-4, "{prompt} as {syntax:?}: {apart} apart");
            }
        }
    }

    #[test]
    fn about_as_many_chunks_are_guessed_as_there_are() {
        let base = bundled::base();
        for prompt in [
            "",
            "glasses, smile",
            &["glasses"; 40].join(", "),
            &"a girl with long brown hair in a garden, upper body, ".repeat(9),
            "hat BREAK smile BREAK (beard:1.2)",
        ] {
            for syntax in [PromptSyntax::A1111, PromptSyntax::Comfy, PromptSyntax::Cut] {
                let exact = base
                    .count_chunks(&[prompt], syntax)
                    .expect("it can be read")[0];
                let guessed = about_chunks(prompt, syntax);
                assert!(
                    guessed.abs_diff(exact) <= exact / 3,
                    "{guessed} of {exact}: {prompt} as {syntax:?}"
                );
            }
        }
        let endless = about_chunks(&"BREAK ".repeat(90), PromptSyntax::A1111);
        assert_eq!(endless, MAX_CHUNKS, "more are refused");
    }

    #[test]
    fn an_endless_prompt_is_refused_in_a_sentence() {
        let base = bundled::base();
        for prompt in ["glasses ".repeat(2000), "BREAK ".repeat(30)] {
            let refused = base.encode_prompt(&prompt, PromptSyntax::A1111, SIZE, OWN);
            let sentence = block_on(refused).expect_err("it is too long").to_string();
            assert!(sentence.contains("at most 20 can be read"), "{sentence}");
        }
    }
}
