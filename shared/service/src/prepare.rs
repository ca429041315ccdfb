//! A job's pictures and copier, from where the server keeps them to what the engine takes.

use mimeo_checkpoint::LoraFile;
use mimeo_engine::{Base, EngineError, PreparedJob, StateError};
use mimeo_image::{
    Difference, Fit, ImageError, Mask, MaskView, Rgb, decode, decode_mask, fit_pair,
};
use mimeo_protocol::{
    BlobId, CopierChoice, CopierId, JobEventKind, JobId, LoraRef, Method, PromptSyntax, TrainJob,
    codec,
};
use sha2::{Digest as _, Sha256};

use crate::bases::Origin;
use crate::error::ServiceError;

/// What a request names by its id, wherever the server keeps it.
pub trait Shelf {
    /// The bytes of a picture; or in one sentence why it cannot be read.
    fn picture(&self, id: BlobId) -> impl Future<Output = Result<Vec<u8>, String>>;

    /// A LoRA and what people call it; or in one sentence why it cannot be read.
    fn lora(&self, lora: &LoraRef) -> impl Future<Output = Result<(LoraFile, String), String>>;
}

/// A job whose turn has come.
#[derive(Debug, Clone)]
pub struct JobToRun {
    /// Its number.
    pub id: JobId,
    /// What was asked for.
    pub job: TrainJob,
    /// The finished copier that it builds upon, if it began with one before.
    pub copier: Option<CopierId>,
}

impl JobToRun {
    /// Which finished copier to build upon; none: a new one is trained.
    ///
    /// - `has_state`: whether the job goes on from a saved state
    /// - `finished`: looks for one of the job's fingerprint
    ///
    /// # Errors
    /// That of `finished`.
    pub fn choose_copier<E>(
        &self,
        has_state: bool,
        finished: impl FnOnce() -> Result<Option<CopierId>, E>,
    ) -> Result<Option<CopierId>, E> {
        if self.copier.is_some() {
            return Ok(self.copier);
        }
        // A job that went on without one has begun its own.
        if has_state {
            return Ok(None);
        }
        match self.job.copier {
            CopierChoice::New => Ok(None),
            CopierChoice::Given(id) => Ok(Some(id)),
            CopierChoice::Cached => finished(),
        }
    }
}

/// A job with its pictures; a finished copier is still to be put in.
#[derive(Debug)]
pub struct Prepared {
    /// For the engine.
    pub job: PreparedJob,
    /// Of the picture as it is trained.
    pub pixels: u64,
    /// Of base, picture and recipe; none where no copier is needed.
    pub fingerprint: Option<String>,
}

/// The job's pictures, decoded, and all else that training needs of it.
///
/// # Errors
/// When a picture or a prompt cannot be read or used.
pub async fn prepared(
    base: &Base,
    job: &TrainJob,
    shelf: &impl Shelf,
) -> Result<Prepared, ServiceError> {
    let mut prepared = decoded(job, shelf).await?;
    let (width, height) = fitted_size(base, &prepared.original)?;
    if job.scores {
        prepared.held_out_prompts = Origin::of(&job.base).unseen_prompts();
    }
    if let Some(plan) = &job.previews {
        // Now rather than at the first preview, which would end a run that has come far.
        base.check_prompt(&plan.prompt, job.recipe.prompt_syntax)?;
    }
    let fingerprint = match job.recipe.method {
        Method::Copier => Some(fingerprint(base, &prepared)?),
        Method::Addift | Method::Plain => None,
    };
    Ok(Prepared {
        job: prepared,
        pixels: u64::from(width) * u64::from(height),
        fingerprint,
    })
}

/// The job with its pictures, without what only training needs.
///
/// # Errors
/// When a picture cannot be read or used.
pub async fn decoded(job: &TrainJob, shelf: &impl Shelf) -> Result<PreparedJob, ServiceError> {
    Ok(PreparedJob {
        name: job.name.to_string(),
        original: decode(&read(job.original, shelf).await?)?.picture,
        target: decode(&read(job.target, shelf).await?)?.picture,
        mask: match job.mask {
            Some(mask) => Some(decode_mask(&read(mask, shelf).await?)?),
            None => None,
        },
        pair: Some(job.pair()),
        recipe: job.recipe.clone(),
        copier: None,
        held_out_prompts: Vec::new(),
    })
}

/// What a job whose saved state is damaged, or of another version, says of that.
#[must_use]
pub fn unusable_state(error: &StateError) -> JobEventKind {
    JobEventKind::Note {
        text: format!("The saved state cannot be used ({error}), so the run starts anew."),
    }
}

pub(crate) async fn read(id: BlobId, shelf: &impl Shelf) -> Result<Vec<u8>, ServiceError> {
    shelf.picture(id).await.map_err(ServiceError::Unreadable)
}

/// What makes two copiers the same: the base, the picture as it is trained, and every number that
/// decides about the pass.
///
/// # Errors
/// When the pictures cannot be trained on, or the prompt cannot be read.
pub fn fingerprint(base: &Base, job: &PreparedJob) -> Result<String, EngineError> {
    let fitted = fitted(base, job)?;
    let recipe = &job.recipe;
    let mut hash = Sha256::new();
    hash.update(base.hash.as_bytes());
    hash.update(fitted.width().to_le_bytes());
    hash.update(fitted.height().to_le_bytes());
    hash.update(fitted.pixels());
    hash.update(codec::encode(&(
        recipe.seed,
        &recipe.prompt,
        &recipe.copier,
    )));
    // A prompt that was always read like this finds the copiers from before there was a syntax.
    let syntax = recipe.prompt_syntax;
    if !base.reads_alike(&recipe.prompt, syntax, PromptSyntax::Cut)? {
        hash.update(codec::encode(&syntax));
    }
    Ok(BlobId::from_sha256(hash.finalize().into()).to_string())
}

/// Size at which a picture is trained and drawn.
///
/// # Errors
/// When it cannot be.
pub fn fitted_size(base: &Base, picture: &Rgb) -> Result<(u32, u32), EngineError> {
    let (multiple, side) = (base.side_multiple(), base.native_side());
    let fit = Fit::new(picture.width(), picture.height(), multiple, side)?;
    Ok((fit.width(), fit.height()))
}

/// A as it is trained.
fn fitted(base: &Base, job: &PreparedJob) -> Result<Rgb, EngineError> {
    let (multiple, side) = (base.side_multiple(), base.native_side());
    let fitted = fit_pair(
        &job.original,
        &job.target,
        job.mask.as_ref(),
        multiple,
        side,
    )?;
    Ok(fitted.original)
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

/// Whether a mask can be used with a pair.
///
/// # Errors
/// When it has another size, nothing is painted, or it leaves out practically all that differs.
pub fn check_mask(mask: &Mask, difference: &Difference) -> Result<(), ImageError> {
    MaskView::new(&difference.without_noise(), mask)?.check()
}
