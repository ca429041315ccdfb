//! The room on disk that uploads and previews share.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mimeo_protocol::BlobId;

/// There is none left.
#[derive(Debug, thiserror::Error)]
#[error(
    "pictures and uploaded LoRAs take {limit} MiB already, which is the limit. Delete old runs, or start with a larger --max-blobs."
)]
pub struct Full {
    /// In MiB.
    limit: u64,
}

/// How much is taken, of how much.
#[derive(Debug, Clone)]
pub struct Room {
    limit_bytes: u64,
    used_bytes: Arc<AtomicU64>,
}

/// Room for something that is being stored: given back unless it is kept.
#[derive(Debug)]
pub struct Taken {
    room: Room,
    bytes: u64,
}

impl Room {
    /// Room that is empty.
    pub fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            used_bytes: Arc::default(),
        }
    }

    /// Counts what lies in a folder's groups.
    pub fn count(&self, folder: &Path) {
        let sizes = files(folder).filter_map(|path| fs::metadata(path).ok());
        let used = sizes.map(|info| info.len()).sum();
        self.used_bytes.fetch_add(used, Ordering::Relaxed);
    }

    /// Takes room for so many bytes.
    ///
    /// # Errors
    /// [`Full`] when there is not so much.
    pub fn take(&self, bytes: u64) -> Result<Taken, Full> {
        let used = self.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let taken = Taken {
            room: self.clone(),
            bytes,
        };
        if used > self.limit_bytes {
            let limit = self.limit_bytes >> 20;
            return Err(Full { limit });
        }
        Ok(taken)
    }

    /// Removes what nothing names and is older than `unused_for` from a folder's groups.
    pub fn clear(&self, folder: &Path, unused_for: Duration, named: &HashSet<BlobId>) {
        let old = SystemTime::now() - unused_for;
        for path in files(folder) {
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

impl Taken {
    /// Takes more for the same thing.
    ///
    /// # Errors
    /// [`Full`] when there is not so much.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        let more = self.room.take(bytes)?;
        self.bytes += more.bytes;
        more.keep();
        Ok(())
    }

    /// It is stored.
    pub fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room
            .used_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// `folder/ab/abcd…`
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let groups = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = groups.flat_map(|group| fs::read_dir(group.path()).into_iter().flatten());
    files.flatten().map(|file| file.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_unless_it_is_kept() {
        let room = Room::new(10);
        room.take(6).unwrap().keep();
        assert!(room.take(5).is_err(), "one too many");
        let mut taken = room.take(3).unwrap();
        assert!(taken.grow(2).is_err(), "one too many again");
        taken.grow(1).unwrap();
        assert!(room.take(1).is_err(), "all is taken");
        drop(taken);
        room.take(4).unwrap().keep();
    }
}
