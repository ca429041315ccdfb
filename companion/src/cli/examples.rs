//! What is trained on: two pictures, or those of a folder.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use mimeo_engine::job::fit;
use mimeo_engine::{Base, PreparedExample};
use mimeo_image::{PairWarning, warnings};
use mimeo_protocol::{Example, Resolution};

use super::pictures::{MaskFrom, PairFiles, PairPaths};
use super::set::{Member, SetFolder};
use crate::exit::BadInput;
use crate::output::Input;
use crate::progress::Report;

/// Two pictures and where they differ, or a folder of such.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("masks").args(["mask", "set"]).multiple(true)))]
pub struct ExampleArgs {
    /// Picture A: what to start from (PNG, JPEG or WebP)
    #[arg(long, value_name = "A.png", required_unless_present = "set")]
    original: Option<PathBuf>,
    /// Picture B: the same with the change
    #[arg(long, value_name = "B.png", required_unless_present = "set")]
    target: Option<PathBuf>,
    /// Where to learn: white is learnt, black is left alone [default: where A and B differ]
    #[arg(long, value_name = "M.png")]
    mask: Option<PathBuf>,
    /// Train on the pairs of a folder: x_a.png and x_b.png, before/x.png and after/x.png and the like,
    /// with x_mask.png and captions (x_a.txt) where there are any
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["original", "target", "mask"])]
    set: Option<PathBuf>,
    /// With --set: make no pairs, train on each picture for itself
    #[arg(long, requires = "set", conflicts_with_all = ["original", "target", "mask"])]
    alone: bool,
    /// How masks are to be read where white is not what is learnt; several are done in the
    /// order of this list [default: the alpha channel where that varies, else luminance]
    #[arg(
        long,
        value_name = "HOW,…",
        value_enum,
        value_delimiter = ',',
        requires = "masks"
    )]
    mask_from: Vec<MaskFrom>,
}

impl ExampleArgs {
    /// Finds the files.
    ///
    /// # Errors
    /// When the folder cannot be read, or nothing in it is a pair.
    pub fn find(&self) -> Result<Found, BadInput> {
        if let Some(folder) = &self.set {
            let folder = SetFolder::find(folder, self.alone)?;
            let mask_from = self.mask_from.clone();
            return Ok(Found::Set { folder, mask_from });
        }
        let missing = || BadInput("name --original and --target, or a --set.".to_owned());
        Ok(Found::Pair(PairPaths {
            original: self.original.clone().ok_or_else(missing)?,
            target: Some(self.target.clone().ok_or_else(missing)?),
            mask: self.mask.clone(),
            mask_from: self.mask_from.clone(),
        }))
    }
}

/// Files that were found and not yet read.
pub enum Found {
    /// One pair.
    Pair(PairPaths),
    /// A folder.
    Set {
        /// What lies in it.
        folder: SetFolder,
        /// What is done to its masks.
        mask_from: Vec<MaskFrom>,
    },
}

/// Examples whose files were read and belong together.
pub type Examples = Vec<CheckedExample>;

/// An example whose files were read and belong together. They are read again when they are needed: the
/// pictures of a large set have no room in memory.
pub struct CheckedExample {
    paths: PairPaths,
    /// The files, by what is in them, and what is said of them.
    pub example: Example,
}

impl Found {
    /// The files that are read.
    pub fn inputs(&self) -> Vec<Input<'_>> {
        match self {
            Self::Pair(paths) => {
                let target = paths.target.as_deref().map(|path| ("--target", path));
                let mask = paths.mask.as_deref().map(|path| ("--mask", path));
                let original = ("--original", paths.original.as_path());
                [original].into_iter().chain(target).chain(mask).collect()
            }
            Self::Set { folder, .. } => folder.files().map(|path| ("--set", path)).collect(),
        }
    }

    /// The pairs of a folder, as they are without any option.
    ///
    /// # Errors
    /// As [`ExampleArgs::find`].
    pub fn in_folder(folder: &Path) -> Result<Self, BadInput> {
        Ok(Self::Set {
            folder: SetFolder::find(folder, false)?,
            mask_from: Vec::new(),
        })
    }

    /// Reads and checks all files; of a set, tells which examples they make.
    ///
    /// - `event`: as what machines are told of a set
    ///
    /// # Errors
    /// When a file cannot be used, with its path.
    pub fn read(&self, event: &'static str, report: &mut Report) -> Result<Examples, BadInput> {
        match self {
            Self::Pair(paths) => {
                let (pair, _) = paths.read(&mut |note| report.note(note))?;
                Ok(vec![CheckedExample {
                    paths: paths.clone(),
                    example: pair.example,
                }])
            }
            Self::Set { folder, mask_from } => {
                let mut examples = Vec::new();
                let mut told = Vec::new();
                for member in folder.members() {
                    let (example, warnings) = read_member(member, mask_from, report)?;
                    told.push((example.example.caption.clone(), warnings));
                    examples.push(example);
                }
                folder.tell(event, &told, report);
                Ok(examples)
            }
        }
    }
}

fn read_member(
    member: &Member,
    mask_from: &[MaskFrom],
    report: &mut Report,
) -> Result<(CheckedExample, Vec<PairWarning>), BadInput> {
    let paths = PairPaths {
        original: member.original.path.clone(),
        target: member.target.as_ref().map(|target| target.path.clone()),
        mask: member.mask.as_ref().map(|mask| mask.path.clone()),
        mask_from: mask_from.to_vec(),
    };
    let (pair, _) = paths.read(&mut |note| report.note(note))?;
    let warnings = match &member.target {
        Some(target) => warnings(&pair.original, &pair.target, pair.mask.as_ref())
            .map_err(|error| BadInput::file(error, &target.path))?,
        None => Vec::new(),
    };
    let example = Example {
        caption: member.read_caption(report)?,
        level: member.level,
        ..pair.example
    };
    Ok((CheckedExample { paths, example }, warnings))
}

impl CheckedExample {
    /// Its files, for a companion.
    ///
    /// # Errors
    /// When they cannot be read any more, or are others.
    pub fn files(&self) -> Result<PairFiles, BadInput> {
        Ok(self.read_again()?.1)
    }

    /// At the size at which the base trains it.
    ///
    /// - `resolution`: of the recipe
    ///
    /// # Errors
    /// When the files are others by now, or cannot be brought to that size.
    pub fn prepare(
        &self,
        base: &Base,
        resolution: Option<Resolution>,
    ) -> anyhow::Result<PreparedExample> {
        let (pair, _) = self.read_again()?;
        let mask = pair.mask.as_ref();
        Ok(PreparedExample {
            pictures: fit(base, resolution, &pair.original, &pair.target, mask)?,
            named: Some(self.example.clone()),
        })
    }

    fn read_again(&self) -> Result<(super::pictures::Pair, PairFiles), BadInput> {
        // What is to be said of them was said the first time.
        let (pair, files) = self.paths.read(&mut |_| ())?;
        let names = |of: &Example| (of.original, of.target, of.mask);
        if names(&pair.example) != names(&self.example) {
            let why = "a picture of this example was changed meanwhile; start again";
            return Err(BadInput::file(why, &self.paths.original));
        }
        Ok((pair, files))
    }
}
