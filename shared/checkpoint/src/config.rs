//! diffusers' and transformers' `config.json` files: which model this is, as data.
//!
//! What becomes of each field is in [`fields`]; the structs here hold those that are honoured. A
//! field that a file leaves out has the default of the class, as diffusers reads it.

pub mod fields;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use crate::{names::UnetLayout, text, text::printable};

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
        "{file} sets {setting} to {found} ({means}), which Mimeo does not support yet. Use a model of Stable Diffusion 1.x, 2.x or XL."
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

fn parse<T: DeserializeOwned>(json: &str, file: &'static str) -> Result<T, ConfigError> {
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
    /// What models of other families have here, such as lists in lists: only named, and refused.
    Other(Value),
}

impl<T: Copy> PerBlock<T> {
    /// The number of a block, 0 outermost. What was read was checked to have one for each.
    ///
    /// # Panics
    /// Where there is no such block.
    #[must_use]
    pub fn of(&self, block: usize) -> T {
        match self {
            Self::All(value) => *value,
            Self::Each(values) => values[block],
            Self::Other(found) => panic!("{found} passed the checks as one for each block"),
        }
    }

    fn fits(&self, levels: usize) -> bool {
        match self {
            Self::All(_) => true,
            Self::Each(values) => values.len() == levels,
            Self::Other(_) => false,
        }
    }
}

impl<T: Copy + PartialEq> PerBlock<T> {
    /// The number, if it is the same for all blocks.
    fn uniform(&self) -> Option<T> {
        match self {
            Self::All(value) => Some(*value),
            Self::Each(values) => {
                let (first, rest) = values.split_first()?;
                rest.iter().all(|value| value == first).then_some(*first)
            }
            Self::Other(_) => None,
        }
    }
}

impl<T: Into<Value> + Copy> PerBlock<T> {
    /// As it stands in the file.
    fn found(&self) -> Value {
        match self {
            Self::All(value) => (*value).into(),
            Self::Each(values) => values.as_slice().into(),
            Self::Other(value) => value.clone(),
        }
    }
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
    down_block_types: Vec<String>,
    up_block_types: Vec<String>,
    /// Channels per level, outermost first.
    pub block_out_channels: Vec<usize>,
    layers_per_block: PerBlock,
    cross_attention_dim: PerBlock,
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
    addition_embed_type: Option<Value>,
    addition_time_embed_dim: Option<usize>,
    projection_class_embeddings_input_dim: Option<usize>,
}

/// What the UNet of Stable Diffusion XL is told beside timestep and prompt
/// (`addition_embed_type: text_time`): the prompt in one vector, and sizes of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextTime {
    /// Width of the prompt in one vector.
    pub pooled_width: usize,
    /// Sinusoids of each size.
    pub sinusoids: usize,
}

impl TextTime {
    /// Sizes of a picture: height and width of the original, top and left of the crop, height and
    /// width that are drawn.
    pub const SIZES: usize = 6;

    /// Width of all of it.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.pooled_width + Self::SIZES * self.sinusoids
    }
}

/// A block of the way down with transformers, and one without.
const DOWN_BLOCKS: [&str; 2] = ["CrossAttnDownBlock2D", "DownBlock2D"];
/// The same of the way up.
const UP_BLOCKS: [&str; 2] = ["CrossAttnUpBlock2D", "UpBlock2D"];

/// The defaults of the class, which are Stable Diffusion 1's except for the width of the text.
impl Default for UNetConfig {
    fn default() -> Self {
        let [down, last] = DOWN_BLOCKS;
        let [up, first] = UP_BLOCKS;
        let names = |names: [&str; 4]| names.map(str::to_owned).to_vec();
        Self {
            in_channels: 4,
            out_channels: 4,
            sample_size: None,
            down_block_types: names([down, down, down, last]),
            up_block_types: names([first, up, up, up]),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: PerBlock::All(2),
            cross_attention_dim: PerBlock::All(1280),
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
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
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
        let config = Self::of_any_family(json)?;
        config.check(&Checks { file: file.path })?;
        Ok(config)
    }

    /// Reads the configuration of a model that Mimeo may know only by name: nothing is checked.
    pub(crate) fn of_any_family(json: &str) -> Result<Self, ConfigError> {
        parse(json, fields::UNET.path)
    }

    fn check(&self, checks: &Checks) -> Result<(), ConfigError> {
        for (setting, types, known) in [
            ("down_block_types", &self.down_block_types, DOWN_BLOCKS),
            ("up_block_types", &self.up_block_types, UP_BLOCKS),
        ] {
            let is_known = types.iter().all(|name| known.contains(&&**name));
            checks.require(setting, types.clone(), is_known, "blocks of other types")?;
        }
        checks.require(
            "in_channels",
            self.in_channels,
            self.in_channels == self.out_channels && self.in_channels > 0,
            "more goes in than comes out, as in models that inpaint or edit",
        )?;
        let channels = &self.block_out_channels;
        let levels = channels.len();
        let sides = [self.down_block_types.len(), self.up_block_types.len()];
        for (setting, numbers) in [
            ("layers_per_block", &self.layers_per_block),
            ("cross_attention_dim", &self.cross_attention_dim),
        ] {
            let is_one = numbers.uniform().is_some();
            checks.require(
                setting,
                numbers.found(),
                is_one,
                "another one for each block",
            )?;
        }
        checks.blocks(channels, sides, self.layers_per_block())?;
        for (setting, numbers) in [
            ("attention_head_dim", &self.attention_head_dim),
            (
                "transformer_layers_per_block",
                &self.transformer_layers_per_block,
            ),
        ] {
            let (found, fits) = (numbers.found(), numbers.fits(levels));
            checks.require(setting, found, fits, "not one for each block")?;
        }
        let only_prompt = &self.only_cross_attention;
        let (found, fits) = (only_prompt.found(), only_prompt.fits(levels));
        let means = "not one for each block";
        checks.require("only_cross_attention", found, fits, means)?;
        checks.divides(
            "norm_num_groups",
            self.norm_num_groups,
            channels.iter().copied(),
        )?;
        for (level, channels) in channels.iter().enumerate() {
            let is_above_middle = level + 1 == levels;
            if self.attends_down(level) || self.attends_up(levels - 1 - level) || is_above_middle {
                let heads = self.heads(level);
                checks.divides("attention_head_dim", heads, std::iter::once(*channels))?;
            }
        }
        if self.has_added_conditioning() {
            let sinusoids = self.addition_time_embed_dim.unwrap_or(0);
            let is_even = sinusoids > 0 && sinusoids.is_multiple_of(2);
            let means = "no pairs of sine and cosine";
            checks.require("addition_time_embed_dim", sinusoids, is_even, means)?;
            let is_wide = self.text_time().is_some_and(|it| it.pooled_width > 0);
            checks.require(
                "projection_class_embeddings_input_dim",
                self.projection_class_embeddings_input_dim,
                is_wide,
                "too narrow for six sizes and a text",
            )?;
        }
        let side = self.sample_side();
        let is_size = (1..=MAX_SAMPLE_SIDE).contains(&side);
        checks.require("sample_size", side, is_size, "no size of a picture")?;
        let scale = self.mid_block_scale_factor;
        let is_number = scale.is_finite() && scale != 0.0;
        checks.require("mid_block_scale_factor", scale, is_number, "no divisor")
    }

    /// ResNets per level on the way down; the way up has one more.
    #[must_use]
    pub fn layers_per_block(&self) -> usize {
        self.layers_per_block.of(0)
    }

    /// Width of the text encoder's answer.
    #[must_use]
    pub fn cross_attention_dim(&self) -> usize {
        self.cross_attention_dim.of(0)
    }

    /// Attention heads of a level, outermost first.
    #[must_use]
    pub fn heads(&self, level: usize) -> usize {
        self.attention_head_dim.of(level)
    }

    /// What is told beside timestep and prompt, if anything is.
    #[must_use]
    pub fn text_time(&self) -> Option<TextTime> {
        self.addition_embed_type.as_ref()?;
        let sinusoids = self.addition_time_embed_dim?;
        let sizes = sinusoids.checked_mul(TextTime::SIZES)?;
        let width = self.projection_class_embeddings_input_dim?;
        Some(TextTime {
            pooled_width: width.checked_sub(sizes)?,
            sinusoids,
        })
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

    /// Whether a block of the way down has transformers, 0 outermost.
    #[must_use]
    pub fn attends_down(&self, block: usize) -> bool {
        self.down_block_types[block] == DOWN_BLOCKS[0]
    }

    /// Whether a block of the way up has transformers, 0 innermost.
    #[must_use]
    pub fn attends_up(&self, block: usize) -> bool {
        self.up_block_types[block] == UP_BLOCKS[0]
    }

    /// The block structure, from which ldm's names of its parts follow; or what is unusual in it.
    pub(crate) fn layout(&self) -> Result<UnetLayout, String> {
        let layers_per_block = self
            .layers_per_block
            .uniform()
            .filter(|layers| *layers <= MAX_LAYERS)
            .ok_or_else(|| "a UNet with an unusual number of layers per block".to_owned())?;
        if self.down_block_types.len().max(self.up_block_types.len()) > MAX_LEVELS {
            return Err(format!("a UNet with more than {MAX_LEVELS} blocks"));
        }
        let attends = |types: &[String], [with, without]: [&str; 2]| {
            let one = |name: &String| match name {
                name if name == with => Ok(true),
                name if name == without => Ok(false),
                other => Err(format!(
                    "a UNet with blocks of type \"{}\"",
                    text::name(other)
                )),
            };
            types.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        Ok(UnetLayout {
            layers_per_block,
            down_attention: attends(&self.down_block_types, DOWN_BLOCKS)?,
            up_attention: attends(&self.up_block_types, UP_BLOCKS)?,
        })
    }

    /// Width of the text embeddings that cross-attention takes, if it is the same in all blocks.
    pub(crate) fn context_width(&self) -> Option<usize> {
        self.cross_attention_dim.uniform()
    }

    /// Whether more than the prompt conditions it, as size and crop of the picture do in XL.
    #[must_use]
    pub const fn has_added_conditioning(&self) -> bool {
        self.addition_embed_type.is_some()
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
    /// Width of the prompt in one vector, where there is a projection.
    pub projection_dim: Option<usize>,
    /// The token that ends a prompt.
    pub eos_token_id: u32,
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
            projection_dim: Some(512),
            eos_token_id: 49407,
        }
    }
}

impl TextEncoderConfig {
    /// Reads `text_encoder/config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not such a file or asks for arithmetic that Mimeo lacks.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        Self::from_file(fields::TEXT_ENCODER, json)
    }

    /// Reads `text_encoder_2/config.json`.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn second_from_json(json: &str) -> Result<Self, ConfigError> {
        Self::from_file(fields::TEXT_ENCODER_2, json)
    }

    fn from_file(file: fields::ConfigFile, json: &str) -> Result<Self, ConfigError> {
        file.check(json)?;
        let config: Self = parse(json, file.path)?;
        let checks = Checks { file: file.path };
        let (heads, width) = (config.num_attention_heads, config.hidden_size);
        checks.divides("num_attention_heads", heads, std::iter::once(width))?;
        Ok(config)
    }
}

/// What the UNet predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
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
#[serde(default)]
pub struct SchedulerConfig {
    /// First β.
    pub beta_start: f64,
    /// Last β.
    pub beta_end: f64,
    /// How β runs from one to the other.
    pub beta_schedule: BetaSchedule,
    /// Each β, instead of these three.
    pub trained_betas: Option<Vec<f64>>,
    /// Timesteps of the schedule.
    pub num_train_timesteps: usize,
    /// What the UNet predicts.
    #[serde(deserialize_with = "or_default")]
    pub prediction_type: PredictionType,
    /// Added to DDIM's timesteps.
    pub steps_offset: usize,
    /// Which timesteps DDIM asks the model at.
    pub timestep_spacing: TimestepSpacing,
    set_alpha_to_one: Option<bool>,
    rescale_betas_zero_snr: Option<bool>,
    #[serde(rename = "_class_name")]
    class_name: Option<String>,
}

/// The defaults of `DDIMScheduler`, which is what draws.
impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            num_train_timesteps: 1000,
            prediction_type: PredictionType::default(),
            steps_offset: 0,
            timestep_spacing: TimestepSpacing::default(),
            set_alpha_to_one: None,
            rescale_betas_zero_snr: None,
            class_name: None,
        }
    }
}

/// The default for `null` too.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
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
        config.check(&Checks { file: file.path })?;
        Ok(config)
    }

    /// Reads the configuration of a model that Mimeo may know only by name: nothing is checked but
    /// what it predicts.
    ///
    /// # Errors
    /// [`ConfigError::Unsupported`] where that is something else than noise or velocity.
    pub(crate) fn of_any_family(json: &str) -> Result<Self, ConfigError> {
        let file = fields::SCHEDULER;
        file.check_field(json, "prediction_type")?;
        parse(json, file.path)
    }

    /// The schedule as its user says that it is; what is not said stays. A schedule that ends in pure
    /// noise asks the model at its last timestep too, or no drawing would begin in pure noise, which is
    /// what such a model is for (arXiv 2305.08891, section 3.3).
    #[must_use]
    pub fn as_said(
        &self,
        prediction_type: Option<PredictionType>,
        zero_terminal_snr: Option<bool>,
    ) -> Self {
        let mut said = self.clone();
        said.prediction_type = prediction_type.unwrap_or(self.prediction_type);
        // Noise cannot be predicted from pure noise: whoever says that noise is predicted says both.
        let is_velocity = said.prediction_type == PredictionType::VPrediction;
        let found = self.has_zero_terminal_snr();
        let zero_terminal_snr = zero_terminal_snr.unwrap_or(found && is_velocity);
        if zero_terminal_snr != found {
            said.rescale_betas_zero_snr = Some(zero_terminal_snr);
        }
        if zero_terminal_snr && !found {
            said.timestep_spacing = TimestepSpacing::Trailing;
        }
        said
    }

    fn check(&self, checks: &Checks) -> Result<(), ConfigError> {
        if let Some(betas) = &self.trained_betas {
            let is_each = betas.len() == self.num_train_timesteps;
            let means = "not one number for each timestep";
            checks.require("trained_betas", betas.clone(), is_each, means)?;
        }
        let is_sound = self
            .plain_betas()
            .iter()
            .all(|beta| *beta > 0.0 && *beta < 1.0);
        let (setting, found) = match &self.trained_betas {
            Some(betas) => ("trained_betas", betas.clone()),
            None => (
                "beta_start and beta_end",
                vec![self.beta_start, self.beta_end],
            ),
        };
        let means = "no shares of noise between 0 and 1";
        checks.require(setting, found, is_sound, means)?;
        let is_told =
            !self.has_zero_terminal_snr() || self.prediction_type == PredictionType::VPrediction;
        let means = "a schedule that ends in pure noise, of which noise alone cannot be predicted";
        checks.require("rescale_betas_zero_snr", true, is_told, means)?;
        let (last, offset) = (self.num_train_timesteps - 1, self.steps_offset);
        checks.require(
            "steps_offset",
            offset,
            offset <= last,
            "beyond the last one",
        )
    }

    /// Whether the schedule ends in pure noise.
    #[must_use]
    pub fn has_zero_terminal_snr(&self) -> bool {
        self.rescale_betas_zero_snr.unwrap_or(false)
    }

    /// β of every timestep: the share of the variance that the step to it makes noise.
    #[must_use]
    pub fn betas(&self) -> Vec<f64> {
        let betas = self.plain_betas();
        if self.has_zero_terminal_snr() {
            rescaled_to_zero_snr(&betas)
        } else {
            betas
        }
    }

    fn plain_betas(&self) -> Vec<f64> {
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

/// The schedule shifted and stretched until it ends in pure noise (arXiv 2305.08891, algorithm 1):
/// diffusers' `rescale_zero_terminal_snr`.
fn rescaled_to_zero_snr(betas: &[f64]) -> Vec<f64> {
    let mut alpha_bar = 1.0;
    let signals = betas.iter().map(|beta| {
        alpha_bar *= 1.0 - beta;
        f64::sqrt(alpha_bar)
    });
    let signals: Vec<f64> = signals.collect();
    let (Some(&first), Some(&last)) = (signals.first(), signals.last()) else {
        return Vec::new();
    };
    let stretched = signals
        .iter()
        .map(|signal| ((signal - last) * first / (first - last)).powi(2));
    let mut before = 1.0;
    let share = |alpha_bar: f64| {
        let beta = 1.0 - alpha_bar / before;
        before = alpha_bar;
        beta
    };
    stretched.map(share).collect()
}

#[cfg(test)]
mod tests;
