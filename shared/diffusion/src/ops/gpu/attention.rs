//! Attention on GPUs: stock products, and between them one kernel for each pass over the scores, a tile of
//! queries at a time.

use burn::backend::{TensorMetadata as _, ops::FloatTensorOps as _};
use burn::tensor::{DType, Slice};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::{CubeBackend, cubecl};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{
    GpuTensor, cube_each, element, empty, empty_in, max_of_cube, sum_of_cube, thread_each,
    threads_for,
};
use crate::ops::attention::{AttentionShape, accumulate, join_heads, split_heads};

/// See [`crate::ops::scaled_dot_product_attention`].
pub(in crate::ops) fn attention(
    q: GpuTensor,
    k: GpuTensor,
    v: GpuTensor,
    shape: AttentionShape,
) -> GpuTensor {
    let tiles = Tiles::of(&q, &k, shape);
    let [q, k, v] = [q, k, v].map(|tensor| split_heads::<CubeBackend>(tensor, shape.heads));
    let k = CubeBackend::float_swap_dims(k, 2, 3);
    let rows = tiles.starts().map(|start| {
        let scores = product(tiles.rows(&q, start), k.clone());
        CubeBackend::float_matmul(softmax(scores, tiles.scale, &v), v.clone())
    });
    join_heads::<CubeBackend>(joined(rows.collect()))
}

/// Gradients of `q`, `k` and `v` from that of the answer (arXiv 2205.14135, appendix B.2).
pub(in crate::ops) fn attention_backward(
    [q, k, v]: [GpuTensor; 3],
    answer: GpuTensor,
    gradient: GpuTensor,
    shape: AttentionShape,
) -> [GpuTensor; 3] {
    let tiles = Tiles::of(&q, &k, shape);
    // Σ_keys p · dp of every query, without forming either.
    let sums = row_sums(answer, gradient.clone(), shape.heads);
    let split = |tensor| split_heads::<CubeBackend>(tensor, shape.heads);
    let [q, k, v, gradient] = [q, k, v, gradient].map(split);
    let transposed = |tensor: &GpuTensor| CubeBackend::float_swap_dims(tensor.clone(), 2, 3);
    let (k_transposed, v_transposed) = (transposed(&k), transposed(&v));

    let (mut dq, mut dk, mut dv) = (Vec::new(), None, None);
    for start in tiles.starts() {
        let [q, gradient, sums] = [&q, &gradient, &sums].map(|tensor| tiles.rows(tensor, start));
        let scores = product(q.clone(), k_transposed.clone());
        let p = softmax(scores, tiles.scale, &q);
        let dp = product(gradient.clone(), v_transposed.clone());
        let of_values = CubeBackend::float_matmul(transposed(&p), gradient);
        accumulate::<CubeBackend>(&mut dv, of_values);
        let ds = softmax_backward(p, dp, sums, tiles.scale);
        accumulate::<CubeBackend>(&mut dk, CubeBackend::float_matmul(transposed(&ds), q));
        dq.push(CubeBackend::float_matmul(ds, k.clone()));
    }
    let (Some(dk), Some(dv)) = (dk, dv) else {
        unreachable!("there is at least one query")
    };
    [joined(dq), dk, dv].map(join_heads::<CubeBackend>)
}

/// How the queries are cut, so that only so many scores are there at once.
struct Tiles {
    queries: usize,
    rows: usize,
    /// 1/√d
    scale: f32,
}

impl Tiles {
    fn of(q: &GpuTensor, k: &GpuTensor, AttentionShape { heads, tile }: AttentionShape) -> Self {
        let [batch, queries, channels] = q.shape().dims();
        let keys = k.shape().dims::<3>()[1];
        Self {
            queries,
            rows: (tile / (batch * heads * keys)).clamp(1, queries),
            scale: ((channels / heads) as f32).sqrt().recip(),
        }
    }

    fn starts(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.queries).step_by(self.rows)
    }

    /// The tile's rows of `[batch, heads, queries, width]`.
    fn rows(&self, tensor: &GpuTensor, start: usize) -> GpuTensor {
        let [batch, heads, queries, width] = tensor.shape().dims();
        if self.rows >= queries {
            return tensor.clone();
        }
        let end = (start + self.rows).min(queries);
        let rows = [0..batch, 0..heads, start..end, 0..width].map(Slice::from);
        CubeBackend::float_slice(tensor.clone(), &rows)
    }
}

/// Tiles of queries, one below the other.
fn joined(mut tiles: Vec<GpuTensor>) -> GpuTensor {
    match (tiles.pop(), tiles.is_empty()) {
        (Some(whole), true) => whole,
        (last, _) => {
            tiles.extend(last);
            CubeBackend::float_cat(tiles, 2)
        }
    }
}

/// A product in f32, whatever its factors are in: scores of many channels are beyond f16.
fn product(a: GpuTensor, b: GpuTensor) -> GpuTensor {
    let product = matmul(a, b, None, MatmulStrategy::default(), DType::F32);
    product.unwrap_or_else(|error| panic!("a product of scores cannot be set up: {error:?}"))
}

/// `softmax(scale · scores)` over the last axis, in the format of `like`.
///
/// - `scores`: f32
fn softmax(scores: GpuTensor, scale: f32, like: &GpuTensor) -> GpuTensor {
    let scores = into_contiguous(scores);
    let shape = scores.shape();
    let width = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / width;
    let out = empty(like, shape);
    let (client, threads) = (out.client.clone(), threads_for(width));
    softmax_kernel::launch(
        &client,
        cube_each(rows),
        CubeDim::new_1d(threads as u32),
        scores.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        rows,
        width,
        scale,
        threads,
        element(&out),
    );
    out
}

/// The gradient of the scores, from that of the softmax and the sums over its rows of both's product.
///
/// - `dp`, `sums`: f32
fn softmax_backward(p: GpuTensor, dp: GpuTensor, sums: GpuTensor, scale: f32) -> GpuTensor {
    let shape = p.shape();
    let width = shape[shape.num_dims() - 1];
    let out = empty(&p, shape.clone());
    let (cubes, dim) = thread_each(&out, shape.num_elements());
    softmax_backward_kernel::launch(
        &out.client,
        cubes,
        dim,
        into_contiguous(p).into_buffer_arg(),
        into_contiguous(sums).into_buffer_arg(),
        into_contiguous(dp).into_buffer_arg(),
        out.clone().into_buffer_arg(),
        width,
        scale,
        element(&out),
    );
    out
}

/// `Σ a b` over the channels of each head, in f32: `[batch, heads, tokens, 1]`.
///
/// - `a`, `b`: `[batch, tokens, channels]`
fn row_sums(a: GpuTensor, b: GpuTensor, heads: usize) -> GpuTensor {
    let [batch, tokens, channels] = a.shape().dims();
    let (a, b) = (into_contiguous(a), into_contiguous(b));
    let out = empty_in(DType::F32, &a, [batch, heads, tokens, 1]);
    let (client, element) = (out.client.clone(), element(&a));
    let (cubes, dim) = thread_each(&out, batch * heads * tokens);
    row_sums_kernel::launch(
        &client,
        cubes,
        dim,
        a.into_buffer_arg(),
        b.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        tokens,
        heads,
        channels / heads,
        element,
    );
    out
}

/// - `scores`, `out`: `[rows, width]`
#[cube(launch)]
fn softmax_kernel<E: Float>(
    scores: &[f32],
    out: &mut [E],
    rows: usize,
    width: usize,
    scale: f32,
    #[comptime] threads: usize,
    #[define(E)] _element: ElemType,
) {
    if CUBE_POS >= rows {
        terminate!();
    }
    let start = CUBE_POS * width;
    let mut largest = scores[start] * scale;
    let mut index = UNIT_POS as usize;
    while index < width {
        largest = max(largest, scores[start + index] * scale);
        index += threads;
    }
    let largest = max_of_cube(largest, threads);
    let mut sum = 0.0f32;
    index = UNIT_POS as usize;
    while index < width {
        sum += (scores[start + index] * scale - largest).exp();
        index += threads;
    }
    let inverse = 1.0f32 / sum_of_cube(sum, threads);
    index = UNIT_POS as usize;
    while index < width {
        let share = (scores[start + index] * scale - largest).exp() * inverse;
        out[start + index] = E::cast_from(share);
        index += threads;
    }
}

/// `ds = scale · p (dp - Σ p dp)`
///
/// - `p`, `dp`, `out`: `[rows, width]`, `sums`: `[rows]`
#[cube(launch)]
fn softmax_backward_kernel<E: Float>(
    p: &[E],
    sums: &[f32],
    dp: &[f32],
    out: &mut [E],
    width: usize,
    scale: f32,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= p.len() {
        terminate!();
    }
    let away = dp[ABSOLUTE_POS] - sums[ABSOLUTE_POS / width];
    out[ABSOLUTE_POS] = E::cast_from(away * f32::cast_from(p[ABSOLUTE_POS]) * scale);
}

/// - `a`, `b`: `[batch, tokens, heads, width]`, `out`: `[batch, heads, tokens]`
#[cube(launch)]
fn row_sums_kernel<E: Float>(
    a: &[E],
    b: &[E],
    out: &mut [f32],
    tokens: usize,
    heads: usize,
    width: usize,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= out.len() {
        terminate!();
    }
    // Neighbouring threads take neighbouring heads of a token, as they lie in memory.
    let head = ABSOLUTE_POS % heads;
    let token = ABSOLUTE_POS / heads;
    let start = ABSOLUTE_POS * width;
    let mut sum = 0.0f32;
    for index in 0..width {
        sum += f32::cast_from(a[start + index]) * f32::cast_from(b[start + index]);
    }
    let at = (token / tokens * heads + head) * tokens + token % tokens;
    out[at] = sum;
}
