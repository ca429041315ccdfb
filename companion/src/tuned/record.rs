//! Which program was found to be the better one on an adapter, kept in the user's folder for what can be
//! found out again.

use std::fs;
use std::path::PathBuf;

use mimeo_protocol::codec;
use serde::{Deserialize, Serialize};

use crate::base::stamp::Stamp;
use crate::output;

/// More than any computer has adapters and drivers at a time; the oldest goes first.
const MAX_KEPT: usize = 20;
/// Far more than those take.
const MAX_BYTES: usize = 1 << 20;

/// What is tried again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub adapter: String,
    /// Its driver, with the version.
    pub driver: String,
    /// The portable program and the tuned one.
    pub programs: [Stamp; 2],
}

/// Which program is to compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// The tuned one.
    Tuned {
        /// How many times as fast it is.
        times: f64,
    },
    /// The portable one.
    Portable {
        /// Why not the tuned one: what it did.
        reason: String,
    },
}

/// All verdicts of a user.
#[derive(Debug)]
pub struct Record {
    /// Where they are kept; nowhere, if the system has no place for it.
    place: Option<PathBuf>,
}

impl Record {
    /// Those of this user.
    pub fn of_user() -> Self {
        use etcetera::BaseStrategy as _;
        let places = etcetera::base_strategy::choose_native_strategy().ok();
        Self {
            place: places.map(|places| places.cache_dir().join("mimeo").join("engines")),
        }
    }

    /// What was found.
    pub fn find(&self, key: &Key) -> Option<Verdict> {
        let known = self.read().into_iter();
        let mut known = known.filter(|(kept, _)| kept == key);
        known.next().map(|(_, verdict)| verdict)
    }

    /// Keeps what was found. A disk that is full costs time and nothing else.
    pub fn keep(&self, key: Key, verdict: &Verdict) {
        let Some(place) = &self.place else { return };
        let mut all = self.read();
        let of_same = |kept: &Key| (&kept.adapter, &kept.driver) == (&key.adapter, &key.driver);
        all.retain(|(kept, _)| !of_same(kept));
        all.push((key, verdict.clone()));
        let surplus = all.len().saturating_sub(MAX_KEPT);
        all.drain(..surplus);
        if let Some(folder) = place.parent() {
            _ = fs::create_dir_all(folder);
        }
        _ = output::replace(place, &codec::encode(&all));
    }

    fn read(&self) -> Vec<(Key, Verdict)> {
        let bytes = self.place.as_ref().and_then(|place| fs::read(place).ok());
        let kept = bytes.and_then(|bytes| codec::decode(&bytes, MAX_BYTES).ok());
        kept.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_holds_for_one_driver_and_these_programs() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            place: Some(folder.path().join("cache/engines")),
        };
        let key = Key {
            adapter: "GPU 1".to_owned(),
            driver: "590.1".to_owned(),
            programs: [Stamp { bytes: 1, seal: 2 }, Stamp { bytes: 3, seal: 4 }],
        };
        let newer = Key {
            driver: "590.2".to_owned(),
            ..key.clone()
        };
        let rebuilt = Key {
            programs: [key.programs[0], Stamp { bytes: 3, seal: 5 }],
            ..key.clone()
        };
        assert_eq!(record.find(&key), None, "never tried");
        let verdict = Verdict::Tuned { times: 2.5 };
        record.keep(key.clone(), &verdict);
        assert_eq!(record.find(&key), Some(verdict), "kept");
        for other in [&newer, &rebuilt] {
            assert_eq!(record.find(other), None, "another one: {other:?}");
        }
        let crashed = Verdict::Portable {
            reason: "crashed".to_owned(),
        };
        record.keep(rebuilt.clone(), &crashed);
        assert_eq!(record.find(&rebuilt), Some(crashed), "in its place");
        assert_eq!(record.find(&key), None, "those programs are gone");
        fs::write(folder.path().join("cache/engines"), "damaged").unwrap();
        assert_eq!(record.read(), [], "tried again without a word");
    }
}
