//! The few fields of diffusers' configurations that tell the kind of model.

use serde::Deserialize;

use crate::{names::UnetLayout, text};

use super::{PredictionType, UnetShape};

/// Far above any real model; a configuration is a stranger's, and tables are built from it.
const MAX_BLOCKS: usize = 16;
const MAX_LAYERS: usize = 16;

/// `unet/config.json`.
#[derive(Debug, Deserialize)]
pub(super) struct UnetConfig {
    pub(super) in_channels: usize,
    block_out_channels: Vec<usize>,
    cross_attention_dim: OneOrMany,
    layers_per_block: OneOrMany,
    down_block_types: Vec<String>,
    up_block_types: Vec<String>,
    #[serde(default)]
    addition_embed_type: Option<String>,
}

/// diffusers takes one number for all blocks, or one per block.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(usize),
    Many(Vec<usize>),
}

impl OneOrMany {
    /// The number, if it is the same for all blocks.
    fn one(&self) -> Option<usize> {
        match self {
            Self::One(number) => Some(*number),
            Self::Many(numbers) => {
                let (first, rest) = numbers.split_first()?;
                rest.iter().all(|number| number == first).then_some(*first)
            }
        }
    }
}

impl UnetConfig {
    pub(super) fn shape(&self) -> Result<UnetShape, String> {
        let base_channels = *self
            .block_out_channels
            .first()
            .ok_or_else(|| "a UNet without blocks".to_owned())?;
        Ok(UnetShape {
            base_channels,
            context_width: self.context_width()?,
            added_conditioning: self.addition_embed_type.is_some(),
        })
    }

    pub(super) fn context_width(&self) -> Result<usize, String> {
        self.cross_attention_dim.one().ok_or_else(|| {
            "a UNet whose blocks take text embeddings of different widths".to_owned()
        })
    }

    pub(super) fn layout(&self) -> Result<UnetLayout, String> {
        let layers_per_block = self
            .layers_per_block
            .one()
            .filter(|layers| *layers <= MAX_LAYERS)
            .ok_or_else(|| "a UNet with an unusual number of layers per block".to_owned())?;
        if self.down_block_types.len().max(self.up_block_types.len()) > MAX_BLOCKS {
            return Err(format!("a UNet with more than {MAX_BLOCKS} blocks"));
        }
        Ok(UnetLayout {
            layers_per_block,
            down_attention: attention(
                &self.down_block_types,
                "DownBlock2D",
                "CrossAttnDownBlock2D",
            )?,
            up_attention: attention(&self.up_block_types, "UpBlock2D", "CrossAttnUpBlock2D")?,
        })
    }
}

fn attention(types: &[String], without: &str, with: &str) -> Result<Vec<bool>, String> {
    let has_attention = |name: &String| match name.as_str() {
        name if name == with => Ok(true),
        name if name == without => Ok(false),
        other => Err(format!(
            "a UNet with blocks of type \"{}\"",
            text::name(other)
        )),
    };
    types.iter().map(has_attention).collect()
}

/// `scheduler/scheduler_config.json`.
#[derive(Debug, Deserialize)]
pub(super) struct SchedulerConfig {
    #[serde(default)]
    prediction_type: Option<String>,
    #[serde(default)]
    pub(super) rescale_betas_zero_snr: Option<bool>,
}

impl SchedulerConfig {
    pub(super) fn prediction_type(&self) -> Result<PredictionType, String> {
        match self.prediction_type.as_deref() {
            None | Some("epsilon") => Ok(PredictionType::Epsilon),
            Some("v_prediction") => Ok(PredictionType::VPrediction),
            Some(other) => Err(format!("a model that predicts \"{}\"", text::name(other))),
        }
    }
}
