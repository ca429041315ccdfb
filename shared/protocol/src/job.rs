//! What is to be trained.

use serde::{Deserialize, Serialize};

use crate::format::{Format, Kind};
use crate::id::{BaseId, BlobId, CopierId, JobName};
use crate::number::{Steps, Strength};
use crate::recipe::Recipe;

/// Of stored jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfJob;

impl Kind for OfJob {
    const NAME: &'static str = "the job";
    const NEWEST: u32 = 1;
}

/// The format of a [`TrainJob`].
pub type JobFormat = Format<OfJob>;

/// One training job: two pictures that differ in one thing, where, and how to learn it.
///
/// Pictures are named by their hash and were uploaded before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainJob {
    /// The format that it has.
    #[serde(default, skip_serializing_if = "Format::is_first")]
    pub format: JobFormat,
    /// Name of the LoRA; other programs offer it under this name.
    pub name: JobName,
    /// The checkpoint to train upon.
    pub base: BaseId,
    /// A: what to start from.
    pub original: BlobId,
    /// B: what to become.
    pub target: BlobId,
    /// Where to learn; nothing painted means where the two differ.
    pub mask: Option<BlobId>,
    /// The method and its numbers.
    pub recipe: Recipe,
    /// Which copier of A to build upon.
    #[serde(default)]
    pub copier: CopierChoice,
    /// Pictures to draw while training; none: no previews.
    #[serde(default)]
    pub previews: Option<PreviewPlan>,
    /// Whether to measure what the LoRA does.
    #[serde(default = "yes")]
    pub scores: bool,
}

impl TrainJob {
    /// The job's pictures, as its LoRA will name them.
    #[must_use]
    pub const fn pair(&self) -> PairIds {
        PairIds {
            original: self.original,
            target: self.target,
            mask: self.mask,
        }
    }
}

/// The picture files of a job, as a LoRA's metadata names what it was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairIds {
    /// A.
    pub original: BlobId,
    /// B.
    pub target: BlobId,
    /// The mask, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<BlobId>,
}

const fn yes() -> bool {
    true
}

/// Which copier a job of method `copier` builds upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopierChoice {
    /// A finished one of the same base, picture and recipe if there is one, else a new one.
    #[default]
    Cached,
    /// A new one.
    New,
    /// This one.
    Given(CopierId),
}

/// Pictures drawn from one prompt and seed while a job trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewPlan {
    /// Drawn every so many steps, and after the last.
    pub every: Steps,
    /// What to draw.
    pub prompt: String,
    /// Which noise it starts from.
    #[serde(deserialize_with = "crate::number::deserialize_seed")]
    pub seed: u64,
    /// One picture for each.
    pub strengths: Vec<Strength>,
}

impl PreviewPlan {
    /// The change undone, the base alone, the change made.
    pub const STRENGTHS: [Strength; 3] = [
        Strength::constant(-1.0),
        Strength::constant(0.0),
        Strength::constant(1.0),
    ];
}
