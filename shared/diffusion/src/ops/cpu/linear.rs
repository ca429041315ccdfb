//! The product of many rows with a large frozen weight.
//!
//! Some columns of the weight at a time are widened and laid in strips that the innermost loop reads
//! from end to end; then every row is multiplied with them. Each number is the same sum in the same
//! order however the work is cut.

use burn::backend::TensorMetadata as _;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::product::{Output, Rows, Shifts, every, product};
use super::scratch;
use super::weight::Weight;
use super::{CpuTensor, tensor, values};

/// Columns of a strip: whole vectors on every machine, and three of the widest.
const STRIP: usize = 48;
/// Terms summed at once: with a strip's width they stay in a core's first cache.
const DEPTH: usize = 128;
/// Numbers of the weight that are widened at once: they stay in the cache of all cores.
const PACKED: usize = 1 << 20;
/// Rows that one task computes at most.
const ROWS: usize = 64;
/// Below so many products the preparation costs more than it saves.
const LEAST: usize = 1 << 25;

/// Whether [`linear`] is made for a product of these sizes.
///
/// - `io`: width of a row, and of what it becomes
pub(in crate::ops) const fn suits(rows: usize, [input, output]: [usize; 2]) -> bool {
    // An answer's rows must be whole vectors.
    output.is_multiple_of(16) && rows.saturating_mul(input * output) >= LEAST
}

/// See [`crate::ops::frozen_linear`].
///
/// - `x`: `[.., in]`, `weight`: `[in, out]`, of f32 or f16
pub(in crate::ops) fn linear(x: &CpuTensor, weight: &CpuTensor, io: [usize; 2]) -> CpuTensor {
    let mut shape = x.shape();
    let last = shape.num_dims() - 1;
    shape[last] = io[1];
    let x = x.to_contiguous();
    // Mostly it is the transpose of what lies in memory, and that of the transpose on the way back.
    let transposed = weight.transpose(0, 1);
    let is_transposed = transposed.is_contiguous();
    let weight = if is_transposed {
        transposed
    } else {
        weight.to_contiguous()
    };
    let matrix = Matrix {
        weight: Weight::of(&weight),
        io,
        is_transposed,
    };
    tensor(multiply(values(&x), matrix), shape)
}

/// A weight of a product.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    weight: Weight<'a>,
    /// What is summed over, and what is answered.
    io: [usize; 2],
    /// Whether the numbers that are summed over lie side by side, `[out, in]`, and not `[in, out]`.
    is_transposed: bool,
}

/// `x · weight`: `[rows, out]`
///
/// - `x`: `[rows, in]`
fn multiply(x: &[f32], matrix: Matrix<'_>) -> Vec<f32> {
    let [input, output] = matrix.io;
    let rows = x.len() / input;
    let mut out = vec![0.0; rows * output];
    let columns_at_once = (PACKED / input / STRIP).max(1) * STRIP;
    // Several tasks for every core, also of few rows.
    let rows_at_once = (rows / 16).next_multiple_of(8).clamp(8, ROWS);
    for first in (0..output).step_by(columns_at_once) {
        let columns = columns_at_once.min(output - first);
        scratch::with(columns.div_ceil(STRIP) * input * STRIP, |packed| {
            packed
                .par_chunks_exact_mut(input * STRIP)
                .enumerate()
                .for_each(|(strip, out)| {
                    let first = first + strip * STRIP;
                    let columns = STRIP.min(output - first);
                    Arch::new().dispatch(Pack {
                        matrix,
                        columns: [first, columns],
                        out,
                    });
                });
            let packed = &*packed;
            out.par_chunks_mut(rows_at_once * output)
                .zip(x.par_chunks(rows_at_once * input))
                .for_each(|(out, x)| {
                    Arch::new().dispatch(Multiply {
                        x,
                        packed,
                        io: matrix.io,
                        columns: [first, columns],
                        out,
                    });
                });
        });
    }
    out
}

/// Widens a strip of the weight.
struct Pack<'a> {
    matrix: Matrix<'a>,
    /// The first, and how many.
    columns: [usize; 2],
    /// `[in, STRIP]`
    out: &'a mut [f32],
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Matrix {
            weight,
            io: [input, output],
            is_transposed,
        } = self.matrix;
        let [first, columns] = self.columns;
        if !is_transposed {
            for (row, out) in self.out.chunks_exact_mut(STRIP).enumerate() {
                weight.read(row * output + first, &mut out[..columns]);
            }
            return;
        }
        let mut line = [0.0; DEPTH];
        for (block, out) in self.out.chunks_mut(DEPTH * STRIP).enumerate() {
            let line = &mut line[..out.len() / STRIP];
            for column in 0..columns {
                weight.read((first + column) * input + block * DEPTH, line);
                for (value, out) in line.iter().zip(out.chunks_exact_mut(STRIP)) {
                    out[column] = *value;
                }
            }
        }
    }
}

/// Some rows of some columns of the answer.
struct Multiply<'a> {
    x: &'a [f32],
    /// `[strips, in, STRIP]`
    packed: &'a [f32],
    io: [usize; 2],
    /// The first, and how many.
    columns: [usize; 2],
    /// `[rows, out]`, of which the columns are written.
    out: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [input, output] = self.io;
        let [first, columns] = self.columns;
        let starts = every(STRIP, DEPTH);
        let rows = self.x.len() / input;
        for (strip, packed) in self.packed.chunks_exact(input * STRIP).enumerate() {
            let column = strip * STRIP;
            let width = STRIP.min(columns - column);
            for (block, packed) in packed.chunks(DEPTH * STRIP).enumerate() {
                let left = Rows::new(&self.x[block * DEPTH..], input, rows);
                let right = Shifts::new(packed, &starts[..packed.len() / STRIP]);
                let answer = if block == 0 {
                    Output::Replace
                } else {
                    Output::Continue
                };
                let out = &mut self.out[first + column..];
                product(simd, left, right, width, out, output, answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::f16;

    use super::*;

    #[test]
    fn a_weight_of_either_format_and_lie_gives_the_same_product() {
        // Rows that fill no task, columns that fill no strip and depth that fills no block.
        let (rows, io) = (37, [200, 80]);
        let [input, output] = io;
        let value = |index: usize| ((index * 37) % 19) as f32 - 9.0;
        let x: Vec<f32> = (0..rows * input).map(value).collect();
        let weight: Vec<f32> = (0..input * output).map(|index| value(index * 5)).collect();
        let halves: Vec<f16> = weight.iter().map(|value| f16::from_f32(*value)).collect();
        let mut turned = vec![0.0; input * output];
        for (index, value) in weight.iter().enumerate() {
            turned[index % output * input + index / output] = *value;
        }
        for (weight, is_transposed) in [
            (Weight::Single(&weight), false),
            (Weight::Half(&halves), false),
            (Weight::Single(&turned), true),
        ] {
            let matrix = Matrix {
                weight,
                io,
                is_transposed,
            };
            let answer = multiply(&x, matrix);
            for (index, answer) in answer.iter().enumerate() {
                let (row, column) = (index / output, index % output);
                let terms = (0..input).map(|k| {
                    let weight = value((k * output + column) * 5);
                    x[row * input + k] * weight
                });
                // Whole numbers, so that no order of the terms rounds.
                assert_eq!(*answer, terms.sum::<f32>(), "row {row}, column {column}");
            }
        }
    }
}
