//! What is remembered, written down and told: the ledger, the disk under it, and the page before it.
//!
//! A change is made in memory and told at once, and written before the run goes on or the page has its
//! answer. Nothing here knows a browser, so that all of it can be tested without one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use futures_util::lock::Mutex;
use mimeo_protocol::{
    CopierId, CopierInfo, FileId, FileKind, IllegalTransition, JobEvent, JobEventKind, JobId,
    JobName, JobProgress, JobState, Pace, Rejection, ResultFile, ServerMessage, TrainJob,
    Transition, UnreadableJob,
};
use mimeo_service::{
    Answer, ImportedCopier, KeptJob, Listed, Store, StoredJob, copier_file_name, rules,
};

use crate::ledger::{Change, CopierEntry, Found, Ledger};
use crate::places::{file_path, lora_path, state_path};

/// Milliseconds between two messages about progress.
const PROGRESS_EVERY: u64 = 100;
/// Milliseconds between two writes of what is no result, such as losses.
const WRITE_EVERY: u64 = 2_000;

/// Files by path, with `/`.
pub trait Storage {
    /// Why a file could not be written.
    type Error;

    /// The bytes of a file, if there is one.
    fn read(&self, path: &str) -> impl Future<Output = Option<Vec<u8>>>;

    /// Writes a file, or puts it in the place of the one that is there.
    fn write(&self, path: &str, bytes: &[u8]) -> impl Future<Output = Result<(), Self::Error>>;

    /// The names of the files of a folder.
    fn names(&self, folder: &str) -> impl Future<Output = Vec<String>>;

    /// Removes a file, if it is there.
    fn remove(&self, path: &str) -> impl Future<Output = ()>;
}

/// Who is told what changes, and what time it is there.
pub trait Listener {
    /// Tells it, if it listens by now.
    fn tell(&self, message: &ServerMessage);

    /// Milliseconds since 1970.
    fn now_millis(&self) -> u64;
}

/// The one memory of the worker.
#[derive(Debug)]
pub struct Desk<D, P> {
    /// Where files are kept.
    pub disk: D,
    /// Who is told.
    pub page: P,
    /// What is remembered.
    pub ledger: RefCell<Ledger>,
    /// Files to write before the run goes on.
    files: RefCell<Vec<(String, Vec<u8>)>>,
    /// Files to remove after that.
    unwanted: RefCell<Vec<String>>,
    /// One writer at a time, so that what is newer is written later.
    writing: Mutex<()>,
    is_urgent: Cell<bool>,
    written_at: Cell<u64>,
    progress_at: Cell<u64>,
}

impl<D: Storage, P: Listener> Desk<D, P> {
    /// Reads what is kept.
    pub async fn open(disk: D, page: P) -> Self {
        let index = disk.read(Ledger::INDEX).await;
        let found = Found::new(&disk.names("ledger").await, &disk.names("files").await);
        let mut ledger = Ledger::open(index.as_deref(), found);
        if let (Some(_), Some(index)) = (ledger.lost(), index) {
            // For a program that can read it. Without room for it, the runs themselves go first.
            _ = disk.write(Ledger::ASIDE, &index).await;
        }
        for id in ledger.known() {
            ledger.load(id, disk.read(&Ledger::path(id)).await.as_deref());
        }
        Self::new(disk, page, ledger)
    }

    /// A desk with this ledger on it.
    pub fn new(disk: D, page: P, ledger: Ledger) -> Self {
        Self {
            disk,
            page,
            ledger: RefCell::new(ledger),
            files: RefCell::new(Vec::new()),
            unwanted: RefCell::new(Vec::new()),
            writing: Mutex::new(()),
            is_urgent: Cell::new(false),
            written_at: Cell::new(0),
            progress_at: Cell::new(0),
        }
    }

    /// Adds a fact about a job.
    pub fn append(&self, id: JobId, kind: JobEventKind) {
        let now = self.page.now_millis();
        let event = self.ledger.borrow_mut().record(id, kind, now);
        self.page.tell(&ServerMessage::Event(event));
    }

    /// Changes a job's state.
    ///
    /// # Errors
    /// When that cannot happen to it now.
    pub fn change(&self, id: JobId, transition: Transition) -> Result<(), IllegalTransition> {
        let now = self.page.now_millis();
        let changed = self.ledger.borrow_mut().change_state(id, transition, now);
        self.page.tell(&ServerMessage::Event(changed?));
        self.is_urgent.set(true);
        Ok(())
    }

    /// Tells how far the running job is, not too often.
    pub fn tell_progress(&self, progress: JobProgress) {
        let now = self.page.now_millis();
        let is_due = now.saturating_sub(self.progress_at.get()) >= PROGRESS_EVERY;
        if is_due || progress.done == 0 || Some(progress.done) == progress.total {
            self.progress_at.set(now);
            self.page.tell(&ServerMessage::Progress(progress));
        }
    }

    /// Tells which copiers there are.
    pub fn copiers_changed(&self) {
        let copiers = self.ledger.borrow().copiers();
        self.page.tell(&ServerMessage::Copiers { copiers });
    }

    /// Keeps a file; it is written before the run goes on.
    pub fn keep(&self, path: String, bytes: Vec<u8>) {
        self.files.borrow_mut().push((path, bytes));
        self.is_urgent.set(true);
    }

    /// A file that could not be written yet.
    pub fn unwritten(&self, path: &str) -> Option<Vec<u8>> {
        let files = self.files.borrow();
        // The newest, where it was kept again.
        let (_, bytes) = files.iter().rev().find(|(known, _)| known == path)?;
        Some(bytes.clone())
    }

    /// Removes a file once what follows from its end is written.
    pub fn forget_later(&self, path: String) {
        self.unwanted.borrow_mut().push(path);
        self.is_urgent.set(true);
    }

    /// Writes what has to be written now.
    ///
    /// # Errors
    /// When there is no room; it is tried again with the next call.
    pub async fn write_if_due(&self) -> Result<(), D::Error> {
        let since = self.page.now_millis().saturating_sub(self.written_at.get());
        if self.is_urgent.get() || since >= WRITE_EVERY {
            self.write().await
        } else {
            Ok(())
        }
    }

    /// Writes everything that changed: files before the jobs that name them.
    ///
    /// # Errors
    /// When there is no room; it is tried again with the next call.
    pub async fn write(&self) -> Result<(), D::Error> {
        let _one_at_a_time = self.writing.lock().await;
        self.is_urgent.set(false);
        self.written_at.set(self.page.now_millis());
        let mut files: VecDeque<_> = self.files.take().into();
        while let Some((path, bytes)) = files.pop_front() {
            if let Err(error) = self.disk.write(&path, &bytes).await {
                files.push_front((path, bytes));
                // What came meanwhile comes after.
                files.extend(self.files.take());
                self.files.replace(files.into());
                self.is_urgent.set(true);
                return Err(error);
            }
        }
        let changes = self.ledger.borrow_mut().take_changes();
        for Change { path, bytes } in changes {
            match bytes {
                Some(bytes) => {
                    if let Err(error) = self.disk.write(&path, &bytes).await {
                        self.ledger.borrow_mut().give_back();
                        self.is_urgent.set(true);
                        return Err(error);
                    }
                }
                None => self.disk.remove(&path).await,
            }
        }
        for path in self.unwanted.take() {
            self.disk.remove(&path).await;
        }
        Ok(())
    }
}

/// A tab has one page, which is told each event as it comes; nothing here can fail but what cannot be
/// done to a job.
impl<D: Storage, P: Listener> Store for Desk<D, P> {
    type Error = Rejection;
    type Mark = ();

    async fn list(&self) -> Answer<Listed<()>> {
        let ledger = self.ledger.borrow();
        Ok(Listed {
            jobs: ledger.summaries(),
            unreadable: ledger.unreadable_jobs(),
            mark: (),
        })
    }

    async fn under_way(&self) -> Answer<Vec<JobId>> {
        Ok(self.ledger.borrow().under_way())
    }

    async fn job(&self, id: JobId) -> Answer<Option<KeptJob>> {
        let ledger = self.ledger.borrow();
        let unreadable = ledger.unreadable(id).map(|message| {
            KeptJob::Unreadable(UnreadableJob {
                id,
                submitted_millis: None,
                message: message.to_owned(),
            })
        });
        let readable = ledger.job(id).map(|entry| {
            KeptJob::Readable(Box::new(StoredJob {
                id,
                job: entry.job.clone(),
                state: entry.state.clone(),
                copier: entry.copier,
                held: entry.held,
            }))
        });
        Ok(readable.or(unreadable))
    }

    async fn add(&self, job: &TrainJob) -> Answer<JobId> {
        let now = self.page.now_millis();
        let (id, event) = self.ledger.borrow_mut().add_job(job.clone(), now);
        let summary = self.ledger.borrow().summary(id);
        if let Some(job) = summary {
            let job = Box::new(job);
            self.page.tell(&ServerMessage::Added { job });
        }
        self.page.tell(&ServerMessage::Event(event));
        Ok(id)
    }

    async fn record(&self, id: JobId, kind: &JobEventKind) -> Answer<()> {
        self.append(id, kind.clone());
        Ok(())
    }

    async fn change_state(&self, id: JobId, transition: Transition) -> Answer<JobState> {
        let changed = self.change(id, transition);
        changed.map_err(|illegal| Rejection::State {
            message: illegal.to_string(),
        })?;
        let state = self
            .ledger
            .borrow()
            .job(id)
            .map(|entry| entry.state.clone());
        state.ok_or_else(|| rules::missing_job(id))
    }

    async fn hold(&self, id: JobId, is_held: bool) -> Answer<()> {
        self.ledger.borrow_mut().hold(id, is_held);
        Ok(())
    }

    async fn count_death(&self, id: JobId) -> Answer<u32> {
        Ok(self.ledger.borrow_mut().count_death(id))
    }

    /// All of them at once: what is told meanwhile comes after.
    async fn events(&self, id: JobId, after: u64, (): &()) -> Answer<Vec<JobEvent>> {
        let ledger = self.ledger.borrow();
        let entry = ledger.job(id).ok_or_else(|| rules::missing_job(id))?;
        let events = entry.events.iter().filter(|event| event.seq > after);
        Ok(events.cloned().collect())
    }

    async fn forget_results(&self, id: JobId) {
        let files = {
            let ledger = self.ledger.borrow();
            ledger.job(id).map(|entry| entry.files.clone())
        };
        for file in files.unwrap_or_default() {
            self.disk.remove(&file_path(file.id)).await;
        }
        self.disk.remove(&state_path(id)).await;
        self.ledger.borrow_mut().forget_files(id);
    }

    async fn delete(&self, id: JobId) -> Answer<()> {
        self.ledger.borrow_mut().forget(id);
        self.page.tell(&ServerMessage::Removed { job: id });
        Ok(())
    }

    async fn owner(&self, file: FileId) -> Answer<Option<JobId>> {
        let ledger = self.ledger.borrow();
        Ok(ledger.file(file).and_then(|(owner, _)| owner))
    }

    async fn order(&self) -> Answer<Vec<JobId>> {
        Ok(self.ledger.borrow().queue().to_vec())
    }

    async fn requeue(&self, id: JobId) -> Answer<()> {
        self.ledger.borrow_mut().requeue(id);
        Ok(())
    }

    async fn unqueue(&self, id: JobId) -> Answer<()> {
        self.ledger.borrow_mut().unqueue(id);
        Ok(())
    }

    async fn reorder(&self, id: JobId, before: Option<JobId>) -> Answer<bool> {
        Ok(self.ledger.borrow_mut().reorder(id, before))
    }

    async fn tell_order(&self) {
        let order = self.ledger.borrow().queue().to_vec();
        self.page.tell(&ServerMessage::Queue { order });
    }

    async fn copiers(&self) -> Answer<Vec<CopierInfo>> {
        Ok(self.ledger.borrow().copiers())
    }

    async fn import_copier(&self, copier: &ImportedCopier) -> Answer<()> {
        let bytes = self.disk.read(&lora_path(copier.lora)).await;
        let bytes = bytes.ok_or_else(|| rules::missing_lora(copier.lora))?;
        let mut ledger = self.ledger.borrow_mut();
        let file = ResultFile {
            id: ledger.new_file(),
            kind: FileKind::Copier,
            name: copier_file_name(&copier.name),
            bytes: bytes.len() as u64,
            sha256: copier.lora,
        };
        self.keep(file_path(file.id), bytes);
        let info = CopierInfo {
            id: ledger.new_copier(),
            name: copier.name.clone(),
            original: None,
            kind: copier.kind,
            base: copier.base.clone(),
            fidelity: None,
            steps: 0,
            file,
            finished_millis: self.page.now_millis(),
        };
        let fingerprint = copier.fingerprint();
        ledger.add_copier(CopierEntry { info, fingerprint });
        Ok(())
    }

    async fn rename_copier(&self, id: CopierId, name: &JobName) -> Answer<()> {
        self.ledger.borrow_mut().rename_copier(id, name);
        Ok(())
    }

    async fn user_of_copier(&self, id: CopierId) -> Answer<Option<JobId>> {
        Ok(self.ledger.borrow().user_of_copier(id))
    }

    async fn delete_copier(&self, id: CopierId) -> Answer<()> {
        let removed = self.ledger.borrow_mut().forget_copier(id);
        if let Some(file) = removed {
            self.disk.remove(&file_path(file)).await;
        }
        Ok(())
    }

    async fn tell_copiers(&self) -> Answer<()> {
        self.copiers_changed();
        Ok(())
    }

    async fn paces(&self, device: &str) -> Answer<Vec<Pace>> {
        Ok(self.ledger.borrow().paces(device))
    }

    async fn flush(&self) {
        // Without room the run says so, and waits for it.
        _ = self.write().await;
    }
}
