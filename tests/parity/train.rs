//! One whole training step of each method beside torch and peft: loss, every gradient, its norm,
//! the LoRA after the update. Then: that the trainer takes exactly these steps.

use burn::tensor::Tensor;
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{Accumulation, BatchSize, Pass, TimestepRange};
use mimeo_train::addift::{self, Direction};
use mimeo_train::copier::{copy_loss, difference_loss};
use mimeo_train::hold::{self, Hold};
use mimeo_train::loss::{MaskWeights, batch_mean};
use mimeo_train::optimizer::{AdamW, clip};
use mimeo_train::slider;
use mimeo_train::states::Rows;
use mimeo_train::{Dataset, Draw, NoiseRng, Objective, Student, Trainer, plain};
use pollster::block_on;

use crate::support::close::{Tolerance, assert_close, assert_values_close, values};
use crate::support::fixture::Fixture;
use crate::support::models::{base, cpu};
use crate::support::scene::{
    GAMMA, LEARNING_RATE, Scene, WEIGHT_DECAY, addift, masked_with_prior, pass,
};
use crate::support::step::{Allowed, Step, assert_step, hold_outside, slider};
use crate::support::test;

/// As measured on the bundled base.
const ALLOWED: Allowed = Allowed {
    // The UNet's error, and torch's min-SNR weights, which come from f32 alphas: 1.3e-6 measured.
    loss: Tolerance::rel(6e-6),
    // As the loss: 2.1e-6 measured.
    grad_norm: Tolerance::rel(8e-6),
    // 9.2e-5 measured.
    gradient: 4e-4,
    // Adam's first step is the learning rate, 1e-3, times the gradient's sign, where there is a
    // gradient: 9.5e-7 measured.
    after: Tolerance::abs(4e-6),
    learning: 0.9,
};

#[test]
fn a_step_of_plain_matches_the_reference() {
    let (file, scene) = ("train_plain.safetensors", Scene::new(&cpu()));
    assert_step(file, base(), &scene, Step::Plain, ALLOWED);
}

#[test]
fn a_step_of_the_copier_s_first_pass_matches_the_reference() {
    let (file, scene) = ("train_copier_1.safetensors", Scene::new(&cpu()));
    assert_step(file, base(), &scene, Step::Copy, ALLOWED);
}

#[test]
fn a_step_of_the_copier_s_second_pass_matches_the_reference() {
    let (file, scene) = ("train_copier_2.safetensors", Scene::new(&cpu()));
    assert_step(file, base(), &scene, Step::Difference, ALLOWED);
}

#[test]
fn a_forward_step_of_addift_matches_the_reference() {
    let (file, scene) = ("train_addift_forward.safetensors", Scene::new(&cpu()));
    let step = Step::Addift(Direction::Forward);
    assert_step(file, base(), &scene, step, ALLOWED);
}

#[test]
fn a_reverse_step_of_addift_matches_the_reference() {
    let (file, scene) = ("train_addift_reverse.safetensors", Scene::new(&cpu()));
    let step = Step::Addift(Direction::Reverse);
    assert_step(file, base(), &scene, step, ALLOWED);
}

#[test]
fn a_step_of_addift_measured_in_the_picture_matches_the_reference() {
    let (file, scene) = ("train_addift_picture.safetensors", Scene::new(&cpu()));
    assert_step(file, base(), &scene, Step::AddiftOfPicture, ALLOWED);
}

#[test]
fn a_step_of_addift_on_top_of_a_copier_matches_the_reference() {
    let (file, scene) = ("train_addift_copier.safetensors", Scene::new(&cpu()));
    assert_step(file, base(), &scene, Step::AddiftOnCopier, ALLOWED);
}

/// Nobody's loss is as small as that of two prompts, nor are their gradients, so the share of rounding in
/// the sign that Adam takes is larger: 4.9e-6 measured.
const ALLOWED_OF_PROMPTS: Allowed = Allowed {
    // What is taught holds the difference of two answers three times, so their rounding counts more. The worst
    // are the keys of one cross-attention: 2.8e-4 measured natively, 5.2e-4 as WebAssembly.
    gradient: 1e-3,
    after: Tolerance::abs(2e-5),
    ..ALLOWED
};

#[test]
fn a_forward_step_of_the_slider_matches_the_reference() {
    let (file, scene) = ("train_slider_forward.safetensors", Scene::new(&cpu()));
    let step = Step::Slider(Direction::Forward);
    assert_step(file, base(), &scene, step, ALLOWED_OF_PROMPTS);
}

#[test]
fn a_reverse_step_of_the_slider_matches_the_reference() {
    let (file, scene) = ("train_slider_reverse.safetensors", Scene::new(&cpu()));
    let step = Step::Slider(Direction::Reverse);
    assert_step(file, base(), &scene, step, ALLOWED_OF_PROMPTS);
}

#[test]
fn a_step_that_is_held_to_the_base_matches_the_reference() {
    let (file, scene) = ("train_hold.safetensors", Scene::new(&cpu()));
    assert_step(file, base(), &scene, Step::Hold, ALLOWED);
}

/// Only the min-SNR weights differ, which torch derives from f32 alphas: 2.6e-6 measured.
const FORMULA: Tolerance = Tolerance::rel(1e-5);

#[test]
fn the_masked_loss_and_its_prior_match_the_reference_on_its_own_predictions() {
    let scene = Scene::new(&cpu());
    let weights = scene.weights(&masked_with_prior());
    let fixture = Fixture::read("train_plain.safetensors");
    let student: Tensor<4> = fixture.tensor("noise_pred", &cpu());
    let frozen: Tensor<4> = fixture.tensor("frozen_noise_pred", &cpu());
    let mean = |losses| {
        let (timesteps, schedule) = (&scene.draw.timesteps, &base().schedule);
        values(batch_mean(losses, timesteps, schedule, Some(GAMMA)))
    };
    let learn = weights.learn(student.clone() - scene.draw.noise.clone());
    let prior = weights
        .prior(|| student - frozen)
        .expect("the mask has an outside");
    let loss = mean(learn + prior.clone());
    assert_values_close("loss", &loss, fixture.floats("loss"), FORMULA);
    // Its weight in the recipe is a half.
    let prior = mean(prior * 2.0);
    assert_values_close("prior_loss", &prior, fixture.floats("prior_loss"), FORMULA);
}

/// Seed and stream of the trainer's draws and of their repetition here.
const DRAWS: (u64, u64) = (11, 4);

/// A method's loss, as a function of what changes from step to step.
type Loss<'a> = &'a dyn Fn(&Draw, &LoraNetwork, &MaskWeights) -> Tensor<1>;

/// Takes steps with a trainer, and the same steps with the parts that the fixtures prove.
fn assert_trainer_composes(
    name: &str,
    objective: Objective<'_>,
    steps: &[Loss<'_>],
    shares_timesteps: bool,
) {
    let scene = Scene::new(&cpu());
    let (pass, mask) = (pass(BatchSize::constant(2)), masked_with_prior());
    let examples = scene.examples(&mask);
    let start = scene.difference(base().unet.targets());
    let rng = NoiseRng::new(DRAWS.0, DRAWS.1);
    let mut trainer = Trainer::new(
        base().model(),
        Dataset::new(&examples, 0, 0.0).unwrap(),
        objective,
        &pass,
        start.clone(),
        rng.clone(),
    );

    let weights = scene.weights(&mask);
    let (mut rng, mut optimizer) = (rng, AdamW::new(WEIGHT_DECAY));
    let mut parameters = start.flatten();
    let mut timesteps = Vec::new();
    for (index, loss) in steps.iter().enumerate() {
        let report = block_on(trainer.step()).unwrap();

        let noise = rng.normal([2, 4, 16, 16], &cpu());
        if index == 0 || !shares_timesteps {
            timesteps = rng.timesteps(pass.timesteps, 2);
        }
        let draw = Draw {
            noise,
            timesteps: timesteps.clone(),
        };
        let lora = start.with_values(&parameters).trainable();
        let loss = loss(&draw, &lora, &weights);
        let gradient = lora.flatten_gradients(&[loss.backward()]);
        let (gradient, norm) = clip(gradient, pass.clip_norm);
        parameters = optimizer.step(LEARNING_RATE, parameters, gradient);

        let label = |part: &str| format!("{part} of the trainer's {name}, step {}", index + 1);
        let loss = values(loss.inner());
        assert_values_close(&label("loss"), &[report.loss], &loss, Tolerance::EXACT);
        assert_values_close(
            &label("norm"),
            &[report.grad_norm],
            &values(norm),
            Tolerance::EXACT,
        );
        let ours = trainer.network().flatten();
        assert_close(&label("values"), ours, parameters.clone(), Tolerance::EXACT);
    }
}

#[test]
fn the_trainer_takes_these_steps_for_every_objective() {
    let scene = Scene::new(&cpu());
    let copier = scene.copier(base().unet.targets());
    let (pair, model, recipe) = (scene.pair_of_one_prompt(), base().model(), addift());
    let (gamma, nothing) = (Some(GAMMA), LoraStack::none());

    let copy = |draw: &Draw, lora: &LoraNetwork, weights: &MaskWeights| {
        copy_loss(model, &pair, draw, lora, weights, gamma)
    };
    assert_trainer_composes("copier", Objective::Copy, &[&copy, &copy], false);

    let difference = |draw: &Draw, lora: &LoraNetwork, weights: &MaskWeights| {
        let below = LoraStack::none().with(&copier, 1.0);
        let student = Student {
            below: &below,
            lora,
            level: 1.0,
        };
        difference_loss(model, &pair, draw, student, weights, gamma)
    };
    let objective = Objective::Difference {
        copier: &copier,
        strength: 1.0,
    };
    assert_trainer_composes("difference", objective, &[&difference], false);

    let plain = |draw: &Draw, lora: &LoraNetwork, weights: &MaskWeights| {
        let (latent, prompt) = (&pair.target, &pair.conditioning);
        let student = Student {
            below: &nothing,
            lora,
            level: 1.0,
        };
        plain::loss(model, latent, prompt, draw, student, weights, gamma)
    };
    assert_trainer_composes("plain", Objective::Plain, &[&plain], false);

    let towards = |direction| {
        let (pair, recipe, nothing) = (&pair, &recipe, &nothing);
        move |draw: &Draw, lora: &LoraNetwork, weights: &MaskWeights| {
            let student = Student {
                below: nothing,
                lora,
                level: 1.0,
            };
            let recipe = (recipe, TimestepRange::ALL);
            addift::loss(model, pair, draw, direction, student, weights, recipe)
        }
    };
    let (forward, reverse) = (towards(Direction::Forward), towards(Direction::Reverse));
    assert_trainer_composes(
        "addift",
        Objective::Addift(&recipe),
        &[&forward, &reverse],
        true,
    );
}

#[test]
fn the_trainer_takes_a_slider_s_states_in_both_directions_and_those_to_keep_in_turn() {
    let scene = Scene::new(&cpu());
    let slider = slider(base(), &scene);
    let (pass, mask) = (pass(BatchSize::constant(2)), masked_with_prior());
    let examples = scene.examples(&mask);
    let start = scene.difference(base().unet.targets());
    let rng = NoiseRng::new(DRAWS.0, DRAWS.1);
    let objective = Objective::Slider(&slider);
    let (model, network) = (base().model(), start.clone());
    let dataset = Dataset::new(&examples, 0, 0.0).unwrap();
    let mut trainer = Trainer::new(model, dataset, objective, &pass, network, rng.clone());

    let (mut rng, mut optimizer) = (rng, AdamW::new(WEIGHT_DECAY));
    let mut parameters = start.flatten();
    let mut changed = Vec::new();
    for (direction, kept) in [
        (Direction::Forward, 0),
        (Direction::Reverse, 0),
        (Direction::Forward, 1),
    ] {
        let report = block_on(trainer.step()).unwrap();
        if direction == Direction::Forward {
            changed = rng.spread(2, 2);
        }
        let drawn = [
            (&slider.changed, changed.clone()),
            (&slider.kept[kept], rng.spread(2, 2)),
        ];
        let lora = start.with_values(&parameters).trainable();
        let losses = drawn
            .map(|(states, rows)| slider::loss(model, &Rows { states, rows }, direction, &lora));
        let [changing, keeping] = losses;
        let loss = changing + keeping;
        let ours = values(loss.clone().inner());
        assert_values_close("loss", &[report.loss], &ours, ACCUMULATED);
        let gradient = lora.flatten_gradients(&[loss.backward()]);
        let (gradient, _) = clip(gradient, pass.clip_norm);
        parameters = optimizer.step(LEARNING_RATE, parameters, gradient);
    }
}

#[test]
fn the_trainer_holds_each_prompt_in_turn_at_either_strength() {
    let scene = Scene::new(&cpu());
    let hold = Hold {
        kept: slider(base(), &scene).kept,
        outside: hold_outside(&scene),
        weight: 2.0,
    };
    let (pass, mask) = (pass(BatchSize::constant(2)), masked_with_prior());
    let examples = scene.examples(&mask);
    let start = scene.difference(base().unet.targets());
    let rng = NoiseRng::new(DRAWS.0, DRAWS.1);
    let dataset = Dataset::new(&examples, 0, 0.0).unwrap();
    let trainer = |hold| {
        let (model, network, rng) = (base().model(), start.clone(), rng.clone());
        Trainer::new(model, dataset, Objective::Plain, &pass, network, rng).held_to(hold)
    };
    let (mut held, mut free) = (trainer(Some(&hold)), trainer(None));
    // Two prompts at two strengths.
    let turns = [(0, 1.0), (1, -1.0), (0, -1.0), (1, 1.0)];
    for ((prompt, strength), step) in turns.into_iter().zip(1..) {
        // The free one goes where the held one is.
        let state = held.state();
        free.resume(state.clone()).unwrap();
        let lora = start.with_values(&state.values);
        let (rows, at) = hold.rows(step, 2);
        assert_eq!(at, strength, "strength of step {step}");
        assert!(
            std::ptr::eq(rows.states, &raw const hold.kept[prompt]),
            "prompt of step {step}"
        );
        let term = hold::loss(base().model(), &rows, &hold.outside, strength, &lora);
        let term = values(term)[0] * 2.0;
        let [with, without] = [&mut held, &mut free].map(|one| block_on(one.step()).unwrap().loss);
        assert!(term > 0.0, "step {step} is held to something");
        assert_values_close("loss", &[with], &[without + term], ACCUMULATED);
    }
}

/// The same sums in another order, a few roundings: 7e-8, one of them, measured.
const ACCUMULATED: Tolerance = Tolerance::rel(1e-6);

#[test]
fn two_accumulated_passes_are_one_batch_of_two() {
    let scene = Scene::new(&cpu());
    let one_batch = pass(BatchSize::constant(2));
    let accumulated = Pass {
        accumulation: Accumulation::constant(2),
        ..pass(BatchSize::constant(1))
    };
    let examples = scene.examples(&masked_with_prior());
    let [whole, parts] = [&one_batch, &accumulated].map(|pass| {
        let mut trainer = Trainer::new(
            base().model(),
            Dataset::new(&examples, 0, 0.0).unwrap(),
            Objective::Plain,
            pass,
            scene.difference(base().unet.targets()),
            NoiseRng::new(DRAWS.0, DRAWS.1),
        );
        let report = block_on(trainer.step()).unwrap();
        [report.loss, report.grad_norm]
    });
    assert_values_close("loss and norm of the gradient", &parts, &whole, ACCUMULATED);
}
