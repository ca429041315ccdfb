//! `UNet2DConditionModel`, diffusers `models/unets/unet_2d_condition.py`.

pub mod attention;
pub mod blocks;
pub mod embeddings;
mod layers;
pub mod resnet;
pub mod tape;

use burn::tensor::{Int, Tensor, TensorData};
use mimeo_checkpoint::Component;
use mimeo_checkpoint::config::UNetConfig;
use mimeo_lora::{LoraStack, Targets};
use rayon::prelude::*;

use crate::arithmetic::Arithmetic;
use crate::conditioning::Conditioning;
use crate::layers::{GroupNorm, LoraConv2d};
use crate::load::{LoadError, WeightMap};
use crate::tuning::Tuning;
use attention::TransformerShape;
use blocks::{BlockShape, DownBlock, UNetMidBlock2DCrossAttn, UpBlock};
use embeddings::{AdditionEmbedding, TimestepEmbedding, Timesteps};
use layers::{Layer, Module, through};

/// The modules of the UNet that a configuration describes which Mimeo's LoRAs change: every linear and
/// 1×1 convolution of its transformers (kohya's `lierla` set).
#[must_use]
pub fn targets(config: &UNetConfig) -> Targets {
    let mut targets = Targets::none(Component::Unet);
    let (levels, layers) = (config.block_out_channels.len(), config.layers_per_block());
    let mut add = |path: String, shape: TransformerShape| shape.add_targets(&path, &mut targets);
    for level in (0..levels).filter(|level| config.attends_down(*level)) {
        for layer in 0..layers {
            let path = format!("down_blocks.{level}.attentions.{layer}");
            add(path, TransformerShape::of_level(config, level));
        }
    }
    let path = "mid_block.attentions.0".to_owned();
    add(path, TransformerShape::of_middle(config));
    for block in (0..levels).filter(|block| config.attends_up(*block)) {
        for layer in 0..=layers {
            let path = format!("up_blocks.{block}.attentions.{layer}");
            add(path, TransformerShape::of_level(config, levels - 1 - block));
        }
    }
    targets
}

/// The noise prediction model.
#[derive(Debug)]
pub struct UNet2DConditionModel {
    /// `conv_in`
    pub conv_in: LoraConv2d,
    /// Sinusoids of the timestep (`time_proj`, without weights).
    pub time_proj: Timesteps,
    /// `time_embedding`
    pub time_embedding: TimestepEmbedding,
    /// What else a UNet of Stable Diffusion XL is told.
    pub add_embedding: Option<AdditionEmbedding>,
    /// `down_blocks`, outermost first.
    pub down_blocks: Vec<DownBlock>,
    /// `mid_block`
    pub mid_block: UNetMidBlock2DCrossAttn,
    /// `up_blocks`, innermost first.
    pub up_blocks: Vec<UpBlock>,
    /// `conv_norm_out`
    pub conv_norm_out: GroupNorm,
    /// `conv_out`
    pub conv_out: LoraConv2d,
    center_input_sample: bool,
    arithmetic: Arithmetic,
    targets: Targets,
    all_targets: Targets,
}

impl UNet2DConditionModel {
    /// Builds the model that `config` describes from its weights.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing or has another shape.
    pub fn load(config: &UNetConfig, weights: &mut WeightMap) -> Result<Self, LoadError> {
        let trained = targets(config);
        // The ids of the trained ones are the same in both.
        let mut targets = trained.clone();
        let mut weights = weights.root();
        let channels = &config.block_out_channels;
        let levels = channels.len();
        let time_dim = config.time_embed_dim();

        let mut down_blocks = Vec::with_capacity(levels);
        for level in 0..levels {
            let shape = BlockShape {
                config,
                level,
                in_channels: channels[level.saturating_sub(1)],
                out_channels: channels[level],
                attention: config.attends_down(level),
                resample: level + 1 < levels,
            };
            let mut weights = weights.at("down_blocks");
            down_blocks.push(DownBlock::load(
                &mut weights.at(level),
                &mut targets,
                &shape,
            )?);
        }

        let mid_block =
            UNetMidBlock2DCrossAttn::load(&mut weights.at("mid_block"), &mut targets, config)?;

        let mut up_blocks = Vec::with_capacity(levels);
        for index in 0..levels {
            let level = levels - 1 - index;
            let shape = BlockShape {
                config,
                level,
                in_channels: channels[(level + 1).min(levels - 1)],
                out_channels: channels[level],
                attention: config.attends_up(index),
                resample: level > 0,
            };
            let mut weights = weights.at("up_blocks");
            up_blocks.push(UpBlock::load(&mut weights.at(index), &mut targets, &shape)?);
        }

        let add_embedding = match config.text_time() {
            Some(text_time) => {
                let mut weights = weights.at("add_embedding");
                let targets = &mut targets;
                Some(AdditionEmbedding::load(
                    &mut weights,
                    targets,
                    config,
                    text_time,
                )?)
            }
            None => None,
        };

        let mut conv = |name: &str, io: [usize; 2]| {
            LoraConv2d::load(&mut weights.at(name), Some(&mut targets), io, 3)
        };
        let conv_in = conv("conv_in", [config.in_channels, channels[0]])?;
        let conv_out = conv("conv_out", [channels[0], config.out_channels])?;
        let time_embedding = TimestepEmbedding::load(
            &mut weights.at("time_embedding"),
            &mut targets,
            [channels[0], time_dim],
        )?;
        let (groups, eps) = (config.norm_num_groups, config.norm_eps);
        Ok(Self {
            conv_in,
            time_proj: Timesteps::new(channels[0], config.flip_sin_to_cos, config.freq_shift),
            time_embedding,
            add_embedding,
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: GroupNorm::load(
                &mut weights.at("conv_norm_out"),
                channels[0],
                groups,
                eps,
            )?,
            conv_out,
            center_input_sample: config.center_input_sample,
            arithmetic: weights.arithmetic(),
            targets: trained,
            all_targets: targets,
        })
    }

    /// The format that it computes in; what it is given and what it answers is f32.
    #[must_use]
    pub const fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// The modules that Mimeo's LoRAs change, as [`targets`] lists them.
    #[must_use]
    pub const fn targets(&self) -> &Targets {
        &self.targets
    }

    /// These, by the same ids, and after them all others that a LoRA can change: convolutions, and the
    /// linear layers through which the timestep enters.
    #[must_use]
    pub const fn all_targets(&self) -> &Targets {
        &self.all_targets
    }

    /// [`Self::forward`] for one timestep, on all cores of a CPU. For drawing: a training step
    /// has its own tasks, each with its own gradients.
    #[must_use]
    pub fn forward_in_tasks(
        &self,
        sample: &Tensor<4>,
        timestep: usize,
        conditioning: &Conditioning,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        let ([rows, ..], device) = (sample.dims(), sample.device());
        let part = |start: usize, count: usize| {
            let timestep = TensorData::new(vec![timestep as i32; count], [count]);
            let timestep = Tensor::from_data(timestep, &device);
            let conditioning = conditioning.rows(start..start + count);
            let sample = sample.clone().narrow(0, start, count);
            self.forward(sample, timestep, &conditioning, &lora.rows(start, count))
        };
        let rows_per_task = Tuning::of(&device).rows_per_task;
        if rows <= rows_per_task {
            return part(0, rows);
        }
        let tasks = (0..rows.div_ceil(rows_per_task)).into_par_iter();
        let parts = tasks.map(|task| {
            let start = task * rows_per_task;
            part(start, rows_per_task.min(rows - start))
        });
        Tensor::cat(parts.collect(), 0)
    }

    /// What the model takes for the noise in `sample`.
    ///
    /// # Shapes
    /// - `sample`: `[batch, channels, height, width]`, height and width multiples of
    ///   [`UNetConfig::latent_multiple`]
    /// - `timestep`: `[batch]`, 0..1000
    /// - `conditioning`: of as many pictures, `cross_attention_dim` wide
    /// - answer: like `sample`
    ///
    /// # Panics
    /// As [`AdditionEmbedding::forward`], if there is one.
    #[must_use]
    pub fn forward(
        &self,
        sample: Tensor<4>,
        timestep: Tensor<1, Int>,
        conditioning: &Conditioning,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        let encoder_hidden_states = &self.context(conditioning);
        let temb = self.temb(timestep, conditioning, lora);
        self.through(self.centred(sample), |layer, hidden_states, residual| {
            layer.forward(hidden_states, residual, &temb, encoder_hidden_states, lora)
        })
    }

    /// 1. time: `[batch, time_embed_dim]`
    fn temb(
        &self,
        timestep: Tensor<1, Int>,
        conditioning: &Conditioning,
        lora: &LoraStack<'_>,
    ) -> Tensor<2> {
        let t_emb = self.arithmetic.of(self.time_proj.forward(timestep));
        let temb = self.time_embedding.forward(&t_emb, lora);
        match &self.add_embedding {
            Some(added) => temb + added.forward(conditioning, lora),
            None => temb,
        }
    }

    /// What the transformers look at, in the format that is computed in.
    fn context(&self, conditioning: &Conditioning) -> Tensor<3> {
        self.arithmetic.of(conditioning.hidden_states.clone())
    }

    fn centred(&self, sample: Tensor<4>) -> Tensor<4> {
        self.arithmetic.of(if self.center_input_sample {
            sample * 2.0 - 1.0
        } else {
            sample
        })
    }

    /// All that follows, in its order.
    fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        let levels = self.down_blocks.len();
        let end = |leaves_residual, module| Layer {
            level: 0,
            takes_residual: false,
            leaves_residual,
            module,
        };
        // 2. pre-process
        let conv_in = end(true, Module::ConvIn(&self.conv_in));
        // 3. down
        let down = self.down_blocks.iter().enumerate();
        let down = down.flat_map(|(level, block)| block.layers(level));
        // 4. mid
        let mid = self.mid_block.layers(levels - 1);
        // 5. up
        let up = (0..levels).rev().zip(&self.up_blocks);
        let up = up.flat_map(|(level, block)| block.layers(level));
        // 6. post-process
        let conv_out = end(false, Module::ConvOut(&self.conv_norm_out, &self.conv_out));

        let layers = std::iter::once(conv_in).chain(down).chain(mid).chain(up);
        layers.chain([conv_out])
    }

    /// Goes through the layers ([`through`]).
    fn through<S: Clone>(
        &self,
        sample: S,
        forward: impl FnMut(&Layer<'_>, S, Option<S>) -> S,
    ) -> S {
        through(self.layers(), sample, &mut Vec::new(), forward)
    }
}
