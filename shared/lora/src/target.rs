//! What a LoRA can change: the list of a model's modules.

use mimeo_checkpoint::Component;

/// A target within a base: of a component, the one at an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetId {
    component: Component,
    index: usize,
}

impl TargetId {
    /// The part of the model that the target belongs to.
    #[must_use]
    pub const fn component(self) -> Component {
        self.component
    }
}

/// How the module stores its weight, and so which shape the LoRA factors have in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// `[out, in]`
    Linear,
    /// `[out, in, 1, 1]`: a convolution of single pixels that is used as a linear map of the channels.
    Conv1x1,
    /// `[out, in, side, side]`
    Conv(Kernel),
}

/// How a convolution goes over the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Height and width.
    pub side: usize,
    /// Pixels from one place to the next.
    pub stride: usize,
    /// Zeros around the picture.
    pub padding: usize,
}

impl TargetKind {
    /// Height and width of the kernel; 1 of a linear layer.
    const fn side(self) -> usize {
        match self {
            Self::Linear | Self::Conv1x1 => 1,
            Self::Conv(kernel) => kernel.side,
        }
    }
}

/// One module of the model that a LoRA can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The part of the model that the module belongs to.
    pub component: Component,
    /// Path in that part as its weights name it, such as `mid_block.attentions.0.proj_in`.
    pub path: String,
    /// How the module stores its weight.
    pub kind: TargetKind,
    /// Width, or channels, of the module's input.
    pub in_features: usize,
    /// Width, or channels, of the module's output.
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
        let (down, up) = ([rank, self.in_features], [self.out_features, rank]);
        let side = self.kind.side();
        match self.kind {
            TargetKind::Linear => [down.to_vec(), up.to_vec()],
            TargetKind::Conv1x1 | TargetKind::Conv(_) => {
                [[down, [side; 2]].concat(), [up, [1; 2]].concat()]
            }
        }
    }

    /// Whether factors of these shapes belong to this module. Programs store those of a linear layer and of
    /// a 1×1 convolution either way.
    ///
    /// - `mid`: of the Tucker form, whose kernel it is
    #[must_use]
    pub fn fits(&self, down: &[usize], mid: Option<&[usize]>, up: &[usize]) -> bool {
        let (Some(rank), side) = (down.first(), self.kind.side()) else {
            return false;
        };
        let is = |shape: &[usize], [rows, columns]: [usize; 2], side: usize| match shape {
            [first, second] => [*first, *second] == [rows, columns] && side == 1,
            shape => shape == [rows, columns, side, side],
        };
        let inner = match mid {
            Some(mid) => is(mid, [*rank; 2], side) && is(down, [*rank, self.in_features], 1),
            None => is(down, [*rank, self.in_features], side),
        };
        inner && is(up, [self.out_features, *rank], 1)
    }
}

/// The targets of one component of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    component: Component,
    targets: Vec<Target>,
}

impl Targets {
    /// None yet.
    #[must_use]
    pub const fn none(component: Component) -> Self {
        Self {
            component,
            targets: Vec::new(),
        }
    }

    /// Adds the module at a path, and answers the id that it keeps.
    ///
    /// - `io`: width of its input and of its output
    pub fn add(&mut self, path: String, kind: TargetKind, io: [usize; 2]) -> TargetId {
        let [in_features, out_features] = io;
        let id = self.id(self.targets.len());
        self.targets.push(Target {
            component: self.component,
            path,
            kind,
            in_features,
            out_features,
        });
        id
    }

    /// The module at a path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<(TargetId, &Target)> {
        self.iter().find(|(_, target)| target.path == path)
    }

    /// The part of the model whose modules these are.
    #[must_use]
    pub const fn component(&self) -> Component {
        self.component
    }

    /// The targets with their ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TargetId, &Target)> {
        let targets = self.targets.iter().enumerate();
        targets.map(|(index, target)| (self.id(index), target))
    }

    /// Number of targets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether the model has nothing to adapt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    const fn id(&self, index: usize) -> TargetId {
        TargetId {
            component: self.component,
            index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_fit_the_module_that_has_their_widths_and_kernel() {
        let kernel = Kernel {
            side: 3,
            stride: 2,
            padding: 1,
        };
        let of = |kind| Target {
            component: Component::Unet,
            path: "down_blocks.0.downsamplers.0.conv".to_owned(),
            kind,
            in_features: 5,
            out_features: 7,
        };
        let (linear, pixel, conv) = (
            of(TargetKind::Linear),
            of(TargetKind::Conv1x1),
            of(TargetKind::Conv(kernel)),
        );
        for (target, rank) in [(&linear, 2), (&pixel, 2), (&conv, 2)] {
            let [down, up] = target.factor_shapes(rank);
            assert!(target.fits(&down, None, &up), "its own: {target:?}");
        }
        let flat: [&[usize]; 2] = [&[2, 5], &[7, 2]];
        let of_pixels: [&[usize]; 2] = [&[2, 5, 1, 1], &[7, 2, 1, 1]];
        for target in [&linear, &pixel] {
            for [down, up] in [flat, of_pixels] {
                assert!(target.fits(down, None, up), "{down:?} of {target:?}");
            }
        }
        let up = &[7, 2, 1, 1][..];
        let mid: Option<&[usize]> = Some(&[2, 2, 3, 3]);
        assert!(conv.fits(&[2, 5, 1, 1], mid, up), "in Tucker form");
        for (down, mid, up) in [
            (&[2, 5][..], None, &[7, 2][..]),
            (&[2, 5, 1, 1], None, up),
            (&[2, 5, 3, 1], None, up),
            (&[2, 45, 1, 1], None, up),
            (&[2, 5, 5, 5], None, up),
            (&[2, 6, 3, 3], None, up),
            (&[2, 5, 3, 3], None, &[8, 2, 1, 1]),
            (&[2, 5, 3, 3], None, &[7, 2, 3, 3]),
            (&[2, 5, 3, 3], mid, up),
            (&[2, 5, 1, 1], Some(&[2, 2, 1, 1]), up),
            (&[2, 5, 1, 1], Some(&[3, 2, 3, 3]), up),
            (&[], None, &[]),
        ] {
            assert!(
                !conv.fits(down, mid, up),
                "{down:?}, {mid:?} and {up:?} are another module's"
            );
        }
    }
}
