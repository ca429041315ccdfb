//! What is to be trained.

use std::borrow::Cow;

use mimeo_checkpoint::LoraFile;
use mimeo_checkpoint::metadata::RECIPE;
use mimeo_diffusion::Recompute;
use mimeo_image::{FittedPair, ImageError, Mask, Rgb, fit_pair};
use mimeo_protocol::{BlobId, CopierKind, Example, Method, PreviewPlan, Recipe, Resolution};

use crate::base::Base;
use crate::control::FinishedCopier;
use crate::error::EngineError;
use crate::sample::{MAX_SIDE, check_size};

/// A `TrainJob` whose pictures are here.
#[derive(Debug, Clone)]
pub struct PreparedJob {
    /// Name of the LoRA; other programs offer it under this name.
    pub name: String,
    /// What it learns from.
    pub examples: Vec<PreparedExample>,
    /// The method and its numbers.
    pub recipe: Recipe,
    /// A finished copier of the original, used instead of training one.
    pub copier: Option<FinishedCopier>,
    /// Prompts that the job is not trained on: what it is calibrated on, and measured.
    pub held_out_prompts: Vec<String>,
    /// Whether it is measured.
    pub scores: bool,
    /// Pictures to draw with the finished LoRA; none: none. Those before are asked for by the
    /// [`Control`](crate::Control).
    pub previews: Option<PreviewPlan>,
    /// How much of the UNet is run again in a step, for want of memory. It changes no result.
    pub recompute: Recompute,
}

/// An [`Example`] whose pictures are here.
#[derive(Debug, Clone)]
pub struct PreparedExample {
    /// A, B and where to learn, at the size at which they are trained (see [`fit`]); no mask means
    /// where they differ.
    pub pictures: FittedPair,
    /// What they were read from, and their caption; none: the LoRA does not say, and there is none.
    pub named: Option<Example>,
}

impl PreparedJob {
    /// Width and height of the pictures that it trains on, of each; of the one that the base draws for a
    /// job without any.
    ///
    /// # Errors
    /// [`EngineError::Image`] when the recipe's size is none that the base trains at.
    pub fn sizes(&self, base: &Base) -> Result<Vec<(u32, u32)>, EngineError> {
        if !self.recipe.method.takes_pictures() {
            return Ok(vec![crate::slider::size(base, self.recipe.resolution)?]);
        }
        let examples = self.examples.iter().map(|example| {
            let picture = &example.pictures.original;
            (picture.width(), picture.height())
        });
        Ok(examples.collect())
    }

    /// The prompts that it is measured on; none where it is not.
    pub(crate) fn measured_prompts(&self) -> &[String] {
        match self.scores {
            true => &self.held_out_prompts,
            false => &[],
        }
    }

    /// The prompts that its examples are trained under, each once: many share theirs.
    pub(crate) fn captions(&self) -> Vec<String> {
        let mut captions: Vec<String> = Vec::new();
        for example in &self.examples {
            let prompt = example.prompt(&self.recipe);
            if !captions.contains(&prompt) {
                captions.push(prompt);
            }
        }
        captions
    }

    /// Whether it makes a copier and nothing else: there is none yet to build upon, and no pair to
    /// learn a difference from.
    #[must_use]
    pub fn makes_copier(&self) -> bool {
        let mut examples = self.examples.iter();
        let is_alone = examples.all(|example| example.example().is_alone());
        self.recipe.method == Method::Copier && self.copier.is_none() && is_alone
    }

    /// What the copier draws: as the recipe says, or where that says nothing, the file that is given.
    pub(crate) fn copier_kind(&self) -> CopierKind {
        let given = self.copier.as_ref();
        given.map_or(self.recipe.copier.kind, |given| {
            copier_kind(&self.recipe, &given.file)
        })
    }
}

/// What a copier that is given draws: as the recipe says, or where that says nothing, its own.
#[must_use]
pub fn copier_kind(recipe: &Recipe, given: &LoraFile) -> CopierKind {
    let said = recipe.copier.kind;
    if said != CopierKind::Identical {
        return said;
    }
    let own = given.metadata.get(RECIPE);
    let own = own.and_then(|json| serde_json::from_str::<Recipe>(json).ok());
    own.map_or(said, |recipe| recipe.copier.kind)
}

impl PreparedExample {
    /// What is said of it; where nothing is, it is a pair like any other.
    #[must_use]
    pub fn example(&self) -> Cow<'_, Example> {
        match &self.named {
            Some(example) => Cow::Borrowed(example),
            None => {
                let [original, target] = [0, 1].map(|byte| BlobId::from_sha256([byte; 32]));
                Cow::Owned(Example::new(original, target))
            }
        }
    }

    /// The prompt that it is trained under.
    #[must_use]
    pub fn prompt(&self, recipe: &Recipe) -> String {
        recipe.prompt_of(&self.example())
    }
}

/// A, B and their mask at the size at which they are trained.
///
/// - `resolution`: of the recipe
///
/// # Errors
/// [`EngineError::Image`] when they do not lie on each other or cannot be brought to that size; when nothing
/// is left there of what was painted. [`EngineError::Size`] when it is larger than what is drawn, so that
/// it could not be measured either.
pub fn fit(
    base: &Base,
    resolution: Option<Resolution>,
    original: &Rgb,
    target: &Rgb,
    mask: Option<&Mask>,
) -> Result<FittedPair, EngineError> {
    let sizing = base.sizing(resolution);
    let fitted = fit_pair(original, target, mask, sizing)?;
    let size = (fitted.original.width(), fitted.original.height());
    check_size(sizing.multiple, size, MAX_SIDE)?;
    // Something else than a mask that was black from the start.
    let was_painted = mask.is_some_and(|mask| !mask.is_empty());
    if let Some(mask) = fitted.mask.as_ref().filter(|mask| mask.is_empty())
        && was_painted
    {
        let (width, height) = (mask.width(), mask.height());
        return Err(ImageError::MaskVanishes { width, height }.into());
    }
    Ok(fitted)
}
