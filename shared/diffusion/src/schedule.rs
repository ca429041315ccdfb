//! The noise schedule, diffusers `schedulers/scheduling_ddpm.py`.
//!
//! In the notation of `x_t = a_t z + s_t n` (arXiv 2006.11239, eq. 4): `a_t = √ᾱ_t`,
//! `s_t = √(1 - ᾱ_t)`, and the signal-to-noise ratio is `a_t²/s_t²`.

use burn::tensor::{Tensor, TensorData};
use mimeo_checkpoint::config::{PredictionType, SchedulerConfig, TimestepSpacing};

/// ᾱ of every timestep, and what the model predicts under it.
#[derive(Debug, Clone)]
pub struct NoiseSchedule {
    alphas_cumprod: Vec<f64>,
    final_alpha_cumprod: f64,
    steps_offset: usize,
    timestep_spacing: TimestepSpacing,
    prediction_type: PredictionType,
}

impl NoiseSchedule {
    /// The schedule that `config` describes.
    #[must_use]
    pub fn new(config: &SchedulerConfig) -> Self {
        let alphas_cumprod: Vec<f64> = config
            .betas()
            .into_iter()
            .scan(1.0, |product, beta| {
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
            timestep_spacing: config.timestep_spacing,
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

    /// Which timesteps a sampler of fewer steps asks the model at.
    #[must_use]
    pub const fn timestep_spacing(&self) -> TimestepSpacing {
        self.timestep_spacing
    }

    /// `steps` timesteps, highest first; at most one per timestep of the schedule (diffusers'
    /// `set_timesteps`, which rounds halves to even as numpy does).
    #[must_use]
    pub fn timesteps(&self, steps: usize) -> Vec<usize> {
        let (last, offset) = (self.len() - 1, self.steps_offset);
        let steps = steps.clamp(1, self.most_steps());
        let stride = self.len() as f64 / steps as f64;
        let timestep = |step: usize| match self.timestep_spacing {
            TimestepSpacing::Leading => (steps - 1 - step) * (self.len() / steps) + offset,
            TimestepSpacing::Linspace if steps == 1 => 0,
            TimestepSpacing::Linspace => {
                let share = (steps - 1 - step) as f64 / (steps - 1) as f64;
                (share * last as f64).round_ties_even() as usize
            }
            TimestepSpacing::Trailing => {
                (self.len() as f64 - step as f64 * stride).round_ties_even() as usize - 1
            }
        };
        (0..steps).map(|step| timestep(step).min(last)).collect()
    }

    /// How many steps a sampler can take.
    fn most_steps(&self) -> usize {
        match self.timestep_spacing {
            TimestepSpacing::Leading => self.len() - self.steps_offset,
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => self.len(),
        }
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

    /// How much the clean picture's squared error is of the prediction's: `s²/a²` for ε-prediction, whose picture is
    /// `(x - s ε)/a`, and `s²` for v-prediction, whose picture is `a x - s v`.
    #[must_use]
    pub fn picture_weight(&self, timestep: usize) -> f64 {
        match self.prediction_type {
            PredictionType::Epsilon => self.snr(timestep).recip(),
            PredictionType::VPrediction => (self.snr(timestep) + 1.0).recip(),
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

    /// The clean picture that a prediction means: `(x_t - s_t ε)/a_t`, for v-prediction
    /// `a_t x_t - s_t v`.
    ///
    /// - `noisy`, `pred`: `[batch, channels, height, width]`, one timestep per picture of the batch
    #[must_use]
    pub fn pred_original_sample(
        &self,
        noisy: &Tensor<4>,
        pred: &Tensor<4>,
        timesteps: &[usize],
    ) -> Tensor<4> {
        let (signal, sigma) = self.signal_and_noise(timesteps, noisy);
        match self.prediction_type {
            PredictionType::Epsilon => (noisy.clone() - pred.clone() * sigma) / signal,
            PredictionType::VPrediction => noisy.clone() * signal - pred.clone() * sigma,
        }
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
