//! Scaled dot-product attention with a recomputing backward pass.
//!
//! Under autodiff Burn's own attention falls back to one that keeps the `[batch, heads, queries,
//! keys]` scores until the backward pass: half a gigabyte per layer at 512 px. Here the forward
//! pass is the backend's own (flash where it has one) and the backward pass recomputes the softmax
//! tile by tile, with the row sums of the scores' gradient taken from the answer (arXiv 2205.14135,
//! appendix B.2).

use burn::backend::{
    Backend, Dispatch, TensorMetadata as _,
    autodiff::{
        Autodiff, NodeId,
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::{Device, Slice, Tensor, ops::AttentionModuleOptions};

/// Scores (over batch and heads) that the backward pass holds at once on a GPU, where few large
/// kernels win: 64 MiB in f32.
const GPU_TILE: usize = 16 << 20;
/// The same on a CPU, where a tile that stays in a core's cache wins: 1 MiB in f32.
pub const CPU_TILE: usize = 1 << 18;

/// `softmax(q kᵀ / √d) v`.
///
/// # Shapes
/// - `q`: `[batch, heads, queries, d]`, `k` and `v`: `[batch, heads, keys, d]`
/// - answer: `[batch, heads, queries, d]`
#[must_use]
pub fn scaled_dot_product_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let tile = if q.device().without_autodiff() == Device::flex() {
        CPU_TILE
    } else {
        GPU_TILE
    };
    Tensor::from_dispatch(Dispatch::recomputing_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        tile,
    ))
}

#[backend_extension(Cube, Flex, Fusion: cfg(feature = "tuned"), Autodiff)]
pub(crate) trait RecomputingAttention: Backend {
    #[fusion(default)]
    fn recomputing_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        _tile: usize,
    ) -> FloatTensor<Self> {
        Self::attention(q, k, v, None, None, AttentionModuleOptions::default())
    }
}

impl RecomputingAttention for burn::backend::Flex {}
impl RecomputingAttention for burn_cubecl::CubeBackend {}

impl<B: RecomputingAttention, C: CheckpointStrategy> RecomputingAttention for Autodiff<B, C> {
    fn recomputing_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        tile: usize,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct AttentionBackward {
            tile: usize,
        }

        impl<B: Backend> Backward<B, 3> for AttentionBackward {
            /// The inputs, and what the forward pass answered.
            type State = ([NodeId; 3], FloatTensor<B>);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                gradients: &mut Gradients,
                checkpointer: &mut Checkpointer,
            ) {
                let gradient = gradients.consume::<B>(&ops.node);
                let (inputs, answer) = ops.state;
                let inputs = inputs.map(|node| checkpointer.retrieve_node_output(node));
                let [dq, dk, dv] = attention_backward::<B>(inputs, answer, &gradient, self.tile);
                for (parent, gradient) in ops.parents.into_iter().zip([dq, dk, dv]) {
                    if let Some(parent) = parent {
                        gradients.register::<B>(parent.id, gradient);
                    }
                }
            }
        }

        let nodes = [q.node(), k.node(), v.node()];
        let backward = AttentionBackward { tile };
        match backward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut graph) => {
                let state = [
                    graph.checkpoint(&q),
                    graph.checkpoint(&k),
                    graph.checkpoint(&v),
                ];
                let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
                let answer = B::recomputing_attention(q, k, v, tile);
                graph.finish((state, answer.clone()), answer)
            }
            OpsKind::UnTracked(graph) => {
                let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
                graph.finish(B::recomputing_attention(q, k, v, tile))
            }
        }
    }
}

/// Gradients of `q`, `k` and `v` from that of the answer, a tile of queries at a time.
fn attention_backward<B: Backend>(
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

fn accumulate<B: Backend>(sum: &mut Option<FloatTensor<B>>, term: FloatTensor<B>) {
    *sum = Some(match sum.take() {
        Some(sum) => B::float_add(sum, term),
        None => term,
    });
}
