//! The factors of one adapted convolution.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, TensorData};

use crate::Kernel;

/// A convolution without bias by a weight that is not trained: the model's own, which is faster than the stock
/// one and keeps nothing.
///
/// Takes `[batch, in, height, width]` and `[out, in, side, side]`.
pub type Convolve = fn(Tensor<4>, Tensor<4>, Kernel) -> Tensor<4>;

/// `x ↦ multiplier · alpha / rank · up(down(x))`: a convolution as the module's own, then one of single
/// pixels (kohya's `networks/lora.py`, `LoRAModule` with `conv_dim`; LyCORIS' LoCon).
///
/// It is drawn with, not trained.
#[derive(Debug, Clone)]
pub struct LoraConv {
    /// `[rank, in, side, side]`, as in a file.
    pub down: Tensor<4>,
    /// `[out, rank, 1, 1]`, as in a file.
    pub up: Tensor<4>,
    /// Scaling numerator.
    pub alpha: f64,
    /// How the module's own convolution goes over the picture.
    pub kernel: Kernel,
}

impl LoraConv {
    /// What LyCORIS' Tucker form says in three factors, said in two: `mid(down(x))` is one convolution
    /// (`functional/general.py`, `rebuild_tucker`).
    ///
    /// - `down`: `[rank, in, 1, 1]`, `mid`: `[rank, rank, side, side]`; answer: `[rank, in, side, side]`
    #[must_use]
    pub fn folded(down: Tensor<4>, mid: Tensor<4>) -> Tensor<4> {
        let ([inner, input, _, _], [rank, _, height, width]) = (down.dims(), mid.dims());
        // `[rank, side, side, inner]` by `[inner, in]`
        let rows = mid
            .permute([0, 2, 3, 1])
            .reshape([rank * height * width, inner]);
        let folded = rows.matmul(down.reshape([inner, input]));
        folded
            .reshape([rank, height, width, input])
            .permute([0, 3, 1, 2])
    }

    /// Inner size of the factors.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.down.dims()[0]
    }

    /// What it adds to the module's answer.
    ///
    /// - `x`: `[batch, in, height, width]`, the module's input; the answer is as the module's
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, multiplier: f64, convolve: Convolve) -> Tensor<4> {
        self.raised(self.lowered(x, convolve) * self.scale(multiplier))
    }

    /// As [`Self::forward`], each row of the batch with a multiplier of its own.
    #[must_use]
    pub fn forward_each(&self, x: Tensor<4>, multipliers: &[f64], convolve: Convolve) -> Tensor<4> {
        let scales = multipliers.iter();
        let scales: Vec<f32> = scales.map(|one| self.scale(*one) as f32).collect();
        let shape = [scales.len(), 1, 1, 1];
        let scales = TensorData::new(scales, shape);
        let scales = Tensor::from_data(scales, (&x.device(), x.dtype()));
        self.raised(self.lowered(x, convolve) * scales)
    }

    fn lowered(&self, x: Tensor<4>, convolve: Convolve) -> Tensor<4> {
        let down = self.down.clone().cast(x.dtype());
        convolve(x, down, self.kernel)
    }

    fn raised(&self, inner: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([1; 2], [0; 2], [1; 2], 1);
        let up = self.up.clone().cast(inner.dtype());
        conv2d(inner, up, None, options)
    }

    fn scale(&self, multiplier: f64) -> f64 {
        multiplier * self.alpha / self.rank() as f64
    }
}
