//! Which adapters are active in a forward pass, and how strongly.

use burn::tensor::Tensor;

use crate::{LoraNetwork, TargetId};

/// The adapters of one forward pass, each with its signed multiplier.
///
/// The copier of `Method::Copier` is a network in this stack below the one that is trained.
#[derive(Debug, Clone, Default)]
pub struct LoraStack<'a>(Vec<(&'a LoraNetwork, f64)>);

impl<'a> LoraStack<'a> {
    /// No adapter: the model as it is.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The stack with one more network. A multiplier of 0 leaves it out.
    #[must_use]
    pub fn with(mut self, network: &'a LoraNetwork, multiplier: f64) -> Self {
        if multiplier != 0.0 {
            self.0.push((network, multiplier));
        }
        self
    }

    /// A module's answer `y` to its input `x`, plus what the adapters add.
    ///
    /// - `x`: `[.., in_features]`, `y`: `[.., out_features]`
    #[must_use]
    pub fn apply<const D: usize>(
        &self,
        target: TargetId,
        x: &Tensor<D>,
        y: Tensor<D>,
    ) -> Tensor<D> {
        self.0
            .iter()
            .fold(y, |y, (network, multiplier)| match network.layer(target) {
                Some(layer) => y + layer.forward(x.clone(), *multiplier),
                None => y,
            })
    }
}
