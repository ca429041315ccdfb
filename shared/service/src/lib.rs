//! What a server of the protocol does wherever it runs: in the companion, or in a worker of the
//! browser.
//!
//! A server queues jobs, runs one after the other, and answers questions between its steps. How it
//! waits, where it keeps things and how clients reach it is its own; what it decides and writes
//! down is here. Nothing blocks, and nothing knows a file, a thread or the time of day.
//!
//! ```text
//! message ─▶ Server ─▶ Store ─▶ (the queue) ─▶ prepare ─▶ engine ⇄ Recorder ─▶ Archive
//!         rules, plan  │                                    ▲         ▲
//!                      └─▶ Host ───────────────────▶ draw ──┘         └── Steering
//! ```

#![cfg_attr(any(test, feature = "conformance"), allow(clippy::unwrap_used))]

pub mod archive;
pub mod bases;
pub mod blob;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod draw;
pub mod error;
pub mod host;
pub mod pace;
pub mod plan;
pub mod prepare;
pub mod recorder;
pub mod rules;
pub mod server;
pub mod steering;
pub mod store;

pub use archive::{Archive, KeptPicture, NewCopier, Trouble};
pub use error::ServiceError;
pub use host::{Answer, Host, Program};
pub use prepare::{JobToRun, Prepared, Shelf};
pub use recorder::{Next, Recorder, SaveRule, Shared, Went};
pub use server::{Reply, Server};
pub use steering::{End, Running, Steering, Wishes};
pub use store::{KeptJob, Listed, Store, StoredJob};
