//! What identifies bases that commands have read, so that the next one need not read gigabytes for it.
//!
//! It is a cache, in the user's folder for such: without it they are read again. A companion keeps the
//! same in its ledger of models folders.

use std::fs;
use std::path::{Path, PathBuf};

use mimeo_protocol::codec;
use serde::{Deserialize, Serialize};

use super::stamp::Stamp;
use crate::output;

/// Less is read again in no time.
const WORTH_KEEPING: u64 = 64 << 20;
/// More bases than this nobody uses in turns; the oldest goes first.
const MAX_KEPT: usize = 500;
/// Far more than those take.
const MAX_BYTES: usize = 4 << 20;

/// Hashes of bases, by where they lie.
#[derive(Debug)]
pub struct Hashes {
    /// Where they are kept; nowhere, if the system has no place for it.
    place: Option<PathBuf>,
    /// Of smaller bases none is kept.
    least_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    path: String,
    stamp: Stamp,
    hash: String,
}

impl Hashes {
    /// Those of this user.
    pub fn of_user() -> Self {
        use etcetera::BaseStrategy as _;
        let places = etcetera::base_strategy::choose_native_strategy().ok();
        Self {
            place: places.map(|places| places.cache_dir().join("mimeo").join("hashes")),
            least_bytes: WORTH_KEEPING,
        }
    }

    /// What identifies the base at a place, if it was read and its files are as they were.
    pub fn find(&self, base: &Path) -> Option<String> {
        let (path, stamp) = self.look(base)?;
        let known = self.read().into_iter();
        let mut known = known.filter(|kept| kept.path == path && kept.stamp == stamp);
        known.next().map(|kept| kept.hash)
    }

    /// Keeps what identifies the base at a place. A disk that is full costs time and nothing else.
    pub fn keep(&self, base: &Path, hash: &str) {
        let (Some((path, stamp)), Some(place)) = (self.look(base), &self.place) else {
            return;
        };
        let mut all = self.read();
        let is_known = |kept: &Kept| (&kept.path, kept.stamp) == (&path, stamp);
        if all.iter().any(is_known) {
            return;
        }
        all.retain(|kept| kept.path != path);
        all.push(Kept {
            path,
            stamp,
            hash: hash.to_owned(),
        });
        let surplus = all.len().saturating_sub(MAX_KEPT);
        all.drain(..surplus);
        if let Some(folder) = place.parent() {
            _ = fs::create_dir_all(folder);
        }
        _ = output::replace(place, &codec::encode(&all));
    }

    /// How a base is known, if it is worth it.
    fn look(&self, base: &Path) -> Option<(String, Stamp)> {
        let path = fs::canonicalize(base).ok()?;
        let stamp = Stamp::of(&path).ok()?;
        let is_worth_it = stamp.bytes >= self.least_bytes;
        is_worth_it.then(|| (path.to_string_lossy().into_owned(), stamp))
    }

    fn read(&self) -> Vec<Kept> {
        let bytes = self.place.as_ref().and_then(|place| fs::read(place).ok());
        let kept = bytes.and_then(|bytes| codec::decode(&bytes, MAX_BYTES).ok());
        kept.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_hash_is_known_for_as_long_as_the_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let hashes = Hashes {
            place: Some(folder.path().join("cache/hashes")),
            least_bytes: 4,
        };
        let [base, small] = ["base", "small"].map(|name| folder.path().join(name));
        fs::write(&base, "1234").unwrap();
        fs::write(&small, "123").unwrap();
        assert_eq!(hashes.find(&base), None, "never read");
        hashes.keep(&base, "ab");
        hashes.keep(&small, "cd");
        assert_eq!(hashes.find(&base).as_deref(), Some("ab"), "kept");
        assert_eq!(hashes.find(&small), None, "not worth it");
        let file = fs::File::options().write(true).open(&base).unwrap();
        let later = SystemTime::now() + Duration::from_secs(9);
        file.set_modified(later).unwrap();
        assert_eq!(hashes.find(&base), None, "it may be another one");
        hashes.keep(&base, "ef");
        assert_eq!(hashes.find(&base).as_deref(), Some("ef"), "read again");
        assert_eq!(hashes.read().len(), 1, "in the place of the old one");
        for at in 0..MAX_KEPT {
            let other = folder.path().join(format!("other-{at}"));
            fs::write(&other, "1234").unwrap();
            hashes.keep(&other, "ff");
        }
        assert_eq!(hashes.read().len(), MAX_KEPT, "not without end");
        assert_eq!(hashes.find(&base), None, "the oldest went");
        fs::write(folder.path().join("cache/hashes"), "damaged").unwrap();
        assert_eq!(hashes.read().len(), 0, "read again without a word");
    }
}
