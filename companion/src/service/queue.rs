//! The order in which jobs are done: apalis, on its SQLite backend.
//!
//! A task of the engine names a job; the engine hands out one at a time, remembers what is handed
//! out, and hands it out again after a crash. What a delivery means is decided by the job's state
//! (`jobs.rs`): a second delivery, or one of a job that was discarded meanwhile, does nothing.
//!
//! Only this file knows which backend it is. For several machines on one queue, apalis-postgres has
//! the same types; the two statements on the engine's table are the ones to check then.

use std::time::Duration;

use apalis::layers::WorkerBuilderExt as _;
use apalis::prelude::{BackendExt as _, TaskBuilder, WorkerBuilder};
use apalis_core::backend::WorkerFilter;
use apalis_sqlite::{Config, SqliteStorage};
use futures_util::stream;
use mimeo_protocol::JobId;
use serde::{Deserialize, Serialize};
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::watch;

use super::clock::now_millis;
use super::store::error::StoreError;
use crate::console;

const QUEUE: &str = "train";
/// The queue looks by itself this seldom; a new job wakes it at once.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After a failure of the database, such as a full disk.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Above any number of events: earlier jobs get higher priorities.
const FIRST_PRIORITY: usize = 1 << 52;

/// What the engine keeps for a job.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Ticket {
    job: JobId,
}

/// The waiting jobs.
#[derive(Debug, Clone)]
pub struct Queue {
    pool: SqlitePool,
    pushed: watch::Sender<()>,
}

impl Queue {
    /// The queue in the store's database; takes back what an earlier process had begun.
    pub async fn open(pool: SqlitePool) -> Result<Self, StoreError> {
        // Alone on the data folder, so every worker that the engine knows is a dead one.
        let dead_for_secs = 0;
        let everyone = WorkerFilter::None;
        apalis_sqlite::queries::reenqueue_orphaned(&pool, dead_for_secs, QUEUE, &everyone).await?;
        // What is over, and who did it, would pile up from start to start.
        for tidy in [
            "DELETE FROM Jobs WHERE status IN ('Done', 'Killed')",
            "DELETE FROM Workers WHERE id NOT IN (SELECT lock_by FROM Jobs WHERE lock_by NOT NULL)",
        ] {
            sqlx::query(tidy).execute(&pool).await?;
        }
        let pushed = watch::Sender::new(());
        Ok(Self { pool, pushed })
    }

    /// Adds a job at the end, within a transaction of the store; [`Self::wake`] after it.
    ///
    /// - `number`: grows with every job, such as that of its newest event
    pub async fn push(
        connection: &mut SqliteConnection,
        job: JobId,
        number: i64,
    ) -> Result<(), StoreError> {
        push(
            connection,
            job,
            FIRST_PRIORITY.saturating_sub(number as usize),
        )
        .await
    }

    /// Tells the engine that there is a new job.
    pub fn wake(&self) {
        self.pushed.send_replace(());
    }

    /// The waiting jobs, the next one first.
    pub async fn order(&self) -> Result<Vec<JobId>, StoreError> {
        let waiting = self.waiting().await?;
        Ok(waiting.into_iter().map(|(_, _, job)| job).collect())
    }

    /// Adds a job before all others that should wait but is not there: its last delivery was
    /// acknowledged, and the process ended before what came of it was stored.
    pub async fn requeue(&self, job: JobId) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.map_err(StoreError::from)?;
        let waits: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM Jobs WHERE job_type = ?1 AND job = ?2
                            AND status NOT IN ('Done', 'Killed'))",
        )
        .bind(QUEUE)
        .bind(ticket(job))
        .fetch_one(&mut *connection)
        .await?;
        if waits {
            return Ok(());
        }
        let waiting = self.waiting().await?;
        let first = waiting.first().map_or(0, |(_, priority, _)| priority + 1);
        let priority = FIRST_PRIORITY.max(usize::try_from(first).unwrap_or_default());
        push(&mut connection, job, priority).await
    }

    /// Takes a waiting job out.
    pub async fn unqueue(&self, job: JobId) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE Jobs SET status = 'Killed', done_at = ?3
             WHERE job_type = ?1 AND job = ?2 AND status = 'Pending'",
        )
        .bind(QUEUE)
        .bind(ticket(job))
        .bind((now_millis() / 1000) as i64)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Moves a waiting job just before another one, or to the end; whether both wait.
    pub async fn reorder(&self, job: JobId, before: Option<JobId>) -> Result<bool, StoreError> {
        let mut waiting = self.waiting().await?;
        let place = |waiting: &[(String, i64, JobId)], job| {
            waiting.iter().position(|(_, _, known)| *known == job)
        };
        // The priorities stay where they are; who has which changes.
        let priorities: Vec<i64> = waiting.iter().map(|(_, priority, _)| *priority).collect();
        let Some(from) = place(&waiting, job) else {
            return Ok(false);
        };
        let moved = waiting.remove(from);
        let to = match before {
            None => Some(waiting.len()),
            Some(before) => place(&waiting, before),
        };
        let Some(to) = to else { return Ok(false) };
        waiting.insert(to, moved);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for ((task, ..), priority) in waiting.iter().zip(priorities) {
            sqlx::query("UPDATE Jobs SET priority = ?2 WHERE id = ?1")
                .bind(task)
                .bind(priority)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Hands out one job after the other, until the service ends.
    pub async fn run<F>(self, do_job: impl Fn(JobId) -> F + Clone + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut starts = 0_u32;
        loop {
            starts += 1;
            let do_job = do_job.clone();
            let name = format!("mimeo-{}-{}-{starts}", std::process::id(), now_millis());
            let worker = WorkerBuilder::new(name.as_str())
                .backend(self.storage().poll_with_stream(self.wake_ups()))
                .concurrency(1)
                .build(move |ticket: Ticket| {
                    let done = do_job(ticket.job);
                    async move {
                        done.await;
                        Ok::<(), std::convert::Infallible>(())
                    }
                });
            let Err(error) = worker.run().await else {
                return;
            };
            // A full disk ends the engine's worker; jobs are not lost, so it is started again.
            console::err(&format!("Note: the queue starts again ({error})."));
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn storage(&self) -> SqliteStorage<Ticket> {
        // One at a time, so that what is not begun can still be moved.
        let config = Config::default().queue(QUEUE).batch_size(1);
        SqliteStorage::new(&self.pool).with_config(config)
    }

    /// Yields when a job was added, and now and then.
    fn wake_ups(&self) -> impl stream::Stream<Item = ()> + Unpin + Send + 'static {
        let pushed = self.pushed.subscribe();
        Box::pin(stream::unfold(pushed, |mut pushed| async {
            // Either way it is time to look.
            _ = tokio::time::timeout(LOOK_EVERY, pushed.changed()).await;
            Some(((), pushed))
        }))
    }

    /// Task, priority and job of what waits, the next one first: the engine's own order.
    async fn waiting(&self) -> Result<Vec<(String, i64, JobId)>, StoreError> {
        let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT id, priority, job FROM Jobs WHERE job_type = ?1 AND status = 'Pending'
             ORDER BY priority DESC, run_at ASC, id ASC",
        )
        .bind(QUEUE)
        .fetch_all(&self.pool)
        .await?;
        let rows = rows.into_iter().filter_map(|(task, priority, ticket)| {
            let ticket: Ticket = serde_json::from_slice(&ticket).ok()?;
            Some((task, priority, ticket.job))
        });
        Ok(rows.collect())
    }
}

async fn push(
    connection: &mut SqliteConnection,
    job: JobId,
    priority: usize,
) -> Result<(), StoreError> {
    let task = TaskBuilder::new(ticket(job)).priority(priority).build();
    let pushed = apalis_sqlite::queries::push_tasks(connection, QUEUE, &[task]).await;
    pushed.map_err(|error| match error {
        apalis_sqlite::Error::Database(error) => error.into(),
        other => sqlx::Error::Protocol(other.to_string()).into(),
    })
}

/// A ticket as the engine stores it.
fn ticket(job: JobId) -> Vec<u8> {
    // A number in a struct: JSON can always hold it.
    serde_json::to_vec(&Ticket { job }).unwrap_or_default()
}
