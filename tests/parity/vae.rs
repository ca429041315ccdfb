//! `AutoencoderKl` beside diffusers' `AutoencoderKL`.

use mimeo_checkpoint::Checkpoint;
use mimeo_image::{LatentMask, decode, decode_mask};
use pollster::block_on;

use crate::support::close::{Tolerance, assert_close, assert_values_close};
use crate::support::fixture::Fixture;
use crate::support::models::{base, bundled, cpu, sd1x, vae};
use crate::support::test;

/// Sums in another order through all layers: 3.4e-6 measured, pictures and latents being of order
/// one.
const TOLERANCE: Tolerance = Tolerance::abs(1.4e-5);

fn assert_there_and_back(folder: &dyn Checkpoint, file: &'static str) {
    let (config, vae) = vae(folder);
    let fixture = Fixture::read(file);
    let name = |part: &str| format!("{part} of {file}");
    let latent = fixture.tensor("latent", &cpu());

    let ours = vae.encode(fixture.tensor("image", &cpu()));
    assert_close(&name("latent"), ours.clone(), latent.clone(), TOLERANCE);
    let mean = ours / config.scaling_factor;
    let scale = config.scaling_factor.recip() as f32;
    let tolerance = Tolerance::abs(TOLERANCE.abs * scale);
    assert_close(
        &name("mean"),
        mean,
        fixture.tensor("mean", &cpu()),
        tolerance,
    );
    let decoded = fixture.tensor("decoded", &cpu());
    assert_close(&name("decoded"), vae.decode(latent), decoded, TOLERANCE);
}

#[test]
fn the_bundled_vae_matches_diffusers_there_and_back() {
    assert_there_and_back(&bundled(), "vae.safetensors");
}

#[test]
fn a_vae_without_attention_matches_diffusers_on_a_picture_that_is_not_square() {
    assert_there_and_back(&sd1x(), "sd1x_vae.safetensors");
}

#[test]
fn the_base_encodes_a_pair_as_the_reference_does() {
    let fixture = Fixture::read("train_inputs.safetensors");
    let pairs = mimeo_base::pairs();
    let pair = pairs
        .iter()
        .find(|pair| (pair.edit, pair.id) == ("glasses", "00"))
        .unwrap();
    for (name, png) in [
        ("original_latent", pair.original_png),
        ("target_latent", pair.target_png),
    ] {
        let picture = decode(png).unwrap().picture;
        let ours = block_on(base().encode_picture(&picture));
        assert_close(name, ours.unwrap(), fixture.tensor(name, &cpu()), TOLERANCE);
    }
    let mask = LatentMask::new(&decode_mask(pair.mask_png).unwrap()).unwrap();
    // Sixty-four pixels of 0 or 1: their average is the same number in any order.
    let theirs = fixture.floats("latent_mask");
    assert_values_close("latent mask", &mask.weights, theirs, Tolerance::EXACT);
}
