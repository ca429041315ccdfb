//! Which model is this? Told from shapes and configuration, never from a file's name.
//!
//! The rules are the field's: width of the text embeddings that cross-attention takes (768 for
//! Stable Diffusion 1, 1024 for 2, 2048 for XL), input channels of the first convolution (9 for
//! inpainting), and marker tensors for velocity prediction (ComfyUI's `supported_models.py`).

mod config;
mod pipeline;
mod tensors;

use crate::{
    CheckpointError, Folder, LoraFile, SafetensorsFile, folder::read_json, names::UnetLayout,
};

use config::{SchedulerConfig, UnetConfig};

/// A diffusers configuration is about 2 KB.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The kind of model that a checkpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Stable Diffusion 1.x.
    Sd1,
    /// Stable Diffusion 2.x.
    Sd2,
    /// Stable Diffusion XL, base.
    Sdxl,
    /// Stable Diffusion XL, refiner.
    SdxlRefiner,
    /// Built like Stable Diffusion 1.x, in other sizes; the bundled base is one.
    Sd1Like,
}

impl Architecture {
    /// What users call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sd1 => "Stable Diffusion 1.x",
            Self::Sd2 => "Stable Diffusion 2.x",
            Self::Sdxl => "Stable Diffusion XL",
            Self::SdxlRefiner => "Stable Diffusion XL refiner",
            Self::Sd1Like => "a small model built like Stable Diffusion 1.x",
        }
    }
}

/// What the noise prediction of a model means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PredictionType {
    /// It predicts the noise.
    Epsilon,
    /// It predicts the velocity.
    VPrediction,
}

/// What is known about a checkpoint before any of its weights is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The kind of model.
    pub architecture: Architecture,
    /// Width of the text embeddings that cross-attention takes.
    pub context_width: usize,
    /// Channels of the UNet's input: 4, or 9 if it inpaints.
    pub in_channels: usize,
    /// What it predicts.
    pub prediction_type: PredictionType,
    /// Whether its schedule ends in pure noise.
    pub zero_terminal_snr: bool,
}

impl Family {
    /// Looks at a diffusers folder: `unet/config.json` and `scheduler/scheduler_config.json`.
    ///
    /// # Errors
    /// If they are missing or cannot be understood, or describe no Stable Diffusion. Of a model that
    /// has no UNet at all, the pipeline in `model_index.json` is named.
    pub async fn of_folder(folder: &dyn Folder) -> Result<Self, CheckpointError> {
        let unet: UnetConfig = match read_config(folder, UNET_CONFIG).await {
            Err(missing @ CheckpointError::MissingFile { .. }) => {
                let found = pipeline::without_unet(folder).await.ok_or(missing)?;
                let file = folder.name();
                return Err(CheckpointError::UnknownFamily { found, file });
            }
            unet => unet?,
        };
        let scheduler: SchedulerConfig =
            read_config(folder, "scheduler/scheduler_config.json").await?;
        let from_configs = || {
            Ok(Self {
                architecture: unet.shape()?.architecture()?,
                context_width: unet.context_width()?,
                in_channels: unet.in_channels,
                prediction_type: scheduler.prediction_type()?,
                zero_terminal_snr: scheduler.rescale_betas_zero_snr.unwrap_or(false),
            })
        };
        from_configs().map_err(|found| CheckpointError::UnknownFamily {
            found,
            file: folder.name(),
        })
    }

    /// Looks at a single-file checkpoint, or at a UNet's weights file.
    ///
    /// # Errors
    /// If it holds no UNet of Stable Diffusion; says what it holds instead, if that is known.
    pub async fn of_file(file: &SafetensorsFile) -> Result<Self, CheckpointError> {
        tensors::family(file).await
    }

    /// Whether the UNet also takes a masked picture and its mask.
    #[must_use]
    pub fn is_inpainting(&self) -> bool {
        self.in_channels == 9
    }
}

/// The block structure of the UNet in a diffusers folder, from which its key names follow.
///
/// # Errors
/// If `unet/config.json` is missing or cannot be understood, or has blocks that Stable Diffusion
/// does not have.
pub async fn unet_layout(folder: &dyn Folder) -> Result<UnetLayout, CheckpointError> {
    let config: UnetConfig = read_config(folder, UNET_CONFIG).await?;
    config
        .layout()
        .map_err(|found| CheckpointError::UnknownFamily {
            found,
            file: folder.name(),
        })
}

/// The kind of model that a LoRA was trained for, if its names and shapes tell.
///
/// For the sentence "this LoRA is for …" when modules do not match; whether they match is decided
/// by name and shape, module by module.
#[must_use]
pub fn lora_architecture(lora: &LoraFile) -> Option<Architecture> {
    let is_key_projection =
        |name: &str| name.starts_with("lora_unet_") && name.ends_with("_attn2_to_k");
    let (_, module) = lora
        .modules
        .iter()
        .find(|(name, _)| is_key_projection(name))?;
    match *module.down.shape.get(1)? {
        768 => Some(Architecture::Sd1),
        1024 => Some(Architecture::Sd2),
        1280 => Some(Architecture::SdxlRefiner),
        2048 => Some(Architecture::Sdxl),
        _ => Some(Architecture::Sd1Like),
    }
}

const UNET_CONFIG: &str = "unet/config.json";

async fn read_config<T: serde::de::DeserializeOwned>(
    folder: &dyn Folder,
    path: &str,
) -> Result<T, CheckpointError> {
    let text = read_json(folder, path, MAX_CONFIG_BYTES).await?;
    serde_json::from_str(&text).map_err(|error| CheckpointError::BadConfig {
        reason: crate::text::printable(&error.to_string(), 200),
        file: format!("{}/{path}", folder.name()),
    })
}

/// The sizes that tell the kinds apart.
struct UnetShape {
    /// Channels after the first convolution.
    base_channels: usize,
    context_width: usize,
    /// Whether size and crop of the picture are part of the conditioning, as in XL.
    added_conditioning: bool,
}

impl UnetShape {
    /// The kind, or what this is instead.
    fn architecture(&self) -> Result<Architecture, String> {
        match (
            self.base_channels,
            self.context_width,
            self.added_conditioning,
        ) {
            (320, 768, false) => Ok(Architecture::Sd1),
            (320, 1024, false) => Ok(Architecture::Sd2),
            (320, 2048, true) => Ok(Architecture::Sdxl),
            (384, 1280, true) => Ok(Architecture::SdxlRefiner),
            (_, _, false) => Ok(Architecture::Sd1Like),
            (_, width, true) => Err(format!(
                "a model with added conditioning and text embeddings of width {width}, which is no \
                 known Stable Diffusion"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
