//! What tells without reading it whether a base is still the same: sizes and times of its files.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Files of one folder that count: a checkpoint has some twenty.
const MAX_FILES: usize = 2000;

/// Sizes and times of all files of a base, wherever it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// Size of its files together.
    pub bytes: u64,
    /// Of their paths inside it, their sizes and times.
    pub seal: u64,
}

impl Stamp {
    /// Of a file or a diffusers folder.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(path: &Path) -> io::Result<Self> {
        let info = fs::metadata(path)?;
        if !info.is_dir() {
            return Ok(Self::of_one(&info));
        }
        Ok(Self::of_files(&files_of(path)?))
    }

    /// Of one file.
    pub fn of_one(info: &Metadata) -> Self {
        Self::of_files(&[(PathBuf::new(), info.clone())])
    }

    fn of_files(files: &[(PathBuf, Metadata)]) -> Self {
        let mut hash = Sha256::new();
        for (path, info) in files {
            let path = path.to_string_lossy();
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(&*path);
            hash.update(info.len().to_le_bytes());
            // A system without times still has sizes.
            let modified = info.modified().unwrap_or(UNIX_EPOCH);
            let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            hash.update(since.as_nanos().to_le_bytes());
        }
        let digest = hash.finalize();
        Self {
            bytes: files.iter().map(|(_, info)| info.len()).sum(),
            seal: u64::from_le_bytes(std::array::from_fn(|at| digest[at])),
        }
    }
}

/// The files of a diffusers folder, by their paths in it: components are folders, and no folder of
/// theirs is read.
///
/// # Errors
/// What the system says.
pub fn files_of(folder: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let (mut files, mut components) = (Vec::new(), Vec::new());
    let mut add = |inner: &Path, components: &mut Vec<PathBuf>| -> io::Result<()> {
        for entry in fs::read_dir(folder.join(inner))?.flatten().take(MAX_FILES) {
            let path = inner.join(entry.file_name());
            // Of what a link leads to: a download's cache is made of links.
            match fs::metadata(entry.path()) {
                Ok(info) if info.is_file() && files.len() < MAX_FILES => files.push((path, info)),
                Ok(info) if info.is_dir() => components.push(path),
                _ => {}
            }
        }
        Ok(())
    };
    add(Path::new(""), &mut components)?;
    for component in components {
        add(&component, &mut Vec::new())?;
    }
    files.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_stamp_changes_with_size_time_and_names_and_not_with_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let (base, moved) = (folder.path().join("base"), folder.path().join("moved"));
        fs::create_dir_all(base.join("unet")).unwrap();
        let weights = base.join("unet/model.safetensors");
        fs::write(&weights, "1234").unwrap();
        fs::write(base.join("model_index.json"), "{}").unwrap();
        let first = Stamp::of(&base).unwrap();
        assert_eq!(first.bytes, 6, "all of it");
        assert_eq!(Stamp::of(&base).unwrap(), first, "read again");
        fs::rename(&base, &moved).unwrap();
        assert_eq!(Stamp::of(&moved).unwrap(), first, "wherever it lies");
        let weights = moved.join("unet/model.safetensors");
        let file = fs::File::options().write(true).open(&weights).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(9))
            .unwrap();
        let touched = Stamp::of(&moved).unwrap();
        assert_ne!(touched, first, "its time");
        fs::rename(&weights, moved.join("unet/other.safetensors")).unwrap();
        assert_ne!(Stamp::of(&moved).unwrap(), touched, "its name");
        assert!(Stamp::of(&base).is_err(), "what is gone has none");
    }
}
