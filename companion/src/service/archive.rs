//! Keeps what a running job reports and leaves, from the training thread.
//!
//! The thread waits for each write: nothing is reported that is not stored, and a disk that cannot
//! take any more stops the job where it is. Then the job is paused with a sentence and goes on by
//! itself once there is room.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mimeo_protocol::{
    CopierId, CopierInfo, FileKind, JobEventKind, JobProgress, JobState, Pace, PauseReason,
    Rejection, Transition,
};
use mimeo_service::blob::id_of;
use mimeo_service::{Archive, KeptPicture, NewCopier, Steering, Store as _, StoredJob, Trouble};

use super::blobs::BlobError;
use super::context::Context;
use super::folder::DataFolder;
use super::inbox::Inbox;
use super::store::{NewCopier as StoredCopier, NewFile, StoreError};

/// While the disk is full.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_secs(1);

/// The data folder and the database, for one job.
pub struct JobArchive {
    context: Rc<Context>,
    job: StoredJob,
    steering: Arc<Steering>,
    inbox: Rc<Inbox>,
}

impl JobArchive {
    /// The archive of a job that begins.
    pub const fn new(
        context: Rc<Context>,
        job: StoredJob,
        steering: Arc<Steering>,
        inbox: Rc<Inbox>,
    ) -> Self {
        Self {
            context,
            job,
            steering,
            inbox,
        }
    }

    /// Does a write; if the disk is full, again once there is room.
    fn persist<T>(
        &self,
        mut write: impl FnMut(&Context, &StoredJob) -> Result<T, StoreError>,
    ) -> Result<T, Trouble> {
        loop {
            match write(&self.context, &self.job) {
                Err(StoreError::DiskFull) => {
                    if !self.wait_for_room() {
                        return Err(Trouble::Ended);
                    }
                }
                written => return written.map_err(|error| Trouble::Failed(error.to_string())),
            }
        }
    }

    /// Pauses the job until there is room; whether it may go on.
    fn wait_for_room(&self) -> bool {
        let (context, job) = (&self.context, self.job.id);
        // The database needs some of it to note that the job waits.
        context.folder.release_reserve();
        let message = format!(
            "the disk of the data folder is full, so the job waits. Free some space and it goes on by itself: {:?}",
            context.folder.file("").display().to_string()
        );
        let reason = PauseReason::DiskFull {
            message: message.clone(),
        };
        let paused = context.store.change_state(job, Transition::Pause(reason));
        let is_paused = matches!(context.wait_for(paused), Ok(JobState::Paused { .. }));
        loop {
            let wishes = self.steering.wishes();
            if wishes.end.is_some() {
                return false;
            }
            // What is drawn could not be kept either.
            let full = || Rejection::Full {
                message: message.clone(),
            };
            self.inbox.refuse_for(LOOK_FOR_ROOM_EVERY, full);
            if context.folder.take_reserve().is_ok() {
                break;
            }
        }
        if is_paused {
            let resumed = context.store.change_state(job, Transition::Resume);
            // If this fails the next write tells.
            _ = context.wait_for(resumed);
        }
        true
    }
}

impl Archive for JobArchive {
    fn record(&mut self, kind: &JobEventKind) -> Result<(), Trouble> {
        self.persist(|context, job| context.wait_for(context.store.record(job.id, kind)))
    }

    fn change_state(&mut self, transition: &Transition) -> Result<(), Trouble> {
        self.persist(|context, job| {
            let change = context.store.change_state(job.id, transition.clone());
            context.wait_for(change).map(drop)
        })
    }

    fn keep_file(&mut self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<(), Trouble> {
        self.persist(|context, job| {
            let path = context.folder.results(job.id).join(name);
            write(&path, bytes)?;
            let file = NewFile {
                kind,
                name: name.to_owned(),
                path: format!("results/{}/{name}", job.id),
                bytes: bytes.len() as u64,
                sha256: id_of(bytes),
            };
            context
                .wait_for(context.store.add_file(job.id, &file))
                .map(drop)
        })
    }

    fn keep_picture(&mut self, png: &[u8]) -> Result<KeptPicture, Trouble> {
        self.persist(|context, _| match context.blobs.keep(png) {
            Err(BlobError::Full(full)) => Ok(KeptPicture::NoRoom {
                sentence: full.to_string(),
            }),
            kept => kept.map(KeptPicture::As).map_err(from_blob),
        })
    }

    fn copier_of(&mut self, fingerprint: &str) -> Result<Option<CopierId>, Trouble> {
        self.persist(|context, _| context.wait_for(context.store.copier_of(fingerprint)))
    }

    fn copier(&mut self, id: CopierId) -> Result<Option<CopierInfo>, Trouble> {
        let copiers = self.persist(|context, _| context.wait_for(context.store.copiers()))?;
        Ok(copiers.into_iter().find(|copier| copier.id == id))
    }

    fn set_copier(&mut self, id: CopierId) -> Result<(), Trouble> {
        self.persist(|context, job| context.wait_for(context.store.set_copier(job.id, id)))
    }

    fn keep_copier(&mut self, copier: NewCopier<'_>) -> Result<(), Trouble> {
        let kept = self.persist(|context, job| {
            // People see it in the folder; the fingerprint's start tells it from others of its name.
            let (name, start) = (&job.job.name, &copier.fingerprint[..12]);
            let path = format!("copiers/{name}_copy-{start}.safetensors");
            write(&context.folder.file(&path), copier.bytes)?;
            let copier = StoredCopier {
                fingerprint: copier.fingerprint.to_owned(),
                name: job.job.name.clone(),
                original: Some(copier.original),
                kind: job.job.recipe.copier.kind,
                base: job.job.base.clone(),
                fidelity: copier.fidelity,
                steps: copier.steps,
                file: NewFile {
                    kind: FileKind::Copier,
                    name: copier.file_name.to_owned(),
                    path,
                    bytes: copier.bytes.len() as u64,
                    sha256: id_of(copier.bytes),
                },
            };
            context
                .wait_for(context.store.add_copier(&copier))
                .map(drop::<CopierId>)
        });
        // If that fails, clients see it when the copiers change next.
        _ = self.context.wait_for(self.context.store.tell_copiers());
        kept
    }

    fn keep_state(&mut self, state: &[u8]) -> Result<(), Trouble> {
        self.persist(|context, job| {
            write(&context.folder.state(job.id), state)?;
            context.wait_for(context.store.forget_deaths(job.id))
        })
    }

    async fn state(&mut self) -> Option<Vec<u8>> {
        std::fs::read(self.context.folder.state(self.job.id)).ok()
    }

    fn forget_state(&mut self) {
        // A finished job is never begun again, so one that stays does no harm.
        _ = std::fs::remove_file(self.context.folder.state(self.job.id));
    }

    async fn forget_results(&mut self) {
        let context = &self.context;
        context.wait_for(context.store.forget_results(self.job.id));
    }

    fn keep_pace(&mut self, pace: &Pace) {
        let context = &self.context;
        // If that fails, an older measurement stays.
        _ = context.wait_for(context.store.keep_pace(&context.compute.name, pace));
    }

    fn tell_progress(&mut self, progress: JobProgress) {
        self.context.progress.send_replace(Some(progress));
    }

    fn end_in_trouble(&mut self, transition: &Transition) {
        let (context, job) = (&self.context, self.job.id);
        if let Transition::Fail { message } = transition {
            return context.fail(job, message);
        }
        // On a full disk this may fail; the start after this one finds the job and takes it up.
        _ = context.wait_for(context.store.change_state(job, transition.clone()));
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    DataFolder::write(path, bytes).map_err(StoreError::of_file)
}

fn from_blob(error: BlobError) -> StoreError {
    match error {
        BlobError::Io(error) => StoreError::of_file(error),
        other => sqlx::Error::Io(std::io::Error::other(other.to_string())).into(),
    }
}
