//! The autodiff wrapper of an operation whose backward pass is written by hand.

use std::fmt::Debug;

use burn::backend::{
    Backend,
    autodiff::{
        Autodiff, NodeId,
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::FloatTensor,
};

/// From the tensors that were kept, what else was, and the answer's gradient: the parents' gradients.
type BackwardPass<B, S, const N: usize, const K: usize> =
    fn([FloatTensor<B>; K], S, FloatTensor<B>) -> [FloatTensor<B>; N];

/// Runs an operation and, where a gradient can be asked for, notes how it goes back.
///
/// - `tensors`: all that the operation takes
/// - `parents`: places among them of those that have a gradient; the others are frozen
/// - `kept`: places of those that the backward pass takes again
/// - `forward`: the answer, and what else the backward pass takes
pub(super) fn recorded<B, C, S, const T: usize, const N: usize, const K: usize>(
    tensors: [FloatTensor<Autodiff<B, C>>; T],
    parents: [usize; N],
    kept: [usize; K],
    forward: impl FnOnce([FloatTensor<B>; T]) -> (FloatTensor<B>, S),
    backward: BackwardPass<B, S, N, K>,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Send + Debug + 'static,
{
    let parents = parents.map(|place| tensors[place].node());
    let recorded = Recorded { backward };
    match recorded.prepare::<C>(parents).compute_bound().stateful() {
        OpsKind::Tracked(mut graph) => {
            let kept = kept.map(|place| graph.checkpoint(&tensors[place]));
            let (answer, rest) = forward(tensors.map(|tensor| tensor.into_primitive()));
            graph.finish((kept, rest), answer)
        }
        OpsKind::UnTracked(graph) => {
            let (answer, _) = forward(tensors.map(|tensor| tensor.into_primitive()));
            graph.finish(answer)
        }
    }
}

/// An operation with `N` parents that keeps `K` tensors and, beside them, an `S`.
#[derive(Debug)]
struct Recorded<B: Backend, S, const N: usize, const K: usize> {
    backward: BackwardPass<B, S, N, K>,
}

impl<B, S, const N: usize, const K: usize> Backward<B, N> for Recorded<B, S, N, K>
where
    B: Backend,
    S: Clone + Send + Debug + 'static,
{
    type State = ([NodeId; K], S);

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (kept, rest) = ops.state;
        let kept = kept.map(|node| checkpointer.retrieve_node_output(node));
        let gradients_of_parents = (self.backward)(kept, rest, gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients_of_parents) {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}
