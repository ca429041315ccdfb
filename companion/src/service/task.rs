//! Pictures and scores that a user asks for, on the training thread.

use anyhow::Context as _;
use mimeo_checkpoint::LoraFile;
use mimeo_engine::{Base, runtime};
use mimeo_protocol::{BlobId, LoraRef, PreviewRequest, Rejection, Scores};
use mimeo_service::{Shelf, StoredJob, draw};

use super::run;
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
pub fn refuse(task: Task, rejection: Rejection) {
    match task.kind {
        TaskKind::Preview(_, answer) => _ = answer.send(Err(rejection)),
        TaskKind::Score(_, _, answer) => _ = answer.send(Err(rejection)),
    }
}

fn draw(context: &Context, base: &Base, request: &PreviewRequest) -> anyhow::Result<BlobId> {
    let png = runtime::block_on(draw::draw(base, request, context))?;
    Ok(context.blobs.keep(&png)?)
}

fn score(context: &Context, base: &Base, job: &StoredJob, path: &str) -> anyhow::Result<Scores> {
    let lora = run::read_lora(&context.folder.file(path))?;
    Ok(runtime::block_on(draw::score(
        base, &job.job, &lora, context,
    ))?)
}

impl Shelf for Context {
    async fn picture(&self, id: BlobId) -> Result<Vec<u8>, String> {
        let bytes = self.blobs.read(id);
        bytes.map_err(|error| format!("the picture cannot be read ({error}). Send it again: {id}"))
    }

    async fn lora(&self, lora: &LoraRef) -> Result<(LoraFile, String), String> {
        read_lora(self, lora).map_err(|error| format!("{error:#}"))
    }
}

fn read_lora(context: &Context, lora: &LoraRef) -> anyhow::Result<(LoraFile, String)> {
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
    Ok((run::read_lora(&path)?, name))
}
