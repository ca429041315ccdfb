//! Prompts beside A1111's and ComfyUI's formulas, and beside compel.

use burn::tensor::Tensor;
use mimeo_diffusion::Guidance;
use mimeo_lora::LoraStack;
use mimeo_protocol::PromptSyntax;
use pollster::block_on;
use serde::Deserialize;

use crate::support::close::{Tolerance, assert_close};
use crate::support::fixture::{Fixture, read_json};
use crate::support::models::{base, cpu};
use crate::support::test;

/// Sums in another order: 3.3e-6 measured, on states of 5.
const STATES: Tolerance = Tolerance::abs(1.4e-5);
/// The mean that A1111 keeps is 0.006 on the bundled base, the sum of thousands of states of either
/// sign, so a rounding of it is a share of every state: 3.4e-5 measured, on states of 6.
const MEAN: Tolerance = Tolerance::abs(1.4e-4);
/// The UNet's error times the guidance: 7.2e-6 measured, on noise of 4.
const GUIDED: Tolerance = Tolerance::abs(2.9e-5);

#[derive(Deserialize)]
struct Case {
    syntax: PromptSyntax,
    prompt: String,
}

fn assert_conditions(list: &'static str, tensors: &'static str) {
    let fixture = Fixture::read(tensors);
    let cases: Vec<Case> = read_json(list);
    assert!(!cases.is_empty(), "{list} proves nothing");
    for (index, Case { syntax, prompt }) in cases.into_iter().enumerate() {
        let own = LoraStack::none();
        let ours = block_on(base().encode_prompt(&prompt, syntax, (128, 128), &own));
        let ours = ours.unwrap();
        let theirs = fixture.tensor(&index.to_string(), &cpu());
        let name = format!("{syntax:?}: {}", prompt.get(..60).unwrap_or(&prompt));
        let tolerance = match syntax {
            PromptSyntax::A1111 => MEAN,
            PromptSyntax::Comfy | PromptSyntax::Plain | PromptSyntax::Cut => STATES,
        };
        assert_close(&name, ours.hidden_states, theirs, tolerance);
    }
}

#[test]
fn prompts_condition_the_model_as_in_a1111_and_comfyui() {
    assert_conditions("prompts.json", "prompts.safetensors");
}

#[test]
fn long_prompts_and_comfyuis_weights_are_those_of_compel() {
    assert_conditions("compel.json", "compel.safetensors");
}

#[test]
fn a_prompt_may_be_longer_than_what_it_is_guided_away_from() {
    let fixture = Fixture::read("long_guidance.safetensors");
    let conditioning = |name| fixture.conditioning(name, &cpu());
    let guidance = Guidance {
        conditional: conditioning("encoder_hidden_states"),
        unconditional: conditioning("negative_encoder_hidden_states"),
        scale: 3.0,
        rescale: 0.0,
    };
    let sample: Tensor<4> = fixture.tensor("sample", &cpu());
    let timestep = fixture.integers("timestep")[0].unsigned_abs() as usize;
    let ours = guidance.noise_pred(&base().unet, sample, timestep, &LoraStack::none());
    let theirs = fixture.tensor("noise_pred", &cpu());
    assert_close("guided noise", ours, theirs, GUIDED);
}
