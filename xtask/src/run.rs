//! `cargo xtask run`: from a checkout to the workbench in the browser.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::page::{self, Page};
use crate::workspace::Workspace;

#[derive(clap::Args)]
pub struct Arguments {
    /// Build the page with the trainer that runs in the browser; takes some minutes more.
    #[arg(long)]
    browser: bool,
    /// Arguments for `mimeo serve`, such as `--no-open` or `--port 7000`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Builds the page and the program, and serves until Ctrl+C.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    page::build(workspace, Page::soon(arguments.browser))?;
    let mimeo = workspace.build_mimeo()?;
    println!();
    become_program(
        workspace
            .command(mimeo)
            // Paths among the arguments are relative to where the user is.
            .current_dir(env::current_dir().context("this folder was deleted; choose another")?)
            .arg("serve")
            .args(&arguments.arguments),
    )
}

/// Ends only with the program, in whose hands Ctrl+C then is: it still saves the running job.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec()).context("the built program does not start")
}

/// As above, but that both hear Ctrl+C.
#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<()> {
    crate::workspace::finish(command)
}
