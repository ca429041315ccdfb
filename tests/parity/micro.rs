//! The base in miniature beside torch and peft: its forward pass, and three steps of each method.
//!
//! `tests/browser` trains this base in the browser, on a GPU and on the CPU, and compares with what
//! the command line makes of it; this is what makes the command line right.

use burn::tensor::Tensor;
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::TimestepRange;
use mimeo_train::addift::{self, Direction};
use mimeo_train::copier::{copy_loss, difference_loss};
use mimeo_train::optimizer::{AdamW, clip};
use mimeo_train::{Student, plain};

use crate::support::close::{
    Tolerance, assert_all_close, assert_close, assert_together, assert_values_close, values,
};
use crate::support::fixture::Fixture;
use crate::support::lora::{compare_gradients, network};
use crate::support::models::{cpu, micro};
use crate::support::scene::{
    ALPHA, CLIP_NORM, GAMMA, LEARNING_RATE, Scene, WEIGHT_DECAY, addift, masked, masked_with_prior,
};
use crate::support::test;

/// Sums in another order: 1.7e-6 measured, the answer being of order one.
const WHOLE: Tolerance = Tolerance::abs(7e-6);
/// The UNet's error, and torch's min-SNR weights, which come from f32 alphas: 1.3e-6 measured.
const LOSS: Tolerance = Tolerance::rel(5e-6);
/// As the loss: 1.1e-6 measured.
const GRAD_NORM: Tolerance = Tolerance::rel(4.5e-6);
/// In units of each gradient's largest element: 1.8e-5 measured.
const GRADIENT: f32 = 8e-5;
/// Distance of the two LoRAs as a share of the way that they were trained: 9.3e-5 measured. Adam
/// moves a value by the learning rate even where its gradient is hardly more than rounding.
const MOVED: f64 = 4e-4;

#[test]
fn the_unet_in_miniature_matches_diffusers() {
    let fixture = Fixture::read("micro_unet.safetensors");
    let ours = micro().unet.forward(
        fixture.tensor("sample", &cpu()),
        fixture.int_tensor("timesteps", &cpu()),
        &fixture.conditioning("encoder_hidden_states", &cpu()),
        &LoraStack::none(),
    );
    let theirs: Tensor<4> = fixture.tensor("noise_pred", &cpu());
    assert_close("noise_pred, micro", ours, theirs, WHOLE);
}

/// Takes as many steps as the fixture, always with the same draw, and compares with it.
fn assert_steps(file: &'static str, loss: impl Fn(&Scene, &LoraNetwork) -> Tensor<1>) {
    let (fixture, scene) = (Fixture::read(file), Scene::micro());
    let label = |part: &str| format!("{part} of {file}");
    let targets = micro().unet.targets();
    let start = scene.difference(targets);

    let mut optimizer = AdamW::new(WEIGHT_DECAY);
    let mut parameters = start.flatten();
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for step in 0..fixture.floats("losses").len() {
        let network = start.with_values(&parameters).trainable();
        let loss = loss(&scene, &network);
        losses.extend(values(loss.clone().inner()));
        let gradient = network.flatten_gradients(&[loss.backward()]);
        if step == 0 {
            let compared = compare_gradients(targets, &network, &gradient, &fixture, GRADIENT);
            assert_all_close(&label("gradients"), &compared);
        }
        let (gradient, norm) = clip(gradient, Some(CLIP_NORM));
        norms.extend(values(norm));
        parameters = optimizer.step(LEARNING_RATE, parameters, gradient);
    }
    assert_values_close(&label("losses"), &losses, fixture.floats("losses"), LOSS);
    let theirs = fixture.floats("grad_norms");
    assert_values_close(&label("grad_norms"), &norms, theirs, GRAD_NORM);
    let theirs = network(targets, &fixture, "after.", ALPHA, &cpu()).flatten();
    let way = |after: Tensor<1>| values(after - start.flatten());
    assert_together(&label("LoRA after"), &way(parameters), &way(theirs), MOVED);
}

#[test]
fn three_steps_of_plain_match_the_reference() {
    assert_steps("train_micro_plain.safetensors", |scene, lora| {
        let below = LoraStack::none();
        let student = Student {
            below: &below,
            lora,
            level: 1.0,
        };
        let (latent, prompt) = (&scene.pair.target, &scene.pair.conditioning);
        let weights = scene.weights(&masked_with_prior());
        let (model, draw) = (micro().model(), &scene.draw);
        plain::loss(model, latent, prompt, draw, student, &weights, Some(GAMMA))
    });
}

#[test]
fn three_steps_of_the_copier_s_first_pass_match_the_reference() {
    assert_steps("train_micro_copier_1.safetensors", |scene, lora| {
        let (model, weights) = (micro().model(), scene.weights(&masked_with_prior()));
        copy_loss(model, &scene.pair, &scene.draw, lora, &weights, Some(GAMMA))
    });
}

#[test]
fn three_steps_of_the_copier_s_second_pass_match_the_reference() {
    assert_steps("train_micro_copier_2.safetensors", |scene, lora| {
        let (model, copier) = (micro().model(), scene.copier(micro().unet.targets()));
        let weights = scene.weights(&masked_with_prior());
        let Scene { pair, draw, .. } = scene;
        let below = LoraStack::none().with(&copier, 1.0);
        let student = Student {
            below: &below,
            lora,
            level: 1.0,
        };
        difference_loss(model, pair, draw, student, &weights, Some(GAMMA))
    });
}

#[test]
fn three_steps_of_addift_match_the_reference() {
    assert_steps("train_micro_addift.safetensors", |scene, lora| {
        let below = LoraStack::none();
        let student = Student {
            below: &below,
            lora,
            level: 1.0,
        };
        let Scene { pair, draw, .. } = scene;
        addift::loss(
            micro().model(),
            pair,
            draw,
            Direction::Forward,
            student,
            &scene.weights(&masked()),
            (&addift(), TimestepRange::ALL),
        )
    });
}
