//! The training methods: tensors in, tensors out.
//!
//! One file per method shows its loss, read top to bottom ([`plain`], [`copier`], [`addift`], [`slider`]);
//! [`Trainer`] turns a loss into optimiser steps. There is no file, clock or message here, and
//! randomness enters as a seed: the same recipe on the same tensors gives the same LoRA, on however
//! many cores.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "the thread of a test may wait")
)]

pub mod addift;
pub mod copier;
mod dataset;
pub mod hold;
pub mod loss;
pub mod lr;
pub mod noise;
pub mod optimizer;
pub mod plain;
pub mod scale;
pub mod slider;
pub mod states;
mod trainer;

use burn::tensor::{Gradients, Tensor};
use mimeo_diffusion::{Conditioning, NoiseSchedule, Tape, UNet2DConditionModel};

pub use dataset::{Dataset, Example, NoExample, Row};
pub use noise::{Draw, NoisePosition, NoiseRng};
pub use optimizer::Moments;
pub use plain::Student;
pub use scale::LossScale;
pub use trainer::{
    HealthState, Objective, OtherPass, StepReport, TrainError, Trainer, TrainerState,
};

/// The frozen model that is trained upon.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    /// Predicts the noise.
    pub unet: &'a UNet2DConditionModel,
    /// How much noise each timestep has.
    pub schedule: &'a NoiseSchedule,
    /// Keeps what a backward pass computes again; none: nothing is computed again.
    pub tape: Option<&'a Tape>,
}

impl Model<'_> {
    /// The gradients of a loss that was made of this model's answers, in parts that add up.
    ///
    /// # Panics
    /// When nothing that is trained went into the loss.
    #[must_use]
    pub fn backward(self, loss: &Tensor<1>) -> Vec<Gradients> {
        let gradients = loss.backward();
        let parts = match self.tape {
            Some(tape) => tape.backward(self.unet, &gradients),
            None => Vec::new(),
        };
        std::iter::once(gradients).chain(parts).collect()
    }
}

/// The two pictures as the model sees them: those of one pair for all rows of a batch, or a pair for
/// each row.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Latent of A: `[1 or batch, channels, height, width]`.
    pub original: Tensor<4>,
    /// Latent of B: like `original`.
    pub target: Tensor<4>,
    /// Where to learn, 0..=1: `[1 or batch, 1, height, width]`; all ones where the user painted
    /// nothing.
    pub mask: Tensor<4>,
    /// The prompt of both.
    pub conditioning: Conditioning,
}
