//! The kind of model, from the names and shapes in a weights file.

use std::fmt;

use crate::{CheckpointError, SafetensorsFile, config::PredictionType, names::LDM_UNET_PREFIX};

use super::{Architecture, Family, UnetShape, foreign};

/// Above this standard deviation of the last block's first norm bias, a Stable Diffusion 2 is the
/// velocity one (ComfyUI, `supported_models.py`, `SD20.model_type`).
const SD2_VELOCITY_DEVIATION: f32 = 0.09;

/// Far above the channels of any UNet: a bias of more is not read.
const MAX_CHANNELS: usize = 1 << 16;

/// Where a file's metadata says what the model predicts: kohya's tools, then ComfyUI.
const PREDICTION_KEYS: [&str; 2] = ["modelspec.prediction_type", "modelspec.predict_key"];

/// Where it says what the model is.
const ARCHITECTURE_KEY: &str = "modelspec.architecture";

/// What a single file is, and by which of its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detected {
    /// What it is.
    pub family: Family,
    /// What says that it predicts what it does; none if nothing in the file does, and it is assumed
    /// to predict noise as most do.
    pub prediction_by: Option<Mark>,
}

/// What in a file says something about the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A tensor that is there for its name alone.
    Tensor(&'static str),
    /// An entry of the metadata.
    Metadata(&'static str),
    /// How much the numbers of the last block's first norm bias differ from each other.
    Spread,
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(name) => write!(out, "its tensor \"{name}\" says so"),
            Self::Metadata(key) => write!(out, "its metadata says so in \"{key}\""),
            Self::Spread => write!(out, "the spread of a norm's bias says so"),
        }
    }
}

/// Reads on after "This is ".
impl fmt::Display for Detected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.family.architecture.title();
        let prediction = match self.family.prediction_type {
            PredictionType::Epsilon => "noise",
            PredictionType::VPrediction => "velocity (v-prediction)",
        };
        write!(out, "{title} that predicts {prediction}: ")?;
        match self.prediction_by {
            Some(mark) => write!(out, "{mark}")?,
            None => write!(out, "nothing in the file says otherwise")?,
        }
        if self.family.zero_terminal_snr {
            let mark = Mark::Tensor(ZERO_TERMINAL_SNR);
            write!(out, "; its schedule ends in pure noise: {mark}")?;
        }
        Ok(())
    }
}

/// Empty tensors by which a file of Stable Diffusion XL tells (ComfyUI, `supported_models.py`,
/// `SDXL.model_type`).
const VELOCITY: &str = "v_pred";
const ZERO_TERMINAL_SNR: &str = "ztsnr";

pub(super) async fn detect(file: &SafetensorsFile) -> Result<Detected, CheckpointError> {
    let unknown = |found: &str| CheckpointError::UnknownFamily {
        found: found.to_owned(),
        file: file.name().to_owned(),
    };
    if let Some(found) = foreign::built_around_a_unet(file) {
        return Err(unknown(found));
    }
    let spelling = Spelling::of(file).ok_or_else(|| unknown(foreign::without_unet(file)))?;
    let sizes = spelling
        .sizes(file)
        .ok_or_else(|| unknown("a UNet without text conditioning"))?;
    let shape = UnetShape {
        base_channels: sizes.base_channels,
        context_width: sizes.context_width,
        added_conditioning: has(file, spelling.added_conditioning),
        linear_projection: sizes.linear_projection,
    };
    if let Some(found) = foreign::of_sizes(&shape, sizes.in_channels) {
        return Err(unknown(found));
    }
    let architecture = shape.architecture();
    let (prediction_type, prediction_by) =
        prediction(file, spelling, architecture, sizes.in_channels).await?;
    let is_velocity = prediction_type == PredictionType::VPrediction;
    let family = Family {
        architecture,
        context_width: sizes.context_width,
        in_channels: sizes.in_channels,
        prediction_type,
        // Pure noise tells a model that predicts it nothing, so the mark alone means nothing.
        zero_terminal_snr: is_velocity && has(file, ZERO_TERMINAL_SNR),
    };
    Ok(Detected {
        family,
        prediction_by,
    })
}

/// What the model predicts, and what says so.
async fn prediction(
    file: &SafetensorsFile,
    spelling: &Spelling,
    architecture: Architecture,
    in_channels: usize,
) -> Result<(PredictionType, Option<Mark>), CheckpointError> {
    if has(file, VELOCITY) {
        let mark = Mark::Tensor(VELOCITY);
        return Ok((PredictionType::VPrediction, Some(mark)));
    }
    if let Some((prediction_type, key)) = prediction_in_metadata(file) {
        return Ok((prediction_type, Some(Mark::Metadata(key))));
    }
    let is_sd2 = matches!(architecture, Architecture::Sd2 | Architecture::Sd2Like);
    // The others of Stable Diffusion 2, such as the one that inpaints, all predict noise.
    let deviation = if is_sd2 && in_channels == 4 {
        spelling.deviation(file).await?
    } else {
        None
    };
    Ok(match deviation {
        Some(deviation) if deviation > SD2_VELOCITY_DEVIATION => {
            (PredictionType::VPrediction, Some(Mark::Spread))
        }
        Some(_) => (PredictionType::Epsilon, Some(Mark::Spread)),
        None => (PredictionType::Epsilon, None),
    })
}

fn prediction_in_metadata(file: &SafetensorsFile) -> Option<(PredictionType, &'static str)> {
    let metadata = file.metadata();
    for key in PREDICTION_KEYS {
        match metadata
            .get(key)
            .map(|it| it.trim().to_ascii_lowercase())
            .as_deref()
        {
            Some("v" | "v_prediction" | "v-prediction") => {
                return Some((PredictionType::VPrediction, key));
            }
            Some("epsilon" | "eps") => return Some((PredictionType::Epsilon, key)),
            _ => {}
        }
    }
    // Of Stable Diffusion 2 the names say it too: sd-scripts, `library/sai_model_spec.py`.
    match metadata.get(ARCHITECTURE_KEY).map(String::as_str) {
        Some("stable-diffusion-v2-768-v") => Some((PredictionType::VPrediction, ARCHITECTURE_KEY)),
        Some("stable-diffusion-v2-512") => Some((PredictionType::Epsilon, ARCHITECTURE_KEY)),
        _ => None,
    }
}

/// How the UNet's keys are spelled in this file.
struct Spelling {
    prefix: &'static str,
    first_convolution: &'static str,
    added_conditioning: &'static str,
    way_up: &'static str,
}

const SPELLINGS: [Spelling; 2] = [
    Spelling {
        prefix: LDM_UNET_PREFIX,
        first_convolution: "model.diffusion_model.input_blocks.0.0.weight",
        added_conditioning: "model.diffusion_model.label_emb.0.0.weight",
        way_up: "model.diffusion_model.output_blocks.",
    },
    Spelling {
        prefix: "",
        first_convolution: "conv_in.weight",
        added_conditioning: "add_embedding.linear_1.weight",
        way_up: "up_blocks.",
    },
];

struct Sizes {
    base_channels: usize,
    in_channels: usize,
    context_width: usize,
    linear_projection: bool,
}

impl Spelling {
    fn of(file: &SafetensorsFile) -> Option<&'static Self> {
        SPELLINGS
            .iter()
            .find(|spelling| has(file, spelling.first_convolution))
    }

    fn sizes(&self, file: &SafetensorsFile) -> Option<Sizes> {
        let [base_channels, in_channels, _, _] =
            *file.tensors().get(self.first_convolution)?.shape.as_slice()
        else {
            return None;
        };
        let is_key_projection =
            |name: &str| name.starts_with(self.prefix) && name.ends_with(".attn2.to_k.weight");
        let (_, projection) = file
            .tensors()
            .iter()
            .find(|(name, _)| is_key_projection(name))?;
        let [_, context_width] = *projection.shape.as_slice() else {
            return None;
        };
        let is_projection =
            |name: &str| name.starts_with(self.prefix) && name.ends_with(".proj_in.weight");
        let projection = file.tensors().iter().find(|(name, _)| is_projection(name));
        Some(Sizes {
            base_channels,
            in_channels,
            context_width,
            linear_projection: projection.is_some_and(|(_, entry)| entry.shape.len() == 2),
        })
    }

    /// The standard deviation of the first norm bias in the UNet's last transformer, which in a
    /// Stable Diffusion 2 is that of `output_blocks.11.1`.
    async fn deviation(&self, file: &SafetensorsFile) -> Result<Option<f32>, CheckpointError> {
        let place = |name: &str| {
            let inside = name.strip_prefix(self.way_up)?;
            let place = inside.strip_suffix(".transformer_blocks.0.norm1.bias")?;
            let numbers = place
                .split('.')
                .filter_map(|piece| piece.parse::<u32>().ok());
            Some(numbers.collect::<Vec<_>>())
        };
        let biases = file.tensors().iter();
        let last = biases
            .filter_map(|(name, entry)| Some((place(name)?, name, entry)))
            .max_by_key(|(place, ..)| place.clone());
        let Some((_, name, entry)) = last.filter(|(_, _, entry)| entry.count() <= MAX_CHANNELS)
        else {
            return Ok(None);
        };
        let bias = file.widened_f32(name, entry).await?;
        let count = bias.len().max(1) as f32;
        let mean = bias.iter().sum::<f32>() / count;
        let variance = bias.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
        Ok(Some(variance.sqrt()))
    }
}

fn has(file: &SafetensorsFile, name: &str) -> bool {
    file.tensors().contains_key(name)
}
