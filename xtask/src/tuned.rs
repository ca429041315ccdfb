//! The tuned engine: the program once more, with the compilers of the platform's graphics API, several
//! kernels to choose from and fusion. `companion/src/tuned.rs` decides where it computes.
//!
//! It has a target folder of its own: with other features, Burn is another one.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// The companion's feature for it here.
pub const FEATURE: &str = if cfg!(target_os = "macos") {
    "metal"
} else {
    "vulkan"
};
/// Its target folder, in that of all else.
pub const TARGET: &str = "tuned";

/// Builds it as `cargo xtask run` builds the program.
///
/// - `features`: of the program beside it
pub fn build(workspace: &Workspace, features: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo
        .args([
            "build",
            "--package",
            "mimeo-companion",
            "--no-default-features",
        ])
        .args([
            "--features",
            &format!("{features},mimeo-companion/{FEATURE}"),
        ])
        .arg("--target-dir")
        .arg(workspace.target_path(TARGET));
    cargo
}

/// Puts it beside the program, where that looks for it.
///
/// # Errors
///
/// When it cannot be copied.
pub fn put_beside(program: &Path, tuned: &Path) -> Result<()> {
    let place = place(program);
    let copied = fs::copy(tuned, &place);
    copied.with_context(|| format!("this file cannot be written: {}", place.display()))?;
    Ok(())
}

/// Takes it away again, where a program is built that has none.
pub fn remove_beside(program: &Path) {
    // Where there is none, nothing is to be done.
    _ = fs::remove_file(place(program));
}

/// `mimeo-tuned` of `mimeo`.
fn place(program: &Path) -> PathBuf {
    let mut name = OsString::from(program.file_stem().unwrap_or_default());
    name.push("-tuned");
    name.push(std::env::consts::EXE_SUFFIX);
    program.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_beside_the_program_as_the_program_calls_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let suffix = std::env::consts::EXE_SUFFIX;
            folder.path().join(format!("{name}{suffix}"))
        };
        fs::write(path("built"), "tuned").unwrap();
        put_beside(&path("mimeo"), &path("built")).unwrap();
        assert_eq!(fs::read_to_string(path("mimeo-tuned")).unwrap(), "tuned");
        remove_beside(&path("mimeo"));
        assert!(!path("mimeo-tuned").exists(), "gone");
        remove_beside(&path("mimeo"));
    }
}
