//! Held to itself: pictures that the base draws are to stay as they are wherever nothing is meant to change.
//!
//! `λ Σ o ‖ε_{θ±D}(x, c, t) - ε_θ(x, c, t)‖² / (C Σ o)` over what the base passed through while it drew pictures of
//! several prompts, with o what lies outside of the mask of what is trained on. The LoRA is at 1 or -1, the strengths
//! that it is used at, and alone, as it is used: on the base, not on a copier.
//!
//! What the pair's own prior says of its two pictures ([`crate::loss::MaskWeights::prior`]), this says of people whom
//! nobody showed.

use burn::tensor::Tensor;
use mimeo_lora::{LoraNetwork, LoraStack};

use crate::Model;
use crate::noise::GOLDEN;
use crate::plain::predict;
use crate::states::{Rows, States};

/// What the student is held to.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Pictures of each prompt; at least one, each with at least one state.
    pub kept: Vec<States>,
    /// `o / (C Σ o)`: `[1, 1, height, width]`.
    pub outside: Tensor<4>,
    /// λ
    pub weight: f64,
}

impl Hold {
    /// What a step is held to, and with the LoRA at which strength: of each prompt in turn, at 1 and -1 alike. The
    /// step's number alone decides, so a pass that goes on after a pause goes on with the same.
    ///
    /// - `step`: from 1
    #[must_use]
    pub fn rows(&self, step: u32, count: usize) -> (Rows<'_>, f64) {
        let step = step as usize - 1;
        let (round, prompt) = (step / self.kept.len(), step % self.kept.len());
        let states = &self.kept[prompt];
        let first = round * count;
        let rows = (first..first + count).map(|number| {
            let place = (number as f64 * GOLDEN).fract();
            (place * states.timesteps.len() as f64) as usize
        });
        let rows = Rows {
            states,
            rows: rows.collect(),
        };
        let is_even = (round + prompt).is_multiple_of(2);
        (rows, if is_even { 1.0 } else { -1.0 })
    }
}

/// The term of some rows, λ left out: their mean.
///
/// - `strength`: of the LoRA
#[must_use]
pub fn loss(
    model: Model<'_>,
    rows: &Rows<'_>,
    outside: &Tensor<4>,
    strength: f64,
    lora: &LoraNetwork,
) -> Tensor<1> {
    let (noisy, timesteps) = (rows.of(&rows.states.noisy), rows.timesteps());
    let with_lora = LoraStack::none().with(lora, strength);
    let prompt = &rows.states.conditioning;
    let student = predict(model, &noisy, &timesteps, prompt, &with_lora);
    let error = student - rows.of(&rows.states.answer);
    (error.square() * outside.clone()).sum() / rows.rows.len() as f64
}
