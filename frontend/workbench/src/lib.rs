//! What the workbench is and does, without a page: pair, mask, recipe, tools, history and runs as
//! plain values and functions, tested without a browser.
//!
//! - [`workbench`]: the state, every [`Command`] that changes it, undo and redo.
//! - [`gathered`]: files that are dropped together become pairs.
//! - [`picture`], [`frame`]: what was dropped, and how A and B lie on each other as trained.
//! - [`fields`], [`plain`]: the recipe as the protocol's table of fields, and as three plain choices.
//! - [`prompts`]: what is said about a prompt.
//! - [`preflight`]: what keeps a pair from being trained, and the job it becomes.
//! - [`tool`], [`view`], [`keys`]: pointers and keys become commands.
//! - [`backend`]: where it trains, in the companion or in this browser; [`base_picker`]: a base among
//!   many; [`from_disk`]: those that were picked from disk; [`base_folder`]: one that is a folder.
//! - [`link`]: when to connect, to wait, to start again, and to turn to another place.
//! - [`playground`], [`lora`]: what is drawn with, and what its files are before they are sent.
//! - [`runs`]: what the server reports becomes what the page shows.
//! - [`copiers`]: finished copiers, and the one that a run builds upon.
//! - [`captions`]: tags that captions share, and captions as files.
//! - [`saved`]: the state as bytes, so that a reload loses nothing.
//!
//! The page (`mimeo-app`) draws these values and sends these commands, and decides nothing.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        reason = "what was stored is on disk, and the thread of a test may wait"
    )
)]

pub mod as_trained;
pub mod backend;
pub mod base_folder;
pub mod base_picker;
pub mod captions;
pub mod chart;
pub mod copiers;
pub mod cost;
pub mod dial;
pub mod dropped;
pub mod fields;
pub mod frame;
pub mod from_disk;
pub mod gathered;
pub mod grid;
pub mod keys;
pub mod link;
pub mod lora;
pub mod picture;
pub mod plain;
pub mod playground;
pub mod preflight;
pub mod prompts;
pub mod runs;
pub mod saved;
pub mod tool;
pub mod view;
pub mod words;
pub mod workbench;

pub use frame::{Frame, Sides};
pub use picture::{Picture, Slot};
pub use preflight::{Check, PreflightFacts, Problem, Submission, Verdict};
pub use runs::{Run, Runs};
pub use tool::{Tool, Toolbox};
pub use view::View;
pub use workbench::{Change, Command, Refusal, Remedy, Workbench};
