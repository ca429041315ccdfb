//! The pairs that methods are compared on: the bundled ones, and folders of others.

use std::fs;
use std::path::{Path, PathBuf};

use mimeo_base::ExamplePair;
use mimeo_engine::job::fit;
use mimeo_engine::{Base, EngineError, PreparedExample, PreparedJob, Recompute};
use mimeo_image::{FittedPair, decode, decode_mask};
use mimeo_protocol::Recipe;
use serde::Deserialize;

use super::judge::Attributes;
use crate::cli::pictures::read_file;
use crate::exit::BadInput;
use crate::input;

/// Far above any record of a pair.
const MAX_BYTES: u64 = 1 << 16;

/// Two pictures of one person, and what is known of them.
#[derive(Debug)]
pub struct Pair {
    /// As tables name it: `glasses/00`.
    pub name: String,
    /// A, B and the mask of their difference.
    pub pictures: FittedPair,
    /// What A is like.
    pub original: Attributes,
    /// What B is like.
    pub target: Attributes,
    /// What B's caption says beyond A's, in the base's own words.
    pub words: String,
    /// Whether it is only looked at in the end.
    pub held_out: bool,
}

/// What the renderer says of a pair.
#[derive(Deserialize)]
struct Record {
    kind: String,
    id: String,
    #[serde(default)]
    held_out: bool,
    #[serde(rename = "A")]
    original: Described,
    #[serde(rename = "B")]
    target: Described,
    #[serde(rename = "caption_A")]
    original_caption: String,
    #[serde(rename = "caption_B")]
    target_caption: String,
}

impl Record {
    /// Tags of B's caption that A's has not.
    fn words(&self) -> String {
        let known: Vec<&str> = self.original_caption.split(", ").collect();
        let tags = self.target_caption.split(", ");
        let new: Vec<&str> = tags.filter(|tag| !known.contains(tag)).collect();
        new.join(", ")
    }
}

/// What somebody is like, as far as it can be said.
#[derive(Deserialize)]
struct Described(std::collections::BTreeMap<String, Option<String>>);

impl Described {
    fn known(self) -> Attributes {
        let known = self.0.into_iter();
        known
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

impl Pair {
    /// One of the bundled pairs.
    ///
    /// # Errors
    /// When its files are damaged.
    pub fn bundled(pair: &ExamplePair) -> anyhow::Result<Self> {
        let pngs = [pair.original_png, pair.target_png, pair.mask_png];
        Self::new(pair.record_json, pngs)
    }

    /// One that was rendered into a folder.
    ///
    /// - `record`: `ID.json`; the pictures lie beside it
    fn read(record: &Path) -> anyhow::Result<Self> {
        let json = input::read(record, "record of a pair", MAX_BYTES)?;
        let [a, b, mask] = ["A", "B", "mask"].map(|role| read_file(&picture_of(record, role)));
        let (a, b, mask) = (a?, b?, mask?);
        Self::new(&json, [&a, &b, &mask]).map_err(|error| {
            let why = format!("this pair cannot be used ({error}); render it anew");
            BadInput::file(why, record).into()
        })
    }

    fn new(record: &[u8], [original, target, mask]: [&[u8]; 3]) -> anyhow::Result<Self> {
        let record: Record = serde_json::from_slice(record)?;
        Ok(Self {
            name: format!("{}/{}", record.kind, record.id),
            pictures: FittedPair {
                original: decode(original)?.picture,
                target: decode(target)?.picture,
                mask: Some(decode_mask(mask)?),
            },
            words: record.words(),
            original: record.original.known(),
            target: record.target.known(),
            held_out: record.held_out,
        })
    }

    /// What distinguishes B from A, of what is in `names`.
    pub fn edited<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let differ = |name: &&str| self.target.get(*name) != self.original.get(*name);
        names.filter(differ).collect()
    }

    /// A job on it.
    ///
    /// - `scores`: whether it is measured on the prompts
    ///
    /// # Errors
    /// When the base cannot train at its size.
    pub fn job(
        &self,
        base: &Base,
        recipe: Recipe,
        (held_out_prompts, scores): (Vec<String>, bool),
    ) -> Result<PreparedJob, EngineError> {
        let FittedPair {
            original,
            target,
            mask,
        } = &self.pictures;
        Ok(PreparedJob {
            name: self.name.clone(),
            examples: vec![PreparedExample {
                pictures: fit(base, recipe.resolution, original, target, mask.as_ref())?,
                named: None,
            }],
            recipe,
            copier: None,
            held_out_prompts,
            scores,
            previews: None,
            recompute: Recompute::NOTHING,
        })
    }
}

/// The pairs of these names: bundled ones by edit or one by one, folders of others with all that they hold, one of
/// these by its path without an ending; all bundled ones without any name.
///
/// # Errors
/// The first name that none has; a folder whose pairs cannot be read.
pub fn chosen(names: &[String]) -> anyhow::Result<Vec<Pair>> {
    let bundled = mimeo_base::pairs();
    if names.is_empty() {
        return bundled.iter().map(Pair::bundled).collect();
    }
    let mut pairs = Vec::new();
    for name in names {
        let is = |pair: &&ExamplePair| *name == pair.edit || *name == name_of(pair);
        let of_name: Vec<_> = bundled.iter().filter(is).collect();
        let mut records = Vec::new();
        if of_name.is_empty() {
            records_in(Path::new(name), &mut records);
        }
        if of_name.is_empty() && records.is_empty() {
            return Err(unknown(name).into());
        }
        for pair in of_name {
            pairs.push(Pair::bundled(pair)?);
        }
        for record in records {
            pairs.push(Pair::read(&record)?);
        }
    }
    Ok(pairs)
}

fn name_of(pair: &ExamplePair) -> String {
    format!("{}/{}", pair.edit, pair.id)
}

fn unknown(name: &str) -> BadInput {
    let mut edits: Vec<&str> = mimeo_base::pairs().iter().map(|pair| pair.edit).collect();
    edits.dedup();
    let edits = edits.join(", ");
    BadInput(format!(
        "there is no bundled pair named {name:?}, and no folder of pairs either; choose among {edits}."
    ))
}

/// The records of all pairs in a folder and the folders in it, in order; that of one pair by its
/// name without an ending.
fn records_in(place: &Path, records: &mut Vec<PathBuf>) {
    let record = place.with_extension("json");
    if !place.is_dir() && picture_of(&record, "A").is_file() {
        records.push(record);
    }
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            records_in(&entry, records);
        } else if entry.extension().is_some_and(|it| it == "json")
            && picture_of(&entry, "A").is_file()
        {
            records.push(entry);
        }
    }
}

/// - `role`: `A`, `B` or `mask`
fn picture_of(record: &Path, role: &str) -> PathBuf {
    let id = record.file_stem().unwrap_or_default().to_string_lossy();
    record.with_file_name(format!("{id}_{role}.png"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_pairs_and_one_of_them_can_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let edit = folder.path().join("glasses");
        fs::create_dir(&edit).unwrap();
        fs::write(folder.path().join("people.json"), "[]").unwrap();
        let bundled = &mimeo_base::pairs()[0];
        for id in ["00", "01"] {
            let file = |name: &str| edit.join(format!("{id}{name}"));
            let record = String::from_utf8_lossy(bundled.record_json);
            let record = record.replace("\"00\"", &format!("\"{id}\""));
            fs::write(file(".json"), record).unwrap();
            fs::write(file("_A.png"), bundled.original_png).unwrap();
            fs::write(file("_B.png"), bundled.target_png).unwrap();
            fs::write(file("_mask.png"), bundled.mask_png).unwrap();
        }
        let names = |place: &Path| {
            let pairs = chosen(&[place.display().to_string()]).unwrap();
            pairs.into_iter().map(|pair| pair.name).collect::<Vec<_>>()
        };
        assert_eq!(names(folder.path()), ["glasses/00", "glasses/01"]);
        assert_eq!(names(&edit.join("01")), ["glasses/01"], "one alone");
        let refusal = chosen(&["nothing".to_owned()]).unwrap_err().to_string();
        assert!(refusal.contains("choose among glasses, smile"), "{refusal}");
    }

    #[test]
    fn bundled_pairs_differ_in_one_attribute() {
        for pair in chosen(&[]).unwrap() {
            let names = [
                "top",
                "hair_color",
                "accessories",
                "eyes",
                "mouth",
                "facial_hair",
                "head",
            ];
            assert_eq!(pair.edited(names.into_iter()).len(), 1, "{}", pair.name);
            assert!(!pair.held_out, "{}", pair.name);
        }
    }
}
