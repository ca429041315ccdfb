//! LoRA files named on the command line.

mod place;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mimeo_checkpoint::LoraFile;
use mimeo_engine::{Base, LoadedLora};

pub use place::{Place, is_lora_folder};

use crate::progress::Report;

/// `x.safetensors`, or `x.safetensors:0.5`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraArg {
    /// The file.
    pub path: PathBuf,
    /// How strongly it acts.
    pub strength: f64,
}

impl FromStr for LoraArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        // What is no number belongs to the path, such as the colon after a drive's letter.
        let split = text.rsplit_once(':');
        let strength = split.and_then(|(path, strength)| Some((path, strength.parse().ok()?)));
        let (path, strength) = match strength {
            Some((path, strength)) if f64::is_finite(strength) => (path, strength),
            _ => (text, 1.0),
        };
        Ok(Self {
            path: PathBuf::from(path),
            strength,
        })
    }
}

/// Reads a LoRA: a file, or a folder of PEFT's or diffusers'.
///
/// # Errors
/// When it is missing, damaged, or no LoRA.
pub async fn read(path: &Path) -> anyhow::Result<LoraFile> {
    let place = Place::find(path)?;
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
    for note in notes(file, &format!("{name:?}")) {
        report.note(note);
    }
    Ok(loaded)
}

/// What is said of a LoRA before it is used: what of it is left out.
fn notes(file: &LoraFile, name: &str) -> Vec<String> {
    let left_out = file.left_out().sentence(name);
    let unknown = &file.reading.unknown_settings;
    let unknown = (!unknown.is_empty()).then(|| {
        let settings: Vec<&str> = unknown.iter().map(String::as_str).collect();
        format!(
            "{name} was made with settings that this version does not know and leaves aside: {}.",
            settings.join(", ")
        )
    });
    left_out.into_iter().chain(unknown).collect()
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
            ("a:nan", "a:nan", 1.0),
        ] {
            let Ok(lora) = text.parse::<LoraArg>();
            assert_eq!(
                (lora.path, lora.strength),
                (path.into(), strength),
                "{text}"
            );
        }
    }
}
