//! Files the program writes: claimed before the work starts, whole or not there at all.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use crate::exit::BadInput;

/// What to do about a file that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone and say so.
    Refuse,
    /// Replace it, once the new one is complete.
    Replace,
}

impl From<bool> for Existing {
    /// From the flag `--overwrite`.
    fn from(overwrite: bool) -> Self {
        if overwrite {
            Self::Replace
        } else {
            Self::Refuse
        }
    }
}

/// A place for a file, checked to be writable.
#[derive(Debug)]
pub struct OutFile {
    path: PathBuf,
    existing: Existing,
}

/// A finished result that could not be put where it belongs.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The result is safe elsewhere.
    #[error(
        "{reason}, so the result lies in {kept:?}; move it from there once the place you asked for can take it: {file:?}"
    )]
    KeptElsewhere {
        /// Why not there.
        reason: String,
        /// Where instead.
        kept: String,
        /// Where it should be.
        file: String,
    },
    /// It is nowhere.
    #[error(
        "{reason}, and neither could the system's temporary folder take the result; make room and run this again: {file:?}"
    )]
    Lost {
        /// Why not there.
        reason: String,
        /// Where it should be.
        file: String,
    },
}

impl OutFile {
    /// Checks, before any work is done, that a file can be written at `path`.
    ///
    /// # Errors
    /// When something is there that must stay, the folder is missing, or it cannot be written to.
    pub fn claim(path: &Path, existing: Existing) -> Result<Self, BadInput> {
        let refuse = |why: &str| Err(BadInput::file(why, path));
        if path.file_name().is_none() {
            return refuse("this is no name for a file; end it with one");
        }
        let mut path = path.to_path_buf();
        // Not `exists()`, which a broken link passes.
        if let Ok(info) = fs::symlink_metadata(&path) {
            if info.is_symlink() {
                path = fs::canonicalize(&path).map_err(|error| {
                    let why = format!("the link leads nowhere ({error}); remove it");
                    BadInput::file(why, &path)
                })?;
            }
            if !path.is_file() {
                let why = "there is something else than a file here; choose another name";
                return Err(BadInput::file(why, &path));
            }
            if existing == Existing::Refuse {
                return refuse("this file exists already; choose another name or add --overwrite");
            }
        }
        let claimed = Self { path, existing };
        let folder = claimed.folder();
        if !folder.is_dir() {
            let why = "there is no such folder; create it or choose another one";
            return Err(BadInput::file(why, folder));
        }
        claimed.temporary().map_err(|error| {
            let why =
                format!("nothing can be written to this folder ({error}); choose another one");
            BadInput::file(why, folder)
        })?;
        Ok(claimed)
    }

    /// A free name beside `path`: `x.safetensors` and `_copy` give `x_copy.safetensors`, or
    /// `x_copy_2.safetensors` if that exists.
    pub fn beside(path: &Path, suffix: &str) -> Result<Self, BadInput> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let name = |count: u32| match count {
            1 => format!("{stem}{suffix}.{extension}"),
            _ => format!("{stem}{suffix}_{count}.{extension}"),
        };
        let free = (1..1000)
            .map(|count| path.with_file_name(name(count)))
            .find(|path| fs::symlink_metadata(path).is_err());
        let path = free.unwrap_or_else(|| path.with_file_name(name(1000)));
        Self::claim(&path, Existing::Refuse)
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same for people and machines; JSON could not hold a path that is no Unicode.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Puts the whole file there, or nothing. If its place cannot take it, it goes to the system's
    /// temporary folder.
    ///
    /// # Errors
    /// [`SaveError`], which says where the result is instead.
    pub fn save(&self, bytes: &[u8]) -> Result<(), SaveError> {
        let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(error) = self.write(bytes) else {
            return Ok(());
        };
        let file = self.path.display().to_string();
        let reason = reason(&error);
        Err(match self.rescue(bytes) {
            Ok(kept) => SaveError::KeptElsewhere {
                reason,
                kept: kept.display().to_string(),
                file,
            },
            Err(_) => SaveError::Lost { reason, file },
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = filled(self.temporary()?, bytes)?;
        match self.existing {
            Existing::Replace => temporary.persist(&self.path),
            Existing::Refuse => temporary.persist_noclobber(&self.path),
        }
        .map_err(|error| error.error)?;
        sync_folder(self.folder())
    }

    fn rescue(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let extension = self.path.extension().unwrap_or_default().to_string_lossy();
        let temporary = tempfile::Builder::new()
            .prefix("mimeo-")
            .suffix(&format!(".{extension}"))
            .tempfile()?;
        let (_, path) = filled(temporary, bytes)?
            .keep()
            .map_err(|error| error.error)?;
        Ok(path)
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// In the same folder, so that the final rename is atomic; it goes away when dropped.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".mimeo-");
        // Otherwise only the owner could read the result; the user's umask still applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder.tempfile_in(self.folder())
    }
}

/// Writes a file whole or not at all, over one that is there.
///
/// # Errors
/// What the system says; the old file is unharmed then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = OutFile {
        path: path.to_path_buf(),
        existing: Existing::Replace,
    };
    file.write(bytes)
}

/// Held while a file is being written, so that a second Ctrl+C cannot leave half of it.
static WRITING: Mutex<()> = Mutex::new(());

/// Returns once no file is half-written.
pub fn wait_for_writers() {
    drop(WRITING.lock().unwrap_or_else(PoisonError::into_inner));
}

fn filled(mut file: NamedTempFile, bytes: &[u8]) -> io::Result<NamedTempFile> {
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Without this the new name may be gone after a power cut.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::QuotaExceeded => "your disk quota is used up".to_owned(),
        io::ErrorKind::AlreadyExists => {
            "another program created a file of this name meanwhile".to_owned()
        }
        _ => format!("the file could not be written ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_file_is_whole_and_alone_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        let out = OutFile::claim(&path, Existing::Refuse).unwrap();
        assert!(!path.exists(), "claiming creates nothing");
        out.save(b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole", "the content");
        let entries = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(entries, 1, "no temporary file is left");
    }

    #[test]
    fn an_existing_file_is_refused_or_replaced_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        fs::write(&path, "old").unwrap();
        let error = OutFile::claim(&path, Existing::Refuse).unwrap_err();
        assert!(error.to_string().contains("--overwrite"), "{error}");
        let out = OutFile::claim(&path, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old", "kept until the new one");
        out.save(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new", "replaced");
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_kept_and_so_is_the_result() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        let out = OutFile::claim(&path, Existing::Refuse).unwrap();
        fs::write(&path, "theirs").unwrap();
        let error = out.save(b"ours").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"theirs", "not overwritten");
        let SaveError::KeptElsewhere { kept, .. } = error else {
            panic!("the temporary folder takes it: {error}");
        };
        assert_eq!(fs::read(&kept).unwrap(), b"ours", "nothing is lost");
        fs::remove_file(kept).unwrap();
    }

    #[test]
    fn a_free_name_is_found_beside_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let first = OutFile::beside(&path, "_copy").unwrap();
        assert!(first.path().ends_with("x_copy.safetensors"), "{first:?}");
        first.save(b"").unwrap();
        let second = OutFile::beside(&path, "_copy").unwrap();
        assert!(
            second.path().ends_with("x_copy_2.safetensors"),
            "{second:?}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_instead_of_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let out = OutFile::claim(&link, Existing::Replace).unwrap();
        out.save(b"new").unwrap();
        assert!(link.is_symlink(), "still a link");
        assert_eq!(fs::read(&real).unwrap(), b"new", "its file was replaced");
    }
}
