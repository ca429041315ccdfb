//! The workbench: cargo compiles it, `mimeo-page` makes the page, the companion serves it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::install::{self, WebTools};
use crate::workspace::{Workspace, executable, finish};

/// Where the companion looks for the page, and `Trunk.toml` puts it.
const BUILT: &str = "companion/workbench";

/// How the page's program is compiled to be small: what `Trunk.toml` says.
pub const SMALL: &str = "web";

/// How the trainer is compiled, to be fast: what `index.html` says.
pub const FAST: &str = "trainer";

/// Which page is built.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The cargo profile of its own program.
    profile: &'static str,
    /// Whether it can train by itself, in the browser.
    has_trainer: bool,
}

impl Page {
    /// As Trunk builds it, small and fast.
    pub const WHOLE: Self = Self {
        profile: SMALL,
        has_trainer: true,
    };

    /// As soon as possible: it shares macros and build scripts with the companion, and is not optimised
    /// as a whole. The browser's trainer takes as long again as all the rest.
    pub const fn soon(has_trainer: bool) -> Self {
        Self {
            profile: "dev",
            has_trainer,
        }
    }
}

/// Builds the page for the companion, after installing what that needs.
pub fn build(workspace: &Workspace, page: Page) -> Result<()> {
    build_into(workspace, page, &workspace.path(BUILT))
}

fn build_into(workspace: &Workspace, page: Page, dist: &Path) -> Result<()> {
    install::wasm_target(workspace)?;
    println!("Building the page (the first time takes some minutes) …");
    let mut make = maker(workspace)?;
    make.args(["make", "--index", "index.html", "--dist"])
        .arg(dist);
    add_program(&mut make, workspace, "mimeo-app", page.profile)?;
    if page.has_trainer {
        add_program(&mut make, workspace, "mimeo-worker", FAST)?;
    } else {
        make.args(["--without", "trainer"]);
    }
    finish(&mut make)
}

/// Builds the page with Trunk too, elsewhere, and compares: the two must not drift apart.
pub fn compare_with_trunk(workspace: &Workspace) -> Result<()> {
    let tools = WebTools::install(workspace)?;
    build(workspace, Page::WHOLE)?;
    // It would keep the JavaScript of dependencies that the page had once.
    let stale = workspace.target_path("wasm-bindgen");
    if stale.exists() {
        fs::remove_dir_all(&stale)
            .with_context(|| format!("this folder cannot be deleted: {}", stale.display()))?;
    }
    let trunks = workspace.target_path("trunk");
    finish(
        tools
            .trunk(workspace)
            .args(["build", "--dist"])
            .arg(&trunks),
    )?;
    finish(maker(workspace)?.arg("compare").arg(BUILT).arg(trunks))
        .context("`mimeo-page` makes another page than Trunk does")
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
    build(workspace, Page::WHOLE)?;
    let without_trainer = workspace.target_path("without-trainer");
    let page = Page {
        has_trainer: false,
        ..Page::WHOLE
    };
    build_into(workspace, page, &without_trainer)?;
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
            .env("MIMEO_WITHOUT_TRAINER", without_trainer)
            .env("MIMEO_OUT", &screenshots),
    )
    .with_context(|| {
        let shown = screenshots.display();
        format!("the page fails in the browser; what it looked like is in {shown}")
    })
}

/// Builds the parity tests for a browser, and a page that runs them; says where it is.
fn build_parity(workspace: &Workspace) -> Result<PathBuf> {
    println!("Building the parity tests for the browser …");
    let mut cargo = workspace.cargo();
    let compiled = executable(
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
            .args(["--profile", FAST, "--target", install::WASM]),
    )?;
    let page = workspace.target_path("parity");
    let mut make = maker(workspace)?;
    finish(make.arg("tests").arg(compiled).arg("--dist").arg(&page))?;
    Ok(page)
}

/// `mimeo-page`, built.
fn maker(workspace: &Workspace) -> Result<Command> {
    let mut cargo = workspace.cargo();
    let maker = executable(
        "mimeo-page",
        cargo.args(["build", "--package", "mimeo-page"]),
    )?;
    Ok(workspace.command(maker))
}

/// Compiles a program for the browser and tells the maker where it is.
fn add_program(make: &mut Command, workspace: &Workspace, name: &str, profile: &str) -> Result<()> {
    let mut cargo = workspace.cargo();
    let compiled = executable(
        name,
        cargo
            .args(["build", "--package", name, "--bin", name])
            .args(["--profile", profile, "--target", install::WASM]),
    )?;
    make.arg("--program").arg(named(name, &compiled));
    Ok(())
}

fn named(name: &str, file: &Path) -> OsString {
    let mut named = OsString::from(name);
    named.push("=");
    named.push(file);
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trunk_compiles_with_the_same_profiles() {
        let workspace = Workspace::find().unwrap();
        let read = |name: &str| fs::read_to_string(workspace.path(name)).unwrap();
        let small = format!("cargo_profile = \"{SMALL}\"");
        assert!(
            read("Trunk.toml").contains(&small),
            "the page's own program"
        );
        let fast = format!("data-cargo-profile=\"{FAST}\"");
        assert!(read("index.html").contains(&fast), "the trainer");
    }
}
