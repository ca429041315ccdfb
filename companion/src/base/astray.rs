//! What was named as a base and is none, and what was meant.

use std::fs;
use std::path::Path;

use mimeo_checkpoint::CheckpointError;
use mimeo_checkpoint::folder::MODEL_INDEX;
use mimeo_checkpoint::folder::astray::{self, Astray};

use crate::exit::BadInput;

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
    let meant = Astray::among(inside(path).iter().map(String::as_str));
    // Of `base/unet/` the parent is asked for, of `.` none is known by name.
    if let Some(above) = path.parent().filter(|above| is_base(above))
        && meant != Some(Astray::Lora)
    {
        return refuse(format!(
            "this is one part of a base; give the folder above it, {:?}",
            shown(above)
        ));
    }
    let Some(meant) = meant else {
        return Ok(None);
    };
    if let Astray::SingleFile { file } = &meant {
        match super::open_file(&path.join(file)).await {
            Ok(_) => {}
            Err(error @ CheckpointError::Io { .. }) => return Err(error),
            Err(error) => {
                return refuse(format!(
                    "this folder holds no base, and of the file in it: {error}"
                ));
            }
        }
    }
    refuse(meant.sentence("give", |name| format!("{:?}", shown(&path.join(name)))))
}

/// Whether a folder is in diffusers' layout, though perhaps no base.
pub fn is_diffusers_folder(folder: &Path) -> bool {
    astray::is_diffusers_folder(|path| folder.join(path).exists())
}

fn is_base(folder: &Path) -> bool {
    folder.join(MODEL_INDEX).is_file()
}

fn shown(path: &Path) -> String {
    let is_here = path == Path::new("");
    let path = if is_here { Path::new(".") } else { path };
    path.display().to_string()
}

/// The files in a folder, and of folders in it the index; nothing of one that cannot be read.
fn inside(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        match path.is_dir() {
            true => is_base(&path).then(|| format!("{name}/{MODEL_INDEX}")),
            false => path.is_file().then_some(name),
        }
    });
    paths.collect()
}
