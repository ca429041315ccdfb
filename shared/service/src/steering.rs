//! What the user wants of the job that is running: set by clients, read between its steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mimeo_protocol::{JobControl, JobId, Transition};

use crate::store::StoredJob;

/// Wishes about one running job.
#[derive(Debug, Default)]
pub struct Steering {
    wishes: Mutex<Wishes>,
}

/// What is wanted now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Wait after this step.
    pub pause: bool,
    /// End and keep what was trained.
    pub stop: bool,
    /// Hand over the LoRA as it is.
    pub save: bool,
    /// Draw previews.
    pub preview: bool,
    /// End at once.
    pub end: Option<End>,
}

/// Why a run ends at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The user wants nothing of it.
    Discard,
    /// The server ends; the job goes on when it is back.
    Interrupt,
}

impl End {
    /// What becomes of the job.
    #[must_use]
    pub const fn transition(self) -> Transition {
        match self {
            Self::Discard => Transition::Stop,
            Self::Interrupt => Transition::Interrupt,
        }
    }
}

impl Steering {
    /// What is wanted now.
    pub fn wishes(&self) -> Wishes {
        *self.lock()
    }

    /// Changes what is wanted.
    pub fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut self.lock());
    }

    /// Takes a wish of a client.
    pub fn control(&self, control: JobControl) {
        self.wish(|wishes| match control {
            JobControl::Pause => wishes.pause = true,
            JobControl::Resume => wishes.pause = false,
            JobControl::StopAndKeep => {
                wishes.stop = true;
                wishes.pause = false;
            }
            JobControl::Discard => wishes.end = Some(End::Discard),
            JobControl::SaveNow => wishes.save = true,
            JobControl::PreviewNow => wishes.preview = true,
            JobControl::Retry => {}
        });
    }

    /// The server ends: so does the run, unless it ends already.
    pub fn interrupt(&self) {
        self.wish(|wishes| {
            wishes.end.get_or_insert(End::Interrupt);
        });
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The jobs that run, and what is wanted of each.
#[derive(Debug, Default)]
pub struct Running {
    jobs: Mutex<BTreeMap<JobId, Arc<Steering>>>,
}

impl Running {
    /// A job begins; what is wanted of it.
    pub fn begin(&self, job: &StoredJob) -> Arc<Steering> {
        let steering = Arc::new(Steering::default());
        if job.is_held() {
            // It comes back as it was: on the device, waiting for the user.
            steering.control(JobControl::Pause);
        }
        self.lock().insert(job.id, Arc::clone(&steering));
        steering
    }

    /// A job is over, or waits again.
    pub fn end(&self, id: JobId) {
        self.lock().remove(&id);
    }

    /// What is wanted of a job, if it runs.
    pub fn steering(&self, id: JobId) -> Option<Arc<Steering>> {
        self.lock().get(&id).cloned()
    }

    /// The server ends: so does every run.
    pub fn interrupt(&self) {
        for steering in self.lock().values() {
            steering.interrupt();
        }
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<Steering>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
