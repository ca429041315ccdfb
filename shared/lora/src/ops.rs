//! Operations over all values of a LoRA at once, end to end in one vector: on a GPU a kernel each, or one for
//! several tensors, where stock operations are a dispatch for every factor or for every step of a formula.

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{Device, Tensor};

#[cfg(feature = "gpu")]
use burn::backend::ops::FloatTensorOps as _;

#[cfg(feature = "gpu")]
mod gpu;

/// Tensors that are joined by one kernel: with the answer, as many as every WebGPU device binds, and one fewer.
const PARTS: usize = 6;

/// The tensors end to end.
///
/// - `parts`: at least one
pub(crate) fn join(mut parts: Vec<Tensor<1>>) -> Tensor<1> {
    let is_cpu = parts
        .first()
        .is_none_or(|part| part.device() == Device::flex());
    if is_cpu {
        return Tensor::cat(parts, 0);
    }
    while parts.len() > 1 {
        let joined = parts.chunks(PARTS).map(|some| match some {
            [a, b, c, d, e, f] => {
                let [a, b, c, d, e, f] =
                    [a, b, c, d, e, f].map(|part| part.clone().into_dispatch());
                Tensor::from_dispatch(Dispatch::join_six(a, b, c, d, e, f))
            }
            [one] => one.clone(),
            few => Tensor::cat(few.to_vec(), 0),
        });
        parts = joined.collect();
    }
    parts.remove(0)
}

/// Numbers of one update by AdamW (arXiv 1711.05101), in the paper's notation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// ηα, the learning rate.
    pub learning_rate: f64,
    /// λ, which is multiplied by the learning rate.
    pub weight_decay: f64,
    /// β₁
    pub beta_1: f32,
    /// β₂
    pub beta_2: f32,
    /// ε
    pub epsilon: f32,
    /// t, from 1.
    pub update: usize,
}

impl AdamW {
    /// 1 - β₁ᵗ and 1 - β₂ᵗ, by which the means are corrected.
    fn corrections(&self) -> [f32; 2] {
        let update = i32::try_from(self.update).unwrap_or(i32::MAX);
        [self.beta_1, self.beta_2].map(|beta| 1.0 - beta.powi(update))
    }

    /// What is left of a value before it is moved.
    fn decay(&self) -> f64 {
        1.0 - self.learning_rate * self.weight_decay
    }

    /// Values and running means after the update.
    ///
    /// - `values`, `gradient`, `first`, `second`: `[count]`, the means 0 before the first update
    #[must_use]
    pub fn update(
        self,
        values: Tensor<1>,
        gradient: Tensor<1>,
        [first, second]: [Tensor<1>; 2],
    ) -> (Tensor<1>, [Tensor<1>; 2]) {
        let (values, first, second) = Dispatch::adamw(
            values.into_dispatch(),
            gradient.into_dispatch(),
            first.into_dispatch(),
            second.into_dispatch(),
            self,
        );
        let moments = [first, second].map(Tensor::from_dispatch);
        (Tensor::from_dispatch(values), moments)
    }
}

#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Fusion: cfg(feature = "tuned"))]
pub(crate) trait VectorOps: Backend {
    #[fusion(default)]
    fn join_six(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        f: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::float_cat(vec![a, b, c, d, e, f], 0)
    }

    /// Values and running means after the update.
    #[fusion(default)]
    fn adamw(
        values: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        rule: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        portable::<Self>(values, gradient, [first, second], rule)
    }
}

impl VectorOps for burn::backend::Flex {}

#[cfg(feature = "gpu")]
impl VectorOps for burn_cubecl::CubeBackend {
    fn join_six(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        f: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let parts = [a, b, c, d, e, f];
        if gpu::is_alike(&parts) {
            return gpu::join(parts);
        }
        Self::float_cat(parts.to_vec(), 0)
    }

    fn adamw(
        values: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        rule: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        gpu::adamw(values, gradient, [first, second], rule)
    }
}

/// The same of a backend's own operations.
fn portable<B: Backend>(
    values: FloatTensor<B>,
    gradient: FloatTensor<B>,
    [first, second]: [FloatTensor<B>; 2],
    rule: AdamW,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    /// `β m + (1 - β) x`
    fn mean<B: Backend>(mean: FloatTensor<B>, beta: f32, x: FloatTensor<B>) -> FloatTensor<B> {
        let kept = B::float_mul_scalar(mean, beta.into());
        B::float_add(kept, B::float_mul_scalar(x, (1.0 - beta).into()))
    }
    let square = B::float_mul(gradient.clone(), gradient.clone());
    let first = mean::<B>(first, rule.beta_1, gradient);
    let second = mean::<B>(second, rule.beta_2, square);
    let [of_first, of_second] = rule.corrections();
    let step = B::float_div_scalar(first.clone(), of_first.into());
    let spread = B::float_sqrt(B::float_div_scalar(second.clone(), of_second.into()));
    let step = B::float_div(step, B::float_add_scalar(spread, rule.epsilon.into()));
    let values = match rule.decay() {
        1.0 => values,
        decay => B::float_mul_scalar(values, decay.into()),
    };
    let values = B::float_sub(values, B::float_mul_scalar(step, rule.learning_rate.into()));
    (values, first, second)
}
