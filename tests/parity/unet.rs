//! `UNet2DConditionModel` beside diffusers': the parts, the blocks, the whole.

use burn::tensor::Tensor;
use mimeo_diffusion::UNet2DConditionModel;
use mimeo_lora::LoraStack;

use crate::support::close::{Tolerance, assert_close};
use crate::support::fixture::Fixture;
use crate::support::models::{base, bundled, cpu, sd1x, unet};
use crate::support::test;

/// An angle of 999 rad has an f32 spacing of 6e-5, and torch rounds its frequencies otherwise:
/// 2.9e-5 measured.
const SINUSOIDS: Tolerance = Tolerance::abs(1.2e-4);
/// Two products whose sums are in another order: 1.2e-6 measured.
const TIME_EMBEDDING: Tolerance = Tolerance::abs(5e-6);
/// Sums in another order: 1.1e-5 measured, where states reach a few tens.
const BLOCK: Tolerance = Tolerance::abs(4e-5);
/// The same through all blocks: 3.4e-6 measured, the answer being of order one.
const WHOLE: Tolerance = Tolerance::abs(1.4e-5);

#[test]
fn the_time_embedding_matches_diffusers() {
    let fixture = Fixture::read("time_embedding.safetensors");
    let unet = &base().unet;
    let sinusoid = unet
        .time_proj
        .forward(fixture.int_tensor("timesteps", &cpu()));
    assert_close(
        "sinusoid",
        sinusoid,
        fixture.tensor("sinusoid", &cpu()),
        SINUSOIDS,
    );
    let temb = unet
        .time_embedding
        .forward(&fixture.tensor("sinusoid", &cpu()), &LoraStack::none());
    assert_close("temb", temb, fixture.tensor("temb", &cpu()), TIME_EMBEDDING);
}

/// The fixture's tensors of one block.
struct Captured<'a> {
    fixture: &'a Fixture,
    block: String,
}

impl Captured<'_> {
    fn tensor(&self, name: &str) -> Tensor<4> {
        self.fixture
            .tensor(&format!("{}.{name}", self.block), &cpu())
    }

    /// `{name}.0`, `{name}.1` and so on, as many as there are.
    fn list(&self, name: &str) -> Vec<Tensor<4>> {
        let names = (0..).map(|index| format!("{name}.{index}"));
        let there = |name: &String| self.fixture.has(&format!("{}.{name}", self.block));
        names
            .take_while(there)
            .map(|name| self.tensor(&name))
            .collect()
    }

    fn assert_close(&self, name: &str, ours: Tensor<4>) {
        assert_close(
            &format!("{}.{name}", self.block),
            ours,
            self.tensor(name),
            BLOCK,
        );
    }
}

#[test]
fn every_block_matches_diffusers_by_itself() {
    let fixture = Fixture::read("unet_blocks.safetensors");
    let unet = &base().unet;
    let temb: Tensor<2> = fixture.tensor("temb", &cpu());
    let context: Tensor<3> = fixture.tensor("encoder_hidden_states", &cpu());
    let lora = LoraStack::none();
    let captured = |block: String| Captured {
        fixture: &fixture,
        block,
    };

    for (index, block) in unet.down_blocks.iter().enumerate() {
        let captured = captured(format!("down_blocks.{index}"));
        let hidden = captured.tensor("hidden_states");
        let (output, states) = block.forward(hidden, &temb, &context, &lora);
        captured.assert_close("output", output);
        assert_eq!(
            states.len(),
            captured.list("res_output").len(),
            "states that {} leaves for the way up",
            captured.block
        );
        for (index, state) in states.into_iter().enumerate() {
            captured.assert_close(&format!("res_output.{index}"), state);
        }
    }

    let mid = captured("mid_block".to_owned());
    let hidden = mid.tensor("hidden_states");
    mid.assert_close(
        "output",
        unet.mid_block.forward(hidden, &temb, &context, &lora),
    );

    for (index, block) in unet.up_blocks.iter().enumerate() {
        let captured = captured(format!("up_blocks.{index}"));
        let (hidden, states) = (captured.tensor("hidden_states"), captured.list("res_input"));
        let output = block.forward(hidden, states, &temb, &context, &lora);
        captured.assert_close("output", output);
    }
}

fn assert_predicts(unet: &UNet2DConditionModel, fixture: &Fixture, prefix: &str, label: &str) {
    let name = |part: &str| format!("{prefix}{part}");
    let ours = unet.forward(
        fixture.tensor(&name("sample"), &cpu()),
        fixture.int_tensor(&name("timesteps"), &cpu()),
        &fixture.conditioning(&name("encoder_hidden_states"), &cpu()),
        &LoraStack::none(),
    );
    let theirs = fixture.tensor(&name("noise_pred"), &cpu());
    assert_close(&format!("noise_pred, {label}"), ours, theirs, WHOLE);
}

#[test]
fn the_whole_bundled_unet_matches_diffusers() {
    let fixture = Fixture::read("unet.safetensors");
    assert_predicts(&unet(&bundled()), &fixture, "", "bundled");
}

#[test]
fn a_unet_with_the_structure_of_stable_diffusion_1_matches_diffusers() {
    let fixture = Fixture::read("sd1x_unet.safetensors");
    let unet = unet(&sd1x());
    assert_predicts(&unet, &fixture, "", "sd1x");
    assert_predicts(&unet, &fixture, "wide.", "sd1x, not square");
}
