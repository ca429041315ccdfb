//! The trainer in the page's own browser: the engine in a Web Worker, speaking `mimeo-protocol` as
//! the companion does, so that the page cannot tell the two apart but by name.
//!
//! ```text
//! page ── frames ──▶ server ── jobs ──▶ ledger ──▶ disk (OPFS)
//!      ── files ──▶ disk   └── tasks ──▶ inbox
//! trainer: takes jobs and tasks in turn, drives the engine, writes down what it reports
//! ```
//!
//! - `page`: messages to and from the page. `server`: what the page asks for. `ledger`: what is
//!   remembered. `disk`: where it is kept. `bases`: the bundled base and picked folders.
//! - `inbox`: what waits for the device, and the loop that does it. `trainer`: all that it works
//!   with. `host`: the device as a job sees it, whose loop is `mimeo_service::run`. `archive`: its
//!   writer. `drive`: how the engine shares the thread with messages.

pub mod inbox;
pub mod ledger;

#[cfg(target_family = "wasm")]
mod archive;
#[cfg(target_family = "wasm")]
mod bases;
#[cfg(target_family = "wasm")]
mod disk;
#[cfg(target_family = "wasm")]
mod drive;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(target_family = "wasm")]
mod page;
#[cfg(target_family = "wasm")]
mod server;
#[cfg(target_family = "wasm")]
mod trainer;

/// Begins to listen to the page.
#[cfg(target_family = "wasm")]
pub fn start() {
    console_error_panic_hook::set_once();
    wasm_bindgen_futures::spawn_local(trainer::start());
}
