//! Convolution of stride 1 on the CPU: every tap of the kernel is the padded picture moved by a
//! constant, so the convolution is one product, with no copy of the picture per tap.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::product::{Output, Rows, Shifts, padded, product};
use super::{CpuTensor, tensor, values};

/// Padded pixels that one task draws: its channels stay in the core's cache.
const BAND: usize = 1536;

/// A square kernel.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Kernel {
    pub side: usize,
    pub padding: usize,
}

/// See [`crate::ops::frozen_conv2d`].
///
/// - `x`: `[batch, in, height, width]`, `weight`: `[out, in, side, side]`, `bias`: `[out]`
pub(in crate::ops) fn conv2d(
    x: &CpuTensor,
    weight: &CpuTensor,
    bias: Option<&CpuTensor>,
    dims: [usize; 4],
    out_channels: usize,
    kernel: Kernel,
) -> CpuTensor {
    let weight = weight.to_contiguous();
    let bias = bias.map(CpuTensor::to_contiguous);
    let bias = bias.as_ref().map(values);
    convolve(x, values(&weight), bias, dims, out_channels, kernel)
}

/// The gradient of the input, from that of the answer: the convolution with the kernel turned
/// round and its channels exchanged.
///
/// - `dims`: those of `gradient`
pub(in crate::ops) fn conv2d_backward(
    gradient: &CpuTensor,
    weight: &CpuTensor,
    dims: [usize; 4],
    in_channels: usize,
    kernel: Kernel,
) -> CpuTensor {
    let weight = weight.to_contiguous();
    let (out_channels, taps) = (dims[1], kernel.side * kernel.side);
    let mut turned = vec![0.0; out_channels * in_channels * taps];
    let blocks = values(&weight).chunks_exact(taps);
    for (index, block) in blocks.enumerate() {
        let (output, input) = (index / in_channels, index % in_channels);
        let turned = &mut turned[(input * out_channels + output) * taps..][..taps];
        for (to, from) in turned.iter_mut().rev().zip(block) {
            *to = *from;
        }
    }
    let turned_kernel = Kernel {
        side: kernel.side,
        padding: kernel.side - 1 - kernel.padding,
    };
    convolve(gradient, &turned, None, dims, in_channels, turned_kernel)
}

fn convolve(
    x: &CpuTensor,
    weight: &[f32],
    bias: Option<&[f32]>,
    [batch, channels, height, width]: [usize; 4],
    out_channels: usize,
    kernel: Kernel,
) -> CpuTensor {
    let x = x.to_contiguous();
    let out_side = |side: usize| side + 2 * kernel.padding + 1 - kernel.side;
    let (out_height, out_width) = (out_side(height), out_side(width));
    let band_height = (BAND / (width + 2 * kernel.padding)).clamp(1, out_height);
    let bands = out_height.div_ceil(band_height);
    let drawn: Vec<Vec<f32>> = (0..batch * bands)
        .into_par_iter()
        .map(|index| {
            let top = index % bands * band_height;
            let picture = &values(&x)[index / bands * channels * height * width..];
            Arch::new().dispatch(Band {
                picture: &picture[..channels * height * width],
                size: [channels, height, width],
                weight,
                bias,
                out_channels,
                kernel,
                rows: [top, band_height.min(out_height - top)],
                out_width,
            })
        })
        .collect();
    let shape = [batch, out_channels, out_height, out_width];
    if bands == 1 {
        return tensor(drawn.concat(), shape);
    }
    let mut out = Vec::with_capacity(shape.iter().product());
    for picture in drawn.chunks_exact(bands) {
        for channel in 0..out_channels {
            for band in picture {
                let plane = band.len() / out_channels;
                out.extend_from_slice(&band[channel * plane..][..plane]);
            }
        }
    }
    tensor(out, shape)
}

/// Some rows of one picture's answer.
struct Band<'a> {
    picture: &'a [f32],
    /// Channels, height and width.
    size: [usize; 3],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    out_channels: usize,
    kernel: Kernel,
    /// First row, and how many.
    rows: [usize; 2],
    out_width: usize,
}

impl WithSimd for Band<'_> {
    /// `[out_channels, rows, out_width]`
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Kernel { side, padding } = self.kernel;
        let [channels, _, width] = self.size;
        let [_, rows] = self.rows;
        let padded_width = width + 2 * padding;
        let plane = (rows + side - 1) * padded_width;
        // The answer has the padded width too; what lies in its margin is nonsense, and is left.
        let columns = (rows - 1) * padded_width + self.out_width;
        let stride = padded::<S>(columns);

        let picture = self.padded(plane, stride);
        let starts: Vec<usize> = (0..channels)
            .flat_map(|channel| (0..side).map(move |y| channel * plane + y * padded_width))
            .flat_map(|row| (0..side).map(move |x| row + x))
            .collect();
        let left = Rows::new(self.weight, starts.len(), self.out_channels);
        let right = Shifts::new(&picture, &starts);
        let mut drawn = vec![0.0; self.out_channels * stride];
        product(
            simd,
            left,
            right,
            columns,
            &mut drawn,
            stride,
            Output::Replace,
        );

        let mut out = Vec::with_capacity(self.out_channels * rows * self.out_width);
        for (channel, drawn) in drawn.chunks_exact(stride).enumerate() {
            let bias = self.bias.map_or(0.0, |bias| bias[channel]);
            for row in drawn.chunks(padded_width).take(rows) {
                out.extend(row[..self.out_width].iter().map(|value| value + bias));
            }
        }
        out
    }
}

impl Band<'_> {
    /// The rows that the band looks at, with zeros around: `[channels, plane]`, and zeros after the
    /// last for whole vectors.
    fn padded(&self, plane: usize, stride: usize) -> Vec<f32> {
        let Kernel { padding, .. } = self.kernel;
        let [channels, height, width] = self.size;
        let [top, _] = self.rows;
        let padded_width = width + 2 * padding;
        let mut out = vec![0.0; channels * plane + stride];
        for channel in 0..channels {
            let planes = &mut out[channel * plane..][..plane];
            for (row, out) in planes.chunks_exact_mut(padded_width).enumerate() {
                let Some(y) = (top + row).checked_sub(padding).filter(|y| *y < height) else {
                    continue;
                };
                let row = &self.picture[(channel * height + y) * width..][..width];
                out[padding..][..width].copy_from_slice(row);
            }
        }
        out
    }
}
