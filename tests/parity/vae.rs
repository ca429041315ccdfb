//! `AutoencoderKl` beside diffusers' `AutoencoderKL`.

use mimeo_checkpoint::{Checkpoint, VaeConfig};
use mimeo_diffusion::{AutoencoderKl, WeightFormat, WeightMap};
use mimeo_image::{LatentMask, decode, decode_mask};
use mimeo_train::NoiseRng;
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

/// Burn's convolutions of stride 2 sum in an order that depends on the size: 4e-7 measured, latents being of order one.
const ENCODED_IN_STRIPS: Tolerance = Tolerance::abs(2e-6);

/// Latents and pictures whose sides are no multiples of anything, whole and in strips.
fn assert_same_in_strips(name: &str, load: impl Fn() -> (VaeConfig, AutoencoderKl)) {
    let (config, whole) = load();
    let mut rng = NoiseRng::new(20, 27);
    let latent = rng.normal([1, config.latent_channels, 9, 5], &cpu());
    let image = rng.normal([1, 3, 37, 21], &cpu()).clamp(-1.0, 1.0);
    let (decoded, encoded) = (whole.decode(latent.clone()), whole.encode(image.clone()));
    // Two rows, the fewest, and about ten of the outermost level.
    let row = config.block_out_channels[0] * 40;
    for numbers in [1, 10 * row] {
        let (_, vae) = load();
        let vae = vae.with_strips_of(numbers);
        let name = |what: &str| format!("{name}, {what} in strips of {numbers}");
        let ours = vae.decode(latent.clone());
        assert_close(&name("decoded"), ours, decoded.clone(), Tolerance::EXACT);
        let ours = vae.encode(image.clone());
        assert_close(&name("encoded"), ours, encoded.clone(), ENCODED_IN_STRIPS);
    }
}

#[test]
fn a_picture_in_strips_is_the_same_picture() {
    assert_same_in_strips("the bundled VAE", || vae(&bundled()));
    assert_same_in_strips("a VAE without attention", || vae(&sd1x()));
    // Wide enough for convolutions in fewer multiplications, which make two rows at once.
    let config = r#"{
        "block_out_channels": [128, 128],
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
        "latent_channels": 4
    }"#;
    let config = VaeConfig::from_json(config).unwrap();
    assert_same_in_strips("a wide VAE", || {
        let mut weights = WeightMap::random(&cpu(), WeightFormat::Single);
        let vae = AutoencoderKl::load(&config, &mut weights).unwrap();
        (config.clone(), vae)
    });
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
