//! Pictures by the SHA-256 of their bytes: uploaded by clients, or drawn as previews.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mimeo_image::{ImageError, Rgb, decode};
use mimeo_protocol::BlobId;
use mimeo_service::blob::id_of;

use super::folder::DataFolder;
use super::room::{Full, Room};

/// A picture that no job names goes after this long.
const UNUSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Sizes that are remembered: far more pictures than are at work at once.
const MAX_SIZES: usize = 10_000;

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
    #[error(transparent)]
    Full(#[from] Full),
    /// The disk did not take it.
    #[error("the picture could not be stored ({0}). Free some space and try again.")]
    Io(#[from] io::Error),
}

/// The pictures on disk.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: Arc<DataFolder>,
    room: Room,
    /// Of pictures that were decoded already, which takes long for large ones.
    sizes: Arc<Mutex<HashMap<BlobId, (u32, u32)>>>,
}

impl Blobs {
    /// Takes stock of what is there.
    pub fn open(folder: Arc<DataFolder>, room: Room) -> Self {
        room.count(&folder.blobs());
        Self {
            folder,
            room,
            sizes: Arc::default(),
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

    /// Width and height of a picture, if it is here and is one.
    pub fn size(&self, id: BlobId) -> Option<(u32, u32)> {
        if let Some(size) = self.sizes().get(&id) {
            return Some(*size);
        }
        let picture = decode(&self.read(id).ok()?).ok()?.picture;
        Some(self.remember_size(id, &picture))
    }

    /// Takes an uploaded picture, if it is one and matches its id.
    pub fn take(&self, id: BlobId, bytes: &[u8]) -> Result<(), BlobError> {
        if id_of(bytes) != id {
            return Err(BlobError::OtherBytes { id });
        }
        // The whole of it, so that a damaged one is refused now and not in the middle of a job; the
        // decoder's own limits stop decompression bombs before they unfold.
        let picture = decode(bytes)?.picture;
        self.store(id, bytes)?;
        self.remember_size(id, &picture);
        Ok(())
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
        let taken = self.room.take(bytes.len() as u64)?;
        DataFolder::write(&self.folder.blob(id), bytes)?;
        taken.keep();
        Ok(())
    }

    fn remember_size(&self, id: BlobId, picture: &Rgb) -> (u32, u32) {
        let size = (picture.width(), picture.height());
        let mut sizes = self.sizes();
        if sizes.len() >= MAX_SIZES {
            sizes.clear();
        }
        sizes.insert(id, size);
        size
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<BlobId, (u32, u32)>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes pictures that nothing names and that are not fresh.
    pub fn remove_unused(&self, named: &HashSet<BlobId>) {
        self.room.clear(&self.folder.blobs(), UNUSED_FOR, named);
    }
}
