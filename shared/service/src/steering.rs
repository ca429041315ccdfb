//! What the user wants of the job that is running: set by clients, read between its steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mimeo_protocol::{JobControl, JobId, Transition};

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
    jobs: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    running: BTreeMap<JobId, Arc<Steering>>,
    /// Those that the user had paused before the server ended; they have yet to begin again.
    held: BTreeSet<JobId>,
}

impl Running {
    /// A job begins; what is wanted of it.
    pub fn begin(&self, id: JobId) -> Arc<Steering> {
        let steering = Arc::new(Steering::default());
        let mut jobs = self.lock();
        if jobs.held.remove(&id) {
            // It comes back as it was: on the device, waiting for the user.
            steering.control(JobControl::Pause);
        }
        jobs.running.insert(id, Arc::clone(&steering));
        steering
    }

    /// A job is over, or waits again.
    pub fn end(&self, id: JobId) {
        self.lock().running.remove(&id);
    }

    /// What is wanted of a job, if it runs.
    pub fn steering(&self, id: JobId) -> Option<Arc<Steering>> {
        self.lock().running.get(&id).cloned()
    }

    /// When the job begins, it is paused.
    pub fn hold(&self, id: JobId) {
        self.lock().held.insert(id);
    }

    /// When the job begins, it is not paused.
    pub fn release(&self, id: JobId) {
        self.lock().held.remove(&id);
    }

    /// The server ends: so does every run.
    pub fn interrupt(&self) {
        for steering in self.lock().running.values() {
            steering.interrupt();
        }
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.lock().running.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
