//! `CLIPTextModel`, transformers `models/clip/modeling_clip.py`.

use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::module::{attention, embedding};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Int, Tensor, TensorData};
use mimeo_checkpoint::config::{HiddenAct, TextEncoderConfig};

use crate::layers::{Bias, LayerNorm, Linear};
use crate::load::{LoadError, WeightMap, Weights};

/// The text encoder.
#[derive(Debug)]
pub struct ClipTextModel {
    token_embedding: Tensor<2>,
    position_embedding: Tensor<2>,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
}

impl ClipTextModel {
    /// Builds the model that `config` describes from its weights.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing or has another shape.
    pub fn load(config: &TextEncoderConfig, weights: &mut WeightMap) -> Result<Self, LoadError> {
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
                EncoderLayer::load(&mut list.at(layer), config)
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
        })
    }

    /// The last hidden state of each prompt.
    ///
    /// - `ids`: the tokens of each prompt, all of one length
    /// - answer: `[prompts, tokens, hidden_size]`
    #[must_use]
    pub fn forward(&self, ids: &[Vec<u32>]) -> Tensor<3> {
        let device = self.token_embedding.device();
        let tokens = ids.first().map_or(0, Vec::len);
        let flat: Vec<i32> = ids.iter().flatten().map(|id| *id as i32).collect();
        let ids = TensorData::new(flat, [ids.len(), tokens]);
        let ids = Tensor::<2, Int>::from_data(ids, &device);

        let positions = self.position_embedding.clone().narrow(0, 0, tokens);
        let mut hidden = embedding(self.token_embedding.clone(), ids) + positions.unsqueeze();
        for layer in &self.layers {
            hidden = layer.forward(hidden);
        }
        self.final_layer_norm.forward(hidden)
    }
}

/// `CLIPEncoderLayer`
#[derive(Debug)]
struct EncoderLayer {
    layer_norm1: LayerNorm,
    self_attn: SelfAttention,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    hidden_act: HiddenAct,
}

impl EncoderLayer {
    fn load(weights: &mut Weights<'_>, config: &TextEncoderConfig) -> Result<Self, LoadError> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let eps = config.layer_norm_eps;
        let mut mlp = weights.at("mlp");
        let fc1 = Linear::load(&mut mlp.at("fc1"), [width, inner], Bias::With)?;
        let fc2 = Linear::load(&mut mlp.at("fc2"), [inner, width], Bias::With)?;
        Ok(Self {
            layer_norm1: LayerNorm::load(&mut weights.at("layer_norm1"), width, eps)?,
            self_attn: SelfAttention::load(&mut weights.at("self_attn"), config)?,
            layer_norm2: LayerNorm::load(&mut weights.at("layer_norm2"), width, eps)?,
            fc1,
            fc2,
            hidden_act: config.hidden_act,
        })
    }

    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let hidden = self
            .self_attn
            .forward(self.layer_norm1.forward(hidden.clone()))
            + hidden;
        let inner = self.fc1.forward(self.layer_norm2.forward(hidden.clone()));
        let inner = match self.hidden_act {
            HiddenAct::QuickGelu => inner.clone() * sigmoid(inner * 1.702),
            HiddenAct::Gelu => gelu(inner),
        };
        self.fc2.forward(inner) + hidden
    }
}

/// `CLIPAttention`: a token sees only those before it.
#[derive(Debug)]
struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl SelfAttention {
    fn load(weights: &mut Weights<'_>, config: &TextEncoderConfig) -> Result<Self, LoadError> {
        let io = [config.hidden_size; 2];
        let mut linear = |name: &str| Linear::load(&mut weights.at(name), io, Bias::With);
        Ok(Self {
            q_proj: linear("q_proj")?,
            k_proj: linear("k_proj")?,
            v_proj: linear("v_proj")?,
            out_proj: linear("out_proj")?,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
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
            split_heads(self.q_proj.forward(hidden.clone())),
            split_heads(self.k_proj.forward(hidden.clone())),
            split_heads(self.v_proj.forward(hidden)),
            None,
            None,
            options,
        );
        self.out_proj
            .forward(attended.swap_dims(1, 2).reshape([batch, tokens, width]))
    }
}
