//! Pictures in and out.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mimeo_engine::job::fit;
use mimeo_engine::{Base, EngineError, PreparedExample, mask_note};
use mimeo_image::{
    Difference, ImageError, Mask, MaskFile, Rgb, decode, decode_mask_file, encode_mask_png,
    encode_png,
};
use mimeo_protocol::{Example, Resolution};
use mimeo_service::blob::id_of;
use mimeo_service::prepare::check_mask;

use crate::exit::BadInput;
use crate::input;
use crate::output::{Input, OutFile};
use crate::progress::Report;

/// Far above any picture Mimeo takes.
const MAX_BYTES: u64 = 512 << 20;

/// The two pictures, and where they differ.
#[derive(Debug, Args)]
pub struct PairArgs {
    /// Picture A: what to start from (PNG, JPEG or WebP)
    #[arg(long, value_name = "A.png")]
    original: PathBuf,
    /// Picture B: the same with the change
    #[arg(long, value_name = "B.png")]
    target: PathBuf,
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
enum MaskFrom {
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

impl Pair {
    /// At the size at which the base trains it.
    ///
    /// - `resolution`: of the recipe
    ///
    /// # Errors
    /// When it cannot be brought to that size.
    pub fn prepare(
        self,
        base: &Base,
        resolution: Option<Resolution>,
    ) -> Result<PreparedExample, EngineError> {
        Ok(PreparedExample {
            pictures: fit(
                base,
                resolution,
                &self.original,
                &self.target,
                self.mask.as_ref(),
            )?,
            named: Some(self.example),
        })
    }
}

impl PairArgs {
    /// The files that are read.
    pub fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let mask = self.mask.as_deref().map(|mask| ("--mask", mask));
        let pictures = [
            ("--original", self.original.as_path()),
            ("--target", self.target.as_path()),
        ];
        pictures.into_iter().chain(mask)
    }

    /// Reads the pictures and checks that they make a pair.
    ///
    /// # Errors
    /// When a picture cannot be used, with its path.
    pub fn read(&self, report: &mut Report) -> Result<Pair, BadInput> {
        Ok(self.read_all(report)?.0)
    }

    /// The files, checked as [`Self::read`] does: here the paths are known.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_files(&self, report: &mut Report) -> Result<PairFiles, BadInput> {
        Ok(self.read_all(report)?.1)
    }

    fn read_all(&self, report: &mut Report) -> Result<(Pair, PairFiles), BadInput> {
        let mut files = PairFiles {
            original: read_file(&self.original)?,
            target: read_file(&self.target)?,
            mask: None,
        };
        let original = decoded(&files.original, &self.original, report)?;
        let target = decoded(&files.target, &self.target, report)?;
        let difference = Difference::between(&original, &target)
            .map_err(|error| BadInput::file(error, &self.target))?;
        let mut mask = None;
        if let Some(path) = &self.mask {
            let unusable = |error| match error {
                ImageError::MaskLeavesOutAll { warning } => {
                    BadInput::file(mask_note(&warning), path)
                }
                other => BadInput::file(other, path),
            };
            let file = read_file(path)?;
            let read = self.read_mask(&file, path, report).map_err(unusable)?;
            check_mask(&read, &difference).map_err(unusable)?;
            // What is kept and sent is what is trained with.
            files.mask = Some(if self.mask_from.is_empty() {
                file
            } else {
                encode_mask_png(&read).map_err(unusable)?
            });
            mask = Some(read);
        }
        let pair = Pair {
            original,
            target,
            mask,
            example: files.example(),
        };
        Ok((pair, files))
    }

    fn read_mask(&self, file: &[u8], path: &Path, report: &mut Report) -> Result<Mask, ImageError> {
        let has = |from| self.mask_from.contains(&from);
        let MaskFile {
            mut mask,
            luminance,
            notes,
        } = decode_mask_file(file)?;
        let name = path.display().to_string();
        for note in notes {
            report.note(format!("{name:?}: {note}"));
        }
        if let Some(luminance) = luminance {
            if has(MaskFrom::Luminance) {
                mask = luminance;
            } else {
                report.note(format!(
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

/// The files of a pair, for a companion: as they are, or the mask as it was read.
pub struct PairFiles {
    /// A.
    pub original: Vec<u8>,
    /// B.
    pub target: Vec<u8>,
    /// Where to learn.
    pub mask: Option<Vec<u8>>,
}

impl PairFiles {
    fn example(&self) -> Example {
        Example {
            mask: self.mask.as_deref().map(id_of),
            ..Example::new(id_of(&self.original), id_of(&self.target))
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

fn decoded(bytes: &[u8], path: &Path, report: &mut Report) -> Result<Rgb, BadInput> {
    let decoded = decode(bytes).map_err(|error| BadInput::file(error, path))?;
    let name = path.display().to_string();
    for note in decoded.notes {
        report.note(format!("{name:?}: {note}"));
    }
    Ok(decoded.picture)
}

fn read_file(path: &Path) -> Result<Vec<u8>, BadInput> {
    input::read(path, "picture", MAX_BYTES)
}
