//! A folder of pictures: which of them are pairs, and what lies beside them.

use std::fs;
use std::path::{Path, PathBuf};

use mimeo_image::{PairWarning, decode};
use mimeo_protocol::Level;
use mimeo_set::{Caption, Evidence, Pairing, Thumbnail};
use mimeo_set::{alone_by_name, pair_by_likeness, pair_by_name};
use serde::Serialize;

use super::pictures::read_file;
use crate::exit::BadInput;
use crate::input;
use crate::progress::Report;

/// Folders in folders beyond this are not looked into.
const MAX_DEPTH: usize = 8;

/// A folder of more files is no set.
const MAX_FILES: usize = 20_000;

/// More pictures are not compared with each other.
const MAX_COMPARED: usize = 500;

/// Far above any caption.
const MAX_CAPTION_BYTES: u64 = 1 << 20;

/// A file of a set.
#[derive(Debug, Clone)]
pub struct SetFile {
    /// Relative to the folder, with `/` between folders.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// The files of one example.
pub struct Member {
    /// A.
    pub original: SetFile,
    /// B; none for a picture alone.
    pub target: Option<SetFile>,
    /// Where to learn.
    pub mask: Option<SetFile>,
    caption: Option<SetFile>,
    /// At which strength the change is to come.
    pub level: Level,
    evidence: Evidence,
}

/// A folder and the examples that its files make.
pub struct SetFolder {
    folder: String,
    members: Vec<Member>,
    /// Pictures and other files that are not used, and why.
    left: Vec<LeftOut>,
}

/// A file that is not used.
#[derive(Debug, Clone, Serialize)]
struct LeftOut {
    file: String,
    why: String,
}

impl SetFolder {
    /// Finds the examples of a folder, by the names of its files and then by likeness.
    ///
    /// - `alone`: makes no pairs
    ///
    /// # Errors
    /// When it cannot be read, or holds nothing to train on.
    pub fn find(folder: &Path, alone: bool) -> Result<Self, BadInput> {
        let files = list(folder)?;
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        let pairing = match alone {
            true => alone_by_name(&names),
            false => by_likeness(&files, &names, pair_by_name(&names)),
        };
        let set = Self::of(folder, &files, &pairing, alone);
        match set.members.is_empty() {
            true => Err(BadInput::file(set.nothing(alone), folder)),
            false => Ok(set),
        }
    }

    fn of(folder: &Path, files: &[SetFile], pairing: &Pairing, alone: bool) -> Self {
        let file = |place: usize| files[place].clone();
        let pairs = pairing.pairs.iter().map(|pair| Member {
            original: file(pair.original),
            target: Some(file(pair.target)),
            mask: pair.mask.map(file),
            caption: pair.caption.map(file),
            level: pair.level,
            evidence: pair.evidence,
        });
        let singles = pairing.alone.iter().map(|single| Member {
            original: file(single.picture),
            target: None,
            mask: None,
            caption: single.caption.map(file),
            level: Level::constant(1.0),
            evidence: Evidence::Names,
        });
        let left = pairing.left.iter().map(|left| LeftOut {
            file: file(left.file).name,
            why: left.why.to_string(),
        });
        let without_half = pairing.alone.iter().map(|single| LeftOut {
            file: file(single.picture).name,
            why: "neither names nor likeness say what its other half is; name the two _a and _b."
                .to_owned(),
        });
        let folder = folder.display().to_string();
        match alone {
            true => Self {
                folder,
                members: singles.collect(),
                left: left.collect(),
            },
            false => Self {
                folder,
                members: pairs.collect(),
                left: without_half.chain(left).collect(),
            },
        }
    }

    /// Why there is nothing to train on.
    fn nothing(&self, alone: bool) -> String {
        let example = self.left.first();
        let example =
            example.map(|left| format!(" ({:?}: {})", left.file, left.why.trim_end_matches('.')));
        let example = example.unwrap_or_default();
        match alone {
            true => format!(
                "no picture in this folder can be trained on{example}; choose a folder of PNG, JPEG or WebP files"
            ),
            false => format!(
                "no two pictures in this folder are a pair{example}; name them as in x_a.png and x_b.png, or take each for itself with --alone"
            ),
        }
    }

    /// Its examples.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.members.iter().flat_map(Member::files)
    }

    /// Tells which examples there are.
    ///
    /// - `event`: as what machines are told
    /// - `read`: the caption of each, and what is wrong with it
    pub fn tell(
        &self,
        event: &'static str,
        read: &[(String, Vec<PairWarning>)],
        report: &mut Report,
    ) {
        let rows = self.members.iter().zip(read);
        let rows: Vec<_> = rows
            .map(|(member, (caption, warnings))| Row::new(member, caption, warnings))
            .collect();
        let body = SetBody {
            folder: &self.folder,
            examples: &rows,
            left: &self.left,
        };
        report.answer(event, &body, &body.table());
    }
}

impl Member {
    fn files(&self) -> impl Iterator<Item = &Path> {
        let others = [&self.target, &self.mask, &self.caption];
        let files = [&self.original]
            .into_iter()
            .chain(others.into_iter().flatten());
        files.map(|file| file.path.as_path())
    }

    /// What its caption says; empty without one.
    ///
    /// # Errors
    /// When it cannot be read or is no text, with its path.
    pub fn read_caption(&self, report: &mut Report) -> Result<String, BadInput> {
        let Some(file) = &self.caption else {
            return Ok(String::new());
        };
        let bytes = input::read(&file.path, "caption", MAX_CAPTION_BYTES)?;
        let caption = Caption::read(&bytes).map_err(|error| BadInput::file(error, &file.path))?;
        if caption.lines_left_out > 0 {
            report.note(format!(
                "{:?} has more than one line, and the first is the caption.",
                file.name
            ));
        }
        Ok(caption.text)
    }
}

/// Whether a folder holds pictures and no model.
pub fn is_of_pictures(folder: &Path) -> bool {
    let is_of_model = ["model_index.json", "unet"]
        .iter()
        .any(|name| folder.join(name).exists());
    let Ok(files) = list(folder) else {
        return false;
    };
    let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
    !is_of_model && !alone_by_name(&names).alone.is_empty()
}

/// Every file of a folder, and of those in it.
fn list(folder: &Path) -> Result<Vec<SetFile>, BadInput> {
    if !folder.is_dir() {
        return Err(BadInput::file(
            "this is no folder; choose one with pictures",
            folder,
        ));
    }
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((place, prefix, depth)) = folders.pop() {
        let unreadable = |error| {
            let why = format!("the folder cannot be read ({error}); check its permissions");
            BadInput::file(why, &place)
        };
        for entry in fs::read_dir(&place).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let own = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{prefix}{own}");
            // A link to a folder may lead back here.
            if path.is_dir() && !path.is_symlink() && depth < MAX_DEPTH {
                folders.push((path, format!("{name}/"), depth + 1));
            } else if path.is_file() {
                files.push(SetFile { name, path });
            }
            if files.len() > MAX_FILES {
                let why = format!(
                    "there are more than {MAX_FILES} files in this folder; choose one of a set alone"
                );
                return Err(BadInput::file(why, folder));
            }
        }
    }
    Ok(files)
}

/// The pairs that names leave open, where the pictures can be read.
fn by_likeness(files: &[SetFile], names: &[&str], pairing: Pairing) -> Pairing {
    let unpaired = pairing.unpaired();
    if unpaired.len() > MAX_COMPARED {
        return pairing;
    }
    let thumbnail = |place: usize| {
        // One that cannot be read is told where it is used.
        let bytes = read_file(&files[place].path).ok()?;
        Some((place, Thumbnail::of(&decode(&bytes).ok()?.picture)))
    };
    let thumbnails: Vec<_> = unpaired.into_iter().filter_map(thumbnail).collect();
    pair_by_likeness(names, &pairing, &thumbnails)
}

/// The examples of a set, and what is not used.
#[derive(Serialize)]
struct SetBody<'a> {
    folder: &'a str,
    examples: &'a [Row<'a>],
    left: &'a [LeftOut],
}

/// An example as it is told.
#[derive(Serialize)]
struct Row<'a> {
    original: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    mask: Option<&'a str>,
    caption: &'a str,
    level: Level,
    paired_by: &'static str,
    warnings: Vec<String>,
}

impl<'a> Row<'a> {
    fn new(member: &'a Member, caption: &'a str, warnings: &[PairWarning]) -> Self {
        let name = |file: &'a Option<SetFile>| file.as_ref().map(|file| file.name.as_str());
        Self {
            original: &member.original.name,
            target: name(&member.target),
            mask: name(&member.mask),
            caption,
            level: member.level,
            paired_by: match member.evidence {
                Evidence::Names => "names",
                Evidence::Order => "order",
                Evidence::Likeness => "likeness",
            },
            warnings: warnings.iter().map(PairWarning::to_string).collect(),
        }
    }

    fn line(&self, number: usize) -> String {
        let mut line = format!("{number:>4}  {:?}", self.original);
        if let Some(target) = self.target {
            line += &format!(" > {target:?}");
        }
        if self.level.get() != 1.0 {
            line += &format!(", level {}", self.level);
        }
        if let Some(mask) = self.mask {
            line += &format!(", mask {mask:?}");
        }
        if !self.caption.is_empty() {
            line += &format!(", caption {:?}", self.caption);
        }
        line += match self.paired_by {
            "order" => " (A is the first by name)",
            "likeness" => " (they look alike; A is the first by name)",
            _ => "",
        };
        let warnings = self
            .warnings
            .iter()
            .map(|warning| format!("\n      {warning}"));
        line + &warnings.collect::<String>()
    }
}

impl SetBody<'_> {
    /// For people: a line for each example and each file that is not used.
    fn table(&self) -> String {
        let lines = self
            .examples
            .iter()
            .zip(1..)
            .map(|(row, number)| row.line(number));
        let left = self
            .left
            .iter()
            .map(|left| format!("Left out: {:?}: {}", left.file, left.why));
        lines.chain(left).collect::<Vec<_>>().join("\n")
    }
}
