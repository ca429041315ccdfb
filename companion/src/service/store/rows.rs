//! Rows of the database as what they stand for.

use mimeo_protocol::{
    FileId, JobEvent, JobEventKind, JobId, JobSummary, ResultFile, Scores, UnreadableJob, codec,
};
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::StoreError;

pub fn summary_from_row(row: &SqliteRow) -> Result<JobSummary, StoreError> {
    let scores: Option<Vec<u8>> = row.try_get("scores")?;
    Ok(JobSummary {
        id: id_from_row(row.try_get("id")?, JobId),
        job: from_bytes(row.try_get("job")?)?,
        state: from_bytes(row.try_get("state")?)?,
        seq: row.try_get::<i64, _>("seq")? as u64,
        submitted_millis: row.try_get::<i64, _>("submitted_millis")? as u64,
        files: Vec::new(),
        scores: scores
            .map(|scores| from_bytes::<Scores>(&scores))
            .transpose()?,
        progress: None,
    })
}

/// What is wrong with a row.
fn reason(error: StoreError) -> String {
    match error {
        StoreError::Row { reason } => reason,
        // A column of another kind than this program writes.
        StoreError::Database { source } => source.to_string(),
        other => other.to_string(),
    }
}

/// A job of which a row cannot be read.
pub fn unreadable(id: JobId, submitted_millis: Option<u64>, error: StoreError) -> UnreadableJob {
    let reason = reason(error);
    let files = format!("in the folder results/{id} of the companion's data");
    UnreadableJob {
        id,
        submitted_millis,
        message: UnreadableJob::sentence(&reason, &files),
    }
}

/// When a job was submitted, of a row of which that may be all that can be read.
pub fn submitted_from_row(row: &SqliteRow) -> Option<u64> {
    let millis: Option<i64> = row.try_get("submitted_millis").ok();
    millis.and_then(|millis| u64::try_from(millis).ok())
}

/// One event with its number among all. What cannot be read of it becomes a note: the events of a
/// job have no gaps, and the others are worth having.
pub fn event_from_row(row: &SqliteRow) -> Result<(i64, JobEvent), StoreError> {
    let kind = row.try_get::<&[u8], _>("kind").map_err(StoreError::from);
    let kind = kind.and_then(from_bytes);
    let event = JobEvent {
        job: id_from_row(row.try_get("job")?, JobId),
        seq: row.try_get::<i64, _>("seq")? as u64,
        at_millis: row.try_get::<i64, _>("at_millis")? as u64,
        kind: kind.unwrap_or_else(|error| JobEventKind::Note {
            text: format!(
                "An entry of this run's log cannot be read ({}).",
                reason(error)
            ),
        }),
    };
    Ok((row.try_get("id")?, event))
}

pub fn file_from_row(row: &SqliteRow) -> Result<ResultFile, StoreError> {
    Ok(ResultFile {
        id: id_from_row(row.try_get("id")?, FileId),
        kind: from_bytes(row.try_get("kind")?)?,
        name: row.try_get("name")?,
        bytes: row.try_get::<i64, _>("bytes")? as u64,
        sha256: from_text(row, "sha256")?,
    })
}

/// SQLite's numbers are signed; ours come from it and are not.
pub fn id_from_row<T>(id: i64, wrap: impl Fn(u64) -> T) -> T {
    wrap(id as u64)
}

pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode(bytes, usize::MAX).map_err(|error| StoreError::Row {
        reason: error.reason(),
    })
}

pub fn from_text<T: TryFrom<String>>(row: &SqliteRow, column: &str) -> Result<T, StoreError>
where
    T::Error: std::error::Error,
{
    let text: String = row.try_get(column)?;
    T::try_from(text).map_err(|error| StoreError::Row {
        reason: error.to_string(),
    })
}
