//! diffusers' and transformers' `config.json` files: which model this is, as data.
//!
//! Fields that Mimeo does not know are ignored; values that would change the arithmetic in a way
//! Mimeo does not implement are refused by name.

use serde::Deserialize;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not the JSON that diffusers writes.
    #[error(
        "{file} is not a configuration that Mimeo can read ({reason}). Use a model folder saved by diffusers."
    )]
    Unreadable {
        /// Name of the file.
        file: &'static str,
        /// What the JSON reader said.
        reason: String,
    },
    /// A setting whose arithmetic is not implemented.
    #[error(
        "{file} sets {setting} to {found}, which Mimeo does not support yet. Use a Stable Diffusion 1.x model."
    )]
    Unsupported {
        /// Name of the file.
        file: &'static str,
        /// The field.
        setting: &'static str,
        /// Its value.
        found: String,
    },
}

fn parse<T: serde::de::DeserializeOwned>(json: &str, file: &'static str) -> Result<T, ConfigError> {
    serde_json::from_str(json).map_err(|error| ConfigError::Unreadable {
        file,
        reason: error.to_string(),
    })
}

fn require(
    file: &'static str,
    setting: &'static str,
    found: &impl std::fmt::Debug,
    supported: bool,
) -> Result<(), ConfigError> {
    if supported {
        return Ok(());
    }
    Err(ConfigError::Unsupported {
        file,
        setting,
        found: format!("{found:?}"),
    })
}

/// A number for all blocks, or one per block.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PerBlock {
    /// The same for every block.
    All(usize),
    /// One per block, outermost first.
    Each(Vec<usize>),
}

impl PerBlock {
    /// The number of a block; the last one stands for any block beyond the list.
    #[must_use]
    pub fn of(&self, block: usize) -> usize {
        match self {
            Self::All(value) => *value,
            Self::Each(values) => values.get(block).or(values.last()).copied().unwrap_or(1),
        }
    }
}

/// A kind of block of the UNet's way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DownBlockType {
    /// ResNets and a downsampler.
    DownBlock2D,
    /// ResNets with transformers and a downsampler.
    CrossAttnDownBlock2D,
}

/// A kind of block of the UNet's way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum UpBlockType {
    /// ResNets and an upsampler.
    UpBlock2D,
    /// ResNets with transformers and an upsampler.
    CrossAttnUpBlock2D,
}

/// `unet/config.json` of a `UNet2DConditionModel`.
///
/// SD1.x: <https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5/blob/main/unet/config.json>
#[derive(Debug, Clone, Deserialize)]
pub struct UNetConfig {
    /// Channels of the latent (4; 9 for inpainting models, which are refused when loading).
    pub in_channels: usize,
    /// Channels of the answer.
    pub out_channels: usize,
    /// Width and height of the latent that the model was trained on.
    pub sample_size: usize,
    /// The way down, outermost first.
    pub down_block_types: Vec<DownBlockType>,
    /// The way up, innermost first.
    pub up_block_types: Vec<UpBlockType>,
    /// Channels per level, outermost first.
    pub block_out_channels: Vec<usize>,
    /// ResNets per level.
    pub layers_per_block: usize,
    /// Width of the text encoder's answer.
    pub cross_attention_dim: usize,
    /// Despite its name the number of heads (diffusers keeps this for old checkpoints).
    pub attention_head_dim: PerBlock,
    /// The number of heads where a model sets it under its right name.
    #[serde(default)]
    pub num_attention_heads: Option<PerBlock>,
    /// Transformer blocks per transformer.
    #[serde(default = "one_per_block")]
    pub transformer_layers_per_block: PerBlock,
    /// Whether `proj_in` and `proj_out` are linear (SD2, SDXL) or 1×1 convolutions (SD1).
    #[serde(default)]
    pub use_linear_projection: bool,
    /// Groups of every group norm.
    #[serde(default = "thirty_two")]
    pub norm_num_groups: usize,
    /// ε of the ResNets' group norms.
    #[serde(default = "norm_eps")]
    pub norm_eps: f64,
    /// Cosine before sine in the timestep embedding.
    #[serde(default = "yes")]
    pub flip_sin_to_cos: bool,
    /// Shift of the timestep embedding's frequencies.
    #[serde(default)]
    pub freq_shift: f64,
    act_fn: Option<String>,
    addition_embed_type: Option<String>,
    class_embed_type: Option<String>,
    time_embedding_type: Option<String>,
    resnet_time_scale_shift: Option<String>,
    #[serde(default)]
    dual_cross_attention: bool,
    downsample_padding: Option<usize>,
    mid_block_type: Option<String>,
}

const fn one_per_block() -> PerBlock {
    PerBlock::All(1)
}
const fn thirty_two() -> usize {
    32
}
const fn norm_eps() -> f64 {
    1e-5
}
const fn yes() -> bool {
    true
}

impl UNetConfig {
    /// Reads `unet/config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not such a file or asks for arithmetic that Mimeo lacks.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        const FILE: &str = "unet/config.json";
        let config: Self = parse(json, FILE)?;
        let none = |text: &Option<String>| text.is_none();
        let unset_or =
            |text: &Option<String>, value| text.as_deref().is_none_or(|text| text == value);
        require(
            FILE,
            "act_fn",
            &config.act_fn,
            unset_or(&config.act_fn, "silu"),
        )?;
        require(
            FILE,
            "addition_embed_type",
            &config.addition_embed_type,
            none(&config.addition_embed_type),
        )?;
        require(
            FILE,
            "class_embed_type",
            &config.class_embed_type,
            none(&config.class_embed_type),
        )?;
        let embedding = &config.time_embedding_type;
        require(
            FILE,
            "time_embedding_type",
            embedding,
            unset_or(embedding, "positional"),
        )?;
        let shift = &config.resnet_time_scale_shift;
        require(
            FILE,
            "resnet_time_scale_shift",
            shift,
            unset_or(shift, "default"),
        )?;
        require(
            FILE,
            "dual_cross_attention",
            &true,
            !config.dual_cross_attention,
        )?;
        let padding = config.downsample_padding;
        require(
            FILE,
            "downsample_padding",
            &padding,
            padding.unwrap_or(1) == 1,
        )?;
        let mid = &config.mid_block_type;
        require(
            FILE,
            "mid_block_type",
            mid,
            unset_or(mid, "UNetMidBlock2DCrossAttn"),
        )?;
        require(
            FILE,
            "in_channels",
            &config.in_channels,
            config.in_channels == config.out_channels,
        )?;
        let levels = config.block_out_channels.len();
        let same = levels > 0
            && levels == config.down_block_types.len()
            && levels == config.up_block_types.len();
        require(FILE, "block_out_channels", &config.block_out_channels, same)?;
        Ok(config)
    }

    /// Attention heads of a level, outermost first.
    #[must_use]
    pub fn heads(&self, level: usize) -> usize {
        self.num_attention_heads
            .as_ref()
            .unwrap_or(&self.attention_head_dim)
            .of(level)
    }

    /// Width of the time embedding.
    #[must_use]
    pub fn time_embed_dim(&self) -> usize {
        self.block_out_channels[0] * 4
    }

    /// Whether a level has transformers.
    #[must_use]
    pub fn attends(&self, level: usize) -> bool {
        self.down_block_types.get(level) == Some(&DownBlockType::CrossAttnDownBlock2D)
    }

    /// The latent's width and height must be multiples of this, or the way up would not meet the
    /// way down.
    #[must_use]
    pub fn latent_multiple(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// `vae/config.json` of an `AutoencoderKL`.
#[derive(Debug, Clone, Deserialize)]
pub struct VaeConfig {
    /// Channels of the picture.
    pub in_channels: usize,
    /// Channels of the answer.
    pub out_channels: usize,
    /// Channels of the latent.
    pub latent_channels: usize,
    /// Channels per level, outermost first.
    pub block_out_channels: Vec<usize>,
    /// ResNets per level of the encoder (the decoder has one more).
    pub layers_per_block: usize,
    /// Groups of every group norm.
    #[serde(default = "thirty_two")]
    pub norm_num_groups: usize,
    /// The latent is multiplied by this to have about unit variance: 0.18215 for SD1 and SD2.
    #[serde(default = "sd1_scaling_factor")]
    pub scaling_factor: f64,
    /// Whether the middle has an attention layer.
    #[serde(default = "yes")]
    pub mid_block_add_attention: bool,
    /// Whether a 1×1 convolution follows the encoder.
    #[serde(default = "yes")]
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    #[serde(default = "yes")]
    pub use_post_quant_conv: bool,
    shift_factor: Option<f64>,
    act_fn: Option<String>,
    down_block_types: Option<Vec<String>>,
    up_block_types: Option<Vec<String>>,
}

const fn sd1_scaling_factor() -> f64 {
    0.18215
}

impl VaeConfig {
    /// Reads `vae/config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not such a file or asks for arithmetic that Mimeo lacks.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        const FILE: &str = "vae/config.json";
        let config: Self = parse(json, FILE)?;
        let shift = config.shift_factor;
        require(FILE, "shift_factor", &shift, shift.unwrap_or(0.0) == 0.0)?;
        let act = &config.act_fn;
        require(
            FILE,
            "act_fn",
            act,
            act.as_deref().is_none_or(|act| act == "silu"),
        )?;
        let all = |types: &Option<Vec<String>>, kind: &str| {
            types
                .as_ref()
                .is_none_or(|types| types.iter().all(|name| name == kind))
        };
        let down = &config.down_block_types;
        require(
            FILE,
            "down_block_types",
            down,
            all(down, "DownEncoderBlock2D"),
        )?;
        let up = &config.up_block_types;
        require(FILE, "up_block_types", up, all(up, "UpDecoderBlock2D"))?;
        let channels = &config.block_out_channels;
        require(FILE, "block_out_channels", channels, !channels.is_empty())?;
        Ok(config)
    }

    /// Pixels per latent along a side: 8 for every Stable Diffusion.
    #[must_use]
    pub fn downscale(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// Activation of the text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenAct {
    /// `x · σ(1.702 x)`: OpenAI's CLIP.
    QuickGelu,
    /// Exact GELU: OpenCLIP.
    Gelu,
}

/// `text_encoder/config.json` of a `CLIPTextModel`.
#[derive(Debug, Clone, Deserialize)]
pub struct TextEncoderConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Tokens per prompt.
    #[serde(default = "seventy_seven")]
    pub max_position_embeddings: usize,
    /// Activation of the MLP.
    pub hidden_act: HiddenAct,
    /// ε of the layer norms.
    #[serde(default = "norm_eps")]
    pub layer_norm_eps: f64,
}

const fn seventy_seven() -> usize {
    77
}

impl TextEncoderConfig {
    /// Reads `text_encoder/config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not such a file.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        parse(json, "text_encoder/config.json")
    }
}

/// What the UNet predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise.
    #[default]
    Epsilon,
    /// The velocity (arXiv 2202.00512).
    VPrediction,
}

/// `scheduler/scheduler_config.json`: the noise schedule the model was trained with.
#[derive(Debug, Clone, Deserialize)]
pub struct SchedulerConfig {
    /// First β.
    pub beta_start: f64,
    /// Last β.
    pub beta_end: f64,
    /// Timesteps of the schedule.
    #[serde(default = "thousand")]
    pub num_train_timesteps: usize,
    /// What the UNet predicts.
    #[serde(default)]
    pub prediction_type: PredictionType,
    /// Added to DDIM's timesteps.
    #[serde(default)]
    pub steps_offset: usize,
    beta_schedule: String,
    #[serde(default)]
    set_alpha_to_one: bool,
    #[serde(default)]
    rescale_betas_zero_snr: bool,
}

const fn thousand() -> usize {
    1000
}

impl SchedulerConfig {
    /// Reads `scheduler/scheduler_config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not such a file or asks for arithmetic that Mimeo lacks.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        const FILE: &str = "scheduler/scheduler_config.json";
        let config: Self = parse(json, FILE)?;
        let betas = &config.beta_schedule;
        require(FILE, "beta_schedule", betas, betas == "scaled_linear")?;
        require(
            FILE,
            "num_train_timesteps",
            &config.num_train_timesteps,
            config.num_train_timesteps == 1000,
        )?;
        require(
            FILE,
            "rescale_betas_zero_snr",
            &true,
            !config.rescale_betas_zero_snr,
        )?;
        Ok(config)
    }

    /// The cumulative α before the first timestep: DDIM's last step ends there.
    #[must_use]
    pub const fn ends_at_alpha_one(&self) -> bool {
        self.set_alpha_to_one
    }
}
