//! `ClipTextModel` beside transformers' `CLIPTextModel`.

use mimeo_checkpoint::Checkpoint;
use mimeo_diffusion::{Conditioning, OutputLayer};
use mimeo_lora::LoraStack;
use mimeo_protocol::PromptSyntax;
use pollster::block_on;

use crate::support::close::{Tolerance, assert_close};
use crate::support::fixture::Fixture;
use crate::support::models::{base, bundled, cpu, sd1x, text_encoder};
use crate::support::test;

/// Sums in another order: 2.9e-6 measured, on a state of 5.
const TOLERANCE: Tolerance = Tolerance::abs(1.2e-5);

fn assert_encodes(folder: &dyn Checkpoint, file: &'static str) {
    let fixture = Fixture::read(file);
    let tokens = fixture.shape("ids")[1];
    let ids: Vec<u32> = fixture
        .integers("ids")
        .iter()
        .map(|id| id.unsigned_abs())
        .collect();
    let ids: Vec<Vec<u32>> = ids.chunks(tokens).map(<[u32]>::to_vec).collect();
    let ours = text_encoder(folder).forward(&ids, OutputLayer::LAST, &LoraStack::none());
    assert_close(
        file,
        ours,
        fixture.tensor("last_hidden_state", &cpu()),
        TOLERANCE,
    );
}

#[test]
fn the_bundled_text_encoder_matches_transformers() {
    assert_encodes(&bundled(), "clip_text.safetensors");
}

#[test]
fn a_text_encoder_with_exact_gelu_and_unprefixed_keys_matches_transformers() {
    assert_encodes(&sd1x(), "sd1x_text.safetensors");
}

/// In a recipe from before prompts had a syntax they mean what they always meant: the last one is cut.
#[test]
fn the_base_encodes_the_prompts_of_old_recipes_as_the_reference_does() {
    let fixture = Fixture::read("clip_text.safetensors");
    let theirs = fixture.tensor::<3>("last_hidden_state", &cpu());
    let long =
        ["long hair, blonde hair, pale skin, round glasses, wink, tongue out, purple overalls"];
    let prompts = [
        "",
        "glasses, smile",
        "bob hair, black hair, tan skin, open eyes, serious mouth, red t-shirt, gray background",
        &long.repeat(5).join(", "),
    ];
    let size = (128, 128);
    let own = LoraStack::none();
    let ours = block_on(base().encode_prompts(&prompts, PromptSyntax::Cut, size, &own));
    let ours = ours.unwrap();
    let ours = Conditioning::cat(ours).hidden_states;
    assert_close("prompts", ours, theirs, TOLERANCE);
}
