//! LoRA files named on the command line.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use mimeo_checkpoint::LoraFile;
use mimeo_engine::{Base, FinishedCopier, LoadedLora};
use mimeo_protocol::{InvalidNumber, JobName, Multiplier, Range};

use super::train::job_name;
use crate::lora_source::{LoraSource, is_network};
use crate::progress::Report;

/// How strongly a LoRA may act, whichever command draws with it.
const STRENGTH: Range = Range {
    name: "Strength",
    ..Multiplier::RANGE
};

/// `x.safetensors`, or `x.safetensors:0.5`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraArg {
    /// The file.
    pub path: PathBuf,
    /// How strongly it acts.
    pub strength: f64,
}

impl FromStr for LoraArg {
    type Err = InvalidNumber;

    fn from_str(text: &str) -> Result<Self, InvalidNumber> {
        let (path, strength) = match text.rsplit_once(':') {
            Some((path, number)) if !is_path(number) && !is_network(text) => {
                (path, strength(number)?)
            }
            _ => (text, 1.0),
        };
        Ok(Self {
            path: PathBuf::from(path),
            strength,
        })
    }
}

/// Whether what stands after a colon goes on with the path, as after the letter of a drive, and is
/// not meant as a strength.
fn is_path(text: &str) -> bool {
    text.contains(['/', '\\']) || text.to_ascii_lowercase().ends_with(".safetensors")
}

/// Reads a LoRA: a file, or a folder of PEFT's or diffusers'.
///
/// # Errors
/// When it is missing, damaged, or no LoRA.
pub async fn read(path: &Path) -> anyhow::Result<LoraFile> {
    let place = LoraSource::find(path)?;
    let file = place.open().await?;
    let config = place.config(&file).await?;
    Ok(LoraFile::with_adapter_config(&file, config.as_ref()).await?)
}

/// Puts a LoRA file beside the base.
///
/// # Errors
/// When it is for another base.
pub fn load(
    base: &Base,
    file: &LoraFile,
    path: &Path,
    report: &mut Report,
) -> anyhow::Result<LoadedLora> {
    let name = path.display().to_string();
    let loaded = LoadedLora::new(base, file, &name)?;
    for note in file.remarks().sentences(&format!("{name:?}")) {
        report.note(note);
    }
    Ok(loaded)
}

/// A finished copier that a command is given, before it is known to fit the base.
pub struct CopierFile<'a> {
    path: &'a Path,
    file: LoraFile,
}

/// The same for a companion, which wants its bytes.
pub struct CopierUpload {
    /// What to call it there.
    pub name: JobName,
    /// What was read of it.
    pub file: LoraFile,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl<'a> CopierFile<'a> {
    /// Reads it, if one is named.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn read(path: Option<&'a Path>) -> anyhow::Result<Option<Self>> {
        Ok(match path {
            Some(path) => Some(Self {
                path,
                file: read(path).await?,
            }),
            None => None,
        })
    }

    /// The copier for a companion.
    ///
    /// # Errors
    /// When no copier can be called as it is, or it is too large.
    pub async fn upload(self) -> anyhow::Result<CopierUpload> {
        let Self { path, file } = self;
        Ok(CopierUpload {
            name: job_name(path)?,
            file,
            bytes: LoraSource::find(path)?.bytes().await?,
        })
    }

    /// The copier. That it fits is seen here rather than in the engine, which does not know the path.
    ///
    /// # Errors
    /// When it is for another base.
    pub fn fit(self, base: &Base, report: &mut Report) -> anyhow::Result<FinishedCopier> {
        let Self { path, file } = self;
        load(base, &file, path, report)?;
        Ok(FinishedCopier {
            file,
            steps: 0,
            fidelity: None,
        })
    }
}

/// Reads one of several strengths.
///
/// # Errors
/// When it is none.
pub fn strength(text: &str) -> Result<f64, InvalidNumber> {
    STRENGTH.parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strength_may_follow_the_path() {
        for (text, path, strength) in [
            ("x.safetensors", "x.safetensors", 1.0),
            ("x.safetensors:-0.5", "x.safetensors", -0.5),
            ("C:\\x.safetensors", "C:\\x.safetensors", 1.0),
            ("C:\\x.safetensors:2", "C:\\x.safetensors", 2.0),
            ("C:x.safetensors", "C:x.safetensors", 1.0),
            ("folder:0.5", "folder", 0.5),
        ] {
            let lora = text.parse::<LoraArg>().unwrap();
            assert_eq!(
                (lora.path, lora.strength),
                (path.into(), strength),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_strength_is_refused_by_name_with_what_is_allowed() {
        for (text, words) in [
            (
                "x.safetensors:nan",
                "Strength must be between -8 and 8, not NaN",
            ),
            ("x.safetensors:1e30", "Strength must be between -8 and 8"),
            (
                "x.safetensors:-inf",
                "Strength must be between -8 and 8, not -inf",
            ),
            (
                "x.safetensors:1,5",
                "Strength must be a number between -8 and 8, not \"1,5\"",
            ),
            ("x.safetensors:80%", "no commas or units"),
            ("x.safetensors:", "not \"\""),
            ("x:nan", "not NaN"),
        ] {
            let refusal = text.parse::<LoraArg>().unwrap_err().to_string();
            assert!(refusal.contains(words), "{text}: {refusal}");
        }
    }
}
