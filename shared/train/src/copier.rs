//! Copy machine learning, in two passes (コピー機学習; `design/method.md`).
//!
//! 1. The copier draws the original whatever the prompt.
//! 2. With the copier active and frozen, the difference LoRA learns the target. All that the two
//!    pictures share is drawn already, so only the difference is left to learn. It is used alone.

use burn::tensor::Tensor;
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::Gamma;

use crate::loss::MaskWeights;
use crate::plain::{self, Student};
use crate::{Draw, Model, Pair};

/// Pass 1: learn all of the original, whatever the mask says.
#[must_use]
pub fn copy_loss(
    model: Model<'_>,
    pair: &Pair,
    draw: &Draw,
    lora: &LoraNetwork,
    weights: &MaskWeights,
    gamma: Option<Gamma>,
) -> Tensor<1> {
    let student = Student {
        below: &LoraStack::none(),
        lora,
        level: 1.0,
    };
    plain::loss(
        model,
        &pair.original,
        &pair.conditioning,
        draw,
        student,
        &weights.everywhere(),
        gamma,
    )
}

/// Pass 2: learn what the target adds to what the copier draws.
///
/// - `student`: a LoRA on top of the copier
#[must_use]
pub fn difference_loss(
    model: Model<'_>,
    pair: &Pair,
    draw: &Draw,
    student: Student<'_>,
    weights: &MaskWeights,
    gamma: Option<Gamma>,
) -> Tensor<1> {
    plain::loss(
        model,
        &pair.target,
        &pair.conditioning,
        draw,
        student,
        weights,
        gamma,
    )
}
