//! Where the model passed through while it drew pictures of a prompt, and what it had to say there.
//!
//! The model is frozen and the states are known before training, so all that it has to say of them is asked once,
//! and a step costs no more than its student.

use burn::tensor::{Int, Tensor, TensorData};
use mimeo_diffusion::Conditioning;

/// States of one prompt.
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
    /// What a slider adds to the answer at strength 1, `η (ε_θ(x, c₊, t) - ε_θ(x, c₋, t))`: like `noisy`; none
    /// where nothing is to change.
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

    /// Those rows of a tensor of the states.
    pub(crate) fn of(&self, tensor: &Tensor<4>) -> Tensor<4> {
        let values: Vec<i32> = self.rows.iter().map(|row| *row as i32).collect();
        let values = TensorData::new(values, [self.rows.len()]);
        let rows = Tensor::<1, Int>::from_data(values, &tensor.device());
        tensor.clone().select(0, rows)
    }

    /// The timestep of each.
    pub(crate) fn timesteps(&self) -> Vec<usize> {
        let rows = self.rows.iter();
        rows.map(|row| self.states.timesteps[*row]).collect()
    }
}
