//! What the user wants of the job that is running: set by connections, read between its steps.

use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// The service ends; the job goes on when it is back.
    Interrupt,
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

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
