//! `cargo xtask run`: one bundled pair in, one working LoRA and a sheet to look at out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::workspace::{Workspace, finish};

/// Where the bundled example pairs are: a folder for each edit.
const PAIRS: &str = "shared/base/pairs";

#[derive(clap::Args)]
pub struct Arguments {
    /// What the pair changes: a folder of shared/base/pairs.
    #[arg(long, default_value = "glasses")]
    edit: String,
    /// How the pair becomes a LoRA.
    #[arg(long, value_enum, default_value_t = Method::Copier)]
    method: Method,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    Copier,
    Addift,
}

/// The three files of an example.
pub struct ExamplePair {
    pub original: PathBuf,
    pub target: PathBuf,
    pub mask: PathBuf,
}

impl ExamplePair {
    /// The first bundled pair of an edit.
    ///
    /// # Errors
    ///
    /// When there is none; lists those that there are.
    pub fn find(workspace: &Workspace, edit: &str) -> Result<Self> {
        let edits = list_edits(&workspace.path(PAIRS))?;
        if !edits.iter().any(|known| known == edit) {
            bail!(
                "there is no bundled pair {edit:?}; choose one of {}",
                edits.join(", ")
            );
        }
        let file = |role: &str| workspace.path(&format!("{PAIRS}/{edit}/00_{role}.png"));
        Ok(Self {
            original: file("A"),
            target: file("B"),
            mask: file("mask"),
        })
    }
}

pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let pair = ExamplePair::find(workspace, &arguments.edit)?;
    println!("Nothing to install: training on the CPU needs Rust alone.");
    println!("A GPU is used when its driver is there ({GPU_DRIVER}).");
    let mimeo = workspace.build_mimeo()?;

    let out = workspace.path("out");
    fs::create_dir_all(&out)
        .with_context(|| format!("this folder cannot be made: {}", out.display()))?;
    let (lora, sheet) = fresh_files(&out, &format!("{}-{}", arguments.edit, arguments.method));

    println!();
    finish(
        workspace
            .command(&mimeo)
            .args(["train", "--base", "bundled"])
            .args(["--method", &arguments.method.to_string()])
            .arg("--original")
            .arg(&pair.original)
            .arg("--target")
            .arg(&pair.target)
            .arg("--mask")
            .arg(&pair.mask)
            .arg("--out")
            .arg(&lora),
    )?;
    finish(
        workspace
            .command(&mimeo)
            .args(["grid", "--base", "bundled", "--strengths", "0,1"])
            .arg("--lora")
            .arg(&lora)
            .arg("--out")
            .arg(&sheet),
    )?;

    println!();
    println!("The LoRA:                          {}", lora.display());
    println!("The same people without and with: {}", sheet.display());
    Ok(())
}

const GPU_DRIVER: &str = if cfg!(target_os = "macos") {
    "Metal: part of the system"
} else if cfg!(windows) {
    "DirectX 12 or Vulkan: part of every graphics driver"
} else {
    "Vulkan: your GPU maker's driver or mesa-vulkan-drivers"
};

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Copier => "copier",
            Self::Addift => "addift",
        })
    }
}

fn list_edits(pairs: &Path) -> Result<Vec<String>> {
    let entries = pairs
        .read_dir()
        .with_context(|| format!("the bundled pairs cannot be listed: {}", pairs.display()))?;
    let mut edits = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    edits.sort();
    Ok(edits)
}

/// The LoRA and its sheet under the first number that neither has: earlier results stay.
fn fresh_files(folder: &Path, stem: &str) -> (PathBuf, PathBuf) {
    let mut number = 1_u32;
    loop {
        let file = |extension: &str| folder.join(format!("{stem}-{number}.{extension}"));
        let (lora, sheet) = (file("safetensors"), file("png"));
        if !lora.exists() && !sheet.exists() {
            return (lora, sheet);
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_results_keep_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hat-copier-1.safetensors"), "").unwrap();
        fs::write(folder.path().join("hat-copier-2.png"), "").unwrap();
        let (lora, sheet) = fresh_files(folder.path(), "hat-copier");
        assert_eq!(
            (lora, sheet),
            (
                folder.path().join("hat-copier-3.safetensors"),
                folder.path().join("hat-copier-3.png")
            ),
            "1 has a LoRA and 2 a sheet already"
        );
    }

    #[test]
    fn every_bundled_edit_has_its_three_pictures() {
        let workspace = Workspace::find().unwrap();
        for edit in list_edits(&workspace.path(PAIRS)).unwrap() {
            let pair = ExamplePair::find(&workspace, &edit).unwrap();
            for file in [pair.original, pair.target, pair.mask] {
                assert!(file.is_file(), "missing: {}", file.display());
            }
        }
    }

    #[test]
    fn an_unknown_edit_is_answered_with_the_known_ones() {
        let workspace = Workspace::find().unwrap();
        let Err(error) = ExamplePair::find(&workspace, "../pairs/hat") else {
            panic!("a path is no edit");
        };
        assert!(
            error.to_string().contains("closed_eyes, glasses"),
            "the sentence lists them: {error}"
        );
    }
}
