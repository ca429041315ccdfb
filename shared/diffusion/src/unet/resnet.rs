//! `ResnetBlock2D`, `Downsample2D` and `Upsample2D`, diffusers `models/resnet.py`,
//! `models/downsampling.py`, `models/upsampling.py`. The UNet and the VAE share them.

use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, PadMode};
use mimeo_lora::{Kernel, LoraStack, Targets};

use crate::layers::{Bias, GroupNorm, LoraConv2d, LoraLinear};
use crate::load::{LoadError, Weights};
use crate::strips::{Size, Strips};

/// Numbers that every group norm of a model shares.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// Groups.
    pub groups: usize,
    /// ε.
    pub eps: f64,
}

/// What a block of the UNet has and the VAE's have not.
#[derive(Debug)]
pub struct InUnet<'a> {
    /// The modules that a LoRA can change, to which those of the block are added.
    pub targets: &'a mut Targets,
    /// Width of the timestep's embedding.
    pub time_embed_dim: usize,
}

/// Two convolutions with a residual connection.
#[derive(Debug, Clone)]
pub struct ResnetBlock2d {
    norm1: GroupNorm,
    conv1: LoraConv2d,
    /// Absent in the VAE, which knows no time.
    time_emb_proj: Option<LoraLinear>,
    norm2: GroupNorm,
    conv2: LoraConv2d,
    conv_shortcut: Option<LoraConv2d>,
    /// What the sum is divided by.
    output_scale_factor: f64,
}

impl ResnetBlock2d {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        io: [usize; 2],
        mut unet: Option<InUnet<'_>>,
        norm: Norm,
    ) -> Result<Self, LoadError> {
        let [input, output] = io;
        let time_emb_proj = match &mut unet {
            Some(unet) => Some(LoraLinear::load_new(
                &mut weights.at("time_emb_proj"),
                unet.targets,
                [unet.time_embed_dim, output],
                Bias::With,
            )?),
            None => None,
        };
        let mut conv = |name: &str, io: [usize; 2], side: usize| {
            let targets = unet.as_mut().map(|unet| &mut *unet.targets);
            LoraConv2d::load(&mut weights.at(name), targets, io, side)
        };
        let (conv1, conv2) = (conv("conv1", io, 3)?, conv("conv2", [output, output], 3)?);
        let conv_shortcut = match input == output {
            true => None,
            false => Some(conv("conv_shortcut", io, 1)?),
        };
        Ok(Self {
            norm1: GroupNorm::load(&mut weights.at("norm1"), input, norm.groups, norm.eps)?,
            conv1,
            time_emb_proj,
            norm2: GroupNorm::load(&mut weights.at("norm2"), output, norm.groups, norm.eps)?,
            conv2,
            conv_shortcut,
            output_scale_factor: 1.0,
        })
    }

    pub(crate) fn with_output_scale_factor(self, output_scale_factor: f64) -> Self {
        Self {
            output_scale_factor,
            ..self
        }
    }

    /// - `input`: `[batch, in, height, width]`, `temb`: `[batch, time_embed_dim]`
    /// - answer: `[batch, out, height, width]`
    #[must_use]
    pub fn forward(
        &self,
        input: Tensor<4>,
        temb: Option<&Tensor<2>>,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        let normed = self.norm1.forward_silu(input.clone());
        let mut hidden = self.conv1.forward(normed, lora);
        if let (Some(projection), Some(temb)) = (&self.time_emb_proj, temb) {
            let temb = projection.forward(&silu(temb.clone()), lora);
            let [batch, channels] = temb.dims();
            hidden = hidden + temb.reshape([batch, channels, 1, 1]);
        }
        let hidden = self.conv2.forward(self.norm2.forward_silu(hidden), lora);
        let shortcut = match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(input, lora),
            None => input,
        };
        self.sum(shortcut, hidden)
    }

    /// The same of a picture in strips, without time and LoRA. Of its input and what is made of it, there is never more
    /// than twice the answer or once the input, whichever is more.
    pub(crate) fn forward_in_strips(&self, input: Strips) -> Strips {
        let lora = LoraStack::none();
        let output = self.conv1.conv.output();
        let norm1 = self.norm1.of(&input, output);
        let mut shortcuts = input.beside();
        let hidden = input.map(output, Size::Same, |strip| {
            let normed = norm1.forward_silu(strip.values.clone());
            let hidden = strip.own(self.conv1.forward(normed, &lora));
            // At once, so that the input can go.
            let input = strip.own(strip.values.clone());
            shortcuts.push(match &self.conv_shortcut {
                Some(shortcut) => shortcut.forward(input, &lora),
                None => input,
            });
            hidden
        });
        let norm2 = self.norm2.of(&hidden, output);
        hidden.map(output, Size::Same, |strip| {
            let normed = norm2.forward_silu(strip.values.clone());
            let hidden = strip.own(self.conv2.forward(normed, &lora));
            self.sum(shortcuts.take(strip), hidden)
        })
    }

    fn sum(&self, shortcut: Tensor<4>, hidden: Tensor<4>) -> Tensor<4> {
        let sum = shortcut + hidden;
        if self.output_scale_factor == 1.0 {
            sum
        } else {
            sum / self.output_scale_factor
        }
    }
}

/// Where a [`Downsample2d`] adds the pixels that its stride-2 convolution needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownsamplePadding {
    /// One on every side: the UNet.
    Around,
    /// One on the right and at the bottom: the VAE's encoder.
    RightBottom,
}

/// A convolution of stride 2.
#[derive(Debug, Clone)]
pub struct Downsample2d {
    conv: LoraConv2d,
    padding: DownsamplePadding,
}

impl Downsample2d {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: Option<&mut Targets>,
        channels: usize,
        padding: DownsamplePadding,
    ) -> Result<Self, LoadError> {
        let kernel = Kernel {
            side: 3,
            stride: 2,
            padding: usize::from(padding == DownsamplePadding::Around),
        };
        let io = [channels, channels];
        Ok(Self {
            conv: LoraConv2d::load_strided(&mut weights.at("conv"), targets, io, kernel)?,
            padding,
        })
    }

    /// - `x`: `[batch, channels, height, width]`; answer: half as high and wide
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, lora: &LoraStack<'_>) -> Tensor<4> {
        let x = match self.padding {
            DownsamplePadding::Around => x,
            DownsamplePadding::RightBottom => x.pad((0, 1, 0, 1), PadMode::Constant(0.0)),
        };
        self.conv.forward(x, lora)
    }

    /// The same of a picture in strips, without LoRA.
    pub(crate) fn forward_in_strips(&self, x: Strips) -> Strips {
        x.map(self.conv.conv.output(), Size::Half, |strip| {
            strip.own(self.forward(strip.values.clone(), &LoraStack::none()))
        })
    }
}

/// Nearest neighbour times two, then a convolution.
#[derive(Debug, Clone)]
pub struct Upsample2d {
    conv: LoraConv2d,
}

impl Upsample2d {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: Option<&mut Targets>,
        channels: usize,
    ) -> Result<Self, LoadError> {
        let io = [channels, channels];
        Ok(Self {
            conv: LoraConv2d::load(&mut weights.at("conv"), targets, io, 3)?,
        })
    }

    /// - `x`: `[batch, channels, height, width]`; answer: twice as high and wide
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, lora: &LoraStack<'_>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let options = InterpolateOptions::new(InterpolateMode::Nearest)
            .with_output_size([height * 2, width * 2]);
        self.conv.forward(interpolate(x, options), lora)
    }

    /// The same of a picture in strips, without LoRA.
    pub(crate) fn forward_in_strips(&self, x: Strips) -> Strips {
        x.map(self.conv.conv.output(), Size::Double, |strip| {
            strip.own(self.forward(strip.values.clone(), &LoraStack::none()))
        })
    }
}
