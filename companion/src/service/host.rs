//! What the server asks of this computer: bases, uploaded files, the device and the screen.

use std::path::PathBuf;
use std::sync::Arc;

use mimeo_engine::Compute;
use mimeo_engine::memory::BaseShape;
use mimeo_protocol::{
    BaseId, BaseInfo, BlobId, DeviceInfo, FileId, JobProgress, Rejection, ServerMessage, VaeId,
    VaeInfo,
};
use mimeo_service::plan::Room;
use mimeo_service::{Answer, Host, Program, Task, rules};
use tokio::sync::watch;

use super::bases::Bases;
use super::blobs::Blobs;
use super::folder::DataFolder;
use super::loras::Loras;
use super::memory::Memory;
use super::reveal::reveal;
use super::store::SqliteStore;
use super::trainer::TrainingThread;

/// The program and version that a companion calls itself.
const APP: &str = concat!("Mimeo ", env!("CARGO_PKG_VERSION"));

/// This computer.
pub struct Companion {
    /// Pictures.
    pub blobs: Blobs,
    /// Uploaded LoRAs.
    pub loras: Loras,
    /// Checkpoints.
    pub bases: Bases,
    /// Where everything is.
    pub folder: Arc<DataFolder>,
    /// Which files there are, and which jobs wait.
    pub store: SqliteStore,
    /// What computes here.
    pub device: DeviceInfo,
    /// The device.
    pub compute: Compute,
    /// What a job may take.
    pub memory: Memory,
    /// The training thread.
    pub trainer: TrainingThread,
    /// How far the running job is.
    pub progress: watch::Receiver<Option<JobProgress>>,
    /// Whether only this computer can ask.
    pub is_local: bool,
}

impl Companion {
    /// The place of a file that is there.
    async fn file(&self, id: FileId) -> Answer<PathBuf> {
        let found = self.store.file(id).await?;
        let place = found.map(|(_, path)| self.folder.file(&path));
        let place = place.filter(|place| place.is_file());
        place.ok_or_else(|| rules::missing_file(id))
    }
}

impl Host for Companion {
    const PROGRAM: Program = Program {
        app: APP,
        title: "the companion",
        elsewhere: "on another device",
    };

    fn device(&self) -> &DeviceInfo {
        &self.device
    }

    async fn devices(&self) -> Vec<DeviceInfo> {
        let offers = tokio::task::spawn_blocking(|| {
            mimeo_engine::runtime::block_on(mimeo_engine::Compute::offers())
        });
        let others = offers.await.unwrap_or_default().into_iter();
        let others = others
            .filter(|offer| offer.name != self.device.name)
            .map(|offer| DeviceInfo {
                reason: if offer.is_software {
                    "a software adapter, slower than the CPU itself".to_owned()
                } else {
                    "start the companion with --device gpu to use it".to_owned()
                },
                is_gpu: !offer.is_software,
                name: offer.name,
                memory_bytes: None,
                in_use: false,
            });
        let others: Vec<DeviceInfo> = others.collect();
        std::iter::once(self.device.clone()).chain(others).collect()
    }

    fn compute(&self) -> &Compute {
        &self.compute
    }

    fn room(&self) -> Room {
        self.memory.room()
    }

    async fn bases(&self) -> Answer<Vec<BaseInfo>> {
        let bases = self.bases.clone();
        self.aside(move || bases.list()).await
    }

    fn check_base(&self, id: &BaseId) -> Answer<()> {
        self.bases.check(id)
    }

    /// Of the folders as they were when the bases were listed.
    async fn vaes(&self) -> Answer<Vec<VaeInfo>> {
        let bases = self.bases.clone();
        self.aside(move || bases.list_vaes()).await
    }

    async fn check_vae(&self, id: &VaeId) -> Answer<()> {
        let (bases, id) = (self.bases.clone(), id.clone());
        self.aside(move || bases.vae(&id).map(drop)).await?
    }

    async fn shape(&self, id: &BaseId, vae: Option<&VaeId>) -> Answer<Arc<BaseShape>> {
        let (bases, id, vae) = (self.bases.clone(), id.clone(), vae.cloned());
        self.aside(move || bases.shape(&id, vae.as_ref())).await?
    }

    async fn has_picture(&self, id: BlobId) -> bool {
        self.blobs.has(id)
    }

    async fn picture(&self, id: BlobId) -> Answer<Vec<u8>> {
        let blobs = self.blobs.clone();
        let bytes = self.aside(move || blobs.read(id)).await?;
        bytes.map_err(|error| Rejection::Failed {
            message: error.to_string(),
        })
    }

    async fn picture_size(&self, id: BlobId) -> Option<(u32, u32)> {
        let blobs = self.blobs.clone();
        self.aside(move || blobs.size(id)).await.ok().flatten()
    }

    async fn has_lora(&self, id: BlobId) -> bool {
        self.loras.find(id).is_some()
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Answer<T> {
        // It would hold up every connection.
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_panicked| fault())
    }

    async fn perform(&self, task: Task) -> Answer<ServerMessage> {
        if let Task::Score { file, .. } = &task {
            self.file(*file).await?;
        }
        let answer = self.trainer.ask(task)?.await;
        answer.map_err(|_gone| fault())
    }

    async fn reveal(&self, file: FileId) -> Answer<()> {
        if !self.is_local {
            let message = "the companion is on the network, so the folder would open on its own computer and not on yours. Download the file instead.";
            return Err(Rejection::Failed {
                message: message.to_owned(),
            });
        }
        let place = self.file(file).await?;
        let show = move || {
            reveal(&place).map_err(|error| Rejection::Failed {
                message: format!(
                    "no file manager could be started ({error}). Open the folder yourself: {path:?}",
                    path = place.display().to_string()
                ),
            })
        };
        self.aside(show).await?
    }

    fn progress(&self) -> Option<JobProgress> {
        self.progress.borrow().clone()
    }

    fn wake(&self) {
        self.store.queue.wake();
    }

    fn nudge(&self) {
        self.trainer.nudge();
    }
}

fn fault() -> Rejection {
    Rejection::Failed {
        message: "this ended with a fault of Mimeo or of the device's driver (see the companion's terminal). Try it again, or on another device.".to_owned(),
    }
}
