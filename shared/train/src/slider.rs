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
//!
//! The model is frozen and the x are known before training, so all that it has to say of them is
//! asked once ([`States`]), and a step costs no more than its student.

use burn::tensor::{Int, Tensor, TensorData};
use mimeo_diffusion::Conditioning;
use mimeo_lora::{LoraNetwork, LoraStack};

use crate::Model;
use crate::addift::Direction;
use crate::plain::predict;

/// What a slider is trained on.
#[derive(Debug, Clone)]
pub struct Slider {
    /// Pictures of the neutral prompt.
    pub changed: States,
    /// Pictures of each prompt to keep.
    pub kept: Vec<States>,
}

/// Where the model passed through while it drew pictures of a prompt, and what it had to say there.
#[derive(Debug, Clone)]
pub struct States {
    /// The prompt, of one picture.
    pub conditioning: Conditioning,
    /// x: `[states, channels, height, width]`.
    pub noisy: Tensor<4>,
    /// t of each.
    pub timesteps: Vec<usize>,
    /// `ε_θ(x, c, t)`, or v: like `noisy`.
    pub answer: Tensor<4>,
    /// `η (ε_θ(x, c₊, t) - ε_θ(x, c₋, t))`: like `noisy`; none where nothing is to change.
    pub change: Option<Tensor<4>>,
}

/// Some states of a prompt.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    /// Of which they are.
    pub states: &'a States,
    /// Their numbers.
    pub rows: Vec<usize>,
}

impl<'a> Rows<'a> {
    /// The same in parts of at most `rows`.
    pub fn split(&self, rows: usize) -> impl Iterator<Item = Self> + use<'a> {
        let states = self.states;
        let parts: Vec<_> = self.rows.chunks(rows).map(<[usize]>::to_vec).collect();
        parts.into_iter().map(move |rows| Self { states, rows })
    }
}

/// `mean ‖student - taught‖²` over the rows, the LoRA at 1 or -1.
#[must_use]
pub fn loss(
    model: Model<'_>,
    Rows { states, rows }: &Rows<'_>,
    direction: Direction,
    lora: &LoraNetwork,
) -> Tensor<1> {
    let strength = match direction {
        Direction::Forward => 1.0,
        Direction::Reverse => -1.0,
    };
    let of_rows = |tensor: &Tensor<4>| tensor.clone().select(0, numbers(rows, tensor));
    let timesteps: Vec<usize> = rows.iter().map(|row| states.timesteps[*row]).collect();

    let mut taught = of_rows(&states.answer);
    if let Some(change) = &states.change {
        taught = taught + of_rows(change) * strength;
    }
    let with_lora = LoraStack::none().with(lora, strength);
    let noisy = of_rows(&states.noisy);
    let student = predict(model, &noisy, &timesteps, &states.conditioning, &with_lora);
    // No min-SNR weight: it is for losses whose target is noise.
    (student - taught).square().mean()
}

fn numbers(rows: &[usize], like: &Tensor<4>) -> Tensor<1, Int> {
    let values: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    Tensor::from_data(TensorData::new(values, [rows.len()]), &like.device())
}
