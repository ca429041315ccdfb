//! What the tests in the browser run with: Node, the packages of `tests/browser`, Chromium.
//!
//! What cannot be installed here is an error: a test that did not run must not look like one that
//! passed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::debian;
use crate::workspace::{Workspace, answer, finish, same_contents};

/// The oldest Node that the packages run on.
const OLDEST_NODE: u32 = 20;

/// Where Debian puts it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Makes sure that `node` and npm are there.
pub fn node(workspace: &Workspace) -> Result<()> {
    if has_node(workspace) {
        return Ok(());
    }
    let needed = || format!("the page's checks need Node {OLDEST_NODE} or newer, with npm");
    debian::install(workspace, &["nodejs", "npm"], "Node and npm").with_context(needed)?;
    if !has_node(workspace) {
        bail!(
            "{}, and this system's is older; install one from https://nodejs.org",
            needed()
        );
    }
    Ok(())
}

/// Installs the packages of `tests/browser`, in exactly the versions of its lock file.
pub fn npm_packages(workspace: &Workspace) -> Result<()> {
    let folder = workspace.path("tests/browser");
    let locked = folder.join("package-lock.json");
    // Written last, so an interrupted installation is taken up again.
    let installed = folder.join("node_modules/installed-lock.json");
    if same_contents(&locked, &installed) {
        return Ok(());
    }
    println!("Installing the packages of tests/browser …");
    finish(workspace.command(npm()).current_dir(&folder).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]))
    .context("the tests in the browser need their packages; npm says why it cannot get them")?;
    fs::copy(&locked, &installed)
        .with_context(|| format!("this file cannot be written: {}", installed.display()))?;
    Ok(())
}

/// Chromium: the one that `CHROMIUM` names, else Debian's.
pub fn chromium(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(named) = env::var_os("CHROMIUM") {
        let named = PathBuf::from(named);
        if !named.exists() {
            bail!(
                "CHROMIUM names a browser that is not there; correct or unset it: {}",
                named.display()
            );
        }
        return Ok(named);
    }
    if !Path::new(CHROMIUM).exists() {
        debian::install(workspace, &["chromium"], "Chromium").context(
            "the tests in the browser need Chromium; if yours is elsewhere, name it with CHROMIUM=FILE",
        )?;
    }
    Ok(CHROMIUM.into())
}

fn has_node(workspace: &Workspace) -> bool {
    let said = answer(workspace.command("node").arg("--version"));
    said.is_some_and(|text| major(&text) >= Some(OLDEST_NODE))
        && answer(workspace.command(npm()).arg("--version")).is_some()
}

fn npm() -> &'static str {
    if cfg!(windows) { "npm.cmd" } else { "npm" }
}

/// The first number of a version such as "v20.20.2".
fn major(version: &str) -> Option<u32> {
    let (major, _) = version.trim().strip_prefix('v')?.split_once('.')?;
    major.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_version_is_understood() {
        assert_eq!(major("v20.20.2\n"), Some(20), "as Node prints it");
        assert_eq!(major("node: not found"), None, "no version");
        assert!(
            major("?") < Some(OLDEST_NODE),
            "what is not understood is too old"
        );
    }
}
