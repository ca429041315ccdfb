//! Pictures and measurements that the page asks for, between the steps of a run.

use mimeo_checkpoint::{LoraFile, MemoryFile};
use mimeo_protocol::{
    BaseId, BlobId, FileId, JobId, LoraRef, PreviewRequest, Rejection, RequestId, Scores,
    ServerMessage,
};
use mimeo_service::{Shelf, blob, draw, rules};

use crate::drive::drive;
use crate::page;
use crate::server::{blob_path, file_path, lora_path};
use crate::trainer::Worker;

/// Something small to do on a base.
#[derive(Debug)]
pub enum Task {
    /// Draw a picture.
    Preview {
        /// Number of the request.
        request: RequestId,
        /// What to draw.
        preview: PreviewRequest,
    },
    /// Measure a LoRA on the pair of the job that made it.
    Score {
        /// Number of the request.
        request: RequestId,
        /// The job.
        job: JobId,
        /// The LoRA.
        file: FileId,
    },
}

impl Task {
    /// Whether it can be done while a job on this base has the device.
    pub fn fits(&self, worker: &Worker, running: &BaseId) -> bool {
        self.base(worker).as_ref() == Some(running)
    }

    /// The base that it needs.
    fn base(&self, worker: &Worker) -> Option<BaseId> {
        match self {
            Self::Preview { preview, .. } => Some(preview.base.clone()),
            Self::Score { job, .. } => {
                let ledger = worker.ledger.borrow();
                ledger.job(*job).map(|entry| entry.job.base.clone())
            }
        }
    }
}

/// Does a task and tells the page.
pub async fn perform(worker: &Worker, task: Task) {
    let failed = |message: String| Rejection::Failed { message };
    let answer = match task {
        Task::Preview { request, preview } => draw(worker, &preview)
            .await
            .map(|picture| ServerMessage::Preview { request, picture })
            .map_err(|message| (request, failed(message))),
        Task::Score { request, job, file } => score(worker, job, file)
            .await
            .map(|scores| ServerMessage::Scored { request, scores })
            .map_err(|message| (request, failed(message))),
    };
    page::send(&answer.unwrap_or_else(|(request, reason)| {
        let request = Some(request);
        ServerMessage::Rejected { request, reason }
    }));
}

/// Tells the page that a task cannot be done for as long as a job is paused.
pub fn refuse(task: &Task) {
    let (Task::Preview { request, .. } | Task::Score { request, .. }) = task;
    page::send(&ServerMessage::Rejected {
        request: Some(*request),
        reason: rules::base_is_held(),
    });
}

async fn draw(worker: &Worker, request: &PreviewRequest) -> Result<BlobId, String> {
    let base = worker.base(&request.base, &mut |_| ()).await?;
    let drawn = drive(draw::draw(&base, request, worker)).await;
    let png = drawn.map_err(|error| error.to_string())?;
    let id = blob::id_of(&png);
    let written = worker.disk.write(&blob_path(id), &png).await;
    written.map(|()| id).map_err(|error| error.to_string())
}

async fn score(worker: &Worker, job: JobId, file: FileId) -> Result<Scores, String> {
    let entry = worker.ledger.borrow().job(job).cloned();
    let job = entry
        .ok_or_else(|| rules::missing_job(job).to_string())?
        .job;
    let base = worker.base(&job.base, &mut |_| ()).await?;
    let (lora, _) = worker.lora(&LoraRef::File { file }).await?;
    let scored = drive(draw::score(&base, &job, &lora, worker)).await;
    scored.map_err(|error| error.to_string())
}

impl Shelf for Worker {
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
pub async fn read_lora(worker: &Worker, path: &str, name: &str) -> Result<LoraFile, String> {
    let gone = || format!("{name} is not here any more. Choose another LoRA.");
    let bytes = worker.disk.read(path).await.ok_or_else(gone)?;
    let file = MemoryFile::new(name, bytes);
    let read = LoraFile::read(Box::new(file)).await;
    read.map_err(|error| error.to_string())
}
