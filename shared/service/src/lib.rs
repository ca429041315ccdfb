//! What a server of the protocol does wherever it runs: in the companion, or in a worker of the
//! browser.
//!
//! A server queues jobs, runs one after the other, and answers questions between its steps. How it
//! waits, where it keeps things and how clients reach it is its own; what it decides and writes
//! down is here. Nothing blocks, and nothing knows a file, a thread or the time of day.
//!
//! ```text
//! request ─▶ rules, plan ─▶ the server's queue ─▶ prepare ─▶ engine ⇄ Recorder ─▶ Archive
//!                                                              ▲        ▲
//!                                             draw ────────────┘        └──── Steering
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod archive;
pub mod bases;
pub mod blob;
pub mod draw;
pub mod error;
pub mod pace;
pub mod plan;
pub mod prepare;
pub mod recorder;
pub mod rules;
pub mod steering;

pub use archive::{Archive, KeptPicture, NewCopier, Trouble};
pub use error::ServiceError;
pub use prepare::{JobToRun, Prepared, Shelf};
pub use recorder::{Next, Recorder, SaveRule, Shared, Went};
pub use steering::{End, Steering, Wishes};
