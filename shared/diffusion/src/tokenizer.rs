//! `CLIPTokenizer`, transformers `models/clip/tokenization_clip.py`, built from the same Hugging
//! Face `tokenizers` parts.

mod files;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

/// Tokens that the text encoder reads at once, start and end included.
pub const MAX_TOKENS: usize = 77;
const COMMA: &str = ",</w>";
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// A vocabulary that is not CLIP's.
#[derive(Debug, thiserror::Error)]
#[error(
    "the tokenizer's {file} is not a CLIP vocabulary ({reason}). Use the tokenizer folder that came with the model."
)]
pub struct TokenizerError {
    file: &'static str,
    reason: String,
}

/// Byte-pair encoding with CLIP's vocabulary (arXiv 2103.00020, section 2.4).
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    comma: Option<u32>,
    /// What fills a prompt behind its end: the end again, or in Stable Diffusion 2 a `!`.
    pad: u32,
}

impl Tokenizer {
    /// How many tokens there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Builds the tokenizer from the texts of `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// [`TokenizerError`] when they are not such files.
    pub fn new(vocab_json: &str, merges_txt: &str) -> Result<Self, TokenizerError> {
        let vocab: Vocab = serde_json::from_str(vocab_json).map_err(|error| TokenizerError {
            file: "vocab.json",
            reason: error.to_string(),
        })?;
        let merges = pairs(merges_txt.lines()).map_err(|reason| TokenizerError {
            file: "merges.txt",
            reason,
        })?;
        Self::of_parts(vocab, merges, ["vocab.json", "merges.txt"])
    }

    /// - `files`: where the vocabulary and the merges are from
    fn of_parts(
        vocab: Vocab,
        merges: Merges,
        files: [&'static str; 2],
    ) -> Result<Self, TokenizerError> {
        let [bad_vocab, bad_merges] =
            files.map(|file| move |reason: String| TokenizerError { file, reason });
        let token = |name: &str| {
            vocab
                .get(name)
                .copied()
                .ok_or_else(|| bad_vocab(format!("it lacks {name}")))
        };
        let (start, end) = (token(START)?, token(END)?);
        let comma = vocab.get(COMMA).copied();

        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .unk_token(END.to_owned())
            .end_of_word_suffix("</w>".to_owned())
            .build()
            .map_err(|error| bad_merges(error.to_string()))?;
        let mut inner = tokenizers::Tokenizer::new(model);
        let words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
        let constant = |error: tokenizers::Error| bad_vocab(error.to_string());
        let spaces = tokenizers::normalizers::replace::ReplacePattern::Regex(r"\s+".to_owned());
        let spaces = Replace::new(spaces, " ").map_err(constant)?;
        let normalizers = Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()]);
        inner.with_normalizer(Some(normalizers)).map_err(constant)?;
        let words = SplitPattern::Regex(words.to_owned());
        let words = Split::new(words, SplitDelimiterBehavior::Removed, true).map_err(constant)?;
        inner.with_pre_tokenizer(Some(PreTokenizers::new(vec![
            words.into(),
            ByteLevel::default()
                .add_prefix_space(false)
                .use_regex(true)
                .into(),
        ])));
        let special = [START, END].map(|token| AddedToken::from(token, true));
        inner.add_special_tokens(special).map_err(constant)?;
        Ok(Self {
            inner,
            start,
            end,
            comma,
            pad: end,
        })
    }

    /// The tokens of a text, however many.
    ///
    /// # Errors
    /// [`TokenizerError`] when the vocabulary lacks a byte of the text.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|error| TokenizerError {
            file: "vocab.json",
            reason: error.to_string(),
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokens as the text encoder reads them: between start and end, cut or filled with the padding
    /// token to [`MAX_TOKENS`].
    #[must_use]
    pub fn framed(&self, tokens: &[u32]) -> Vec<u32> {
        let mut ids = vec![self.start];
        ids.extend(tokens.iter().take(MAX_TOKENS - 2));
        ids.push(self.end);
        ids.resize(MAX_TOKENS, self.pad);
        ids
    }

    /// The token of a comma that ends a word, if there is one.
    #[must_use]
    pub const fn comma(&self) -> Option<u32> {
        self.comma
    }
}

/// Merges that are written as two words with a space between them, as in `merges.txt`.
fn pairs<S: AsRef<str>>(lines: impl Iterator<Item = S>) -> Result<Merges, String> {
    let mut merges = Vec::new();
    for line in lines {
        let line = line.as_ref();
        if line.starts_with("#version") || line.is_empty() {
            continue;
        }
        let pair = line.split_once(' ');
        let (left, right) = pair.ok_or_else(|| "a line is not a pair".to_owned())?;
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}
