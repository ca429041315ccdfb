//! Example pairs whose A and B differ in exactly one attribute.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// Two pictures of one person, 128x128 px, and what distinguishes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExamplePair {
    /// What B has and A has not, such as `"glasses"`; also the folder.
    pub edit: &'static str,
    /// `"00"` or `"01"`.
    pub id: &'static str,
    /// A, a PNG file.
    pub original_png: &'static [u8],
    /// B, a PNG file.
    pub target_png: &'static [u8],
    /// White where A and B differ by more than 8 of 255, a grey PNG file.
    pub mask_png: &'static [u8],
    /// The tags that describe A.
    pub original_caption: &'static str,
    /// The tags that describe B.
    pub target_caption: &'static str,
    /// What A and B are like, attribute by attribute: the renderer's record, a JSON file.
    pub record_json: &'static [u8],
}

/// One A with several Bs: one copier serves them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleSet {
    /// A, a PNG file.
    pub original_png: &'static [u8],
    /// The tags that describe A.
    pub original_caption: &'static str,
    /// The Bs.
    pub targets: Vec<SetTarget>,
}

/// One B of an [`ExampleSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetTarget {
    /// What B has and A has not.
    pub edit: &'static str,
    /// B, a PNG file.
    pub target_png: &'static [u8],
    /// White where A and B differ by more than 8 of 255, a grey PNG file.
    pub mask_png: &'static [u8],
    /// The tags that describe B.
    pub target_caption: &'static str,
}

/// All pairs, two of each edit.
pub fn pairs() -> &'static [ExamplePair] {
    static PAIRS: LazyLock<Vec<ExamplePair>> =
        LazyLock::new(|| PAIR_FILES.iter().map(PairFiles::pair).collect());
    &PAIRS
}

/// The set `s1`.
pub fn set() -> &'static ExampleSet {
    static SET: LazyLock<ExampleSet> = LazyLock::new(|| {
        let record: BTreeMap<&'static str, SetEntry> = embedded_json(SET_RECORD, "sets/s1");
        let caption = |name: &str| record.get(name).map_or("", |entry| entry.caption);
        let target = |&(edit, target_png, mask_png): &(&'static str, _, _)| SetTarget {
            edit,
            target_png,
            mask_png,
            target_caption: caption(edit),
        };
        ExampleSet {
            original_png: SET_ORIGINAL,
            original_caption: caption("A"),
            targets: SET_TARGETS.iter().map(target).collect(),
        }
    });
    &SET
}

/// One pair as it lies in `pairs/`.
struct PairFiles {
    edit: &'static str,
    id: &'static str,
    original_png: &'static [u8],
    target_png: &'static [u8],
    mask_png: &'static [u8],
    record: &'static [u8],
}

/// The part of a pair's record that is for training; the attributes are for what measures.
#[derive(Deserialize)]
struct PairRecord {
    #[serde(rename = "caption_A")]
    original_caption: &'static str,
    #[serde(rename = "caption_B")]
    target_caption: &'static str,
}

#[derive(Deserialize)]
struct SetEntry {
    caption: &'static str,
}

impl PairFiles {
    fn pair(&self) -> ExamplePair {
        let record: PairRecord = embedded_json(self.record, self.edit);
        ExamplePair {
            edit: self.edit,
            id: self.id,
            original_png: self.original_png,
            target_png: self.target_png,
            mask_png: self.mask_png,
            original_caption: record.original_caption,
            target_caption: record.target_caption,
            record_json: self.record,
        }
    }
}

/// Reads JSON that is part of this program: a fault in it is a fault of the build, which the tests
/// below would have found.
fn embedded_json<T: Deserialize<'static>>(bytes: &'static [u8], name: &str) -> T {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("embedded record of {name}: {error}"))
}

macro_rules! pair_files {
    ($($edit:literal $id:literal),+ $(,)?) => {
        &[$(PairFiles {
            edit: $edit,
            id: $id,
            original_png: include_bytes!(concat!("../pairs/", $edit, "/", $id, "_A.png")),
            target_png: include_bytes!(concat!("../pairs/", $edit, "/", $id, "_B.png")),
            mask_png: include_bytes!(concat!("../pairs/", $edit, "/", $id, "_mask.png")),
            record: include_bytes!(concat!("../pairs/", $edit, "/", $id, ".json")),
        }),+]
    };
}

const PAIR_FILES: &[PairFiles] = pair_files![
    "glasses" "00", "glasses" "01",
    "smile" "00", "smile" "01",
    "closed_eyes" "00", "closed_eyes" "01",
    "beard" "00", "beard" "01",
    "hat" "00", "hat" "01",
    "hair_color" "00", "hair_color" "01",
    "small_head" "00", "small_head" "01",
];

macro_rules! set_targets {
    ($($edit:literal),+ $(,)?) => {
        &[$((
            $edit,
            include_bytes!(concat!("../sets/s1/", $edit, ".png")),
            include_bytes!(concat!("../sets/s1/", $edit, "_mask.png")),
        )),+]
    };
}

const SET_ORIGINAL: &[u8] = include_bytes!("../sets/s1/A.png");
const SET_RECORD: &[u8] = include_bytes!("../sets/s1/record.json");
const SET_TARGETS: &[(&str, &[u8], &[u8])] = set_targets![
    "glasses",
    "sunglasses",
    "smile",
    "closed_eyes",
    "beard",
    "hat",
    "pink_hair",
    "green_clothes",
    "small_head",
];

#[cfg(test)]
mod tests {
    use mimeo_image::{
        Alignment, Difference, Mask, MaskView, MaskWarning, PairWarning, Rgb, decode, decode_mask,
        warnings,
    };

    use super::*;
    use crate::SIDE;

    /// The renderer drew a mask this way: at most 94 px a pair differ by less, along soft edges.
    const MASK_THRESHOLD: u8 = 8;

    fn check(name: &str, original_png: &[u8], target_png: &[u8], mask_png: &[u8]) {
        let original = decode(original_png).unwrap().picture;
        let target = decode(target_png).unwrap().picture;
        let mask = decode_mask(mask_png).unwrap();
        for picture in [&original, &target] {
            assert_eq!(
                (picture.width(), picture.height()),
                (SIDE, SIDE),
                "the size of {name}"
            );
        }
        assert!(!mask.is_empty(), "the mask of {name} is empty");
        let difference = Difference::between(&original, &target).unwrap();
        let expected = difference
            .values()
            .iter()
            .map(|&v| 255 * u8::from(v > MASK_THRESHOLD));
        assert!(
            expected.eq(mask.values().iter().copied()),
            "the mask of {name} is what changed"
        );
    }

    #[test]
    fn every_pair_has_the_mask_of_its_change() {
        assert_eq!(pairs().len(), 14, "seven edits, two of each");
        for pair in pairs() {
            let name = format!("{}/{}", pair.edit, pair.id);
            check(&name, pair.original_png, pair.target_png, pair.mask_png);
            assert!(!pair.original_caption.is_empty(), "{name} has no caption");
        }
    }

    /// Pairs that are right must not be warned about, and the same masks turned round must be.
    #[test]
    fn no_mask_of_a_pair_leaves_anything_out_and_its_inverse_all() {
        let a = set().original_png;
        let set = set().targets.iter();
        let set = set.map(|it| (it.edit, a, it.target_png, it.mask_png));
        let pairs = pairs().iter();
        let pairs = pairs.map(|it| (it.edit, it.original_png, it.target_png, it.mask_png));
        for (name, original, target, mask) in pairs.chain(set) {
            let [original, target] = [original, target].map(|png| decode(png).unwrap().picture);
            let difference = Difference::between(&original, &target).unwrap();
            let standing_out = difference.without_noise();
            let view = |mask: &Mask| MaskView::new(&standing_out, mask).unwrap();
            let given = decode_mask(mask).unwrap();
            for mask in [&given, &difference.suggested_mask()] {
                let view = view(mask);
                assert_eq!(view.warning(), None, "{name}: {view:?}");
                assert!(view.left_out < 0.05, "{name}: {view:?}");
            }
            let inverted = view(&given.inverted());
            assert!(
                matches!(inverted.refusal(), Some(MaskWarning::Inverted { .. })),
                "{name}: {inverted:?}"
            );
        }
    }

    #[test]
    fn every_target_of_the_set_has_the_mask_of_its_change() {
        assert_eq!(set().targets.len(), 9, "nine differences on one A");
        for target in &set().targets {
            check(
                target.edit,
                set().original_png,
                target.target_png,
                target.mask_png,
            );
            assert_ne!(
                target.target_caption,
                set().original_caption,
                "{}",
                target.edit
            );
            assert!(
                !target.target_caption.is_empty(),
                "{} has no caption",
                target.edit
            );
        }
    }

    #[test]
    fn captions_name_the_change() {
        let glasses = pairs().iter().find(|pair| pair.edit == "glasses").unwrap();
        assert!(
            glasses.target_caption.contains("glasses"),
            "{}",
            glasses.target_caption
        );
        assert!(
            !glasses.original_caption.contains("glasses"),
            "{}",
            glasses.original_caption
        );
    }

    #[test]
    fn no_pair_is_told_to_be_shifted_unless_it_is() {
        let is_unaligned = |a: &Rgb, b: &Rgb| {
            let found = warnings(a, b, None).unwrap();
            let mut found = found.iter();
            found.any(|warning| matches!(warning, PairWarning::Unaligned { .. }))
        };
        let shift = Alignment {
            dx: 3.0,
            dy: -2.0,
            scale: 1.02,
        };
        let mut found = 0;
        for pair in pairs() {
            let name = format!("{} {}", pair.edit, pair.id);
            let a = decode(pair.original_png).unwrap().picture;
            let b = decode(pair.target_png).unwrap().picture;
            // A smaller head is not a smaller picture: the rest stays.
            assert!(!is_unaligned(&a, &b), "{name} lies where it should");
            // What did move is still told: all of it that can be found.
            let shifted = shift.apply(&b);
            let touched = Difference::between(&a, &shifted).unwrap().changed_share(0);
            let is_found = touched >= 0.2 && Alignment::estimate(&a, &shifted).is_some();
            if ["glasses", "smile", "closed_eyes"].contains(&pair.edit) {
                assert_eq!(is_unaligned(&a, &shifted), is_found, "{name}, shifted");
                found += usize::from(is_found);
            }
        }
        assert!(found >= 4, "{found} of 6 shifted pairs are found");
    }
}
