//! Products with a frozen weight.
//!
//! The stock operations keep what a trained weight would need: the convolution its input, the
//! product a widened copy of a half-precision weight. A frozen weight needs neither: only the
//! gradient of the input is ever asked for, and that takes the weight alone, cast again when used.

use burn::backend::{
    Backend, Dispatch, TensorMetadata as _,
    autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy},
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::{FloatDType, Shape, Tensor, ops::ConvOptions};

#[cfg(feature = "gpu")]
use burn::backend::ops::FloatTensorOps as _;

#[cfg(feature = "gpu")]
use super::gpu;
use super::{cpu, recorded};
use crate::tuning::{ChannelsLast, Tuning};

/// `x · weight`, in the number format of `x`.
///
/// # Shapes
/// - `x`: `[.., in]`, `weight`: `[in, out]`; answer: `[.., out]`
#[must_use]
pub fn frozen_linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::frozen_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
}

/// 2-D convolution, in the number format of `x`.
///
/// # Shapes
/// - `x`: `[batch, in, height, width]`, `weight`: `[out, in, kernel, kernel]`, `bias`: `[out]`
#[must_use]
pub fn frozen_conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::frozen_conv2d(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        stride,
        padding,
    ))
}

/// Whether [`frozen_conv2d`] best finds a kernel laid [`channels_last`].
pub(crate) fn is_channels_last(weight: &Tensor<4>, stride: usize, padding: usize) -> bool {
    let [output, input, side, _] = weight.dims();
    match Tuning::of(&weight.device()).channels_last {
        ChannelsLast::Wide => {
            stride == 1 && cpu::conv::Kernel { side, padding }.is_wide([input, output])
        }
        // Otherwise each use of it would lay it out first.
        ChannelsLast::All => side > 1,
    }
}

/// The same kernel, with its numbers in memory as `[out, kernel, kernel, in]`.
pub(crate) fn channels_last(weight: Tensor<4>) -> Tensor<4> {
    let [output, input, side, _] = weight.dims();
    let shape = [output, side, side, input];
    // A change of shape lays out what a change of axes does not; this one takes the first two as one.
    let flat = weight
        .permute([0, 2, 3, 1])
        .reshape([output, side * side * input]);
    flat.reshape(shape).permute([0, 3, 1, 2])
}

#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Fusion: cfg(feature = "tuned"), Autodiff)]
pub(crate) trait FrozenOps: Backend {
    #[fusion(default)]
    fn frozen_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        portable_linear::<Self>(x, weight)
    }

    #[fusion(default)]
    fn frozen_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        portable_conv2d::<Self>(x, weight, bias, stride, padding)
    }

    /// The gradient of the input, whose shape is `input`, from that of the answer.
    #[fusion(default)]
    fn frozen_conv2d_backward(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        input: Shape,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        portable_conv2d_backward::<Self>(gradient, weight, input, stride, padding)
    }
}

#[cfg(feature = "gpu")]
impl FrozenOps for burn_cubecl::CubeBackend {
    fn frozen_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        if !gpu::is_half(&x) {
            return portable_conv2d::<Self>(x, weight, bias, stride, padding);
        }
        let (format, dims) = (x.dtype(), x.shape().dims());
        let way = gpu::conv::Way::of(&weight, stride, padding);
        if way.suits(dims) {
            let (weight, bias) = (kernel_like::<Self>(weight, &x), cast_like::<Self>(bias, &x));
            return gpu::conv::conv2d(x, weight, bias, way);
        }
        let x = Self::float_cast(x, FloatDType::F32);
        let answer = portable_conv2d::<Self>(x, weight, bias, stride, padding);
        Self::float_cast(answer, format.into())
    }

    fn frozen_conv2d_backward(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        input: Shape,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        if !gpu::is_half(&gradient) {
            return portable_conv2d_backward::<Self>(gradient, weight, input, stride, padding);
        }
        let format = gradient.dtype();
        let way = gpu::conv::Way::of(&weight, stride, padding);
        if way.suits(input.dims()) {
            let weight = kernel_like::<Self>(weight, &gradient);
            return gpu::conv::conv2d_backward(gradient, weight, input.dims(), way);
        }
        let gradient = Self::float_cast(gradient, FloatDType::F32);
        let dx = portable_conv2d_backward::<Self>(gradient, weight, input, stride, padding);
        Self::float_cast(dx, format.into())
    }
}

impl FrozenOps for burn::backend::Flex {
    fn frozen_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let io = weight.shape().dims();
        let rows = x.shape().num_elements() / io[0];
        if cpu::all_f32(&[&x]) && cpu::linear::suits(rows, io) {
            return cpu::linear::linear(&x, &weight, io);
        }
        portable_linear::<Self>(x, weight)
    }

    fn frozen_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        if stride == 1 && cpu::all_f32(&[&x]) {
            let bias = cast_like::<Self>(bias, &x);
            let (dims, [out, _, side, _]) = (x.shape().dims(), weight.shape().dims());
            let kernel = cpu::conv::Kernel { side, padding };
            return cpu::conv::conv2d(&x, &weight, Some(&bias), dims, out, kernel);
        }
        portable_conv2d::<Self>(x, weight, bias, stride, padding)
    }

    fn frozen_conv2d_backward(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        input: Shape,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        if stride == 1 && cpu::all_f32(&[&gradient]) {
            let (dims, [_, input, side, _]) = (gradient.shape().dims(), weight.shape().dims());
            let kernel = cpu::conv::Kernel { side, padding };
            return cpu::conv::conv2d_backward(&gradient, &weight, dims, input, kernel);
        }
        portable_conv2d_backward::<Self>(gradient, weight, input, stride, padding)
    }
}

impl<B: FrozenOps, C: CheckpointStrategy> FrozenOps for Autodiff<B, C> {
    fn frozen_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        recorded::<B, C, _, _, _, _>(
            [x, weight],
            [0],
            [1],
            |[x, weight]| (B::frozen_linear(x, weight), ()),
            |[weight], (), gradient| [B::frozen_linear(gradient, B::float_transpose(weight))],
        )
    }

    fn frozen_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        recorded::<B, C, _, _, _, _>(
            [x, weight, bias],
            [0],
            [1],
            |[x, weight, bias]| {
                let input = x.shape();
                let answer = B::frozen_conv2d(x, weight, bias, stride, padding);
                (answer, (input, stride, padding))
            },
            |[weight], (input, stride, padding), gradient| {
                [B::frozen_conv2d_backward(
                    gradient, weight, input, stride, padding,
                )]
            },
        )
    }
}

fn portable_linear<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    let weight = cast_like::<B>(weight, &x);
    B::linear(x, weight, None)
}

fn portable_conv2d<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    stride: usize,
    padding: usize,
) -> FloatTensor<B> {
    let (weight, bias) = (kernel_like::<B>(weight, &x), cast_like::<B>(bias, &x));
    B::conv2d(x, weight, Some(bias), square(stride, padding))
}

fn portable_conv2d_backward<B: Backend>(
    gradient: FloatTensor<B>,
    weight: FloatTensor<B>,
    input: Shape,
    stride: usize,
    padding: usize,
) -> FloatTensor<B> {
    // Only its shape is read.
    let input = B::float_empty(input, &gradient.device(), gradient.dtype().into());
    let weight = kernel_like::<B>(weight, &gradient);
    B::conv2d_x_backward(input, weight, gradient, square(stride, padding))
}

fn cast_like<B: Backend>(tensor: FloatTensor<B>, like: &FloatTensor<B>) -> FloatTensor<B> {
    if tensor.dtype() == like.dtype() {
        return tensor;
    }
    let dtype: FloatDType = like.dtype().into();
    B::float_cast(tensor, dtype)
}

/// As [`cast_like`], for a kernel that may lie [`channels_last`] and stays so.
fn kernel_like<B: Backend>(weight: FloatTensor<B>, like: &FloatTensor<B>) -> FloatTensor<B> {
    if weight.dtype() == like.dtype() {
        return weight;
    }
    let weight = B::float_permute(weight, &[0, 2, 3, 1]);
    B::float_permute(cast_like::<B>(weight, like), &[0, 3, 1, 2])
}

fn square(stride: usize, padding: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1)
}
