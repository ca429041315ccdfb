//! Pictures in and out.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mimeo_engine::mask_note;
use mimeo_image::{
    Difference, ImageError, Mask, MaskFile, Rgb, decode, decode_mask_file, encode_mask_png,
    encode_png,
};
use mimeo_protocol::Example;
use mimeo_service::blob::id_of;
use mimeo_service::prepare::check_mask;

use crate::exit::BadInput;
use crate::input;
use crate::output::OutFile;
use crate::progress::Report;

/// Far above any picture Mimeo takes.
const MAX_BYTES: u64 = 512 << 20;

/// The two pictures, and where they differ.
#[derive(Debug, Args)]
pub struct PairArgs {
    /// Picture A: what to start from (PNG, JPEG or WebP)
    #[arg(long, value_name = "A.png", required_unless_present = "set")]
    original: Option<PathBuf>,
    /// Picture B: the same with the change
    #[arg(long, value_name = "B.png", required_unless_present_any = ["copier", "set"])]
    target: Option<PathBuf>,
    /// Where to learn: white is learnt, black is left alone [default: where A and B differ]
    #[arg(long, value_name = "M.png")]
    mask: Option<PathBuf>,
    /// How the mask's file is to be read where white is not what is learnt; several are done in the
    /// order of this list [default: its alpha channel where that varies, else its luminance]
    #[arg(
        long,
        value_name = "HOW,…",
        value_enum,
        value_delimiter = ',',
        requires = "mask"
    )]
    mask_from: Vec<MaskFrom>,
}

/// What is done to a mask's file, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MaskFrom {
    /// Light colours are learnt, whatever the alpha channel holds
    Luminance,
    /// The lightest part is made white, as for a file of 0 and 1
    Stretched,
    /// Black is learnt, or what was erased
    Inverted,
}

/// Two pictures that differ, and a mask that fits them.
#[derive(Debug)]
pub struct Pair {
    /// A.
    pub original: Rgb,
    /// B.
    pub target: Rgb,
    /// Where to learn, if the user said so.
    pub mask: Option<Mask>,
    /// The files, by what is in them.
    pub example: Example,
}

impl PairArgs {
    /// Where the pictures are; none where no original is named.
    pub fn paths(&self) -> Option<PairPaths> {
        Some(PairPaths {
            original: self.original.clone()?,
            target: self.target.clone(),
            mask: self.mask.clone(),
            mask_from: self.mask_from.clone(),
        })
    }
}

/// Where the pictures of an example are.
#[derive(Debug, Clone)]
pub struct PairPaths {
    /// A.
    pub original: PathBuf,
    /// B; none for a picture alone.
    pub target: Option<PathBuf>,
    /// Where to learn.
    pub mask: Option<PathBuf>,
    /// What is done to the mask.
    pub mask_from: Vec<MaskFrom>,
}

impl PairPaths {
    /// Reads the pictures and checks that they belong together: here the paths are known.
    ///
    /// - `note`: is told what the user should know of the files
    ///
    /// # Errors
    /// When a picture cannot be used, with its path.
    pub fn read(&self, note: &mut dyn FnMut(String)) -> Result<(Pair, PairFiles), BadInput> {
        let original_file = read_file(&self.original)?;
        let target_file = self.target.as_deref().map(read_file).transpose()?;
        let original = decoded(&original_file, &self.original, note)?;
        let mut files = PairFiles {
            original: original_file,
            target: target_file,
            mask: None,
        };
        let target = match (&self.target, &files.target) {
            (Some(path), Some(file)) => Some((decoded(file, path, note)?, path)),
            _ => None,
        };
        let difference = target.as_ref().map(|(target, path)| {
            let difference = Difference::between(&original, target);
            difference.map_err(|error| BadInput::file(error, path))
        });
        let difference = difference.transpose()?;
        let mut mask = None;
        if let Some(path) = &self.mask {
            let unusable = |error| match error {
                ImageError::MaskLeavesOutAll { warning } => {
                    BadInput::file(mask_note(&warning), path)
                }
                other => BadInput::file(other, path),
            };
            let file = read_file(path)?;
            let read = self.read_mask(&file, path, note).map_err(unusable)?;
            if let Some(difference) = &difference {
                check_mask(&read, difference).map_err(unusable)?;
            }
            // What is kept and sent is what is trained with.
            files.mask = Some(if self.mask_from.is_empty() {
                file
            } else {
                encode_mask_png(&read).map_err(unusable)?
            });
            mask = Some(read);
        }
        let pair = Pair {
            target: target.map_or_else(|| original.clone(), |(target, _)| target),
            original,
            mask,
            example: files.example(),
        };
        Ok((pair, files))
    }

    fn read_mask(
        &self,
        file: &[u8],
        path: &Path,
        note: &mut dyn FnMut(String),
    ) -> Result<Mask, ImageError> {
        let has = |from| self.mask_from.contains(&from);
        let MaskFile {
            mut mask,
            luminance,
            notes,
        } = decode_mask_file(file)?;
        let name = path.display().to_string();
        for of_file in notes {
            note(format!("{name:?}: {of_file}"));
        }
        if let Some(luminance) = luminance {
            if has(MaskFrom::Luminance) {
                mask = luminance;
            } else {
                note(format!(
                    "The alpha channel of {name:?} says where to learn, and its colours do not (--mask-from luminance: the other way round)."
                ));
            }
        }
        if has(MaskFrom::Stretched) {
            mask = mask.stretched();
        }
        if has(MaskFrom::Inverted) {
            mask = mask.inverted();
        }
        Ok(mask)
    }
}

/// The files of an example, for a companion: as they are, or the mask as it was read.
pub struct PairFiles {
    /// A.
    pub original: Vec<u8>,
    /// B; none for a picture alone.
    pub target: Option<Vec<u8>>,
    /// Where to learn.
    pub mask: Option<Vec<u8>>,
}

impl PairFiles {
    fn example(&self) -> Example {
        let original = id_of(&self.original);
        Example {
            mask: self.mask.as_deref().map(id_of),
            ..Example::new(original, self.target.as_deref().map_or(original, id_of))
        }
    }
}

/// Writes a picture to its place; the answer is where it lies.
///
/// # Errors
/// When it cannot be encoded, or lies elsewhere.
pub fn save_png(out: &OutFile, picture: &Rgb, report: &mut Report) -> anyhow::Result<String> {
    Ok(out.save(&encode_png(picture)?, report)?)
}

fn decoded(bytes: &[u8], path: &Path, note: &mut dyn FnMut(String)) -> Result<Rgb, BadInput> {
    let decoded = decode(bytes).map_err(|error| BadInput::file(error, path))?;
    let name = path.display().to_string();
    for of_file in decoded.notes {
        note(format!("{name:?}: {of_file}"));
    }
    Ok(decoded.picture)
}

/// Reads the file of a picture.
///
/// # Errors
/// When it cannot be one, with its path.
pub fn read_file(path: &Path) -> Result<Vec<u8>, BadInput> {
    input::read(path, "picture", MAX_BYTES)
}
