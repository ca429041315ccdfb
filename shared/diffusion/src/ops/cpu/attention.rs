//! Attention on the CPU: a block of queries meets a block of keys at a time, so that their scores stay
//! in a core's first cache (arXiv 2205.14135, algorithms 1 and 4).
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
/// Keys per block: their scores fill the cache. Sums over keys are summed block by block, since one
/// long sum in f32 loses digits.
const KEYS: usize = 128;
/// Keys that the backward pass has before it while all queries pass by: what it has of them, and the
/// gradients, stay in a core's second cache.
const SPAN: usize = 4 * KEYS;
/// Queries of a task where there are few heads.
const QUERIES: usize = 10 * BLOCK;
/// Heads of a batch from which on each is a task.
const HEADS: usize = 8;

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

    /// One task per picture and head.
    fn each_head<T: Send>(self, head: impl Fn(Head) -> T + Sync) -> Vec<T> {
        (0..self.batch * self.heads)
            .into_par_iter()
            .map(|index| head(self.head(index)))
            .collect()
    }

    const fn head(self, index: usize) -> Head {
        Head {
            sizes: self,
            batch: index / self.heads,
            head: index % self.heads,
        }
    }

    /// Puts every head's `[rows, head width]` beside the other heads': `[batch, rows, channels]`.
    fn gather<'a>(self, heads: impl Fn(usize) -> &'a [f32] + Sync, rows: usize) -> CpuTensor {
        let (width, channels) = (self.head_width, self.channels());
        let mut out = vec![0.0; self.batch * rows * channels];
        out.par_chunks_mut(channels.max(1))
            .with_min_len(64)
            .enumerate()
            .for_each(|(row, out)| {
                let (batch, row) = (row / rows, row % rows);
                for (head, out) in out.chunks_exact_mut(width).enumerate() {
                    let of_head = heads(batch * self.heads + head);
                    out.copy_from_slice(&of_head[row * width..][..width]);
                }
            });
        tensor(out, [self.batch, rows, channels])
    }
}

/// See [`crate::ops::scaled_dot_product_attention`]: the answer, and what the backward pass takes of the
/// softmax, `[batch · heads, 2, queries]`: the largest score of each query, and one over the sum of the
/// exponentials of what the scores lack to it.
pub(in crate::ops) fn attention(
    q: &CpuTensor,
    k: &CpuTensor,
    v: &CpuTensor,
    sizes: Sizes,
) -> (CpuTensor, CpuTensor) {
    let [q, k, v] = [q, k, v].map(CpuTensor::to_contiguous);
    let count = sizes.batch * sizes.heads;
    let queries = if count >= HEADS {
        sizes.queries
    } else {
        sizes.queries.min(QUERIES)
    };
    let parts = sizes.queries.div_ceil(queries);
    let done: Vec<Attended> = (0..count * parts)
        .into_par_iter()
        .map(|index| {
            let head = sizes.head(index / parts);
            let first = index % parts * queries;
            let of_part = head.queries(&q).from(first, queries);
            let (k, v) = (head.keys(&k), head.keys(&v));
            let forward = Forward {
                head,
                q: of_part,
                k,
                v,
            };
            Arch::new().dispatch(forward)
        })
        .collect();
    let mut softmax = Vec::with_capacity(count * 2 * sizes.queries);
    for parts in done.chunks_exact(parts) {
        softmax.extend(parts.iter().flat_map(|part| &part.largest));
        softmax.extend(parts.iter().flat_map(|part| &part.shares));
    }
    let softmax = tensor(softmax, [count, 2, sizes.queries]);
    let heads: Vec<Vec<f32>> = match parts {
        1 => done.into_iter().map(|part| part.out).collect(),
        _ => done
            .chunks_exact(parts)
            .map(|parts| parts.iter().flat_map(|part| &part.out).copied().collect())
            .collect(),
    };
    (sizes.gather(|head| &heads[head], sizes.queries), softmax)
}

/// The gradients of `q`, `k` and `v`, from that of the answer.
///
/// - `softmax`: as [`attention`] answers it
pub(in crate::ops) fn attention_backward(
    [q, k, v]: [&CpuTensor; 3],
    [answer, softmax]: [&CpuTensor; 2],
    gradient: &CpuTensor,
    sizes: Sizes,
) -> (CpuTensor, CpuTensor, CpuTensor) {
    let [q, k, v, answer, gradient] = [q, k, v, answer, gradient].map(CpuTensor::to_contiguous);
    let softmax = softmax.to_contiguous();
    let heads = sizes.each_head(|head| {
        let index = head.batch * sizes.heads + head.head;
        let of_head = &values(&softmax)[2 * index * sizes.queries..][..2 * sizes.queries];
        let backward = Backward {
            head,
            q: head.queries(&q),
            k: head.keys(&k),
            v: head.keys(&v),
            answer: head.queries(&answer),
            gradient: head.queries(&gradient),
            softmax: of_head.split_at(sizes.queries),
        };
        Arch::new().dispatch(backward)
    });
    (
        sizes.gather(|head| &heads[head][0], sizes.queries),
        sizes.gather(|head| &heads[head][1], sizes.keys),
        sizes.gather(|head| &heads[head][2], sizes.keys),
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

/// The transposes of [`KEYS`] rows at a time, one after another: `[rows / KEYS, width, KEYS]`. Numbers of
/// one channel that lay further apart would fall into the same few places of the cache.
fn transposed(rows: Rows<'_>, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.rows.div_ceil(KEYS) * width * KEYS];
    for (first, out) in (0..rows.rows)
        .step_by(KEYS)
        .zip(out.chunks_exact_mut(width * KEYS))
    {
        for row in 0..KEYS.min(rows.rows - first) {
            let values = &rows.values[(first + row) * rows.stride..][..width];
            for (value, out) in values.iter().zip(out.chunks_exact_mut(KEYS)) {
                out[row] = *value;
            }
        }
    }
    out
}

/// Rows whose numbers are worked on together: one after another, each would wait for the last.
const AT_ONCE: usize = 4;

/// The largest of each column of scores and of `largest`.
///
/// - `scores`: `[keys, BLOCK]`
#[inline(always)]
fn raise<S: Simd>(simd: S, scores: &[f32], largest: &mut [f32; BLOCK]) {
    let (most, _) = S::as_mut_simd_f32s(largest);
    for (vector, most) in most.iter_mut().enumerate() {
        let mut parts = [*most; AT_ONCE];
        for rows in scores.chunks(AT_ONCE * BLOCK) {
            for (part, row) in parts.iter_mut().zip(rows.chunks_exact(BLOCK)) {
                *part = simd.max_f32s(*part, S::as_simd_f32s(row).0[vector]);
            }
        }
        for part in parts {
            *most = simd.max_f32s(*most, part);
        }
    }
}

/// `scores` become `eˢ` of what each lacks to the largest of its column; answers what each column adds
/// up to.
#[inline(always)]
fn exponentials<S: Simd>(simd: S, scores: &mut [f32], largest: &[f32; BLOCK]) -> [f32; BLOCK] {
    let mut totals = [0.0; BLOCK];
    let (most, _) = S::as_simd_f32s(largest);
    let (sums, _) = S::as_mut_simd_f32s(&mut totals);
    for (vector, (most, sum)) in most.iter().zip(sums).enumerate() {
        let mut parts = [simd.splat_f32s(0.0); AT_ONCE];
        for rows in scores.chunks_mut(AT_ONCE * BLOCK) {
            for (part, row) in parts.iter_mut().zip(rows.chunks_exact_mut(BLOCK)) {
                let x = &mut S::as_mut_simd_f32s(row).0[vector];
                *x = exp(simd, simd.sub_f32s(*x, *most));
                *part = simd.add_f32s(*part, *x);
            }
        }
        for part in parts {
            *sum = simd.add_f32s(*sum, part);
        }
    }
    totals
}

/// Each row times what stands in `factors`.
#[inline(always)]
fn scale_columns<S: Simd>(simd: S, rows: &mut [f32], factors: &[f32; BLOCK]) {
    for row in rows.chunks_exact_mut(BLOCK) {
        update(
            simd,
            factors,
            row,
            #[inline(always)]
            |factor, x| simd.mul_f32s(factor, x),
        );
    }
}

/// `scores` become the shares of the softmax that the forward pass has found.
#[inline(always)]
fn softmax_again<S: Simd>(
    simd: S,
    scores: &mut [f32],
    largest: &[f32; BLOCK],
    shares: &[f32; BLOCK],
) {
    let (most, _) = S::as_simd_f32s(largest);
    let (shares, _) = S::as_simd_f32s(shares);
    for row in scores.chunks_exact_mut(BLOCK) {
        let (row, _) = S::as_mut_simd_f32s(row);
        for (x, (most, share)) in row.iter_mut().zip(most.iter().zip(shares)) {
            *x = simd.mul_f32s(exp(simd, simd.sub_f32s(*x, *most)), *share);
        }
    }
}

/// `ds = p (dp - sum)`, of which `ds` is dp before.
#[inline(always)]
fn scores_gradient<S: Simd>(simd: S, p: &[f32], ds: &mut [f32], sums: &[f32; BLOCK]) {
    let (sums, _) = S::as_simd_f32s(sums);
    for (p, ds) in p.chunks_exact(BLOCK).zip(ds.chunks_exact_mut(BLOCK)) {
        let ((p, _), (ds, _)) = (S::as_simd_f32s(p), S::as_mut_simd_f32s(ds));
        for (ds, (p, sum)) in ds.iter_mut().zip(p.iter().zip(sums)) {
            *ds = simd.mul_f32s(*p, simd.sub_f32s(*ds, *sum));
        }
    }
}

/// The numbers of a block of queries among those of all, zeros beyond the last.
fn padded_block(numbers: &[f32], first: usize) -> [f32; BLOCK] {
    let mut out = [0.0; BLOCK];
    for (out, number) in out.iter_mut().zip(&numbers[first..]) {
        *out = *number;
    }
    out
}

/// What some queries of a head have attended to.
struct Attended {
    /// `[queries, head width]`
    out: Vec<f32>,
    largest: Vec<f32>,
    shares: Vec<f32>,
}

struct Forward<'a> {
    head: Head,
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
}

impl WithSimd for Forward<'_> {
    type Output = Attended;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Attended {
        let Self { head, q, k, v } = self;
        let (width, keys) = (head.sizes.head_width, k.rows);
        let k = packed(k, width, width, [0, keys], 1.0);
        let v = transposed(v, width);
        let (by_channel, by_key) = (every(BLOCK, width), every(BLOCK, KEYS));
        let mut scores = vec![0.0; KEYS * BLOCK];
        let mut sums = vec![0.0; width * BLOCK];
        let mut attended = Attended {
            out: vec![0.0; q.rows * width],
            largest: Vec::with_capacity(q.rows),
            shares: Vec::with_capacity(q.rows),
        };
        for first in (0..q.rows).step_by(BLOCK) {
            let count = BLOCK.min(q.rows - first);
            let queries = columns(q, width, first, head.scale());
            let queries = Shifts::new(&queries, &by_channel);
            let mut largest = [f32::NEG_INFINITY; BLOCK];
            let mut totals = [0.0; BLOCK];
            sums.fill(0.0);
            for first in (0..keys).step_by(KEYS) {
                let here = KEYS.min(keys - first);
                let scores = &mut scores[..here * BLOCK];
                let rows = Rows::new(&k[first * width..], width, here);
                product(simd, rows, queries, count, scores, BLOCK, Output::Replace);

                // What was summed before is less than it seemed if a larger score comes.
                let mut lost = largest;
                raise(simd, scores, &mut largest);
                exponentials(simd, &mut lost, &largest);
                scale_columns(simd, &mut sums, &lost);
                scale_columns(simd, &mut totals, &lost);
                let added = exponentials(simd, scores, &largest);
                for (total, added) in totals.iter_mut().zip(added) {
                    *total += added;
                }

                let rows = Rows::new(&v[first * width..], KEYS, width);
                let right = Shifts::new(scores, &by_key[..here]);
                product(simd, rows, right, count, &mut sums, BLOCK, Output::Add);
            }
            let shares = totals.map(f32::recip);
            write_rows(&sums, &shares, &mut attended.out[first * width..]);
            attended.largest.extend(&largest[..count]);
            attended.shares.extend(&shares[..count]);
        }
        attended
    }
}

struct Backward<'a> {
    head: Head,
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    answer: Rows<'a>,
    gradient: Rows<'a>,
    /// The largest score of each query, and one over the sum.
    softmax: (&'a [f32], &'a [f32]),
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
            softmax,
        } = self;
        let (width, keys, scale) = (head.sizes.head_width, k.rows, head.scale());
        let padded_width = padded::<S>(width);
        let k_columns = transposed(k, width);
        let [k, v] = [k, v].map(|rows| packed(rows, width, width, [0, keys], 1.0));
        let (by_channel, by_key) = (every(BLOCK, width), every(BLOCK, KEYS));
        let by_query = every(padded_width, BLOCK);
        let blocks = q.rows.div_ceil(BLOCK);
        let all_columns = |rows, factor| -> Vec<f32> {
            (0..blocks)
                .flat_map(|block| columns(rows, width, block * BLOCK, factor))
                .collect()
        };
        let all_rows =
            |rows: Rows<'_>, factor| packed(rows, width, padded_width, [0, rows.rows], factor);
        let (query_columns, query_rows) = (all_columns(q, scale), all_rows(q, scale));
        let (gradient_columns, gradient_rows) =
            (all_columns(gradient, 1.0), all_rows(gradient, 1.0));
        let row_sums: Vec<f32> = (0..q.rows)
            .map(|row| {
                let terms = gradient.row(row, width).iter().zip(answer.row(row, width));
                terms.map(|(gradient, answer)| gradient * answer).sum()
            })
            .collect();
        let mut p = vec![0.0; KEYS * BLOCK];
        let mut ds = vec![0.0; KEYS * BLOCK];
        let mut dq_columns = vec![0.0; blocks * width * BLOCK];
        let mut dk = vec![0.0; keys * padded_width];
        let mut dv = vec![0.0; keys * padded_width];
        for span in (0..keys).step_by(SPAN) {
            for block in 0..blocks {
                let first_query = block * BLOCK;
                let count = BLOCK.min(q.rows - first_query);
                let (columns, rows) = (first_query * width, first_query * padded_width);
                let queries = Shifts::new(&query_columns[columns..], &by_channel);
                let gradients = Shifts::new(&gradient_columns[columns..], &by_channel);
                let by_query = &by_query[..count];
                let query_rows = Shifts::new(&query_rows[rows..], by_query);
                let gradient_rows = Shifts::new(&gradient_rows[rows..], by_query);
                let largest = padded_block(softmax.0, first_query);
                let shares = padded_block(softmax.1, first_query);
                let row_sums = padded_block(&row_sums, first_query);
                let dq = &mut dq_columns[block * width * BLOCK..][..width * BLOCK];
                for first in (span..keys.min(span + SPAN)).step_by(KEYS) {
                    let here = KEYS.min(keys - first);
                    let (p, ds) = (&mut p[..here * BLOCK], &mut ds[..here * BLOCK]);

                    // 1. P again
                    let rows = Rows::new(&k[first * width..], width, here);
                    product(simd, rows, queries, count, p, BLOCK, Output::Replace);
                    softmax_again(simd, p, &largest, &shares);

                    // 2. dV
                    let out = &mut dv[first * padded_width..];
                    let rows = Rows::new(p, BLOCK, here);
                    product(
                        simd,
                        rows,
                        gradient_rows,
                        width,
                        out,
                        padded_width,
                        Output::Add,
                    );

                    // 3. dS
                    let rows = Rows::new(&v[first * width..], width, here);
                    product(simd, rows, gradients, count, ds, BLOCK, Output::Replace);
                    scores_gradient(simd, p, ds, &row_sums);

                    // 4. dQ and dK
                    let rows = Rows::new(&k_columns[first * width..], KEYS, width);
                    let right = Shifts::new(ds, &by_key[..here]);
                    product(simd, rows, right, count, dq, BLOCK, Output::Add);
                    let out = &mut dk[first * padded_width..];
                    let rows = Rows::new(ds, BLOCK, here);
                    product(
                        simd,
                        rows,
                        query_rows,
                        width,
                        out,
                        padded_width,
                        Output::Add,
                    );
                }
            }
        }
        let mut dq = vec![0.0; q.rows * width];
        let blocks = dq_columns.chunks_exact(width * BLOCK);
        for (block, dq) in blocks.zip(dq.chunks_mut(BLOCK * width)) {
            write_rows(block, &[scale; BLOCK], dq);
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
