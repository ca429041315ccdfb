//! The other files that a tokenizer comes in: `tokenizer.json`, all that transformers 5 writes,
//! tokens that were added to the vocabulary, and the token that fills a prompt.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::models::bpe::{Merges, Vocab};

use super::{END, START, Tokenizer, TokenizerError, pairs};

const WHOLE: &str = "tokenizer.json";
const ADDED: &str = "added_tokens.json";

/// `tokenizer.json`: the parts that differ between CLIP's. How text becomes words is the same in
/// all of them, and built as transformers builds it, whatever the file says.
#[derive(Deserialize)]
struct TokenizerJson {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<AddedTokenWithId>,
}

#[derive(Deserialize)]
struct Model {
    r#type: Option<String>,
    vocab: Vocab,
    merges: WrittenMerges,
    end_of_word_suffix: Option<String>,
}

/// Since version 0.20 of `tokenizers` in pairs, before that in words.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenMerges {
    Pairs(Vec<(String, String)>),
    Words(Vec<String>),
}

#[derive(Deserialize)]
struct AddedTokenWithId {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

impl Tokenizer {
    /// Builds the tokenizer from the text of `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError`] when it is not CLIP's.
    pub fn from_json(json: &str) -> Result<Self, TokenizerError> {
        let bad = |reason: String| TokenizerError {
            file: WHOLE,
            reason,
        };
        let TokenizerJson {
            model,
            added_tokens,
        } = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        if model.r#type.is_some_and(|kind| kind != "BPE") {
            return Err(bad("it is no byte-pair encoding".to_owned()));
        }
        if model.end_of_word_suffix.as_deref() != Some("</w>") {
            return Err(bad("words do not end in </w>".to_owned()));
        }
        let merges: Merges = match model.merges {
            WrittenMerges::Pairs(pairs) => pairs,
            WrittenMerges::Words(words) => pairs(words.iter()).map_err(bad)?,
        };
        let mut tokenizer = Self::of_parts(model.vocab, merges, [WHOLE; 2])?;
        let added = added_tokens
            .into_iter()
            .filter(|added| ![START, END].contains(&added.token.content.as_str()))
            .map(|added| (added.id, added.token));
        tokenizer.add(added.collect(), WHOLE)?;
        Ok(tokenizer)
    }

    /// Adds the tokens that `added_tokens.json` lists with their numbers: words of their own, as
    /// textual inversion makes them.
    ///
    /// # Errors
    /// [`TokenizerError`] when the numbers do not follow upon those of the vocabulary.
    pub fn add_tokens(&mut self, json: &str) -> Result<(), TokenizerError> {
        let added: BTreeMap<String, u32> =
            serde_json::from_str(json).map_err(|error| TokenizerError {
                file: ADDED,
                reason: error.to_string(),
            })?;
        let added = added
            .into_iter()
            .filter(|(content, _)| ![START, END].contains(&content.as_str()))
            .map(|(content, id)| (id, AddedToken::from(content, false)));
        self.add(added.collect(), ADDED)
    }

    fn add(
        &mut self,
        tokens: BTreeMap<u32, AddedToken>,
        file: &'static str,
    ) -> Result<(), TokenizerError> {
        let bad = |reason: String| TokenizerError { file, reason };
        for (id, token) in tokens {
            let content = token.content.clone();
            let added = self.inner.add_tokens([token]);
            added.map_err(|error| bad(error.to_string()))?;
            if self.inner.token_to_id(&content) != Some(id) {
                let content = mimeo_checkpoint::printable(&content, 60);
                return Err(bad(format!("{content:?} cannot be number {id}")));
            }
        }
        Ok(())
    }

    /// Takes the padding token that a configuration names, and answers whether it names one.
    ///
    /// - `json`: of `tokenizer_config.json` or `special_tokens_map.json`
    ///
    /// # Errors
    /// [`TokenizerError`] when the vocabulary lacks that token.
    pub fn pad_as_configured(
        &mut self,
        file: &'static str,
        json: &str,
    ) -> Result<bool, TokenizerError> {
        let bad = |reason: String| TokenizerError { file, reason };
        let config: Value = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        let pad = &config["pad_token"];
        let Some(pad) = pad.as_str().or_else(|| pad["content"].as_str()) else {
            return Ok(false);
        };
        self.pad = self.inner.token_to_id(pad).ok_or_else(|| {
            let pad = mimeo_checkpoint::printable(pad, 60);
            bad(format!("its pad_token {pad:?} is not in the vocabulary"))
        })?;
        // In a prompt it is that token too, and not the word that it would be.
        let special = AddedToken::from(pad, true);
        let added = self.inner.add_special_tokens([special]);
        added.map_err(|error| bad(error.to_string()))?;
        Ok(true)
    }
}
