//! A text is a prompt in every syntax; as a recipe, or as one number of one, it is that or an error.
//! What is taken is the same after another trip.
#![no_main]

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use mimeo_prompt::{CHUNK, Note, Piece, chunks, is_the_same_in_every_syntax, read};
use mimeo_protocol::{Method, ModelSize, PromptSyntax, Recipe};
use mimeo_workbench::dropped::{recipe_from_json, recipe_to_json};
use mimeo_workbench::fields::{FIELDS, Field, Kind};

fuzz_target!(|text: &str| {
    prompt(text);
    typed(text);
    match recipe_from_json(text.as_bytes()) {
        Ok(recipe) => {
            travels(&recipe);
            FIELDS
                .iter()
                .for_each(|field| is_typed_again(field, &recipe));
        }
        Err(error) => one_line(&error),
    }
});

fn prompt(text: &str) {
    let letters = read(text, PromptSyntax::Plain);
    for syntax in [
        PromptSyntax::A1111,
        PromptSyntax::Comfy,
        PromptSyntax::Plain,
        PromptSyntax::Cut,
    ] {
        let reading = read(text, syntax);
        if is_the_same_in_every_syntax(text) {
            assert_eq!(reading, letters, "{syntax:?}");
        }
        for note in reading.notes.iter().map(Note::to_string) {
            one_line(&note);
            assert!(note.chars().count() < 1000, "short: {note}");
        }
        let mut weights = Vec::new();
        let tokens = reading.pieces.into_iter().map(|piece| {
            // A character each: tokens are fewer.
            let Ok(tokens) = piece.try_map(|words| Ok::<_, Infallible>(codes(&words)));
            if let Piece::Words { words, weight } = &tokens {
                assert!(weight.abs() <= 100.0, "{weight}");
                weights.extend(std::iter::repeat_n(*weight, words.len()));
            }
            tokens
        });
        let tokens: Vec<Piece<Vec<u32>>> = tokens.collect();
        let chunks = chunks(tokens, syntax, Some(u32::from(',')));
        assert!(chunks.iter().all(|chunk| chunk.ids.len() <= CHUNK));
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk.ids.len() == chunk.weights.len())
        );
        if syntax == PromptSyntax::Cut {
            weights.truncate(CHUNK);
        }
        let read: Vec<f32> = chunks.into_iter().flat_map(|chunk| chunk.weights).collect();
        assert_eq!(read, weights, "no token is lost, and each keeps its weight");
    }
}

fn codes(words: &str) -> Vec<u32> {
    words.chars().map(u32::from).collect()
}

/// A text in the box of every field of a recipe.
fn typed(text: &str) {
    let preset = Recipe::preset(Method::Addift, ModelSize::Small);
    for field in FIELDS {
        match field.with(&preset, field.parse(text)) {
            Ok(recipe) => {
                travels(&recipe);
                is_typed_again(field, &recipe);
            }
            // Choices and switches are not typed.
            Err(error) if matches!(field.kind, Kind::Number(_) | Kind::OptionalNumber(..)) => {
                one_line(&error);
            }
            Err(_) => {}
        }
    }
}

fn travels(recipe: &Recipe) {
    let json = recipe_to_json(recipe);
    assert_eq!(
        recipe_from_json(json.as_bytes()).as_ref(),
        Ok(recipe),
        "{json}"
    );
}

/// What stands in a box means what it stands for.
fn is_typed_again(field: &Field, recipe: &Recipe) {
    let text = Field::text(&field.value(recipe));
    // Spaces around a prompt are not kept where it is typed.
    let is_kept = field.kind != Kind::Text || text.trim() == text;
    match field.with(recipe, field.parse(&text)) {
        Ok(again) if is_kept => assert_eq!(again, *recipe, "{} as {text:?}", field.path),
        Ok(_) => {}
        // Read, since it was stored once, and not to be trained.
        Err(error) => {
            let why = recipe.check().expect_err("it was taken before");
            assert_eq!(error, why.to_string());
            one_line(&error);
        }
    }
}

fn one_line(told: &str) {
    assert!(!told.chars().any(char::is_control), "{told:?}");
}
