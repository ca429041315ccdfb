//! The workbench: cargo compiles it, `mimeo-page` makes the page, the companion serves it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::install::{self, WebTools};
use crate::workspace::{Workspace, executable, finish};

/// Where the companion looks for the page, and `Trunk.toml` puts it.
pub const BUILT: &str = "companion/workbench";

/// How the page's program is compiled to be small: what `Trunk.toml` says.
const SMALL: &str = "web";

/// How the trainer is compiled, to be fast: what `index.html` says.
pub const FAST: &str = "trainer";

/// The page's own program, the browser's trainer, and what makes a page of them.
pub const APP: &str = "mimeo-app";
pub const WORKER: &str = "mimeo-worker";
pub const MAKER: &str = "mimeo-page";

/// The trainer as a part of the page that can be left out.
const TRAINER: &str = "trainer";

/// Which page is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// As Trunk builds it.
    Whole,
    /// Without what trains in the browser.
    WithoutTrainer,
}

/// Builds the page for the companion, as it is given away: small, and its trainer fast.
pub fn build(workspace: &Workspace) -> Result<()> {
    build_into(workspace, Page::Whole, &workspace.path(BUILT))
}

fn build_into(workspace: &Workspace, page: Page, dist: &Path) -> Result<()> {
    install::wasm_target(workspace)?;
    println!("Building the page …");
    let mut wanted = vec![(APP, SMALL)];
    if page == Page::Whole {
        wanted.push((WORKER, FAST));
    }
    let mut programs = Vec::new();
    for (name, profile) in wanted {
        let compiled = executable(name, &mut compile(workspace, name, profile))?;
        programs.push((name, compiled));
    }
    make(workspace, &maker(workspace)?, &programs, dist)
}

/// Compiles a program for the browser.
pub fn compile(workspace: &Workspace, name: &str, profile: &str) -> Command {
    let mut cargo = workspace.building_cargo();
    cargo
        .args(["build", "--package", name, "--bin", name])
        .args(["--profile", profile, "--target", install::WASM]);
    cargo
}

/// Makes a page of compiled programs.
///
/// - `programs`: with their names; without that of the trainer, the page is one that cannot train
pub fn make(
    workspace: &Workspace,
    maker: &Path,
    programs: &[(&str, PathBuf)],
    dist: &Path,
) -> Result<()> {
    let mut make = workspace.command(maker);
    make.args(["make", "--index", "index.html", "--dist"])
        .arg(dist);
    // One of these pages, each in a folder that is called otherwise.
    let name = dist.file_name().context("a page has a folder")?;
    let notes = workspace.target_path("xtask");
    fs::create_dir_all(&notes)
        .with_context(|| format!("this folder cannot be made: {}", notes.display()))?;
    make.arg("--note")
        .arg(notes.join(name).with_extension("page"));
    if !programs.iter().any(|(name, _)| *name == WORKER) {
        make.args(["--without", TRAINER]);
    }
    for (name, compiled) in programs {
        let mut named = OsString::from(format!("{name}="));
        named.push(compiled);
        make.arg("--program").arg(named);
    }
    finish(&mut make)
}

/// Builds the page with Trunk too, elsewhere, and compares: the two must not drift apart.
pub fn compare_with_trunk(workspace: &Workspace) -> Result<()> {
    let tools = WebTools::install(workspace)?;
    build(workspace)?;
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
    let mut maker = workspace.command(maker(workspace)?);
    finish(maker.arg("compare").arg(BUILT).arg(trunks))
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

/// Which tests in a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the page does.
    Page,
    /// What its trainer computes, which takes software that stands in for a GPU as long as all else.
    Trainer,
}

/// The files of `tests/browser` that compare numbers, and look at no clock.
const OF_TRAINER: [&str; 2] = ["parity.test.mjs", "webgpu.test.mjs"];

impl Part {
    fn has(self, file: &str) -> bool {
        OF_TRAINER.contains(&file) == (self == Self::Trainer)
    }

    /// Names of its files.
    fn files(self, folder: &Path) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).context("the tests in the browser are not there")? {
            let name = entry.context("the tests in the browser cannot be listed")?;
            files.extend(name.file_name().into_string());
        }
        files.retain(|name| name.ends_with(".test.mjs") && self.has(name));
        files.sort();
        Ok(files)
    }
}

/// Runs `tests/browser`: the page as it is now, in Chromium, with the companion behind it.
pub fn test_in_browser(workspace: &Workspace, part: Part) -> Result<()> {
    install::node(workspace)?;
    install::npm_packages(workspace)?;
    let chromium = install::chromium(workspace)?;
    build(workspace)?;
    let without_trainer = workspace.target_path("without-trainer");
    let parity = workspace.target_path("parity");
    match part {
        Part::Page => build_into(workspace, Page::WithoutTrainer, &without_trainer)?,
        Part::Trainer => build_parity(workspace, &parity)?,
    }
    let mimeo = workspace.build_mimeo()?;

    let screenshots = workspace.target_path("browser");
    fs::create_dir_all(&screenshots)
        .with_context(|| format!("this folder cannot be made: {}", screenshots.display()))?;
    let tests = workspace.path("tests/browser");
    finish(
        workspace
            .command("node")
            .current_dir(&tests)
            // One file after the other: they share the processor with the companion's training.
            .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
            .args(part.files(&tests)?)
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

/// Builds the parity tests for a browser, and a page that runs them.
fn build_parity(workspace: &Workspace, page: &Path) -> Result<()> {
    println!("Building the parity tests for the browser …");
    let mut cargo = workspace.building_cargo();
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
    let mut maker = workspace.command(maker(workspace)?);
    finish(maker.arg("tests").arg(compiled).arg("--dist").arg(page))
}

/// `mimeo-page`, built.
fn maker(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = workspace.building_cargo();
    executable(MAKER, cargo.args(["build", "--package", MAKER]))
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

    #[test]
    fn the_trainers_tests_are_there_and_all_others_are_the_pages() {
        let folder = Workspace::find().unwrap().path("tests/browser");
        let files = |part: Part| part.files(&folder).unwrap();
        assert_eq!(files(Part::Trainer), OF_TRAINER, "by name");
        let page = files(Part::Page);
        assert!(
            page.contains(&"workbench.test.mjs".to_owned())
                && !page.contains(&OF_TRAINER[0].into()),
            "{page:?}"
        );
    }
}
