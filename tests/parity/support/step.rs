//! One whole training step of a method beside torch and peft.

use burn::tensor::Tensor;
use mimeo_diffusion::{Recompute, Tape};
use mimeo_engine::Base;
use mimeo_lora::{LoraNetwork, LoraStack, Targets};
use mimeo_protocol::{AddiftLoss, AddiftRecipe, TimestepRange};
use mimeo_train::addift::{self, Direction};
use mimeo_train::copier::{copy_loss, difference_loss};
use mimeo_train::hold;
use mimeo_train::optimizer::{AdamW, clip};
use mimeo_train::slider::{self, Slider};
use mimeo_train::states::{Rows, States};
use mimeo_train::{Model, Student, plain};

use super::close::{
    Comparison, Tolerance, assert_all_close, assert_close, assert_values_close, values,
};
use super::fixture::Fixture;
use super::lora::{as_stored, compare_factors, compare_gradients};
use super::scene::{
    CLIP_NORM, GAMMA, LEARNING_RATE, Scene, WEIGHT_DECAY, addift, masked, masked_with_prior,
};

/// Below this share of the largest element, a gradient's sign may be rounding.
const TINY: f32 = 1e-3;

/// What is trained.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// An ordinary LoRA on the target.
    Plain,
    /// The copier's first pass.
    Copy,
    /// The copier's second pass.
    Difference,
    /// The teacher difference, in a direction.
    Addift(Direction),
    /// The teacher difference, its error measured in the clean picture.
    AddiftOfPicture,
    /// The teacher difference on top of a copier.
    AddiftOnCopier,
    /// The difference of two prompts, in a direction.
    Slider(Direction),
    /// What keeps a LoRA from changing other pictures.
    Hold,
}

/// How far a step may be from the reference.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// Of the loss.
    pub loss: Tolerance,
    /// Of the gradient's norm.
    pub grad_norm: Tolerance,
    /// Of each gradient, in units of its largest element.
    pub gradient: f32,
    /// Of the LoRA after the update, where it has a gradient.
    pub after: Tolerance,
    /// What share of each factor must have one.
    pub learning: f32,
}

/// Takes a step from the difference LoRA and compares loss, gradients, their norm and the LoRA after
/// it with the fixture. Then, that loss and gradients are the same bit for bit however much is run again.
pub fn assert_step(file: &str, base: &Base, scene: &Scene, step: Step, allowed: Allowed) {
    let fixture = Fixture::read(file);
    let label = |part: &str| format!("{part} of {file}");
    let targets = base.unet.targets();
    let network = scene.difference(targets).trainable();

    let run = |tape: Option<&Tape>| {
        let model = Model {
            tape,
            ..base.model()
        };
        let loss = loss(base, model, scene, step, &network);
        let gradient = network.flatten_gradients(&model.backward(&loss));
        (values(loss.inner()), gradient)
    };
    let (ours, gradient) = run(None);
    assert_values_close(&label("loss"), &ours, fixture.floats("loss"), allowed.loss);

    let comparisons = compare_gradients(targets, &network, &gradient, &fixture, allowed.gradient);
    assert_all_close(&label("gradients"), &comparisons);

    for recompute in [
        Recompute::NOTHING,
        Recompute { levels: 1 },
        Recompute::EVERYTHING,
    ] {
        let (loss, again) = run(Some(&Tape::new(recompute)));
        let label = |part: &str| label(&format!("{part} with {recompute:?}"));
        assert_values_close(&label("loss"), &loss, &ours, Tolerance::EXACT);
        assert_close(
            &label("gradient"),
            again,
            gradient.clone(),
            Tolerance::EXACT,
        );
    }
    assert_update((file, &fixture), targets, &network, gradient, allowed);
}

/// Updates a LoRA by its gradient and compares the gradient's norm and the LoRA after it with the
/// fixture.
pub fn assert_update(
    (file, fixture): (&str, &Fixture),
    targets: &Targets,
    network: &LoraNetwork,
    gradient: Tensor<1>,
    allowed: Allowed,
) {
    let label = |part: &str| format!("{part} of {file}");
    let (gradient, norm) = clip(gradient, Some(CLIP_NORM));
    let theirs = fixture.floats("grad_norm");
    assert_values_close(
        &label("grad_norm"),
        &values(norm),
        theirs,
        allowed.grad_norm,
    );

    let start = network.frozen().flatten();
    let after = AdamW::new(WEIGHT_DECAY).step(LEARNING_RATE, start, gradient);
    let after = network.with_values(&after);
    let compare = |key: &str, factor: &Tensor<2>| {
        let theirs = fixture.floats(key);
        let gradient = fixture.floats(&key.replacen("after.", "grad.", 1));
        let largest = gradient
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let has_gradient = |index: &usize| gradient[*index].abs() > TINY * largest;
        let kept: Vec<usize> = (0..theirs.len()).filter(has_gradient).collect();
        assert!(
            kept.len() as f32 > theirs.len() as f32 * allowed.learning,
            "{key} has hardly any gradient"
        );
        let keep = |values: &[f32]| kept.iter().map(|index| values[*index]).collect::<Vec<_>>();
        let ours = keep(&as_stored(factor.clone()));
        Comparison::new(key, &ours, &keep(theirs), allowed.after)
    };
    assert_all_close(
        &label("LoRA after"),
        &compare_factors(targets, &after, compare, "after."),
    );
}

fn loss(base: &Base, model: Model<'_>, scene: &Scene, step: Step, lora: &LoraNetwork) -> Tensor<1> {
    let Scene { pair, draw, .. } = scene;
    let gamma = Some(GAMMA);
    let copier = scene.copier(base.unet.targets());
    let nothing = LoraStack::none();
    let on_copier = nothing.clone().with(&copier, 1.0);
    let weights = |recipe| scene.weights(&recipe);
    let addift = |direction, below, loss| {
        let weights = weights(masked());
        let recipe = AddiftRecipe { loss, ..addift() };
        let recipe = (&recipe, TimestepRange::ALL);
        let student = Student {
            below,
            lora,
            level: 1.0,
        };
        addift::loss(model, pair, draw, direction, student, &weights, recipe)
    };
    match step {
        Step::Plain => {
            let (latent, prompt) = (&pair.target, &pair.conditioning);
            let student = Student {
                below: &nothing,
                lora,
                level: 1.0,
            };
            let weights = weights(masked_with_prior());
            plain::loss(model, latent, prompt, draw, student, &weights, gamma)
        }
        Step::Copy => copy_loss(
            model,
            pair,
            draw,
            lora,
            &weights(masked_with_prior()),
            gamma,
        ),
        Step::Difference => {
            let weights = weights(masked_with_prior());
            let student = Student {
                below: &on_copier,
                lora,
                level: 1.0,
            };
            difference_loss(model, pair, draw, student, &weights, gamma)
        }
        Step::Addift(direction) => addift(direction, &nothing, AddiftLoss::Prediction),
        Step::AddiftOfPicture => addift(Direction::Forward, &nothing, AddiftLoss::Picture),
        Step::AddiftOnCopier => addift(Direction::Forward, &on_copier, AddiftLoss::Prediction),
        Step::Slider(direction) => {
            let slider = slider(base, scene);
            let rows = Rows {
                states: &slider.changed,
                rows: vec![0, 1],
            };
            slider::loss(model, &rows, direction, lora)
        }
        Step::Hold => {
            let kept = slider(base, scene).kept;
            let rows = Rows {
                states: &kept[1],
                rows: vec![0, 1],
            };
            hold::loss(model, &rows, &hold_outside(scene), -1.0, lora)
        }
    }
}

/// `o / (C Σ o)` with o what lies outside of the scene's mask, as the reference grew it.
pub fn hold_outside(scene: &Scene) -> Tensor<4> {
    let outside =
        Fixture::read("train_hold.safetensors").tensor("outside", &scene.pair.mask.device());
    let [_, channels, ..] = scene.pair.original.dims();
    let sum = outside.clone().sum().reshape([1, 1, 1, 1]);
    outside / (sum * channels as f64)
}

/// η of the fixtures.
const ETA: f64 = 3.0;

/// The target picture with noise, twice, under the first of the scene's prompts, and what the second
/// one adds. Both are kept as well.
pub fn slider(base: &Base, scene: &Scene) -> Slider {
    let Scene { pair, draw, .. } = scene;
    let noisy = base
        .schedule
        .add_noise(&pair.target, &draw.noise, &draw.timesteps);
    let states = |row: usize| {
        let conditioning = pair.conditioning.rows(row..row + 1);
        let answers = draw.timesteps.iter().zip(0..).map(|(timestep, row)| {
            let noisy = noisy.clone().narrow(0, row, 1);
            let own = LoraStack::none();
            base.unet
                .forward_in_tasks(&noisy, *timestep, &conditioning, &own)
        });
        States {
            answer: Tensor::cat(answers.collect(), 0),
            conditioning: conditioning.clone(),
            noisy: noisy.clone(),
            timesteps: draw.timesteps.clone(),
            change: None,
        }
    };
    let (neutral, target) = (states(0), states(1));
    let change = (target.answer.clone() - neutral.answer.clone()) * ETA;
    Slider {
        changed: States {
            change: Some(change),
            ..neutral.clone()
        },
        kept: vec![neutral, target],
    }
}
