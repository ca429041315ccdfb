//! What the commands need beside Rust, installed when it is missing.

mod browser;
mod debian;
mod vulkan;
mod web;

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, finish, succeeds};

pub use browser::{chromium, node, npm_packages};
pub use vulkan::software_vulkan;
pub use web::{WASM, WebTools, wasm_target};

/// Adds rustfmt and clippy to the toolchain in use, where rustup left them out.
pub fn rust_components(workspace: &Workspace) -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if succeeds(workspace.cargo().args([subcommand, "--version"])) {
            continue;
        }
        println!("Installing {component} …");
        finish(
            workspace
                .command("rustup")
                .args(["component", "add", component]),
        )
        .with_context(|| format!("the checks need {component}; install it, then run them again"))?;
    }
    Ok(())
}
