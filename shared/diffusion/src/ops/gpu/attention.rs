//! Attention on GPUs: stock products, and between them one kernel for each pass over the scores, a tile of
//! queries at a time.

use burn::backend::{TensorMetadata as _, ops::FloatTensorOps as _};
use burn::tensor::Slice;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{CubeBackend, cubecl};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{
    GpuTensor, cube_each, element, empty, max_of_cube, sum_of_cube, thread_each, threads_for,
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
        let scores = CubeBackend::float_matmul(tiles.rows(&q, start), k.clone());
        CubeBackend::float_matmul(softmax(scores, tiles.scale), v.clone())
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
        let scores = CubeBackend::float_matmul(q.clone(), k_transposed.clone());
        let p = softmax(scores, tiles.scale);
        let dp = CubeBackend::float_matmul(gradient.clone(), v_transposed.clone());
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

/// `softmax(scale · scores)` over the last axis, in the memory of `scores` where nothing else needs it.
pub(in crate::ops) fn softmax(scores: GpuTensor, scale: f32) -> GpuTensor {
    let scores = own(scores);
    let shape = scores.shape();
    let width = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / width;
    let (client, element, threads) = (scores.client.clone(), element(&scores), threads_for(width));
    softmax_kernel::launch(
        &client,
        cube_each(rows),
        CubeDim::new_1d(threads as u32),
        scores.clone().into_buffer_arg(),
        rows,
        width,
        scale,
        threads,
        element,
    );
    scores
}

/// The gradient of the scores, from that of the softmax and the sums over its rows of both's product.
fn softmax_backward(p: GpuTensor, dp: GpuTensor, sums: GpuTensor, scale: f32) -> GpuTensor {
    let dp = own(dp);
    let shape = dp.shape();
    let width = shape[shape.num_dims() - 1];
    let (client, element) = (dp.client.clone(), element(&dp));
    let (cubes, dim) = thread_each(&dp, shape.num_elements());
    softmax_backward_kernel::launch(
        &client,
        cubes,
        dim,
        into_contiguous(p).into_buffer_arg(),
        into_contiguous(sums).into_buffer_arg(),
        dp.clone().into_buffer_arg(),
        width,
        scale,
        element,
    );
    dp
}

/// `Σ a b` over the channels of each head: `[batch, heads, tokens, 1]`.
///
/// - `a`, `b`: `[batch, tokens, channels]`
fn row_sums(a: GpuTensor, b: GpuTensor, heads: usize) -> GpuTensor {
    let [batch, tokens, channels] = a.shape().dims();
    let (a, b) = (into_contiguous(a), into_contiguous(b));
    let out = empty(&a, [batch, heads, tokens, 1]);
    let (client, element) = (out.client.clone(), element(&out));
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

/// A contiguous tensor that may be written over.
fn own(tensor: GpuTensor) -> GpuTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() {
        tensor
    } else {
        tensor.copy()
    }
}

/// - `scores`: `[rows, width]`
#[cube(launch)]
fn softmax_kernel<E: Float>(
    scores: &mut [E],
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
    let mut largest = f32::cast_from(scores[start]) * scale;
    let mut index = UNIT_POS as usize;
    while index < width {
        largest = max(largest, f32::cast_from(scores[start + index]) * scale);
        index += threads;
    }
    let largest = max_of_cube(largest, threads);
    let mut sum = 0.0f32;
    index = UNIT_POS as usize;
    while index < width {
        sum += (f32::cast_from(scores[start + index]) * scale - largest).exp();
        index += threads;
    }
    let inverse = 1.0f32 / sum_of_cube(sum, threads);
    index = UNIT_POS as usize;
    while index < width {
        let share = (f32::cast_from(scores[start + index]) * scale - largest).exp() * inverse;
        scores[start + index] = E::cast_from(share);
        index += threads;
    }
}

/// `ds = scale · p (dp - Σ p dp)`, in the memory of `dp`.
///
/// - `p`, `dp`: `[rows, width]`, `sums`: `[rows]`
#[cube(launch)]
fn softmax_backward_kernel<E: Float>(
    p: &[E],
    sums: &[E],
    dp: &mut [E],
    width: usize,
    scale: f32,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= p.len() {
        terminate!();
    }
    let away = f32::cast_from(dp[ABSOLUTE_POS]) - f32::cast_from(sums[ABSOLUTE_POS / width]);
    dp[ABSOLUTE_POS] = E::cast_from(away * f32::cast_from(p[ABSOLUTE_POS]) * scale);
}

/// - `a`, `b`: `[batch, tokens, heads, width]`, `out`: `[batch, heads, tokens]`
#[cube(launch)]
fn row_sums_kernel<E: Float>(
    a: &[E],
    b: &[E],
    out: &mut [E],
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
    out[at] = E::cast_from(sum);
}
