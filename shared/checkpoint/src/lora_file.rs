//! A LoRA as a file: read in the common spellings, written in kohya's.
//!
//! Each module changes one weight of the base by `multiplier · (alpha / rank) · up · down`. The
//! format's source is kohya's `networks/lora.py`; what other programs make of it is in their key
//! converters.

mod adapter_config;
mod left_out;
mod read;
mod remarks;
mod write;

use std::collections::{BTreeMap, BTreeSet};

pub use adapter_config::AdapterConfig;
pub use left_out::LeftOut;
pub use read::{put_together, survey};
pub use remarks::Remarks;

use crate::names::Part;
use crate::{Array, LoraFileError, ModuleProblem};

/// All modules of a LoRA and what the file says about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoraFile {
    /// Modules by kohya name without suffix: `lora_unet_down_blocks_0_attentions_0_proj_in`. Which
    /// module of a model that is, [`crate::names::ModuleNames`] knows.
    pub modules: BTreeMap<String, LoraModule>,
    /// Metadata; of a file that was read, text from a stranger (see [`crate::printable`]).
    pub metadata: BTreeMap<String, String>,
    /// What was found out while it was read; nothing, of a LoRA that was made here.
    pub reading: Reading,
}

/// What a file does not say by its modules and metadata alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// How many modules have their alpha from where.
    pub alphas: BTreeMap<AlphaOrigin, usize>,
    /// Modules whose alpha stands for `lora_alpha · √rank` (rsLoRA).
    pub rank_stabilized: usize,
    /// What the file holds beside plain LoRA, which is not in the modules.
    pub other_kinds: LeftOut,
    /// Settings of PEFT's that ask for tensors which the file lacks.
    pub missing: BTreeSet<&'static str>,
    /// Settings of PEFT's that are not known here and were left aside; made printable.
    pub unknown_settings: BTreeSet<String>,
}

/// Where the alpha of a module comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlphaOrigin {
    /// A tensor of its own, as kohya's tools write it.
    Tensor,
    /// The file's metadata, as diffusers writes it (`lora_adapter_metadata`).
    Metadata,
    /// PEFT's `adapter_config.json`.
    AdapterConfig,
    /// Nothing says it, and then it is the rank, as every program takes it.
    Rank,
}

impl AlphaOrigin {
    /// In a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Tensor => "alpha tensors",
            Self::Metadata => "lora_adapter_metadata",
            Self::AdapterConfig => "adapter_config.json",
            Self::Rank => "absent, so it is the rank",
        }
    }
}

impl LoraFile {
    /// How many modules are applied, by part of the model.
    #[must_use]
    pub fn applied(&self) -> BTreeMap<Part, usize> {
        let mut applied = BTreeMap::new();
        let parts = self.modules.keys().map(|name| Part::of(name));
        for part in parts.filter(|part| part.is_applied()) {
            *applied.entry(part).or_default() += 1;
        }
        applied
    }

    /// What of this LoRA is not applied: what is no plain LoRA, and modules of parts that have no such
    /// weights.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        left_out(self.reading.other_kinds.clone(), self.modules.keys())
    }

    /// What is to be said before it is used.
    #[must_use]
    pub fn remarks(&self) -> Remarks {
        let mut applied = self
            .modules
            .iter()
            .filter(|(name, _)| Part::of(name).is_applied())
            .map(|(_, module)| module)
            .peekable();
        Remarks {
            left_out: self.left_out(),
            changes_nothing: applied.peek().is_some()
                && !applied.any(LoraModule::changes_something),
            missing: self.reading.missing.clone(),
            unknown_settings: self.reading.unknown_settings.clone(),
        }
    }

    /// Refuses a LoRA of which nothing would be applied; `file` is what the message calls it.
    ///
    /// # Errors
    /// [`LoraFileError::NothingToApply`] with what it holds instead.
    pub fn check_applies(&self, file: &str) -> Result<(), LoraFileError> {
        check_applies(self.modules.keys(), || self.left_out(), file)
    }
}

/// The other kinds of a file, and those of its modules that are not applied.
fn left_out<'a>(other_kinds: LeftOut, names: impl Iterator<Item = &'a String>) -> LeftOut {
    let mut left_out = other_kinds;
    let parts = names.map(|name| Part::of(name));
    for part in parts.filter(|part| !part.is_applied()) {
        left_out.add(part.title());
    }
    left_out
}

fn check_applies<'a>(
    mut names: impl Iterator<Item = &'a String>,
    left_out: impl FnOnce() -> LeftOut,
    file: &str,
) -> Result<(), LoraFileError> {
    if names.any(|name| Part::of(name).is_applied()) {
        return Ok(());
    }
    Err(LoraFileError::NothingToApply {
        left_out: left_out(),
        file: file.to_owned(),
    })
}

/// The factors of one module: two, or three of a convolution in LyCORIS' Tucker form.
///
/// Linear layers have two sizes per factor, convolutions four, as in the base.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraModule {
    /// `[rank, in]` or `[rank, in, height, width]`; with `mid` between, `[rank, in, 1, 1]`.
    pub down: Array,
    /// `[rank, rank, height, width]`: of the Tucker form, the kernel.
    pub mid: Option<Array>,
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

    /// Whether the module belongs to a convolution.
    #[must_use]
    pub fn is_convolution(&self) -> bool {
        self.down.shape.len() == 4
    }

    /// What the product of the factors is multiplied by at multiplier 1: alpha / rank.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank() as f32
    }

    /// Whether it changes its weight at all: not if alpha or one of the factors is 0.
    #[must_use]
    pub fn changes_something(&self) -> bool {
        let has_any = |array: &Array| array.data.iter().any(|value| *value != 0.0);
        let mut factors = self.factors();
        self.alpha != 0.0 && factors.all(|(_, array)| has_any(array))
    }

    /// The factors with what messages call them.
    fn factors(&self) -> impl Iterator<Item = (&'static str, &Array)> {
        let mid = self.mid.iter().map(|mid| ("mid", mid));
        [("down", &self.down), ("up", &self.up)]
            .into_iter()
            .chain(mid)
    }

    /// Checks shapes, lengths and numbers. The reader and the writer both ask this.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ModuleProblem> {
        let mid = self.mid.as_ref().map(|mid| &*mid.shape);
        check_shapes(&self.down.shape, mid, &self.up.shape)?;
        for (part, array) in self.factors() {
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

/// Whether factors of these shapes make one module.
fn check_shapes(down: &[usize], mid: Option<&[usize]>, up: &[usize]) -> Result<(), ModuleProblem> {
    let (down_rank, up_rank) = match (down, up) {
        ([down_rank, _], [_, up_rank]) => (*down_rank, *up_rank),
        ([down_rank, _, _, _], [_, up_rank, 1, 1]) => (*down_rank, *up_rank),
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
    match (mid, down) {
        (None, _) => Ok(()),
        (Some([one, other, height, width]), [rank, _, 1, 1])
            if [one, other] == [rank; 2] && *height > 0 && *width > 0 =>
        {
            Ok(())
        }
        (Some(mid), _) => Err(ModuleProblem::Mid {
            down: down.to_vec(),
            mid: mid.to_vec(),
        }),
    }
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
