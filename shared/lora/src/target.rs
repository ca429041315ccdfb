//! What a LoRA can change: the list of a model's modules, in the order in which the model is built.

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
    /// `[out, in, 1, 1]`
    Conv1x1,
}

/// One module of the model that a LoRA can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Path in the model as diffusers names it, such as `mid_block.attentions.0.proj_in`.
    pub path: String,
    /// How the module stores its weight.
    pub kind: TargetKind,
    /// Width of the module's input.
    pub in_features: usize,
    /// Width of the module's output.
    pub out_features: usize,
}

/// Every target of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets(Vec<Target>);

impl Targets {
    /// Adds a module; the id is what the module keeps.
    pub fn register(&mut self, target: Target) -> TargetId {
        self.0.push(target);
        TargetId(self.0.len() - 1)
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
