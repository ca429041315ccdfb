//! Pictures and scores that a user asks for, on the training thread.

use anyhow::Context as _;
use mimeo_engine::sample::sample;
use mimeo_engine::{
    Base, InpaintRequest, LoadedLora, LoraStack, SampleRequest, inpaint, runtime, score_file,
};
use mimeo_image::{Rgb, decode, decode_mask, encode_png};
use mimeo_protocol::{BlobId, Canvas, LoraRef, PreviewRequest, Rejection, Scores};

use super::run;
use super::store::StoredJob;
use super::trainer::{Context, Task, TaskKind};

/// Does a task and tells whoever asked; they may be gone.
pub fn perform(context: &Context, base: &Base, task: Task) {
    let failed = |error: anyhow::Error| Rejection::Failed {
        message: format!("{error:#}"),
    };
    match task.kind {
        TaskKind::Preview(request, answer) => {
            _ = answer.send(draw(context, base, &request).map_err(failed));
        }
        TaskKind::Score(job, path, answer) => {
            _ = answer.send(score(context, base, &job, &path).map_err(failed));
        }
    }
}

/// Tells whoever asked that it cannot be done.
pub fn refuse(task: Task, message: String) {
    let rejection = Rejection::Failed { message };
    match task.kind {
        TaskKind::Preview(_, answer) => _ = answer.send(Err(rejection)),
        TaskKind::Score(_, _, answer) => _ = answer.send(Err(rejection)),
    }
}

fn draw(context: &Context, base: &Base, request: &PreviewRequest) -> anyhow::Result<BlobId> {
    let mut loaded = Vec::new();
    for (lora, strength) in &request.loras {
        loaded.push((load(context, base, lora)?, *strength));
    }
    let mut stack = LoraStack::none();
    for (lora, strength) in &loaded {
        stack = stack.with(&lora.network, strength.get());
    }
    let side = base.native_side();
    let picture = match request.canvas {
        Canvas::Native => draw_new(base, request, (side, side), &stack)?,
        Canvas::Like { picture } => {
            let like = decode(&read(context, picture)?)?.picture;
            draw_new(base, request, run::fitted_size(base, &like)?, &stack)?
        }
        Canvas::Inpaint { picture, mask } => {
            let picture = decode(&read(context, picture)?)?.picture;
            let mask = decode_mask(&read(context, mask)?)?;
            let inpainting = InpaintRequest {
                negative_prompt: &request.negative_prompt,
                ..InpaintRequest::new(&picture, &mask, &request.prompt, request.seed)
            };
            runtime::block_on(inpaint(base, &inpainting, &stack))?
        }
    };
    Ok(context.blobs.keep(&encode_png(&picture)?)?)
}

fn draw_new(
    base: &Base,
    request: &PreviewRequest,
    size: (u32, u32),
    stack: &LoraStack<'_>,
) -> anyhow::Result<Rgb> {
    let sample_request = SampleRequest {
        size,
        negative_prompt: request.negative_prompt.clone(),
        ..SampleRequest::new(base, vec![(request.prompt.clone(), request.seed)])
    };
    let drawn = runtime::block_on(sample(base, &sample_request, stack, |_| ()))?;
    let drawn = drawn.into_iter().next();
    drawn.context("nothing was drawn. Please report this.")
}

fn load(context: &Context, base: &Base, lora: &LoraRef) -> anyhow::Result<LoadedLora> {
    let (path, name) = match lora {
        LoraRef::File { file } => {
            let found = context.wait_for(context.store.file(*file))?;
            let (file, path) = found.with_context(|| {
                format!("the file {file} is not here any more. Choose another LoRA.")
            })?;
            (context.folder.file(&path), file.name)
        }
        LoraRef::Uploaded { lora } => {
            let found = context.loras.find(*lora);
            let path = found.context("the uploaded LoRA is not here any more. Send it again.")?;
            (path, "the uploaded file".to_owned())
        }
    };
    Ok(LoadedLora::new(base, &run::read_lora(&path)?, &name)?)
}

/// The bytes of a picture that a request names.
pub fn read(context: &Context, picture: BlobId) -> anyhow::Result<Vec<u8>> {
    let bytes = context.blobs.read(picture);
    bytes.map_err(|error| {
        anyhow::anyhow!("the picture cannot be read ({error}). Send it again: {picture}")
    })
}

fn score(context: &Context, base: &Base, job: &StoredJob, path: &str) -> anyhow::Result<Scores> {
    let lora = run::read_lora(&context.folder.file(path))?;
    let network = LoadedLora::new(base, &lora, "the LoRA")?.network;
    let mut prepared = run::decoded(context, job)?;
    let source = context.bases.find(&job.job.base);
    prepared.held_out_prompts = source
        .map(|source| source.unseen_prompts())
        .unwrap_or_default();
    let never = std::sync::atomic::AtomicBool::new(false);
    let (control, mut emit) = (&never, |_| ());
    let scored = score_file(base, &prepared, &network, &control, &mut emit);
    let scores = runtime::block_on(scored)?;
    scores.ok_or_else(|| anyhow::anyhow!("nothing was measured. Please report this."))
}
