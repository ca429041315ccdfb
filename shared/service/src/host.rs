//! What a server asks of the place where it runs.

use std::sync::Arc;

use mimeo_engine::Compute;
use mimeo_engine::memory::BaseShape;
use mimeo_protocol::{
    BaseId, BaseInfo, BlobId, DeviceInfo, FileId, JobProgress, Rejection, ServerMessage, VaeId,
    VaeInfo,
};

use crate::plan::Room;
use crate::task::Task;

/// What is done, or why not.
pub type Answer<T> = Result<T, Rejection>;

/// How a program is called, and its own words in sentences that are everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Name and version.
    pub app: &'static str,
    /// What it is to its user, as in "the companion".
    pub title: &'static str,
    /// Where else a job can be tried, as in "on another device".
    pub elsewhere: &'static str,
}

/// Bases, uploaded files, and whoever computes.
pub trait Host {
    /// What runs here.
    const PROGRAM: Program;

    /// What computes here.
    fn device(&self) -> &DeviceInfo;

    /// The devices of this machine, the one in use first.
    fn devices(&self) -> impl Future<Output = Vec<DeviceInfo>>;

    /// The device's handle, for estimates.
    fn compute(&self) -> &Compute;

    /// The device's memory.
    fn room(&self) -> Room;

    /// The bases that jobs can name, in the order to offer them.
    fn bases(&self) -> impl Future<Output = Answer<Vec<BaseInfo>>>;

    /// The VAEs in files of their own that jobs can name, likewise.
    fn vaes(&self) -> impl Future<Output = Answer<Vec<VaeInfo>>>;

    /// Whether there is a base of this id.
    ///
    /// # Errors
    /// When there is none, with what to do.
    fn check_base(&self, id: &BaseId) -> Answer<()>;

    /// Whether there is a VAE of this id.
    ///
    /// # Errors
    /// When there is none, with what to do.
    fn check_vae(&self, id: &VaeId) -> impl Future<Output = Answer<()>>;

    /// What estimates need to know of a base.
    ///
    /// - `vae`: with this one; none: its own
    fn shape(
        &self,
        id: &BaseId,
        vae: Option<&VaeId>,
    ) -> impl Future<Output = Answer<Arc<BaseShape>>>;

    /// Whether a picture is here.
    fn has_picture(&self, id: BlobId) -> impl Future<Output = bool>;

    /// The bytes of a picture, which is here.
    fn picture(&self, id: BlobId) -> impl Future<Output = Answer<Vec<u8>>>;

    /// Width and height of a picture, if it is here.
    fn picture_size(&self, id: BlobId) -> impl Future<Output = Option<(u32, u32)>>;

    /// Whether an uploaded LoRA is here.
    fn has_lora(&self, id: BlobId) -> impl Future<Output = bool>;

    /// Does what takes a while, such as decoding, where nobody else has to wait for it.
    fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Answer<T>>;

    /// Draws or measures once whoever computes has time for it, and answers. It was found to be
    /// possible.
    fn perform(&self, task: Task) -> impl Future<Output = Answer<ServerMessage>>;

    /// Shows a file in its folder, on this computer's screen.
    fn reveal(&self, file: FileId) -> impl Future<Output = Answer<()>>;

    /// How far the running job is.
    fn progress(&self) -> Option<JobProgress>;

    /// Tells whoever hands out jobs that one more waits.
    fn wake(&self);

    /// Tells whoever computes that something is wanted of the running job.
    fn nudge(&self);
}
