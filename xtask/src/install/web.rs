//! What makes a page of Rust: the standard library for the browser; and what our own maker of pages is
//! compared with, `wasm-bindgen` and Trunk.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, answer, finish};

/// The browser, as rustc calls it.
pub const WASM: &str = "wasm32-unknown-unknown";

/// 0.22 needs a newer Rust than the workspace does.
const TRUNK: &str = "0.21.14";

/// Optimised little: they run for seconds, and their own profiles compile for ten minutes.
const QUICK_BUILD: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_LTO", "false"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
];

/// Adds the browser's standard library to the toolchain in use.
pub fn wasm_target(workspace: &Workspace) -> Result<()> {
    let mut rustc = workspace.rustc();
    rustc.args(["--print", "target-libdir", "--target", WASM]);
    if answer(&mut rustc).is_some_and(|folder| PathBuf::from(folder).exists()) {
        return Ok(());
    }
    println!("Installing Rust's standard library for {WASM} …");
    finish(workspace.command("rustup").args(["target", "add", WASM])).with_context(|| {
        format!("the page needs Rust's target {WASM}; install it, then run this again")
    })
}

/// `wasm-bindgen` and Trunk, in the versions that make this page.
pub struct WebTools {
    /// Where they are installed to: a folder of the user's cache, for all checkouts.
    root: PathBuf,
    /// The folders that programs are searched in: first theirs, then the user's.
    search_path: OsString,
}

impl WebTools {
    /// Installs what is missing.
    pub fn install(workspace: &Workspace) -> Result<Self> {
        wasm_target(workspace)?;
        let tools = Self::find(workspace)?;
        let bindgen = workspace.locked_version("wasm-bindgen", WASM)?;
        let wanted = [
            Tool {
                package: "wasm-bindgen-cli",
                program: "wasm-bindgen",
                version: &bindgen,
                // Of three programs one, which connects to nobody. Not `--locked`: a version that its own
                // lock file pins is gone from crates.io.
                flags: &["--no-default-features", "--bin", "wasm-bindgen"],
            },
            Tool {
                package: "trunk",
                program: "trunk",
                version: TRUNK,
                // It would only look for updates, and download what is there.
                flags: &["--no-default-features", "--locked"],
            },
        ];
        // One folder for both, which share most of what they are made of.
        let scratch = workspace.target_path("tools");
        for tool in wanted.iter().filter(|tool| !tools.have(tool)) {
            tools.add(workspace, tool, &scratch)?;
        }
        if scratch.exists() {
            // More than a gigabyte that nobody needs any more.
            fs::remove_dir_all(&scratch)
                .with_context(|| format!("this folder cannot be deleted: {}", scratch.display()))?;
        }
        Ok(tools)
    }

    /// Trunk, which finds the other tools.
    pub fn trunk(&self, workspace: &Workspace) -> Command {
        let mut trunk = workspace.command("trunk");
        trunk
            .env("PATH", &self.search_path)
            // It would ask for newer versions of itself.
            .env("TRUNK_SKIP_VERSION_CHECK", "true")
            // It reads the customary NO_COLOR=1 as a wrong argument.
            .env_remove("NO_COLOR");
        trunk
    }

    fn find(workspace: &Workspace) -> Result<Self> {
        let root = workspace.cache_path("tools")?;
        let inherited = env::var_os("PATH").unwrap_or_default();
        let folders = iter::once(root.join("bin")).chain(env::split_paths(&inherited));
        let search_path = env::join_paths(folders)
            .context("the folder of the page's tools cannot stand in PATH; move your cache")?;
        Ok(Self { root, search_path })
    }

    fn have(&self, tool: &Tool<'_>) -> bool {
        let mut command = Command::new(tool.program);
        command.env("PATH", &self.search_path).arg("--version");
        answer(&mut command).is_some_and(|text| is_version(&text, tool.version))
    }

    fn add(&self, workspace: &Workspace, tool: &Tool<'_>, scratch: &Path) -> Result<()> {
        println!("Installing {} {} …", tool.package, tool.version);
        finish(
            workspace
                .cargo()
                .args(["install", tool.package, "--version", tool.version])
                .args(tool.flags)
                .arg("--root")
                .arg(&self.root)
                .arg("--target-dir")
                .arg(scratch)
                .envs(QUICK_BUILD)
                // Or cargo would advise the user to change it.
                .env("PATH", &self.search_path),
        )
        .with_context(|| {
            let package = tool.package;
            format!("the comparison needs {package}; cargo says why it cannot be installed")
        })
    }
}

/// A program that cargo can install.
struct Tool<'a> {
    package: &'a str,
    program: &'a str,
    version: &'a str,
    flags: &'a [&'a str],
}

/// Whether a program says of itself, as in "trunk 0.21.14", that it is of this very version.
fn is_version(said: &str, version: &str) -> bool {
    said.split_whitespace().nth(1) == Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_of_nearly_the_right_version_is_the_wrong_one() {
        assert!(is_version("trunk 0.21.14", "0.21.14"), "that one");
        assert!(
            is_version("wasm-bindgen 0.2.130 (abc 2026-01-01)", "0.2.130"),
            "with more said"
        );
        assert!(
            !is_version("wasm-bindgen 0.2.13", "0.2.130"),
            "an older one"
        );
        assert!(!is_version("", "0.2.130"), "silence");
    }

    #[test]
    fn the_version_of_wasm_bindgen_is_the_one_that_the_page_is_compiled_with() {
        let workspace = Workspace::find().unwrap();
        let version = workspace.locked_version("wasm-bindgen", WASM).unwrap();
        assert!(version.starts_with("0.2."), "found {version}");
    }
}
