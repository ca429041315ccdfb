//! The worker's device, as jobs and tasks see it.

use std::rc::Rc;
use std::sync::Arc;

use mimeo_checkpoint::{AsyncReadAt, MemoryFile};
use mimeo_engine::{Base, Emit, PreparedJob};
use mimeo_protocol::{BaseId, BlobId, LoraRef, TrainJob};
use mimeo_service::plan::Room;
use mimeo_service::{Runner, SaveRule, Shelf, Steering, StoredJob, WantedBase, blob, rules};

use crate::archive::JobArchive;
use crate::drive::{sleep, turn};
use crate::host::{Asked, Worker, room};
use crate::machine::compiled;
use crate::places::{blob_path, file_path, lora_path};
use crate::{inbox, page};

/// What a closed tab loses at most.
const SAVE: SaveRule = SaveRule {
    secs: 15.0,
    steps: Some(10),
};
/// Milliseconds from an error of the GPU until the browser has said whether it took it away.
const WAIT_FOR_LOSS: u32 = 500;

/// What runs jobs in a worker.
pub struct WorkerRunner(pub Rc<Worker>);

impl Shelf for WorkerRunner {
    async fn picture(&self, id: BlobId) -> Result<Vec<u8>, String> {
        let found = self.0.host.disk.read(&blob_path(id)).await;
        found.ok_or_else(|| rules::missing_picture(id).to_string())
    }

    async fn lora(&self, lora: &LoraRef) -> Result<(Box<dyn AsyncReadAt>, String), String> {
        let (path, name) = match lora {
            LoraRef::File { file } => {
                let ledger = self.0.store.ledger.borrow();
                let found = ledger.file(*file);
                let (_, found) = found.ok_or_else(|| rules::missing_file(*file).to_string())?;
                (file_path(*file), found.name.clone())
            }
            LoraRef::Uploaded { lora } => (lora_path(*lora), "the uploaded file".to_owned()),
        };
        let gone = || format!("{name} is not here any more. Choose another LoRA.");
        let bytes = self.0.host.disk.read(&path).await.ok_or_else(gone)?;
        Ok((Box::new(MemoryFile::new(&name, bytes)), name))
    }

    async fn keep_picture(&self, png: &[u8]) -> Result<BlobId, String> {
        let id = blob::id_of(png);
        let written = self.0.host.disk.write(&blob_path(id), png).await;
        written.map(|()| id).map_err(|error| error.to_string())
    }
}

impl Runner for WorkerRunner {
    type Archive = JobArchive;

    fn save_rule(&self) -> SaveRule {
        SAVE
    }

    fn archive(&self, job: &StoredJob, _: &Arc<Steering>) -> JobArchive {
        JobArchive::new(Rc::clone(&self.0), job.id)
    }

    async fn base(&self, wanted: WantedBase<'_>, emit: &mut impl Emit) -> Result<Rc<Base>, String> {
        self.0.host.machine.base(wanted, emit).await
    }

    fn room(&self) -> Room {
        room()
    }

    async fn turn(&self) {
        turn().await;
    }

    async fn perform_waiting(&self, running: &BaseId) {
        inbox::perform_waiting(&self.0, |asked: &Asked| asked.task.base() == running).await;
    }

    async fn wait(&self, running: &BaseId, is_written: bool) {
        inbox::refuse_waiting(&self.0, |asked: &Asked| asked.task.base() == running);
        inbox::rest(&self.0, is_written).await;
    }

    fn wants_rehearsal(&self, job: &TrainJob, prepared: &PreparedJob) -> bool {
        page::wants_webgpu() && self.0.host.machine.is_new(job, prepared)
    }

    fn rehearsed(&self) {
        compiled(&self.0.store);
    }

    /// What the GPU was asked for may be refused before the browser says that it took it away.
    async fn is_lost(&self) -> bool {
        if page::wants_webgpu() {
            sleep(WAIT_FOR_LOSS).await;
        }
        page::is_lost()
    }
}
