//! `Tokenizer` beside transformers' `CLIPTokenizer`, id for id.

use mimeo_diffusion::Tokenizer;
use mimeo_diffusion::tokenizer::MAX_TOKENS;
use serde::Deserialize;

use crate::support::fixture::read_json;
use crate::support::models::bundled;
use crate::support::test;

#[derive(Deserialize)]
struct Encoded {
    text: String,
    ids: Vec<u32>,
}

fn tokenizer() -> Tokenizer {
    let text = |path: &str| {
        let (_, bytes) = bundled()
            .files
            .iter()
            .find(|(name, _)| *name == path)
            .unwrap();
        std::str::from_utf8(bytes).unwrap()
    };
    Tokenizer::new(text("tokenizer/vocab.json"), text("tokenizer/merges.txt")).unwrap()
}

#[test]
fn every_string_has_the_ids_of_transformers() {
    let tokenizer = tokenizer();
    let cases: Vec<Encoded> = read_json("tokenizer.json");
    assert!(
        cases.len() >= 500,
        "only {} strings prove little",
        cases.len()
    );

    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|Encoded { text, ids }| {
            let ours = tokenizer.framed(&tokenizer.tokens(text).unwrap());
            let at = ours
                .iter()
                .zip(ids)
                .position(|(ours, theirs)| ours != theirs);
            let at = at.or((ours.len() != ids.len()).then_some(ours.len().min(ids.len())))?;
            let from = at.saturating_sub(1);
            Some(format!(
                "{text:?} at {at}: {:?}…, not {:?}…",
                &ours[from..][..4],
                &ids[from..][..4]
            ))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_prompt_becomes_as_many_tokens_as_the_text_encoder_has_places() {
    let tokenizer = tokenizer();
    for prompt in ["", "glasses", &"glasses ".repeat(1000)] {
        let ids = tokenizer.framed(&tokenizer.tokens(prompt).unwrap());
        assert_eq!(
            ids.len(),
            MAX_TOKENS,
            "tokens of a prompt of {} bytes",
            prompt.len()
        );
    }
}
