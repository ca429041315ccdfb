//! Pictures and scores that a user asks for, on the training thread.

use mimeo_engine::sample::sample;
use mimeo_engine::{Base, LoadedLora, LoraStack, SampleRequest, runtime, score_file};
use mimeo_image::encode_png;
use mimeo_protocol::{BlobId, PreviewRequest, Rejection, Scores};

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
            _ = answer.send(draw(context, base, &task.job, &request).map_err(failed));
        }
        TaskKind::Score(path, answer) => {
            _ = answer.send(score(context, base, &task.job, &path).map_err(failed));
        }
    }
}

/// Tells whoever asked that it cannot be done.
pub fn refuse(task: Task, message: String) {
    let rejection = Rejection::Failed { message };
    match task.kind {
        TaskKind::Preview(_, answer) => _ = answer.send(Err(rejection)),
        TaskKind::Score(_, answer) => _ = answer.send(Err(rejection)),
    }
}

fn draw(
    context: &Context,
    base: &Base,
    job: &StoredJob,
    request: &PreviewRequest,
) -> anyhow::Result<BlobId> {
    let mut loaded = Vec::new();
    for (file, strength) in &request.loras {
        let found = context.wait_for(context.store.file(*file))?;
        let (file, path) = found.ok_or_else(|| {
            anyhow::anyhow!("the file {file} is not here any more. Choose another LoRA.")
        })?;
        let lora = run::read_lora(context, &path)?;
        loaded.push((LoadedLora::new(base, &lora, &file.name)?, *strength));
    }
    let mut stack = LoraStack::none();
    for (lora, strength) in &loaded {
        stack = stack.with(&lora.network, strength.get());
    }
    let prepared = run::decoded(context, job)?;
    let sample_request = SampleRequest {
        size: run::fitted_size(base, &prepared)?,
        ..SampleRequest::new(base, vec![(request.prompt.clone(), request.seed)])
    };
    let drawn = runtime::block_on(sample(base, &sample_request, &stack, |_| ()))?;
    let picture = drawn
        .first()
        .ok_or_else(|| anyhow::anyhow!("nothing was drawn. Please report this."))?;
    Ok(context.blobs.keep(&encode_png(picture)?)?)
}

fn score(context: &Context, base: &Base, job: &StoredJob, path: &str) -> anyhow::Result<Scores> {
    let lora = run::read_lora(context, path)?;
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
