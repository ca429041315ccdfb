//! An empty home, and programs that know nothing else.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::contents::PROGRAM;

/// What programs on Windows cannot do without; none of it leads to another program.
const OF_THE_SYSTEM: [&str; 2] = ["SystemRoot", "windir"];

/// Folders of a user who has nothing yet, deleted at the end.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// Makes them.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("there is no room for temporary files")?;
        for name in ["home", "unpacked", "temporary", "programs"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self { folder })
    }

    /// The home itself.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Where to unpack to.
    pub fn unpacked(&self) -> PathBuf {
        self.folder.path().join("unpacked")
    }

    /// A file for what a program says.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The program of an archive, in the home, with an environment in which nothing else is found.
    pub fn mimeo(&self, folder: &Path) -> Command {
        let mut command = Command::new(folder.join(PROGRAM));
        command.current_dir(self.path()).env_clear();
        for name in ["HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"] {
            command.env(name, self.path());
        }
        let temporary = self.folder.path().join("temporary");
        for name in ["TMPDIR", "TMP", "TEMP"] {
            command.env(name, &temporary);
        }
        command.env("PATH", self.folder.path().join("programs"));
        for name in OF_THE_SYSTEM {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Runs the program to its end, for what it prints.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
        let output = self.mimeo(folder).args(arguments).output();
        let output = output.with_context(|| format!("the archive's {PROGRAM} does not start"))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("`mimeo {}` failed: {}", arguments.join(" "), why.trim_end());
        }
        Ok(output.stdout)
    }
}
