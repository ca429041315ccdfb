//! A job's pictures, from where the server keeps them to what the engine takes.

use mimeo_engine::job::fit;
use mimeo_engine::{Base, EngineError, PreparedExample, PreparedJob, Recompute};
use mimeo_image::{Difference, ImageError, Mask, MaskView, Rgb, decode, decode_mask};
use mimeo_protocol::{
    AugmentRecipe, BlobId, CopierRecipe, Example, PromptSyntax, Recipe, Resolution, Strength,
    TrainJob, codec,
};
use sha2::{Digest as _, Sha256};

use crate::bases::Origin;
use crate::error::ServiceError;
use crate::shelf::{Shelf, read_picture};

/// The job with its pictures, and all else that training needs of it; a finished copier is still to
/// be put in.
///
/// # Errors
/// When a picture or a prompt cannot be read or used.
pub async fn prepare(
    base: &Base,
    job: &TrainJob,
    shelf: &impl Shelf,
) -> Result<PreparedJob, ServiceError> {
    let mut prepared = decoded(base, job, shelf).await?;
    prepared.scores = job.scores;
    if let Some(plan) = &job.previews {
        // Now rather than at the first preview, which would end a run that has come far.
        base.check_prompt(&plan.prompt, job.recipe.prompt_syntax)?;
    }
    prepared.previews.clone_from(&job.previews);
    Ok(prepared)
}

/// The job with its pictures, without what only training needs.
pub(crate) async fn decoded(
    base: &Base,
    job: &TrainJob,
    shelf: &impl Shelf,
) -> Result<PreparedJob, ServiceError> {
    let mut examples = Vec::with_capacity(job.examples.len());
    for example in &job.examples {
        examples.push(read_example(base, &job.recipe, example, shelf).await?);
    }
    Ok(PreparedJob {
        name: job.name.to_string(),
        examples,
        recipe: job.recipe.clone(),
        copier: None,
        held_out_prompts: Origin::of(&job.base).held_out_prompts(&job.recipe),
        scores: false,
        previews: None,
        recompute: Recompute::NOTHING,
    })
}

async fn read_example(
    base: &Base,
    recipe: &Recipe,
    example: &Example,
    shelf: &impl Shelf,
) -> Result<PreparedExample, ServiceError> {
    let original = decode(&read_picture(example.original, shelf).await?)?.picture;
    let target = decode(&read_picture(example.target, shelf).await?)?.picture;
    let mask = match example.mask {
        Some(mask) => Some(decode_mask(&read_picture(mask, shelf).await?)?),
        None => None,
    };
    Ok(PreparedExample {
        pictures: fit(base, recipe.resolution, &original, &target, mask.as_ref())?,
        named: Some(example.clone()),
    })
}

/// What makes two copiers the same: the base and what is said of it, its VAE, the pictures as they are
/// trained with their captions, and every number that decides about the pass.
///
/// # Errors
/// When a prompt cannot be read.
pub fn fingerprint(base: &Base, job: &PreparedJob) -> Result<String, EngineError> {
    let recipe = &job.recipe;
    let mut hash = Sha256::new();
    hash.update(base.hash.as_bytes());
    // How strongly it acts later is no part of it.
    let copier = CopierRecipe {
        strength: Strength::constant(1.0),
        ..recipe.copier.clone()
    };
    for example in &job.examples {
        let fitted = &example.pictures.original;
        let prompt = example.prompt(recipe);
        hash.update(fitted.width().to_le_bytes());
        hash.update(fitted.height().to_le_bytes());
        hash.update(fitted.pixels());
        hash.update(codec::encode(&(recipe.seed, &prompt, &copier)));
        // A prompt that was always read like this finds the copiers from before there was a syntax.
        let syntax = recipe.prompt_syntax;
        if !base.reads_alike(&prompt, syntax, PromptSyntax::Cut)? {
            hash.update(codec::encode(&syntax));
        }
        let weight = example.example().weight;
        // One alone weighs as much as all.
        if job.examples.len() > 1 {
            hash.update(codec::encode(&weight));
        }
    }
    let dropout = recipe.caption_dropout;
    if dropout.get() > 0.0 {
        hash.update(codec::encode(&dropout));
    }
    if recipe.augment != AugmentRecipe::NONE {
        hash.update(codec::encode(&recipe.augment));
    }
    // The same for bases that are as they are.
    if !base.said().is_nothing() {
        hash.update(codec::encode(base.said()));
    }
    if let Some(vae) = base.vae_file() {
        hash.update(vae.sha256.as_bytes());
    }
    Ok(BlobId::from_sha256(hash.finalize().into()).to_string())
}

/// Size at which a picture is trained and drawn.
///
/// # Errors
/// When it cannot be.
pub fn fitted_size(
    base: &Base,
    picture: &Rgb,
    resolution: Option<Resolution>,
) -> Result<(u32, u32), EngineError> {
    let fit = base
        .sizing(resolution)
        .fit(picture.width(), picture.height())?;
    Ok((fit.width(), fit.height()))
}

/// What a run would find wrong with the pictures, minutes later; their size.
///
/// # Errors
/// When they make no pair.
pub fn check_pair(
    original: &[u8],
    target: &[u8],
    mask: Option<&[u8]>,
) -> Result<(u32, u32), ImageError> {
    let original = decode(original)?.picture;
    let target = decode(target)?.picture;
    let difference = Difference::between(&original, &target)?;
    if let Some(mask) = mask {
        check_mask(&decode_mask(mask)?, &difference)?;
    }
    Ok((original.width(), original.height()))
}

/// The same for a picture that differs in nothing.
///
/// # Errors
/// When it cannot be read, or its mask has another size.
pub fn check_alone(picture: &[u8], mask: Option<&[u8]>) -> Result<(u32, u32), ImageError> {
    let picture = decode(picture)?.picture;
    if let Some(mask) = mask {
        decode_mask(mask)?.check_on(&picture)?;
    }
    Ok((picture.width(), picture.height()))
}

/// Whether a mask can be used with a pair.
///
/// # Errors
/// When it has another size, nothing is painted, or it leaves out practically all that differs.
pub fn check_mask(mask: &Mask, difference: &Difference) -> Result<(), ImageError> {
    MaskView::new(&difference.without_noise(), mask)?.check()
}
