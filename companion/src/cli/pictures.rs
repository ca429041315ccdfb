//! Pictures in and out.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use mimeo_image::{Difference, ImageError, Mask, Rgb, decode, decode_mask, encode_png};
use mimeo_protocol::PairIds;
use mimeo_service::blob::id_of;
use mimeo_service::prepare::check_mask;

use crate::exit::BadInput;
use crate::output::{Existing, OutFile};
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
    pub ids: PairIds,
}

impl PairArgs {
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
        let files = PairFiles {
            original: read_bytes(&self.original)?,
            target: read_bytes(&self.target)?,
            mask: self.mask.as_deref().map(read_bytes).transpose()?,
        };
        let original = decoded(&files.original, &self.original, report)?;
        let target = decoded(&files.target, &self.target, report)?;
        let about = |path: &'_ Path| {
            let path = path.to_path_buf();
            move |error: ImageError| BadInput::file(error, &path)
        };
        Difference::between(&original, &target).map_err(about(&self.target))?;
        let mask = match (&self.mask, &files.mask) {
            (Some(path), Some(bytes)) => {
                let mask = decode_mask(bytes).map_err(about(path))?;
                check_mask(&mask, &original).map_err(about(path))?;
                Some(mask)
            }
            _ => None,
        };
        let pair = Pair {
            original,
            target,
            mask,
            ids: files.ids(),
        };
        Ok((pair, files))
    }
}

/// The files of a pair as they are, for a companion.
pub struct PairFiles {
    /// A.
    pub original: Vec<u8>,
    /// B.
    pub target: Vec<u8>,
    /// Where to learn.
    pub mask: Option<Vec<u8>>,
}

impl PairFiles {
    fn ids(&self) -> PairIds {
        PairIds {
            original: id_of(&self.original),
            target: id_of(&self.target),
            mask: self.mask.as_deref().map(id_of),
        }
    }
}

/// Claims the place of a picture that will be written.
///
/// # Errors
/// As [`OutFile::claim`], and when the name promises another format than PNG.
pub fn claim_png(path: &Path, existing: Existing) -> Result<OutFile, BadInput> {
    let is_png = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if !is_png {
        let why = "pictures are written as PNG; choose a name that ends in .png";
        return Err(BadInput::file(why, path));
    }
    OutFile::claim(path, existing)
}

/// Writes a picture to its place.
///
/// # Errors
/// When it cannot be encoded or saved.
pub fn save_png(out: &OutFile, picture: &Rgb) -> anyhow::Result<()> {
    out.save(&encode_png(picture)?)?;
    Ok(())
}

fn decoded(bytes: &[u8], path: &Path, report: &mut Report) -> Result<Rgb, BadInput> {
    let decoded = decode(bytes).map_err(|error| BadInput::file(error, path))?;
    let name = path.display().to_string();
    for note in decoded.notes {
        report.note(format!("{name:?}: {note}"));
    }
    Ok(decoded.picture)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, BadInput> {
    let unreadable = |error: std::io::Error| {
        BadInput::file(
            format!("the picture cannot be read ({error}); check the path"),
            path,
        )
    };
    // Asked before opening, because opening a named pipe waits for its other end.
    let info = fs::metadata(path).map_err(unreadable)?;
    if !info.is_file() {
        return Err(BadInput::file(
            "this is no picture file; choose another one",
            path,
        ));
    }
    if info.len() > MAX_BYTES {
        return Err(BadInput::file(
            "this file is too large for a picture; choose another one",
            path,
        ));
    }
    fs::read(path).map_err(unreadable)
}
