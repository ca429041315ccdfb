//! GEGLU (arXiv 2002.05202): one half of the tokens, gated by the GELU of the other.

use burn::backend::{
    Backend, Dispatch, TensorMetadata as _,
    autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy},
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::{Slice, Tensor};

#[cfg(feature = "gpu")]
use super::gpu;
use super::{cpu, recorded};

/// `values · gelu(gates)`, the values being the first half of the last axis.
///
/// - `projected`: `[batch, tokens, 2 width]`; answer: `[batch, tokens, width]`
#[must_use]
pub fn geglu(projected: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::geglu(projected.into_dispatch()))
}

#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Fusion: cfg(feature = "tuned"), Autodiff)]
pub(crate) trait Gate: Backend {
    #[fusion(default)]
    fn geglu(projected: FloatTensor<Self>) -> FloatTensor<Self> {
        portable::<Self>(&projected)
    }

    #[fusion(default)]
    fn geglu_backward(
        projected: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        portable_backward::<Self>(&projected, gradient)
    }
}

#[cfg(feature = "gpu")]
impl Gate for burn_cubecl::CubeBackend {
    fn geglu(projected: FloatTensor<Self>) -> FloatTensor<Self> {
        if gpu::suits(&[&projected], &[]) {
            return gpu::gate::geglu(projected);
        }
        portable::<Self>(&projected)
    }

    fn geglu_backward(
        projected: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if gpu::suits(&[&projected, &gradient], &[]) {
            return gpu::gate::geglu_backward(projected, gradient);
        }
        portable_backward::<Self>(&projected, gradient)
    }
}

impl Gate for burn::backend::Flex {
    fn geglu(projected: FloatTensor<Self>) -> FloatTensor<Self> {
        if cpu::all_f32(&[&projected]) {
            let dims = projected.shape().dims();
            return cpu::gate::geglu(&projected, dims);
        }
        portable::<Self>(&projected)
    }

    fn geglu_backward(
        projected: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if cpu::all_f32(&[&projected, &gradient]) {
            let dims = projected.shape().dims();
            return cpu::gate::geglu_backward(&projected, &gradient, dims);
        }
        portable_backward::<Self>(&projected, gradient)
    }
}

impl<B: Gate, C: CheckpointStrategy> Gate for Autodiff<B, C> {
    fn geglu(projected: FloatTensor<Self>) -> FloatTensor<Self> {
        recorded::<B, C, _, _, _, _>(
            [projected],
            [0],
            [0],
            |[projected]| (B::geglu(projected), ()),
            |[projected], (), gradient| [B::geglu_backward(projected, gradient)],
        )
    }
}

fn portable<B: Backend>(projected: &FloatTensor<B>) -> FloatTensor<B> {
    let [values, gates] = halves::<B>(projected);
    B::float_mul(values, B::gelu(gates))
}

fn portable_backward<B: Backend>(
    projected: &FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let [values, gates] = halves::<B>(projected);
    // Φ and φ of the normal distribution: gelu(x) = x Φ(x), with slope Φ(x) + x φ(x).
    let z = B::float_mul_scalar(gates.clone(), std::f64::consts::FRAC_1_SQRT_2.into());
    let below = B::float_add_scalar(B::float_erf(z), 1.0.into());
    let below = B::float_mul_scalar(below, 0.5.into());
    let squares = B::float_mul(gates.clone(), gates.clone());
    let density = B::float_exp(B::float_mul_scalar(squares, (-0.5).into()));
    let density = B::float_mul_scalar(density, (2.0 * std::f64::consts::PI).sqrt().recip().into());
    let slope = B::float_add(below.clone(), B::float_mul(gates.clone(), density));
    let of_values = B::float_mul(gradient.clone(), B::float_mul(gates, below));
    let of_gates = B::float_mul(gradient, B::float_mul(values, slope));
    B::float_cat(vec![of_values, of_gates], 2)
}

fn halves<B: Backend>(projected: &FloatTensor<B>) -> [FloatTensor<B>; 2] {
    let [batch, tokens, both] = projected.shape().dims();
    [0..both / 2, both / 2..both].map(|half| {
        let slices = [0..batch, 0..tokens, half].map(Slice::from);
        B::float_slice(projected.clone(), &slices)
    })
}
