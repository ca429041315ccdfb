//! Ctrl+C: the first one asks a training run to end and keep what it has; the second one, or one
//! at any other time, ends the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::exit::Exit;
use crate::{console, output};

static STOP: AtomicBool = AtomicBool::new(false);
static LISTENING: AtomicBool = AtomicBool::new(false);

/// Takes over Ctrl+C.
///
/// # Errors
/// When the system refuses a handler.
pub fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        let again = STOP.swap(true, Ordering::Relaxed);
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
    /// Short beside the time that anything takes that ends a service.
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let flag = listen();
    while !flag.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// From here on the first Ctrl+C only sets this flag, which the engine asks between steps.
pub fn listen() -> &'static AtomicBool {
    LISTENING.store(true, Ordering::Relaxed);
    &STOP
}
