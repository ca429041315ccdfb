//! What was named as a base and is none, and what was meant.

use std::fs;
use std::path::{Path, PathBuf};

use mimeo_checkpoint::CheckpointError;

use crate::exit::BadInput;
use crate::lora_source::is_lora_folder;

/// What makes a folder a base.
const INDEX: &str = "model_index.json";
/// How whole checkpoints are called that are one file.
const SINGLE_FILES: [&str; 4] = ["safetensors", "ckpt", "pt", "gguf"];

/// Refuses a file that is one of many of a base.
///
/// # Errors
/// With the folder to give instead.
pub fn refuse_part(path: &Path) -> Result<(), BadInput> {
    let folders = path.ancestors().skip(1).take(2);
    match folders.into_iter().find(|folder| is_base(folder)) {
        None => Ok(()),
        Some(folder) => {
            let why = format!(
                "this is one file of a base; give its folder, {:?}",
                shown(folder)
            );
            Err(BadInput::file(why, path))
        }
    }
}

/// Why a folder is no base, if something in it or around it tells what was meant.
///
/// # Errors
/// When a file in it cannot be read.
pub async fn folder(path: &Path) -> Result<Option<BadInput>, CheckpointError> {
    if is_diffusers_folder(path) {
        return Ok(None);
    }
    let refuse = |why: String| Ok(Some(BadInput::file(why, path)));
    if is_lora_folder(path) {
        return refuse("this is a LoRA's folder, not a base; choose a diffusers folder".to_owned());
    }
    // Of `base/unet/` the parent is asked for, of `.` none is known by name.
    if let Some(above) = path.parent().filter(|above| is_base(above)) {
        return refuse(format!(
            "this is one part of a base; give the folder above it, {:?}",
            shown(above)
        ));
    }
    let entries = entries(path);
    let inner: Vec<&PathBuf> = entries.iter().filter(|entry| is_base(entry)).collect();
    match inner[..] {
        [] => {}
        [inner] => {
            return refuse(format!(
                "the base is one folder further down; give {:?}",
                shown(inner)
            ));
        }
        [first, ..] => {
            return refuse(format!(
                "this folder holds several bases; give one, such as {:?}",
                shown(first)
            ));
        }
    }
    let is_single = |entry: &&PathBuf| {
        let extension = entry.extension().unwrap_or_default().to_string_lossy();
        entry.is_file() && SINGLE_FILES.contains(&&*extension.to_ascii_lowercase())
    };
    let single: Vec<&PathBuf> = entries.iter().filter(is_single).collect();
    match single[..] {
        [] => Ok(None),
        [file] => match super::open_file(file).await {
            Ok(_) => refuse(format!(
                "the base is the single file in this folder; give {:?}",
                shown(file)
            )),
            Err(error @ CheckpointError::Io { .. }) => Err(error),
            Err(error) => refuse(format!(
                "this folder holds no base, and of the file in it: {error}"
            )),
        },
        [first, ..] => refuse(format!(
            "this folder holds {} single files; give the one that you mean, such as {:?}",
            single.len(),
            shown(first)
        )),
    }
}

/// Whether a folder is in diffusers' layout, though perhaps no base: one without a UNet too, so that
/// it is refused for what it is.
pub fn is_diffusers_folder(folder: &Path) -> bool {
    folder.join("unet").is_dir() || is_base(folder)
}

fn is_base(folder: &Path) -> bool {
    folder.join(INDEX).is_file()
}

fn shown(path: &Path) -> String {
    let is_here = path == Path::new("");
    let path = if is_here { Path::new(".") } else { path };
    path.display().to_string()
}

/// What is in a folder, by name; nothing of one that cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    entries.sort();
    entries
}
