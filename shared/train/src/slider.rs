//! The difference of two prompts, learnt without pictures: Concept Sliders (arXiv 2311.12092,
//! section 4.1), of which LECO is the half at positive strength.
//!
//! At strength w, which is 1 or -1, the student must answer
//!
//! `ε_{θ+wD}(x, c, t) = ε_θ(x, c, t) + w η (ε_θ(x, c₊, t) - ε_θ(x, c₋, t))`
//!
//! with c the neutral prompt, c₊ the target and c₋ the original; on prompts to keep, the same with
//! η = 0. The x are what the model itself passes through while it draws, and not pure noise at every
//! t, on which it is never asked outside of training.
//!
//! A model that predicts v is taught by the same formula in v. At one x and t both predictions tell
//! the same, `v = (ε - s_t x)/a_t`, and the factors of the answers on the right (1, wη and -wη) add up
//! to 1: so the part with x comes out as on the left, whatever η is.

use burn::tensor::Tensor;
use mimeo_lora::{LoraNetwork, LoraStack};

use crate::Model;
use crate::addift::Direction;
use crate::plain::predict;
use crate::states::{Rows, States};

/// What a slider is trained on.
#[derive(Debug, Clone)]
pub struct Slider {
    /// Pictures of the neutral prompt.
    pub changed: States,
    /// Pictures of each prompt to keep.
    pub kept: Vec<States>,
}

/// `mean ‖student - taught‖²` over the rows, the LoRA at 1 or -1.
#[must_use]
pub fn loss(
    model: Model<'_>,
    rows: &Rows<'_>,
    direction: Direction,
    lora: &LoraNetwork,
) -> Tensor<1> {
    let strength = match direction {
        Direction::Forward => 1.0,
        Direction::Reverse => -1.0,
    };
    let states = rows.states;
    let mut taught = rows.of(&states.answer);
    if let Some(change) = &states.change {
        taught = taught + rows.of(change) * strength;
    }
    let with_lora = LoraStack::none().with(lora, strength);
    let (noisy, timesteps) = (rows.of(&states.noisy), rows.timesteps());
    let student = predict(model, &noisy, &timesteps, &states.conditioning, &with_lora);
    // No min-SNR weight: it is for losses whose target is noise.
    (student - taught).square().mean()
}
