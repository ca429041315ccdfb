//! Pictures and scores that a user asks for, between the steps of a run.

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;

use mimeo_checkpoint::LoraFile;
use mimeo_engine::sample::sample;
use mimeo_engine::{
    Artifact, Base, EngineError, InpaintRequest, LoadedLora, LoraStack, Outcome, Phase,
    PreparedJob, SampleRequest, inpaint, score_file,
};
use mimeo_image::{Rgb, decode, decode_mask, encode_png};
use mimeo_protocol::{Canvas, PreviewRequest, Scores, TrainJob};

use crate::archive::Archive;
use crate::bases::Origin;
use crate::error::ServiceError;
use crate::prepare::{Shelf, decoded, fitted_size, read};
use crate::recorder::Recorder;

/// Draws a picture; a PNG.
///
/// # Errors
/// When what the request names cannot be read or used.
pub async fn draw(
    base: &Base,
    request: &PreviewRequest,
    shelf: &impl Shelf,
) -> Result<Vec<u8>, ServiceError> {
    let mut loaded = Vec::new();
    for (lora, strength) in &request.loras {
        let (file, name) = shelf.lora(lora).await.map_err(ServiceError::Unreadable)?;
        loaded.push((LoadedLora::new(base, &file, &name)?, *strength));
    }
    let mut stack = LoraStack::none();
    for (lora, strength) in &loaded {
        stack = stack.with(&lora.network, strength.get());
    }
    let side = base.native_side();
    let picture = match request.canvas {
        Canvas::Native => draw_new(base, request, (side, side), &stack).await?,
        Canvas::Like { picture } => {
            let like = decode(&read(picture, shelf).await?)?.picture;
            draw_new(base, request, fitted_size(base, &like)?, &stack).await?
        }
        Canvas::Inpaint { picture, mask } => {
            let picture = decode(&read(picture, shelf).await?)?.picture;
            let mask = decode_mask(&read(mask, shelf).await?)?;
            let inpainting = InpaintRequest {
                negative_prompt: &request.negative_prompt,
                syntax: request.prompt_syntax,
                ..InpaintRequest::new(&picture, &mask, &request.prompt, request.seed)
            };
            inpaint(base, &inpainting, &stack).await?
        }
    };
    Ok(encode_png(&picture)?)
}

async fn draw_new(
    base: &Base,
    request: &PreviewRequest,
    size: (u32, u32),
    stack: &LoraStack<'_>,
) -> Result<Rgb, ServiceError> {
    let sample_request = SampleRequest {
        size,
        negative_prompt: request.negative_prompt.clone(),
        syntax: request.prompt_syntax,
        ..SampleRequest::new(base, vec![(request.prompt.clone(), request.seed)])
    };
    let drawn = sample(base, &sample_request, stack, |_| ()).await?;
    let drawn = drawn.into_iter().next();
    drawn.ok_or(ServiceError::Nothing { done: "drawn" })
}

/// Measures a LoRA on the pair of a job.
///
/// # Errors
/// When the LoRA is for another base, or a picture cannot be read or used.
pub async fn score(
    base: &Base,
    job: &TrainJob,
    lora: &LoraFile,
    shelf: &impl Shelf,
) -> Result<Scores, ServiceError> {
    let network = LoadedLora::new(base, lora, "the LoRA")?.network;
    let mut prepared = decoded(job, shelf).await?;
    prepared.held_out_prompts = Origin::of(&job.base).unseen_prompts();
    let never = AtomicBool::new(false);
    let (control, mut emit) = (&never, |_| ());
    let scored = score_file(base, &prepared, &network, &control, &mut emit);
    let scores = Box::pin(scored).await?;
    scores.ok_or(ServiceError::Nothing { done: "measured" })
}

/// Draws the LoRA of a finished run as its job plans its previews.
///
/// # Errors
/// When the base cannot draw.
pub async fn draw_final<A: Archive>(
    base: &Base,
    prepared: &PreparedJob,
    artifact: &Artifact,
    recorder: &RefCell<Recorder<A>>,
) -> Result<(), EngineError> {
    let job = recorder.borrow().job().clone();
    let (Outcome::Finished, Some(lora), Some(plan)) =
        (&artifact.outcome, &artifact.lora, &job.previews)
    else {
        return Ok(());
    };
    let loaded = LoadedLora::new(base, lora, "the result")?;
    let request = SampleRequest {
        size: fitted_size(base, &prepared.original)?,
        syntax: job.recipe.prompt_syntax,
        ..SampleRequest::new(base, vec![(plan.prompt.clone(), plan.seed)])
    };
    let place = (Phase::Saving, job.recipe.pass.steps.get());
    for strength in &plan.strengths {
        let stack = LoraStack::none().with(&loaded.network, strength.get());
        for picture in sample(base, &request, &stack, |_| ()).await? {
            let asked = (plan.prompt.clone(), plan.seed);
            let mut recorder = recorder.borrow_mut();
            recorder.save_preview(place, *strength, asked, &picture);
        }
    }
    Ok(())
}
