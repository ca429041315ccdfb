//! Pictures and scores that a user asks for, between the steps of a run.

use mimeo_engine::sample::sample;
use mimeo_engine::{
    Base, InpaintRequest, LoadedLora, LoraStack, Rest, SampleRequest, Unsteered, inpaint,
    score_file,
};
use mimeo_image::{Rgb, decode, decode_mask, encode_png};
use mimeo_protocol::{
    BaseId, BlobId, Canvas, FileId, GuidanceRescale, JobName, LoraRef, PreviewRequest, Rejection,
    RequestId, Scores, ServerMessage, TrainJob, VaeId,
};

use crate::error::{ServiceError, in_full};
use crate::prepare::{decoded, fitted_size};
use crate::runner::{Runner, Turns, WantedBase};
use crate::shelf::{Shelf, read_lora, read_picture};
use crate::store::StoredJob;

/// Something small to do on a base, for which somebody waits.
#[derive(Debug)]
pub enum Task {
    /// Draw a picture.
    Preview {
        /// Number of the request.
        request: RequestId,
        /// What to draw.
        preview: Box<PreviewRequest>,
    },
    /// Measure a LoRA on the pair of the job that made it.
    Score {
        /// Number of the request.
        request: RequestId,
        /// The job.
        job: Box<StoredJob>,
        /// The LoRA.
        file: FileId,
    },
    /// Put a LoRA beside a base, to see whether it fits.
    Fit {
        /// Number of the request.
        request: RequestId,
        /// The LoRA.
        lora: BlobId,
        /// What people call it.
        name: JobName,
        /// The base.
        base: BaseId,
        /// The VAE that goes with it; none: its own.
        vae: Option<VaeId>,
    },
}

impl Task {
    /// The base that it needs.
    #[must_use]
    pub const fn base(&self) -> &BaseId {
        match self {
            Self::Preview { preview, .. } => &preview.base,
            Self::Score { job, .. } => &job.job.base,
            Self::Fit { base, .. } => base,
        }
    }

    /// The same, as it needs it.
    fn wanted(&self) -> WantedBase<'_> {
        match self {
            Self::Preview { preview, .. } => WantedBase::of_preview(preview),
            Self::Score { job, .. } => WantedBase::of_job(&job.job),
            Self::Fit { base, vae, .. } => WantedBase {
                vae: vae.as_ref(),
                ..WantedBase::plain(base)
            },
        }
    }

    /// The answer that it cannot be done.
    #[must_use]
    pub const fn refused(&self, reason: Rejection) -> ServerMessage {
        let (Self::Preview { request, .. }
        | Self::Score { request, .. }
        | Self::Fit { request, .. }) = self;
        ServerMessage::Rejected {
            request: Some(*request),
            reason,
        }
    }
}

/// Does a task; its answer.
pub async fn perform(runner: &impl Runner, task: &Task) -> ServerMessage {
    match answer(runner, task).await {
        Ok(answer) => answer,
        Err(error) => {
            let message = in_full(&error);
            task.refused(Rejection::Failed { message })
        }
    }
}

async fn answer(runner: &impl Runner, task: &Task) -> Result<ServerMessage, ServiceError> {
    let base = runner.base(task.wanted(), &mut |_| ()).await;
    let base = base.map_err(ServiceError::Unreadable)?;
    let rest = &mut Turns(runner);
    Ok(match task {
        Task::Preview { request, preview } => ServerMessage::Preview {
            request: *request,
            picture: Box::pin(draw(&base, preview, runner, rest)).await?,
        },
        Task::Score { request, job, file } => ServerMessage::Scored {
            request: *request,
            scores: Box::pin(score(&base, &job.job, *file, runner, rest)).await?,
        },
        Task::Fit {
            request,
            lora,
            name,
            ..
        } => {
            let (file, _) = read_lora(&LoraRef::Uploaded { lora: *lora }, runner).await?;
            LoadedLora::new(&base, &file, name.as_str())?;
            ServerMessage::Done { request: *request }
        }
    })
}

/// Draws a picture and keeps it.
async fn draw(
    base: &Base,
    request: &PreviewRequest,
    shelf: &impl Shelf,
    rest: &mut impl Rest,
) -> Result<BlobId, ServiceError> {
    let mut loaded = Vec::new();
    for (lora, strength) in &request.loras {
        let (file, name) = read_lora(lora, shelf).await?;
        loaded.push((LoadedLora::new(base, &file, &name)?, *strength));
    }
    let mut stack = LoraStack::none();
    for (lora, strength) in &loaded {
        stack = stack.with(&lora.network, strength.get());
    }
    let side = base.native_side();
    let rescale = request.guidance_rescale.map(GuidanceRescale::get);
    let picture = match request.canvas {
        Canvas::Native => draw_new(base, request, (side, side), &stack, rest).await?,
        Canvas::Like {
            picture,
            resolution,
        } => {
            let like = decode(&read_picture(picture, shelf).await?)?.picture;
            let size = fitted_size(base, &like, resolution)?;
            draw_new(base, request, size, &stack, rest).await?
        }
        Canvas::Inpaint { picture, mask } => {
            let picture = decode(&read_picture(picture, shelf).await?)?.picture;
            let mask = decode_mask(&read_picture(mask, shelf).await?)?;
            let (prompt, seed) = (&request.prompt, request.seed);
            let usual = InpaintRequest::new(base, &picture, &mask, prompt, seed);
            let inpainting = InpaintRequest {
                negative_prompt: &request.negative_prompt,
                syntax: request.prompt_syntax,
                guidance_rescale: rescale.unwrap_or(usual.guidance_rescale),
                ..usual
            };
            inpaint(base, &inpainting, &stack, rest).await?
        }
    };
    let kept = shelf.keep_picture(&encode_png(&picture)?).await;
    kept.map_err(ServiceError::Unreadable)
}

async fn draw_new(
    base: &Base,
    request: &PreviewRequest,
    size: (u32, u32),
    stack: &LoraStack<'_>,
    rest: &mut impl Rest,
) -> Result<Rgb, ServiceError> {
    let pictures = vec![(request.prompt.clone(), request.seed)];
    let usual = SampleRequest::new(base, pictures);
    let rescale = request.guidance_rescale.map(GuidanceRescale::get);
    let sample_request = SampleRequest {
        size,
        negative_prompt: request.negative_prompt.clone(),
        syntax: request.prompt_syntax,
        guidance_rescale: rescale.unwrap_or(usual.guidance_rescale),
        ..usual
    };
    let drawn = sample(base, &sample_request, stack, rest).await?;
    let drawn = drawn.into_iter().next();
    drawn.ok_or(ServiceError::Nothing { done: "drawn" })
}

/// Measures a LoRA on the pair of a job.
async fn score(
    base: &Base,
    job: &TrainJob,
    file: FileId,
    shelf: &impl Shelf,
    rest: &mut impl Rest,
) -> Result<Scores, ServiceError> {
    let (lora, _) = read_lora(&LoraRef::File { file }, shelf).await?;
    let network = LoadedLora::new(base, &lora, "the LoRA")?.network;
    let mut prepared = decoded(base, job, shelf).await?;
    prepared.scores = true;
    let control = &mut Unsteered(rest);
    let scored = score_file(base, &prepared, &network, control);
    let scores = Box::pin(scored).await?;
    scores.ok_or(ServiceError::Nothing { done: "measured" })
}
