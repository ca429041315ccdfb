//! What the user wants of the job that is running: set by clients, read between its steps.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mimeo_protocol::{JobControl, Transition};

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
