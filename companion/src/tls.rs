//! Encryption on the network: a service beyond this computer, and the way to one.
//!
//! The one place where programs with and without TLS differ, in `built_in.rs` and `left_out.rs`:
//! who serves on loopback only needs none of its crates.

#![expect(
    clippy::disallowed_methods,
    reason = "what the client of a companion opens its connections with"
)]

#[cfg_attr(feature = "tls", path = "tls/built_in.rs")]
#[cfg_attr(not(feature = "tls"), path = "tls/left_out.rs")]
mod platform;

use hyper_util::client::legacy::connect::HttpConnector;

use crate::exit::BadInput;

pub use platform::{Connector, connector, serve};

/// Connections without TLS, that wait for nothing before they send.
fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp
}

/// Whether there is TLS for what needs it, such as `wss://`.
///
/// # Errors
/// One sentence, where it was left out.
pub fn needed_for(what: &str) -> Result<(), BadInput> {
    if cfg!(feature = "tls") {
        return Ok(());
    }
    Err(BadInput(format!(
        "this mimeo was built without TLS, which {what} needs. Start it with \
         `cargo xtask run -- --listen …`, which builds TLS in, or build it with \
         `cargo build --features tls`."
    )))
}
