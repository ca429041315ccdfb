//! How the timestep enters, diffusers `models/embeddings.py`.

use burn::tensor::{Int, Tensor, TensorData, activation::silu};

use crate::layers::{Bias, Linear};
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
    pub linear_1: Linear,
    /// `linear_2`
    pub linear_2: Linear,
}

impl TimestepEmbedding {
    pub(crate) fn load(weights: &mut Weights<'_>, io: [usize; 2]) -> Result<Self, LoadError> {
        let [_, output] = io;
        Ok(Self {
            linear_1: Linear::load(&mut weights.at("linear_1"), io, Bias::With)?,
            linear_2: Linear::load(&mut weights.at("linear_2"), [output, output], Bias::With)?,
        })
    }

    /// - `sample`: `[batch, channels]`; answer: `[batch, time_embed_dim]`
    #[must_use]
    pub fn forward(&self, sample: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(silu(self.linear_1.forward(sample)))
    }
}
