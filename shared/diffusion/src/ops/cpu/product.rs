//! The matrix product from which convolution and attention are made.

use std::ops::Index;

use pulp::Simd;

/// The left matrix of a product.
pub(super) trait Left: Copy {
    /// How many rows it has.
    fn rows(&self) -> usize;

    /// `sums[r] + Σ_k self[row + r][k] right[k]`, for `V` vectors from `column` on. By value: behind a
    /// reference each sum would be stored after every term.
    ///
    /// - `place`: row and column
    fn add_products<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        right: Shifts<'_>,
        place: [usize; 2],
        sums: [[S::f32s; V]; R],
    ) -> [[S::f32s; V]; R];
}

/// A matrix given by its rows.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub values: &'a [f32],
    /// From the start of one row to that of the next.
    pub stride: usize,
    pub rows: usize,
}

impl<'a> Rows<'a> {
    pub const fn new(values: &'a [f32], stride: usize, rows: usize) -> Self {
        Self {
            values,
            stride,
            rows,
        }
    }

    /// So many of them at most, from one on.
    pub fn from(&self, first: usize, count: usize) -> Self {
        let rows = count.min(self.rows - first);
        Self::new(&self.values[first * self.stride..], self.stride, rows)
    }

    pub fn row(&self, row: usize, depth: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..depth]
    }
}

impl Left for Rows<'_> {
    #[inline(always)]
    fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn add_products<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        right: Shifts<'_>,
        [row, column]: [usize; 2],
        mut sums: [[S::f32s; V]; R],
    ) -> [[S::f32s; V]; R] {
        let depth = right.starts.len();
        let mut rows = [(&[][..], &[][..]); R];
        for (row, out) in (row..).zip(&mut rows) {
            *out = self.row(row, depth).as_chunks::<UNROLL>();
        }
        let width = V * S::F32_LANES;
        // Several at a time, so that the bounds are checked once for all of them.
        let (several, last) = right.starts.as_chunks::<UNROLL>();
        for (block, starts) in several.iter().enumerate() {
            let mut weights = [&[0.0; UNROLL]; R];
            for r in 0..R {
                weights[r] = &rows[r].0[block];
            }
            for (k, start) in starts.iter().enumerate() {
                let x = &right.values[start + column..][..width];
                accumulate(simd, &mut sums, &weights, k, x);
            }
        }
        for (k, start) in last.iter().enumerate() {
            let x = &right.values[start + column..][..width];
            for r in 0..R {
                accumulate(simd, std::array::from_mut(&mut sums[r]), &[rows[r].1], k, x);
            }
        }
        sums
    }
}

/// A matrix given by its columns, one after another.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub values: &'a [f32],
    /// From the start of one column to that of the next.
    pub stride: usize,
    pub rows: usize,
}

impl Left for Columns<'_> {
    #[inline(always)]
    fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn add_products<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        right: Shifts<'_>,
        [row, column]: [usize; 2],
        mut sums: [[S::f32s; V]; R],
    ) -> [[S::f32s; V]; R] {
        let width = V * S::F32_LANES;
        let columns = self.values.chunks_exact(self.stride);
        for (weights, start) in columns.zip(right.starts) {
            let weights = &weights[row..][..R];
            let x = vectors::<S, V>(&right.values[start + column..][..width]);
            for r in 0..R {
                let weight = simd.splat_f32s(weights[r]);
                for v in 0..V {
                    sums[r][v] = simd.mul_add_e_f32s(weight, x[v], sums[r][v]);
                }
            }
        }
        sums
    }
}

/// Vectors of numbers that lie anywhere in a slice, even over one another.
#[derive(Clone, Copy)]
pub(super) struct Shifts<'a> {
    pub values: &'a [f32],
    /// Where each begins; from there to the padded width there must be numbers.
    pub starts: &'a [usize],
}

impl<'a> Shifts<'a> {
    pub const fn new(values: &'a [f32], starts: &'a [usize]) -> Self {
        Self { values, starts }
    }
}

/// What becomes of what was in the place of the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// It goes.
    Replace,
    /// The whole sum is added to it.
    Add,
    /// The sum goes on from it, as if the terms before had been among these.
    Continue,
}

/// Rows computed at once. With [`VECTORS`] columns of vectors they fill 16 registers (AVX2,
/// WebAssembly), twice as many fill 32 (AVX-512, NEON).
const ROWS: usize = 4;
/// Vectors computed at once in every row.
const VECTORS: usize = 3;

/// Terms added per turn of the inner loop.
const UNROLL: usize = 4;

/// Columns in whole vectors.
pub(super) const fn padded<S: Simd>(columns: usize) -> usize {
    columns.next_multiple_of(S::F32_LANES)
}

/// `out[r] = Σ_k left[r][k] · right[k]`, for `columns` columns rounded up to whole vectors.
///
/// - `out`: rows of `stride` numbers, at least the padded number of columns
#[inline(always)]
pub(super) fn product<S: Simd>(
    simd: S,
    left: impl Left,
    right: Shifts<'_>,
    columns: usize,
    out: &mut [f32],
    stride: usize,
    answer: Output,
) {
    let vectors = columns.div_ceil(S::F32_LANES);
    let mut vector = 0;
    while vector < vectors {
        let column = vector * S::F32_LANES;
        let width = match vectors - vector {
            1 => 1,
            // Four vectors are better two and two than three and one.
            2 | 4 => 2,
            _ => VECTORS,
        };
        match width {
            1 => strip::<S, _, 1>(simd, left, right, column, out, stride, answer),
            2 => strip::<S, _, 2>(simd, left, right, column, out, stride, answer),
            _ => strip::<S, _, VECTORS>(simd, left, right, column, out, stride, answer),
        }
        vector += width;
    }
}

/// Registers that hold vectors. Where addresses have 32 bits, that is WebAssembly, pulp counts as many
/// as ARM has; most browsers run on x86, where what does not fit into 16 is carried to and fro.
const fn registers<S: Simd>() -> usize {
    if usize::BITS == 32 {
        16
    } else {
        S::REGISTER_COUNT
    }
}

/// All rows of a few columns.
#[inline(always)]
fn strip<S: Simd, L: Left, const V: usize>(
    simd: S,
    left: L,
    right: Shifts<'_>,
    column: usize,
    out: &mut [f32],
    stride: usize,
    answer: Output,
) {
    let mut row = 0;
    while registers::<S>() >= 32 && row + 2 * ROWS <= left.rows() {
        tile::<S, L, { 2 * ROWS }, V>(simd, left, right, [row, column], out, stride, answer);
        row += 2 * ROWS;
    }
    while row + ROWS <= left.rows() {
        tile::<S, L, ROWS, V>(simd, left, right, [row, column], out, stride, answer);
        row += ROWS;
    }
    while row < left.rows() {
        tile::<S, L, 1, V>(simd, left, right, [row, column], out, stride, answer);
        row += 1;
    }
}

#[inline(always)]
fn tile<S: Simd, L: Left, const R: usize, const V: usize>(
    simd: S,
    left: L,
    right: Shifts<'_>,
    [row, column]: [usize; 2],
    out: &mut [f32],
    stride: usize,
    answer: Output,
) {
    let width = V * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    if answer == Output::Continue {
        for (r, sums) in sums.iter_mut().enumerate() {
            let start = (row + r) * stride + column;
            let before = vectors::<S, V>(&out[start..][..width]);
            for (sum, before) in sums.iter_mut().zip(before) {
                *sum = *before;
            }
        }
    }
    let sums = left.add_products(simd, right, [row, column], sums);
    for (r, sums) in sums.iter().enumerate() {
        let start = (row + r) * stride + column;
        let (out, _) = S::as_mut_simd_f32s(&mut out[start..][..width]);
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = match answer {
                Output::Replace | Output::Continue => *sum,
                Output::Add => simd.add_f32s(*out, *sum),
            };
        }
    }
}

/// The vectors of a slice that is so long. A reference: a copy of the array would go through the stack.
#[inline(always)]
fn vectors<S: Simd, const V: usize>(values: &[f32]) -> &[S::f32s; V] {
    let (vectors, _) = S::as_simd_f32s(values);
    let Ok(vectors) = vectors.try_into() else {
        unreachable!("the slice has this length")
    };
    vectors
}

/// `sums[r] += weights[r][k] x`
#[inline(always)]
fn accumulate<S: Simd, const R: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; R],
    weights: &[&(impl Index<usize, Output = f32> + ?Sized); R],
    k: usize,
    x: &[f32],
) {
    let x = vectors::<S, V>(x);
    for r in 0..R {
        let weight = simd.splat_f32s(weights[r][k]);
        for v in 0..V {
            sums[r][v] = simd.mul_add_e_f32s(weight, x[v], sums[r][v]);
        }
    }
}

/// Starts of vectors that lie one after another.
pub(super) fn every(stride: usize, count: usize) -> Vec<usize> {
    (0..count).map(|index| index * stride).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    struct Multiply<'a> {
        left: Rows<'a>,
        right: &'a [Vec<f32>],
        columns: usize,
    }

    impl WithSimd for Multiply<'_> {
        type Output = Vec<Vec<f32>>;

        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let width = padded::<S>(self.columns);
            let mut values = Vec::new();
            for row in self.right {
                values.extend(row);
                values.resize(values.len().next_multiple_of(width), 0.0);
            }
            let starts = every(width, self.right.len());
            let right = Shifts {
                values: &values,
                starts: &starts,
            };
            let mut out = vec![f32::NAN; self.left.rows * width];
            for answer in [Output::Replace, Output::Add, Output::Continue] {
                product(
                    simd,
                    self.left,
                    right,
                    self.columns,
                    &mut out,
                    width,
                    answer,
                );
            }
            out.chunks(width)
                .map(|row| row[..self.columns].to_vec())
                .collect()
        }
    }

    #[test]
    fn every_size_is_multiplied_whole() {
        for (rows, depth, columns) in [
            (1, 1, 1),
            (4, 3, 16),
            (5, 7, 33),
            (9, 2, 64),
            (3, 5, 200),
            (2, 1100, 20),
        ] {
            let value = |index: usize| ((index * 37) % 19) as f32 - 9.0;
            let left: Vec<f32> = (0..rows * depth).map(value).collect();
            let right: Vec<Vec<f32>> = (0..depth)
                .map(|k| (0..columns).map(|column| value(k * 5 + column)).collect())
                .collect();
            let answer = Arch::new().dispatch(Multiply {
                left: Rows {
                    values: &left,
                    stride: depth,
                    rows,
                },
                right: &right,
                columns,
            });
            for row in 0..rows {
                for column in 0..columns {
                    let expected: f32 = (0..depth)
                        .map(|k| left[row * depth + k] * right[k][column])
                        .sum();
                    assert_eq!(
                        answer[row][column],
                        3.0 * expected,
                        "{rows}x{depth}x{columns} at {row}, {column}: set, added, gone on with"
                    );
                }
            }
        }
    }
}
