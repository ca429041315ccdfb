//! What was named as a base and is none, and what was meant.

use std::fs;
use std::path::{Path, PathBuf};

use mimeo_checkpoint::{
    CheckpointError, DiskFile, Family, LoraFile, SafetensorsFile, Untrainable, printable,
};

use crate::exit::BadInput;
use crate::lora_place::is_lora_folder;

/// What makes a folder a base.
const INDEX: &str = "model_index.json";
/// How whole checkpoints are called that are one file.
const SINGLE_FILES: [&str; 4] = ["safetensors", "ckpt", "pt", "gguf"];
/// How a single file becomes a folder.
const CONVERSION: &str =
    "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER) in diffusers";

/// Why a file is no base, and what to give instead.
///
/// # Errors
/// When it cannot be read.
pub async fn file(path: &Path) -> Result<BadInput, CheckpointError> {
    let folders = path.ancestors().skip(1).take(2);
    if let Some(folder) = folders.into_iter().find(|folder| is_base(folder)) {
        let why = format!(
            "this is one file of a base; give its folder, {:?}",
            shown(folder)
        );
        return Ok(BadInput::file(why, path));
    }
    Ok(BadInput::file(sentence(path).await?, path))
}

/// Why a folder is no base, if something in it or around it tells what was meant.
///
/// # Errors
/// When a file in it cannot be read.
pub async fn folder(path: &Path) -> Result<Option<BadInput>, CheckpointError> {
    if is_base(path) || path.join("unet").is_dir() {
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
        [file] => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let name = printable(&name, 100);
            refuse(format!(
                "this folder holds no base, but {name:?}: {}",
                sentence(file).await?
            ))
        }
        [..] => refuse(format!(
            "this folder holds {} single files, and Mimeo reads bases as diffusers folders; convert the one that you mean ({CONVERSION}) and give that folder",
            single.len()
        )),
    }
}

/// What a file is instead of a base, and what to do.
async fn sentence(path: &Path) -> Result<String, CheckpointError> {
    const FOLDERS: &str = "Mimeo reads bases as diffusers folders";
    let other = |found: &str| {
        format!(
            "this is {found}; choose a diffusers folder of Stable Diffusion 1.x, 2.x or XL (it holds {INDEX})"
        )
    };
    let opened = SafetensorsFile::open(Box::new(DiskFile::open(path)?)).await;
    let file = match opened {
        Ok(file) => file,
        Err(CheckpointError::Pickle { found, .. }) => {
            return Ok(format!(
                "this is a pickle ({found}), and opening a pickle can run a stranger's code, so Mimeo never does; choose the model as a diffusers folder with .safetensors in it, or convert the file if you trust it ({CONVERSION})"
            ));
        }
        Err(CheckpointError::NotSafetensors { found, .. }) => return Ok(other(found)),
        Err(error @ (CheckpointError::Io { .. } | CheckpointError::NotAFile { .. })) => {
            return Err(error);
        }
        Err(_damaged) => return Ok(other("a damaged .safetensors file")),
    };
    if LoraFile::from_tensors(&file).await.is_ok() {
        return Ok("this is a LoRA, not a base; choose a diffusers folder".to_owned());
    }
    Ok(match Family::of_file(&file).await {
        Ok(family) => match family.check_trainable() {
            Ok(()) => {
                let title = family.architecture.title();
                format!(
                    "this is a single file ({title}), and {FOLDERS}; convert it ({CONVERSION}) and give that folder"
                )
            }
            Err(Untrainable::Inpainting) => other("an inpainting model in a single file"),
            Err(Untrainable::Architecture(architecture)) => other(architecture.title()),
        },
        Err(CheckpointError::UnknownFamily { found, .. }) => other(&found),
        Err(_unreadable) => other("a damaged .safetensors file"),
    })
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
