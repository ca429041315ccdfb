//! diffusers' and transformers' `config.json` files: which model this is, as data.
//!
//! What becomes of each field is in [`fields`]; the structs here hold those that are honoured. A
//! field that a file leaves out has the default of the class, as diffusers reads it.

pub mod fields;

use mimeo_checkpoint::printable;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

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
        "{file} sets {setting} to {found} ({means}), which Mimeo does not support yet. Use a Stable Diffusion 1.x model."
    )]
    Unsupported {
        /// Name of the file.
        file: &'static str,
        /// The field.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What it asks for.
        means: &'static str,
    },
}

impl ConfigError {
    fn unsupported(
        file: &'static str,
        setting: &'static str,
        found: &Value,
        means: &'static str,
    ) -> Self {
        Self::Unsupported {
            file,
            setting,
            found: printable(&found.to_string(), 80),
            means,
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &str, file: &'static str) -> Result<T, ConfigError> {
    serde_json::from_str(json).map_err(|error| ConfigError::Unreadable {
        file,
        // The parser quotes what it stumbled over.
        reason: printable(&error.to_string(), 200),
    })
}

/// Far above any real model: a configuration is a stranger's, and tables are built from it.
const MAX_LEVELS: usize = 16;
const MAX_LAYERS: usize = 16;
const MAX_CHANNELS: usize = 1 << 16;
const MAX_SAMPLE_SIDE: usize = 4096;

/// The fields of a file beside each other: what one alone cannot tell.
struct Checks {
    file: &'static str,
}

impl Checks {
    fn require(
        &self,
        setting: &'static str,
        found: impl Into<Value>,
        is_supported: bool,
        means: &'static str,
    ) -> Result<(), ConfigError> {
        if is_supported {
            return Ok(());
        }
        let found = found.into();
        Err(ConfigError::unsupported(self.file, setting, &found, means))
    }

    /// One number of channels for each block of the way down and of the way up, and layers in them.
    fn blocks(
        &self,
        channels: &[usize],
        [down, up]: [usize; 2],
        layers: usize,
    ) -> Result<(), ConfigError> {
        let levels = channels.len();
        let is_ladder = (1..=MAX_LEVELS).contains(&levels) && levels == down && levels == up;
        let means = "not one number for each block";
        self.require("block_out_channels", channels, is_ladder, means)?;
        let is_narrow = channels.iter().all(|width| *width <= MAX_CHANNELS);
        self.require("block_out_channels", channels, is_narrow, "too many")?;
        let is_some = (1..=MAX_LAYERS).contains(&layers);
        self.require("layers_per_block", layers, is_some, "none, or too many")
    }

    /// Channels are divided among groups and heads.
    fn divides(
        &self,
        setting: &'static str,
        parts: usize,
        mut wholes: impl Iterator<Item = usize>,
    ) -> Result<(), ConfigError> {
        let is_whole = parts > 0 && wholes.all(|whole| whole > 0 && whole.is_multiple_of(parts));
        self.require(setting, parts, is_whole, "channels do not divide by it")
    }
}

/// A number for all blocks, or one per block.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PerBlock<T = usize> {
    /// The same for every block.
    All(T),
    /// One per block, outermost first.
    Each(Vec<T>),
}

impl<T: Copy> PerBlock<T> {
    /// The number of a block, 0 outermost. A list was checked to have one for each.
    ///
    /// # Panics
    /// Where there is no such block.
    #[must_use]
    pub fn of(&self, block: usize) -> T {
        match self {
            Self::All(value) => *value,
            Self::Each(values) => values[block],
        }
    }

    fn fits(&self, levels: usize) -> bool {
        match self {
            Self::All(_) => true,
            Self::Each(values) => values.len() == levels,
        }
    }
}

/// A number for all blocks that may be written as one per block, if they are all the same.
fn uniform<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match PerBlock::deserialize(deserializer)? {
        PerBlock::All(value) => Ok(value),
        PerBlock::Each(values) => match values.split_first() {
            Some((first, rest)) if rest.iter().all(|value| value == first) => Ok(*first),
            _ => Err(D::Error::custom(
                "another number for each block, of a field that has one for all",
            )),
        },
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

/// Width and height that a model was trained on, of which diffusers writes one or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum SampleSize {
    Square(usize),
    Sides([usize; 2]),
}

/// `unet/config.json` of a `UNet2DConditionModel`.
///
/// SD1.x: <https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5/blob/main/unet/config.json>
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct UNetConfig {
    /// Channels of the latent (4; 9 for inpainting models, which are refused when loading).
    pub in_channels: usize,
    /// Channels of the answer.
    pub out_channels: usize,
    sample_size: Option<SampleSize>,
    /// The way down, outermost first.
    pub down_block_types: Vec<DownBlockType>,
    /// The way up, innermost first.
    pub up_block_types: Vec<UpBlockType>,
    /// Channels per level, outermost first.
    pub block_out_channels: Vec<usize>,
    /// ResNets per level.
    #[serde(deserialize_with = "uniform")]
    pub layers_per_block: usize,
    /// Width of the text encoder's answer.
    #[serde(deserialize_with = "uniform")]
    pub cross_attention_dim: usize,
    /// Despite its name the number of heads (diffusers keeps this for old checkpoints).
    pub attention_head_dim: PerBlock,
    /// Transformer blocks per transformer.
    pub transformer_layers_per_block: PerBlock,
    /// Whether a level's transformers attend to the prompt twice and never to the picture.
    pub only_cross_attention: PerBlock<bool>,
    /// Whether `proj_in` and `proj_out` are linear (SD2, SDXL) or 1×1 convolutions (SD1).
    pub use_linear_projection: bool,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// ε of the ResNets' group norms.
    pub norm_eps: f64,
    /// What the sum of each ResNet in the middle is divided by.
    pub mid_block_scale_factor: f64,
    /// Whether `2 x - 1` goes in instead of the latent `x`.
    pub center_input_sample: bool,
    /// Cosine before sine in the timestep embedding.
    pub flip_sin_to_cos: bool,
    /// Shift of the timestep embedding's frequencies.
    pub freq_shift: f64,
    time_embedding_dim: Option<usize>,
}

/// The defaults of the class, which are Stable Diffusion 1's except for the width of the text.
impl Default for UNetConfig {
    fn default() -> Self {
        let down = DownBlockType::CrossAttnDownBlock2D;
        let up = UpBlockType::CrossAttnUpBlock2D;
        Self {
            in_channels: 4,
            out_channels: 4,
            sample_size: None,
            down_block_types: vec![down, down, down, DownBlockType::DownBlock2D],
            up_block_types: vec![UpBlockType::UpBlock2D, up, up, up],
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            cross_attention_dim: 1280,
            attention_head_dim: PerBlock::All(8),
            transformer_layers_per_block: PerBlock::All(1),
            only_cross_attention: PerBlock::All(false),
            use_linear_projection: false,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            mid_block_scale_factor: 1.0,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            time_embedding_dim: None,
        }
    }
}

impl UNetConfig {
    /// Reads `unet/config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not such a file or asks for arithmetic that Mimeo lacks.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let file = fields::UNET;
        file.check(json)?;
        let config: Self = parse(json, file.path)?;
        config.check(&Checks { file: file.path })?;
        Ok(config)
    }

    fn check(&self, checks: &Checks) -> Result<(), ConfigError> {
        checks.require(
            "in_channels",
            self.in_channels,
            self.in_channels == self.out_channels && self.in_channels > 0,
            "more goes in than comes out, as in models that inpaint or edit",
        )?;
        let channels = &self.block_out_channels;
        let levels = channels.len();
        let sides = [self.down_block_types.len(), self.up_block_types.len()];
        checks.blocks(channels, sides, self.layers_per_block)?;
        for (setting, fits) in [
            ("attention_head_dim", self.attention_head_dim.fits(levels)),
            (
                "transformer_layers_per_block",
                self.transformer_layers_per_block.fits(levels),
            ),
            (
                "only_cross_attention",
                self.only_cross_attention.fits(levels),
            ),
        ] {
            let means = "not one for each block";
            checks.require(setting, "a list", fits, means)?;
        }
        checks.divides(
            "norm_num_groups",
            self.norm_num_groups,
            channels.iter().copied(),
        )?;
        for (level, channels) in channels.iter().enumerate() {
            let up = self.up_block_types[levels - 1 - level];
            let is_above_middle = level + 1 == levels;
            if self.attends(level) || up == UpBlockType::CrossAttnUpBlock2D || is_above_middle {
                let heads = self.heads(level);
                checks.divides("attention_head_dim", heads, std::iter::once(*channels))?;
            }
        }
        let side = self.sample_side();
        let is_size = (1..=MAX_SAMPLE_SIDE).contains(&side);
        checks.require("sample_size", side, is_size, "no size of a picture")?;
        let scale = self.mid_block_scale_factor;
        let is_number = scale.is_finite() && scale != 0.0;
        checks.require("mid_block_scale_factor", scale, is_number, "no divisor")
    }

    /// Attention heads of a level, outermost first.
    #[must_use]
    pub fn heads(&self, level: usize) -> usize {
        self.attention_head_dim.of(level)
    }

    /// Width of the time embedding.
    #[must_use]
    pub fn time_embed_dim(&self) -> usize {
        self.time_embedding_dim
            .unwrap_or(self.block_out_channels[0] * 4)
    }

    /// The shorter side of the latents that the model was trained on; where the file does not say,
    /// that of Stable Diffusion 1.
    #[must_use]
    pub fn sample_side(&self) -> usize {
        match self.sample_size {
            None => 64,
            Some(SampleSize::Square(side)) => side,
            Some(SampleSize::Sides([height, width])) => height.min(width),
        }
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
#[serde(default)]
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
    pub norm_num_groups: usize,
    /// The latent is multiplied by this to have about unit variance: 0.18215 for SD1 and SD2.
    pub scaling_factor: f64,
    /// Whether the middle has an attention layer.
    pub mid_block_add_attention: bool,
    /// Whether a 1×1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    down_block_types: Vec<String>,
    up_block_types: Vec<String>,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![64],
            layers_per_block: 1,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            mid_block_add_attention: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            down_block_types: vec!["DownEncoderBlock2D".to_owned()],
            up_block_types: vec!["UpDecoderBlock2D".to_owned()],
        }
    }
}

impl VaeConfig {
    /// Reads `vae/config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not such a file or asks for arithmetic that Mimeo lacks.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let file = fields::VAE;
        file.check(json)?;
        let config: Self = parse(json, file.path)?;
        config.check(&Checks { file: file.path })?;
        Ok(config)
    }

    fn check(&self, checks: &Checks) -> Result<(), ConfigError> {
        for (setting, types, kind) in [
            (
                "down_block_types",
                &self.down_block_types,
                "DownEncoderBlock2D",
            ),
            ("up_block_types", &self.up_block_types, "UpDecoderBlock2D"),
        ] {
            let is_known = types.iter().all(|name| name == kind);
            checks.require(setting, types.clone(), is_known, "blocks of other types")?;
        }
        let channels = &self.block_out_channels;
        let sides = [self.down_block_types.len(), self.up_block_types.len()];
        checks.blocks(channels, sides, self.layers_per_block)?;
        checks.divides(
            "norm_num_groups",
            self.norm_num_groups,
            channels.iter().copied(),
        )?;
        let scale = self.scaling_factor;
        let is_number = scale.is_finite() && scale != 0.0;
        checks.require("scaling_factor", scale, is_number, "no factor")
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
#[serde(default)]
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
    pub max_position_embeddings: usize,
    /// Activation of the MLP.
    pub hidden_act: HiddenAct,
    /// ε of the layer norms.
    pub layer_norm_eps: f64,
}

impl Default for TextEncoderConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: HiddenAct::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl TextEncoderConfig {
    /// Reads `text_encoder/config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not such a file or asks for arithmetic that Mimeo lacks.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let file = fields::TEXT_ENCODER;
        file.check(json)?;
        let config: Self = parse(json, file.path)?;
        let checks = Checks { file: file.path };
        let (heads, width) = (config.num_attention_heads, config.hidden_size);
        checks.divides("num_attention_heads", heads, std::iter::once(width))?;
        Ok(config)
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

/// How β runs from its first value to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Linear in the timestep.
    Linear,
    /// √β is linear in the timestep: Stable Diffusion.
    ScaledLinear,
    /// From ᾱ, a squared cosine of the timestep (arXiv 2102.09672, eq. 17); first and last β do not
    /// count.
    SquaredcosCapV2,
}

/// Which timesteps a sampler of fewer steps asks the model at (arXiv 2305.08891, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// Multiples of the stride, from the clean picture's end.
    #[default]
    Leading,
    /// Evenly from the first to the last.
    Linspace,
    /// Multiples of the stride, from the noise's end.
    Trailing,
}

/// `scheduler/scheduler_config.json`: the noise schedule the model was trained with.
#[derive(Debug, Clone, Deserialize)]
pub struct SchedulerConfig {
    /// First β.
    pub beta_start: f64,
    /// Last β.
    pub beta_end: f64,
    /// How β runs from one to the other.
    pub beta_schedule: BetaSchedule,
    /// Each β, instead of these three.
    #[serde(default)]
    pub trained_betas: Option<Vec<f64>>,
    /// Timesteps of the schedule.
    #[serde(default = "thousand")]
    pub num_train_timesteps: usize,
    /// What the UNet predicts.
    #[serde(default)]
    pub prediction_type: PredictionType,
    /// Added to DDIM's timesteps.
    #[serde(default)]
    pub steps_offset: usize,
    /// Which timesteps DDIM asks the model at.
    #[serde(default)]
    pub timestep_spacing: TimestepSpacing,
    set_alpha_to_one: Option<bool>,
    #[serde(rename = "_class_name")]
    class_name: Option<String>,
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
        let file = fields::SCHEDULER;
        file.check(json)?;
        let config: Self = parse(json, file.path)?;
        let checks = Checks { file: file.path };
        if let Some(betas) = &config.trained_betas {
            let is_each = betas.len() == config.num_train_timesteps;
            let means = "not one number for each timestep";
            checks.require("trained_betas", betas.clone(), is_each, means)?;
        }
        let is_sound = config.betas().iter().all(|beta| *beta > 0.0 && *beta < 1.0);
        let (setting, found) = match &config.trained_betas {
            Some(betas) => ("trained_betas", betas.clone()),
            None => (
                "beta_start and beta_end",
                vec![config.beta_start, config.beta_end],
            ),
        };
        let means = "no shares of noise between 0 and 1";
        checks.require(setting, found, is_sound, means)?;
        let last = config.num_train_timesteps - 1;
        let offset = config.steps_offset;
        checks.require(
            "steps_offset",
            offset,
            offset <= last,
            "beyond the last one",
        )?;
        Ok(config)
    }

    /// β of every timestep: the share of the variance that the step to it makes noise.
    #[must_use]
    pub fn betas(&self) -> Vec<f64> {
        if let Some(betas) = &self.trained_betas {
            return betas.clone();
        }
        let count = self.num_train_timesteps;
        let between =
            |start: f64, end: f64, t: usize| start + (end - start) * t as f64 / (count - 1) as f64;
        let (start, end) = (self.beta_start, self.beta_end);
        // diffusers' `betas_for_alpha_bar`.
        let alpha_bar = |t: usize| {
            let angle = (t as f64 / count as f64 + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2;
            angle.cos().powi(2)
        };
        let beta = |t: usize| match self.beta_schedule {
            BetaSchedule::Linear => between(start, end, t),
            BetaSchedule::ScaledLinear => between(start.sqrt(), end.sqrt(), t).powi(2),
            BetaSchedule::SquaredcosCapV2 => (1.0 - alpha_bar(t + 1) / alpha_bar(t)).min(0.999),
        };
        (0..count).map(beta).collect()
    }

    /// Whether the cumulative α before the first timestep, where DDIM's last step ends, is 1.
    ///
    /// Where the file does not say, it is what diffusers' DDIM assumes, and PNDM of its own files.
    #[must_use]
    pub fn ends_at_alpha_one(&self) -> bool {
        let is_pndm = self.class_name.as_deref() == Some("PNDMScheduler");
        self.set_alpha_to_one.unwrap_or(!is_pndm)
    }
}

#[cfg(test)]
mod tests;
