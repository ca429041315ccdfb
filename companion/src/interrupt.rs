//! Ctrl+C: the first one asks a training run to end and keep what it has; the second one, or one
//! at any other time, ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::exit::Exit;
use crate::{console, output};

static STOP: AtomicBool = AtomicBool::new(false);
static LISTENING: AtomicBool = AtomicBool::new(false);
static REQUESTED: Notify = Notify::const_new();

/// Takes over Ctrl+C.
///
/// # Errors
/// When the system refuses a handler.
pub fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        let again = STOP.swap(true, Ordering::Relaxed);
        REQUESTED.notify_one();
        if LISTENING.load(Ordering::Relaxed) && !again {
            console::err("Stopping after this step… Press Ctrl+C again to abort.");
        } else {
            output::wait_for_writers();
            console::err("error: aborted, so nothing more was saved.");
            std::process::exit(Exit::Stopped as i32);
        }
    })
}

/// Resolves at the first Ctrl+C; a second one ends the program.
pub async fn requested() {
    if !listen().load(Ordering::Relaxed) {
        REQUESTED.notified().await;
    }
}

/// From here on the first Ctrl+C only sets this flag, which the engine asks between steps.
pub fn listen() -> &'static AtomicBool {
    LISTENING.store(true, Ordering::Relaxed);
    &STOP
}
