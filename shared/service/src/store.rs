//! What a server remembers, wherever that is kept.

use mimeo_protocol::{
    BaseId, BlobId, CopierId, CopierInfo, CopierKind, FileId, JobEvent, JobEventKind, JobId,
    JobName, JobState, JobSummary, Pace, PauseReason, Rejection, TrainJob, Transition,
    UnreadableJob,
};

use crate::blob;

/// Jobs and their events, the queue, files, copiers and paces.
///
/// What a client is told is what is kept: a new job, a change of state and every other event reach
/// all clients by themselves, and so does the end of a job. Of the order and the copiers they are
/// told when [`Server`](crate::Server) says so.
///
/// A future is `Send` where that of the implementation is: this says nothing of it, because those of
/// a browser cannot be, and a service on several threads finds out where it spawns them.
pub trait Store {
    /// Why something could not be kept or found. A client is told of it.
    type Error: Into<Rejection>;

    /// How far the events of all jobs are, where clients fetch them; nothing, where each is told as
    /// it comes.
    type Mark;

    /// The newest jobs, of one moment.
    fn list(&self) -> impl Future<Output = Result<Listed<Self::Mark>, Self::Error>>;

    /// The jobs that are not over, the oldest first; also such that cannot be read.
    fn under_way(&self) -> impl Future<Output = Result<Vec<JobId>, Self::Error>>;

    /// A job, if it is there.
    fn job(&self, id: JobId) -> impl Future<Output = Result<Option<KeptJob>, Self::Error>>;

    /// Adds a job, last in the queue; its number.
    fn add(&self, job: &TrainJob) -> impl Future<Output = Result<JobId, Self::Error>>;

    /// Adds a fact about a job.
    fn record(
        &self,
        id: JobId,
        kind: &JobEventKind,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Changes a job's state, as the one table of transitions allows. One that is tried again goes to
    /// the end of the queue, and nothing that happened before counts against it.
    fn change_state(
        &self,
        id: JobId,
        transition: Transition,
    ) -> impl Future<Output = Result<JobState, Self::Error>>;

    /// Notes whether a job is to wait at its next rest, whatever becomes of the server until then. A
    /// job that is tried again is not: [`Self::change_state`].
    fn hold(&self, id: JobId, is_held: bool) -> impl Future<Output = Result<(), Self::Error>>;

    /// The server was gone while this job ran; how often that happened since its state was saved.
    fn count_death(&self, id: JobId) -> impl Future<Output = Result<u32, Self::Error>>;

    /// A job's events in order, without gaps; the first of many.
    ///
    /// - `after`: number of the last one before them
    /// - `until`: later ones are told otherwise
    fn events(
        &self,
        id: JobId,
        after: u64,
        until: &Self::Mark,
    ) -> impl Future<Output = Result<Vec<JobEvent>, Self::Error>>;

    /// Removes what a job left: its files, and the state to go on from.
    fn forget_results(&self, id: JobId) -> impl Future<Output = ()>;

    /// Removes a job with its events. Files that were not forgotten before stay.
    fn delete(&self, id: JobId) -> impl Future<Output = Result<(), Self::Error>>;

    /// The job that made a file; none also of a copier's.
    fn owner(&self, file: FileId) -> impl Future<Output = Result<Option<JobId>, Self::Error>>;

    /// The waiting jobs, the next one first.
    fn order(&self) -> impl Future<Output = Result<Vec<JobId>, Self::Error>>;

    /// Puts a job that should wait before all others, if it does not wait.
    fn requeue(&self, id: JobId) -> impl Future<Output = Result<(), Self::Error>>;

    /// Takes a job out of the queue, if it waits.
    fn unqueue(&self, id: JobId) -> impl Future<Output = Result<(), Self::Error>>;

    /// Moves a waiting job before another one, or to the end; whether both wait.
    fn reorder(
        &self,
        id: JobId,
        before: Option<JobId>,
    ) -> impl Future<Output = Result<bool, Self::Error>>;

    /// Tells all clients which jobs wait; if that cannot be read, they are told with the next change.
    fn tell_order(&self) -> impl Future<Output = ()>;

    /// The finished copiers, the newest first.
    fn copiers(&self) -> impl Future<Output = Result<Vec<CopierInfo>, Self::Error>>;

    /// Makes an uploaded LoRA, which is here, a copier.
    fn import_copier(
        &self,
        copier: &ImportedCopier,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Calls a copier something else.
    fn rename_copier(
        &self,
        id: CopierId,
        name: &JobName,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// A job that is not over and builds upon this copier.
    fn user_of_copier(
        &self,
        id: CopierId,
    ) -> impl Future<Output = Result<Option<JobId>, Self::Error>>;

    /// Removes a copier with its file.
    fn delete_copier(&self, id: CopierId) -> impl Future<Output = Result<(), Self::Error>>;

    /// Tells all clients which copiers there are.
    fn tell_copiers(&self) -> impl Future<Output = Result<(), Self::Error>>;

    /// How fast steps went on a device.
    fn paces(&self, device: &str) -> impl Future<Output = Result<Vec<Pace>, Self::Error>>;

    /// Waits until all that was changed is on disk, or there is no room: then that is the running
    /// job's to say. Nothing to wait for where it is when a change returns.
    fn flush(&self) -> impl Future<Output = ()>;
}

/// A LoRA that becomes a copier.
#[derive(Debug, Clone)]
pub struct ImportedCopier {
    /// The uploaded LoRA.
    pub lora: BlobId,
    /// What to call it.
    pub name: JobName,
    /// What it draws.
    pub kind: CopierKind,
    /// The base that it is for.
    pub base: BaseId,
}

impl ImportedCopier {
    /// What tells it from every other copier; no job makes one of this fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        blob::id_of(format!("import {} {}", self.lora, self.base).as_bytes()).to_string()
    }
}

/// What the file of a copier is called.
#[must_use]
pub fn copier_file_name(name: &JobName) -> String {
    format!("{name}_copy.safetensors")
}

/// A job as it is kept.
#[derive(Debug, Clone)]
pub struct StoredJob {
    /// Its number.
    pub id: JobId,
    /// What was asked for.
    pub job: TrainJob,
    /// Where it is.
    pub state: JobState,
    /// The finished copier that it builds upon, once it has begun.
    pub copier: Option<CopierId>,
    /// Whether its user wants it to wait; none: nobody has said so since it was begun, or a Mimeo kept
    /// it that did not note this.
    pub held: Option<bool>,
}

impl StoredJob {
    /// Whether the job waits for its user when it begins again.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let is_paused = matches!(
            self.state,
            JobState::Paused {
                reason: PauseReason::User,
                ..
            }
        );
        self.held.unwrap_or(is_paused)
    }
}

/// A job that is there.
#[derive(Debug, Clone)]
pub enum KeptJob {
    /// As it is kept.
    Readable(Box<StoredJob>),
    /// All that is known of one that cannot be read.
    Unreadable(UnreadableJob),
}

/// The newest jobs, at most [`Snapshot::MAX_JOBS`](mimeo_protocol::Snapshot::MAX_JOBS).
#[derive(Debug)]
pub struct Listed<M> {
    /// Those that can be read, in short, the newest first.
    pub jobs: Vec<JobSummary>,
    /// The others, the newest first.
    pub unreadable: Vec<UnreadableJob>,
    /// The events that they include.
    pub mark: M,
}
