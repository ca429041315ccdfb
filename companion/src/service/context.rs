//! All that the training thread works with.

use std::sync::Arc;
use std::time::Duration;

use mimeo_engine::Compute;
use mimeo_protocol::{JobId, JobProgress, Transition};
use mimeo_service::Store as _;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::bases::Bases;
use super::blobs::Blobs;
use super::folder::DataFolder;
use super::loras::Loras;
use super::memory::Memory;
use super::store::SqliteStore;
use crate::console;

/// All that the training thread works with.
pub struct Context {
    /// Jobs and files.
    pub store: SqliteStore,
    /// Pictures.
    pub blobs: Blobs,
    /// Uploaded LoRAs.
    pub loras: Loras,
    /// Checkpoints.
    pub bases: Bases,
    /// Where everything is.
    pub folder: Arc<DataFolder>,
    /// The device.
    pub compute: Compute,
    /// What a job may take of it.
    pub memory: Memory,
    /// Time between saves of the running job's state.
    pub save_every: Duration,
    /// How far the running job is.
    pub progress: watch::Sender<Option<JobProgress>>,
    /// Where the database's futures run.
    pub runtime: Handle,
}

impl Context {
    /// Waits for a future of the database; only on the training thread.
    pub fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Notes that a job failed, as far as that can be noted.
    pub fn fail(&self, job: JobId, message: &str) {
        let transition = Transition::Fail {
            message: message.to_owned(),
        };
        if let Err(error) = self.wait_for(self.store.change_state(job, transition)) {
            console::err(&format!(
                "error: job {job} failed ({message}), which could not be noted ({error})."
            ));
        }
    }
}
