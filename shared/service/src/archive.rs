//! Where a running job's facts and results are kept.

use mimeo_protocol::{
    BlobId, CopierId, CopierInfo, FileKind, JobEventKind, JobProgress, Pace, Transition,
};

/// The server's memory of one running job.
///
/// What a call returns for is kept, or is kept before the run goes on: nothing is told to a client
/// that a restart could forget.
pub trait Archive {
    /// Adds a fact.
    ///
    /// # Errors
    /// [`Trouble`] when it cannot be kept.
    fn record(&mut self, kind: &JobEventKind) -> Result<(), Trouble>;

    /// Changes the job's state, as the one table of transitions allows.
    ///
    /// # Errors
    /// [`Trouble`] when that cannot be kept.
    fn change_state(&mut self, transition: &Transition) -> Result<(), Trouble>;

    /// Keeps a file for the user, and tells.
    ///
    /// # Errors
    /// [`Trouble`] when it cannot be kept.
    fn keep_file(&mut self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<(), Trouble>;

    /// Keeps a picture, if there is room for pictures.
    ///
    /// # Errors
    /// [`Trouble`] when it cannot be kept.
    fn keep_picture(&mut self, png: &[u8]) -> Result<KeptPicture, Trouble>;

    /// The finished copier of this fingerprint.
    ///
    /// # Errors
    /// [`Trouble`] when nobody can tell.
    fn copier_of(&mut self, fingerprint: &str) -> Result<Option<CopierId>, Trouble>;

    /// A finished copier.
    ///
    /// # Errors
    /// [`Trouble`] when nobody can tell.
    fn copier(&mut self, id: CopierId) -> Result<Option<CopierInfo>, Trouble>;

    /// Notes the finished copier that the job builds upon from now on.
    ///
    /// # Errors
    /// [`Trouble`] when that cannot be kept.
    fn set_copier(&mut self, id: CopierId) -> Result<(), Trouble>;

    /// Keeps a finished copier for other jobs, and tells.
    ///
    /// # Errors
    /// [`Trouble`] when it cannot be kept.
    fn keep_copier(&mut self, copier: NewCopier<'_>) -> Result<(), Trouble>;

    /// Keeps the state from which the job can go on, in place of the one before.
    ///
    /// # Errors
    /// [`Trouble`] when it cannot be kept.
    fn keep_state(&mut self, state: &[u8]) -> Result<(), Trouble>;

    /// The state from which the job can go on, if one was kept.
    fn state(&mut self) -> impl Future<Output = Option<Vec<u8>>>;

    /// Removes the state of a job that is finished.
    fn forget_state(&mut self);

    /// Removes what a job left that was discarded: its files and its state.
    fn forget_results(&mut self) -> impl Future<Output = ()>;

    /// Keeps how long a step takes on this device, in place of the older measurement of its kind.
    fn keep_pace(&mut self, pace: &Pace);

    /// Tells how far the job is; only the latest counts.
    fn tell_progress(&mut self, progress: JobProgress);

    /// The job is over although [`Self::change_state`] could not keep it: notes that as far as it
    /// can be noted.
    fn end_in_trouble(&mut self, transition: &Transition);

    /// Writes what has to be written before the run goes on, where a call above keeps something to be
    /// written later.
    ///
    /// # Errors
    /// [`Unwritten`], and all of it is still kept.
    fn write_due(&mut self) -> impl Future<Output = Result<(), Unwritten>> {
        std::future::ready(Ok(()))
    }

    /// Writes all that is kept and not written yet.
    ///
    /// # Errors
    /// [`Unwritten`], and all of it is still kept.
    fn write(&mut self) -> impl Future<Output = Result<(), Unwritten>> {
        std::future::ready(Ok(()))
    }
}

/// Why something is kept and not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwritten {
    /// There is no room: what is full and what to do.
    Full(String),
    /// What is wrong and what to do.
    Failed(String),
}

/// What became of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptPicture {
    /// It is kept under this id.
    As(BlobId),
    /// Pictures have taken all the room that they are given. The run goes on without this one: its
    /// result takes none of that room, and is worth more.
    NoRoom {
        /// What is full and what to do.
        sentence: String,
    },
}

/// A copier that is about to be known. Its name and base are the job's.
#[derive(Debug, Clone, Copy)]
pub struct NewCopier<'a> {
    /// Of base, picture and recipe.
    pub fingerprint: &'a str,
    /// The picture that it draws.
    pub original: BlobId,
    /// How well it copies, if that was measured.
    pub fidelity: Option<f64>,
    /// Steps it was trained for.
    pub steps: u32,
    /// File name for the user.
    pub file_name: &'a str,
    /// Its file.
    pub bytes: &'a [u8],
}

/// Why a run cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The user or the service ended it while there was no room to write.
    Ended,
    /// What is wrong and what to do.
    Failed(String),
}
