//! Held while a file is being written, so that a second Ctrl+C cannot leave half of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

static WRITING: Mutex<()> = Mutex::new(());

/// A file is being written for as long as this is kept.
pub fn begin() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns once no file is half-written.
pub fn wait_for_writers() {
    drop(begin());
}
