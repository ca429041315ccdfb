//! What the checks need beside Rust, installed when it is missing.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, finish, succeeds};

const DRIVERS: &str = "mesa-vulkan-drivers";

/// Where Vulkan's loader finds its drivers on Linux.
const DRIVER_FOLDERS: [&str; 3] = [
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
];

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

/// Installs a software Vulkan driver on Debian and its relatives, for the test of the GPU path.
///
/// Says so when it cannot: that test then prints that it was skipped, everything else is unharmed.
pub fn software_vulkan(workspace: &Workspace) {
    if !cfg!(target_os = "linux") || DRIVER_FOLDERS.iter().any(has_llvmpipe) {
        return;
    }
    if !Path::new("/etc/debian_version").exists() {
        return say_that_the_gpu_test_is_skipped("install your system's Mesa Vulkan drivers");
    }
    let Some(privilege) = Privilege::find(workspace) else {
        return say_that_the_gpu_test_is_skipped(&format!("run `sudo apt-get install {DRIVERS}`"));
    };
    println!("Installing {DRIVERS}, for the test of the GPU path …");
    let installed = privilege
        .run(workspace, &["update", "--quiet=2"])
        .and_then(|()| {
            privilege.run(
                workspace,
                &[
                    "install",
                    "--quiet=2",
                    "--yes",
                    "--no-install-recommends",
                    DRIVERS,
                ],
            )
        });
    if let Err(error) = installed {
        say_that_the_gpu_test_is_skipped(&format!("see why apt-get failed ({error:#})"));
    }
}

/// How `apt-get` may be called.
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    fn find(workspace: &Workspace) -> Option<Self> {
        let id = workspace.command("id").arg("-u").output().ok()?;
        if id.stdout.trim_ascii() == b"0" {
            return Some(Self::Root);
        }
        // -n: a question for a password would stop an unattended run for good.
        succeeds(workspace.command("sudo").args(["-n", "true"])).then_some(Self::Sudo)
    }

    fn run(&self, workspace: &Workspace, arguments: &[&str]) -> Result<()> {
        let mut command: Command = match self {
            Self::Root => workspace.command("apt-get"),
            Self::Sudo => workspace.command("sudo"),
        };
        if matches!(self, Self::Sudo) {
            command.args(["-n", "apt-get"]);
        }
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        finish(&mut command)
    }
}

/// Whether Mesa's software driver (`lvp_icd.<architecture>.json`) is in a folder.
fn has_llvmpipe(folder: impl AsRef<Path>) -> bool {
    let Ok(entries) = folder.as_ref().read_dir() else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("lvp_icd"))
}

fn say_that_the_gpu_test_is_skipped(remedy: &str) {
    println!();
    println!("*** No software Vulkan driver: the GPU path is NOT tested here.");
    println!("*** To test it, {remedy}.");
    println!();
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn mesas_software_driver_is_recognised_among_others() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_llvmpipe(&folder), "an empty folder holds no driver");
        fs::write(folder.path().join("intel_icd.x86_64.json"), "{}").unwrap();
        assert!(!has_llvmpipe(&folder), "intel's driver needs its GPU");
        fs::write(folder.path().join("lvp_icd.x86_64.json"), "{}").unwrap();
        assert!(has_llvmpipe(&folder), "lvp is llvmpipe's Vulkan driver");
    }

    #[test]
    fn a_folder_that_is_not_there_holds_no_driver() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            !has_llvmpipe(folder.path().join("missing")),
            "most systems lack some of the folders"
        );
    }
}
