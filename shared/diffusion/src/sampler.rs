//! Samplers: from noise to a latent and, for DDIM, back.

use burn::tensor::Tensor;
use mimeo_checkpoint::config::{PredictionType, TimestepSpacing};
use mimeo_lora::LoraStack;

use crate::conditioning::Conditioning;
use crate::schedule::NoiseSchedule;
use crate::unet::UNet2DConditionModel;

/// Deterministic DDIM (arXiv 2010.02502, eq. 12 with σ = 0), diffusers
/// `schedulers/scheduling_ddim.py`.
#[derive(Debug, Clone)]
pub struct Ddim<'a> {
    schedule: &'a NoiseSchedule,
    stride: usize,
    timesteps: Vec<usize>,
}

impl<'a> Ddim<'a> {
    /// `steps` timesteps, evenly spaced, highest first; at most one per timestep of the schedule.
    #[must_use]
    pub fn new(schedule: &'a NoiseSchedule, steps: usize) -> Self {
        let timesteps = schedule.timesteps(steps);
        Self {
            schedule,
            stride: schedule.len() / timesteps.len(),
            timesteps,
        }
    }

    /// The timesteps at which the model is asked, highest first.
    #[must_use]
    pub fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    /// One step towards the picture: from `timestep` to the next lower one.
    #[must_use]
    pub fn step(&self, timestep: usize, noise_pred: Tensor<4>, sample: Tensor<4>) -> Tensor<4> {
        let here = self.schedule.alpha_cumprod(timestep as i64);
        let next = self
            .schedule
            .alpha_cumprod(timestep as i64 - self.stride as i64);
        self.transfer(here, next, noise_pred, sample)
    }

    /// The picture that the model sees in `sample`: where all further steps would lead if its answer
    /// stayed the same (diffusers' `pred_original_sample`).
    #[must_use]
    pub fn pred_original_sample(
        &self,
        timestep: usize,
        noise_pred: Tensor<4>,
        sample: Tensor<4>,
    ) -> Tensor<4> {
        let here = self.schedule.alpha_cumprod(timestep as i64);
        self.original_and_noise(here, noise_pred, sample).0
    }

    /// One step towards the noise: from the next lower timestep up to `timestep`, with the model
    /// asked at `timestep` (`schedulers/scheduling_ddim_inverse.py`). Walk the timesteps in
    /// reverse.
    #[must_use]
    pub fn invert_step(
        &self,
        timestep: usize,
        noise_pred: Tensor<4>,
        sample: Tensor<4>,
    ) -> Tensor<4> {
        let here = self
            .schedule
            .alpha_cumprod(timestep as i64 - self.stride as i64);
        let next = self.schedule.alpha_cumprod(timestep as i64);
        self.transfer(here, next, noise_pred, sample)
    }

    fn transfer(&self, here: f64, next: f64, pred: Tensor<4>, sample: Tensor<4>) -> Tensor<4> {
        let (original, noise) = self.original_and_noise(here, pred, sample);
        original * next.sqrt() + noise * (1.0 - next).sqrt()
    }

    fn original_and_noise(
        &self,
        here: f64,
        pred: Tensor<4>,
        sample: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let (a, s) = (here.sqrt(), (1.0 - here).sqrt());
        match self.schedule.prediction_type() {
            PredictionType::Epsilon => ((sample - pred.clone() * s) / a, pred),
            PredictionType::VPrediction => {
                (sample.clone() * a - pred.clone() * s, pred * a + sample * s)
            }
        }
    }
}

/// diffusers' stand-in for an ᾱ of 0, whose σ would be infinite: the smallest positive f16.
const NEXT_TO_NOTHING: f64 = 1.0 / (1 << 24) as f64;

/// Euler steps on the probability-flow ODE (arXiv 2206.00364, algorithm 1 without churn),
/// diffusers `schedulers/scheduling_euler_discrete.py`, at whole timesteps: where diffusers asks the
/// model between two (`timestep_spacing = "linspace"`), the nearer one is taken.
#[derive(Debug, Clone)]
pub struct Euler<'a> {
    schedule: &'a NoiseSchedule,
    timesteps: Vec<usize>,
    sigmas: Vec<f64>,
}

impl<'a> Euler<'a> {
    /// `steps` timesteps, evenly spaced, highest first; at most one per timestep of the schedule.
    #[must_use]
    pub fn new(schedule: &'a NoiseSchedule, steps: usize) -> Self {
        let timesteps = schedule.timesteps(steps);
        let snr = |timestep: &usize| match schedule.snr(*timestep) {
            0.0 => NEXT_TO_NOTHING / (1.0 - NEXT_TO_NOTHING),
            snr => snr,
        };
        let mut sigmas: Vec<f64> = timesteps.iter().map(|t| snr(t).sqrt().recip()).collect();
        sigmas.push(0.0);
        Self {
            schedule,
            timesteps,
            sigmas,
        }
    }

    /// The timesteps at which the model is asked, highest first.
    #[must_use]
    pub fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    /// σ of every timestep, and the final 0.
    #[must_use]
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// Unit noise is multiplied by this before the first step. Spacings that begin at the last
    /// timestep begin with noise alone.
    #[must_use]
    pub fn init_noise_sigma(&self) -> f64 {
        match self.schedule.timestep_spacing() {
            TimestepSpacing::Leading => self.sigmas[0].hypot(1.0),
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => self.sigmas[0],
        }
    }

    /// What the model is given for `sample` at step `index`.
    #[must_use]
    pub fn scale_model_input(&self, index: usize, sample: Tensor<4>) -> Tensor<4> {
        sample / self.sigmas[index].hypot(1.0)
    }

    /// One step, from σ of `index` to the next lower one.
    #[must_use]
    pub fn step(&self, index: usize, pred: Tensor<4>, sample: Tensor<4>) -> Tensor<4> {
        let (sigma, next) = (self.sigmas[index], self.sigmas[index + 1]);
        let derivative = match self.schedule.prediction_type() {
            PredictionType::Epsilon => pred,
            PredictionType::VPrediction => {
                let norm = sigma.hypot(1.0);
                let original = sample.clone() / (norm * norm) - pred * (sigma / norm);
                (sample.clone() - original) / sigma
            }
        };
        sample + derivative * (next - sigma)
    }
}

/// Classifier-free guidance (arXiv 2207.12598): what the prompt adds, exaggerated.
#[derive(Debug, Clone)]
pub struct Guidance {
    /// The prompts of the whole batch.
    pub conditional: Conditioning,
    /// The empty prompt, or what to keep away from: one for all pictures, with as many tokens as it
    /// has.
    pub unconditional: Conditioning,
    /// 1 asks for the prompt alone, at half the cost.
    pub scale: f64,
    /// How much of the contrast that guidance adds is taken back (`guidance_rescale`, arXiv
    /// 2305.08891, section 3.4): 0 nothing, as in diffusers and ComfyUI unless they are asked.
    pub rescale: f64,
}

impl Guidance {
    /// By the prompts alone.
    #[must_use]
    pub fn unguided(prompts: Conditioning) -> Self {
        Self {
            conditional: prompts.clone(),
            unconditional: prompts,
            scale: 1.0,
            rescale: 0.0,
        }
    }

    /// The model's answer for `sample` at `timestep`, guided.
    ///
    /// - `sample`: `[batch, channels, height, width]`
    #[must_use]
    pub fn noise_pred(
        &self,
        unet: &UNet2DConditionModel,
        sample: Tensor<4>,
        timestep: usize,
        lora: &LoraStack<'_>,
    ) -> Tensor<4> {
        let [batch, ..] = sample.dims();
        if self.scale == 1.0 {
            return unet.forward_in_tasks(&sample, timestep, &self.conditional, lora);
        }
        let negative = self.unconditional.repeat(batch);
        let is_one_length = negative.tokens() == self.conditional.tokens();
        let (unconditional, conditional) = if is_one_length {
            let both = Conditioning::cat(vec![negative, self.conditional.clone()]);
            let samples = Tensor::cat(vec![sample.clone(), sample], 0);
            let answer = unet.forward_in_tasks(&samples, timestep, &both, lora);
            (
                answer.clone().narrow(0, 0, batch),
                answer.narrow(0, batch, batch),
            )
        } else {
            // One after the other, as A1111 does by default: filled up to one length, the shorter
            // prompt would mean something else.
            let ask = |prompts| unet.forward_in_tasks(&sample, timestep, prompts, lora);
            (ask(&negative), ask(&self.conditional))
        };
        self.guided(&conditional, unconditional)
    }

    /// What is made of both answers.
    ///
    /// - `conditional`, `unconditional`: `[batch, channels, height, width]`
    #[must_use]
    pub fn guided(&self, conditional: &Tensor<4>, unconditional: Tensor<4>) -> Tensor<4> {
        let guided = unconditional.clone() + (conditional.clone() - unconditional) * self.scale;
        if self.rescale == 0.0 {
            return guided;
        }
        let share = deviation(conditional) / deviation(&guided);
        guided * (share * self.rescale + (1.0 - self.rescale))
    }
}

/// Standard deviation of each picture: `[batch, 1, 1, 1]`.
fn deviation(pictures: &Tensor<4>) -> Tensor<4> {
    let [batch, ..] = pictures.dims();
    let pictures = pictures.clone().reshape([batch as i32, -1]);
    pictures.var(1).sqrt().reshape([batch, 1, 1, 1])
}
