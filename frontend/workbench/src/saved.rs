//! The workbench as bytes, so that a reload loses nothing.
//!
//! Pictures are kept as the files they came as, the mask as a PNG, the rest as JSON; each under a
//! name of its own, so that a stroke does not write the pictures again. What a newer Mimeo kept is not
//! written over ([`Keeping`]).

mod keeping;

use std::sync::Arc;

use mimeo_image::{decode_mask, encode_mask_png};
use mimeo_protocol::format::Kind;
use mimeo_protocol::{Format, NewerFormat, RecipeFormat};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::picture::{Picture, Slot};
use crate::prompts::with_syntax;
use crate::words;
use crate::workbench::{Pictures, Settings, State, Workbench};

pub use keeping::Keeping;

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
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Original, Self::Target, Self::Mask, Self::Settings];

    /// The name it is stored under.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Target => "target",
            Self::Mask => "mask",
            Self::Settings => "settings",
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
    let file = |slot| Some(bench.picture(slot)?.file.clone());
    match part {
        Part::Original => file(Slot::Original),
        Part::Target => file(Slot::Target),
        // A mask that cannot be written is too large to be one.
        Part::Mask => encode_mask_png(bench.mask()?).ok(),
        Part::Settings => {
            let name = |slot| bench.picture(slot).map(|picture| picture.name.clone());
            let rest = Rest {
                format: Format::default(),
                names: Slot::ALL.map(|slot| name(slot).unwrap_or_default()),
                offset: bench.state().pictures.offset,
                settings: bench.settings().clone(),
            };
            serde_json::to_vec(&rest).ok()
        }
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
#[must_use]
pub fn restore(mut kept: impl FnMut(Part) -> Option<Vec<u8>>) -> Restored {
    let mut lost = Vec::new();
    let mut newer = None;
    let rest = kept(Part::Settings).and_then(|json| {
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
        let picture = Picture::read(name, kept(part)?);
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
    let mask = kept(Part::Mask).and_then(|png| {
        let mask = decode_mask(&png);
        mask.inspect_err(|_unreadable| lost.push("the mask")).ok()
    });
    let lost = (!lost.is_empty()).then(|| {
        let what = lost.join(", ");
        format!(
            "This browser kept {what} damaged, and the rest is here. Add what is missing again."
        )
    });
    Restored {
        state: State::assembled(pictures, mask.as_ref(), settings),
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
    use crate::workbench::examples::pair;
    use crate::workbench::{Command, MaskCommand, Setting};

    fn kept(bench: &Workbench) -> BTreeMap<&'static str, Vec<u8>> {
        let parts = Part::ALL.into_iter();
        let kept = parts.filter_map(|each| Some((each.key(), part(bench, each)?)));
        kept.collect()
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
        let Restored { state, lost, newer } = restore(|part| Some(file(part)));
        assert_eq!((lost, newer), (None, None), "nothing to tell");
        let restored = Workbench::with_state(state);
        restored.check().unwrap();
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
        let Restored { state, lost, newer } = restore(|part| parts.remove(part.key()));
        assert_eq!((lost, newer), (None, None), "nothing to tell");
        let restored = Workbench::with_state(state);
        restored.check().unwrap();
        assert_eq!(restored.settings(), bench.settings(), "recipe and name");
        assert_eq!(restored.mask(), bench.mask(), "strokes");
        for slot in Slot::ALL {
            assert_eq!(restored.picture(slot), bench.picture(slot), "{slot:?}");
        }
    }

    #[test]
    fn a_damaged_part_does_not_take_the_others_along_and_is_told() {
        let mut parts = kept(&pair());
        parts.insert("target", b"broken".to_vec());
        let Restored { state, lost, .. } = restore(|part| parts.remove(part.key()));
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
            let told = restore(|part| parts.remove(part.key())).lost;
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
            let Restored { state, lost, newer } = restore(|part| parts.remove(part.key()));
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
