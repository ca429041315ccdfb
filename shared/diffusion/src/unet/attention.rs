//! Transformers, diffusers `models/transformers/transformer_2d.py`, `models/attention.py` and
//! `models/attention_processor.py` (`AttnProcessor2_0`).

use burn::tensor::Tensor;
use mimeo_checkpoint::UNetConfig;
use mimeo_lora::{LoraStack, TargetKind, Targets};

use crate::layers::{Bias, GroupNorm, LayerNorm, LoraLinear};
use crate::load::{LoadError, Weights};
use crate::ops::{geglu, scaled_dot_product_attention};

/// ε of a transformer's group norm: not the ResNets' `norm_eps`.
const TRANSFORMER_NORM_EPS: f64 = 1e-6;
const LAYER_NORM_EPS: f64 = 1e-5;

/// Sizes of one transformer.
#[derive(Debug, Clone, Copy)]
pub struct TransformerShape {
    /// Channels of the picture and width of the tokens.
    pub channels: usize,
    /// Attention heads.
    pub heads: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the text encoder's answer.
    pub cross_attention_dim: usize,
    /// What the first attention of each block looks at.
    pub first_attention: FirstAttention,
    /// Groups of the group norm.
    pub norm_groups: usize,
    /// Kind of `proj_in` and `proj_out`.
    pub projection: TargetKind,
}

impl TransformerShape {
    /// Of a level on the way down and up, 0 outermost.
    pub(crate) fn of_level(config: &UNetConfig, level: usize) -> Self {
        let first_attention = if config.only_cross_attention.of(level) {
            FirstAttention::Prompt
        } else {
            FirstAttention::Picture
        };
        Self {
            channels: config.block_out_channels[level],
            heads: config.heads(level),
            layers: config.transformer_layers_per_block.of(level),
            cross_attention_dim: config.cross_attention_dim(),
            first_attention,
            norm_groups: config.norm_num_groups,
            projection: if config.use_linear_projection {
                TargetKind::Linear
            } else {
                TargetKind::Conv1x1
            },
        }
    }

    /// Of the middle.
    pub(crate) fn of_middle(config: &UNetConfig) -> Self {
        Self {
            // diffusers' middle is never told of `only_cross_attention`.
            first_attention: FirstAttention::Picture,
            ..Self::of_level(config, config.block_out_channels.len() - 1)
        }
    }

    /// Width of what the first attention of a block looks at.
    const fn first_context(&self) -> usize {
        match self.first_attention {
            FirstAttention::Picture => self.channels,
            FirstAttention::Prompt => self.cross_attention_dim,
        }
    }

    /// Adds the modules of the transformer at `path` that a LoRA can change: all its linears and 1×1
    /// convolutions.
    pub(crate) fn add_targets(&self, path: &str, targets: &mut Targets) {
        let width = self.channels;
        let mut add = |name: &str, kind: TargetKind, io: [usize; 2]| {
            targets.add(format!("{path}.{name}"), kind, io);
        };
        add("proj_in", self.projection, [width, width]);
        add("proj_out", self.projection, [width, width]);
        for layer in 0..self.layers {
            let mut add = |name: &str, io: [usize; 2]| {
                let name = format!("transformer_blocks.{layer}.{name}");
                add(&name, TargetKind::Linear, io);
            };
            let contexts = [self.first_context(), self.cross_attention_dim];
            for (attention, context) in ["attn1", "attn2"].into_iter().zip(contexts) {
                add(&format!("{attention}.to_q"), [width, width]);
                add(&format!("{attention}.to_k"), [context, width]);
                add(&format!("{attention}.to_v"), [context, width]);
                add(&format!("{attention}.to_out.0"), [width, width]);
            }
            let inner = width * 4;
            // Values and their gates, side by side.
            add("ff.net.0.proj", [width, inner * 2]);
            add("ff.net.2", [inner, width]);
        }
    }
}

/// What the first attention of a transformer block looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstAttention {
    /// The picture.
    Picture,
    /// The prompt, as the second does (`only_cross_attention`).
    Prompt,
}

/// `Transformer2DModel`
#[derive(Debug, Clone)]
pub struct Transformer2dModel {
    norm: GroupNorm,
    proj_in: LoraLinear,
    transformer_blocks: Vec<BasicTransformerBlock>,
    proj_out: LoraLinear,
}

impl Transformer2dModel {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: &Targets,
        shape: &TransformerShape,
    ) -> Result<Self, LoadError> {
        let norm = GroupNorm::load(
            &mut weights.at("norm"),
            shape.channels,
            shape.norm_groups,
            TRANSFORMER_NORM_EPS,
        )?;
        let mut projection =
            |name: &str| LoraLinear::load(&mut weights.at(name), targets, Bias::With);
        let (proj_in, proj_out) = (projection("proj_in")?, projection("proj_out")?);
        let transformer_blocks = (0..shape.layers)
            .map(|layer| {
                let mut weights = weights.at("transformer_blocks");
                BasicTransformerBlock::load(&mut weights.at(layer), targets, shape)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            norm,
            proj_in,
            transformer_blocks,
            proj_out,
        })
    }

    /// - `hidden_states`: `[batch, channels, height, width]`
    /// - `encoder_hidden_states`: `[batch, tokens, cross_attention_dim]`
    #[must_use]
    pub fn forward(
        &self,
        hidden_states: Tensor<4>,
        encoder_hidden_states: &Tensor<3>,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        let [batch, channels, height, width] = hidden_states.dims();
        let residual = hidden_states.clone();

        // 1. input: pixels become tokens before `proj_in`, which is the same as diffusers' 1×1
        // convolution before it and lets both kinds of projection share one product.
        let tokens = self
            .norm
            .forward(hidden_states)
            .reshape([batch, channels, height * width]);
        let mut tokens = self.proj_in.forward(&tokens.swap_dims(1, 2), lora);

        // 2. blocks
        for block in &self.transformer_blocks {
            tokens = block.forward(tokens, encoder_hidden_states, lora);
        }

        // 3. output
        let tokens = self.proj_out.forward(&tokens, lora).swap_dims(1, 2);
        tokens.reshape([batch, channels, height, width]) + residual
    }
}

/// `BasicTransformerBlock`: self-attention, cross-attention, feed-forward.
#[derive(Debug, Clone)]
pub struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    first_attention: FirstAttention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl BasicTransformerBlock {
    fn load(
        weights: &mut Weights<'_>,
        targets: &Targets,
        shape: &TransformerShape,
    ) -> Result<Self, LoadError> {
        let width = shape.channels;
        let mut norm = |name: &str| LayerNorm::load(&mut weights.at(name), width, LAYER_NORM_EPS);
        let (norm1, norm2, norm3) = (norm("norm1")?, norm("norm2")?, norm("norm3")?);
        Ok(Self {
            norm1,
            attn1: Attention::load(&mut weights.at("attn1"), targets, shape.heads)?,
            first_attention: shape.first_attention,
            norm2,
            attn2: Attention::load(&mut weights.at("attn2"), targets, shape.heads)?,
            norm3,
            ff: FeedForward::load(&mut weights.at("ff"), targets)?,
        })
    }

    /// - `hidden_states`: `[batch, pixels, channels]`
    fn forward(
        &self,
        hidden_states: Tensor<3>,
        encoder_hidden_states: &Tensor<3>,
        lora: &LoraStack<'_>,
    ) -> Tensor<3> {
        // 1. self-attention
        let normed = self.norm1.forward(hidden_states.clone());
        let context = match self.first_attention {
            FirstAttention::Picture => &normed,
            FirstAttention::Prompt => encoder_hidden_states,
        };
        let hidden_states = self.attn1.forward(&normed, context, lora) + hidden_states;

        // 2. cross-attention
        let normed = self.norm2.forward(hidden_states.clone());
        let hidden_states =
            self.attn2.forward(&normed, encoder_hidden_states, lora) + hidden_states;

        // 3. feed-forward
        let normed = self.norm3.forward(hidden_states.clone());
        self.ff.forward(&normed, lora) + hidden_states
    }
}

/// `Attention` of a transformer block.
#[derive(Debug, Clone)]
pub struct Attention {
    to_q: LoraLinear,
    to_k: LoraLinear,
    to_v: LoraLinear,
    /// `to_out.0` (`to_out.1` is dropout).
    to_out: LoraLinear,
    heads: usize,
}

impl Attention {
    fn load(weights: &mut Weights<'_>, targets: &Targets, heads: usize) -> Result<Self, LoadError> {
        let mut linear =
            |name: &str, bias: Bias| LoraLinear::load(&mut weights.at(name), targets, bias);
        Ok(Self {
            to_q: linear("to_q", Bias::Without)?,
            to_k: linear("to_k", Bias::Without)?,
            to_v: linear("to_v", Bias::Without)?,
            to_out: linear("to_out.0", Bias::With)?,
            heads,
        })
    }

    /// - `hidden_states`: `[batch, queries, channels]`, `context`: `[batch, keys, context width]`
    fn forward(
        &self,
        hidden_states: &Tensor<3>,
        context: &Tensor<3>,
        lora: &LoraStack<'_>,
    ) -> Tensor<3> {
        let q = self.to_q.forward(hidden_states, lora);
        let k = self.to_k.forward(context, lora);
        let v = self.to_v.forward(context, lora);
        let attended = scaled_dot_product_attention(q, k, v, self.heads);
        self.to_out.forward(&attended, lora)
    }
}

/// `FeedForward` with `GEGLU` (arXiv 2002.05202).
#[derive(Debug, Clone)]
pub struct FeedForward {
    /// `net.0.proj`
    proj: LoraLinear,
    /// `net.2` (`net.1` is dropout)
    out: LoraLinear,
}

impl FeedForward {
    fn load(weights: &mut Weights<'_>, targets: &Targets) -> Result<Self, LoadError> {
        let mut linear = |name: &str| LoraLinear::load(&mut weights.at(name), targets, Bias::With);
        Ok(Self {
            proj: linear("net.0.proj")?,
            out: linear("net.2")?,
        })
    }

    fn forward(&self, hidden_states: &Tensor<3>, lora: &LoraStack<'_>) -> Tensor<3> {
        let projected = self.proj.forward(hidden_states, lora);
        self.out.forward(&geglu(projected), lora)
    }
}
