//! The noise schedule, diffusers `schedulers/scheduling_ddpm.py`.
//!
//! In the notation of `x_t = a_t z + s_t n` (arXiv 2006.11239, eq. 4): `a_t = √ᾱ_t`,
//! `s_t = √(1 - ᾱ_t)`, and the signal-to-noise ratio is `a_t²/s_t²`.

use burn::tensor::{Tensor, TensorData};

pub use crate::config::PredictionType;
use crate::config::SchedulerConfig;

/// ᾱ of every timestep, and what the model predicts under it.
#[derive(Debug, Clone)]
pub struct NoiseSchedule {
    alphas_cumprod: Vec<f64>,
    final_alpha_cumprod: f64,
    steps_offset: usize,
    prediction_type: PredictionType,
}

impl NoiseSchedule {
    /// The `scaled_linear` schedule: √β is linear in the timestep.
    #[must_use]
    pub fn new(config: &SchedulerConfig) -> Self {
        let last = (config.num_train_timesteps - 1) as f64;
        let (start, end) = (config.beta_start.sqrt(), config.beta_end.sqrt());
        let alphas_cumprod: Vec<f64> = (0..config.num_train_timesteps)
            .scan(1.0, |product, t| {
                let beta = (start + (end - start) * t as f64 / last).powi(2);
                *product *= 1.0 - beta;
                Some(*product)
            })
            .collect();
        let final_alpha_cumprod = if config.ends_at_alpha_one() {
            1.0
        } else {
            alphas_cumprod[0]
        };
        Self {
            alphas_cumprod,
            final_alpha_cumprod,
            steps_offset: config.steps_offset,
            prediction_type: config.prediction_type,
        }
    }

    /// Timesteps of the schedule.
    #[must_use]
    pub fn len(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// Never: a schedule has timesteps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alphas_cumprod.is_empty()
    }

    /// What the model predicts.
    #[must_use]
    pub const fn prediction_type(&self) -> PredictionType {
        self.prediction_type
    }

    /// Added to a sampler's timesteps.
    #[must_use]
    pub const fn steps_offset(&self) -> usize {
        self.steps_offset
    }

    /// ᾱ of a timestep; a negative timestep is the clean picture, as far as the model knows it.
    #[must_use]
    pub fn alpha_cumprod(&self, timestep: i64) -> f64 {
        match usize::try_from(timestep) {
            Ok(timestep) => self.alphas_cumprod[timestep],
            Err(_negative) => self.final_alpha_cumprod,
        }
    }

    /// Signal-to-noise ratio ᾱ / (1 - ᾱ).
    #[must_use]
    pub fn snr(&self, timestep: usize) -> f64 {
        let alpha = self.alphas_cumprod[timestep];
        alpha / (1.0 - alpha)
    }

    /// min-SNR-γ loss weight (arXiv 2303.09556, section 3.4): `min(SNR, γ)/SNR` for ε-prediction,
    /// `min(SNR, γ)/(SNR + 1)` for v-prediction.
    #[must_use]
    pub fn min_snr_weight(&self, timestep: usize, gamma: f64) -> f64 {
        let snr = self.snr(timestep);
        let clipped = snr.min(gamma);
        match self.prediction_type {
            PredictionType::Epsilon => clipped / snr,
            PredictionType::VPrediction => clipped / (snr + 1.0),
        }
    }

    /// `(a_t, s_t)` of each picture of a batch, each `[batch, 1, 1, 1]` on the device of `like`.
    #[must_use]
    pub fn signal_and_noise(
        &self,
        timesteps: &[usize],
        like: &Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let column = |value: &dyn Fn(f64) -> f64| {
            let values: Vec<f32> = timesteps
                .iter()
                .map(|t| value(self.alphas_cumprod[*t]) as f32)
                .collect();
            let data = TensorData::new(values, [timesteps.len(), 1, 1, 1]);
            Tensor::<4>::from_data(data, &like.device())
        };
        (column(&f64::sqrt), column(&|alpha| (1.0 - alpha).sqrt()))
    }

    /// `x_t = a_t z + s_t n`.
    ///
    /// - `latent`: `[1 or batch, channels, height, width]`, `noise`: `[batch, …]`, one timestep
    ///   per picture of the batch
    #[must_use]
    pub fn add_noise(
        &self,
        latent: &Tensor<4>,
        noise: &Tensor<4>,
        timesteps: &[usize],
    ) -> Tensor<4> {
        let (signal, sigma) = self.signal_and_noise(timesteps, noise);
        latent.clone() * signal + noise.clone() * sigma
    }

    /// What the model should predict: `n`, or for v-prediction `a_t n - s_t z`.
    #[must_use]
    pub fn target(&self, latent: &Tensor<4>, noise: &Tensor<4>, timesteps: &[usize]) -> Tensor<4> {
        match self.prediction_type {
            PredictionType::Epsilon => noise.clone(),
            PredictionType::VPrediction => {
                let (signal, sigma) = self.signal_and_noise(timesteps, noise);
                noise.clone() * signal - latent.clone() * sigma
            }
        }
    }
}
