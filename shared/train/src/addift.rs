//! Teacher difference, known as ADDifT: one LoRA, no noise in the target.
//!
//! With the same noise and timestep for both pictures, the student on B must answer what the
//! model answers on A. As `x̂0 = (x_t - s ε)/a`, the student's clean picture is then the teacher's
//! plus Δz exactly; where the pictures agree, the target is the model's own answer.

use burn::tensor::Tensor;
use mimeo_diffusion::{NoiseSchedule, PredictionType, Tuning};
use mimeo_protocol::{AddiftLoss, AddiftRecipe, TimestepRange};

use crate::loss::{MaskWeights, weighted_mean};
use crate::plain::{Student, predict};
use crate::{Draw, Model, Pair};

/// Which picture the student sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The target, at a positive multiplier.
    Forward,
    /// The original, at a negative multiplier: what strength -1 does.
    Reverse,
}

/// `mean ‖student - teacher‖²`, inside the mask and, with the prior's weight, outside.
///
/// Outside the mask the two pictures are the same, so the teacher is the prior there. Measured in the clean
/// picture, each timestep weighs `‖x̂0 error‖² / ‖prediction error‖²`, in proportion to the mean over the window:
/// the loss stays of the same size, whatever it is measured in.
///
/// - `window`: the timesteps of the pass
#[must_use]
pub fn loss(
    model: Model<'_>,
    pair: &Pair,
    draw: &Draw,
    direction: Direction,
    student: Student<'_>,
    weights: &MaskWeights,
    (recipe, window): (&AddiftRecipe, TimestepRange),
) -> Tensor<1> {
    let Student { below, lora, level } = student;
    let (from, to, multiplier) = match direction {
        Direction::Forward => (&pair.original, &pair.target, recipe.multiplier.get()),
        Direction::Reverse => (&pair.target, &pair.original, -recipe.multiplier.get()),
    };
    let Draw { noise, timesteps } = draw;
    let (schedule, conditioning) = (model.schedule, &pair.conditioning);

    // Without the LoRA, and so without a graph: nothing here depends on what is trained.
    let teacher = || {
        let seen = schedule.add_noise(from, noise, timesteps);
        let teacher = predict(model, &seen, timesteps, conditioning, below);
        teacher_target(schedule, teacher, timesteps, to.clone() - from.clone())
    };
    let with_lora = below.clone().with(lora, multiplier * level);
    let student = || {
        let seen = schedule.add_noise(to, noise, timesteps);
        predict(model, &seen, timesteps, conditioning, &with_lora)
    };
    let (teacher, student) = if Tuning::of(&noise.device()).is_side_by_side {
        rayon::join(teacher, student)
    } else {
        (teacher(), student())
    };
    let error = student - teacher;
    let mut losses = weights.learn(error.clone());
    if let Some(held) = weights.prior(|| error) {
        losses = losses + held;
    }

    let preservation = recipe.preservation.get();
    if preservation > 0.0 {
        // "Do nothing where there is nothing of the pair": on pure noise.
        let own = predict(model, noise, timesteps, conditioning, below);
        let student = predict(model, noise, timesteps, conditioning, &with_lora);
        losses = losses + weights.everywhere().learn(student - own) * preservation;
    }
    // No min-SNR weight: it is for losses whose target is noise.
    match recipe.loss {
        AddiftLoss::Prediction => losses.mean(),
        AddiftLoss::Picture => {
            let weight = |timestep: usize| schedule.picture_weight(timestep);
            let window = window.min() as usize..(window.max() as usize).min(schedule.len());
            let mean = window.clone().map(weight).sum::<f64>() / window.len() as f64;
            let own = timesteps.iter().map(|timestep| weight(*timestep) / mean);
            weighted_mean(&losses, own)
        }
    }
}

/// What the student must answer so that its clean picture is the teacher's plus `delta`.
///
/// ε-prediction: the teacher's answer as it is. v-prediction: `v - s_t Δz`; the teacher's answer
/// alone would move the clean picture by `a_t² Δz` only.
#[must_use]
pub fn teacher_target(
    schedule: &NoiseSchedule,
    teacher: Tensor<4>,
    timesteps: &[usize],
    delta: Tensor<4>,
) -> Tensor<4> {
    match schedule.prediction_type() {
        PredictionType::Epsilon => teacher,
        PredictionType::VPrediction => {
            let (_, sigma) = schedule.signal_and_noise(timesteps, &teacher);
            teacher - delta * sigma
        }
    }
}
