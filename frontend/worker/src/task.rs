//! Pictures and measurements that the page asks for, between the steps of a run.

use futures_channel::oneshot::Sender;
use mimeo_checkpoint::{LoraFile, MemoryFile};
use mimeo_protocol::{BaseId, BlobId, FileId, LoraRef, PreviewRequest, Rejection, Scores};
use mimeo_service::{Answer, Shelf, StoredJob, blob, draw, rules};

use crate::Desk;
use crate::drive::drive;
use crate::machine::Machine;
use crate::places::{blob_path, file_path, lora_path};

/// Something small to do on a base.
#[derive(Debug)]
pub struct Task {
    /// The base.
    pub base: BaseId,
    /// What to do.
    pub kind: TaskKind,
}

/// What to do, and whom to tell.
#[derive(Debug)]
pub enum TaskKind {
    /// Draw a picture.
    Preview(PreviewRequest, Sender<Answer<BlobId>>),
    /// Measure a LoRA on the pair of the job that made it.
    Score(Box<StoredJob>, FileId, Sender<Answer<Scores>>),
}

/// Does a task and tells whoever asked.
pub async fn perform(desk: &Desk, machine: &Machine, task: Task) {
    let failed = |message: String| Rejection::Failed { message };
    match task.kind {
        TaskKind::Preview(request, answer) => {
            let drawn = draw(desk, machine, &request).await;
            // Whoever asked waits for as long as the worker lives.
            _ = answer.send(drawn.map_err(failed));
        }
        TaskKind::Score(job, file, answer) => {
            let scored = score(desk, machine, &job, file).await;
            _ = answer.send(scored.map_err(failed));
        }
    }
}

/// Tells whoever asked that a task cannot be done for as long as a job is paused.
pub fn refuse(task: Task) {
    match task.kind {
        TaskKind::Preview(_, answer) => _ = answer.send(Err(rules::base_is_held())),
        TaskKind::Score(_, _, answer) => _ = answer.send(Err(rules::base_is_held())),
    }
}

async fn draw(desk: &Desk, machine: &Machine, request: &PreviewRequest) -> Result<BlobId, String> {
    let base = machine.base(&request.base, &mut |_| ()).await?;
    let drawn = drive(draw::draw(&base, request, desk)).await;
    let png = drawn.map_err(|error| error.to_string())?;
    let id = blob::id_of(&png);
    let written = desk.disk.write(&blob_path(id), &png).await;
    written.map(|()| id).map_err(|error| error.to_string())
}

async fn score(
    desk: &Desk,
    machine: &Machine,
    job: &StoredJob,
    file: FileId,
) -> Result<Scores, String> {
    let base = machine.base(&job.job.base, &mut |_| ()).await?;
    let (lora, _) = desk.lora(&LoraRef::File { file }).await?;
    let scored = drive(draw::score(&base, &job.job, &lora, desk)).await;
    scored.map_err(|error| error.to_string())
}

impl Shelf for Desk {
    async fn picture(&self, id: BlobId) -> Result<Vec<u8>, String> {
        let found = self.disk.read(&blob_path(id)).await;
        found.ok_or_else(|| rules::missing_picture(id).to_string())
    }

    async fn lora(&self, lora: &LoraRef) -> Result<(LoraFile, String), String> {
        let (path, name) = match lora {
            LoraRef::File { file } => {
                let ledger = self.ledger.borrow();
                let found = ledger.file(*file);
                let (_, found) = found.ok_or_else(|| rules::missing_file(*file).to_string())?;
                (file_path(*file), found.name.clone())
            }
            LoraRef::Uploaded { lora } => (lora_path(*lora), "the uploaded file".to_owned()),
        };
        Ok((read_lora(self, &path, &name).await?, name))
    }
}

/// A LoRA file of the worker's disk.
pub async fn read_lora(desk: &Desk, path: &str, name: &str) -> Result<LoraFile, String> {
    let gone = || format!("{name} is not here any more. Choose another LoRA.");
    let bytes = desk.disk.read(path).await.ok_or_else(gone)?;
    let file = MemoryFile::new(name, bytes);
    let read = LoraFile::read(Box::new(file)).await;
    read.map_err(|error| error.to_string())
}
