//! Convolution of stride 1 on the CPU. Wide ones of 3×3 go through [`super::winograd`]. Else every tap
//! of the kernel is the padded picture moved by a constant, so the convolution is one product, with no
//! copy of the picture per tap.
//!
//! The product is done in blocks of the weights that stay in a core's cache. Each number is the same
//! sum in the same order however it is cut.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::product::{Output, Rows, Shifts, padded, product};
use super::weight::Weight;
use super::winograd::{self, Kernels};
use super::{CpuTensor, single, tensor, values};

/// Channels from which on fewer multiplications are worth their preparation.
const WIDE: usize = 128;
/// Padded pixels that one task draws: its channels stay in the core's cache.
const BAND: usize = 1536;
/// Channels of the answer that one task draws.
const CHANNELS: usize = 128;
/// Taps of each that are added up at once: so many weights of [`CHANNELS`] channels, and a strip of the
/// picture beside them, stay in a core's second cache.
const DEPTH: usize = 1152;

/// A square kernel.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Kernel {
    pub side: usize,
    pub padding: usize,
}

impl Kernel {
    const fn taps(self) -> usize {
        self.side * self.side
    }

    /// Whether [`winograd`] convolves with it, for which weights best lie channels last.
    ///
    /// - `io`: channels of the picture and of the answer
    pub const fn is_wide(self, [input, output]: [usize; 2]) -> bool {
        self.side == 3 && self.padding == 1 && input >= WIDE && output >= WIDE
    }
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
    let bias = bias.map(CpuTensor::to_contiguous);
    let bias = bias.as_ref().map(values);
    let [batch, channels, height, width] = dims;
    if kernel.is_wide([channels, out_channels]) {
        let (x, weight) = (x.to_contiguous(), channels_last(weight));
        let kernels = Kernels {
            weight: Weight::of(&weight),
            io: [channels, out_channels],
            is_turned: false,
        };
        let out = winograd::convolve(values(&x), kernels, bias, [height, width]);
        return tensor(out, [batch, out_channels, height, width]);
    }
    let weight = single(weight).to_contiguous();
    let weight = Lying::AsItIs(values(&weight));
    convolve(x, weight, bias, dims, out_channels, kernel)
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
    let [batch, channels, height, width] = dims;
    if kernel.is_wide([in_channels, channels]) {
        let (gradient, weight) = (gradient.to_contiguous(), channels_last(weight));
        let kernels = Kernels {
            weight: Weight::of(&weight),
            io: [in_channels, channels],
            is_turned: true,
        };
        let out = winograd::convolve(values(&gradient), kernels, None, [height, width]);
        return tensor(out, [batch, in_channels, height, width]);
    }
    let weight = single(weight).to_contiguous();
    let turned_kernel = Kernel {
        side: kernel.side,
        padding: kernel.side - 1 - kernel.padding,
    };
    let weight = Lying::Turned(values(&weight));
    convolve(gradient, weight, None, dims, in_channels, turned_kernel)
}

/// `[out, in, side, side]` as `[out, side, side, in]`: no copy where the weights lie so.
fn channels_last(weight: &CpuTensor) -> CpuTensor {
    weight.permute(&[0, 2, 3, 1]).to_contiguous()
}

/// How the weights of a convolution lie.
#[derive(Clone, Copy)]
enum Lying<'a> {
    /// `[out, in, side, side]`
    AsItIs(&'a [f32]),
    /// Of the convolution whose way back this is: `[in, out, side, side]`, each kernel the other way
    /// round.
    Turned(&'a [f32]),
}

fn convolve(
    x: &CpuTensor,
    weight: Lying<'_>,
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
    let padded: Vec<Band> = (0..batch * bands)
        .into_par_iter()
        .map(|index| {
            let top = index % bands * band_height;
            let picture = &values(&x)[index / bands * channels * height * width..];
            let picture = Picture {
                values: &picture[..channels * height * width],
                size: [channels, height, width],
            };
            let rows = band_height.min(out_height - top);
            Band::of(picture, kernel, [top, rows], out_width)
        })
        .collect();
    let parts = out_channels.div_ceil(CHANNELS);
    let drawn: Vec<Vec<f32>> = (0..padded.len() * parts)
        .into_par_iter()
        .map(|index| {
            let first = index % parts * CHANNELS;
            Arch::new().dispatch(Part {
                band: &padded[index / parts],
                weight,
                bias,
                out_channels,
                drawn: first..out_channels.min(first + CHANNELS),
                kernel,
            })
        })
        .collect();
    let shape = [batch, out_channels, out_height, out_width];
    if bands == 1 {
        return tensor(drawn.concat(), shape);
    }
    let mut out = Vec::with_capacity(shape.iter().product());
    for picture in drawn.chunks_exact(bands * parts) {
        for channel in 0..out_channels {
            for band in 0..bands {
                let part = &picture[band * parts + channel / CHANNELS];
                let plane = padded[band].rows * out_width;
                out.extend_from_slice(&part[channel % CHANNELS * plane..][..plane]);
            }
        }
    }
    tensor(out, shape)
}

/// A picture of many channels.
#[derive(Clone, Copy)]
struct Picture<'a> {
    values: &'a [f32],
    /// Channels, height and width.
    size: [usize; 3],
}

/// What some rows of one picture's answer look at, with zeros around.
struct Band {
    /// `[channels, plane]`, and zeros after the last for whole vectors.
    values: Vec<f32>,
    channels: usize,
    plane: usize,
    padded_width: usize,
    /// Rows of the answer.
    rows: usize,
    out_width: usize,
}

impl Band {
    /// - `rows`: of the answer, the first and how many
    fn of(
        picture: Picture<'_>,
        Kernel { side, padding }: Kernel,
        [top, rows]: [usize; 2],
        out_width: usize,
    ) -> Self {
        let [channels, height, width] = picture.size;
        let padded_width = width + 2 * padding;
        let plane = (rows + side - 1) * padded_width;
        // No vector is longer than a row of the product.
        let mut values = vec![0.0; channels * plane + (rows * padded_width).next_multiple_of(64)];
        for channel in 0..channels {
            let planes = &mut values[channel * plane..][..plane];
            for (row, out) in planes.chunks_exact_mut(padded_width).enumerate() {
                let Some(y) = (top + row).checked_sub(padding).filter(|y| *y < height) else {
                    continue;
                };
                let row = &picture.values[(channel * height + y) * width..][..width];
                out[padding..][..width].copy_from_slice(row);
            }
        }
        Self {
            values,
            channels,
            plane,
            padded_width,
            rows,
            out_width,
        }
    }

    /// Where each tap of some channels begins.
    fn starts(&self, channels: Range<usize>, side: usize) -> Vec<usize> {
        channels
            .flat_map(|channel| {
                (0..side).map(move |y| channel * self.plane + y * self.padded_width)
            })
            .flat_map(|row| (0..side).map(move |x| row + x))
            .collect()
    }
}

/// Some channels of some rows of one picture's answer.
struct Part<'a> {
    band: &'a Band,
    weight: Lying<'a>,
    bias: Option<&'a [f32]>,
    /// Of the whole answer.
    out_channels: usize,
    /// Those that are drawn.
    drawn: Range<usize>,
    kernel: Kernel,
}

impl WithSimd for Part<'_> {
    /// `[drawn, rows, out_width]`
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let band = self.band;
        // The answer has the padded width too; what lies in its margin is nonsense, and is left.
        let columns = (band.rows - 1) * band.padded_width + band.out_width;
        let stride = padded::<S>(columns);
        let mut drawn = vec![0.0; self.drawn.len() * stride];
        let block = (DEPTH / self.kernel.taps()).max(1);
        let mut turned = Vec::new();
        for first in (0..band.channels).step_by(block) {
            let channels = first..band.channels.min(first + block);
            let starts = band.starts(channels.clone(), self.kernel.side);
            let left = self.weights(channels, &mut turned);
            let right = Shifts::new(&band.values, &starts);
            let answer = if first == 0 {
                Output::Replace
            } else {
                Output::Continue
            };
            product(simd, left, right, columns, &mut drawn, stride, answer);
        }

        let mut out = Vec::with_capacity(self.drawn.len() * band.rows * band.out_width);
        for (channel, drawn) in self.drawn.zip(drawn.chunks_exact(stride)) {
            let bias = self.bias.map_or(0.0, |bias| bias[channel]);
            for row in drawn.chunks(band.padded_width).take(band.rows) {
                out.extend(row[..band.out_width].iter().map(|value| value + bias));
            }
        }
        out
    }
}

impl Part<'_> {
    /// The weights of some channels of the picture, a row for each channel that is drawn.
    ///
    /// - `turned`: room for those that do not lie in rows
    #[inline(always)]
    fn weights<'w>(&'w self, channels: Range<usize>, turned: &'w mut Vec<f32>) -> Rows<'w> {
        let taps = self.kernel.taps();
        match self.weight {
            Lying::AsItIs(values) => {
                let stride = self.band.channels * taps;
                let first = self.drawn.start * stride + channels.start * taps;
                Rows::new(&values[first..], stride, self.drawn.len())
            }
            Lying::Turned(values) => {
                let stride = channels.len() * taps;
                turned.clear();
                turned.resize(self.drawn.len() * stride, 0.0);
                for (place, channel) in channels.enumerate() {
                    let first = (channel * self.out_channels + self.drawn.start) * taps;
                    let kernels = values[first..].chunks_exact(taps);
                    for (row, kernel) in turned.chunks_exact_mut(stride).zip(kernels) {
                        let to = row[place * taps..][..taps].iter_mut().rev();
                        for (to, from) in to.zip(kernel) {
                            *to = *from;
                        }
                    }
                }
                Rows::new(turned, stride, self.drawn.len())
            }
        }
    }
}
