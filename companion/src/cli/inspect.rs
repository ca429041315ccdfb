//! `mimeo inspect`: what a file is and what is in it.

mod norm;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use mimeo_checkpoint::family::lora_architecture;
use mimeo_checkpoint::metadata::{EXAMPLES, PAIR, RECIPE, SCORES};
use mimeo_checkpoint::{
    CheckpointError, Detected, DiskFolder, Family, LoraFile, LoraFileError, PredictionType,
    Remarks, SafetensorsFile,
};
use mimeo_protocol::Example;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::examples::Found;
use super::set;
use crate::exit::Exit;
use crate::lora_source::{LoraSource, is_lora_folder};
use crate::progress::Report;

/// Tell what a file is and what is in it, or which pictures of a folder are pairs.
#[derive(Debug, Args)]
pub struct Inspect {
    /// A LoRA, a checkpoint, a diffusers folder, a folder with a LoRA of PEFT's, or one with pictures
    #[arg(value_name = "file.safetensors")]
    path: PathBuf,
}

/// What is known about a file.
#[derive(Debug, Serialize)]
struct Findings {
    file: String,
    #[serde(flatten)]
    kind: Kind,
    /// Mimeo's own recipe, parsed.
    recipe: Option<Value>,
    /// Mimeo's own scores, parsed.
    scores: Option<Value>,
    /// The pictures it was trained on.
    pair: Option<Example>,
    /// Those of several examples.
    examples: Option<Vec<Example>>,
    /// Everything else that the file says about itself.
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    Lora {
        /// The kind of base it is for, if its shapes tell.
        base: Option<&'static str>,
        ranks: BTreeSet<usize>,
        /// As text, which sorts and compares; as numbers they could not.
        alphas: BTreeSet<String>,
        /// Where the alphas come from, with the number of modules of each.
        alpha_from: BTreeMap<&'static str, usize>,
        /// Modules with rsLoRA, whose alpha here is `lora_alpha · √rank`.
        rank_stabilized: usize,
        /// What is applied when it is drawn with, by part of the model, with the number of modules of each.
        applied: BTreeMap<&'static str, usize>,
        /// What is not, by kind, with the number of modules of each.
        left_out: BTreeMap<&'static str, usize>,
        /// Whether all that is applied leaves every picture as it is.
        changes_nothing: bool,
        /// Settings of the program that made it that ask for tensors which are not there.
        missing: BTreeSet<&'static str>,
        /// Settings of the program that made it that are not known here.
        unknown_settings: BTreeSet<String>,
        /// The strongest first.
        modules: Vec<ModuleFindings>,
    },
    Checkpoint {
        family: &'static str,
        prediction: &'static str,
        /// What in the file says so, where it is one file.
        prediction_by: Option<String>,
        /// Whether its schedule ends in pure noise.
        zero_terminal_snr: bool,
        inpainting: bool,
        tensors: Option<usize>,
    },
    /// A sound safetensors file of another kind.
    Other { what: String, tensors: usize },
}

#[derive(Debug, Serialize)]
struct ModuleFindings {
    name: String,
    rank: usize,
    alpha: f32,
    /// Frobenius norm of the change at strength 1.
    norm: f64,
}

impl Inspect {
    /// Looks and tells.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or is a pickle.
    pub async fn run(self, report: &mut Report) -> anyhow::Result<Exit> {
        let is_folder = self.path.is_dir() && !is_lora_folder(&self.path);
        if is_folder && set::is_of_pictures(&self.path) {
            Found::in_folder(&self.path)?.read("result", report)?;
            return Ok(Exit::Done);
        }
        let findings = if is_folder {
            look_at_folder(&self.path).await?
        } else {
            look_at_file(&self.path).await?
        };
        report.result(&findings, &text::of(&findings));
        Ok(Exit::Done)
    }
}

async fn look_at_folder(path: &Path) -> anyhow::Result<Findings> {
    let family = Family::of(&DiskFolder::new(path)?).await?;
    Ok(Findings {
        file: path.display().to_string(),
        kind: checkpoint(family, None, None),
        recipe: None,
        scores: None,
        pair: None,
        examples: None,
        metadata: BTreeMap::new(),
    })
}

async fn look_at_file(path: &Path) -> anyhow::Result<Findings> {
    let place = LoraSource::find(path)?;
    let file = place.open().await?;
    let config = place.config(&file).await?;
    let tensors = file.tensors().len();
    let kind = match LoraFile::with_adapter_config(&file, config.as_ref()).await {
        Ok(lora) => of_lora(&lora),
        Err(LoraFileError::NotALora { .. }) => of_checkpoint(&file).await?,
        Err(LoraFileError::OtherModel { model, .. }) => Kind::Other {
            what: format!("a LoRA for {model}"),
            tensors,
        },
        Err(LoraFileError::OtherKinds { kinds, .. }) => Kind::Other {
            what: format!("an adapter of another kind (by number of modules: {kinds})"),
            tensors,
        },
        Err(LoraFileError::TextualInversion { .. }) => Kind::Other {
            what: "a textual inversion, a new word for prompts".to_owned(),
            tensors,
        },
        Err(error) => return Err(error.into()),
    };
    let mut metadata = file.metadata().clone();
    Ok(Findings {
        file: path.display().to_string(),
        kind,
        recipe: take(&mut metadata, RECIPE),
        scores: take(&mut metadata, SCORES),
        pair: take(&mut metadata, PAIR),
        examples: take(&mut metadata, EXAMPLES),
        metadata,
    })
}

async fn of_checkpoint(file: &SafetensorsFile) -> Result<Kind, CheckpointError> {
    let tensors = file.tensors().len();
    match Detected::of(file).await {
        Ok(found) => Ok(checkpoint(
            found.family,
            found.prediction_by.map(|mark| mark.to_string()),
            Some(tensors),
        )),
        Err(CheckpointError::UnknownFamily { found, .. }) => Ok(Kind::Other {
            what: found,
            tensors,
        }),
        Err(error) => Err(error),
    }
}

/// Takes what can be parsed out of the metadata; the rest stays, to be shown as it is.
fn take<T: DeserializeOwned>(metadata: &mut BTreeMap<String, String>, key: &str) -> Option<T> {
    let value = serde_json::from_str(metadata.get(key)?).ok()?;
    metadata.remove(key);
    Some(value)
}

fn of_lora(lora: &LoraFile) -> Kind {
    let mut modules: Vec<ModuleFindings> = lora
        .modules
        .iter()
        .map(|(name, module)| ModuleFindings {
            name: name.clone(),
            rank: module.rank(),
            alpha: module.alpha,
            norm: norm::of_change(module),
        })
        .collect();
    modules.sort_by(|a, b| b.norm.total_cmp(&a.norm));
    let alphas = &lora.reading.alphas;
    let Remarks {
        left_out,
        changes_nothing,
        missing,
        unknown_settings,
    } = lora.remarks();
    Kind::Lora {
        base: lora_architecture(lora).map(|architecture| architecture.title()),
        ranks: modules.iter().map(|module| module.rank).collect(),
        alphas: modules
            .iter()
            .map(|module| module.alpha.to_string())
            .collect(),
        alpha_from: alphas
            .iter()
            .map(|(origin, count)| (origin.title(), *count))
            .collect(),
        rank_stabilized: lora.reading.rank_stabilized,
        applied: lora
            .applied()
            .iter()
            .map(|(part, count)| (part.title(), *count))
            .collect(),
        left_out: left_out.iter().collect(),
        changes_nothing,
        missing,
        unknown_settings,
        modules,
    }
}

fn checkpoint(family: Family, prediction_by: Option<String>, tensors: Option<usize>) -> Kind {
    Kind::Checkpoint {
        family: family.architecture.title(),
        prediction: match family.prediction_type {
            PredictionType::Epsilon => "epsilon",
            PredictionType::VPrediction => "v",
        },
        prediction_by,
        zero_terminal_snr: family.zero_terminal_snr,
        inpainting: family.is_inpainting(),
        tensors,
    }
}
