//! Reading a byte range of a file, wherever the file lives.
//!
//! A checkpoint is read tensor by tensor, so all that is asked of a source is a size and positional
//! reads: a file on disk and bytes in memory do so here, a browser's Blob in `mimeo-worker`. This is the one
//! place of the crate where a platform shows (the other of the project is the engine's runtime).

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "files on disk, where there are any"
)]

use std::{borrow::Cow, fs::File, io, ops::Deref, path::Path, pin::Pin};

use crate::CheckpointError;

/// A boxed future without `Send`: a browser's futures have none, and a job stays on one thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A source of bytes that can be read at any position.
///
/// It may be read from any thread, one after the other: a base reads parts of itself again when it needs
/// them, wherever it is then.
pub trait AsyncReadAt: Send + Sync {
    /// What to call this source in a message to the user: a path, or a name.
    fn name(&self) -> &str;

    /// Size in bytes. It was taken when the source was opened.
    fn size(&self) -> u64;

    /// Exactly `length` bytes from `offset` on.
    ///
    /// # Errors
    /// [`CheckpointError::ReadPastEnd`] before anything is allocated if the range is not inside the
    /// source; [`CheckpointError::Io`] if reading fails.
    fn read_at(
        &self,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'_, Result<Vec<u8>, CheckpointError>>;
}

/// A file on disk, read with positional reads.
///
/// Not memory-mapped: a map needs `unsafe`, and a file that shrinks under it ends the process.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    name: String,
    size: u64,
}

impl DiskFile {
    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    /// If it does not exist, may not be read, or is not a regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let failed = |source| CheckpointError::Io {
            file: path.display().to_string(),
            source,
        };

        // Asked before opening, because opening a named pipe waits for its other end.
        let info = std::fs::metadata(path).map_err(failed)?;
        if !info.is_file() {
            let found = if info.is_dir() {
                "a folder"
            } else {
                "a device or a pipe"
            };
            return Err(CheckpointError::NotAFile { found, file: name });
        }
        let file = File::open(path).map_err(failed)?;
        Ok(Self {
            file,
            name,
            size: info.len(),
        })
    }
}

impl AsyncReadAt for DiskFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(
        &self,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'_, Result<Vec<u8>, CheckpointError>> {
        Box::pin(async move {
            check_range(self, offset, length)?;
            let mut bytes = vec![0; length];
            platform::read_exact_at(&self.file, &mut bytes, offset).map_err(|source| {
                CheckpointError::Io {
                    file: self.name.clone(),
                    source,
                }
            })?;
            Ok(bytes)
        })
    }
}

/// Bytes in memory.
///
/// - `B`: what holds them; by itself owned or built into the program
#[derive(Debug, Clone)]
pub struct MemoryFile<B = Cow<'static, [u8]>> {
    name: String,
    bytes: B,
}

impl MemoryFile {
    /// Makes `bytes` readable; `name` is what messages call them.
    pub fn new(name: impl Into<String>, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        Self {
            name: name.into(),
            bytes: bytes.into(),
        }
    }
}

impl<B: Deref<Target: AsRef<[u8]>>> MemoryFile<B> {
    /// The same of bytes that somebody else holds as well, such as an [`Arc`](std::sync::Arc).
    pub fn shared(name: impl Into<String>, bytes: B) -> Self {
        let name = name.into();
        Self { name, bytes }
    }

    fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }
}

impl<B: Deref<Target: AsRef<[u8]>> + Send + Sync> AsyncReadAt for MemoryFile<B> {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    fn read_at(
        &self,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'_, Result<Vec<u8>, CheckpointError>> {
        Box::pin(async move {
            check_range(self, offset, length)?;
            // The range is inside the bytes, so `offset` fits the platform's usize.
            let start = offset as usize;
            Ok(self.bytes()[start..start + length].to_vec())
        })
    }
}

/// Refuses a range that is not inside `source`; every implementation asks this first.
///
/// # Errors
/// [`CheckpointError::ReadPastEnd`].
pub fn check_range(
    source: &dyn AsyncReadAt,
    offset: u64,
    length: usize,
) -> Result<(), CheckpointError> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= source.size() => Ok(()),
        _ => Err(CheckpointError::ReadPastEnd {
            offset,
            length,
            size: source.size(),
            file: source.name().to_owned(),
        }),
    }
}

#[cfg(unix)]
mod platform {
    use super::{File, io};
    use std::os::unix::fs::FileExt as _;

    pub(super) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(bytes, offset)
    }
}

#[cfg(windows)]
mod platform {
    use super::{File, io};
    use std::os::windows::fs::FileExt as _;

    /// Windows has no exact form: `seek_read` may return less than was asked.
    pub(super) fn read_exact_at(
        file: &File,
        mut bytes: &mut [u8],
        mut offset: u64,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match file.seek_read(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    bytes = &mut bytes[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(target_family = "wasm")]
mod platform {
    use super::{File, io};

    /// A page has no files by path; `DiskFile::open` already fails there.
    pub(super) fn read_exact_at(_file: &File, _bytes: &mut [u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use pollster::block_on;

    #[test]
    fn disk_and_memory_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        std::fs::write(&path, b"0123456789").unwrap();

        let on_disk = DiskFile::open(&path).unwrap();
        let in_memory = MemoryFile::new("numbers", b"0123456789".as_slice());
        let held = Arc::new(b"0123456789".to_vec());
        let shared = MemoryFile::shared("numbers", Arc::clone(&held));
        for source in [&on_disk as &dyn AsyncReadAt, &in_memory, &shared] {
            assert_eq!(source.size(), 10, "size of {}", source.name());
            let middle = block_on(source.read_at(3, 4)).unwrap();
            assert_eq!(middle, b"3456", "middle of {}", source.name());
            let nothing = block_on(source.read_at(10, 0)).unwrap();
            assert!(nothing.is_empty(), "an empty range at the end is inside");
        }
        drop(shared);
        assert!(Arc::try_unwrap(held).is_ok(), "handed back, not copied");
    }

    #[test]
    fn a_range_past_the_end_is_refused_before_it_is_allocated() {
        let source = MemoryFile::new("short", vec![0; 10]);
        for (offset, length) in [(0, 11), (10, 1), (u64::MAX, 1), (1, usize::MAX)] {
            let answer = block_on(source.read_at(offset, length));
            assert!(
                matches!(answer, Err(CheckpointError::ReadPastEnd { .. })),
                "{offset}..+{length} is outside"
            );
        }
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shrinking");
        std::fs::write(&path, [1; 100]).unwrap();
        let source = DiskFile::open(&path).unwrap();
        std::fs::write(&path, [1; 10]).unwrap();
        let answer = block_on(source.read_at(0, 100));
        assert!(
            matches!(answer, Err(CheckpointError::Io { .. })),
            "got {answer:?}"
        );
    }

    #[test]
    fn a_folder_and_a_missing_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let answer = DiskFile::open(folder.path());
        assert!(
            matches!(answer, Err(CheckpointError::NotAFile { .. })),
            "got {answer:?}"
        );
        let answer = DiskFile::open(folder.path().join("missing"));
        assert!(
            matches!(answer, Err(CheckpointError::Io { .. })),
            "got {answer:?}"
        );
    }
}
