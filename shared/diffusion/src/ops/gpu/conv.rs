//! Convolutions of half-precision pictures on GPUs: as products, which sum in f32.
//!
//! Burn's direct convolution sums in the format of its input, and ten thousand terms in f16 are no sum.
//! Here every place of the kernel becomes a column (im2col), so the product does the rest.

use burn::backend::{TensorMetadata as _, ops::FloatTensorOps as _};
use burn::tensor::Shape;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{CubeBackend, cubecl};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{GpuTensor, element, empty, thread_each};

/// Numbers that the columns may be: 128 MiB in f16, what one buffer of a WebGPU device holds.
const MOST: usize = 64 << 20;

/// How a convolution goes over its picture.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Way {
    side: usize,
    stride: usize,
    padding: usize,
}

impl Way {
    /// That of a kernel `[out, in, side, side]`.
    pub fn of(weight: &GpuTensor, stride: usize, padding: usize) -> Self {
        Self {
            side: weight.shape().dims::<4>()[2],
            stride,
            padding,
        }
    }

    const fn out(self, size: usize) -> usize {
        (size + 2 * self.padding - self.side) / self.stride + 1
    }

    /// Whether the columns of a picture `[batch, in, height, width]` can be held.
    pub fn suits(self, [batch, input, height, width]: [usize; 4]) -> bool {
        let pixels = batch * self.out(height) * self.out(width);
        pixels * self.side * self.side * input <= MOST
    }

    /// Whether every pixel of the answer is made of that pixel alone.
    const fn is_pointwise(self) -> bool {
        self.side == 1 && self.stride == 1 && self.padding == 0
    }
}

/// See [`crate::ops::frozen_conv2d`].
///
/// - `x`: `[batch, in, height, width]`, `weight`: `[out, in, side, side]`, `bias`: `[out]`, of one format
pub(in crate::ops) fn conv2d(
    x: GpuTensor,
    weight: GpuTensor,
    bias: GpuTensor,
    way: Way,
) -> GpuTensor {
    let [batch, input, height, width] = x.shape().dims();
    let output = weight.shape().dims::<4>()[0];
    let (out_height, out_width) = (way.out(height), way.out(width));
    let rows = batch * out_height * out_width;
    let columns = if way.is_pointwise() {
        let x = into_contiguous(CubeBackend::float_permute(x, &[0, 2, 3, 1]));
        CubeBackend::float_reshape(x, Shape::new([rows, input]))
    } else {
        let columns = empty(&x, [rows, way.side * way.side * input]);
        let (cubes, dim) = thread_each(&columns, columns.shape().num_elements());
        let (client, element) = (x.client.clone(), element(&x));
        columns_kernel::launch(
            &client,
            cubes,
            dim,
            x.into_tensor_arg(),
            columns.clone().into_buffer_arg(),
            out_height,
            out_width,
            way.side,
            way.stride,
            way.padding,
            element,
        );
        columns
    };
    let weight = CubeBackend::float_transpose(flat(weight));
    let answer = CubeBackend::float_matmul(columns, weight);
    let bias = CubeBackend::float_reshape(bias, Shape::new([1, output]));
    let answer = CubeBackend::float_add(answer, bias);
    let shape = Shape::new([batch, out_height, out_width, output]);
    CubeBackend::float_permute(CubeBackend::float_reshape(answer, shape), &[0, 3, 1, 2])
}

/// The gradient of the input, whose shape is `input`, from that of the answer.
pub(in crate::ops) fn conv2d_backward(
    gradient: GpuTensor,
    weight: GpuTensor,
    [batch, input, height, width]: [usize; 4],
    way: Way,
) -> GpuTensor {
    let [_, output, out_height, out_width] = gradient.shape().dims();
    let gradient = into_contiguous(CubeBackend::float_permute(gradient, &[0, 2, 3, 1]));
    let rows = batch * out_height * out_width;
    let gradient = CubeBackend::float_reshape(gradient, Shape::new([rows, output]));
    let columns = CubeBackend::float_matmul(gradient, flat(weight));
    let shape = [batch, height, width, input];
    let dx = if way.is_pointwise() {
        CubeBackend::float_reshape(columns, Shape::new(shape))
    } else {
        let dx = empty(&columns, shape);
        let (cubes, dim) = thread_each(&dx, dx.shape().num_elements());
        let (client, element) = (dx.client.clone(), element(&dx));
        picture_kernel::launch(
            &client,
            cubes,
            dim,
            into_contiguous(columns).into_buffer_arg(),
            dx.clone().into_buffer_arg(),
            height,
            width,
            input,
            out_height,
            out_width,
            way.side,
            way.stride,
            way.padding,
            element,
        );
        dx
    };
    CubeBackend::float_permute(dx, &[0, 3, 1, 2])
}

/// A kernel as `[out, side · side · in]`, without moving a number where it lies channels last.
fn flat(weight: GpuTensor) -> GpuTensor {
    let [output, input, side, _] = weight.shape().dims();
    let weight = into_contiguous(CubeBackend::float_permute(weight, &[0, 2, 3, 1]));
    CubeBackend::float_reshape(weight, Shape::new([output, side * side * input]))
}

/// - `x`: `[batch, in, height, width]`, `columns`: `[batch, out height, out width, side, side, in]`
#[cube(launch)]
fn columns_kernel<E: Float>(
    x: &Tensor<E>,
    columns: &mut [E],
    out_height: usize,
    out_width: usize,
    side: usize,
    stride: usize,
    padding: usize,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= columns.len() {
        terminate!();
    }
    let input = x.shape(1);
    let channel = ABSOLUTE_POS % input;
    let rest = ABSOLUTE_POS / input;
    let along = rest % side;
    let rest = rest / side;
    let down = rest % side;
    let rest = rest / side;
    let column = rest % out_width * stride + along;
    let rest = rest / out_width;
    let row = rest % out_height * stride + down;
    let batch = rest / out_height;
    let mut value = E::from_int(0);
    if row >= padding && column >= padding {
        let row = row - padding;
        let column = column - padding;
        if row < x.shape(2) && column < x.shape(3) {
            value = x[batch * x.stride(0)
                + channel * x.stride(1)
                + row * x.stride(2)
                + column * x.stride(3)];
        }
    }
    columns[ABSOLUTE_POS] = value;
}

/// Sums what each pixel gave to the columns.
///
/// - `columns`: `[batch, out height, out width, side, side, in]`, `dx`: `[batch, height, width, in]`
#[cube(launch)]
fn picture_kernel<E: Float>(
    columns: &[E],
    dx: &mut [E],
    height: usize,
    width: usize,
    input: usize,
    out_height: usize,
    out_width: usize,
    side: usize,
    stride: usize,
    padding: usize,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= dx.len() {
        terminate!();
    }
    let channel = ABSOLUTE_POS % input;
    let rest = ABSOLUTE_POS / input;
    let column = rest % width + padding;
    let rest = rest / width;
    let row = rest % height + padding;
    let batch = rest / height;
    let mut sum = 0.0f32;
    for down in 0..side {
        if row >= down && (row - down).is_multiple_of(stride) {
            let out_row = (row - down) / stride;
            if out_row < out_height {
                for along in 0..side {
                    if column >= along && (column - along).is_multiple_of(stride) {
                        let out_column = (column - along) / stride;
                        if out_column < out_width {
                            let pixel = (batch * out_height + out_row) * out_width + out_column;
                            let place = (pixel * side + down) * side + along;
                            sum += f32::cast_from(columns[place * input + channel]);
                        }
                    }
                }
            }
        }
    }
    dx[ABSOLUTE_POS] = E::cast_from(sum);
}
