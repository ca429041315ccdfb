//! What a server of the protocol does wherever it runs: in the companion, or in a worker of the
//! browser.
//!
//! A server queues jobs, runs one after the other, and answers questions between its steps. How it
//! waits, where it keeps things and how clients reach it is its own; what it decides and writes
//! down is here. Nothing blocks, and nothing knows a file, a thread or the time of day.
//!
//! ```text
//! message ─▶ Server ─▶ Store ─▶ (the queue) ─▶ run ─▶ prepare, engine ⇄ Runner
//!         rules, plan  │                         │                       ▲
//!                      └─▶ Host ─▶ Task ─────────┼──▶ Schedule ◀── Steering
//!                                                └──▶ Recorder ─▶ Archive
//! ```

#![cfg_attr(any(test, feature = "conformance"), allow(clippy::unwrap_used))]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "the thread of a test may wait")
)]

pub mod archive;
pub mod bases;
pub mod blob;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod host;
mod pace;
pub mod plan;
pub mod prepare;
mod recorder;
mod results;
pub mod rules;
pub mod run;
pub mod runner;
mod schedule;
pub mod server;
pub mod shelf;
pub mod steering;
pub mod store;
pub mod task;

pub use archive::{Archive, KeptPicture, NewCopier, Trouble, Unwritten};
pub use error::ServiceError;
pub use host::{Answer, Host, Program};
pub use run::run;
pub use runner::{Runner, WantedBase};
pub use schedule::SaveRule;
pub use server::{Reply, Server};
pub use shelf::Shelf;
pub use steering::{End, Running, Steering, Wishes};
pub use store::{ImportedCopier, KeptJob, Listed, Store, StoredJob, copier_file_name};
pub use task::Task;
