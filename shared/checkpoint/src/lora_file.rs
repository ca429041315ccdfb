//! A LoRA as a file: read in the common spellings, written in kohya's.
//!
//! Each module changes one weight of the base by `multiplier · (alpha / rank) · up · down`. The
//! format's source is kohya's `networks/lora.py`; what other programs make of it is in their key
//! converters.

mod read;
mod write;

use std::collections::BTreeMap;

use crate::{Array, ModuleProblem};

/// All modules of a LoRA and what the file says about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoraFile {
    /// Modules by kohya name without suffix: `lora_unet_down_blocks_0_attentions_0_proj_in`. Which
    /// module of a model that is, [`crate::names::ModuleNames`] knows.
    pub modules: BTreeMap<String, LoraModule>,
    /// Metadata; of a file that was read, text from a stranger (see [`crate::printable`]).
    pub metadata: BTreeMap<String, String>,
}

/// The two factors of one module.
///
/// Linear layers have two sizes per factor, 1×1 convolutions four, as in the base.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraModule {
    /// `[rank, in]` or `[rank, in, 1, 1]`.
    pub down: Array,
    /// `[out, rank]` or `[out, rank, 1, 1]`.
    pub up: Array,
    /// Numerator of the scale alpha / rank.
    pub alpha: f32,
}

/// How the numbers of a written file are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Half precision: what the common programs write and expect.
    #[default]
    F16,
    /// Full precision, twice the size.
    F32,
}

impl LoraModule {
    /// Inner size.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.down.shape.first().copied().unwrap_or(0)
    }

    /// Whether the module belongs to a 1×1 convolution.
    #[must_use]
    pub fn is_convolution(&self) -> bool {
        self.down.shape.len() == 4
    }

    /// What the product of the factors is multiplied by at multiplier 1: alpha / rank.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank() as f32
    }

    /// Checks shapes, lengths and numbers. The reader and the writer both ask this.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ModuleProblem> {
        check_shapes(&self.down.shape, &self.up.shape)?;
        for (part, array) in [("down", &self.down), ("up", &self.up)] {
            let (expected, found) = (array.shape.iter().product(), array.data.len());
            if expected != found {
                return Err(ModuleProblem::Length {
                    part,
                    expected,
                    found,
                });
            }
            if !array.data.iter().all(|value| value.is_finite()) {
                return Err(ModuleProblem::NotFinite { part });
            }
        }
        if self.alpha.is_finite() {
            Ok(())
        } else {
            Err(ModuleProblem::NotFinite { part: "alpha" })
        }
    }
}

/// Whether two factors of these shapes make one module.
fn check_shapes(down: &[usize], up: &[usize]) -> Result<(), ModuleProblem> {
    let (down_rank, up_rank) = match (down, up) {
        ([down_rank, _], [_, up_rank]) => (*down_rank, *up_rank),
        ([down_rank, _, 1, 1], [_, up_rank, 1, 1]) => (*down_rank, *up_rank),
        _ => {
            return Err(ModuleProblem::Shape {
                down: down.to_vec(),
                up: up.to_vec(),
            });
        }
    };
    for (part, shape) in [("down", down), ("up", up)] {
        if shape.contains(&0) {
            return Err(ModuleProblem::Empty { part });
        }
    }
    if down_rank != up_rank {
        return Err(ModuleProblem::Ranks {
            down: down_rank,
            up: up_rank,
        });
    }
    Ok(())
}

/// Far above the tag statistics of a large training set, the longest metadata in real files.
const MAX_METADATA_BYTES: usize = 16 << 20;

fn metadata_bytes(metadata: &BTreeMap<String, String>) -> usize {
    metadata
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum()
}

#[cfg(test)]
mod tests;
