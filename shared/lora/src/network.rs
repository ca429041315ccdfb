//! A whole LoRA: one layer per adapted module.

use std::collections::BTreeMap;

use burn::tensor::{Device, Gradients, Tensor};
use mimeo_checkpoint::Component;
use rand::Rng;

use crate::ops::join;
use crate::{LoraConv, LoraLayer, Target, TargetId, Targets};

/// A [`LoraLayer`] or [`LoraConv`] for each target that it changes, of one component or several.
///
/// What is trained, counted and laid end to end are the layers; convolutions are those of a file.
#[derive(Debug, Clone, Default)]
pub struct LoraNetwork {
    layers: BTreeMap<TargetId, LoraLayer>,
    convs: BTreeMap<TargetId, LoraConv>,
}

impl LoraNetwork {
    /// A fresh network over every target; it changes nothing until it is trained.
    pub fn new(
        targets: &Targets,
        rank: usize,
        alpha: f64,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        Self::from_layers(targets, |target| {
            let (input, output) = (target.in_features, target.out_features);
            Some(LoraLayer::new(input, output, rank, alpha, rng, device))
        })
    }

    /// A network from known layers: `layer` gives that of each target.
    pub fn from_layers(
        targets: &Targets,
        mut layer: impl FnMut(&Target) -> Option<LoraLayer>,
    ) -> Self {
        let layers = targets
            .iter()
            .filter_map(|(id, target)| Some((id, layer(target)?)));
        Self {
            layers: layers.collect(),
            convs: BTreeMap::new(),
        }
    }

    /// Puts a layer beside a linear target.
    pub fn set_layer(&mut self, target: TargetId, layer: LoraLayer) {
        self.layers.insert(target, layer);
    }

    /// Puts a convolution beside a target that is one.
    pub fn set_conv(&mut self, target: TargetId, conv: LoraConv) {
        self.convs.insert(target, conv);
    }

    /// The layer of a target, if the network adapts it.
    #[must_use]
    pub fn layer(&self, target: TargetId) -> Option<&LoraLayer> {
        self.layers.get(&target)
    }

    /// The convolution of a target, if the network adapts it.
    #[must_use]
    pub fn conv(&self, target: TargetId) -> Option<&LoraConv> {
        self.convs.get(&target)
    }

    /// Whether it changes what a text encoder says.
    #[must_use]
    pub fn changes_text(&self) -> bool {
        let mut targets = self.layers.keys().map(|target| target.component());
        targets.any(|component| component != Component::Unet)
    }

    /// The layers that exist, in the order of the targets.
    pub fn layers(&self) -> impl Iterator<Item = &LoraLayer> {
        self.layers.values()
    }

    /// Number of trained values.
    #[must_use]
    pub fn num_params(&self) -> usize {
        self.factors()
            .map(|factor| factor.dims().iter().product::<usize>())
            .sum()
    }

    /// All factors end to end, down before up, as one vector: `[num_params]`.
    ///
    /// One vector is one optimiser step of a dozen kernels, instead of a dozen per factor.
    #[must_use]
    pub fn flatten(&self) -> Tensor<1> {
        let parts = self.factors().map(|factor| factor.clone().flatten(0, 1));
        join(parts.collect())
    }

    /// The same network with the values of a vector made by [`Self::flatten`].
    #[must_use]
    pub fn with_values(&self, values: &Tensor<1>) -> Self {
        let mut start = 0;
        self.map(|factor| {
            let dims = factor.dims();
            let end = start + dims[0] * dims[1];
            let part = values.clone().narrow(0, start, end - start).reshape(dims);
            start = end;
            part
        })
    }

    /// The gradients of all factors, end to end as in [`Self::flatten`].
    ///
    /// A factor that the loss did not reach counts as zero.
    ///
    /// - `gradients`: of one backward pass, or of its parts, which are added up
    #[must_use]
    pub fn flatten_gradients(&self, gradients: &[Gradients]) -> Tensor<1> {
        let parts = self
            .factors()
            .map(|factor| {
                let found = gradients.iter().filter_map(|part| factor.grad(part));
                let sum = found.reduce(|sum, gradient| sum + gradient);
                let sum = sum.unwrap_or_else(|| factor.clone().inner().zeros_like());
                sum.flatten(0, 1)
            })
            .collect();
        join(parts)
    }

    /// Whether gradients of it can be asked for, as of what [`Self::trainable`] answers.
    #[must_use]
    pub fn is_trainable(&self) -> bool {
        self.factors().any(Tensor::is_require_grad)
    }

    /// The same values as leaves of a gradient graph.
    #[must_use]
    pub fn trainable(&self) -> Self {
        self.map(|factor| factor.clone().inner().autodiff().require_grad())
    }

    /// The same values as constants.
    #[must_use]
    pub fn frozen(&self) -> Self {
        self.map(|factor| factor.clone().inner())
    }

    /// The same network with its effect multiplied: strength `factor` becomes strength 1.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let mut network = self.frozen();
        for layer in network.layers.values_mut() {
            layer.up = layer.up.clone() * factor;
        }
        for conv in network.convs.values_mut() {
            conv.up = conv.up.clone() * factor;
        }
        network
    }

    fn factors(&self) -> impl Iterator<Item = &Tensor<2>> {
        self.layers().flat_map(|layer| [&layer.down, &layer.up])
    }

    fn map(&self, mut change: impl FnMut(&Tensor<2>) -> Tensor<2>) -> Self {
        let layers = self.layers.iter().map(|(target, layer)| {
            let layer = LoraLayer {
                down: change(&layer.down),
                up: change(&layer.up),
                alpha: layer.alpha,
            };
            (*target, layer)
        });
        Self {
            layers: layers.collect(),
            convs: self.convs.clone(),
        }
    }
}
