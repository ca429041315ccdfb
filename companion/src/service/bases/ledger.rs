//! Which base is meant by an id, and what is known of it: kept, so that an id means the same base
//! whatever comes and goes beside it, and so that nothing is read twice.
//!
//! It is a cache: without it ids are made of names anew and everything is read again.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use mimeo_protocol::{BaseId, BaseInfo, codec};
use serde::{Deserialize, Serialize};

use crate::base::stamp::Stamp;
use crate::service::folder::DataFolder;

/// Far more than there can be.
const MAX_BYTES: usize = 16 << 20;
/// With more than this, bases that are gone are forgotten: their ids may come to mean others.
const MAX_RECORDS: usize = 5000;

/// Every base that was listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The program that told the facts: another one may know more.
    told_by: String,
    records: Vec<Record>,
}

/// One base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What jobs call it.
    pub id: BaseId,
    /// Where it was last. A name that is no text has signs in it that stand for what is none; then
    /// size and time still tell.
    pub path: String,
    /// Sizes and times as they were then.
    pub stamp: Stamp,
    /// What identifies its weights, once they were read.
    pub hash: Option<String>,
    /// What it is, once its headers were read.
    pub info: Option<BaseInfo>,
}

/// A base that was found.
pub struct Located<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// Sizes and times of its files.
    pub stamp: Stamp,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            told_by: this_program(),
            records: Vec::new(),
        }
    }
}

impl Ledger {
    /// Reads what was kept; an empty one where that cannot be read.
    pub fn open(path: &Path) -> Self {
        let kept = fs::read(path).ok();
        let kept = kept.and_then(|bytes| codec::decode::<Self>(&bytes, MAX_BYTES).ok());
        let mut ledger = kept.unwrap_or_default();
        if ledger.told_by != this_program() {
            ledger.told_by = this_program();
            for record in &mut ledger.records {
                record.info = None;
            }
        }
        ledger
    }

    /// Keeps it. A disk that is full costs time at the next start and nothing else.
    pub fn save(&self, path: &Path) {
        _ = DataFolder::write(path, &codec::encode(self));
    }

    /// The base of an id.
    pub fn of(&self, id: &BaseId) -> Option<&Record> {
        self.records.iter().find(|record| record.id == *id)
    }

    /// The same, to note something about it.
    pub fn of_mut(&mut self, id: &BaseId) -> Option<&mut Record> {
        self.records.iter_mut().find(|record| record.id == *id)
    }

    /// Gives every base that was found its id; the answers are in their order. A base keeps its id where it lies, and
    /// takes it along when it is moved; a new one is given the first that no other has or had.
    ///
    /// - `name`: of the base at this place, for a new id
    /// - `hash`: what identifies its weights, which takes as long as reading them: asked for only
    ///   where a base whose hash is known is gone, and one as large and as old is new
    pub fn assign(
        &mut self,
        places: &[Located<'_>],
        name: impl Fn(&Path) -> String,
        mut hash: impl FnMut(&Path) -> Option<String>,
    ) -> Vec<Option<BaseId>> {
        let here: HashSet<String> = places.iter().map(|place| text(place.path)).collect();
        if self.records.len() > MAX_RECORDS {
            self.records.retain(|record| here.contains(&record.path));
        }
        let mut by_path = HashMap::new();
        for (at, record) in self.records.iter().enumerate() {
            // Of two at one place the older one was moved there.
            by_path.entry(record.path.clone()).or_insert(at);
        }
        let mut ids = Vec::new();
        for place in places {
            let path = text(place.path);
            let known = by_path.get(&path).copied();
            let may_be = |record: &Record| {
                let is_gone = !here.contains(&record.path);
                is_gone && record.hash.is_some() && record.stamp == place.stamp
            };
            let has_moved = known.is_none() && self.records.iter().any(may_be);
            let read = has_moved.then(|| hash(place.path)).flatten();
            let same = |record: &Record| may_be(record) && record.hash == read;
            let known = known.or_else(|| self.records.iter().position(same));
            if let Some(record) = known.and_then(|at| self.records.get_mut(at)) {
                record.path = path;
                if record.stamp != place.stamp {
                    record.stamp = place.stamp;
                    record.hash = None;
                    record.info = None;
                }
                ids.push(Some(record.id.clone()));
                continue;
            }
            let is_taken = |id: &BaseId| *id == BaseId::bundled() || self.of(id).is_some();
            let id = BaseId::for_name(&name(place.path), is_taken);
            self.records.extend(id.clone().map(|id| Record {
                id,
                path,
                stamp: place.stamp,
                hash: read,
                info: None,
            }));
            ids.push(id);
        }
        ids
    }
}

/// A path as it is kept.
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Its version, and which build of it.
fn this_program() -> String {
    let info = std::env::current_exe().and_then(fs::metadata);
    let stamp = info.as_ref().map(Stamp::of_one).ok();
    let seal = stamp.map_or(0, |stamp| stamp.seal);
    format!("{} {seal:016x}", env!("CARGO_PKG_VERSION"))
}
