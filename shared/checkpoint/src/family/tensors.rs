//! The kind of model, from the names and shapes in a weights file.

use crate::{CheckpointError, SafetensorsFile, config::PredictionType, names::LDM_UNET_PREFIX};

use super::{Architecture, Family, UnetShape};

/// Above this standard deviation of the last block's first norm bias, a Stable Diffusion 2 is the
/// velocity one (ComfyUI, `supported_models.py`, `SD20.model_type`).
const SD2_VELOCITY_DEVIATION: f32 = 0.09;

pub(super) async fn family(file: &SafetensorsFile) -> Result<Family, CheckpointError> {
    let unknown = |found: &str| CheckpointError::UnknownFamily {
        found: found.to_owned(),
        file: file.name().to_owned(),
    };
    if has(file, "edm_vpred.sigma_max") || has(file, "edm_mean") {
        return Err(unknown(
            "an EDM model (CosXL or Playground), whose noise schedule is another",
        ));
    }
    let spelling = Spelling::of(file).ok_or_else(|| unknown(what_else(file)))?;
    let sizes = spelling
        .sizes(file)
        .ok_or_else(|| unknown("a UNet without text conditioning"))?;
    let shape = UnetShape {
        base_channels: sizes.base_channels,
        context_width: sizes.context_width,
        added_conditioning: has(file, spelling.added_conditioning),
        linear_projection: sizes.linear_projection,
    };
    let architecture = shape.architecture();

    let velocity = has(file, "v_pred")
        || file
            .metadata()
            .get("modelspec.prediction_type")
            .is_some_and(|kind| kind == "v")
        || (architecture == Architecture::Sd2 && sd2_predicts_velocity(file, spelling).await?);
    Ok(Family {
        architecture,
        context_width: sizes.context_width,
        in_channels: sizes.in_channels,
        prediction_type: if velocity {
            PredictionType::VPrediction
        } else {
            PredictionType::Epsilon
        },
        zero_terminal_snr: has(file, "ztsnr"),
    })
}

/// How the UNet's keys are spelled in this file.
struct Spelling {
    prefix: &'static str,
    first_convolution: &'static str,
    added_conditioning: &'static str,
    last_norm_bias: &'static str,
}

const SPELLINGS: [Spelling; 2] = [
    Spelling {
        prefix: LDM_UNET_PREFIX,
        first_convolution: "model.diffusion_model.input_blocks.0.0.weight",
        added_conditioning: "model.diffusion_model.label_emb.0.0.weight",
        last_norm_bias: "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias",
    },
    Spelling {
        prefix: "",
        first_convolution: "conv_in.weight",
        added_conditioning: "add_embedding.linear_1.weight",
        last_norm_bias: "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias",
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
}

async fn sd2_predicts_velocity(
    file: &SafetensorsFile,
    spelling: &Spelling,
) -> Result<bool, CheckpointError> {
    if !has(file, spelling.last_norm_bias) {
        return Ok(false);
    }
    let bias = file.read_f32(spelling.last_norm_bias).await?.data;
    let count = bias.len().max(2) as f32;
    let mean = bias.iter().sum::<f32>() / count;
    // torch.std divides by n - 1.
    let variance = bias.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / (count - 1.0);
    Ok(variance.sqrt() > SD2_VELOCITY_DEVIATION)
}

fn has(file: &SafetensorsFile, name: &str) -> bool {
    file.tensors().contains_key(name)
}

/// A name for a file that holds no such UNet, from the beginnings and pieces of its keys.
fn what_else(file: &SafetensorsFile) -> &'static str {
    const SIGNS: [(&str, &str); 9] = [
        ("lora_", "a LoRA, not a checkpoint"),
        ("hada_", "a LoHa, not a checkpoint"),
        ("double_blocks.", "a Flux model"),
        ("joint_blocks.", "a Stable Diffusion 3 model"),
        ("control_model.", "a ControlNet"),
        ("controlnet_", "a ControlNet"),
        ("text_model.", "a text encoder"),
        ("decoder.conv_in.", "a VAE"),
        ("emb_params", "a textual inversion embedding"),
    ];
    SIGNS
        .iter()
        .find(|(sign, _)| file.tensors().keys().any(|name| name.contains(sign)))
        .map_or("a file without a UNet", |(_, what)| what)
}
