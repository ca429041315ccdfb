//! The frozen layers that the models are made of, with their weights under PyTorch's names.

use burn::tensor::Tensor;
use mimeo_lora::{Kernel, LoraStack, TargetId, TargetKind, Targets};

use crate::load::{LoadError, Weights};
use crate::ops::{
    Activation, channels_last, frozen_conv2d, frozen_linear, group_norm, group_norm_by,
    is_channels_last, layer_norm,
};
use crate::strips::{Size, Strips};

/// Whether a layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// It has.
    With,
    /// It has not.
    Without,
}

/// `torch.nn.Linear`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[in, out]`: the transpose of the file's, as Burn multiplies.
    pub weight: Tensor<2>,
    /// `[out]`
    bias: Option<Tensor<1>>,
}

impl Linear {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        io: [usize; 2],
        bias: Bias,
    ) -> Result<Self, LoadError> {
        let [input, output] = io;
        let weight = weights.tensor("weight", [output, input])?;
        Self::from_weight(weight, weights, output, bias)
    }

    /// A 1×1 convolution, which is a linear map of the channels.
    fn load_conv1x1(
        weights: &mut Weights<'_>,
        io: [usize; 2],
        bias: Bias,
    ) -> Result<Self, LoadError> {
        let [input, output] = io;
        let weight = weights
            .tensor("weight", [output, input, 1, 1])?
            .reshape([output, input]);
        Self::from_weight(weight, weights, output, bias)
    }

    fn from_weight(
        weight: Tensor<2>,
        weights: &mut Weights<'_>,
        output: usize,
        bias: Bias,
    ) -> Result<Self, LoadError> {
        let bias = match bias {
            Bias::With => Some(weights.bias(output)?),
            Bias::Without => None,
        };
        Ok(Self {
            weight: weight.transpose(),
            bias,
        })
    }

    /// - `x`: `[.., in]`; answer: `[.., out]`
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let y = frozen_linear(x, self.weight.clone());
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }
}

/// A [`Linear`] that a LoRA can change.
#[derive(Debug, Clone)]
pub struct LoraLinear {
    /// The frozen layer.
    pub linear: Linear,
    target: TargetId,
}

impl LoraLinear {
    /// One of `targets`, which say its shape.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: &Targets,
        bias: Bias,
    ) -> Result<Self, LoadError> {
        let (id, target) = weights.target(targets)?;
        let io = [target.in_features, target.out_features];
        let linear = match target.kind {
            TargetKind::Conv1x1 => Linear::load_conv1x1(weights, io, bias)?,
            TargetKind::Linear | TargetKind::Conv(_) => Linear::load(weights, io, bias)?,
        };
        Ok(Self { linear, target: id })
    }

    /// One more of `targets`.
    pub(crate) fn load_new(
        weights: &mut Weights<'_>,
        targets: &mut Targets,
        io: [usize; 2],
        bias: Bias,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            linear: Linear::load(weights, io, bias)?,
            target: weights.add_target(targets, TargetKind::Linear, io),
        })
    }

    /// - `x`: `[.., in]`; answer: `[.., out]`
    #[must_use]
    pub fn forward<const D: usize>(&self, x: &Tensor<D>, lora: &LoraStack<'_>) -> Tensor<D> {
        lora.apply(self.target, x, self.linear.forward(x.clone()))
    }
}

/// `torch.nn.Conv2d` with a square kernel.
#[derive(Debug, Clone)]
pub struct Conv2d {
    /// `[out, in, kernel, kernel]`
    pub weight: Tensor<4>,
    /// `[out]`
    bias: Tensor<1>,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// A convolution that keeps the size.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        io: [usize; 2],
        kernel: usize,
    ) -> Result<Self, LoadError> {
        Self::load_strided(weights, io, kernel, 1, kernel / 2)
    }

    pub(crate) fn load_strided(
        weights: &mut Weights<'_>,
        io: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Self, LoadError> {
        let [input, output] = io;
        let mut weight = weights.tensor("weight", [output, input, kernel, kernel])?;
        if is_channels_last(&weight, stride, padding) {
            weight = channels_last(weight);
        }
        Ok(Self {
            weight,
            bias: weights.bias(output)?,
            stride,
            padding,
        })
    }

    /// - `x`: `[batch, in, height, width]`; answer: `[batch, out, height/stride, width/stride]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        frozen_conv2d(x, weight, bias, self.stride, self.padding)
    }

    /// The same of a picture in strips, for a convolution that keeps the size.
    pub(crate) fn forward_in_strips(&self, x: Strips) -> Strips {
        x.map(self.output(), Size::Same, |strip| {
            strip.own(self.forward(strip.values.clone()))
        })
    }

    /// Channels of the answer.
    pub(crate) fn output(&self) -> usize {
        self.weight.dims()[0]
    }
}

/// A [`Conv2d`] that a LoRA can change, or one of the VAE's, which none does.
#[derive(Debug, Clone)]
pub struct LoraConv2d {
    /// The frozen layer.
    pub conv: Conv2d,
    target: Option<TargetId>,
}

impl LoraConv2d {
    /// A convolution that keeps the size, one more of `targets` if there are any.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: Option<&mut Targets>,
        io: [usize; 2],
        side: usize,
    ) -> Result<Self, LoadError> {
        let kernel = Kernel {
            side,
            stride: 1,
            padding: side / 2,
        };
        Self::load_strided(weights, targets, io, kernel)
    }

    pub(crate) fn load_strided(
        weights: &mut Weights<'_>,
        targets: Option<&mut Targets>,
        io: [usize; 2],
        kernel: Kernel,
    ) -> Result<Self, LoadError> {
        let Kernel {
            side,
            stride,
            padding,
        } = kernel;
        let conv = Conv2d::load_strided(weights, io, side, stride, padding)?;
        let kind = TargetKind::Conv(kernel);
        let target = targets.map(|targets| weights.add_target(targets, kind, io));
        Ok(Self { conv, target })
    }

    /// As [`Conv2d::forward`].
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, lora: &LoraStack<'_>) -> Tensor<4> {
        match self.target {
            Some(target) => {
                let y = self.conv.forward(x.clone());
                lora.apply_conv(target, &x, y, convolve)
            }
            None => self.conv.forward(x),
        }
    }
}

/// [`frozen_conv2d`] without bias.
fn convolve(x: Tensor<4>, weight: Tensor<4>, kernel: Kernel) -> Tensor<4> {
    let [out, ..] = weight.dims();
    let bias = Tensor::zeros([out], (&weight.device(), weight.dtype()));
    frozen_conv2d(x, weight, bias, kernel.stride, kernel.padding)
}

/// `torch.nn.GroupNorm`.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    /// `[channels]`
    weight: Tensor<1>,
    /// `[channels]`
    bias: Tensor<1>,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        channels: usize,
        groups: usize,
        eps: f64,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            weight: weights.tensor("weight", [channels])?,
            bias: weights.tensor("bias", [channels])?,
            groups,
            eps,
        })
    }

    /// - `x`: `[batch, channels, height, width]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_then(x, Activation::None)
    }

    /// The norm and the SiLU that follows it.
    ///
    /// - `x`: `[batch, channels, height, width]`
    #[must_use]
    pub fn forward_silu(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_then(x, Activation::Silu)
    }

    fn forward_then(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        group_norm(x, weight, bias, self.groups, self.eps, activation)
    }

    /// The norm of a picture, for its strips.
    ///
    /// - `answer`: channels of what is made of them
    pub(crate) fn of(&self, picture: &Strips, answer: usize) -> PictureNorm<'_> {
        PictureNorm {
            norm: self,
            moments: picture.moments(answer, self.groups, self.eps),
        }
    }
}

/// A [`GroupNorm`] over all of a picture.
#[derive(Debug)]
pub(crate) struct PictureNorm<'a> {
    norm: &'a GroupNorm,
    /// `[batch, groups, 2]`; none of a picture that is one strip.
    moments: Option<Tensor<3>>,
}

impl PictureNorm<'_> {
    /// As [`GroupNorm::forward_silu`].
    ///
    /// - `rows`: of the picture, `[batch, channels, rows, width]`
    pub(crate) fn forward_silu(&self, rows: Tensor<4>) -> Tensor<4> {
        let Some(moments) = &self.moments else {
            return self.norm.forward_silu(rows);
        };
        let (weight, bias) = (self.norm.weight.clone(), self.norm.bias.clone());
        group_norm_by(rows, moments.clone(), weight, bias, Activation::Silu)
    }
}

/// `torch.nn.LayerNorm` over the last axis.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    /// `[width]`
    weight: Tensor<1>,
    /// `[width]`
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        width: usize,
        eps: f64,
    ) -> Result<Self, LoadError> {
        let (weight, bias) = (
            weights.tensor("weight", [width])?,
            weights.tensor("bias", [width])?,
        );
        Ok(Self { weight, bias, eps })
    }

    /// - `x`: `[batch, tokens, width]`
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        layer_norm(x, self.weight.clone(), self.bias.clone(), self.eps)
    }
}
