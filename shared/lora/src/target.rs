//! What a LoRA can change: the list of a model's modules, in the order in which the model is built.

use mimeo_checkpoint::Component;

/// Index of a target within its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TargetId(usize);

impl TargetId {
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// How the module stores its weight, and so which shape the LoRA factors have in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// `[out, in]`
    Linear,
    /// `[out, in, 1, 1]`: a convolution of single pixels, which is a linear map of the channels.
    Conv,
}

/// One module of the model that a LoRA can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The part of the model that the module belongs to.
    pub component: Component,
    /// Path in that part as diffusers names it, such as `mid_block.attentions.0.proj_in`.
    pub path: String,
    /// How the module stores its weight.
    pub kind: TargetKind,
    /// Width of the module's input.
    pub in_features: usize,
    /// Width of the module's output.
    pub out_features: usize,
}

impl Target {
    /// What the module is called in a LoRA file.
    #[must_use]
    pub fn kohya_name(&self) -> String {
        self.component.kohya_name(&self.path)
    }

    /// Shapes of the factors in a LoRA file, down and up.
    #[must_use]
    pub fn factor_shapes(&self, rank: usize) -> [Vec<usize>; 2] {
        [[rank, self.in_features], [self.out_features, rank]].map(|matrix| match self.kind {
            TargetKind::Linear => matrix.to_vec(),
            TargetKind::Conv => [&matrix[..], &[1, 1]].concat(),
        })
    }
}

/// Every target of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets(Vec<Target>);

impl Targets {
    /// Adds a module.
    pub fn push(&mut self, target: Target) {
        self.0.push(target);
    }

    /// The module at a path of a component, with the id that it keeps.
    #[must_use]
    pub fn find(&self, component: Component, path: &str) -> Option<(TargetId, &Target)> {
        self.iter()
            .find(|(_, target)| target.component == component && target.path == path)
    }

    /// The targets with their ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TargetId, &Target)> {
        self.0
            .iter()
            .enumerate()
            .map(|(index, target)| (TargetId(index), target))
    }

    /// Number of targets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the model has nothing to adapt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
