//! Where the running job's facts and results go: into the ledger at once, onto the disk before the
//! run goes on.

use std::rc::Rc;

use mimeo_protocol::{
    CopierId, CopierInfo, FileKind, JobEventKind, JobId, JobProgress, Pace, ResultFile, Transition,
};
use mimeo_service::{Archive, KeptPicture, NewCopier, Store as _, Trouble, Unwritten, blob};

use crate::desk::Listener as _;
use crate::disk::DiskError;
use crate::host::Worker;
use crate::ledger::CopierEntry;
use crate::places::{blob_path, file_path, state_path};

/// The writer of one run.
pub struct JobArchive {
    worker: Rc<Worker>,
    job: JobId,
}

impl JobArchive {
    /// The writer of a run that begins.
    pub const fn new(worker: Rc<Worker>, job: JobId) -> Self {
        Self { worker, job }
    }

    /// Gives a file a number, or the one that it had: a job that goes on from an older state
    /// writes some again.
    fn file(&self, kind: FileKind, name: &str, bytes: &[u8]) -> ResultFile {
        let mut ledger = self.worker.store.ledger.borrow_mut();
        let files = ledger.job(self.job).map(|entry| entry.files.as_slice());
        let mut known = files.unwrap_or_default().iter();
        let known = known.find(|file| file.name == name).map(|file| file.id);
        ResultFile {
            id: known.unwrap_or_else(|| ledger.new_file()),
            kind,
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: blob::id_of(bytes),
        }
    }
}

impl Archive for JobArchive {
    fn record(&mut self, kind: &JobEventKind) -> Result<(), Trouble> {
        self.worker.store.append(self.job, kind.clone());
        Ok(())
    }

    fn change_state(&mut self, transition: &Transition) -> Result<(), Trouble> {
        let changed = self.worker.store.change(self.job, transition.clone());
        changed.map_err(|illegal| Trouble::Failed(illegal.to_string()))
    }

    fn keep_file(&mut self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<(), Trouble> {
        let file = self.file(kind, name, bytes);
        self.worker.store.keep(file_path(file.id), bytes.to_vec());
        self.worker
            .store
            .append(self.job, JobEventKind::File { file });
        Ok(())
    }

    fn keep_picture(&mut self, png: &[u8]) -> Result<KeptPicture, Trouble> {
        let id = blob::id_of(png);
        self.worker.store.keep(blob_path(id), png.to_vec());
        Ok(KeptPicture::As(id))
    }

    fn copier_of(&mut self, fingerprint: &str) -> Result<Option<CopierId>, Trouble> {
        Ok(self.worker.store.ledger.borrow().copier_of(fingerprint))
    }

    fn copier(&mut self, id: CopierId) -> Result<Option<CopierInfo>, Trouble> {
        let copiers = self.worker.store.ledger.borrow().copiers();
        Ok(copiers.into_iter().find(|copier| copier.id == id))
    }

    fn set_copier(&mut self, id: CopierId) -> Result<(), Trouble> {
        let mut ledger = self.worker.store.ledger.borrow_mut();
        ledger.set_copier(self.job, id);
        Ok(())
    }

    fn keep_copier(&mut self, copier: NewCopier<'_>) -> Result<(), Trouble> {
        let mut ledger = self.worker.store.ledger.borrow_mut();
        let Some(job) = ledger.job(self.job).map(|entry| entry.job.clone()) else {
            return Err(Trouble::Ended);
        };
        let file = ResultFile {
            id: ledger.new_file(),
            kind: FileKind::Copier,
            name: copier.file_name.to_owned(),
            bytes: copier.bytes.len() as u64,
            sha256: blob::id_of(copier.bytes),
        };
        self.worker
            .store
            .keep(file_path(file.id), copier.bytes.to_vec());
        let info = CopierInfo {
            id: ledger.new_copier(),
            name: job.name,
            original: Some(copier.original),
            kind: job.recipe.copier.kind,
            base: job.base,
            fidelity: copier.fidelity,
            steps: copier.steps,
            file,
            finished_millis: self.worker.store.page.now_millis(),
        };
        ledger.add_copier(CopierEntry {
            info,
            fingerprint: copier.fingerprint.to_owned(),
        });
        drop(ledger);
        self.worker.store.copiers_changed();
        Ok(())
    }

    fn keep_state(&mut self, state: &[u8]) -> Result<(), Trouble> {
        self.worker.store.keep(state_path(self.job), state.to_vec());
        self.worker.store.ledger.borrow_mut().state_saved(self.job);
        Ok(())
    }

    async fn state(&mut self) -> Option<Vec<u8>> {
        self.worker.host.disk.read(&state_path(self.job)).await
    }

    fn forget_state(&mut self) {
        self.worker.store.forget_later(state_path(self.job));
    }

    async fn forget_results(&mut self) {
        self.worker.store.forget_results(self.job).await;
    }

    fn keep_pace(&mut self, pace: &Pace) {
        let mut ledger = self.worker.store.ledger.borrow_mut();
        ledger.keep_pace(&self.worker.host.device.name, pace);
    }

    fn tell_progress(&mut self, progress: JobProgress) {
        self.worker.store.tell_progress(progress);
    }
    fn end_in_trouble(&mut self, transition: &Transition) {
        // It is over already: then nobody has to know.
        _ = self.worker.store.change(self.job, transition.clone());
    }

    async fn write_due(&mut self) -> Result<(), Unwritten> {
        Ok(self.worker.store.write_if_due().await?)
    }

    async fn write(&mut self) -> Result<(), Unwritten> {
        Ok(self.worker.store.write().await?)
    }
}

impl From<DiskError> for Unwritten {
    fn from(error: DiskError) -> Self {
        let message = error.to_string();
        match error {
            DiskError::Full => Self::Full(message),
            DiskError::Changed | DiskError::Failed { .. } => Self::Failed(message),
        }
    }
}
