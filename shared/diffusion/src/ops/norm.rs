//! Group and layer norm with frozen weights. The backward pass keeps the input alone, and takes the
//! moments again.

use burn::backend::{
    Backend, Dispatch, TensorMetadata as _,
    autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy},
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::Tensor;

#[cfg(feature = "gpu")]
use super::gpu;
use super::{cpu, recorded, reshape};

/// What follows a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `x · sigmoid(x)` (arXiv 1606.08415).
    Silu,
}

/// Numbers of one group norm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupNormShape {
    pub groups: usize,
    pub eps: f64,
    pub activation: Activation,
}

/// Group norm (arXiv 1803.08494) and what follows it.
///
/// - `x`: `[batch, channels, height, width]`, `weight`, `bias`: `[channels]`
#[must_use]
pub fn group_norm(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: usize,
    eps: f64,
    activation: Activation,
) -> Tensor<4> {
    let shape = GroupNormShape {
        groups,
        eps,
        activation,
    };
    Tensor::from_dispatch(Dispatch::group_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        shape,
    ))
}

/// Mean and 1/deviation of each group, with which [`group_norm`] norms: what rows of a picture have to know of the
/// whole.
///
/// - `x`: `[batch, channels, height, width]`; answer: `[batch, groups, 2]`
#[must_use]
pub fn group_moments(x: Tensor<4>, groups: usize, eps: f64) -> Tensor<3> {
    let shape = GroupNormShape {
        groups,
        eps,
        activation: Activation::None,
    };
    Tensor::from_dispatch(Dispatch::group_moments(x.into_dispatch(), shape))
}

/// [`group_norm`] of some rows of a picture, by the moments of the whole.
///
/// - `x`: `[batch, channels, rows, width]`, `moments`: `[batch, groups, 2]`, `weight`, `bias`: `[channels]`
#[must_use]
pub fn group_norm_by(
    x: Tensor<4>,
    moments: Tensor<3>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    activation: Activation,
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::group_norm_by(
        x.into_dispatch(),
        moments.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        activation,
    ))
}

/// Layer norm (arXiv 1607.06450) over the last axis.
///
/// - `x`: `[batch, tokens, width]`, `weight`, `bias`: `[width]`
#[must_use]
pub fn layer_norm(x: Tensor<3>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::frozen_layer_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        eps,
    ))
}

#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Fusion: cfg(feature = "tuned"), Autodiff)]
pub(crate) trait NormOps: Backend {
    #[fusion(default)]
    fn group_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: GroupNormShape,
    ) -> FloatTensor<Self> {
        portable::group_norm::<Self>(x, weight, bias, shape)
    }

    #[fusion(default)]
    fn group_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: GroupNormShape,
    ) -> FloatTensor<Self> {
        portable::group_norm_backward::<Self>(x, weight, bias, gradient, shape)
    }

    #[fusion(default)]
    fn group_moments(x: FloatTensor<Self>, shape: GroupNormShape) -> FloatTensor<Self> {
        portable::group_moments::<Self>(x, shape)
    }

    #[fusion(default)]
    fn group_norm_by(
        x: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        portable::group_norm_by::<Self>(x, &moments, [weight, bias], activation)
    }

    #[fusion(default)]
    fn frozen_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        Self::layer_norm(x, weight, Some(bias), eps)
    }

    #[fusion(default)]
    fn frozen_layer_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        portable::layer_norm_backward::<Self>(x, weight, gradient, eps)
    }
}

#[cfg(feature = "gpu")]
impl NormOps for burn_cubecl::CubeBackend {
    fn group_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: GroupNormShape,
    ) -> FloatTensor<Self> {
        if gpu::suits(&[&x], &[&weight, &bias]) {
            return gpu::norm::group_norm(x, weight, bias, shape);
        }
        portable::group_norm::<Self>(x, weight, bias, shape)
    }

    fn group_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: GroupNormShape,
    ) -> FloatTensor<Self> {
        if gpu::suits(&[&x, &gradient], &[&weight, &bias]) {
            return gpu::norm::group_norm_backward(x, weight, bias, gradient, shape);
        }
        portable::group_norm_backward::<Self>(x, weight, bias, gradient, shape)
    }

    fn frozen_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        if gpu::suits(&[&x], &[&weight, &bias]) {
            return gpu::norm::layer_norm(x, weight, bias, eps);
        }
        <Self as burn::backend::ops::ModuleOps<Self>>::layer_norm(x, weight, Some(bias), eps)
    }

    fn frozen_layer_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        if gpu::suits(&[&x, &gradient], &[&weight]) {
            return gpu::norm::layer_norm_backward(x, weight, gradient, eps);
        }
        portable::layer_norm_backward::<Self>(x, weight, gradient, eps)
    }
}

impl NormOps for burn::backend::Flex {
    fn group_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: GroupNormShape,
    ) -> FloatTensor<Self> {
        if cpu::all_f32(&[&x, &weight, &bias]) {
            let dims = x.shape().dims();
            return cpu::norm::group_norm(&x, &weight, &bias, shape, dims);
        }
        portable::group_norm::<Self>(x, weight, bias, shape)
    }

    fn group_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: GroupNormShape,
    ) -> FloatTensor<Self> {
        if cpu::all_f32(&[&x, &weight, &bias, &gradient]) {
            let dims = x.shape().dims();
            return cpu::norm::group_norm_backward(&x, &weight, &bias, &gradient, shape, dims);
        }
        portable::group_norm_backward::<Self>(x, weight, bias, gradient, shape)
    }

    fn group_moments(x: FloatTensor<Self>, shape: GroupNormShape) -> FloatTensor<Self> {
        if cpu::all_f32(&[&x]) {
            let dims = x.shape().dims();
            return cpu::norm::group_moments(&x, shape, dims);
        }
        portable::group_moments::<Self>(x, shape)
    }

    fn group_norm_by(
        x: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        if cpu::all_f32(&[&x, &moments, &weight, &bias]) {
            let dims = x.shape().dims();
            return cpu::norm::group_norm_by(&x, &moments, [&weight, &bias], activation, dims);
        }
        portable::group_norm_by::<Self>(x, &moments, [weight, bias], activation)
    }

    fn frozen_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        if cpu::all_f32(&[&x, &weight, &bias]) {
            let dims = x.shape().dims();
            return cpu::norm::layer_norm(&x, &weight, &bias, eps, dims);
        }
        <Self as burn::backend::ops::ModuleOps<Self>>::layer_norm(x, weight, Some(bias), eps)
    }

    fn frozen_layer_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        if cpu::all_f32(&[&x, &weight, &gradient]) {
            let dims = x.shape().dims();
            return cpu::norm::layer_norm_backward(&x, &weight, &gradient, eps, dims);
        }
        portable::layer_norm_backward::<Self>(x, weight, gradient, eps)
    }
}

impl<B: NormOps, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn group_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: GroupNormShape,
    ) -> FloatTensor<Self> {
        recorded::<B, C, _, _, _, _>(
            [x, weight, bias],
            [0],
            [0, 1, 2],
            |[x, weight, bias]| (B::group_norm(x, weight, bias, shape), shape),
            |[x, weight, bias], shape, gradient| {
                [B::group_norm_backward(x, weight, bias, gradient, shape)]
            },
        )
    }

    fn frozen_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        recorded::<B, C, _, _, _, _>(
            [x, weight, bias],
            [0],
            [0, 1],
            |[x, weight, bias]| (B::frozen_layer_norm(x, weight, bias, eps), eps),
            |[x, weight], eps, gradient| [B::frozen_layer_norm_backward(x, weight, gradient, eps)],
        )
    }
}

/// The same of a backend's own operations.
mod portable {
    use burn::backend::{Backend, TensorMetadata as _, tensor::FloatTensor};
    use burn::tensor::Slice;

    use super::{Activation, GroupNormShape, reshape};

    /// A tensor whose last axis is to have mean 0 and variance 1, and what does it.
    struct Normed<B: Backend> {
        /// `(x - mean) / deviation`
        values: FloatTensor<B>,
        /// 1 / deviation, the last axis being 1.
        inverse_deviation: FloatTensor<B>,
    }

    fn normed<B: Backend>(x: FloatTensor<B>, axis: usize, eps: f64) -> Normed<B> {
        let centred = B::float_sub(x.clone(), B::float_mean_dim(x, axis));
        let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), axis);
        let variance = B::float_add_scalar(variance, eps.into());
        let inverse_deviation = B::float_recip(B::float_sqrt(variance));
        Normed {
            values: B::float_mul(centred, inverse_deviation.clone()),
            inverse_deviation,
        }
    }

    /// `(g - mean g - x̂ mean(g x̂)) / deviation` (arXiv 1502.03167, section 3).
    fn normed_backward<B: Backend>(
        normed: Normed<B>,
        g: FloatTensor<B>,
        axis: usize,
    ) -> FloatTensor<B> {
        let Normed {
            values,
            inverse_deviation,
        } = normed;
        let mean = B::float_mean_dim(g.clone(), axis);
        let along = B::float_mean_dim(B::float_mul(g.clone(), values.clone()), axis);
        let dx = B::float_sub(B::float_sub(g, mean), B::float_mul(values, along));
        B::float_mul(dx, inverse_deviation)
    }

    fn per_channel<B: Backend>(values: FloatTensor<B>) -> FloatTensor<B> {
        let channels = values.shape().num_elements();
        reshape::<B, 4>(values, [1, channels, 1, 1])
    }

    fn grouped<B: Backend>(x: FloatTensor<B>, groups: usize) -> FloatTensor<B> {
        let [batch, channels, height, width] = x.shape().dims();
        reshape::<B, 3>(x, [batch, groups, channels / groups * height * width])
    }

    pub fn group_norm<B: Backend>(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        shape: GroupNormShape,
    ) -> FloatTensor<B> {
        let dims: [usize; 4] = x.shape().dims();
        let normed = normed::<B>(grouped::<B>(x, shape.groups), 2, shape.eps);
        let y = reshape::<B, 4>(normed.values, dims);
        let y = B::float_mul(y, per_channel::<B>(weight));
        activated::<B>(B::float_add(y, per_channel::<B>(bias)), shape.activation)
    }

    fn activated<B: Backend>(y: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
        match activation {
            Activation::None => y,
            Activation::Silu => B::float_mul(y.clone(), B::sigmoid(y)),
        }
    }

    /// Row by row first: a group is so long that a device had little to do at once, and so many numbers added one
    /// after the other were no sum.
    pub fn group_moments<B: Backend>(x: FloatTensor<B>, shape: GroupNormShape) -> FloatTensor<B> {
        let [batch, channels, height, width] = x.shape().dims();
        let rows = [batch, shape.groups, channels / shape.groups * height, width];
        let mean = |x: FloatTensor<B>| B::float_mean_dim(B::float_mean_dim(x, 3), 2);
        let x = reshape::<B, 4>(x, rows);
        let middle = mean(x.clone());
        let centred = B::float_sub(x, middle.clone());
        let variance = mean(B::float_mul(centred.clone(), centred));
        let deviation = B::float_sqrt(B::float_add_scalar(variance, shape.eps.into()));
        let both = [middle, B::float_recip(deviation)]
            .map(|moment| reshape::<B, 3>(moment, [batch, shape.groups, 1]));
        B::float_cat(both.into(), 2)
    }

    pub fn group_norm_by<B: Backend>(
        x: FloatTensor<B>,
        moments: &FloatTensor<B>,
        [weight, bias]: [FloatTensor<B>; 2],
        activation: Activation,
    ) -> FloatTensor<B> {
        let [batch, groups, _] = moments.shape().dims();
        let channels = weight.shape().num_elements();
        let grouped =
            |values: FloatTensor<B>| reshape::<B, 3>(values, [1, groups, channels / groups]);
        let moment = |which: usize| {
            let slices = [0..batch, 0..groups, which..which + 1].map(Slice::from);
            B::float_slice(moments.clone(), &slices)
        };
        let factor = B::float_mul(grouped(weight), moment(1));
        let summand = B::float_sub(grouped(bias), B::float_mul(factor.clone(), moment(0)));
        let [factor, summand] =
            [factor, summand].map(|values| reshape::<B, 4>(values, [batch, channels, 1, 1]));
        activated::<B>(B::float_add(B::float_mul(x, factor), summand), activation)
    }

    pub fn group_norm_backward<B: Backend>(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        gradient: FloatTensor<B>,
        shape: GroupNormShape,
    ) -> FloatTensor<B> {
        let dims: [usize; 4] = x.shape().dims();
        let weight = per_channel::<B>(weight);
        let normed = normed::<B>(grouped::<B>(x, shape.groups), 2, shape.eps);
        let gradient = match shape.activation {
            Activation::None => gradient,
            Activation::Silu => {
                let y = reshape::<B, 4>(normed.values.clone(), dims);
                let y = B::float_mul(y, weight.clone());
                let y = B::float_add(y, per_channel::<B>(bias));
                // silu' = s + s y (1 - s)
                let s = B::sigmoid(y.clone());
                let rest = B::float_sub(s.clone(), B::float_mul(s.clone(), s.clone()));
                let slope = B::float_add(s, B::float_mul(y, rest));
                B::float_mul(gradient, slope)
            }
        };
        let g = grouped::<B>(B::float_mul(gradient, weight), shape.groups);
        reshape::<B, 4>(normed_backward::<B>(normed, g, 2), dims)
    }

    pub fn layer_norm_backward<B: Backend>(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        gradient: FloatTensor<B>,
        eps: f64,
    ) -> FloatTensor<B> {
        let width = weight.shape().num_elements();
        let weight = reshape::<B, 3>(weight, [1, 1, width]);
        normed_backward::<B>(normed::<B>(x, 2, eps), B::float_mul(gradient, weight), 2)
    }
}
