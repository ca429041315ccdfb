//! Rows of the database as what they stand for.

use mimeo_protocol::{FileId, JobEvent, JobId, JobSummary, ResultFile, Scores, codec};
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

pub fn event_from_row(row: &SqliteRow) -> Result<(i64, JobEvent), StoreError> {
    let event = JobEvent {
        job: id_from_row(row.try_get("job")?, JobId),
        seq: row.try_get::<i64, _>("seq")? as u64,
        at_millis: row.try_get::<i64, _>("at_millis")? as u64,
        kind: from_bytes(row.try_get("kind")?)?,
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
    codec::decode(bytes, usize::MAX).map_err(|error| sqlx::Error::Decode(error.into()).into())
}

pub fn from_text<T: TryFrom<String>>(row: &SqliteRow, column: &str) -> Result<T, StoreError>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.try_get(column)?;
    T::try_from(text).map_err(|error| sqlx::Error::Decode(error.into()).into())
}
