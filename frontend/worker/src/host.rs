//! What the server asks of a browser: bases, uploaded files, and the device.

use std::rc::Rc;
use std::sync::Arc;

use futures_channel::oneshot;
use mimeo_engine::Compute;
use mimeo_engine::memory::BaseShape;
use mimeo_image::decode;
use mimeo_protocol::{
    BaseId, BaseInfo, BlobId, DeviceInfo, FileId, JobProgress, Rejection, ServerMessage, VaeId,
    VaeInfo,
};
use mimeo_service::plan::Room;
use mimeo_service::{Answer, Host, Program, Server, Task, rules};

use crate::bases::{missing, missing_vae};
use crate::disk::Disk;
use crate::inbox::Inbox;
use crate::machine::Machine;
use crate::places::{blob_path, lora_path};
use crate::{Desk, page};

/// A program in a page has no more memory than this, whatever the machine has.
const HEAP_BYTES: u64 = 4 << 30;

/// What jobs may take.
pub fn room() -> Room {
    // Of a GPU's memory a browser tells nothing but the largest piece.
    match page::largest_buffer() {
        Some(largest) => Room {
            largest_bytes: Some(largest),
            ..Room::default()
        },
        None => Room {
            available_bytes: Some(HEAP_BYTES),
            ..Room::default()
        },
    }
}

/// All that the worker works with.
pub type Worker = Server<Desk, Browser>;

/// The page's own browser.
pub struct Browser {
    /// Where files are kept.
    pub disk: Rc<Disk>,
    /// What computes.
    pub machine: Machine,
    /// What the page is told of it.
    pub device: DeviceInfo,
    /// Pictures and measurements that were asked for.
    pub inbox: Inbox<Asked>,
}

/// A task, and who waits for its answer.
#[derive(Debug)]
pub struct Asked {
    /// What to do.
    pub task: Task,
    /// Takes the answer.
    pub answer: oneshot::Sender<ServerMessage>,
}

impl Asked {
    /// Answers; whoever asked waits for as long as the worker lives.
    pub fn answer(self, answer: ServerMessage) {
        _ = self.answer.send(answer);
    }
}

impl Host for Browser {
    const PROGRAM: Program = Program {
        app: concat!("browser ", env!("CARGO_PKG_VERSION")),
        title: "the browser's trainer",
        elsewhere: "with the companion",
    };

    fn device(&self) -> &DeviceInfo {
        &self.device
    }

    async fn devices(&self) -> Vec<DeviceInfo> {
        vec![self.device.clone()]
    }

    fn compute(&self) -> &Compute {
        &self.machine.compute
    }

    fn room(&self) -> Room {
        room()
    }

    async fn bases(&self) -> Answer<Vec<BaseInfo>> {
        let bases = self.machine.bases.list().await;
        // Runs may wait for one that came just now. The answer is first: what computes answers nothing.
        self.inbox.ring();
        Ok(bases)
    }

    fn check_base(&self, id: &BaseId) -> Answer<()> {
        match self.machine.bases.has(id) {
            true => Ok(()),
            false => Err(missing(id)),
        }
    }

    async fn vaes(&self) -> Answer<Vec<VaeInfo>> {
        Ok(self.machine.bases.list_vaes())
    }

    async fn check_vae(&self, id: &VaeId) -> Answer<()> {
        match self.machine.bases.has_vae(id) {
            true => Ok(()),
            false => Err(missing_vae(id)),
        }
    }

    async fn shape(&self, id: &BaseId, vae: Option<&VaeId>) -> Answer<Arc<BaseShape>> {
        self.machine.bases.shape(id, vae).await
    }

    async fn has_picture(&self, id: BlobId) -> bool {
        self.disk.blob(&blob_path(id)).await.is_some()
    }

    async fn picture(&self, id: BlobId) -> Answer<Vec<u8>> {
        let found = self.disk.read(&blob_path(id)).await;
        found.ok_or_else(|| rules::missing_picture(id))
    }

    async fn picture_size(&self, id: BlobId) -> Option<(u32, u32)> {
        let bytes = self.disk.read(&blob_path(id)).await?;
        let picture = decode(&bytes).ok()?.picture;
        Some((picture.width(), picture.height()))
    }

    async fn has_lora(&self, id: BlobId) -> bool {
        self.disk.blob(&lora_path(id)).await.is_some()
    }

    /// A worker has one thread.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Answer<T> {
        Ok(work())
    }

    async fn perform(&self, task: Task) -> Answer<ServerMessage> {
        let (answer, answered) = oneshot::channel();
        self.inbox.push(Asked { task, answer });
        answered.await.map_err(|_gone| fault())
    }

    async fn reveal(&self, _: FileId) -> Answer<()> {
        let message =
            "the file is kept inside the browser, where no folder shows it. Download it instead.";
        Err(Rejection::Failed {
            message: message.to_owned(),
        })
    }

    /// Nothing runs before the page was welcomed.
    fn progress(&self) -> Option<JobProgress> {
        None
    }

    fn wake(&self) {
        self.inbox.ring();
    }

    fn nudge(&self) {
        self.inbox.ring();
    }
}

fn fault() -> Rejection {
    Rejection::Failed {
        message: "this ended with a fault of Mimeo or of the browser. Reload the page.".to_owned(),
    }
}
