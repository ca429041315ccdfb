//! Between a LoRA on the device and a LoRA file.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use mimeo_checkpoint::family::lora_architecture;
use mimeo_checkpoint::names::Part;
use mimeo_checkpoint::{
    Array, Component, LeftOut, LoraFile, LoraFileError, LoraModule, TrainingMetadata, printable,
};
use mimeo_image::Rgb;
use mimeo_lora::{LoraConv, LoraLayer, LoraNetwork, Target, TargetId, TargetKind};
use mimeo_protocol::{ClipSkip, Example, Pass, Precision, Recipe, Scores};

use crate::base::{Base, read_back};
use crate::error::EngineError;
use crate::event::Phase;
use crate::thumbnail;

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// As planned.
    Finished,
    /// By the user; what was trained until then is kept.
    Stopped {
        /// The pass that was running.
        phase: Phase,
        /// Steps done in it.
        step: u32,
    },
    /// Because the loss broke down, or nothing was learnt; the last good weights are kept, if there
    /// are any.
    Diverged {
        /// What happened and what to do.
        reason: String,
    },
}

/// What a job leaves behind.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The LoRA; none if the job ended before its first step.
    pub lora: Option<LoraFile>,
    /// The copier, if this job trained one.
    pub copier: Option<LoraFile>,
    /// What the LoRA does, if it was measured.
    pub scores: Option<Scores>,
    /// How the job ended.
    pub outcome: Outcome,
}

/// A LoRA file on the device of a base.
#[derive(Debug)]
pub struct LoadedLora {
    /// The adapters.
    pub network: LoraNetwork,
    /// Modules of the file that the base has.
    pub matched: usize,
    /// What of the file is not applied.
    pub left_out: LeftOut,
}

impl LoadedLora {
    /// Puts a file's modules beside a base's, whose names it may spell as kohya's tools do, in
    /// diffusers' numbering or ldm's.
    ///
    /// # Errors
    /// [`EngineError::LoraFile`] if nothing of the file would be applied, or a module is there in both
    /// spellings; [`EngineError::LoraMismatch`] unless every module fits that can be applied at all.
    pub fn new(base: &Base, file: &LoraFile, name: &str) -> Result<Self, EngineError> {
        let shown = printable(name, 200);
        file.check_applies(&shown)?;
        let own = modules_by_path(base, file, &shown)?;
        let mut matched = 0;
        let mut network = LoraNetwork::default();
        for (id, target) in base.all_targets().flat_map(|targets| targets.iter()) {
            if let Some(module) = own.get(&(target.component, &*target.path))
                && set_module(&mut network, module, (id, target), base)
            {
                matched += 1;
            }
        }
        let is_applied = |name: &&String| Part::of(name).is_applied();
        let total = file.modules.keys().filter(is_applied).count();
        if matched < total {
            let found = match lora_architecture(file) {
                Some(architecture) if architecture != base.family.architecture => {
                    architecture.title().to_owned()
                }
                _ if !own.is_empty() => "another model of this kind".to_owned(),
                // Not one name is the base's: all that can be told is what they look like.
                _ => {
                    let first = file.modules.keys().find(is_applied);
                    let first = printable(first.map_or("", |name| name), 200);
                    format!("a model that Mimeo does not know (it has a module {first:?})")
                }
            };
            return Err(EngineError::LoraMismatch {
                matched,
                total,
                found,
                base: base.name.clone(),
                file: shown,
            });
        }
        Ok(Self {
            network,
            matched,
            left_out: file.left_out(),
        })
    }
}

/// The modules of a file that the base has, by their place in it.
fn modules_by_path<'a>(
    base: &'a Base,
    file: &'a LoraFile,
    shown: &str,
) -> Result<BTreeMap<(Component, &'a str), &'a LoraModule>, LoraFileError> {
    let mut by_path = BTreeMap::new();
    for (name, module) in &file.modules {
        let mut components = base.module_names.iter();
        let Some(place) = components.find_map(|names| names.place(name)) else {
            continue;
        };
        if by_path.insert(place, module).is_some() {
            let (_, path) = place;
            return Err(LoraFileError::DuplicateModule {
                module: printable(path, 200),
                file: shown.to_owned(),
            });
        }
    }
    Ok(by_path)
}

/// Puts a module of a file beside the target that has its name, if it fits.
fn set_module(
    network: &mut LoraNetwork,
    module: &LoraModule,
    (id, target): (TargetId, &Target),
    base: &Base,
) -> bool {
    let (rank, input, output) = (module.rank(), target.in_features, target.out_features);
    let shape_of_mid = module.mid.as_ref().map(|mid| &*mid.shape);
    if !target.fits(&module.down.shape, shape_of_mid, &module.up.shape) {
        return false;
    }
    let flat = |array: &Array| {
        let data = TensorData::new(array.data.clone(), [array.data.len()]);
        Tensor::<1>::from_data(data, base.device())
    };
    let (down, up) = (flat(&module.down), flat(&module.up));
    let side = match target.kind {
        TargetKind::Conv(kernel) => kernel.side,
        TargetKind::Linear | TargetKind::Conv1x1 => 1,
    };
    let down = match &module.mid {
        Some(mid) => LoraConv::folded(
            down.reshape([rank, input, 1, 1]),
            flat(mid).reshape([rank, rank, side, side]),
        ),
        None => down.reshape([rank, input, side, side]),
    };
    let alpha = f64::from(module.alpha);
    match target.kind {
        TargetKind::Conv(kernel) => {
            let up = up.reshape([output, rank, 1, 1]);
            let conv = LoraConv {
                down,
                up,
                alpha,
                kernel,
            };
            network.set_conv(id, conv);
        }
        TargetKind::Linear | TargetKind::Conv1x1 => {
            let layer = LoraLayer {
                down: down.reshape([rank, input]).transpose(),
                up: up.reshape([output, rank]).transpose(),
                alpha,
            };
            network.set_layer(id, layer);
        }
    }
    true
}

/// A network as a file, without metadata.
///
/// # Errors
/// [`EngineError::Readback`] when the device fails.
pub async fn file_from_network(
    base: &Base,
    network: &LoraNetwork,
) -> Result<LoraFile, EngineError> {
    let mut file = LoraFile::default();
    for (id, target) in base.unet.targets().iter() {
        let Some(layer) = network.layer(id) else {
            continue;
        };
        let [down, up] = target.factor_shapes(layer.rank());
        let module = LoraModule {
            mid: None,
            down: Array {
                shape: down,
                data: read_back(layer.down.clone().transpose()).await?,
            },
            up: Array {
                shape: up,
                data: read_back(layer.up.clone().transpose()).await?,
            },
            alpha: layer.alpha as f32,
        };
        let name = base.spelling.kohya_name(target.component, &target.path);
        file.modules.insert(name, module);
    }
    Ok(file)
}

/// Whether a LoRA changes nothing at any strength: its up projections, which begin at 0, still are.
pub(crate) fn is_untrained(file: &LoraFile) -> bool {
    largest_up(file) == 0.0
}

/// Half of the smallest number that f16 holds; this and anything smaller becomes 0 in it.
const F16_NOTHING: f32 = 1.0 / (1 << 25) as f32;

fn largest_up(file: &LoraFile) -> f32 {
    let values = file.modules.values().flat_map(|module| &module.up.data);
    values.fold(0.0_f32, |largest, value| largest.max(value.abs()))
}

/// A file's bytes; in full precision, with a note, where half cannot hold the numbers, so that
/// nothing is lost.
///
/// # Errors
/// When the LoRA cannot be written at all.
pub fn encode(
    file: &LoraFile,
    precision: Precision,
    note: impl FnOnce(&str),
) -> Result<Vec<u8>, LoraFileError> {
    let precision = match precision {
        Precision::F16 => mimeo_checkpoint::Precision::F16,
        Precision::F32 => mimeo_checkpoint::Precision::F32,
    };
    let vanishes = !is_untrained(file) && largest_up(file) <= F16_NOTHING;
    let written = match precision {
        mimeo_checkpoint::Precision::F16 if vanishes => None,
        precision => match file.write(precision) {
            Err(LoraFileError::F16Overflow { .. }) => None,
            written => Some(written),
        },
    };
    written.unwrap_or_else(|| {
        note("Half precision cannot hold these weights, so they are saved as f32.");
        file.write(mimeo_checkpoint::Precision::F32)
    })
}

/// What the metadata says about a finished pass.
pub(crate) struct Provenance<'a> {
    pub name: &'a str,
    pub recipe: &'a Recipe,
    pub pass: &'a Pass,
    pub steps: u32,
    pub size: (u32, u32),
    pub scores: Option<&'a Scores>,
    /// What it was trained on; nothing if it is not to say so.
    pub examples: &'a [&'a Example],
    /// What it makes the model draw.
    pub shows: &'a Rgb,
}

/// Writes the metadata. No date: the same job gives the same file, bit for bit.
///
/// # Errors
/// [`EngineError::Image`] when there is no thumbnail of the picture.
pub(crate) fn describe(
    file: &mut LoraFile,
    base: &Base,
    what: &Provenance<'_>,
) -> Result<(), EngineError> {
    let range = what.pass.timesteps;
    let (pair, examples) = match what.examples {
        [] => (None, None),
        [example] => (Some(json(example)), None),
        examples => (None, Some(json(&examples))),
    };
    file.metadata = TrainingMetadata {
        output_name: what.name.to_owned(),
        architecture: base.family.architecture,
        rank: what.pass.rank.get() as usize,
        alpha: what.pass.alpha.get() as f32,
        seed: what.recipe.seed,
        steps: what.steps,
        max_steps: what.pass.steps.get(),
        learning_rate: what.pass.learning_rate.get(),
        optimizer: "AdamW".to_owned(),
        prediction_type: base.schedule.prediction_type(),
        zero_terminal_snr: base.family.zero_terminal_snr,
        clip_skip: what.recipe.clip_skip.map(ClipSkip::get),
        vae: base.vae_file().cloned(),
        resolution: what.size,
        timestep_range: (range.min(), range.max()),
        recipe: json(what.recipe),
        scores: what.scores.map(json),
        pair,
        examples,
        trigger: Some(what.recipe.trigger.clone()).filter(|trigger| !trigger.is_empty()),
        thumbnail: Some(thumbnail::data_address(what.shows)?),
        base_hash: base.hash.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        date: None,
        started_at_secs: None,
        finished_at_secs: None,
    }
    .to_map();
    Ok(())
}

/// Recipes, scores and names of pictures are plain data, which JSON can always hold.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One module with this value in its up projection.
    fn lora(up: f32) -> LoraFile {
        let array = |value| Array {
            shape: vec![1, 1],
            data: vec![value],
        };
        let module = LoraModule {
            mid: None,
            down: array(1.0),
            up: array(up),
            alpha: 1.0,
        };
        let mut file = LoraFile::default();
        file.modules.insert("lora_unet_mid".to_owned(), module);
        file
    }

    #[test]
    fn a_lora_whose_up_projections_are_still_zero_is_untrained() {
        assert!(is_untrained(&lora(0.0)), "as it begins");
        assert!(!is_untrained(&lora(-1e-9)), "a little is something");
    }

    #[test]
    fn weights_that_half_precision_would_lose_are_saved_in_full() {
        for (up, is_full) in [(1.0, false), (6e-8, false), (2.9e-8, true), (1e6, true)] {
            let mut notes = 0;
            let note = |_: &str| notes += 1;
            let half = encode(&lora(up), Precision::F16, note).expect("a file");
            let full = encode(&lora(up), Precision::F32, |_| ()).expect("a file");
            assert_eq!(half == full, is_full, "{up}");
            assert_eq!(notes == 1, is_full, "{up} is told");
        }
    }
}
