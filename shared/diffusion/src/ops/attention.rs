//! Scaled dot-product attention with a recomputing backward pass.
//!
//! Under autodiff Burn's own attention falls back to one that keeps the `[batch, heads, queries,
//! keys]` scores until the backward pass: half a gigabyte per layer at 512 px. Here the forward
//! pass is the backend's own (flash where it has one) and the backward pass recomputes the softmax
//! tile by tile, with the row sums of the scores' gradient taken from the answer (arXiv 2205.14135,
//! appendix B.2).

use burn::backend::{
    Backend, Dispatch, TensorMetadata as _,
    autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy},
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::{Slice, Tensor, ops::AttentionModuleOptions};

#[cfg(feature = "gpu")]
use super::gpu;
use super::{cpu, recorded, reshape};
use crate::tuning::Tuning;

/// Numbers of one attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionShape {
    pub heads: usize,
    /// As [`Tuning::attention_tile`].
    pub tile: usize,
}

/// `softmax(q kᵀ / √d) v` in every head, the heads lying side by side in the channels.
///
/// # Shapes
/// - `q`: `[batch, queries, channels]`, `k` and `v`: `[batch, keys, channels]`
/// - answer: `[batch, queries, channels]`
#[must_use]
pub fn scaled_dot_product_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    heads: usize,
) -> Tensor<3> {
    let tile = Tuning::of(&q.device()).attention_tile;
    Tensor::from_dispatch(Dispatch::recomputing_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        AttentionShape { heads, tile },
    ))
}

#[backend_extension(Cube: cfg(feature = "gpu"), Flex, Fusion: cfg(feature = "tuned"), Autodiff)]
pub(crate) trait RecomputingAttention: Backend {
    #[fusion(default)]
    fn recomputing_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> FloatTensor<Self> {
        portable::<Self>(q, k, v, shape.heads)
    }

    /// The answer, and what else of it the backward pass takes, if it does.
    #[fusion(default)]
    fn attention_and_softmax(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let answer = Self::recomputing_attention(q, k, v, shape);
        (answer.clone(), answer)
    }

    /// Gradients of `q`, `k` and `v` from that of the answer.
    #[fusion(default)]
    fn recomputing_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        answer: FloatTensor<Self>,
        _softmax: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        portable_backward::<Self>([q, k, v], answer, gradient, shape)
    }
}

#[cfg(feature = "gpu")]
impl RecomputingAttention for burn_cubecl::CubeBackend {
    fn recomputing_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> FloatTensor<Self> {
        // Where Burn may choose, it has one that never forms the scores.
        if gpu::suits(&[&q, &k, &v], &[]) && !cfg!(feature = "tuned") {
            return gpu::attention::attention(q, k, v, shape);
        }
        portable::<Self>(q, k, v, shape.heads)
    }

    fn recomputing_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        answer: FloatTensor<Self>,
        _softmax: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if gpu::suits(&[&q, &k, &v, &answer, &gradient], &[]) {
            let [dq, dk, dv] =
                gpu::attention::attention_backward([q, k, v], answer, gradient, shape);
            return (dq, dk, dv);
        }
        portable_backward::<Self>([q, k, v], answer, gradient, shape)
    }
}

impl RecomputingAttention for burn::backend::Flex {
    fn recomputing_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> FloatTensor<Self> {
        Self::attention_and_softmax(q, k, v, shape).0
    }

    fn attention_and_softmax(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if cpu::all_f32(&[&q, &k, &v]) {
            return cpu::attention::attention(&q, &k, &v, sizes(&q, &k, shape.heads));
        }
        let answer = portable::<Self>(q, k, v, shape.heads);
        (answer.clone(), answer)
    }

    fn recomputing_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        answer: FloatTensor<Self>,
        softmax: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if cpu::all_f32(&[&q, &k, &v, &answer, &gradient]) {
            let sizes = sizes(&q, &k, shape.heads);
            let (inputs, kept) = ([&q, &k, &v], [&answer, &softmax]);
            return cpu::attention::attention_backward(inputs, kept, &gradient, sizes);
        }
        portable_backward::<Self>([q, k, v], answer, gradient, shape)
    }
}

fn sizes(q: &cpu::CpuTensor, k: &cpu::CpuTensor, heads: usize) -> cpu::attention::Sizes {
    let ([batch, queries, channels], [_, keys, _]) = (q.shape().dims(), k.shape().dims());
    cpu::attention::Sizes {
        batch,
        queries,
        keys,
        heads,
        head_width: channels / heads,
    }
}

impl<B: RecomputingAttention, C: CheckpointStrategy> RecomputingAttention for Autodiff<B, C> {
    fn recomputing_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        shape: AttentionShape,
    ) -> FloatTensor<Self> {
        recorded::<B, C, _, _, _, _>(
            [q, k, v],
            [0, 1, 2],
            [0, 1, 2],
            |[q, k, v]| {
                let (answer, softmax) = B::attention_and_softmax(q, k, v, shape);
                (answer.clone(), (answer, softmax, shape))
            },
            |[q, k, v], (answer, softmax, shape), gradient| {
                let (dq, dk, dv) =
                    B::recomputing_attention_backward(q, k, v, answer, softmax, gradient, shape);
                [dq, dk, dv]
            },
        )
    }
}

/// `[batch, tokens, channels]` as `[batch, heads, tokens, channels / heads]`.
pub(super) fn split_heads<B: Backend>(tensor: FloatTensor<B>, heads: usize) -> FloatTensor<B> {
    let [batch, tokens, channels] = tensor.shape().dims();
    let tensor = reshape::<B, 4>(tensor, [batch, tokens, heads, channels / heads]);
    B::float_swap_dims(tensor, 1, 2)
}

/// The reverse of [`split_heads`].
pub(super) fn join_heads<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, heads, tokens, width] = tensor.shape().dims();
    let tensor = B::float_swap_dims(tensor, 1, 2);
    reshape::<B, 3>(tensor, [batch, tokens, heads * width])
}

fn portable<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    heads: usize,
) -> FloatTensor<B> {
    let [q, k, v] = [q, k, v].map(|tensor| split_heads::<B>(tensor, heads));
    let options = AttentionModuleOptions::default();
    join_heads::<B>(B::attention(q, k, v, None, None, options))
}

fn portable_backward<B: Backend>(
    inputs: [FloatTensor<B>; 3],
    answer: FloatTensor<B>,
    gradient: FloatTensor<B>,
    AttentionShape { heads, tile }: AttentionShape,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let split = |tensor| split_heads::<B>(tensor, heads);
    let gradient = split(gradient);
    let [dq, dk, dv] =
        tiled_backward::<B>(inputs.map(split), split(answer), &gradient, tile).map(join_heads::<B>);
    (dq, dk, dv)
}

/// Gradients of `q`, `k` and `v` from that of the answer, a tile of queries at a time.
fn tiled_backward<B: Backend>(
    [q, k, v]: [FloatTensor<B>; 3],
    answer: FloatTensor<B>,
    gradient: &FloatTensor<B>,
    tile: usize,
) -> [FloatTensor<B>; 3] {
    let [batch, heads, queries, width] = q.shape().dims::<4>();
    let keys = k.shape().dims::<4>()[2];
    let rows = (tile / (batch * heads * keys)).clamp(1, queries);
    // Everything is scaled on the narrow tensors, never on the scores.
    let scale = (width as f64).sqrt().recip();
    let q = B::float_mul_scalar(q, scale.into());
    let k_transposed = B::float_swap_dims(k.clone(), 2, 3);
    let v_transposed = B::float_swap_dims(v, 2, 3);
    // Σ_keys p · dp of every query, without forming either.
    let row_sums = B::float_sum_dim(B::float_mul(answer, gradient.clone()), 3);

    let mut dq = Vec::new();
    let mut dk = None;
    let mut dv = None;
    for start in (0..queries).step_by(rows) {
        let end = (start + rows).min(queries);
        let rows_of = |tensor: &FloatTensor<B>| {
            let width = tensor.shape().dims::<4>()[3];
            let rows = [0..batch, 0..heads, start..end, 0..width].map(Slice::from);
            B::float_slice(tensor.clone(), &rows)
        };
        let (q, gradient, row_sums) = (rows_of(&q), rows_of(gradient), rows_of(&row_sums));

        let p = B::softmax(B::float_matmul(q.clone(), k_transposed.clone()), 3);
        let p_transposed = B::float_swap_dims(p.clone(), 2, 3);
        accumulate::<B>(&mut dv, B::float_matmul(p_transposed, gradient.clone()));
        let dp = B::float_matmul(gradient, v_transposed.clone());
        let ds = B::float_mul(B::float_sub(dp, row_sums), p);
        dq.push(B::float_mul_scalar(
            B::float_matmul(ds.clone(), k.clone()),
            scale.into(),
        ));
        accumulate::<B>(&mut dk, B::float_matmul(B::float_swap_dims(ds, 2, 3), q));
    }
    let zeros_like_keys = || B::float_zeros(k.shape(), &k.device(), k.dtype().into());
    [
        B::float_cat(dq, 2),
        dk.unwrap_or_else(zeros_like_keys),
        dv.unwrap_or_else(zeros_like_keys),
    ]
}

pub(super) fn accumulate<B: Backend>(sum: &mut Option<FloatTensor<B>>, term: FloatTensor<B>) {
    *sum = Some(match sum.take() {
        Some(sum) => B::float_add(sum, term),
        None => term,
    });
}
