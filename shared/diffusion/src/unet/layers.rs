//! The forward pass of the UNet as a sequence of layers, each a function of what came before it.
//!
//! Between two layers nothing is alive but the hidden states and the residual states: so that is where a forward
//! pass can be taken apart, and a layer be run again ([`super::tape`]).

use burn::tensor::Tensor;
use mimeo_lora::LoraStack;

use crate::arithmetic::Arithmetic;
use crate::layers::{GroupNorm, LoraConv2d};
use crate::unet::attention::Transformer2dModel;
use crate::unet::resnet::{Downsample2d, ResnetBlock2d, Upsample2d};

/// A part of the forward pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer<'a> {
    /// Level of its block, 0 outermost.
    pub level: usize,
    /// Whether it takes the last of the residual states.
    pub takes_residual: bool,
    /// Whether its answer becomes one of them.
    pub leaves_residual: bool,
    /// What it computes.
    pub module: Module<'a>,
}

/// What a layer computes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Module<'a> {
    /// `conv_in`
    ConvIn(&'a LoraConv2d),
    /// A ResNet, and the transformer after it where there is one.
    Resnet {
        resnet: &'a ResnetBlock2d,
        attention: Option<&'a Transformer2dModel>,
    },
    /// `downsamplers.0`
    Downsample(&'a Downsample2d),
    /// `upsamplers.0`
    Upsample(&'a Upsample2d),
    /// `conv_norm_out` and `conv_out`
    ConvOut(&'a GroupNorm, &'a LoraConv2d),
}

/// Goes through layers with what they answer, or with something that stands for it: each takes what the one before
/// it answered and, where it takes one, the last residual state.
pub(crate) fn through<'a, S: Clone>(
    layers: impl Iterator<Item = Layer<'a>>,
    hidden_states: S,
    residuals: &mut Vec<S>,
    mut forward: impl FnMut(&Layer<'a>, S, Option<S>) -> S,
) -> S {
    layers.fold(hidden_states, |hidden_states, layer| {
        let residual = match layer.takes_residual {
            true => residuals.pop(),
            false => None,
        };
        let answer = forward(&layer, hidden_states, residual);
        if layer.leaves_residual {
            residuals.push(answer.clone());
        }
        answer
    })
}

impl Layer<'_> {
    /// - `hidden_states`: `[batch, channels, height, width]`
    /// - `residual`: a state of the way down, as high and wide; for whoever [takes](Self::takes_residual) one
    /// - `temb`: `[batch, time_embed_dim]`
    /// - `encoder_hidden_states`: `[batch, tokens, cross_attention_dim]`
    pub fn forward(
        &self,
        hidden_states: Tensor<4>,
        residual: Option<Tensor<4>>,
        temb: &Tensor<2>,
        encoder_hidden_states: &Tensor<3>,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        let hidden_states = match residual {
            Some(residual) => Tensor::cat(vec![hidden_states, residual], 1),
            // A node of its own in a graph: the gradients within the layer are added up before that of the residual
            // state joins them, as where the layer is run again.
            None => {
                let shape = hidden_states.dims();
                hidden_states.reshape(shape)
            }
        };
        match self.module {
            Module::ConvIn(conv) => conv.forward(hidden_states, lora),
            Module::Resnet { resnet, attention } => {
                let hidden_states = resnet.forward(hidden_states, Some(temb), lora);
                match attention {
                    Some(attention) => {
                        attention.forward(hidden_states, encoder_hidden_states, lora)
                    }
                    None => hidden_states,
                }
            }
            Module::Downsample(downsampler) => downsampler.forward(hidden_states, lora),
            Module::Upsample(upsampler) => upsampler.forward(hidden_states, lora),
            Module::ConvOut(norm, conv) => {
                Arithmetic::F32.of(conv.forward(norm.forward_silu(hidden_states), lora))
            }
        }
    }

    /// Whether anything in it can be trained: that stands in the transformers alone
    /// ([`super::UNet2DConditionModel::targets`]).
    pub const fn is_trainable(&self) -> bool {
        matches!(
            self.module,
            Module::Resnet {
                attention: Some(_),
                ..
            }
        )
    }
}
