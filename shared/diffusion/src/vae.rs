//! `AutoencoderKL`, diffusers `models/autoencoders/autoencoder_kl.py` and `vae.py`.
//!
//! Large pictures go through it in strips (`strips.rs`): a picture of 1024 px, whole, would take 2.5 GiB beside the
//! weights, more than Stable Diffusion XL leaves of a GPU of 8. In strips it takes half, and what comes out is the same.

use burn::tensor::Tensor;
use mimeo_checkpoint::config::VaeConfig;

use crate::layers::{Bias, Conv2d, GroupNorm, Linear};
use crate::load::{LoadError, WeightMap, Weights};
use crate::ops::scaled_dot_product_attention;
use crate::strips::{Size, Strips};
use crate::unet::resnet::{Downsample2d, DownsamplePadding, Norm, ResnetBlock2d, Upsample2d};

/// ε of every group norm of the VAE.
const VAE_NORM_EPS: f64 = 1e-6;

/// Numbers that a strip of a picture has at most: 64 MiB, which a WebGPU device holds in one buffer. Of a picture of
/// 1024 px it is 60 rows at the widest, so that the rows that neighbours both compute are a fifteenth of the work.
pub const STRIP: usize = 16 << 20;

/// Pictures to latents and back.
#[derive(Debug)]
pub struct AutoencoderKl {
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
    scaling_factor: f64,
    latent_channels: usize,
    /// As [`STRIP`].
    strip: usize,
}

impl AutoencoderKl {
    /// Builds the model that `config` describes from its weights.
    ///
    /// # Errors
    /// [`LoadError`] when a tensor is missing or has another shape.
    pub fn load(config: &VaeConfig, weights: &mut WeightMap) -> Result<Self, LoadError> {
        let mut weights = weights.root();
        let latent = config.latent_channels;
        let quant_conv = match config.use_quant_conv {
            true => Some(Conv2d::load(
                &mut weights.at("quant_conv"),
                [2 * latent, 2 * latent],
                1,
            )?),
            false => None,
        };
        let post_quant_conv = match config.use_post_quant_conv {
            true => Some(Conv2d::load(
                &mut weights.at("post_quant_conv"),
                [latent, latent],
                1,
            )?),
            false => None,
        };
        Ok(Self {
            encoder: Encoder::load(&mut weights.at("encoder"), config)?,
            quant_conv,
            post_quant_conv,
            decoder: Decoder::load(&mut weights.at("decoder"), config)?,
            scaling_factor: config.scaling_factor,
            latent_channels: latent,
            strip: STRIP,
        })
    }

    /// The same with other strips.
    ///
    /// - `numbers`: that each has at most, in place of [`STRIP`]; a few rows it has in any case
    #[must_use]
    pub fn with_strips_of(self, numbers: usize) -> Self {
        Self {
            strip: numbers,
            ..self
        }
    }

    /// The latent of a picture: the mean of the posterior times the scaling factor.
    ///
    /// The mean, not a sample of it: a sample would be a second noise on top of the diffusion's,
    /// and would differ between the two pictures of a pair.
    ///
    /// - `image`: `[batch, 3, height, width]` in -1..=1; answer: `[batch, 4, height/8, width/8]`
    #[must_use]
    pub fn encode(&self, image: Tensor<4>) -> Tensor<4> {
        let moments = self.encoder.forward(Strips::of(image, self.strip)).whole();
        let moments = match &self.quant_conv {
            Some(conv) => conv.forward(moments),
            None => moments,
        };
        moments.narrow(1, 0, self.latent_channels) * self.scaling_factor
    }

    /// The picture of a latent, in about -1..=1.
    ///
    /// - `latent`: `[batch, 4, height, width]`; answer: `[batch, 3, height*8, width*8]`
    #[must_use]
    pub fn decode(&self, latent: Tensor<4>) -> Tensor<4> {
        let latent = latent / self.scaling_factor;
        let latent = match &self.post_quant_conv {
            Some(conv) => conv.forward(latent),
            None => latent,
        };
        self.decoder.forward(Strips::of(latent, self.strip)).whole()
    }
}

const fn norm(config: &VaeConfig) -> Norm {
    Norm {
        groups: config.norm_num_groups,
        eps: VAE_NORM_EPS,
    }
}

#[derive(Debug)]
struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownEncoderBlock2d>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn load(weights: &mut Weights<'_>, config: &VaeConfig) -> Result<Self, LoadError> {
        let channels = &config.block_out_channels;
        let last = channels[channels.len() - 1];
        let conv_in = Conv2d::load(
            &mut weights.at("conv_in"),
            [config.in_channels, channels[0]],
            3,
        )?;
        let mut down_blocks = Vec::new();
        for level in 0..channels.len() {
            let io = [channels[level.saturating_sub(1)], channels[level]];
            let mut list = weights.at("down_blocks");
            let is_last = level + 1 == channels.len();
            down_blocks.push(DownEncoderBlock2d::load(
                &mut list.at(level),
                io,
                is_last,
                config,
            )?);
        }
        let (groups, eps) = (config.norm_num_groups, VAE_NORM_EPS);
        Ok(Self {
            conv_in,
            down_blocks,
            mid_block: MidBlock::load(&mut weights.at("mid_block"), last, config)?,
            conv_norm_out: GroupNorm::load(&mut weights.at("conv_norm_out"), last, groups, eps)?,
            // Mean and log variance, hence twice the channels.
            conv_out: Conv2d::load(
                &mut weights.at("conv_out"),
                [last, 2 * config.latent_channels],
                3,
            )?,
        })
    }

    fn forward(&self, image: Strips) -> Strips {
        let mut sample = self.conv_in.forward_in_strips(image);
        for block in &self.down_blocks {
            sample = block.forward(sample);
        }
        let sample = self.mid_block.forward(sample);
        out(&self.conv_norm_out, &self.conv_out, sample)
    }
}

#[derive(Debug)]
struct DownEncoderBlock2d {
    resnets: Vec<ResnetBlock2d>,
    downsampler: Option<Downsample2d>,
}

impl DownEncoderBlock2d {
    fn load(
        weights: &mut Weights<'_>,
        io: [usize; 2],
        is_last: bool,
        config: &VaeConfig,
    ) -> Result<Self, LoadError> {
        let resnets = load_resnets(weights, io, config.layers_per_block, config)?;
        let downsampler = if is_last {
            None
        } else {
            let mut list = weights.at("downsamplers");
            Some(Downsample2d::load(
                &mut list.at(0),
                None,
                io[1],
                DownsamplePadding::RightBottom,
            )?)
        };
        Ok(Self {
            resnets,
            downsampler,
        })
    }

    fn forward(&self, sample: Strips) -> Strips {
        let sample = self
            .resnets
            .iter()
            .fold(sample, |sample, resnet| resnet.forward_in_strips(sample));
        match &self.downsampler {
            Some(downsampler) => downsampler.forward_in_strips(sample),
            None => sample,
        }
    }
}

#[derive(Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpDecoderBlock2d>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn load(weights: &mut Weights<'_>, config: &VaeConfig) -> Result<Self, LoadError> {
        let channels = &config.block_out_channels;
        let levels = channels.len();
        let last = channels[levels - 1];
        let conv_in = Conv2d::load(
            &mut weights.at("conv_in"),
            [config.latent_channels, last],
            3,
        )?;
        let mut up_blocks = Vec::new();
        for index in 0..levels {
            let level = levels - 1 - index;
            let io = [channels[(level + 1).min(levels - 1)], channels[level]];
            let mut list = weights.at("up_blocks");
            up_blocks.push(UpDecoderBlock2d::load(
                &mut list.at(index),
                io,
                level == 0,
                config,
            )?);
        }
        let (groups, eps) = (config.norm_num_groups, VAE_NORM_EPS);
        Ok(Self {
            conv_in,
            mid_block: MidBlock::load(&mut weights.at("mid_block"), last, config)?,
            up_blocks,
            conv_norm_out: GroupNorm::load(
                &mut weights.at("conv_norm_out"),
                channels[0],
                groups,
                eps,
            )?,
            conv_out: Conv2d::load(
                &mut weights.at("conv_out"),
                [channels[0], config.out_channels],
                3,
            )?,
        })
    }

    fn forward(&self, latent: Strips) -> Strips {
        let sample = self.conv_in.forward_in_strips(latent);
        let mut sample = self.mid_block.forward(sample);
        for block in &self.up_blocks {
            sample = block.forward(sample);
        }
        out(&self.conv_norm_out, &self.conv_out, sample)
    }
}

#[derive(Debug)]
struct UpDecoderBlock2d {
    resnets: Vec<ResnetBlock2d>,
    upsampler: Option<Upsample2d>,
}

impl UpDecoderBlock2d {
    fn load(
        weights: &mut Weights<'_>,
        io: [usize; 2],
        is_last: bool,
        config: &VaeConfig,
    ) -> Result<Self, LoadError> {
        let resnets = load_resnets(weights, io, config.layers_per_block + 1, config)?;
        let upsampler = if is_last {
            None
        } else {
            let mut list = weights.at("upsamplers");
            Some(Upsample2d::load(&mut list.at(0), None, io[1])?)
        };
        Ok(Self { resnets, upsampler })
    }

    fn forward(&self, sample: Strips) -> Strips {
        let sample = self
            .resnets
            .iter()
            .fold(sample, |sample, resnet| resnet.forward_in_strips(sample));
        match &self.upsampler {
            Some(upsampler) => upsampler.forward_in_strips(sample),
            None => sample,
        }
    }
}

/// `conv_out(silu(conv_norm_out(sample)))`
fn out(conv_norm_out: &GroupNorm, conv_out: &Conv2d, sample: Strips) -> Strips {
    let output = conv_out.output();
    let norm = conv_norm_out.of(&sample, output);
    sample.map(output, Size::Same, |strip| {
        strip.own(conv_out.forward(norm.forward_silu(strip.values.clone())))
    })
}

fn load_resnets(
    weights: &mut Weights<'_>,
    [input, output]: [usize; 2],
    count: usize,
    config: &VaeConfig,
) -> Result<Vec<ResnetBlock2d>, LoadError> {
    (0..count)
        .map(|layer| {
            let io = [if layer == 0 { input } else { output }, output];
            let mut list = weights.at("resnets");
            ResnetBlock2d::load(&mut list.at(layer), io, None, norm(config))
        })
        .collect()
}

/// `UNetMidBlock2D`
#[derive(Debug)]
struct MidBlock {
    resnets: Vec<ResnetBlock2d>,
    attention: Option<Attention>,
}

impl MidBlock {
    fn load(
        weights: &mut Weights<'_>,
        channels: usize,
        config: &VaeConfig,
    ) -> Result<Self, LoadError> {
        let resnets = load_resnets(weights, [channels, channels], 2, config)?;
        let attention = if config.mid_block_add_attention {
            let mut list = weights.at("attentions");
            Some(Attention::load(&mut list.at(0), channels, config)?)
        } else {
            None
        };
        Ok(Self { resnets, attention })
    }

    fn forward(&self, sample: Strips) -> Strips {
        let sample = self.resnets[0].forward_in_strips(sample);
        let sample = match &self.attention {
            // Every pixel looks at every other one, and there are few.
            Some(attention) => sample.through(|sample| attention.forward(sample)),
            None => sample,
        };
        self.resnets[1].forward_in_strips(sample)
    }
}

/// `Attention` over the pixels, with one head and a residual connection.
#[derive(Debug)]
struct Attention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Attention {
    fn load(
        weights: &mut Weights<'_>,
        channels: usize,
        config: &VaeConfig,
    ) -> Result<Self, LoadError> {
        let (groups, eps) = (config.norm_num_groups, VAE_NORM_EPS);
        let group_norm = GroupNorm::load(&mut weights.at("group_norm"), channels, groups, eps)?;
        // Files from before diffusers 0.13, Stable Diffusion 1.5's among them, have older names.
        let names = if weights.has("to_q.weight") {
            ["to_q", "to_k", "to_v", "to_out.0"]
        } else {
            ["query", "key", "value", "proj_attn"]
        };
        let mut linear =
            |name: &str| Linear::load(&mut weights.at(name), [channels, channels], Bias::With);
        let [q, k, v, out] = names;
        Ok(Self {
            group_norm,
            to_q: linear(q)?,
            to_k: linear(k)?,
            to_v: linear(v)?,
            to_out: linear(out)?,
        })
    }

    fn forward(&self, sample: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = sample.dims();
        let tokens =
            self.group_norm
                .forward(sample.clone())
                .reshape([batch, channels, height * width]);
        let tokens = tokens.swap_dims(1, 2);
        let attended = scaled_dot_product_attention(
            self.to_q.forward(tokens.clone()),
            self.to_k.forward(tokens.clone()),
            self.to_v.forward(tokens),
            1,
        );
        let attended = self.to_out.forward(attended);
        attended
            .swap_dims(1, 2)
            .reshape([batch, channels, height, width])
            + sample
    }
}
