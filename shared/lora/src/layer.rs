//! The two factors of one adapted module.

use burn::tensor::{Device, Tensor, TensorData, module::linear};
use rand::{Rng, RngExt as _};

/// `x ↦ multiplier · alpha / rank · (x · down) · up`.
///
/// A 1×1 convolution is a linear map of the channels, so both kinds of target share this.
#[derive(Debug, Clone)]
pub struct LoraLayer {
    /// `[in_features, rank]`: the transpose of a file's `lora_down.weight`, as Burn multiplies.
    pub down: Tensor<2>,
    /// `[rank, out_features]`: the transpose of a file's `lora_up.weight`.
    pub up: Tensor<2>,
    /// Scaling numerator.
    pub alpha: f64,
}

impl LoraLayer {
    /// A layer that adds nothing yet: `down` uniform in ±1/√in (kaiming with a = √5, as kohya and
    /// peft start), `up` zero.
    pub fn new(
        in_features: usize,
        out_features: usize,
        rank: usize,
        alpha: f64,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let bound = (in_features as f32).sqrt().recip();
        let down = (0..in_features * rank)
            .map(|_| rng.random_range(-bound..bound))
            .collect();
        Self {
            down: Tensor::from_data(TensorData::new(down, [in_features, rank]), device),
            up: Tensor::zeros([rank, out_features], device),
            alpha,
        }
    }

    /// Inner size of the factors.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.down.dims()[1]
    }

    /// What the layer adds to a module's answer.
    ///
    /// - `x`: `[.., in_features]`, the module's input; the answer is `[.., out_features]`.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>, multiplier: f64) -> Tensor<D> {
        // Scaled between the factors, where the tensor is smallest.
        let [down, up] = self.factors_like(&x);
        linear(linear(x, down, None) * self.scale(multiplier), up, None)
    }

    /// As [`Self::forward`], each row of the batch with a multiplier of its own.
    ///
    /// - `x`: `[rows, .., in_features]`
    #[must_use]
    pub fn forward_each<const D: usize>(&self, x: Tensor<D>, multipliers: &[f64]) -> Tensor<D> {
        let scales = multipliers.iter();
        let scales: Vec<f32> = scales.map(|one| self.scale(*one) as f32).collect();
        let mut shape = [1; D];
        shape[0] = scales.len();
        let scales = TensorData::new(scales, shape);
        let scales = Tensor::from_data(scales, (&x.device(), x.dtype()));
        let [down, up] = self.factors_like(&x);
        linear(linear(x, down, None) * scales, up, None)
    }

    /// The factors in the number format of what they meet.
    fn factors_like<const D: usize>(&self, x: &Tensor<D>) -> [Tensor<2>; 2] {
        [&self.down, &self.up].map(|factor| factor.clone().cast(x.dtype()))
    }

    fn scale(&self, multiplier: f64) -> f64 {
        multiplier * self.alpha / self.rank() as f64
    }
}
