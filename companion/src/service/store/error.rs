//! Why something could not be stored or found.

use mimeo_protocol::{IllegalTransition, JobId, Rejection};
use mimeo_service::rules::missing_job;

/// Something that could not be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("the disk is full. Free some space; the job goes on by itself.")]
    DiskFull,
    /// The database is damaged.
    #[error(
        "the job database is damaged ({reason}). Move it away and start again; the results beside it are untouched: {file:?}"
    )]
    Damaged {
        /// What SQLite says.
        reason: String,
        /// The database.
        file: String,
    },
    /// The database was written by a newer Mimeo.
    #[error(
        "the job database was written by a newer Mimeo ({reason}). Update Mimeo, or choose another folder with --data: {file:?}"
    )]
    Newer {
        /// What SQLx says.
        reason: String,
        /// The database.
        file: String,
    },
    /// A row is not what this program would have written.
    #[error("a row of the job database cannot be read ({reason}).")]
    Row {
        /// What is wrong with it.
        reason: String,
    },
    /// Something else.
    #[error("the job database cannot be used ({source}).")]
    Database {
        /// What SQLx says.
        source: sqlx::Error,
    },
    /// There is no such job.
    #[error("job {job} is not here (any more).")]
    NoJob {
        /// Which.
        job: JobId,
    },
    /// The job is in another state.
    #[error(transparent)]
    State(#[from] IllegalTransition),
}

impl StoreError {
    /// A file could not be written.
    pub fn of_file(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => sqlx::Error::Io(error).into(),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        let code = source.as_database_error().and_then(|error| error.code());
        // SQLITE_FULL, and SQLITE_IOERR_WRITE and _SHMSIZE, which a full tmpfs gives.
        match code.as_deref() {
            Some("13" | "778" | "4874") => Self::DiskFull,
            _ => Self::Database { source },
        }
    }
}

/// What a client is told of it.
impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::DiskFull => Self::Full { message },
            StoreError::State(_) => Self::State { message },
            StoreError::NoJob { job } => missing_job(job),
            _ => Self::Failed { message },
        }
    }
}
