//! The workbench: Trunk makes it from `index.html`, the companion serves it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::install::{self, WebTools};
use crate::workspace::{Workspace, executable, finish};

/// Where the companion looks for the page, and `Trunk.toml` puts it.
const BUILT: &str = "companion/workbench";

/// Builds the page, after installing what that needs.
pub fn build(workspace: &Workspace) -> Result<()> {
    let tools = WebTools::install(workspace)?;
    println!("Building the page (the first time takes some minutes) …");
    finish(tools.trunk(workspace).arg("build"))
}

/// Shows what the page weighs on the network; an error if that is too much.
pub fn check_size(workspace: &Workspace) -> Result<()> {
    install::node(workspace)?;
    finish(
        workspace
            .command("node")
            .arg("tests/browser/bundle-size.mjs")
            .arg(BUILT),
    )
    .context("the page is too large")
}

/// Runs `tests/browser`: the page as it is now, in Chromium, with the companion behind it.
pub fn test_in_browser(workspace: &Workspace) -> Result<()> {
    install::node(workspace)?;
    install::npm_packages(workspace)?;
    let chromium = install::chromium(workspace)?;
    build(workspace)?;
    let tools = WebTools::install(workspace)?;
    let parity = build_parity(workspace)?;
    let mimeo = workspace.build_mimeo()?;

    let screenshots = workspace.target_path("browser");
    fs::create_dir_all(&screenshots)
        .with_context(|| format!("this folder cannot be made: {}", screenshots.display()))?;
    finish(
        workspace
            .command("node")
            .current_dir(workspace.path("tests/browser"))
            // One file after the other: they share the processor with the companion's training.
            .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
            .env("CHROMIUM", chromium)
            .env("MIMEO_BIN", mimeo)
            .env("MIMEO_PARITY", parity)
            .env("WASM_TEST_RUNNER", tools.test_runner())
            .env("MIMEO_OUT", &screenshots),
    )
    .with_context(|| {
        let shown = screenshots.display();
        format!("the page fails in the browser; what it looked like is in {shown}")
    })
}

/// Builds the parity tests for a browser and says where they are.
fn build_parity(workspace: &Workspace) -> Result<PathBuf> {
    println!("Building the parity tests for the browser …");
    let mut cargo = workspace.cargo();
    executable(
        "parity",
        cargo
            // Together with the trainer, and in its profile: so both have the same dependencies.
            .args([
                "test",
                "--package",
                "mimeo-worker",
                "--package",
                "mimeo-tests",
            ])
            .args(["--test", "parity", "--no-run"])
            .args(["--profile", "trainer", "--target", install::WASM]),
    )
}
