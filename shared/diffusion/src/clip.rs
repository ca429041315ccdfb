//! `CLIPTextModel` and `CLIPTextModelWithProjection`, transformers `models/clip/modeling_clip.py`.

use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::module::{attention, embedding};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Int, Tensor, TensorData};
use mimeo_checkpoint::Component;
use mimeo_checkpoint::config::{HiddenAct, TextEncoderConfig};
use mimeo_lora::{LoraStack, Targets};

use crate::layers::{Bias, LayerNorm, LoraLinear};
use crate::load::{LoadError, WeightMap, Weights};

/// `eos_token_id` of configurations from before transformers' pull request 24773, which never was
/// CLIP's: the end is then the largest number of a prompt.
const UNTOLD_END: u32 = 2;

/// Which of its hidden states a text encoder answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLayer {
    /// Layers at the end whose work is left out.
    pub skipped: usize,
    /// What becomes of the state that is left.
    pub norm: FinalNorm,
}

/// Whether the norm behind the last layer is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalNorm {
    /// It is.
    With,
    /// It is not.
    Without,
}

impl OutputLayer {
    /// `last_hidden_state`, which Stable Diffusion 1 and 2 take. Of the 24 layers that 2's encoder
    /// was trained with its file has 23, so that the last one is the penultimate.
    pub const LAST: Self = Self {
        skipped: 0,
        norm: FinalNorm::With,
    };
    /// `hidden_states[-2]`, which Stable Diffusion XL takes of both encoders.
    pub const PENULTIMATE: Self = Self {
        skipped: 1,
        norm: FinalNorm::Without,
    };

    /// So many layers earlier: diffusers' `clip_skip`, which is one less than A1111's.
    #[must_use]
    pub const fn skipping(self, layers: usize) -> Self {
        Self {
            skipped: self.skipped + layers,
            ..self
        }
    }
}

/// The text encoder.
#[derive(Debug)]
pub struct ClipTextModel {
    token_embedding: Tensor<2>,
    position_embedding: Tensor<2>,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
    targets: Targets,
}

impl ClipTextModel {
    /// Builds the model that `config` describes from its weights.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing or has another shape.
    pub fn load(config: &TextEncoderConfig, weights: &mut WeightMap) -> Result<Self, LoadError> {
        Self::load_as(Component::TextEncoder, config, weights)
    }

    fn load_as(
        component: Component,
        config: &TextEncoderConfig,
        weights: &mut WeightMap,
    ) -> Result<Self, LoadError> {
        let mut targets = Targets::none(component);
        let mut weights = weights.root();
        // transformers 5 no longer writes the outer name that every older file has.
        let mut model = match weights.has("embeddings.token_embedding.weight") {
            true => weights,
            false => weights.at("text_model"),
        };
        let width = config.hidden_size;
        let mut embeddings = model.at("embeddings");
        let token_embedding = embeddings
            .at("token_embedding")
            .tensor("weight", [config.vocab_size, width])?;
        let position_embedding = embeddings
            .at("position_embedding")
            .tensor("weight", [config.max_position_embeddings, width])?;
        let layers = (0..config.num_hidden_layers)
            .map(|layer| {
                let mut encoder = model.at("encoder");
                let mut list = encoder.at("layers");
                EncoderLayer::load(&mut list.at(layer), &mut targets, config)
            })
            .collect::<Result<_, _>>()?;
        let final_layer_norm = LayerNorm::load(
            &mut model.at("final_layer_norm"),
            width,
            config.layer_norm_eps,
        )?;
        Ok(Self {
            token_embedding,
            position_embedding,
            layers,
            final_layer_norm,
            targets,
        })
    }

    /// The modules that a LoRA can change: the linear layers.
    #[must_use]
    pub const fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The hidden states of each prompt.
    ///
    /// - `ids`: the tokens of each prompt, all of one length
    /// - `lora`: of as many rows, if it acts on each row with another strength
    /// - answer: `[prompts, tokens, hidden_size]`
    #[must_use]
    pub fn forward(
        &self,
        ids: &[Vec<u32>],
        output: OutputLayer,
        lora: &LoraStack<'_>,
    ) -> Tensor<3> {
        let layers = &self.layers[..self.depth(output)];
        let hidden = through(layers, self.embed(ids), lora);
        self.answer(hidden, output.norm)
    }

    /// Layers until an output; at least one is left.
    fn depth(&self, output: OutputLayer) -> usize {
        let layers = self.layers.len();
        layers.saturating_sub(output.skipped).max(layers.min(1))
    }

    fn answer(&self, hidden: Tensor<3>, norm: FinalNorm) -> Tensor<3> {
        match norm {
            FinalNorm::With => self.final_layer_norm.forward(hidden),
            FinalNorm::Without => hidden,
        }
    }

    /// `CLIPTextEmbeddings`
    fn embed(&self, ids: &[Vec<u32>]) -> Tensor<3> {
        let device = self.token_embedding.device();
        let tokens = ids.first().map_or(0, Vec::len);
        let flat: Vec<i32> = ids.iter().flatten().map(|id| *id as i32).collect();
        let ids = TensorData::new(flat, [ids.len(), tokens]);
        let ids = Tensor::<2, Int>::from_data(ids, &device);

        let positions = self.position_embedding.clone().narrow(0, 0, tokens);
        // A large table may lie there as f16.
        let tokens = embedding(self.token_embedding.clone(), ids).cast(positions.dtype());
        tokens + positions.unsqueeze()
    }
}

fn through(layers: &[EncoderLayer], hidden: Tensor<3>, lora: &LoraStack<'_>) -> Tensor<3> {
    layers
        .iter()
        .fold(hidden, |hidden, layer| layer.forward(hidden, lora))
}

/// The text encoder that also says a prompt in one vector.
#[derive(Debug)]
pub struct ClipTextModelWithProjection {
    text_model: ClipTextModel,
    text_projection: LoraLinear,
    eos_token_id: u32,
}

impl ClipTextModelWithProjection {
    /// Builds the model that `config` describes from its weights.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing or has another shape.
    pub fn load(config: &TextEncoderConfig, weights: &mut WeightMap) -> Result<Self, LoadError> {
        let mut text_model = ClipTextModel::load_as(Component::TextEncoder2, config, weights)?;
        let mut weights = weights.root();
        let io = [config.hidden_size, config.projection_dim.unwrap_or(0)];
        let (place, targets) = (&mut weights.at("text_projection"), &mut text_model.targets);
        let text_projection = LoraLinear::load_new(place, targets, io, Bias::Without)?;
        Ok(Self {
            text_model,
            text_projection,
            eos_token_id: config.eos_token_id,
        })
    }

    /// The modules that a LoRA can change: the linear layers.
    #[must_use]
    pub const fn targets(&self) -> &Targets {
        &self.text_model.targets
    }

    /// The hidden states of each prompt, and what stands at its end after the last layer, projected
    /// (`text_embeds`).
    ///
    /// - `ids`, `lora`: as [`ClipTextModel::forward`]
    /// - answers: `[prompts, tokens, hidden_size]`, `[prompts, projection_dim]`
    #[must_use]
    pub fn forward(
        &self,
        ids: &[Vec<u32>],
        output: OutputLayer,
        lora: &LoraStack<'_>,
    ) -> (Tensor<3>, Tensor<2>) {
        let model = &self.text_model;
        let (before, behind) = model.layers.split_at(model.depth(output));
        let hidden = through(before, model.embed(ids), lora);
        let last = through(behind, hidden.clone(), lora);
        let last = model.answer(last, FinalNorm::With);
        let [_, _, width] = last.dims();
        let ends = ids.iter().enumerate().map(|(row, ids)| {
            let end = end_of(ids, self.eos_token_id);
            last.clone()
                .slice([row..row + 1, end..end + 1])
                .reshape([1, width])
        });
        let ends = Tensor::cat(ends.collect(), 0);
        (
            model.answer(hidden, output.norm),
            self.text_projection.forward(&ends, lora),
        )
    }
}

/// Where a prompt ends: at the first token that says so.
fn end_of(ids: &[u32], eos_token_id: u32) -> usize {
    let end = match eos_token_id {
        UNTOLD_END => ids.iter().copied().max(),
        told => Some(told),
    };
    let end = ids.iter().position(|id| Some(*id) == end);
    end.unwrap_or(0)
}

/// `CLIPEncoderLayer`
#[derive(Debug)]
struct EncoderLayer {
    layer_norm1: LayerNorm,
    self_attn: SelfAttention,
    layer_norm2: LayerNorm,
    fc1: LoraLinear,
    fc2: LoraLinear,
    hidden_act: HiddenAct,
}

impl EncoderLayer {
    fn load(
        weights: &mut Weights<'_>,
        targets: &mut Targets,
        config: &TextEncoderConfig,
    ) -> Result<Self, LoadError> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let eps = config.layer_norm_eps;
        let self_attn = SelfAttention::load(&mut weights.at("self_attn"), targets, config)?;
        let mut mlp = weights.at("mlp");
        let mut linear = |name: &str, io: [usize; 2]| {
            LoraLinear::load_new(&mut mlp.at(name), targets, io, Bias::With)
        };
        let (fc1, fc2) = (
            linear("fc1", [width, inner])?,
            linear("fc2", [inner, width])?,
        );
        Ok(Self {
            layer_norm1: LayerNorm::load(&mut weights.at("layer_norm1"), width, eps)?,
            self_attn,
            layer_norm2: LayerNorm::load(&mut weights.at("layer_norm2"), width, eps)?,
            fc1,
            fc2,
            hidden_act: config.hidden_act,
        })
    }

    fn forward(&self, hidden: Tensor<3>, lora: &LoraStack<'_>) -> Tensor<3> {
        let normed = self.layer_norm1.forward(hidden.clone());
        let hidden = self.self_attn.forward(&normed, lora) + hidden;
        let normed = self.layer_norm2.forward(hidden.clone());
        let inner = self.fc1.forward(&normed, lora);
        let inner = match self.hidden_act {
            HiddenAct::QuickGelu => inner.clone() * sigmoid(inner * 1.702),
            HiddenAct::Gelu => gelu(inner),
        };
        self.fc2.forward(&inner, lora) + hidden
    }
}

/// `CLIPAttention`: a token sees only those before it.
#[derive(Debug)]
struct SelfAttention {
    q_proj: LoraLinear,
    k_proj: LoraLinear,
    v_proj: LoraLinear,
    out_proj: LoraLinear,
    heads: usize,
}

impl SelfAttention {
    fn load(
        weights: &mut Weights<'_>,
        targets: &mut Targets,
        config: &TextEncoderConfig,
    ) -> Result<Self, LoadError> {
        let io = [config.hidden_size; 2];
        let mut linear =
            |name: &str| LoraLinear::load_new(&mut weights.at(name), targets, io, Bias::With);
        Ok(Self {
            q_proj: linear("q_proj")?,
            k_proj: linear("k_proj")?,
            v_proj: linear("v_proj")?,
            out_proj: linear("out_proj")?,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, hidden: &Tensor<3>, lora: &LoraStack<'_>) -> Tensor<3> {
        let [batch, tokens, width] = hidden.dims();
        let split_heads = |x: Tensor<3>| {
            x.reshape([batch, tokens, self.heads, width / self.heads])
                .swap_dims(1, 2)
        };
        let options = AttentionModuleOptions {
            is_causal: true,
            ..Default::default()
        };
        let attended = attention(
            split_heads(self.q_proj.forward(hidden, lora)),
            split_heads(self.k_proj.forward(hidden, lora)),
            split_heads(self.v_proj.forward(hidden, lora)),
            None,
            None,
            options,
        );
        let attended = attended.swap_dims(1, 2).reshape([batch, tokens, width]);
        self.out_proj.forward(&attended, lora)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_ends_at_its_first_end() {
        for (ids, eos, expected) in [
            (vec![510, 7, 511, 511], 511, 2),
            (vec![510, 7, 511, 0], 511, 2),
            (vec![510, 7, 511, 0], UNTOLD_END, 2),
            (vec![510, 7, 511, 511], UNTOLD_END, 2),
            // A word of textual inversion has a larger number than the end.
            (vec![510, 600, 511, 511], 511, 2),
            (vec![510, 7], 511, 0),
        ] {
            assert_eq!(end_of(&ids, eos), expected, "{ids:?} until {eos}");
        }
    }
}
