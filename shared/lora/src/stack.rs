//! Which adapters are active in a forward pass, and how strongly.

use std::borrow::Cow;

use burn::tensor::Tensor;

use crate::{Convolve, LoraNetwork, TargetId};

/// The adapters of one forward pass, each with its signed multiplier.
///
/// The copier of `Method::Copier` is a network in this stack below the one that is trained.
#[derive(Debug, Clone, Default)]
pub struct LoraStack<'a>(Vec<(Cow<'a, LoraNetwork>, Multiplier)>);

/// How strongly a network acts on the rows of a batch.
#[derive(Debug, Clone)]
enum Multiplier {
    Same(f64),
    /// One for each row.
    Each(Vec<f64>),
}

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
            let multiplier = Multiplier::Same(multiplier);
            self.0.push((Cow::Borrowed(network), multiplier));
        }
        self
    }

    /// The stack with one more network, which acts on each row of the batch with another strength:
    /// a picture at many strengths is one batch.
    ///
    /// - `multipliers`: one for each row
    #[must_use]
    pub fn with_each(mut self, network: &'a LoraNetwork, multipliers: Vec<f64>) -> Self {
        let multipliers = Multiplier::Each(multipliers);
        self.0.push((Cow::Borrowed(network), multipliers));
        self
    }

    /// The stack for some rows of the batch alone.
    #[must_use]
    pub fn rows(&self, start: usize, count: usize) -> Self {
        let of_rows = |multiplier: &Multiplier| match multiplier {
            Multiplier::Same(multiplier) => Multiplier::Same(*multiplier),
            Multiplier::Each(each) => Multiplier::Each(each[start..start + count].to_vec()),
        };
        let networks = self.0.iter();
        Self(
            networks
                .map(|(network, multiplier)| (network.clone(), of_rows(multiplier)))
                .collect(),
        )
    }

    /// The same stack, with its networks as they are at this moment: for whoever needs it again later. Copied are
    /// handles; no values are.
    #[must_use]
    pub fn owned(&self) -> LoraStack<'static> {
        self.map(Clone::clone)
    }

    /// The same stack with all its values as constants.
    #[must_use]
    pub fn frozen(&self) -> LoraStack<'static> {
        self.map(LoraNetwork::frozen)
    }

    fn map(&self, change: impl Fn(&LoraNetwork) -> LoraNetwork) -> LoraStack<'static> {
        let networks = self.0.iter();
        let changed =
            networks.map(|(network, multiplier)| (Cow::Owned(change(network)), multiplier.clone()));
        LoraStack(changed.collect())
    }

    /// Whether a network of the stack is trained.
    #[must_use]
    pub fn is_trained(&self) -> bool {
        self.0.iter().any(|(network, _)| network.is_trainable())
    }

    /// Whether a network of the stack changes what a text encoder says.
    #[must_use]
    pub fn changes_text(&self) -> bool {
        self.0.iter().any(|(network, _)| network.changes_text())
    }

    /// A linear module's answer `y` to its input `x`, plus what the adapters add.
    ///
    /// - `x`: `[.., in_features]`, `y`: `[.., out_features]`; rows come first
    #[must_use]
    pub fn apply<const D: usize>(
        &self,
        target: TargetId,
        x: &Tensor<D>,
        y: Tensor<D>,
    ) -> Tensor<D> {
        self.0.iter().fold(y, |y, (network, multiplier)| {
            let Some(layer) = network.layer(target) else {
                return y;
            };
            y + match multiplier {
                Multiplier::Same(multiplier) => layer.forward(x.clone(), *multiplier),
                Multiplier::Each(each) => layer.forward_each(x.clone(), each),
            }
        })
    }

    /// A convolution's answer `y` to its input `x`, plus what the adapters add.
    ///
    /// - `x`: `[batch, in, height, width]`, `y`: `[batch, out, height/stride, width/stride]`
    #[must_use]
    pub fn apply_conv(
        &self,
        target: TargetId,
        x: &Tensor<4>,
        y: Tensor<4>,
        convolve: Convolve,
    ) -> Tensor<4> {
        self.0.iter().fold(y, |y, (network, multiplier)| {
            let Some(conv) = network.conv(target) else {
                return y;
            };
            y + match multiplier {
                Multiplier::Same(multiplier) => conv.forward(x.clone(), *multiplier, convolve),
                Multiplier::Each(each) => conv.forward_each(x.clone(), each, convolve),
            }
        })
    }
}
