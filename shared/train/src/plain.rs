//! Ordinary training (arXiv 2006.11239, eq. 14): draw the picture's noise. Both passes of the
//! copier use it, and on B alone it is `Method::Plain`, which the other methods must beat.

use burn::tensor::{Int, Tensor, TensorData};
use mimeo_diffusion::Conditioning;
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::Gamma;

use crate::loss::{MaskWeights, batch_mean};
use crate::{Draw, Model};

/// What is trained: a LoRA on top of adapters that stay as they are.
#[derive(Debug, Clone, Copy)]
pub struct Student<'a> {
    /// The frozen adapters below, such as a copier.
    pub below: &'a LoraStack<'a>,
    /// The LoRA that is trained.
    pub lora: &'a LoraNetwork,
    /// Factor on its multiplier: the level of what it is trained on.
    pub level: f64,
}

/// `mean w_t · (‖target - student‖² inside + prior · ‖student - own answer‖² outside)`.
///
/// The own answer is that of the model without the student's LoRA; outside the mask the student is
/// held to it.
///
/// - `latent`: `[1 or batch, channels, height, width]`, `conditioning`, `weights`: of one picture or
///   of each
#[must_use]
pub fn loss(
    model: Model<'_>,
    latent: &Tensor<4>,
    conditioning: &Conditioning,
    draw: &Draw,
    student: Student<'_>,
    weights: &MaskWeights,
    gamma: Option<Gamma>,
) -> Tensor<1> {
    let Student { below, lora, level } = student;
    let noisy = model
        .schedule
        .add_noise(latent, &draw.noise, &draw.timesteps);
    let student = predict(
        model,
        &noisy,
        &draw.timesteps,
        conditioning,
        &below.clone().with(lora, level),
    );
    let target = model.schedule.target(latent, &draw.noise, &draw.timesteps);
    let mut losses = weights.learn(student.clone() - target);
    let held =
        weights.prior(|| student - predict(model, &noisy, &draw.timesteps, conditioning, below));
    if let Some(held) = held {
        losses = losses + held;
    }
    batch_mean(losses, &draw.timesteps, model.schedule, gamma)
}

/// The model's answer, the conditioning repeated over the batch if it is that of one picture.
pub(crate) fn predict(
    model: Model<'_>,
    noisy: &Tensor<4>,
    timesteps: &[usize],
    conditioning: &Conditioning,
    lora: &LoraStack<'_>,
) -> Tensor<4> {
    let batch = timesteps.len();
    let values: Vec<i32> = timesteps.iter().map(|timestep| *timestep as i32).collect();
    let timesteps = TensorData::new(values, [batch]);
    let timesteps = Tensor::<1, Int>::from_data(timesteps, &noisy.device());
    let (noisy, conditioning) = (noisy.clone(), conditioning.repeat(batch));
    let Model { unet, tape, .. } = model;
    match tape {
        Some(tape) => tape.forward(unet, noisy, timesteps, &conditioning, lora),
        None => unet.forward(noisy, timesteps, &conditioning, lora),
    }
}
