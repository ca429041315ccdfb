//! The real companion on 127.0.0.1, and real clients.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test that cannot go on has nothing better to do than to stop"
)]
#![allow(
    clippy::print_stdout,
    reason = "what was skipped, and how often something was done, is worth a line"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test starts a companion, and connects to it"
)]

mod abuse;
mod client;
mod companion;
mod controls;
mod copiers;
mod disk;
mod guard;
mod http;
mod jobs;
mod kills;
mod limits;
mod models;
mod moments;
mod order;
mod previews;
mod reveal;
mod said;
mod sets;
mod stored;
