//! What a server of the protocol does wherever it runs: in the companion, or in a worker of the
//! browser.
//!
//! A server queues jobs, runs one after the other, and answers questions between its steps. How it
//! waits, where it keeps things and how clients reach it is its own; what it decides and writes
//! down is here. Nothing blocks, and nothing knows a file, a thread or the time of day.
//!
//! ```text
//! request ─▶ rules, plan ─▶ the server's queue ─▶ run ─▶ prepare, engine ⇄ Host
//!                                                  │                       ▲
//!                                     Recorder ◀───┴──▶ Schedule ◀── Steering
//!                                        └──▶ Archive
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod archive;
pub mod bases;
pub mod blob;
pub mod error;
pub mod host;
mod pace;
pub mod plan;
pub mod prepare;
mod recorder;
mod results;
pub mod rules;
pub mod run;
mod schedule;
pub mod shelf;
pub mod steering;
pub mod task;

pub use archive::{Archive, KeptPicture, NewCopier, Trouble, Unwritten};
pub use error::ServiceError;
pub use host::Host;
pub use run::{JobToRun, run};
pub use schedule::SaveRule;
pub use shelf::Shelf;
pub use steering::{End, Steering, Wishes};
pub use task::Task;
