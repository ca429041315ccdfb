//! Pictures by the SHA-256 of their bytes: uploaded by clients, or drawn as previews.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mimeo_image::ImageError;
use mimeo_protocol::BlobId;
use sha2::{Digest as _, Sha256};

use super::folder::DataFolder;

/// Largest picture file that is taken.
pub const MAX_BLOB_BYTES: usize = 64 << 20;
/// A picture that no job names goes after this long.
const UNUSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Why a picture was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The bytes are not those of the id.
    #[error("these bytes are not the picture {id}. Send it again.")]
    OtherBytes {
        /// What was announced.
        id: BlobId,
    },
    /// It is no picture that can be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// There are too many.
    #[error(
        "the pictures take {limit} MiB already, which is the limit. Delete old runs, or start with a larger --max-blobs."
    )]
    Full {
        /// In MiB.
        limit: u64,
    },
    /// The disk did not take it.
    #[error("the picture could not be stored ({0}). Free some space and try again.")]
    Io(#[from] io::Error),
}

/// The pictures on disk.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: Arc<DataFolder>,
    limit_bytes: u64,
    used_bytes: Arc<AtomicU64>,
}

impl Blobs {
    /// Takes stock of what is there.
    pub fn open(folder: Arc<DataFolder>, limit_bytes: u64) -> Self {
        let sizes = files(&folder).filter_map(|path| fs::metadata(path).ok());
        let used = sizes.map(|info| info.len()).sum();
        Self {
            folder,
            limit_bytes,
            used_bytes: Arc::new(AtomicU64::new(used)),
        }
    }

    /// Whether a picture is there.
    pub fn has(&self, id: BlobId) -> bool {
        self.folder.blob(id).is_file()
    }

    /// The bytes of a picture.
    pub fn read(&self, id: BlobId) -> io::Result<Vec<u8>> {
        fs::read(self.folder.blob(id))
    }

    /// Takes an uploaded picture, if it is one and matches its id.
    pub fn take(&self, id: BlobId, bytes: &[u8]) -> Result<(), BlobError> {
        if id_of(bytes) != id {
            return Err(BlobError::OtherBytes { id });
        }
        // The whole of it, so that a damaged one is refused now and not in the middle of a job; the
        // decoder's own limits stop decompression bombs before they unfold.
        mimeo_image::decode(bytes)?;
        self.store(id, bytes)
    }

    /// Keeps a picture that was drawn here.
    pub fn keep(&self, bytes: &[u8]) -> Result<BlobId, BlobError> {
        let id = id_of(bytes);
        self.store(id, bytes)?;
        Ok(id)
    }

    fn store(&self, id: BlobId, bytes: &[u8]) -> Result<(), BlobError> {
        if self.has(id) {
            return Ok(());
        }
        let size = bytes.len() as u64;
        let used = self.used_bytes.fetch_add(size, Ordering::Relaxed) + size;
        let stored = if used > self.limit_bytes {
            let limit = self.limit_bytes >> 20;
            Err(BlobError::Full { limit })
        } else {
            DataFolder::write(&self.folder.blob(id), bytes).map_err(BlobError::from)
        };
        if stored.is_err() {
            self.used_bytes.fetch_sub(size, Ordering::Relaxed);
        }
        stored
    }

    /// Removes pictures that nothing names and that are not fresh.
    pub fn remove_unused(&self, named: &HashSet<BlobId>) {
        let old = SystemTime::now() - UNUSED_FOR;
        for path in files(&self.folder) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_named = name.parse().is_ok_and(|id| named.contains(&id));
            let Ok(info) = fs::metadata(&path) else {
                continue;
            };
            let is_old = info.modified().is_ok_and(|modified| modified < old);
            if !is_named && is_old && fs::remove_file(&path).is_ok() {
                self.used_bytes.fetch_sub(info.len(), Ordering::Relaxed);
            }
        }
    }
}

/// The id of these bytes.
pub fn id_of(bytes: &[u8]) -> BlobId {
    BlobId::from_sha256(Sha256::digest(bytes).into())
}

fn files(folder: &DataFolder) -> impl Iterator<Item = PathBuf> {
    let groups = fs::read_dir(folder.blobs()).into_iter().flatten().flatten();
    let files = groups.flat_map(|group| fs::read_dir(group.path()).into_iter().flatten());
    files.flatten().map(|file| file.path())
}
