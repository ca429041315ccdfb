//! `ResnetBlock2D`, `Downsample2D` and `Upsample2D`, diffusers `models/resnet.py`,
//! `models/downsampling.py`, `models/upsampling.py`. The UNet and the VAE share them.

use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, PadMode};

use crate::layers::{Bias, Conv2d, GroupNorm, Linear};
use crate::load::{LoadError, Weights};

/// Numbers that every group norm of a model shares.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// Groups.
    pub groups: usize,
    /// ε.
    pub eps: f64,
}

/// Two convolutions with a residual connection.
#[derive(Debug, Clone)]
pub struct ResnetBlock2d {
    norm1: GroupNorm,
    conv1: Conv2d,
    /// Absent in the VAE, which knows no time.
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    /// What the sum is divided by.
    output_scale_factor: f64,
}

impl ResnetBlock2d {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        io: [usize; 2],
        time_embed_dim: Option<usize>,
        norm: Norm,
    ) -> Result<Self, LoadError> {
        let [input, output] = io;
        let time_emb_proj = match time_embed_dim {
            Some(dim) => Some(Linear::load(
                &mut weights.at("time_emb_proj"),
                [dim, output],
                Bias::With,
            )?),
            None => None,
        };
        let conv_shortcut = if input == output {
            None
        } else {
            Some(Conv2d::load(&mut weights.at("conv_shortcut"), io, 1)?)
        };
        Ok(Self {
            norm1: GroupNorm::load(&mut weights.at("norm1"), input, norm.groups, norm.eps)?,
            conv1: Conv2d::load(&mut weights.at("conv1"), io, 3)?,
            time_emb_proj,
            norm2: GroupNorm::load(&mut weights.at("norm2"), output, norm.groups, norm.eps)?,
            conv2: Conv2d::load(&mut weights.at("conv2"), [output, output], 3)?,
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
    pub fn forward(&self, input: Tensor<4>, temb: Option<&Tensor<2>>) -> Tensor<4> {
        let mut hidden = self.conv1.forward(self.norm1.forward_silu(input.clone()));
        if let (Some(projection), Some(temb)) = (&self.time_emb_proj, temb) {
            let temb = projection.forward(silu(temb.clone()));
            let [batch, channels] = temb.dims();
            hidden = hidden + temb.reshape([batch, channels, 1, 1]);
        }
        let hidden = self.conv2.forward(self.norm2.forward_silu(hidden));
        let shortcut = match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(input),
            None => input,
        };
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
    conv: Conv2d,
    padding: DownsamplePadding,
}

impl Downsample2d {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        channels: usize,
        padding: DownsamplePadding,
    ) -> Result<Self, LoadError> {
        let inner = usize::from(padding == DownsamplePadding::Around);
        let io = [channels, channels];
        Ok(Self {
            conv: Conv2d::load_strided(&mut weights.at("conv"), io, 3, 2, inner)?,
            padding,
        })
    }

    /// - `x`: `[batch, channels, height, width]`; answer: half as high and wide
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(match self.padding {
            DownsamplePadding::Around => x,
            DownsamplePadding::RightBottom => x.pad((0, 1, 0, 1), PadMode::Constant(0.0)),
        })
    }
}

/// Nearest neighbour times two, then a convolution.
#[derive(Debug, Clone)]
pub struct Upsample2d {
    conv: Conv2d,
}

impl Upsample2d {
    pub(crate) fn load(weights: &mut Weights<'_>, channels: usize) -> Result<Self, LoadError> {
        Ok(Self {
            conv: Conv2d::load(&mut weights.at("conv"), [channels, channels], 3)?,
        })
    }

    /// - `x`: `[batch, channels, height, width]`; answer: twice as high and wide
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let options = InterpolateOptions::new(InterpolateMode::Nearest)
            .with_output_size([height * 2, width * 2]);
        self.conv.forward(interpolate(x, options))
    }
}
