//! The blocks of the UNet, diffusers `models/unets/unet_2d_blocks.py`.
//!
//! diffusers has a class with and one without attention for each way; here a block without
//! attention is one whose `attentions` is empty. What diffusers' `forward` does, they tell as a sequence of layers
//! (`layers.rs`).

use burn::tensor::Tensor;
use mimeo_checkpoint::config::UNetConfig;
use mimeo_lora::{LoraStack, Targets};

use crate::load::{LoadError, Weights};
use crate::unet::attention::{Transformer2dModel, TransformerShape};
use crate::unet::layers::{Layer, Module, through};
use crate::unet::resnet::{
    Downsample2d, DownsamplePadding, InUnet, Norm, ResnetBlock2d, Upsample2d,
};

/// What a block needs to know of its place in the model.
#[derive(Debug)]
pub struct BlockShape<'a> {
    /// The whole model.
    pub config: &'a UNetConfig,
    /// Level of the block, 0 outermost.
    pub level: usize,
    /// Channels that come in (from the previous block).
    pub in_channels: usize,
    /// Channels that go out.
    pub out_channels: usize,
    /// Whether the block has transformers.
    pub attention: bool,
    /// Whether the block ends with a change of size.
    pub resample: bool,
}

const fn norm(config: &UNetConfig) -> Norm {
    Norm {
        groups: config.norm_num_groups,
        eps: config.norm_eps,
    }
}

/// ResNets and, where `attention` says so, a transformer after each.
fn load_layers(
    weights: &mut Weights<'_>,
    targets: &mut Targets,
    shape: &BlockShape<'_>,
    resnet_inputs: &[usize],
) -> Result<(Vec<ResnetBlock2d>, Vec<Transformer2dModel>), LoadError> {
    let config = shape.config;
    let (mut resnets, mut attentions) = (Vec::new(), Vec::new());
    for (layer, input) in resnet_inputs.iter().enumerate() {
        let io = [*input, shape.out_channels];
        let unet = InUnet {
            targets: &mut *targets,
            time_embed_dim: config.time_embed_dim(),
        };
        let mut list = weights.at("resnets");
        resnets.push(ResnetBlock2d::load(
            &mut list.at(layer),
            io,
            Some(unet),
            norm(config),
        )?);
        if shape.attention {
            let transformer = TransformerShape::of_level(config, shape.level);
            let mut list = weights.at("attentions");
            attentions.push(Transformer2dModel::load(
                &mut list.at(layer),
                targets,
                &transformer,
            )?);
        }
    }
    Ok((resnets, attentions))
}

/// Each ResNet with the transformer after it, where there is one.
fn resnets_and_attentions<'a>(
    resnets: &'a [ResnetBlock2d],
    attentions: &'a [Transformer2dModel],
) -> impl Iterator<Item = Module<'a>> {
    resnets
        .iter()
        .enumerate()
        .map(|(layer, resnet)| Module::Resnet {
            resnet,
            attention: attentions.get(layer),
        })
}

/// `DownBlock2D` and `CrossAttnDownBlock2D`
#[derive(Debug)]
pub struct DownBlock {
    /// `resnets`
    pub resnets: Vec<ResnetBlock2d>,
    /// `attentions`: empty, or one per ResNet.
    pub attentions: Vec<Transformer2dModel>,
    /// `downsamplers.0`
    pub downsampler: Option<Downsample2d>,
}

impl DownBlock {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: &mut Targets,
        shape: &BlockShape<'_>,
    ) -> Result<Self, LoadError> {
        let mut inputs = vec![shape.out_channels; shape.config.layers_per_block()];
        inputs[0] = shape.in_channels;
        let (resnets, attentions) = load_layers(weights, targets, shape, &inputs)?;
        let downsampler = if shape.resample {
            let mut list = weights.at("downsamplers");
            let (channels, padding) = (shape.out_channels, DownsamplePadding::Around);
            let list = &mut list.at(0);
            Some(Downsample2d::load(list, Some(targets), channels, padding)?)
        } else {
            None
        };
        Ok(Self {
            resnets,
            attentions,
            downsampler,
        })
    }

    /// - `hidden_states`: `[batch, in, height, width]`, `temb`: `[batch, time_embed_dim]`
    ///
    /// Answers the new hidden states and every state that the way up needs.
    #[must_use]
    pub fn forward(
        &self,
        hidden_states: Tensor<4>,
        temb: &Tensor<2>,
        encoder_hidden_states: &Tensor<3>,
        lora: &LoraStack<'_>,
    ) -> (Tensor<4>, Vec<Tensor<4>>) {
        let (mut states, layers) = (Vec::new(), self.layers(0));
        let answer = through(layers, hidden_states, &mut states, |layer, x, residual| {
            layer.forward(x, residual, temb, encoder_hidden_states, lora)
        });
        (answer, states)
    }

    /// Its layers; every answer is a state that the way up needs.
    pub(crate) fn layers(&self, level: usize) -> impl Iterator<Item = Layer<'_>> {
        let layers = resnets_and_attentions(&self.resnets, &self.attentions);
        let layers = layers.chain(self.downsampler.as_ref().map(Module::Downsample));
        layers.map(move |module| Layer {
            level,
            takes_residual: false,
            leaves_residual: true,
            module,
        })
    }
}

/// `UNetMidBlock2DCrossAttn`
#[derive(Debug)]
pub struct UNetMidBlock2DCrossAttn {
    /// `resnets`: one more than `attentions`.
    pub resnets: Vec<ResnetBlock2d>,
    /// `attentions`
    pub attentions: Vec<Transformer2dModel>,
}

impl UNetMidBlock2DCrossAttn {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: &mut Targets,
        config: &UNetConfig,
    ) -> Result<Self, LoadError> {
        let level = config.block_out_channels.len() - 1;
        let channels = config.block_out_channels[level];
        let mut resnet = |layer: usize| {
            let mut list = weights.at("resnets");
            let unet = InUnet {
                targets: &mut *targets,
                time_embed_dim: config.time_embed_dim(),
            };
            let resnet = ResnetBlock2d::load(
                &mut list.at(layer),
                [channels, channels],
                Some(unet),
                norm(config),
            )?;
            Ok::<_, LoadError>(resnet.with_output_scale_factor(config.mid_block_scale_factor))
        };
        let resnets = vec![resnet(0)?, resnet(1)?];
        let shape = TransformerShape::of_middle(config);
        let mut list = weights.at("attentions");
        let attention = Transformer2dModel::load(&mut list.at(0), targets, &shape)?;
        Ok(Self {
            resnets,
            attentions: vec![attention],
        })
    }

    /// - `hidden_states`: `[batch, channels, height, width]`, `temb`: `[batch, time_embed_dim]`
    #[must_use]
    pub fn forward(
        &self,
        hidden_states: Tensor<4>,
        temb: &Tensor<2>,
        encoder_hidden_states: &Tensor<3>,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        let layers = self.layers(0);
        through(
            layers,
            hidden_states,
            &mut Vec::new(),
            |layer, x, residual| layer.forward(x, residual, temb, encoder_hidden_states, lora),
        )
    }

    /// Its layers.
    pub(crate) fn layers(&self, level: usize) -> impl Iterator<Item = Layer<'_>> {
        let layers = resnets_and_attentions(&self.resnets, &self.attentions);
        layers.map(move |module| Layer {
            level,
            takes_residual: false,
            leaves_residual: false,
            module,
        })
    }
}

/// `UpBlock2D` and `CrossAttnUpBlock2D`
#[derive(Debug)]
pub struct UpBlock {
    /// `resnets`: one more than on the way down.
    pub resnets: Vec<ResnetBlock2d>,
    /// `attentions`: empty, or one per ResNet.
    pub attentions: Vec<Transformer2dModel>,
    /// `upsamplers.0`
    pub upsampler: Option<Upsample2d>,
}

impl UpBlock {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: &mut Targets,
        shape: &BlockShape<'_>,
    ) -> Result<Self, LoadError> {
        let layers = shape.config.layers_per_block() + 1;
        let channels = &shape.config.block_out_channels;
        // The states of the way down come back last first: those of this level, and at the end
        // the one that entered it.
        let inputs: Vec<usize> = (0..layers)
            .map(|layer| {
                let own = if layer == 0 {
                    shape.in_channels
                } else {
                    shape.out_channels
                };
                let last = layer + 1 == layers;
                let level = if last {
                    shape.level.saturating_sub(1)
                } else {
                    shape.level
                };
                own + channels[level]
            })
            .collect();
        let (resnets, attentions) = load_layers(weights, targets, shape, &inputs)?;
        let upsampler = if shape.resample {
            let mut list = weights.at("upsamplers");
            let list = &mut list.at(0);
            Some(Upsample2d::load(list, Some(targets), shape.out_channels)?)
        } else {
            None
        };
        Ok(Self {
            resnets,
            attentions,
            upsampler,
        })
    }

    /// - `hidden_states`: `[batch, in, height, width]`, `temb`: `[batch, time_embed_dim]`
    /// - `states`: what the way down left for this block, one per ResNet
    #[must_use]
    pub fn forward(
        &self,
        hidden_states: Tensor<4>,
        mut states: Vec<Tensor<4>>,
        temb: &Tensor<2>,
        encoder_hidden_states: &Tensor<3>,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        let layers = self.layers(0);
        through(layers, hidden_states, &mut states, |layer, x, residual| {
            layer.forward(x, residual, temb, encoder_hidden_states, lora)
        })
    }

    /// Its layers; each ResNet takes a state of the way down, the last one first.
    pub(crate) fn layers(&self, level: usize) -> impl Iterator<Item = Layer<'_>> {
        let layers = resnets_and_attentions(&self.resnets, &self.attentions);
        let layers = layers.chain(self.upsampler.as_ref().map(Module::Upsample));
        layers.map(move |module| Layer {
            level,
            takes_residual: matches!(module, Module::Resnet { .. }),
            leaves_residual: false,
            module,
        })
    }
}
