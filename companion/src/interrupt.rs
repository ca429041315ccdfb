//! Ctrl+C: the first one asks a training run to end and keep what it has; the second one, or one
//! at any other time, ends the program.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime;
use tokio::sync::Notify;

use crate::exit::Exit;
use crate::{console, writing};

static STOP: AtomicBool = AtomicBool::new(false);
static LISTENING: AtomicBool = AtomicBool::new(false);
static REQUESTED: Notify = Notify::const_new();

/// Takes over Ctrl+C, on a thread of its own: the others may be in the middle of a long step.
///
/// # Errors
/// When the system refuses a handler.
pub fn install() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    // Before the thread starts, so that from here on none is missed.
    let mut pressed = {
        let _entered = runtime.enter();
        #[cfg(unix)]
        let pressed = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        #[cfg(windows)]
        let pressed = tokio::signal::windows::ctrl_c();
        pressed?
    };
    let listening = async move {
        while pressed.recv().await.is_some() {
            on_interrupt();
        }
    };
    let thread = std::thread::Builder::new().name("interrupt".to_owned());
    thread.spawn(move || runtime.block_on(listening)).map(drop)
}

fn on_interrupt() {
    let again = STOP.swap(true, Ordering::Relaxed);
    REQUESTED.notify_one();
    if LISTENING.load(Ordering::Relaxed) && !again {
        console::err("Stopping after this step… Press Ctrl+C again to abort.");
    } else {
        writing::wait_for_writers();
        console::err("error: aborted, so nothing more was saved.");
        std::process::exit(Exit::Stopped as i32);
    }
}

/// Resolves at the first Ctrl+C; a second one ends the program.
pub async fn requested() {
    if !listen().load(Ordering::Relaxed) {
        REQUESTED.notified().await;
    }
}

/// From here on the next Ctrl+C ends the program, whether or not there was one before: nothing is
/// left that could stop by itself.
pub fn end_at_the_next() {
    LISTENING.store(false, Ordering::Relaxed);
}

/// From here on the first Ctrl+C only sets this flag, which the engine asks between steps.
pub fn listen() -> &'static AtomicBool {
    LISTENING.store(true, Ordering::Relaxed);
    &STOP
}
