//! LoRAs that clients upload to draw with, by the SHA-256 of their bytes.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mimeo_checkpoint::{
    AsyncReadAt, BoxFuture, CheckpointError, DiskFile, LoraFile, LoraFileError,
};
use mimeo_engine::runtime;
use mimeo_protocol::BlobId;
use mimeo_service::rules::MAX_LORA_BYTES;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::folder::DataFolder;
use super::room::{Full, Room, Taken};

/// An uploaded LoRA goes after this long: nothing names it but the page that sent it.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Why a LoRA was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoraError {
    /// The bytes are not those of the id.
    #[error("these bytes are not the LoRA {id}. Send it again.")]
    OtherBytes {
        /// What was announced.
        id: BlobId,
    },
    /// It has too many.
    #[error("a LoRA has at most {limit} MiB. Choose a smaller one.")]
    TooLarge {
        /// In MiB.
        limit: u64,
    },
    /// It is no LoRA that can be used.
    #[error(transparent)]
    Unreadable(#[from] LoraFileError),
    /// There are too many.
    #[error(transparent)]
    Full(#[from] Full),
    /// The disk did not take it.
    #[error("the LoRA could not be stored ({0}). Free some space and try again.")]
    Io(#[from] io::Error),
}

/// The uploaded LoRAs on disk.
#[derive(Debug, Clone)]
pub struct Loras {
    folder: Arc<DataFolder>,
    room: Room,
}

/// A LoRA on its way: gone again unless it is finished.
#[derive(Debug)]
pub struct Upload {
    id: BlobId,
    place: PathBuf,
    file: NamedTempFile,
    hash: Sha256,
    bytes: u64,
    taken: Taken,
}

impl Loras {
    /// Takes stock of what is there, and removes what is old.
    pub fn open(folder: Arc<DataFolder>, room: Room) -> Self {
        room.count(&folder.loras());
        room.clear(&folder.loras(), KEPT_FOR, &HashSet::new());
        Self { folder, room }
    }

    /// The file of a LoRA, if it is there.
    pub fn find(&self, id: BlobId) -> Option<PathBuf> {
        let place = self.folder.lora(id);
        place.is_file().then_some(place)
    }

    /// Begins to take one.
    ///
    /// # Errors
    /// When there is no room.
    pub fn begin(&self, id: BlobId) -> Result<Upload, LoraError> {
        let place = self.folder.lora(id);
        let group = place.parent().unwrap_or(&place);
        fs::create_dir_all(group)?;
        Ok(Upload {
            id,
            file: NamedTempFile::new_in(group)?,
            place,
            hash: Sha256::new(),
            bytes: 0,
            taken: self.room.take(0)?,
        })
    }
}

impl Upload {
    /// Takes a part.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn write(&mut self, part: &[u8]) -> Result<(), LoraError> {
        self.bytes += part.len() as u64;
        if self.bytes > MAX_LORA_BYTES {
            let limit = MAX_LORA_BYTES >> 20;
            return Err(LoraError::TooLarge { limit });
        }
        self.taken.grow(part.len() as u64)?;
        self.hash.update(part);
        Ok(self.file.write_all(part)?)
    }

    /// Keeps it, if it is a LoRA and matches its id.
    ///
    /// # Errors
    /// [`LoraError`] otherwise.
    pub fn finish(self) -> Result<(), LoraError> {
        if BlobId::from_sha256(self.hash.finalize().into()) != self.id {
            return Err(LoraError::OtherBytes { id: self.id });
        }
        // The whole of it, so that a damaged one is refused now.
        let read = async {
            let file = Anonymous(DiskFile::open(self.file.path())?);
            let lora = LoraFile::read(Box::new(file)).await?;
            lora.check_applies(ANONYMOUS)
        };
        runtime::block_on(read)?;
        if self.place.is_file() {
            return Ok(());
        }
        self.file.as_file().sync_all()?;
        self.file
            .persist(&self.place)
            .map_err(|error| error.error)?;
        self.taken.keep();
        Ok(())
    }
}

const ANONYMOUS: &str = "the uploaded file";

/// A file whose place is nothing to the user.
struct Anonymous(DiskFile);

impl AsyncReadAt for Anonymous {
    fn name(&self) -> &str {
        ANONYMOUS
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(
        &self,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'_, Result<Vec<u8>, CheckpointError>> {
        self.0.read_at(offset, length)
    }
}
