//! Group and layer norm on GPUs: a cube sums a group or a row, and norms it.

use burn::backend::{TensorMetadata as _, ops::FloatTensorOps as _};
use burn::tensor::Shape;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{CubeBackend, cubecl};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{GpuTensor, THREADS, cube_each, element, empty, sum_of_cube, threads_for};
use crate::ops::norm::{Activation, GroupNormShape};

/// See [`crate::ops::group_norm`].
pub(in crate::ops) fn group_norm(
    x: GpuTensor,
    weight: GpuTensor,
    bias: GpuTensor,
    shape: GroupNormShape,
) -> GpuTensor {
    let dims: [usize; 4] = x.shape().dims();
    let x = planes(x);
    let out = empty(&x, channels_last(dims));
    let (client, element) = (out.client.clone(), element(&x));
    let is_channels_last = is_channels_last(&x);
    group_norm_kernel::launch(
        &client,
        cube_each(dims[0] * shape.groups),
        CubeDim::new_1d(THREADS as u32),
        x.into_tensor_arg(),
        into_contiguous(weight).into_buffer_arg(),
        into_contiguous(bias).into_buffer_arg(),
        out.clone().into_buffer_arg(),
        shape.groups,
        shape.eps as f32,
        shape.activation == Activation::Silu,
        is_channels_last,
        THREADS,
        element,
    );
    as_picture(out)
}

/// The gradient of the input, from that of the answer.
pub(in crate::ops) fn group_norm_backward(
    x: GpuTensor,
    weight: GpuTensor,
    bias: GpuTensor,
    gradient: GpuTensor,
    shape: GroupNormShape,
) -> GpuTensor {
    let dims: [usize; 4] = x.shape().dims();
    let (x, gradient) = (planes(x), planes(gradient));
    let out = empty(&x, channels_last(dims));
    let (client, element) = (out.client.clone(), element(&x));
    let is_channels_last = is_channels_last(&gradient);
    group_norm_backward_kernel::launch(
        &client,
        cube_each(dims[0] * shape.groups),
        CubeDim::new_1d(THREADS as u32),
        x.into_tensor_arg(),
        into_contiguous(weight).into_buffer_arg(),
        into_contiguous(bias).into_buffer_arg(),
        gradient.into_tensor_arg(),
        out.clone().into_buffer_arg(),
        shape.groups,
        shape.eps as f32,
        shape.activation == Activation::Silu,
        is_channels_last,
        THREADS,
        element,
    );
    as_picture(out)
}

/// A picture as `[batch, channels, pixels]`, without moving a number where its memory allows.
fn planes(x: GpuTensor) -> GpuTensor {
    let [batch, channels, height, width] = x.shape().dims();
    CubeBackend::float_reshape(x, Shape::new([batch, channels, height * width]))
}

/// Whether a picture's channels lie side by side, as convolutions leave and want them.
fn is_channels_last(planes: &GpuTensor) -> bool {
    let [channels, pixels] = [1, 2].map(|axis| planes.meta.strides()[axis]);
    channels < pixels
}

const fn channels_last([batch, channels, height, width]: [usize; 4]) -> [usize; 4] {
    [batch, height, width, channels]
}

/// What lies channels last, as `[batch, channels, height, width]`: the memory that the convolution or the
/// transformer behind a norm wants, so neither lays it out again.
fn as_picture(channels_last: GpuTensor) -> GpuTensor {
    CubeBackend::float_permute(channels_last, &[0, 3, 1, 2])
}

/// Channel of the `index`-th number of a group, counted as it lies in memory.
#[cube]
fn channel_of(
    index: usize,
    channels: usize,
    pixels: usize,
    #[comptime] is_channels_last: bool,
) -> usize {
    if is_channels_last {
        index % channels
    } else {
        index / pixels
    }
}

/// Its pixel.
#[cube]
fn pixel_of(
    index: usize,
    channels: usize,
    pixels: usize,
    #[comptime] is_channels_last: bool,
) -> usize {
    if is_channels_last {
        index / channels
    } else {
        index % pixels
    }
}

#[cube]
fn sigmoid(y: f32) -> f32 {
    1.0f32 / (1.0f32 + (-y).exp())
}

/// - `x`: `[batch, channels, pixels]`, `weight`, `bias`: `[channels]`, `out`: `[batch, pixels, channels]`
#[cube(launch)]
fn group_norm_kernel<E: Float>(
    x: &Tensor<E>,
    weight: &[f32],
    bias: &[f32],
    out: &mut [E],
    groups: usize,
    eps: f32,
    #[comptime] is_silu: bool,
    #[comptime] is_channels_last: bool,
    #[comptime] threads: usize,
    #[define(E)] _element: ElemType,
) {
    let batch = CUBE_POS / groups;
    if batch >= x.shape(0) {
        terminate!();
    }
    let all = x.shape(1);
    let pixels = x.shape(2);
    let channels = all / groups;
    let first = CUBE_POS % groups * channels;
    let count = channels * pixels;
    let start = batch * x.stride(0);
    let of_channel = x.stride(1);
    let of_pixel = x.stride(2);

    // 1. mean
    let mut sum = 0.0f32;
    let mut index = UNIT_POS as usize;
    while index < count {
        let channel = channel_of(index, channels, pixels, is_channels_last);
        let pixel = pixel_of(index, channels, pixels, is_channels_last);
        let at = start + (first + channel) * of_channel + pixel * of_pixel;
        sum += f32::cast_from(x[at]);
        index += threads;
    }
    let mean = sum_of_cube(sum, threads) / f32::cast_from(count);

    // 2. variance
    let mut squares = 0.0f32;
    index = UNIT_POS as usize;
    while index < count {
        let channel = channel_of(index, channels, pixels, is_channels_last);
        let pixel = pixel_of(index, channels, pixels, is_channels_last);
        let at = start + (first + channel) * of_channel + pixel * of_pixel;
        let centred = f32::cast_from(x[at]) - mean;
        squares += centred * centred;
        index += threads;
    }
    let variance = sum_of_cube(squares, threads) / f32::cast_from(count);
    let inverse = 1.0f32 / (variance + eps).sqrt();

    // 3. the answer
    index = UNIT_POS as usize;
    while index < count {
        let channel = channel_of(index, channels, pixels, is_channels_last);
        let pixel = pixel_of(index, channels, pixels, is_channels_last);
        let at = start + (first + channel) * of_channel + pixel * of_pixel;
        let normed = (f32::cast_from(x[at]) - mean) * inverse;
        let mut y = normed * weight[first + channel] + bias[first + channel];
        if is_silu {
            y *= sigmoid(y);
        }
        out[(batch * pixels + pixel) * all + first + channel] = E::cast_from(y);
        index += threads;
    }
}

/// With x̂ the normed input and g the gradient of `weight x̂ + bias` times `weight`:
/// `dx = (g - mean g - x̂ mean(g x̂)) / deviation` (arXiv 1502.03167, section 3).
///
/// - as [`group_norm_kernel()`], `gradient` like `x`
#[cube(launch)]
fn group_norm_backward_kernel<E: Float>(
    x: &Tensor<E>,
    weight: &[f32],
    bias: &[f32],
    gradient: &Tensor<E>,
    out: &mut [E],
    groups: usize,
    eps: f32,
    #[comptime] is_silu: bool,
    #[comptime] is_channels_last: bool,
    #[comptime] threads: usize,
    #[define(E)] _element: ElemType,
) {
    let batch = CUBE_POS / groups;
    if batch >= x.shape(0) {
        terminate!();
    }
    let all = x.shape(1);
    let pixels = x.shape(2);
    let channels = all / groups;
    let first = CUBE_POS % groups * channels;
    let count = channels * pixels;
    let numbers = f32::cast_from(count);
    let start = batch * x.stride(0);
    let of_gradient = batch * gradient.stride(0);

    // 1. mean and deviation
    let mut sum = 0.0f32;
    let mut index = UNIT_POS as usize;
    while index < count {
        let channel = channel_of(index, channels, pixels, is_channels_last);
        let pixel = pixel_of(index, channels, pixels, is_channels_last);
        let at = start + (first + channel) * x.stride(1) + pixel * x.stride(2);
        sum += f32::cast_from(x[at]);
        index += threads;
    }
    let mean = sum_of_cube(sum, threads) / numbers;
    let mut squares = 0.0f32;
    index = UNIT_POS as usize;
    while index < count {
        let channel = channel_of(index, channels, pixels, is_channels_last);
        let pixel = pixel_of(index, channels, pixels, is_channels_last);
        let at = start + (first + channel) * x.stride(1) + pixel * x.stride(2);
        let centred = f32::cast_from(x[at]) - mean;
        squares += centred * centred;
        index += threads;
    }
    let variance = sum_of_cube(squares, threads) / numbers;
    let inverse = 1.0f32 / (variance + eps).sqrt();

    // 2. mean g and mean(g x̂)
    let mut of_g = 0.0f32;
    let mut of_g_x = 0.0f32;
    index = UNIT_POS as usize;
    while index < count {
        let channel = channel_of(index, channels, pixels, is_channels_last);
        let pixel = pixel_of(index, channels, pixels, is_channels_last);
        let at = start + (first + channel) * x.stride(1) + pixel * x.stride(2);
        let normed = (f32::cast_from(x[at]) - mean) * inverse;
        let channel = first + channel;
        let at = of_gradient + channel * gradient.stride(1) + pixel * gradient.stride(2);
        let g = scaled(
            f32::cast_from(gradient[at]),
            normed,
            weight[channel],
            bias[channel],
            is_silu,
        );
        of_g += g;
        of_g_x += g * normed;
        index += threads;
    }
    let mean_g = sum_of_cube(of_g, threads) / numbers;
    let mean_g_x = sum_of_cube(of_g_x, threads) / numbers;

    // 3. dx
    index = UNIT_POS as usize;
    while index < count {
        let channel = channel_of(index, channels, pixels, is_channels_last);
        let pixel = pixel_of(index, channels, pixels, is_channels_last);
        let at = start + (first + channel) * x.stride(1) + pixel * x.stride(2);
        let normed = (f32::cast_from(x[at]) - mean) * inverse;
        let channel = first + channel;
        let at = of_gradient + channel * gradient.stride(1) + pixel * gradient.stride(2);
        let g = scaled(
            f32::cast_from(gradient[at]),
            normed,
            weight[channel],
            bias[channel],
            is_silu,
        );
        let dx = (g - mean_g - normed * mean_g_x) * inverse;
        out[(batch * pixels + pixel) * all + channel] = E::cast_from(dx);
        index += threads;
    }
}

/// The gradient of a normed number, from that of the answer.
#[cube]
fn scaled(gradient: f32, normed: f32, weight: f32, bias: f32, #[comptime] is_silu: bool) -> f32 {
    let mut g = gradient * weight;
    if is_silu {
        let y = normed * weight + bias;
        let s = sigmoid(y);
        // silu' = s (1 + y (1 - s))
        g *= s * (1.0f32 + y * (1.0f32 - s));
    }
    g
}

/// See [`crate::ops::layer_norm`].
pub(in crate::ops) fn layer_norm(
    x: GpuTensor,
    weight: GpuTensor,
    bias: GpuTensor,
    eps: f64,
) -> GpuTensor {
    let (shape, width) = (x.shape(), weight.shape().num_elements());
    let rows = shape.num_elements() / width;
    let x = into_contiguous(x);
    let out = empty(&x, shape);
    let (client, element, threads) = (out.client.clone(), element(&x), threads_for(width));
    layer_norm_kernel::launch(
        &client,
        cube_each(rows),
        CubeDim::new_1d(threads as u32),
        x.into_buffer_arg(),
        into_contiguous(weight).into_buffer_arg(),
        into_contiguous(bias).into_buffer_arg(),
        out.clone().into_buffer_arg(),
        rows,
        width,
        eps as f32,
        threads,
        element,
    );
    out
}

/// The gradient of the input, from that of the answer.
pub(in crate::ops) fn layer_norm_backward(
    x: GpuTensor,
    weight: GpuTensor,
    gradient: GpuTensor,
    eps: f64,
) -> GpuTensor {
    let (shape, width) = (x.shape(), weight.shape().num_elements());
    let rows = shape.num_elements() / width;
    let (x, gradient) = (into_contiguous(x), into_contiguous(gradient));
    let out = empty(&x, shape);
    let (client, element, threads) = (out.client.clone(), element(&x), threads_for(width));
    layer_norm_backward_kernel::launch(
        &client,
        cube_each(rows),
        CubeDim::new_1d(threads as u32),
        x.into_buffer_arg(),
        into_contiguous(weight).into_buffer_arg(),
        gradient.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        rows,
        width,
        eps as f32,
        threads,
        element,
    );
    out
}

/// Mean and 1/deviation of the row that begins at `start`.
#[cube]
fn moments_of_row<E: Float>(
    x: &[E],
    start: usize,
    width: usize,
    eps: f32,
    #[comptime] threads: usize,
) -> (f32, f32) {
    let mut sum = 0.0f32;
    let mut index = UNIT_POS as usize;
    while index < width {
        sum += f32::cast_from(x[start + index]);
        index += threads;
    }
    let mean = sum_of_cube(sum, threads) / f32::cast_from(width);
    let mut squares = 0.0f32;
    index = UNIT_POS as usize;
    while index < width {
        let centred = f32::cast_from(x[start + index]) - mean;
        squares += centred * centred;
        index += threads;
    }
    let variance = sum_of_cube(squares, threads) / f32::cast_from(width);
    (mean, 1.0f32 / (variance + eps).sqrt())
}

/// - `x`, `out`: `[rows, width]`, `weight`, `bias`: `[width]`
#[cube(launch)]
fn layer_norm_kernel<E: Float>(
    x: &[E],
    weight: &[f32],
    bias: &[f32],
    out: &mut [E],
    rows: usize,
    width: usize,
    eps: f32,
    #[comptime] threads: usize,
    #[define(E)] _element: ElemType,
) {
    if CUBE_POS >= rows {
        terminate!();
    }
    let start = CUBE_POS * width;
    let (mean, inverse) = moments_of_row::<E>(x, start, width, eps, threads);
    let mut index = UNIT_POS as usize;
    while index < width {
        let normed = (f32::cast_from(x[start + index]) - mean) * inverse;
        out[start + index] = E::cast_from(normed * weight[index] + bias[index]);
        index += threads;
    }
}

/// As [`group_norm_backward_kernel()`], with a weight for every number.
///
/// - `x`, `gradient`, `out`: `[rows, width]`, `weight`: `[width]`
#[cube(launch)]
fn layer_norm_backward_kernel<E: Float>(
    x: &[E],
    weight: &[f32],
    gradient: &[E],
    out: &mut [E],
    rows: usize,
    width: usize,
    eps: f32,
    #[comptime] threads: usize,
    #[define(E)] _element: ElemType,
) {
    if CUBE_POS >= rows {
        terminate!();
    }
    let start = CUBE_POS * width;
    let (mean, inverse) = moments_of_row::<E>(x, start, width, eps, threads);
    let mut of_g = 0.0f32;
    let mut of_g_x = 0.0f32;
    let mut index = UNIT_POS as usize;
    while index < width {
        let normed = (f32::cast_from(x[start + index]) - mean) * inverse;
        let g = f32::cast_from(gradient[start + index]) * weight[index];
        of_g += g;
        of_g_x += g * normed;
        index += threads;
    }
    let numbers = f32::cast_from(width);
    let mean_g = sum_of_cube(of_g, threads) / numbers;
    let mean_g_x = sum_of_cube(of_g_x, threads) / numbers;
    index = UNIT_POS as usize;
    while index < width {
        let normed = (f32::cast_from(x[start + index]) - mean) * inverse;
        let g = f32::cast_from(gradient[start + index]) * weight[index];
        out[start + index] = E::cast_from((g - mean_g - normed * mean_g_x) * inverse);
        index += threads;
    }
}
