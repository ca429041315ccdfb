//! The jobs of this service: what the queue hands out, and how it ends.

use std::sync::Arc;

use mimeo_protocol::{JobId, JobState};
use mimeo_service::{KeptJob, Server, Store as _};
use tokio::sync::watch;

use super::host::Companion;
use super::store::SqliteStore;
use crate::console;

/// What answers the clients, and whether it still does.
#[derive(Clone)]
pub struct Jobs {
    /// Answers the clients.
    pub server: Arc<Server<SqliteStore, Companion>>,
    /// Whether the service ends.
    pub ending: watch::Sender<bool>,
}

impl Jobs {
    /// After a start: every job that is not over waits. One that cannot be read is told of.
    pub async fn recover(&self) -> anyhow::Result<()> {
        for job in self.server.recover().await? {
            console::err(&format!(
                "Note: job {} does not run: {}",
                job.id, job.message
            ));
        }
        Ok(())
    }

    /// The queue's handler: does a job, if it still waits.
    pub async fn run(self, id: JobId) {
        self.server.store.tell_order().await;
        if *self.ending.borrow() {
            std::future::pending::<()>().await;
        }
        match self.server.store.job(id).await {
            Ok(Some(KeptJob::Readable(job))) if job.state == JobState::Queued => {
                let steering = self.server.running.begin(&job);
                self.server.host.trainer.train(*job, steering).await;
                self.server.running.end(id);
                if *self.ending.borrow() {
                    // Interrupted: returning would tell the queue that the job is done.
                    std::future::pending::<()>().await;
                }
            }
            // Discarded meanwhile, or handed out twice.
            Ok(Some(KeptJob::Readable(_)) | None) => {}
            Ok(Some(KeptJob::Unreadable(job))) => {
                console::err(&format!(
                    "error: job {id} cannot be begun ({}).",
                    job.message
                ));
            }
            Err(error) => console::err(&format!("error: job {id} cannot be begun ({error}).")),
        }
    }

    /// Ends the running job so that it can go on after the next start.
    pub fn interrupt(&self) {
        self.ending.send_replace(true);
        self.server.running.interrupt();
        self.server.host.trainer.nudge();
    }

    /// Whether a job runs.
    pub fn is_busy(&self) -> bool {
        !self.server.running.is_empty()
    }
}
