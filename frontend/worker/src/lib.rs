//! The trainer in the page's own browser: the engine in a Web Worker, speaking `mimeo-protocol` as
//! the companion does, so that the page cannot tell the two apart but by name.
//!
//! ```text
//! page ── frames ──▶ server ── jobs ──▶ desk (ledger, disk: OPFS)
//!      ── files ──▶ disk   └── tasks ──▶ inbox
//! trainer: takes jobs and tasks in turn, drives the engine, writes down what it reports
//! ```
//!
//! - `page`: messages to and from the page. `server`: what of it goes where; what is answered is
//!   `mimeo-service`'s, which asks the desk and `host`. `desk`: what is remembered (`ledger`), written
//!   (`disk`, at its `places`) and told.
//! - `machine`: the device, and `bases`: the bundled one, and picked files and folders. `inbox`: what waits for
//!   it, and the loop that does it. `runner`: the machine as jobs and tasks of `mimeo-service` see it,
//!   `archive`: a job's writer. `drive`: how the engine shares the thread with messages. `trainer`
//!   opens all of it.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "what was stored is on disk")
)]

pub mod desk;
pub mod inbox;
pub mod ledger;
pub mod places;

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
mod machine;
#[cfg(target_family = "wasm")]
mod page;
#[cfg(target_family = "wasm")]
mod runner;
#[cfg(target_family = "wasm")]
mod server;
#[cfg(target_family = "wasm")]
mod trainer;

#[cfg(test)]
mod tests;

/// The desk of a worker.
#[cfg(target_family = "wasm")]
type Desk = desk::Desk<std::rc::Rc<disk::Disk>, page::Page>;

/// Begins to listen to the page.
#[cfg(target_family = "wasm")]
pub fn start() {
    console_error_panic_hook::set_once();
    wasm_bindgen_futures::spawn_local(trainer::start());
}
