//! What this machine has: found out before anything is compiled, so that what is missing is said at
//! once and not after ten minutes.

pub mod gpu;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, succeeds};

const GIB: u64 = 1 << 30;

/// Says what is missing to build on this machine.
///
/// The linker is there: this program was linked with it.
///
/// - `needed`: what will be written to the target folder and to cargo's, bytes
pub fn check(workspace: &Workspace, needed: u64) -> Result<()> {
    c_compiler(workspace)?;
    let target = workspace.target_path("");
    let room = room(&target)?;
    if room < needed {
        bail!(
            "the build needs {} of free disk space and there is {}; make room, or name another \
             folder with CARGO_TARGET_DIR=FOLDER: {}",
            gib(needed),
            gib(room),
            target.display()
        );
    }
    Ok(())
}

/// SQLite, the allocator and, with TLS, its cryptography are C.
fn c_compiler(workspace: &Workspace) -> Result<()> {
    // Microsoft's is found by the crates that use it, and comes with the linker.
    if cfg!(windows) {
        return Ok(());
    }
    let named = ["CC", "HOST_CC"].into_iter().find_map(std::env::var_os);
    let compiler = named.unwrap_or_else(|| "cc".into());
    if !succeeds(workspace.command(&compiler).arg("--version")) {
        bail!(
            "the program needs a C compiler, and `{}` does not start; install one (Debian: apt-get \
             install gcc libc6-dev; macOS: xcode-select --install), or name it with CC=FILE",
            compiler.display()
        );
    }
    Ok(())
}

/// Free bytes where a folder is, or will be.
fn room(folder: &Path) -> Result<u64> {
    let there: PathBuf = folder
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(folder)
        .into();
    fs4::available_space(&there)
        .with_context(|| format!("the free space cannot be read there: {}", there.display()))
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_small_a_disk_is_said_before_anything_is_compiled() {
        let workspace = Workspace::find().unwrap();
        let error = check(&workspace, u64::MAX).unwrap_err().to_string();
        assert!(
            error.contains("GiB") && error.contains("CARGO_TARGET_DIR"),
            "what is needed and what to do: {error}"
        );
        check(&workspace, 1).unwrap();
    }

    #[test]
    fn room_is_that_of_the_disk_on_which_a_folder_will_be() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            room(&folder.path().join("not/yet/there")).unwrap() > 0,
            "the folders above it are there"
        );
    }
}
