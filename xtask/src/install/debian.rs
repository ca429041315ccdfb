//! Packages of Debian and its relatives.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, finish, succeeds};

/// Installs packages.
///
/// - `what`: what they bring, as one says it on any system
///
/// # Errors
///
/// When that is not possible here; the sentence then says what the user can do about it.
pub fn install(workspace: &Workspace, packages: &[&str], what: &str) -> Result<()> {
    if !Path::new("/etc/debian_version").exists() {
        bail!("install {what} the way your system does it");
    }
    let names = packages.join(" ");
    let Some(privilege) = Privilege::find(workspace) else {
        bail!("run `sudo apt-get install {names}`");
    };
    println!("Installing {names} …");
    let mut install = vec!["install", "--quiet=2", "--yes", "--no-install-recommends"];
    install.extend(packages);
    privilege
        .run(workspace, &["update", "--quiet=2"])
        .and_then(|()| privilege.run(workspace, &install))
        .with_context(|| format!("see why apt-get cannot install {names}"))
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
