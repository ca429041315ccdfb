//! The pairs behind the first one: a list of names, and the files that it names, each under the hash of
//! what it holds. So no file is written twice, and a list never means another one than it did.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use mimeo_image::{Mask, Sizing, decode_mask, encode_mask_png};
use mimeo_protocol::format::Kind;
use mimeo_protocol::{Format, Level, Weight};
use serde::{Deserialize, Serialize};

use super::Unreadable;
use crate::picture::{Picture, Slot};
use crate::workbench::{Pair, Pictures, Set, Workbench};

/// Before the hash of a picture's file.
const PICTURE: &str = "picture ";
/// Before the hash of a mask's pixels.
const MASK: &str = "mask ";

/// Of the list.
#[derive(Clone, Copy, Default)]
struct OfSet;

impl Kind for OfSet {
    const NAME: &'static str = "the set of pairs that this browser kept";
    const NEWEST: u32 = 1;
}

/// The list.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    format: Format<OfSet>,
    /// Which pair is on the stage.
    chosen: usize,
    /// All pairs; of the first one what is said of it only.
    pairs: Vec<ListedPair>,
}

#[derive(Default, Serialize, Deserialize)]
struct ListedPair {
    /// Names and hashes of A and B.
    pictures: [Option<ListedPicture>; 2],
    offset: (f64, f64),
    /// The key of the mask.
    mask: Option<String>,
    caption: String,
    weight: Option<Weight>,
    level: Option<Level>,
    note: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ListedPicture {
    name: String,
    key: String,
}

/// The list as bytes; none for one pair of which nothing is said, as before there were sets.
pub(super) fn listed(set: &Set) -> Option<Vec<u8>> {
    if !set.has_several() && !set.pair().is_told_of() {
        return None;
    }
    let told = |pair: &Pair| ListedPair {
        caption: pair.caption.clone(),
        weight: Some(pair.weight),
        level: Some(pair.level),
        note: pair.note.clone(),
        ..ListedPair::default()
    };
    let pairs = set.pairs().iter().enumerate().map(|(at, pair)| match at {
        0 => told(pair),
        _ => ListedPair {
            pictures: Slot::ALL.map(|slot| {
                pair.picture(slot).map(|picture| ListedPicture {
                    name: picture.name.clone(),
                    key: picture_key(picture),
                })
            }),
            offset: pair.pictures.offset,
            mask: pair.painted().map(mask_key),
            ..told(pair)
        },
    });
    let list = Listed {
        format: Format::default(),
        chosen: set.chosen(),
        pairs: pairs.collect(),
    };
    serde_json::to_vec(&list).ok()
}

/// What of the files that the list names has to be written, and which ones nobody names any more.
///
/// - `there`: the keys under which something lies
#[must_use]
pub fn files(bench: &Workbench, there: &[String]) -> Vec<(String, Option<Vec<u8>>)> {
    let is_there = |key: &String| there.contains(key);
    let mut named = BTreeSet::new();
    let mut files = Vec::new();
    for pair in bench.set().pairs().iter().skip(1) {
        for slot in Slot::ALL {
            if let Some(picture) = pair.picture(slot) {
                let key = picture_key(picture);
                if named.insert(key.clone()) && !is_there(&key) {
                    files.push((key, Some(picture.file.clone())));
                }
            }
        }
        if let Some(mask) = pair.painted() {
            let key = mask_key(mask);
            if named.insert(key.clone()) && !is_there(&key) {
                // A mask that cannot be written is too large to be one.
                files.push((key, encode_mask_png(mask).ok()));
            }
        }
    }
    let of_set = |key: &&String| key.starts_with(PICTURE) || key.starts_with(MASK);
    let gone = there.iter().filter(of_set);
    let gone = gone.filter(|key| !named.contains(*key));
    files.extend(gone.map(|key| (key.clone(), None)));
    files
}

/// Reads a list; none is that of one pair.
pub(super) fn read(json: Option<&[u8]>) -> Result<Listed, Unreadable> {
    let Some(json) = json else {
        return Ok(Listed::default());
    };
    let json: serde_json::Value =
        serde_json::from_slice(json).map_err(|_strange| Unreadable::Damaged)?;
    // First: what is new in a newer one is no damage.
    Format::<OfSet>::check(&json).map_err(Unreadable::Newer)?;
    serde_json::from_value(json).map_err(|_strange| Unreadable::Damaged)
}

impl Listed {
    /// The set with the files that the list names.
    ///
    /// - `first`: the first pair, which is kept elsewhere
    /// - `lost`: gets what cannot be read any more
    pub(super) fn restored(
        self,
        mut first: Pair,
        sizing: Sizing,
        kept: &mut impl FnMut(&str) -> Option<Vec<u8>>,
        lost: &mut Vec<&'static str>,
    ) -> Set {
        let mut listed = self.pairs.into_iter();
        if let Some(told) = listed.next() {
            told.tell(&mut first);
        }
        let mut lose = |what| {
            if !lost.contains(&what) {
                lost.push(what);
            }
        };
        let others = listed.map(|listed| {
            let picture = |at: usize| {
                let ListedPicture { name, key } = listed.pictures[at].as_ref()?;
                let picture = kept(key).map(|file| Picture::read(name, file));
                let picture = picture.and_then(Result::ok).map(Arc::new);
                if picture.is_none() {
                    lose("a picture of the set");
                }
                picture
            };
            let [original, target] = [0, 1].map(picture);
            let mut pictures = Pictures {
                original,
                target,
                offset: listed.offset,
                sizing,
                frame: None,
            };
            if pictures.refit().is_err() {
                pictures = Pictures {
                    sizing,
                    ..Pictures::default()
                };
                lose("pictures of the set, which do not fit together");
            }
            let mask = listed.mask.as_ref().and_then(|key| {
                let mask = kept(key).and_then(|png| decode_mask(&png).ok());
                if mask.is_none() {
                    lose("a mask of the set");
                }
                mask
            });
            let mut pair = Pair::new(pictures, mask.as_ref());
            listed.tell(&mut pair);
            pair
        });
        let pairs = std::iter::once(first).chain(others).collect();
        Set::new(pairs, self.chosen)
    }
}

impl ListedPair {
    fn tell(self, pair: &mut Pair) {
        pair.caption = self.caption;
        pair.weight = self.weight.unwrap_or(Pair::USUAL.0);
        pair.level = self.level.unwrap_or(Pair::USUAL.1);
        pair.note = self.note;
    }
}

fn picture_key(picture: &Picture) -> String {
    format!("{PICTURE}{}", picture.id)
}

fn mask_key(mask: &Mask) -> String {
    // Quick, since it is asked for after every stroke; told apart are the masks of one user.
    let mut hasher = DefaultHasher::new();
    (mask.width(), mask.values()).hash(&mut hasher);
    format!("{MASK}{:016x}", hasher.finish())
}
