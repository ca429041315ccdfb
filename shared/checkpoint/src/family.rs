//! Which model is this? Told from shapes and configuration, never from a file's name.
//!
//! The rules are the field's: width of the text embeddings that cross-attention takes (768 for
//! Stable Diffusion 1, 1024 for 2, 2048 for XL), input channels of the first convolution (9 for
//! inpainting), and marker tensors for velocity prediction (ComfyUI's `supported_models.py`).

mod foreign;
mod tensors;

use std::fmt;

use crate::{
    Checkpoint, CheckpointError, Component, LoraFile, SafetensorsFile,
    config::{ConfigError, PredictionType, SchedulerConfig, UNetConfig},
    names::{LDM_UNET_PREFIX, UnetLayout},
};

pub use tensors::{Detected, Mark};

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
    /// Built like Stable Diffusion 2.x, in other sizes.
    Sd2Like,
    /// Built like Stable Diffusion XL, in other sizes.
    SdxlLike,
}

/// What Mimeo trains on, in a sentence.
pub const TRAINABLE: &str = "Stable Diffusion 1.x, 2.x and XL";

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
            Self::Sd2Like => "a small model built like Stable Diffusion 2.x",
            Self::SdxlLike => "a small model built like Stable Diffusion XL",
        }
    }

    /// Whether it is of the XL kind, in whatever size.
    #[must_use]
    pub const fn is_xl(self) -> bool {
        matches!(self, Self::Sdxl | Self::SdxlRefiner | Self::SdxlLike)
    }
}

/// Why Mimeo does not train on a model, told by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untrainable {
    /// Its UNet also takes a masked picture and its mask.
    Inpainting,
    /// It is built in another way.
    Architecture(Architecture),
}

impl fmt::Display for Untrainable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Inpainting => "an inpainting model",
            Self::Architecture(architecture) => architecture.title(),
        })
    }
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
    /// Looks at the configurations of UNet and scheduler.
    ///
    /// # Errors
    /// If they are missing or cannot be understood, or describe no Stable Diffusion.
    pub async fn of(checkpoint: &dyn Checkpoint) -> Result<Self, CheckpointError> {
        let unet = checkpoint.config(Component::Unet).await?;
        let scheduler = checkpoint.config(Component::Scheduler).await?;
        let not_known = |error| not_known(error, checkpoint);
        let unet = UNetConfig::of_any_family(&unet).map_err(not_known)?;
        let scheduler = SchedulerConfig::of_any_family(&scheduler).map_err(not_known)?;
        Self::of_configs(&unet, &scheduler).map_err(|found| CheckpointError::UnknownFamily {
            found,
            file: checkpoint.name(),
        })
    }

    fn of_configs(unet: &UNetConfig, scheduler: &SchedulerConfig) -> Result<Self, String> {
        let base_channels = unet.block_out_channels.first();
        let context_width = unet.context_width().ok_or_else(|| {
            "a UNet whose blocks take text embeddings of different widths".to_owned()
        })?;
        let shape = UnetShape {
            base_channels: *base_channels.ok_or_else(|| "a UNet without blocks".to_owned())?,
            context_width,
            added_conditioning: unet.has_added_conditioning(),
            linear_projection: unet.use_linear_projection,
        };
        Ok(Self {
            architecture: shape.architecture(),
            context_width,
            in_channels: unet.in_channels,
            prediction_type: scheduler.prediction_type,
            zero_terminal_snr: scheduler.has_zero_terminal_snr(),
        })
    }

    /// Looks at a single-file checkpoint, or at a UNet's weights file.
    ///
    /// # Errors
    /// If it holds no UNet of Stable Diffusion; says what it holds instead, if that is known.
    pub async fn of_file(file: &SafetensorsFile) -> Result<Self, CheckpointError> {
        Ok(Detected::of(file).await?.family)
    }

    /// Whether the UNet also takes a masked picture and its mask.
    #[must_use]
    pub fn is_inpainting(&self) -> bool {
        self.in_channels == 9
    }

    /// Whether Mimeo trains on models of this kind. Nothing else decides it; what of their settings
    /// is computed is in the tables of [`config::fields`](crate::config::fields).
    ///
    /// # Errors
    /// What the model is instead.
    pub fn check_trainable(&self) -> Result<(), Untrainable> {
        match self.architecture {
            _ if self.is_inpainting() => Err(Untrainable::Inpainting),
            refiner @ Architecture::SdxlRefiner => Err(Untrainable::Architecture(refiner)),
            _ => Ok(()),
        }
    }
}

impl Detected {
    /// Looks at a single-file checkpoint, or at a UNet's weights file.
    ///
    /// # Errors
    /// If it holds no UNet of Stable Diffusion; says what it holds instead, if that is known.
    pub async fn of(file: &SafetensorsFile) -> Result<Self, CheckpointError> {
        tensors::detect(file).await
    }
}

/// Whether a file holds a LoRA or its like, and no model that it could be laid upon.
#[must_use]
pub fn is_adapter(file: &SafetensorsFile) -> bool {
    let is_of_unet = |key: &String| key.starts_with(LDM_UNET_PREFIX);
    !file.tensors().keys().any(is_of_unet) && foreign::is_adapter(file)
}

/// The block structure of a checkpoint's UNet, from which ldm's names follow.
///
/// # Errors
/// If its configuration is missing or cannot be understood, or has blocks that Stable Diffusion does
/// not have.
pub async fn unet_layout(checkpoint: &dyn Checkpoint) -> Result<UnetLayout, CheckpointError> {
    let json = checkpoint.config(Component::Unet).await?;
    let config = UNetConfig::of_any_family(&json).map_err(|error| not_known(error, checkpoint))?;
    config
        .layout()
        .map_err(|found| CheckpointError::UnknownFamily {
            found,
            file: checkpoint.name(),
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
        _ => Some(small_architecture(lora)),
    }
}

/// Of a model of other sizes: by what kind of layer projects, and whose names kohya writes.
fn small_architecture(lora: &LoraFile) -> Architecture {
    let mut modules = lora.modules.iter();
    let projection = modules.find(|(name, _)| name.ends_with("_proj_in"));
    match projection {
        Some((_, module)) if module.down.shape.len() != 2 => Architecture::Sd1Like,
        Some((name, _)) if name.contains("put_blocks_") || name.contains("_middle_block_") => {
            Architecture::SdxlLike
        }
        Some(_) => Architecture::Sd2Like,
        None => Architecture::Sd1Like,
    }
}

/// Why a configuration tells no family.
fn not_known(error: ConfigError, checkpoint: &dyn Checkpoint) -> CheckpointError {
    match error {
        ConfigError::Unreadable { file, reason } => CheckpointError::BadConfig {
            reason,
            file: format!("{}/{file}", checkpoint.name()),
        },
        ConfigError::Unsupported { found, .. } => CheckpointError::UnknownFamily {
            found: format!("a model that predicts {found}"),
            file: checkpoint.name(),
        },
    }
}

/// The sizes that tell the kinds apart.
struct UnetShape {
    /// Channels after the first convolution.
    base_channels: usize,
    context_width: usize,
    /// Whether size and crop of the picture are part of the conditioning, as in XL.
    added_conditioning: bool,
    /// Whether the transformers' projections are linear, as since 2.0, or convolutions.
    linear_projection: bool,
}

impl UnetShape {
    const fn architecture(&self) -> Architecture {
        match (
            self.base_channels,
            self.context_width,
            self.added_conditioning,
        ) {
            (320, 768, false) => Architecture::Sd1,
            (320, 1024, false) => Architecture::Sd2,
            (320, 2048, true) => Architecture::Sdxl,
            (384, 1280, true) => Architecture::SdxlRefiner,
            (_, _, true) => Architecture::SdxlLike,
            (_, _, false) if self.linear_projection => Architecture::Sd2Like,
            (_, _, false) => Architecture::Sd1Like,
        }
    }
}

#[cfg(test)]
mod tests;
