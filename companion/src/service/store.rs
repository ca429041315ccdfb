//! What the service remembers: jobs, their events, their files, and copiers, in SQLite.
//!
//! The queue engine keeps its own tables in the same database (`queue.rs`). Every change of a job
//! goes through [`Store::record`] or [`Store::change_state`], which write the event and its effect
//! in one transaction: what a client was told is what is stored.

mod copiers;
pub mod error;
mod paces;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use mimeo_protocol::{
    BlobId, CopierId, CopierInfo, FileId, FileKind, JobEvent, JobEventKind, JobId, JobName,
    JobState, JobSummary, Pace, ResultFile, Snapshot, TrainJob, Transition, codec,
};
use mimeo_service::{ImportedCopier, KeptJob, Listed, Store, StoredJob};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::sync::{Mutex, watch};

use super::clock::now_millis;
use super::folder::DataFolder;
use super::queue::Queue;
use rows::{
    event_from_row, file_from_row, from_bytes, from_text, id_from_row, submitted_from_row,
    summary_from_row, unreadable,
};

pub use copiers::NewCopier;
pub use error::StoreError;

/// Events handed out at once.
const PAGE: i64 = 256;

/// The database, the files that it names, and what changes in it.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
    folder: Arc<DataFolder>,
    /// The order in which jobs are done.
    pub queue: Queue,
    /// Number of the newest event of all.
    newest: watch::Sender<i64>,
    /// The waiting jobs, in order.
    pub order: watch::Sender<Vec<JobId>>,
    /// The finished copiers.
    pub copiers: watch::Sender<Vec<CopierInfo>>,
    /// Jobs that were deleted since the start.
    pub removed: watch::Sender<Vec<JobId>>,
    /// One reader of what is told at a time, so that what was read later is told later.
    telling: Arc<Mutex<()>>,
}

/// A file that is about to be known.
#[derive(Debug)]
pub struct NewFile {
    /// What it is.
    pub kind: FileKind,
    /// For the user.
    pub name: String,
    /// Below the data folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: BlobId,
}

impl SqliteStore {
    /// Opens the database, checks that it is sound, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError`], one sentence with the file.
    pub async fn open(folder: Arc<DataFolder>) -> Result<Self, StoreError> {
        let file = &folder.database();
        let name = file.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Survives `kill -9` whole, and a power cut but for the last moments.
            .synchronous(SqliteSynchronous::Normal);
        let damaged = |reason: String| StoreError::Damaged {
            reason,
            file: name.clone(),
        };
        let explain = |error: sqlx::Error| match error.as_database_error() {
            // SQLITE_CORRUPT and SQLITE_NOTADB, with what they extend to.
            Some(cause) if is_damage(cause.code().as_deref()) => damaged(cause.to_string()),
            _ => error.into(),
        };
        // Few, because SQLite has one writer anyway.
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            // After a write that found the disk full SQLite has rolled back by itself, which SQLx
            // does not notice: such a connection would refuse every later transaction.
            .before_acquire(|connection, _| {
                let is_clean = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_clean) })
            })
            .connect_with(options)
            .await
            .map_err(explain)?;
        let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&pool)
            .await
            .map_err(explain)?;
        if sound != "ok" {
            return Err(damaged(sound));
        }
        migrate(&pool).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::VersionMissing(_)
            | sqlx::migrate::MigrateError::VersionMismatch(_)
            | sqlx::migrate::MigrateError::VersionTooNew(..) => StoreError::Newer {
                reason: error.to_string(),
                file: name.clone(),
            },
            sqlx::migrate::MigrateError::Execute(error) => explain(error),
            other => damaged(other.to_string()),
        })?;
        let newest = sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM events");
        let newest: i64 = newest.fetch_one(&pool).await.map_err(explain)?;
        Ok(Self {
            queue: Queue::open(pool.clone()).await?,
            pool,
            folder,
            newest: watch::Sender::new(newest),
            order: watch::Sender::default(),
            copiers: watch::Sender::default(),
            removed: watch::Sender::default(),
            telling: Arc::default(),
        })
    }

    /// Closes the database in good order.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Number of the newest event, and whenever it changes.
    pub fn watch_events(&self) -> watch::Receiver<i64> {
        self.newest.subscribe()
    }

    async fn files_of(&self, id: JobId) -> Result<Vec<SqliteRow>, StoreError> {
        let files = sqlx::query("SELECT * FROM files WHERE job = ?1 ORDER BY id");
        Ok(files.bind(id.0 as i64).fetch_all(&self.pool).await?)
    }

    /// One job in short.
    pub async fn summary(&self, id: JobId) -> Result<Option<JobSummary>, StoreError> {
        let row = sqlx::query("SELECT * FROM train_jobs WHERE id = ?1")
            .bind(id.0 as i64)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let files = self.files_of(id).await?;
        summary_with_files(&row, &files).map(Some)
    }

    /// The job gets on.
    pub async fn forget_deaths(&self, job: JobId) -> Result<(), StoreError> {
        sqlx::query("UPDATE train_jobs SET deaths = 0 WHERE id = ?1")
            .bind(job.0 as i64)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Remembers which cached copier a job builds upon: it must find the same one again.
    pub async fn set_copier(&self, job: JobId, copier: CopierId) -> Result<(), StoreError> {
        sqlx::query("UPDATE train_jobs SET copier = ?2 WHERE id = ?1")
            .bind(job.0 as i64)
            .bind(copier.0 as i64)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Events of all jobs after this number, in order, with their numbers; the first of many.
    pub async fn events_after(&self, number: i64) -> Result<Vec<(i64, JobEvent)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM events WHERE id > ?1 ORDER BY id LIMIT ?2")
            .bind(number)
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(event_from_row).collect()
    }

    /// Makes a job's file known, and tells.
    ///
    /// One of the same place is replaced: a job that goes on from an older state writes it again.
    pub async fn add_file(&self, job: JobId, file: &NewFile) -> Result<ResultFile, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let file = insert_file(&mut transaction, Some(job), file).await?;
        let event = JobEventKind::File { file: file.clone() };
        let newest = append(&mut transaction, job, &event).await?;
        transaction.commit().await?;
        self.announce(newest);
        Ok(file)
    }

    /// A file and its place below the data folder.
    pub async fn file(&self, id: FileId) -> Result<Option<(ResultFile, String)>, StoreError> {
        let row = sqlx::query("SELECT * FROM files WHERE id = ?1")
            .bind(id.0 as i64)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok((file_from_row(&row)?, row.try_get("path")?)))
            .transpose()
    }

    /// Every picture that a job, an event or a copier names.
    ///
    /// # Errors
    /// [`StoreError`], also when one of them cannot be read: then nobody knows what it names.
    pub async fn pictures(&self) -> Result<Vec<BlobId>, StoreError> {
        let mut pictures = Vec::new();
        let jobs = sqlx::query_scalar("SELECT job FROM train_jobs");
        let jobs: Vec<Vec<u8>> = jobs.fetch_all(&self.pool).await?;
        for job in jobs {
            let job: TrainJob = from_bytes(&job)?;
            pictures.extend(job.pictures());
        }
        let kinds = sqlx::query_scalar("SELECT kind FROM events");
        let kinds: Vec<Vec<u8>> = kinds.fetch_all(&self.pool).await?;
        for kind in kinds {
            if let JobEventKind::Preview { picture, .. } = from_bytes(&kind)? {
                pictures.push(picture);
            }
        }
        let copiers = sqlx::query("SELECT original FROM copiers WHERE original <> ''");
        for row in copiers.fetch_all(&self.pool).await? {
            pictures.push(from_text(&row, "original")?);
        }
        Ok(pictures)
    }

    fn announce(&self, newest: i64) {
        self.newest.send_if_modified(|known| {
            let newer = newest > *known;
            *known = newest.max(*known);
            newer
        });
    }
}

/// What is written here is on disk when a change returns, and reaches clients as events after the last
/// that each has.
impl Store for SqliteStore {
    type Error = StoreError;
    /// Number of the newest event of all.
    type Mark = i64;

    async fn list(&self) -> Result<Listed<i64>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let newest = sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM events");
        let newest: i64 = newest.fetch_one(&mut *transaction).await?;
        let rows = sqlx::query("SELECT * FROM train_jobs ORDER BY id DESC LIMIT ?1")
            .bind(Snapshot::MAX_JOBS as i64)
            .fetch_all(&mut *transaction)
            .await?;
        let oldest: Option<i64> = rows.last().map(|row| row.try_get("id")).transpose()?;
        let files = sqlx::query("SELECT * FROM files WHERE job >= ?1 ORDER BY id")
            .bind(oldest)
            .fetch_all(&mut *transaction)
            .await?;
        let mut files_of = BTreeMap::<i64, Vec<SqliteRow>>::new();
        for file in files {
            files_of.entry(file.try_get("job")?).or_default().push(file);
        }
        let mut listed = Listed {
            jobs: Vec::new(),
            unreadable: Vec::new(),
            mark: newest,
        };
        for row in &rows {
            let id: i64 = row.try_get("id")?;
            let files = files_of.remove(&id).unwrap_or_default();
            // A row that cannot be read makes its own job unreadable, and no other.
            match summary_with_files(row, &files) {
                Ok(job) => listed.jobs.push(job),
                Err(error) => {
                    let id = id_from_row(id, JobId);
                    let job = unreadable(id, submitted_from_row(row), error);
                    listed.unreadable.push(job);
                }
            }
        }
        Ok(listed)
    }

    async fn under_way(&self) -> Result<Vec<JobId>, StoreError> {
        let ids = sqlx::query_scalar("SELECT id FROM train_jobs WHERE is_over = 0 ORDER BY id");
        let ids: Vec<i64> = ids.fetch_all(&self.pool).await?;
        Ok(ids.into_iter().map(|id| id_from_row(id, JobId)).collect())
    }

    async fn job(&self, id: JobId) -> Result<Option<KeptJob>, StoreError> {
        let row = sqlx::query("SELECT * FROM train_jobs WHERE id = ?1")
            .bind(id.0 as i64)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let files = self.files_of(id).await?;
        // All that a summary says, so that what is listed as unreadable is unreadable here.
        let read = || -> Result<StoredJob, StoreError> {
            let summary = summary_with_files(&row, &files)?;
            let copier: Option<i64> = row.try_get("copier")?;
            Ok(StoredJob {
                id,
                job: summary.job,
                state: summary.state,
                copier: copier.map(|id| id_from_row(id, CopierId)),
                held: row.try_get("is_held")?,
            })
        };
        Ok(Some(match read() {
            Ok(job) => KeptJob::Readable(Box::new(job)),
            Err(error) => KeptJob::Unreadable(unreadable(id, submitted_from_row(&row), error)),
        }))
    }

    async fn add(&self, job: &TrainJob) -> Result<JobId, StoreError> {
        let state = JobState::Queued;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let id = sqlx::query_scalar(
            "INSERT INTO train_jobs (job, state, is_over, seq, submitted_millis)
             VALUES (?1, ?2, 0, 0, ?3) RETURNING id",
        )
        .bind(codec::encode(job))
        .bind(codec::encode(&state))
        .bind(now_millis() as i64)
        .fetch_one(&mut *transaction)
        .await?;
        let id = id_from_row(id, JobId);
        let newest = append(&mut transaction, id, &JobEventKind::State { state }).await?;
        Queue::push(&mut transaction, id, newest).await?;
        transaction.commit().await?;
        self.announce(newest);
        Ok(id)
    }

    async fn record(&self, job: JobId, kind: &JobEventKind) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if let JobEventKind::Scores { scores } = kind {
            sqlx::query("UPDATE train_jobs SET scores = ?2 WHERE id = ?1")
                .bind(job.0 as i64)
                .bind(codec::encode(scores))
                .execute(&mut *transaction)
                .await?;
        }
        let newest = append(&mut transaction, job, kind).await?;
        transaction.commit().await?;
        self.announce(newest);
        Ok(())
    }

    async fn change_state(
        &self,
        job: JobId,
        transition: Transition,
    ) -> Result<JobState, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let state: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT state FROM train_jobs WHERE id = ?1")
                .bind(job.0 as i64)
                .fetch_optional(&mut *transaction)
                .await?;
        let state: JobState = from_bytes(&state.ok_or(StoreError::NoJob { job })?)?;
        let is_retry = transition == Transition::Retry;
        let state = state.after(transition)?;
        sqlx::query("UPDATE train_jobs SET state = ?2, is_over = ?3 WHERE id = ?1")
            .bind(job.0 as i64)
            .bind(codec::encode(&state))
            .bind(state.is_over())
            .execute(&mut *transaction)
            .await?;
        let event = JobEventKind::State {
            state: state.clone(),
        };
        let newest = append(&mut transaction, job, &event).await?;
        if is_retry {
            sqlx::query("UPDATE train_jobs SET deaths = 0, is_held = NULL WHERE id = ?1")
                .bind(job.0 as i64)
                .execute(&mut *transaction)
                .await?;
            Queue::push(&mut transaction, job, newest).await?;
        }
        transaction.commit().await?;
        self.announce(newest);
        Ok(state)
    }

    async fn hold(&self, job: JobId, is_held: bool) -> Result<(), StoreError> {
        sqlx::query("UPDATE train_jobs SET is_held = ?2 WHERE id = ?1")
            .bind(job.0 as i64)
            .bind(is_held)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn count_death(&self, job: JobId) -> Result<u32, StoreError> {
        let deaths = sqlx::query_scalar(
            "UPDATE train_jobs SET deaths = deaths + 1 WHERE id = ?1 RETURNING deaths",
        );
        Ok(deaths.bind(job.0 as i64).fetch_one(&self.pool).await?)
    }

    async fn events(
        &self,
        job: JobId,
        after: u64,
        until: &i64,
    ) -> Result<Vec<JobEvent>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM events WHERE job = ?1 AND seq > ?2 AND id <= ?3 ORDER BY seq LIMIT ?4",
        )
        .bind(job.0 as i64)
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(*until)
        .bind(PAGE)
        .fetch_all(&self.pool)
        .await?;
        let events = rows.iter().map(|row| Ok(event_from_row(row)?.1));
        events.collect()
    }

    async fn forget_results(&self, job: JobId) {
        // What is not there need not be removed; what stays is found by nobody.
        _ = sqlx::query("DELETE FROM files WHERE job = ?1")
            .bind(job.0 as i64)
            .execute(&self.pool)
            .await;
        _ = tokio::fs::remove_file(self.folder.state(job)).await;
        _ = tokio::fs::remove_dir_all(self.folder.results(job)).await;
    }

    async fn delete(&self, job: JobId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM train_jobs WHERE id = ?1")
            .bind(job.0 as i64)
            .execute(&self.pool)
            .await?;
        self.removed.send_modify(|removed| removed.push(job));
        Ok(())
    }

    async fn owner(&self, file: FileId) -> Result<Option<JobId>, StoreError> {
        let owner: Option<Option<i64>> = sqlx::query_scalar("SELECT job FROM files WHERE id = ?1")
            .bind(file.0 as i64)
            .fetch_optional(&self.pool)
            .await?;
        Ok(owner.flatten().map(|id| id_from_row(id, JobId)))
    }

    async fn order(&self) -> Result<Vec<JobId>, StoreError> {
        self.queue.order().await
    }

    async fn requeue(&self, job: JobId) -> Result<(), StoreError> {
        self.queue.requeue(job).await
    }

    async fn unqueue(&self, job: JobId) -> Result<(), StoreError> {
        self.queue.unqueue(job).await
    }

    async fn reorder(&self, job: JobId, before: Option<JobId>) -> Result<bool, StoreError> {
        self.queue.reorder(job, before).await
    }

    async fn tell_order(&self) {
        let _one_at_a_time = self.telling.lock().await;
        if let Ok(order) = self.queue.order().await {
            self.order.send_if_modified(|known| {
                let is_new = *known != order;
                *known = order;
                is_new
            });
        }
    }

    async fn copiers(&self) -> Result<Vec<CopierInfo>, StoreError> {
        Ok(self.copiers.borrow().clone())
    }

    async fn import_copier(&self, copier: &ImportedCopier) -> Result<(), StoreError> {
        self.add_imported(copier).await
    }

    async fn rename_copier(&self, id: CopierId, name: &JobName) -> Result<(), StoreError> {
        self.write_copier_name(id, name).await
    }

    async fn user_of_copier(&self, id: CopierId) -> Result<Option<JobId>, StoreError> {
        self.find_user_of_copier(id).await
    }

    async fn delete_copier(&self, id: CopierId) -> Result<(), StoreError> {
        if let Some(path) = self.take_copier(id).await? {
            // What is not there need not be removed.
            _ = tokio::fs::remove_file(self.folder.file(&path)).await;
        }
        Ok(())
    }

    async fn tell_copiers(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.telling.lock().await;
        self.copiers.send_replace(self.read_copiers().await?);
        Ok(())
    }

    async fn paces(&self, device: &str) -> Result<Vec<Pace>, StoreError> {
        self.read_paces(device).await
    }

    async fn flush(&self) {}
}

fn summary_with_files(row: &SqliteRow, files: &[SqliteRow]) -> Result<JobSummary, StoreError> {
    let mut job = summary_from_row(row)?;
    job.files = files.iter().map(file_from_row).collect::<Result<_, _>>()?;
    Ok(job)
}

/// Our own tables, and the queue engine's beside them. Each has a list of its own of what was done,
/// so that a migration which this program does not know is one of a newer program.
async fn migrate(pool: &SqlitePool) -> Result<(), sqlx::migrate::MigrateError> {
    let mut ours = sqlx::migrate!("./migrations");
    ours.dangerous_set_table_name("mimeo_migrations");
    ours.run(pool).await?;
    apalis_sqlite::SqliteStorage::migrations().run(pool).await
}

fn is_damage(code: Option<&str>) -> bool {
    // The low byte is the error, the rest its details.
    let code = code.and_then(|code| code.parse::<u32>().ok());
    matches!(code.map(|code| code & 0xff), Some(11 | 26))
}

/// Adds an event; its number among all.
async fn append(
    connection: &mut SqliteConnection,
    job: JobId,
    kind: &JobEventKind,
) -> Result<i64, StoreError> {
    let seq: Option<i64> =
        sqlx::query_scalar("UPDATE train_jobs SET seq = seq + 1 WHERE id = ?1 RETURNING seq")
            .bind(job.0 as i64)
            .fetch_optional(&mut *connection)
            .await?;
    let seq = seq.ok_or(StoreError::NoJob { job })?;
    let number = sqlx::query_scalar(
        "INSERT INTO events (job, seq, at_millis, kind) VALUES (?1, ?2, ?3, ?4) RETURNING id",
    )
    .bind(job.0 as i64)
    .bind(seq)
    .bind(now_millis() as i64)
    .bind(codec::encode(kind))
    .fetch_one(connection)
    .await?;
    Ok(number)
}

async fn insert_file(
    connection: &mut SqliteConnection,
    job: Option<JobId>,
    file: &NewFile,
) -> Result<ResultFile, StoreError> {
    let id = sqlx::query_scalar(
        "INSERT INTO files (job, kind, name, path, bytes, sha256) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (path) DO UPDATE SET bytes = excluded.bytes, sha256 = excluded.sha256
         RETURNING id",
    )
    .bind(job.map(|job| job.0 as i64))
    .bind(codec::encode(&file.kind))
    .bind(&file.name)
    .bind(&file.path)
    .bind(file.bytes as i64)
    .bind(file.sha256.to_string())
    .fetch_one(connection)
    .await?;
    Ok(ResultFile {
        id: id_from_row(id, FileId),
        kind: file.kind,
        name: file.name.clone(),
        bytes: file.bytes,
        sha256: file.sha256,
    })
}
