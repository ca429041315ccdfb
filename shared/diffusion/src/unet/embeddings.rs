//! How the timestep enters, diffusers `models/embeddings.py`.

use burn::tensor::{Int, Tensor, TensorData, activation::silu};
use mimeo_checkpoint::config::{TextTime, UNetConfig};
use mimeo_lora::{LoraStack, Targets};

use crate::arithmetic::Arithmetic;
use crate::conditioning::Conditioning;
use crate::layers::{Bias, LoraLinear};
use crate::load::{LoadError, Weights};

/// `Timesteps`: sinusoids of the timestep (arXiv 1706.03762, section 3.5), any batch size.
#[derive(Debug, Clone)]
pub struct Timesteps {
    frequencies: Vec<f32>,
    flip_sin_to_cos: bool,
}

impl Timesteps {
    /// `channels` sinusoids with periods from 2π to about 2π · 10000.
    #[must_use]
    pub fn new(channels: usize, flip_sin_to_cos: bool, freq_shift: f64) -> Self {
        let half = channels / 2;
        let frequencies = (0..half)
            .map(|i| (-(10000_f64.ln()) * i as f64 / (half as f64 - freq_shift)).exp() as f32)
            .collect();
        Self {
            frequencies,
            flip_sin_to_cos,
        }
    }

    /// - `timestep`: `[batch]`; answer: `[batch, channels]`
    #[must_use]
    pub fn forward(&self, timestep: Tensor<1, Int>) -> Tensor<2> {
        let [batch] = timestep.dims();
        let half = self.frequencies.len();
        let frequencies = TensorData::new(self.frequencies.clone(), [1, half]);
        let frequencies = Tensor::<2>::from_data(frequencies, &timestep.device());
        let angles = timestep.float().reshape([batch, 1]) * frequencies;
        let (sin, cos) = (angles.clone().sin(), angles.cos());
        Tensor::cat(
            if self.flip_sin_to_cos {
                vec![cos, sin]
            } else {
                vec![sin, cos]
            },
            1,
        )
    }
}

/// `TimestepEmbedding`: two linear layers.
#[derive(Debug, Clone)]
pub struct TimestepEmbedding {
    /// `linear_1`
    pub linear_1: LoraLinear,
    /// `linear_2`
    pub linear_2: LoraLinear,
}

impl TimestepEmbedding {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: &mut Targets,
        io: [usize; 2],
    ) -> Result<Self, LoadError> {
        let [_, output] = io;
        let mut linear = |name: &str, io: [usize; 2]| {
            LoraLinear::load_new(&mut weights.at(name), targets, io, Bias::With)
        };
        Ok(Self {
            linear_1: linear("linear_1", io)?,
            linear_2: linear("linear_2", [output, output])?,
        })
    }

    /// - `sample`: `[batch, channels]`; answer: `[batch, time_embed_dim]`
    #[must_use]
    pub fn forward(&self, sample: &Tensor<2>, lora: &LoraStack<'_>) -> Tensor<2> {
        let inner = self.linear_1.forward(sample, lora);
        self.linear_2.forward(&silu(inner), lora)
    }
}

/// `add_time_proj` and `add_embedding` of a UNet with `addition_embed_type: text_time`: the prompt in
/// one vector and the picture's sizes (arXiv 2307.01952, section 2.2), added to the timestep's
/// embedding.
#[derive(Debug, Clone)]
pub struct AdditionEmbedding {
    /// Sinusoids of each size (`add_time_proj`, without weights).
    pub time_proj: Timesteps,
    /// `add_embedding`
    pub embedding: TimestepEmbedding,
    arithmetic: Arithmetic,
}

impl AdditionEmbedding {
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        targets: &mut Targets,
        config: &UNetConfig,
        text_time: TextTime,
    ) -> Result<Self, LoadError> {
        let (flip, shift) = (config.flip_sin_to_cos, config.freq_shift);
        let io = [text_time.width(), config.time_embed_dim()];
        Ok(Self {
            time_proj: Timesteps::new(text_time.sinusoids, flip, shift),
            embedding: TimestepEmbedding::load(weights, targets, io)?,
            arithmetic: weights.arithmetic(),
        })
    }

    /// Answers `[batch, time_embed_dim]`.
    ///
    /// # Panics
    /// For a conditioning without the prompt in one vector or without sizes.
    #[must_use]
    pub fn forward(&self, conditioning: &Conditioning, lora: &LoraStack<'_>) -> Tensor<2> {
        let Conditioning { pooled, size, .. } = conditioning;
        let (Some(pooled), Some(size)) = (pooled, size) else {
            panic!("a UNet that takes a text and sizes is asked without them")
        };
        let numbers = size.iter().flatten().map(|pixels| *pixels as i32);
        let numbers: Vec<i32> = numbers.collect();
        let numbers = TensorData::new(numbers, [size.len() * TextTime::SIZES]);
        let numbers = Tensor::<1, Int>::from_data(numbers, &pooled.device());
        let sizes = self.time_proj.forward(numbers);
        let [_, sinusoids] = sizes.dims();
        let sizes = sizes.reshape([size.len(), TextTime::SIZES * sinusoids]);
        let said = Tensor::cat(vec![(**pooled).clone(), sizes], 1);
        self.embedding.forward(&self.arithmetic.of(said), lora)
    }
}
