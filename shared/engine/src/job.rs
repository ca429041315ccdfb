//! What is to be trained.

use mimeo_image::{Mask, Rgb};
use mimeo_protocol::{PairIds, Recipe};

use crate::event::FinishedCopier;

/// A `TrainJob` whose pictures are here: two that differ in one thing, where, and how to learn it.
#[derive(Debug, Clone)]
pub struct PreparedJob {
    /// Name of the LoRA; other programs offer it under this name.
    pub name: String,
    /// A: what to start from.
    pub original: Rgb,
    /// B: what to become.
    pub target: Rgb,
    /// Where to learn; nothing painted means everywhere.
    pub mask: Option<Mask>,
    /// The files that the pictures were read from; none: the LoRA does not say.
    pub pair: Option<PairIds>,
    /// The method and its numbers.
    pub recipe: Recipe,
    /// A finished copier of the original, used instead of training one.
    pub copier: Option<FinishedCopier>,
    /// Prompts that the job is not trained on, for the held-out score; none: no scores.
    pub held_out_prompts: Vec<String>,
}
