//! DDIM, its inversion and Euler beside diffusers, on the bundled UNet.

use burn::tensor::Tensor;
use mimeo_diffusion::{Ddim, Euler, Guidance};
use mimeo_lora::LoraStack;

use crate::support::fixture::Fixture;
use crate::support::models::{base, cpu};
use crate::support::test;
use crate::support::walk::Walk;

/// The UNet's error, times guidance and the step's factors: 4e-6 measured, on latents of order one.
const STEP: f32 = 1.6e-5;
/// What the steps' errors add up to: 1.1e-5 measured.
const WAY: f32 = 4.5e-5;

/// As the fixtures were made.
const GUIDANCE: f64 = 3.0;

/// Walks a fixture's trajectory; `advance` takes the index of a step and the latent before it.
fn assert_walks(file: &'static str, scale: f32, advance: impl Fn(usize, Tensor<4>) -> Tensor<4>) {
    let fixture = Fixture::read(file);
    let start: Tensor<4> = fixture.tensor("latent", &cpu());
    let latents: Tensor<4> = fixture.tensor("latents", &cpu());
    let walk = Walk {
        label: file,
        start,
        latents,
        step: STEP,
        way: WAY,
    };
    walk.assert_matches(|_| scale, advance);
}

fn guidance(file: &'static str) -> Guidance {
    let fixture = Fixture::read(file);
    Guidance {
        conditional: fixture.conditioning("encoder_hidden_states", &cpu()),
        unconditional: fixture.conditioning("negative_encoder_hidden_states", &cpu()),
        scale: GUIDANCE,
        rescale: 0.0,
    }
}

#[test]
fn ddim_takes_the_steps_of_diffusers() {
    let file = "ddim.safetensors";
    let (guidance, sampler) = (guidance(file), Ddim::new(&base().schedule, 20));
    assert_eq!(
        sampler.timesteps(),
        Fixture::read(file).timesteps("timesteps"),
        "timesteps"
    );
    assert_walks(file, 1.0, |step, latent| {
        let timestep = sampler.timesteps()[step];
        let pred = guidance.noise_pred(&base().unet, latent.clone(), timestep, &LoraStack::none());
        sampler.step(timestep, pred, latent)
    });
}

#[test]
fn euler_takes_the_steps_of_diffusers() {
    let file = "euler.safetensors";
    let (guidance, sampler) = (guidance(file), Euler::new(&base().schedule, 10));
    // Euler's latents are larger: they start at sigma instead of 1.
    let scale = sampler.init_noise_sigma() as f32;
    assert_walks(file, scale, |step, latent| {
        let timestep = sampler.timesteps()[step];
        let scaled = sampler.scale_model_input(step, latent.clone());
        let pred = guidance.noise_pred(&base().unet, scaled, timestep, &LoraStack::none());
        sampler.step(step, pred, latent)
    });
}

#[test]
fn ddim_inversion_takes_the_steps_of_diffusers() {
    let file = "ddim_inverse.safetensors";
    let fixture = Fixture::read(file);
    let sampler = Ddim::new(&base().schedule, 20);
    let timesteps: Vec<usize> = sampler.timesteps().iter().rev().copied().collect();
    assert_eq!(
        timesteps,
        fixture.timesteps("timesteps"),
        "timesteps, lowest first"
    );
    let unguided = Guidance::unguided(fixture.conditioning("encoder_hidden_states", &cpu()));
    assert_walks(file, 1.0, |step, latent| {
        let timestep = timesteps[step];
        let pred = unguided.noise_pred(&base().unet, latent.clone(), timestep, &LoraStack::none());
        sampler.invert_step(timestep, pred, latent)
    });
}
