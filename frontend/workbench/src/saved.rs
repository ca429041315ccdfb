//! The workbench as bytes, so that a reload loses nothing.
//!
//! Pictures are kept as the files they came as, the mask as a PNG, the rest as JSON; each under a
//! name of its own, so that a stroke does not write the pictures again. What a newer Mimeo kept is not
//! written over ([`Keeping`]).
//!
//! The first pair is kept as it was when the bench held one: an older Mimeo opens it, and leaves the
//! others alone (`saved/set.rs`).

mod keeping;
mod set;

use std::sync::Arc;

use mimeo_image::{decode_mask, encode_mask_png};
use mimeo_protocol::format::Kind;
use mimeo_protocol::{Format, NewerFormat, RecipeFormat};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::picture::{Picture, Slot};
use crate::prompts::with_syntax;
use crate::words;
use crate::workbench::{Pair, Pictures, Set, Settings, State, Workbench};

pub use keeping::Keeping;
pub use set::files;

/// Parts that are stored under a name each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A's file.
    Original,
    /// B's file.
    Target,
    /// The mask, a PNG.
    Mask,
    /// Everything else, JSON.
    Settings,
    /// The pairs behind the first one, and what is said of all of them, JSON.
    Set,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Original,
        Self::Target,
        Self::Mask,
        Self::Settings,
        Self::Set,
    ];

    /// The name it is stored under.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Target => "target",
            Self::Mask => "mask",
            Self::Settings => "settings",
            Self::Set => "set",
        }
    }
}

/// Of the saved workbench.
#[derive(Clone, Copy, Default)]
struct OfWorkbench;

impl Kind for OfWorkbench {
    const NAME: &'static str = "the workbench that this browser kept";
    const NEWEST: u32 = 1;
}

/// What is not a file.
#[derive(Serialize, Deserialize)]
struct Rest {
    #[serde(default)]
    format: Format<OfWorkbench>,
    names: [String; 2],
    offset: (f64, f64),
    settings: Settings,
}

/// A part's bytes; none if there is nothing to keep.
#[must_use]
pub fn part(bench: &Workbench, part: Part) -> Option<Vec<u8>> {
    let first = bench.set().pairs().first()?;
    let file = |slot| Some(first.picture(slot)?.file.clone());
    match part {
        Part::Original => file(Slot::Original),
        Part::Target => file(Slot::Target),
        // A mask that cannot be written is too large to be one.
        Part::Mask => encode_mask_png(first.mask()?).ok(),
        Part::Settings => {
            let name = |slot| first.picture(slot).map(|picture| picture.name.clone());
            let rest = Rest {
                format: Format::default(),
                names: Slot::ALL.map(|slot| name(slot).unwrap_or_default()),
                offset: first.pictures.offset,
                settings: bench.settings().clone(),
            };
            serde_json::to_vec(&rest).ok()
        }
        Part::Set => set::listed(bench.set()),
    }
}

/// What was kept.
pub struct Restored {
    /// The workbench's state.
    pub state: State,
    /// What was kept and cannot be read any more, in one sentence with what to do.
    pub lost: Option<String>,
    /// What a newer Mimeo kept, and what happens to it, in sentences with what to do.
    pub newer: Option<String>,
}

/// Why the settings cannot be read.
enum Unreadable {
    Damaged,
    Newer(NewerFormat),
}

fn read_rest(json: &[u8]) -> Result<Rest, Unreadable> {
    let json: Value = serde_json::from_slice(json).map_err(|_strange| Unreadable::Damaged)?;
    // First: what is new in a newer one is no damage.
    let checked = Format::<OfWorkbench>::check(&json);
    let recipe = json.pointer("/settings/recipe");
    let checked = checked.and_then(|()| recipe.map_or(Ok(()), RecipeFormat::check));
    checked.map_err(Unreadable::Newer)?;
    serde_json::from_value(json).map_err(|_strange| Unreadable::Damaged)
}

/// The state that was kept. What cannot be read any more is left out and told: the rest is worth
/// having.
///
/// - `kept`: what lies under a key
#[must_use]
pub fn restore(mut kept: impl FnMut(&str) -> Option<Vec<u8>>) -> Restored {
    let mut lost = Vec::new();
    let mut newer = None;
    let rest = kept(Part::Settings.key()).and_then(|json| {
        let rest = read_rest(&json);
        rest.inspect_err(|unreadable| match unreadable {
            Unreadable::Damaged => lost.push("the settings"),
            Unreadable::Newer(format) => newer = Some(keeping::told(&words::newer(format))),
        })
        .ok()
    });
    let (names, offset, settings) = rest.map_or_else(
        || (Default::default(), Pictures::MIDDLE, Settings::default()),
        |rest| {
            let mut settings = rest.settings;
            settings.recipe = with_syntax(settings.recipe);
            (rest.names, rest.offset, settings)
        },
    );
    let mut picture = |part, name: &str, title| {
        let picture = Picture::read(name, kept(Part::key(part))?);
        let picture = picture.inspect_err(|_unreadable| lost.push(title)).ok()?;
        Some(Arc::new(picture))
    };
    let mut pictures = Pictures {
        original: picture(Part::Original, &names[0], "picture A"),
        target: picture(Part::Target, &names[1], "picture B"),
        offset,
        sizing: settings.sizing(),
        frame: None,
    };
    if pictures.refit().is_err() {
        pictures = Pictures {
            sizing: settings.sizing(),
            ..Pictures::default()
        };
        lost.push("the pictures, which do not fit together");
    }
    let mask = kept(Part::Mask.key()).and_then(|png| {
        let mask = decode_mask(&png);
        mask.inspect_err(|_unreadable| lost.push("the mask")).ok()
    });
    let first = Pair::new(pictures, mask.as_ref());
    let set = match set::read(kept(Part::Set.key()).as_deref()) {
        Ok(listed) => listed.restored(first, settings.sizing(), &mut kept, &mut lost),
        Err(Unreadable::Damaged) => {
            lost.push("the list of pairs");
            Set::new(vec![first], 0)
        }
        Err(Unreadable::Newer(format)) => {
            newer = Some(keeping::told(&words::newer(&format)));
            Set::new(vec![first], 0)
        }
    };
    let lost = (!lost.is_empty()).then(|| {
        let what = lost.join(", ");
        format!(
            "This browser kept {what} damaged, and the rest is here. Add what is missing again."
        )
    });
    Restored {
        state: State { set, settings },
        lost,
        newer,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    use mimeo_protocol::Rank;

    use super::*;
    use crate::workbench::examples::{pair, picture};
    use crate::workbench::{Command, MaskCommand, NewPair, PairsCommand, Setting};

    fn kept(bench: &Workbench) -> BTreeMap<&'static str, Vec<u8>> {
        let parts = Part::ALL.into_iter();
        let kept = parts.filter_map(|each| Some((each.key(), part(bench, each)?)));
        kept.collect()
    }

    /// The same with the files of the pairs behind the first one.
    fn all_kept(bench: &Workbench) -> BTreeMap<String, Vec<u8>> {
        let files = files(bench, &[]).into_iter();
        let files = files.filter_map(|(key, bytes)| Some((key, bytes?)));
        let parts = kept(bench).into_iter();
        let parts = parts.map(|(key, bytes)| (key.to_owned(), bytes));
        parts.chain(files).collect()
    }

    /// What a browser held of the page when this format was new.
    fn stored() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/stored/format-1/page")
    }

    /// A bench with everything on it.
    fn full_bench() -> Workbench {
        let mut bench = pair();
        let mut recipe = bench.settings().recipe.clone();
        (recipe.seed, recipe.pass.rank) = (11, Rank::constant(3));
        for command in [
            Command::Mask(MaskCommand::Suggest),
            Command::Set(Setting::Recipe(Box::new(recipe))),
            Command::Set(Setting::Name("hat".to_owned())),
            Command::Set(Setting::PreviewSeed(9)),
        ] {
            bench.apply(command).unwrap();
        }
        bench
    }

    #[test]
    fn the_bench_of_format_1_opens_whole() {
        if std::env::var_os("MIMEO_WRITE_STORED").is_some() {
            assert!(
                !stored().exists(),
                "what was stored once is not written again"
            );
            fs::create_dir_all(stored()).unwrap();
            for (key, bytes) in kept(&full_bench()) {
                fs::write(stored().join(key), bytes).unwrap();
            }
        }
        let file = |part: Part| fs::read(stored().join(part.key())).unwrap();
        let opened = |key: &str| fs::read(stored().join(key)).ok();
        let Restored { state, lost, newer } = restore(opened);
        assert_eq!((lost, newer), (None, None), "nothing to tell");
        let restored = Workbench::with_state(state);
        restored.check().unwrap();
        assert!(!restored.set().has_several(), "one pair, as it was then");
        assert!(!restored.pair().is_told_of(), "and nothing new is said");
        let mut expected = full_bench().settings().clone();
        let recipe = &restored.settings().recipe;
        assert_eq!(
            (recipe.seed, recipe.pass.rank),
            (11, Rank::constant(3)),
            "the recipe"
        );
        // Presets may change; what was stored does not.
        expected.recipe.clone_from(recipe);
        assert_eq!(*restored.settings(), expected, "name and the rest");
        let mask = decode_mask(&file(Part::Mask)).unwrap();
        assert_eq!(restored.mask(), Some(&mask), "strokes");
        for (slot, part, name) in [
            (Slot::Original, Part::Original, "a.png"),
            (Slot::Target, Part::Target, "b.png"),
        ] {
            let picture = restored.picture(slot).unwrap();
            assert_eq!(
                (&*picture.name, &picture.file),
                (name, &file(part)),
                "{slot:?}"
            );
        }
    }

    #[test]
    fn a_reload_loses_nothing() {
        let bench = full_bench();
        let mut parts = kept(&bench);
        let Restored { state, lost, newer } = restore(|key| parts.remove(key));
        assert_eq!((lost, newer), (None, None), "nothing to tell");
        let restored = Workbench::with_state(state);
        restored.check().unwrap();
        assert_eq!(restored.settings(), bench.settings(), "recipe and name");
        assert_eq!(restored.mask(), bench.mask(), "strokes");
        for slot in Slot::ALL {
            assert_eq!(restored.picture(slot), bench.picture(slot), "{slot:?}");
        }
    }

    /// A bench with three pairs, of which one is a picture alone, and everything said of them.
    fn bench_of_three() -> Workbench {
        let mut bench = full_bench();
        let new = |name: &str, colour| NewPair {
            original: Some(picture(name, None)),
            target: colour,
            caption: "a hat".to_owned(),
            note: Some("There is no B.".to_owned()),
            ..NewPair::default()
        };
        let pairs = vec![
            new("2a.png", Some(picture("2b.png", Some([9, 250, 9])))),
            new("3a.png", None),
        ];
        for command in [
            PairsCommand::Add(pairs),
            PairsCommand::Choose(1),
            PairsCommand::LevelTyped(1, "-2".to_owned()),
            PairsCommand::Caption(0, "first".to_owned()),
        ] {
            bench.apply(Command::Pairs(command)).unwrap();
        }
        bench.apply(Command::Mask(MaskCommand::Suggest)).unwrap();
        bench
    }

    #[test]
    fn the_set_of_format_1_opens_whole() {
        let folder = stored().with_file_name("page-set");
        if std::env::var_os("MIMEO_WRITE_STORED").is_some() {
            assert!(
                !folder.exists(),
                "what was stored once is not written again"
            );
            fs::create_dir_all(&folder).unwrap();
            for (key, bytes) in all_kept(&bench_of_three()) {
                fs::write(folder.join(key), bytes).unwrap();
            }
        }
        let Restored { state, lost, newer } = restore(|key| fs::read(folder.join(key)).ok());
        assert_eq!((lost, newer), (None, None), "nothing to tell");
        let restored = Workbench::with_state(state);
        restored.check().unwrap();
        let pairs = restored.set().pairs();
        let told: Vec<_> = pairs
            .iter()
            .map(|pair| {
                let names = Slot::ALL.map(|slot| Some(&*pair.picture(slot)?.name));
                (names, &*pair.caption, pair.weight.get(), pair.level.get())
            })
            .collect();
        let expected = [
            ([Some("a.png"), Some("b.png")], "first", 1.0, 1.0),
            ([Some("2a.png"), Some("2b.png")], "a hat", 1.0, -2.0),
            ([Some("3a.png"), None], "a hat", 1.0, 1.0),
        ];
        assert_eq!(told, expected, "names, captions, weights and levels");
        let painted: Vec<_> = pairs.iter().map(|pair| pair.painted().is_some()).collect();
        assert_eq!(painted, [true, true, false], "masks");
        assert_eq!(restored.set().chosen(), 1, "what was on the stage");
    }

    #[test]
    fn a_set_comes_back_as_it_was() {
        let bench = bench_of_three();
        let kept = all_kept(&bench);
        let Restored { state, lost, newer } = restore(|key| kept.get(key).cloned());
        assert_eq!((lost, newer), (None, None), "nothing to tell");
        let restored = Workbench::with_state(state);
        restored.check().unwrap();
        assert_eq!(restored.set().chosen(), 1, "what was on the stage");
        assert_eq!(restored.set().pairs().len(), 3, "all of them");
        let both = restored.set().pairs().iter().zip(bench.set().pairs());
        for (at, (restored, pair)) in both.enumerate() {
            let told = |pair: &Pair| (pair.caption.clone(), pair.weight, pair.level);
            assert_eq!(told(restored), told(pair), "{at}");
            assert_eq!(restored.mask(), pair.mask(), "{at}: strokes");
            for slot in Slot::ALL {
                assert_eq!(restored.picture(slot), pair.picture(slot), "{at} {slot:?}");
            }
        }
        let note = restored.set().pairs()[2].note.as_deref();
        assert_eq!(note, Some("There is no B."), "why it is alone");
    }

    #[test]
    fn an_older_mimeo_finds_the_first_pair_as_it_knows_it() {
        let mut bench = bench_of_three();
        let (three, one) = (kept(&bench), kept(&full_bench()));
        for part in [Part::Original, Part::Target, Part::Mask, Part::Settings] {
            let key = part.key();
            assert_eq!(three.get(key), one.get(key), "{key}");
        }
        for at in [2, 1] {
            let remove = Command::Pairs(PairsCommand::Remove(at));
            bench.apply(remove).unwrap();
        }
        let caption = Command::Pairs(PairsCommand::Caption(0, String::new()));
        bench.apply(caption).unwrap();
        assert_eq!(kept(&bench), one, "and one pair is kept as ever");
    }

    #[test]
    fn files_are_written_once_and_go_when_nobody_names_them() {
        let mut bench = bench_of_three();
        let all: Vec<_> = all_kept(&bench).into_keys().collect();
        assert_eq!(files(&bench, &all), [], "all are there");
        let remove = Command::Pairs(PairsCommand::Remove(1));
        bench.apply(remove).unwrap();
        let gone = files(&bench, &all);
        assert_eq!(gone.len(), 2, "B and the mask: A is that of the third, too");
        for (key, bytes) in gone {
            assert_eq!(bytes, None, "{key} is not needed any more");
        }
    }

    #[test]
    fn a_damaged_file_of_a_set_is_told_and_the_other_pairs_are_here() {
        let kept = all_kept(&bench_of_three());
        let mut picture = kept.keys().find(|key| key.starts_with("picture ")).cloned();
        let mut read = |key: &str| match picture.take_if(|damaged| damaged == key) {
            Some(_) => Some(b"broken".to_vec()),
            None => kept.get(key).cloned(),
        };
        let Restored { state, lost, .. } = restore(&mut read);
        let restored = Workbench::with_state(state);
        restored.check().unwrap();
        assert_eq!(restored.set().pairs().len(), 3, "the rows are here");
        let told = lost.unwrap_or_default();
        assert!(told.contains("a picture of the set"), "{told}");
        let list = |key: &str| match key {
            "set" => Some(b"broken".to_vec()),
            key => kept.get(key).cloned(),
        };
        let told = restore(list).lost.unwrap_or_default();
        assert!(told.contains("the list of pairs"), "{told}");
    }

    #[test]
    fn a_set_of_a_newer_mimeo_is_told_as_such() {
        let mut kept = all_kept(&bench_of_three());
        let mut json: Value = serde_json::from_slice(&kept["set"]).unwrap();
        json["format"] = 2.into();
        kept.insert("set".to_owned(), serde_json::to_vec(&json).unwrap());
        let Restored { state, newer, .. } = restore(|key| kept.get(key).cloned());
        let told = newer.unwrap_or_default();
        assert!(
            told.starts_with("The set of pairs that this browser kept"),
            "{told}"
        );
        let restored = Workbench::with_state(state);
        assert!(restored.frame().is_some(), "the first pair is here");
    }

    #[test]
    fn a_damaged_part_does_not_take_the_others_along_and_is_told() {
        let mut parts = kept(&pair());
        parts.insert("target", b"broken".to_vec());
        let Restored { state, lost, .. } = restore(|key| parts.remove(key));
        let restored = Workbench::with_state(state);
        restored.check().unwrap();
        assert!(restored.picture(Slot::Original).is_some(), "A is there");
        assert!(restored.picture(Slot::Target).is_none(), "B is not");
        let told = lost.unwrap_or_default();
        assert!(told.contains("kept picture B damaged"), "{told}");
        for (key, title) in [
            ("original", "picture A"),
            ("mask", "the mask"),
            ("settings", "the settings"),
        ] {
            let mut parts = kept(&pair());
            parts.insert(key, b"broken".to_vec());
            let told = restore(|key| parts.remove(key)).lost;
            let told = told.unwrap_or_default();
            assert!(told.contains(title), "{title:?} in: {told}");
        }
    }

    #[test]
    fn what_a_newer_mimeo_kept_is_told_as_such_and_the_pictures_are_here() {
        for (place, what) in [
            ("", "The workbench that this browser kept"),
            ("/settings/recipe", "The recipe"),
        ] {
            let mut parts = kept(&pair());
            let mut json: Value = serde_json::from_slice(&parts["settings"]).unwrap();
            json.pointer_mut(place).unwrap()["format"] = 2.into();
            parts.insert("settings", serde_json::to_vec(&json).unwrap());
            let Restored { state, lost, newer } = restore(|key| parts.remove(key));
            let told = "has format 2 of a newer Mimeo, and this one reads formats up to 1";
            let stays = "What was kept stays, and until then nothing of this page is kept.";
            let told = format!("{what} {told}: update Mimeo. {stays}");
            assert_eq!((lost, newer), (None, Some(told)), "newer, not damaged");
            let restored = Workbench::with_state(state);
            restored.check().unwrap();
            assert!(restored.frame().is_some(), "the pictures are here");
        }
    }

    #[test]
    fn nothing_kept_is_an_empty_bench() {
        let Restored { state, lost, newer } = restore(|_| None);
        assert_eq!((lost, newer), (None, None), "nothing is lost");
        let restored = Workbench::with_state(state);
        restored.check().unwrap();
        assert!(restored.frame().is_none(), "empty");
    }
}
