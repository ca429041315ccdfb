//! The configurations that diffusers would write for the components of a single file.
//!
//! Widths, depths and what is there at all follow from the shapes. What they cannot tell (heads,
//! activations, factors, the noise schedule) is the same for every model of a family, and stands
//! here as its reference has it.

use serde_json::{Map, Value, json};

use crate::{Architecture, Component, PredictionType, family::Family};

use super::unet::Unfit;
use super::{Views, has_open_clip};

/// Groups of every group norm; fewer only where channels do not divide by it.
const NORM_GROUPS: usize = 32;
/// Attention heads of Stable Diffusion 1, on every level.
const HEADS: usize = 8;
/// Channels of a head since 2.0, and of CLIP's.
const HEAD_CHANNELS: usize = 64;
/// Sinusoids of each size that conditions Stable Diffusion XL, and the number of those sizes.
const SIZE_SINUSOIDS: usize = 256;
const SIZES: usize = 6;
/// Far above any real depth.
const MAX_DEPTH: usize = 64;

/// Shapes by diffusers' names.
struct Shapes<'a>(&'a Views);

impl Shapes<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// One side of a tensor, outermost 0.
    fn side(&self, name: &str, axis: usize) -> Result<usize, Unfit> {
        let view = self.0.get(name);
        let side = view.and_then(|view| view.given().shape.get(axis));
        side.copied().ok_or_else(|| Unfit::Lacks(name.to_owned()))
    }

    /// How many of a row are there: 0, 1, 2, …
    fn count(&self, limit: usize, name: impl Fn(usize) -> String) -> usize {
        (0..limit)
            .take_while(|place| self.has(&name(*place)))
            .count()
    }

    /// Blocks of a transformer.
    fn depth(&self, transformer: &str) -> usize {
        self.count(MAX_DEPTH, |block| {
            format!("{transformer}.transformer_blocks.{block}.attn1.to_q.weight")
        })
    }
}

/// `unet/config.json`.
///
/// - `views`: of the UNet
/// - `second_text`: of XL's second text encoder, if it is there
///
/// # Errors
/// If it is not built as Stable Diffusion is.
pub(super) fn unet(
    views: &Views,
    second_text: Option<&Views>,
    family: &Family,
) -> Result<String, Unfit> {
    let shapes = Shapes(views);
    let resnet = |side: &str, level: usize, layer: usize| {
        format!("{side}_blocks.{level}.resnets.{layer}.conv1.weight")
    };
    let levels = shapes.count(usize::MAX, |level| resnet("down", level, 0));
    let layers = shapes.count(usize::MAX, |layer| resnet("down", 0, layer));
    let (mut channels, mut depths) = (Vec::new(), Vec::new());
    for level in 0..levels {
        channels.push(shapes.side(&resnet("down", level, 0), 0)?);
        depths.push(shapes.depth(&format!("down_blocks.{level}.attentions.0")));
    }
    check_mirror(&shapes, &depths, layers)?;
    let block_types = |side: &str, depths: &mut dyn Iterator<Item = &usize>| {
        let block_type = |depth: &usize| match depth {
            0 => format!("{side}Block2D"),
            _ => format!("CrossAttn{side}Block2D"),
        };
        depths.map(block_type).collect::<Vec<_>>()
    };
    let up_depths: Vec<usize> = (0..levels)
        .map(|level| shapes.depth(&format!("up_blocks.{level}.attentions.0")))
        .collect();
    // A level without transformers has the middle's number if it is above it, else no meaning.
    let middle = shapes.depth("mid_block.attentions.0");
    let nominal = |(level, depth): (usize, &usize)| match depth {
        0 if level + 1 == levels => middle,
        0 => 1,
        depth => *depth,
    };
    let nominal: Vec<usize> = depths.iter().enumerate().map(nominal).collect();

    let projection = views.get("mid_block.attentions.0.proj_in.weight");
    let is_linear = projection.is_some_and(|view| view.given().shape.len() == 2);
    let heads = if is_linear {
        json!(
            channels
                .iter()
                .map(|width| heads_of(*width))
                .collect::<Vec<_>>()
        )
    } else {
        json!(HEADS)
    };
    let mut config = json!({
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": heads,
        "block_out_channels": channels,
        "center_input_sample": false,
        "cross_attention_dim": family.context_width,
        "down_block_types": block_types("Down", &mut depths.iter()),
        "downsample_padding": 1,
        "flip_sin_to_cos": true,
        "freq_shift": 0,
        "in_channels": family.in_channels,
        "layers_per_block": layers,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": groups_of(&channels),
        "out_channels": shapes.side("conv_out.weight", 0)?,
        "sample_size": sample_size(family),
        "transformer_layers_per_block": one_or_each(&nominal),
        "up_block_types": block_types("Up", &mut up_depths.iter()),
        "use_linear_projection": is_linear,
    });
    if family.architecture.is_xl() {
        let width = shapes.side("add_embedding.linear_1.weight", 1)?;
        let pooled = second_text.and_then(|views| Shapes(views).side(PROJECTION, 0).ok());
        config["addition_embed_type"] = json!("text_time");
        config["addition_time_embed_dim"] = json!(size_sinusoids(width, pooled));
        config["projection_class_embeddings_input_dim"] = json!(width);
    }
    Ok(config.to_string())
}

/// The projection of a text encoder's answer to one vector.
const PROJECTION: &str = "text_projection.weight";

/// What is not the prompt's vector is divided among the sizes.
fn size_sinusoids(width: usize, pooled: Option<usize>) -> usize {
    let sizes = pooled.and_then(|pooled| width.checked_sub(pooled));
    match sizes {
        Some(sizes) if sizes > 0 && sizes.is_multiple_of(SIZES) => sizes / SIZES,
        _ => SIZE_SINUSOIDS,
    }
}

/// The way up must be the way down's mirror, with the last level's depth in the middle: distilled
/// models are not, and no list of numbers says how they are built.
fn check_mirror(shapes: &Shapes<'_>, depths: &[usize], layers: usize) -> Result<(), Unfit> {
    let distilled = || {
        let found =
            "a distilled model (such as SSD-1B, Vega or KOALA), whose blocks are other ones";
        Unfit::Other(found.to_owned())
    };
    let levels = depths.len();
    let middle = shapes.depth("mid_block.attentions.0");
    let above = depths.last().copied().unwrap_or_default();
    if middle == 0 || (above != 0 && above != middle) {
        return Err(distilled());
    }
    for (level, depth) in depths.iter().enumerate() {
        let up = levels - 1 - level;
        let down = (0..layers).map(|layer| format!("down_blocks.{level}.attentions.{layer}"));
        let up = (0..=layers).map(|layer| format!("up_blocks.{up}.attentions.{layer}"));
        if !down
            .chain(up)
            .all(|transformer| shapes.depth(&transformer) == *depth)
        {
            return Err(distilled());
        }
    }
    Ok(())
}

/// One number where all are the same, as the families' own files have it.
fn one_or_each(numbers: &[usize]) -> Value {
    match numbers {
        [first, rest @ ..] if rest.iter().all(|number| number == first) => json!(first),
        _ => json!(numbers),
    }
}

fn heads_of(width: usize) -> usize {
    (width / HEAD_CHANNELS).max(1)
}

fn groups_of(channels: &[usize]) -> usize {
    let divisor = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let channels = channels.iter().copied();
    channels.fold(NORM_GROUPS, divisor)
}

/// Side of the latents that a family was trained on.
const fn sample_size(family: &Family) -> usize {
    match family.architecture {
        Architecture::Sd1 | Architecture::Sd1Like => 64,
        Architecture::Sd2 | Architecture::Sd2Like => match family.prediction_type {
            PredictionType::Epsilon => 64,
            PredictionType::VPrediction => 96,
        },
        Architecture::Sdxl | Architecture::SdxlLike | Architecture::SdxlRefiner => 128,
    }
}

/// `vae/config.json`.
///
/// # Errors
/// If it is not built as Stable Diffusion's is.
pub(in crate::checkpoint) fn vae(
    views: &Views,
    architecture: Architecture,
) -> Result<String, Unfit> {
    let shapes = Shapes(views);
    let resnet = |level: usize, layer: usize| {
        format!("encoder.down_blocks.{level}.resnets.{layer}.conv1.weight")
    };
    let levels = shapes.count(usize::MAX, |level| resnet(level, 0));
    let layers = shapes.count(usize::MAX, |layer| resnet(0, layer));
    let channels = (0..levels).map(|level| shapes.side(&resnet(level, 0), 0));
    let channels = channels.collect::<Result<Vec<_>, _>>()?;
    let scaling_factor = if architecture.is_xl() {
        0.13025
    } else {
        0.18215
    };
    let attention = ["to_q", "query"].map(|layer| format!("mid_block.attentions.0.{layer}.weight"));
    let attends = attention
        .iter()
        .any(|layer| shapes.has(&format!("encoder.{layer}")));
    let config = json!({
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        // Its activations leave the range of f16.
        "force_upcast": architecture.is_xl(),
        "in_channels": shapes.side("encoder.conv_in.weight", 1)?,
        "latent_channels": shapes.side("decoder.conv_in.weight", 1)?,
        "layers_per_block": layers,
        "mid_block_add_attention": attends,
        "norm_num_groups": groups_of(&channels),
        "out_channels": shapes.side("decoder.conv_out.weight", 0)?,
        "sample_size": if architecture.is_xl() { 1024 } else { 512 },
        "scaling_factor": scaling_factor,
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
        "use_post_quant_conv": shapes.has("post_quant_conv.weight"),
        "use_quant_conv": shapes.has("quant_conv.weight"),
    });
    Ok(config.to_string())
}

/// `text_encoder/config.json` and `text_encoder_2/config.json`.
///
/// # Errors
/// If it is not built as CLIP is.
pub(super) fn text_encoder(
    views: &Views,
    component: Component,
    architecture: Architecture,
) -> Result<String, Unfit> {
    let shapes = Shapes(views);
    let tokens = "text_model.embeddings.token_embedding.weight";
    let width = shapes.side(tokens, 1)?;
    let is_second = component == Component::TextEncoder2;
    let is_open_clip = is_second || has_open_clip(architecture);
    let layers = shapes.count(usize::MAX, |layer| {
        format!("text_model.encoder.layers.{layer}.layer_norm1.weight")
    });
    let projection = if is_second {
        shapes.side(PROJECTION, 0)?
    } else {
        width
    };
    let class = if is_second {
        "CLIPTextModelWithProjection"
    } else {
        "CLIPTextModel"
    };
    let config = json!({
        "architectures": [class],
        // As in the families' own files: 2 asks transformers for the largest id, which ends a prompt.
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_act": if is_open_clip { "gelu" } else { "quick_gelu" },
        "hidden_size": width,
        "intermediate_size": shapes.side("text_model.encoder.layers.0.mlp.fc1.weight", 0)?,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": shapes.side("text_model.embeddings.position_embedding.weight", 0)?,
        "model_type": "clip_text_model",
        "num_attention_heads": heads_of(width),
        "num_hidden_layers": layers,
        "pad_token_id": 1,
        "projection_dim": projection,
        "vocab_size": shapes.side(tokens, 0)?,
    });
    Ok(config.to_string())
}

/// `special_tokens_map.json`: OpenCLIP fills a prompt with the token of id 0, CLIP with the one that
/// ends it.
pub(super) fn special_tokens(text_encoder: Component, architecture: Architecture) -> String {
    let is_open_clip = text_encoder == Component::TextEncoder2 || has_open_clip(architecture);
    let end = "<|endoftext|>";
    json!({
        "bos_token": "<|startoftext|>",
        "eos_token": end,
        "pad_token": if is_open_clip { "!" } else { end },
        "unk_token": end,
    })
    .to_string()
}

/// `scheduler/scheduler_config.json`.
pub(super) fn scheduler(family: &Family) -> String {
    let class = match family.architecture {
        Architecture::Sd1 | Architecture::Sd1Like => "PNDMScheduler",
        Architecture::Sd2 | Architecture::Sd2Like => "DDIMScheduler",
        Architecture::Sdxl | Architecture::SdxlLike | Architecture::SdxlRefiner => {
            "EulerDiscreteScheduler"
        }
    };
    let mut config = Map::from_iter([
        ("_class_name".to_owned(), json!(class)),
        ("beta_end".to_owned(), json!(0.012)),
        ("beta_schedule".to_owned(), json!("scaled_linear")),
        ("beta_start".to_owned(), json!(0.000_85)),
        ("clip_sample".to_owned(), json!(false)),
        ("num_train_timesteps".to_owned(), json!(1000)),
        ("set_alpha_to_one".to_owned(), json!(false)),
        ("steps_offset".to_owned(), json!(1)),
        ("trained_betas".to_owned(), Value::Null),
    ]);
    set_prediction(
        &mut config,
        family.prediction_type,
        family.zero_terminal_snr,
    );
    Value::Object(config).to_string()
}

/// Says in a scheduler's configuration what the model predicts.
fn set_prediction(
    config: &mut Map<String, Value>,
    prediction_type: PredictionType,
    zero_terminal_snr: bool,
) {
    let prediction_type = match prediction_type {
        PredictionType::Epsilon => "epsilon",
        PredictionType::VPrediction => "v_prediction",
    };
    config.insert("prediction_type".to_owned(), json!(prediction_type));
    config.insert(
        "rescale_betas_zero_snr".to_owned(),
        json!(zero_terminal_snr),
    );
    if zero_terminal_snr {
        // Or no drawing would begin in pure noise, which is what such a model is for (arXiv 2305.08891,
        // section 3.3).
        config.insert("timestep_spacing".to_owned(), json!("trailing"));
    }
}
