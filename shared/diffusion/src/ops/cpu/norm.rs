//! Group and layer norm on the CPU.

use burn::backend::TensorMetadata as _;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::vector::{map, sigmoid, sum, update, zip};
use super::{CpuTensor, tensor, values};
use crate::ops::norm::{Activation, GroupNormShape};

/// Mean and 1/deviation.
#[derive(Clone, Copy)]
struct Moments {
    mean: f32,
    inverse_deviation: f32,
}

#[inline(always)]
fn moments<S: Simd>(simd: S, x: &[f32], eps: f64) -> Moments {
    let count = x.len() as f32;
    let mean = sum(
        simd,
        x,
        x,
        #[inline(always)]
        |x, _| x,
    ) / count;
    // The rest of a last vector is filled with zeros, which the mean would turn into something.
    let whole = x.len() / S::F32_LANES * S::F32_LANES;
    let centre = simd.splat_f32s(mean);
    let squares = sum(
        simd,
        &x[..whole],
        &x[..whole],
        #[inline(always)]
        |x, _| {
            let x = simd.sub_f32s(x, centre);
            simd.mul_f32s(x, x)
        },
    );
    let rest: f32 = x[whole..].iter().map(|x| (x - mean) * (x - mean)).sum();
    let variance = f64::from((squares + rest) / count);
    Moments {
        mean,
        inverse_deviation: (variance + eps).sqrt().recip() as f32,
    }
}

/// See [`crate::ops::group_norm`].
pub(in crate::ops) fn group_norm(
    x: &CpuTensor,
    weight: &CpuTensor,
    bias: &CpuTensor,
    shape: GroupNormShape,
    dims: [usize; 4],
) -> CpuTensor {
    let group = Group::of(shape, dims);
    normed(x, [weight, bias], group, dims, |_, x| {
        Arch::new().dispatch(TakeMoments { x, eps: shape.eps })
    })
}

/// See [`crate::ops::group_moments`].
pub(in crate::ops) fn group_moments(
    x: &CpuTensor,
    shape: GroupNormShape,
    dims: [usize; 4],
) -> CpuTensor {
    let x = x.to_contiguous();
    let groups = values(&x).par_chunks(Group::of(shape, dims).len());
    let moments = groups.flat_map_iter(|x| {
        let moments = Arch::new().dispatch(TakeMoments { x, eps: shape.eps });
        [moments.mean, moments.inverse_deviation]
    });
    tensor(moments.collect(), [dims[0], shape.groups, 2])
}

/// See [`crate::ops::group_norm_by`].
pub(in crate::ops) fn group_norm_by(
    x: &CpuTensor,
    moments: &CpuTensor,
    constants: [&CpuTensor; 2],
    activation: Activation,
    dims: [usize; 4],
) -> CpuTensor {
    let shape = GroupNormShape {
        groups: moments.shape().dims::<3>()[1],
        // It is in the deviations.
        eps: 0.0,
        activation,
    };
    let moments = moments.to_contiguous();
    let moments = values(&moments);
    normed(x, constants, Group::of(shape, dims), dims, |index, _| {
        Moments {
            mean: moments[2 * index],
            inverse_deviation: moments[2 * index + 1],
        }
    })
}

/// The norm of every group.
///
/// - `moments`: of a group, from its place and its numbers
fn normed(
    x: &CpuTensor,
    [weight, bias]: [&CpuTensor; 2],
    group: Group,
    dims: [usize; 4],
    moments: impl Fn(usize, &[f32]) -> Moments + Sync,
) -> CpuTensor {
    let x = x.to_contiguous();
    let (weight, bias) = (weight.to_contiguous(), bias.to_contiguous());
    let x = values(&x);
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(group.len())
        .zip(x.par_chunks(group.len()))
        .enumerate()
        .for_each(|(index, (out, x))| {
            Arch::new().dispatch(GroupNorm {
                group: group.at(index, values(&weight), values(&bias)),
                moments: moments(index, x),
                x,
                out,
            });
        });
    tensor(out, dims)
}

/// The gradient of the input, from that of the answer.
pub(in crate::ops) fn group_norm_backward(
    x: &CpuTensor,
    weight: &CpuTensor,
    bias: &CpuTensor,
    gradient: &CpuTensor,
    shape: GroupNormShape,
    dims: [usize; 4],
) -> CpuTensor {
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let (weight, bias) = (weight.to_contiguous(), bias.to_contiguous());
    let x = values(&x);
    let mut out = vec![0.0; x.len()];
    let group = Group::of(shape, dims);
    out.par_chunks_mut(group.len())
        .zip(x.par_chunks(group.len()))
        .zip(values(&gradient).par_chunks(group.len()))
        .enumerate()
        .for_each(|(index, ((out, x), gradient))| {
            Arch::new().dispatch(GroupNormBackward {
                group: group.at(index, values(&weight), values(&bias)),
                x,
                gradient,
                out,
            });
        });
    tensor(out, dims)
}

/// What all groups share.
#[derive(Clone, Copy)]
struct Group {
    shape: GroupNormShape,
    channels: usize,
    pixels: usize,
}

impl Group {
    const fn of(shape: GroupNormShape, [_, channels, height, width]: [usize; 4]) -> Self {
        Self {
            shape,
            channels: channels / shape.groups,
            pixels: height * width,
        }
    }

    const fn len(self) -> usize {
        self.channels * self.pixels
    }

    fn at<'a>(self, index: usize, weight: &'a [f32], bias: &'a [f32]) -> OneGroup<'a> {
        let first = index % self.shape.groups * self.channels;
        OneGroup {
            weight: &weight[first..][..self.channels],
            bias: &bias[first..][..self.channels],
            pixels: self.pixels,
            shape: self.shape,
        }
    }
}

/// The channels of one group of one picture.
#[derive(Clone, Copy)]
struct OneGroup<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    pixels: usize,
    shape: GroupNormShape,
}

impl OneGroup<'_> {
    /// Factor and summand that take each channel's pixels to its normed and scaled ones.
    fn scale(&self, moments: Moments, channel: usize) -> (f32, f32) {
        let factor = moments.inverse_deviation * self.weight[channel];
        (factor, self.bias[channel] - moments.mean * factor)
    }
}

struct TakeMoments<'a> {
    x: &'a [f32],
    eps: f64,
}

impl WithSimd for TakeMoments<'_> {
    type Output = Moments;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Moments {
        moments(simd, self.x, self.eps)
    }
}

struct GroupNorm<'a> {
    group: OneGroup<'a>,
    moments: Moments,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for GroupNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            group,
            moments,
            x,
            out,
        } = self;
        let planes = x
            .chunks_exact(group.pixels)
            .zip(out.chunks_exact_mut(group.pixels));
        for (channel, (x, out)) in planes.enumerate() {
            let (factor, summand) = group.scale(moments, channel);
            let (factor, summand) = (simd.splat_f32s(factor), simd.splat_f32s(summand));
            match group.shape.activation {
                Activation::None => {
                    map(
                        simd,
                        x,
                        out,
                        #[inline(always)]
                        |x| simd.mul_add_e_f32s(x, factor, summand),
                    );
                }
                Activation::Silu => map(
                    simd,
                    x,
                    out,
                    #[inline(always)]
                    |x| {
                        let y = simd.mul_add_e_f32s(x, factor, summand);
                        simd.mul_f32s(y, sigmoid(simd, y))
                    },
                ),
            }
        }
    }
}

struct GroupNormBackward<'a> {
    group: OneGroup<'a>,
    x: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for GroupNormBackward<'_> {
    type Output = ();

    /// With x̂ the normed input and g the gradient of `weight x̂ + bias` times `weight`:
    /// `dx = (g - mean g - x̂ mean(g x̂)) / deviation` (arXiv 1502.03167, section 3).
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            group,
            x,
            gradient,
            out,
        } = self;
        let pixels = group.pixels;
        let moments = moments(simd, x, group.shape.eps);

        // 1. `out` becomes g, without the weight.
        for channel in 0..group.weight.len() {
            let plane = channel * pixels..(channel + 1) * pixels;
            let (x, gradient) = (&x[plane.clone()], &gradient[plane.clone()]);
            let out = &mut out[plane];
            let (factor, summand) = group.scale(moments, channel);
            let (factor, summand) = (simd.splat_f32s(factor), simd.splat_f32s(summand));
            match group.shape.activation {
                Activation::None => out.copy_from_slice(gradient),
                Activation::Silu => zip(
                    simd,
                    x,
                    gradient,
                    out,
                    #[inline(always)]
                    |x, gradient| {
                        let y = simd.mul_add_e_f32s(x, factor, summand);
                        let s = sigmoid(simd, y);
                        // silu' = s (1 + y (1 - s))
                        let one = simd.splat_f32s(1.0);
                        let slope = simd.mul_add_e_f32s(y, simd.sub_f32s(one, s), one);
                        simd.mul_f32s(gradient, simd.mul_f32s(s, slope))
                    },
                ),
            }
        }

        // 2. mean g and mean(g x̂)
        let (mut of_g, mut of_g_x) = (0.0, 0.0);
        for (channel, weight) in group.weight.iter().enumerate() {
            let plane = channel * pixels..(channel + 1) * pixels;
            let (x, g) = (&x[plane.clone()], &out[plane]);
            let sum_g = sum(
                simd,
                g,
                g,
                #[inline(always)]
                |g, _| g,
            );
            of_g += weight * sum_g;
            of_g_x += weight
                * (sum(
                    simd,
                    g,
                    x,
                    #[inline(always)]
                    |g, x| simd.mul_f32s(g, x),
                ) - moments.mean * sum_g);
        }
        let count = x.len() as f32;
        let inverse = moments.inverse_deviation;
        let (mean_g, mean_g_x) = (of_g / count, of_g_x * inverse / count);

        // 3. dx = g·(weight/deviation) - x·slope - (mean g/deviation - mean·slope)
        let slope = mean_g_x * inverse * inverse;
        let constant = moments.mean * slope - mean_g * inverse;
        for (channel, weight) in group.weight.iter().enumerate() {
            let plane = channel * pixels..(channel + 1) * pixels;
            let (x, out) = (&x[plane.clone()], &mut out[plane]);
            line(simd, x, out, [weight * inverse, -slope, constant]);
        }
    }
}

/// `out = factor out + slope x + constant`
#[inline(always)]
fn line<S: Simd>(simd: S, x: &[f32], out: &mut [f32], [factor, slope, constant]: [f32; 3]) {
    let (factor, slope, constant) = (
        simd.splat_f32s(factor),
        simd.splat_f32s(slope),
        simd.splat_f32s(constant),
    );
    update(
        simd,
        x,
        out,
        #[inline(always)]
        |x, out| simd.mul_add_e_f32s(out, factor, simd.mul_add_e_f32s(x, slope, constant)),
    );
}

/// Tokens normed by one task.
const TOKENS: usize = 64;

/// See [`crate::ops::layer_norm`].
pub(in crate::ops) fn layer_norm(
    x: &CpuTensor,
    weight: &CpuTensor,
    bias: &CpuTensor,
    eps: f64,
    dims: [usize; 3],
) -> CpuTensor {
    let x = x.to_contiguous();
    let (weight, bias) = (weight.to_contiguous(), bias.to_contiguous());
    let x = values(&x);
    let mut out = vec![0.0; x.len()];
    let width = dims[2];
    out.par_chunks_mut(width * TOKENS)
        .zip(x.par_chunks(width * TOKENS))
        .for_each(|(out, x)| {
            Arch::new().dispatch(LayerNorm {
                weight: values(&weight),
                bias: values(&bias),
                eps,
                x,
                out,
            });
        });
    tensor(out, dims)
}

/// The gradient of the input, from that of the answer.
pub(in crate::ops) fn layer_norm_backward(
    x: &CpuTensor,
    weight: &CpuTensor,
    gradient: &CpuTensor,
    eps: f64,
    dims: [usize; 3],
) -> CpuTensor {
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let weight = weight.to_contiguous();
    let x = values(&x);
    let mut out = vec![0.0; x.len()];
    let width = dims[2];
    out.par_chunks_mut(width * TOKENS)
        .zip(x.par_chunks(width * TOKENS))
        .zip(values(&gradient).par_chunks(width * TOKENS))
        .for_each(|((out, x), gradient)| {
            Arch::new().dispatch(LayerNormBackward {
                weight: values(&weight),
                eps,
                x,
                gradient,
                out,
            });
        });
    tensor(out, dims)
}

struct LayerNorm<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f64,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        let rows = self
            .x
            .chunks_exact(width)
            .zip(self.out.chunks_exact_mut(width));
        for (x, out) in rows {
            let moments = moments(simd, x, self.eps);
            let mean = simd.splat_f32s(moments.mean);
            let inverse = simd.splat_f32s(moments.inverse_deviation);
            zip(
                simd,
                x,
                self.weight,
                out,
                #[inline(always)]
                |x, weight| simd.mul_f32s(simd.mul_f32s(simd.sub_f32s(x, mean), inverse), weight),
            );
            update(
                simd,
                self.bias,
                out,
                #[inline(always)]
                |bias, out| simd.add_f32s(bias, out),
            );
        }
    }
}

struct LayerNormBackward<'a> {
    weight: &'a [f32],
    eps: f64,
    x: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for LayerNormBackward<'_> {
    type Output = ();

    /// As [`GroupNormBackward`], with a weight for every number.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        let rows = self
            .x
            .chunks_exact(width)
            .zip(self.gradient.chunks_exact(width))
            .zip(self.out.chunks_exact_mut(width));
        for ((x, gradient), out) in rows {
            let moments = moments(simd, x, self.eps);
            zip(
                simd,
                gradient,
                self.weight,
                out,
                #[inline(always)]
                |gradient, weight| simd.mul_f32s(gradient, weight),
            );
            let count = width as f32;
            let inverse = moments.inverse_deviation;
            let sum_g = sum(
                simd,
                out,
                out,
                #[inline(always)]
                |g, _| g,
            );
            let sum_g_x = sum(
                simd,
                out,
                x,
                #[inline(always)]
                |g, x| simd.mul_f32s(g, x),
            ) - moments.mean * sum_g;
            let slope = sum_g_x * inverse * inverse * inverse / count;
            let constant = moments.mean * slope - sum_g * inverse / count;
            line(simd, x, out, [inverse, -slope, constant]);
        }
    }
}
