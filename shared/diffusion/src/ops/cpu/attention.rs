//! Attention on the CPU: a block of queries at a time, whose scores stay in the core's cache.
//!
//! The scores are held transposed, `[keys, queries]`: the softmax then runs down the columns, a
//! vector of queries at once, and every product is that of [`super::product`].

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::product::{Output, Rows, Shifts, every, padded, product};
use super::vector::{exp, update};
use super::{CpuTensor, tensor, values};

/// Queries per block: whole vectors on every machine, and three of the widest.
const BLOCK: usize = 48;
/// Keys that are summed before their sum is added to the others: one long sum in f32 loses digits.
const PART: usize = 256;

/// Sizes of one call.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Sizes {
    pub batch: usize,
    pub queries: usize,
    pub keys: usize,
    pub heads: usize,
    pub head_width: usize,
}

impl Sizes {
    const fn channels(self) -> usize {
        self.heads * self.head_width
    }

    /// One task per picture and head; each answers `[rows of the head's width]`.
    fn each_head(self, head: impl Fn(Head) -> Vec<Vec<f32>> + Sync) -> Vec<Vec<Vec<f32>>> {
        (0..self.batch * self.heads)
            .into_par_iter()
            .map(|index| {
                head(Head {
                    sizes: self,
                    batch: index / self.heads,
                    head: index % self.heads,
                })
            })
            .collect()
    }

    /// Puts one part of every head's answer beside the other heads': `[batch, rows, channels]`.
    fn gather(self, heads: &[Vec<Vec<f32>>], part: usize, rows: usize) -> CpuTensor {
        let (width, channels) = (self.head_width, self.channels());
        let mut out = vec![0.0; self.batch * rows * channels];
        out.par_chunks_mut((rows * channels).max(1))
            .enumerate()
            .for_each(|(batch, out)| {
                for (row, out) in out.chunks_exact_mut(channels).enumerate() {
                    for (head, out) in out.chunks_exact_mut(width).enumerate() {
                        let of_head = &heads[batch * self.heads + head][part];
                        out.copy_from_slice(&of_head[row * width..][..width]);
                    }
                }
            });
        tensor(out, [self.batch, rows, channels])
    }
}

/// See [`crate::ops::scaled_dot_product_attention`].
pub(in crate::ops) fn attention(
    q: &CpuTensor,
    k: &CpuTensor,
    v: &CpuTensor,
    sizes: Sizes,
) -> CpuTensor {
    let [q, k, v] = [q, k, v].map(CpuTensor::to_contiguous);
    let heads = sizes.each_head(|head| {
        let (q, k, v) = (head.queries(&q), head.keys(&k), head.keys(&v));
        let forward = Forward { head, q, k, v };
        vec![Arch::new().dispatch(forward)]
    });
    sizes.gather(&heads, 0, sizes.queries)
}

/// The gradients of `q`, `k` and `v`, from that of the answer.
pub(in crate::ops) fn attention_backward(
    [q, k, v]: [&CpuTensor; 3],
    answer: &CpuTensor,
    gradient: &CpuTensor,
    sizes: Sizes,
) -> (CpuTensor, CpuTensor, CpuTensor) {
    let [q, k, v, answer, gradient] = [q, k, v, answer, gradient].map(CpuTensor::to_contiguous);
    let heads = sizes.each_head(|head| {
        let backward = Backward {
            head,
            q: head.queries(&q),
            k: head.keys(&k),
            v: head.keys(&v),
            answer: head.queries(&answer),
            gradient: head.queries(&gradient),
        };
        Arch::new().dispatch(backward).into()
    });
    (
        sizes.gather(&heads, 0, sizes.queries),
        sizes.gather(&heads, 1, sizes.keys),
        sizes.gather(&heads, 2, sizes.keys),
    )
}

/// One head of one picture.
#[derive(Clone, Copy)]
struct Head {
    sizes: Sizes,
    batch: usize,
    head: usize,
}

impl Head {
    fn queries<'a>(&self, tensor: &'a CpuTensor) -> Rows<'a> {
        self.rows(tensor, self.sizes.queries)
    }

    fn keys<'a>(&self, tensor: &'a CpuTensor) -> Rows<'a> {
        self.rows(tensor, self.sizes.keys)
    }

    fn rows<'a>(&self, tensor: &'a CpuTensor, rows: usize) -> Rows<'a> {
        let stride = self.sizes.channels();
        let first = self.batch * rows * stride + self.head * self.sizes.head_width;
        Rows::new(&values(tensor)[first..], stride, rows)
    }

    fn scale(&self) -> f32 {
        (self.sizes.head_width as f32).sqrt().recip()
    }
}

/// `factor · rows[first..first + count]` as columns: `[width, BLOCK]`, zero beyond `count`.
fn columns(rows: Rows<'_>, width: usize, first: usize, factor: f32) -> Vec<f32> {
    let mut out = vec![0.0; width * BLOCK];
    for column in 0..BLOCK.min(rows.rows - first) {
        let row = &rows.values[(first + column) * rows.stride..][..width];
        for (channel, value) in row.iter().enumerate() {
            out[channel * BLOCK + column] = factor * value;
        }
    }
    out
}

/// The reverse of [`columns`]: as many rows as there are in `out` and in a block, each times its
/// factor.
fn write_rows(block: &[f32], factors: &[f32; BLOCK], out: &mut [f32]) {
    let width = block.len() / BLOCK;
    let rows = out.chunks_exact_mut(width).zip(factors);
    for (column, (row, factor)) in rows.enumerate() {
        for (channel, value) in row.iter_mut().enumerate() {
            *value = block[channel * BLOCK + column] * factor;
        }
    }
}

/// Rows side by side, each filled up with zeros to `padded` numbers, and `count` of them.
fn packed(rows: Rows<'_>, width: usize, padded: usize, range: [usize; 2], factor: f32) -> Vec<f32> {
    let [first, count] = range;
    let mut out = vec![0.0; count * padded];
    for (row, out) in (first..rows.rows).zip(out.chunks_exact_mut(padded)) {
        let row = &rows.values[row * rows.stride..][..width];
        for (out, value) in out.iter_mut().zip(row) {
            *out = factor * value;
        }
    }
    out
}

/// The transpose: `[width, rows]`.
fn transposed(rows: Rows<'_>, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; width * rows.rows];
    for row in 0..rows.rows {
        for (channel, value) in rows.values[row * rows.stride..][..width].iter().enumerate() {
            out[channel * rows.rows + row] = *value;
        }
    }
    out
}

/// The scores of a block, `[keys, BLOCK]`, as rows.
const fn block_rows(scores: &[f32]) -> Rows<'_> {
    Rows::new(scores, BLOCK, scores.len() / BLOCK)
}

/// `eˢ` of the scores of a block, and what each column adds up to.
///
/// - `scores`: `[keys, BLOCK]`
#[inline(always)]
fn exponentials<S: Simd>(simd: S, scores: &mut [f32], totals: &mut [f32; BLOCK]) {
    let mut largest = [f32::NEG_INFINITY; BLOCK];
    for row in scores.chunks_exact(BLOCK) {
        update(
            simd,
            row,
            &mut largest,
            #[inline(always)]
            |x, most| simd.max_f32s(x, most),
        );
    }
    *totals = [0.0; BLOCK];
    for rows in scores.chunks_mut(PART * BLOCK) {
        let mut sums = [0.0; BLOCK];
        for row in rows.chunks_exact_mut(BLOCK) {
            update(
                simd,
                &largest,
                row,
                #[inline(always)]
                |most, x| exp(simd, simd.sub_f32s(x, most)),
            );
            update(
                simd,
                row,
                &mut sums,
                #[inline(always)]
                |x, sum| simd.add_f32s(x, sum),
            );
        }
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += sum;
        }
    }
}

/// `out = Σ_key columns[.., key] · scores[key]`: `[width, BLOCK]`.
///
/// - `scores`: `[keys, BLOCK]`; `by_key`: where the scores of a part's keys begin
#[inline(always)]
fn sum_over_keys<S: Simd>(
    simd: S,
    columns: Rows<'_>,
    scores: &[f32],
    by_key: &[usize],
    out: &mut [f32],
) {
    for (part, scores) in scores.chunks(PART * BLOCK).enumerate() {
        let columns = Rows {
            values: &columns.values[part * PART..],
            ..columns
        };
        let right = Shifts::new(scores, &by_key[..scores.len() / BLOCK]);
        let answer = if part == 0 {
            Output::Replace
        } else {
            Output::Add
        };
        product(simd, columns, right, BLOCK, out, BLOCK, answer);
    }
}

struct Forward<'a> {
    head: Head,
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
}

impl WithSimd for Forward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { head, q, k, v } = self;
        let (width, keys) = (head.sizes.head_width, k.rows);
        let v_columns = transposed(v, width);
        let v_columns = Rows::new(&v_columns, keys, width);
        let (by_channel, by_key) = (every(BLOCK, width), every(BLOCK, keys.min(PART)));
        let mut scores = vec![0.0; keys * BLOCK];
        let mut totals = [0.0; BLOCK];
        let mut block = vec![0.0; width * BLOCK];
        let mut out = vec![0.0; q.rows * width];
        for first in (0..q.rows).step_by(BLOCK) {
            let queries = columns(q, width, first, head.scale());
            let queries = Shifts::new(&queries, &by_channel);
            product(simd, k, queries, BLOCK, &mut scores, BLOCK, Output::Replace);
            exponentials(simd, &mut scores, &mut totals);
            sum_over_keys(simd, v_columns, &scores, &by_key, &mut block);
            write_rows(&block, &totals.map(f32::recip), &mut out[first * width..]);
        }
        out
    }
}

struct Backward<'a> {
    head: Head,
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    answer: Rows<'a>,
    gradient: Rows<'a>,
}

impl WithSimd for Backward<'_> {
    /// Gradients of `q`, `k` and `v`.
    type Output = [Vec<f32>; 3];

    /// arXiv 2205.14135, appendix B.2, with P the softmax of the scores S:
    /// `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P ∘ (dP - rowsum(dO ∘ O))`, `dQ = dS K`, `dK = dSᵀ Q`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [Vec<f32>; 3] {
        let Self {
            head,
            q,
            k,
            v,
            answer,
            gradient,
        } = self;
        let (width, keys, scale) = (head.sizes.head_width, k.rows, head.scale());
        let padded_width = padded::<S>(width);
        let k_columns = transposed(k, width);
        let k_columns = Rows::new(&k_columns, keys, width);
        let (by_channel, by_key) = (every(BLOCK, width), every(BLOCK, keys.min(PART)));
        let by_query = every(padded_width, BLOCK);
        let mut p = vec![0.0; keys * BLOCK];
        let mut ds = vec![0.0; keys * BLOCK];
        let mut totals = [0.0; BLOCK];
        let mut block = vec![0.0; width * BLOCK];
        let mut dq = vec![0.0; q.rows * width];
        let mut dk = vec![0.0; keys * padded_width];
        let mut dv = vec![0.0; keys * padded_width];
        for first in (0..q.rows).step_by(BLOCK) {
            // 1. P again
            let queries = columns(q, width, first, scale);
            let queries = Shifts::new(&queries, &by_channel);
            product(simd, k, queries, BLOCK, &mut p, BLOCK, Output::Replace);
            exponentials(simd, &mut p, &mut totals);
            let shares = totals.map(f32::recip);
            for row in p.chunks_exact_mut(BLOCK) {
                update(
                    simd,
                    &shares,
                    row,
                    #[inline(always)]
                    |share, x| simd.mul_f32s(share, x),
                );
            }

            // 2. dV
            let rows_of = |rows, factor| packed(rows, width, padded_width, [first, BLOCK], factor);
            let gradient_rows = rows_of(gradient, 1.0);
            let right = Shifts::new(&gradient_rows, &by_query);
            product(
                simd,
                block_rows(&p),
                right,
                width,
                &mut dv,
                padded_width,
                Output::Add,
            );

            // 3. dS
            let gradient = columns(gradient, width, first, 1.0);
            let answer = columns(answer, width, first, 1.0);
            let mut row_sums = [0.0; BLOCK];
            for (gradient, answer) in gradient.chunks_exact(BLOCK).zip(answer.chunks_exact(BLOCK)) {
                for (sum, (gradient, answer)) in
                    row_sums.iter_mut().zip(gradient.iter().zip(answer))
                {
                    *sum += gradient * answer;
                }
            }
            let right = Shifts::new(&gradient, &by_channel);
            product(simd, v, right, BLOCK, &mut ds, BLOCK, Output::Replace);
            for (p, ds) in p.chunks_exact(BLOCK).zip(ds.chunks_exact_mut(BLOCK)) {
                update(
                    simd,
                    &row_sums,
                    ds,
                    #[inline(always)]
                    |sum, dp| simd.sub_f32s(dp, sum),
                );
                update(
                    simd,
                    p,
                    ds,
                    #[inline(always)]
                    |p, dp| simd.mul_f32s(p, dp),
                );
            }

            // 4. dQ and dK
            sum_over_keys(simd, k_columns, &ds, &by_key, &mut block);
            write_rows(&block, &[scale; BLOCK], &mut dq[first * width..]);
            let query_rows = rows_of(q, scale);
            let right = Shifts::new(&query_rows, &by_query);
            product(
                simd,
                block_rows(&ds),
                right,
                width,
                &mut dk,
                padded_width,
                Output::Add,
            );
        }
        let narrow = |rows: &[f32]| -> Vec<f32> {
            rows.chunks_exact(padded_width)
                .flat_map(|row| &row[..width])
                .copied()
                .collect()
        };
        [dq, narrow(&dk), narrow(&dv)]
    }
}
