//! The strength at which a LoRA makes the change that the pair shows.
//!
//! Measured on variations of A, not on A itself: A nearly drowned in fresh noise and drawn again,
//! which keeps its composition and changes who is in it. A alone needs less strength than any
//! other picture, because it is what the LoRA was trained on; calibrated on it, the LoRA is too
//! weak for everything else.

use burn::tensor::Tensor;
use mimeo_diffusion::{Ddim, Guidance};
use mimeo_image::{Mask, Rgb, mae_weighted};
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_train::NoiseRng;

use crate::base::Base;
use crate::error::EngineError;
use crate::sample::denoise;

/// DDIM steps of a drawing. The first is at timestep 901 of 1000: that far A is drowned.
const DDIM_STEPS: usize = 10;
/// Variations drawn in one batch.
const COUNT: usize = 4;
/// Rounds of the search: 6 leave the strength known to 8 %.
const ROUNDS: usize = 6;
/// Strengths searched.
const RANGE: (f64, f64) = (0.25, 4.0);
const SEED: u64 = 8000;
const STREAM: u64 = 5;

/// Variations of A, and what each would be with B's change.
pub(crate) struct Variations<'a> {
    base: &'a Base,
    guidance: Guidance,
    noisy: Tensor<4>,
    goals: Vec<Rgb>,
    inside: Vec<f32>,
    /// Σ MAE_in of the variations as they are.
    missing: f64,
}

impl<'a> Variations<'a> {
    /// Denoising steps of [`Self::new`] and [`Self::best_strength`].
    pub const STEPS: u32 = ((ROUNDS + 3) * DDIM_STEPS) as u32;

    pub async fn new(
        base: &'a Base,
        original: &Rgb,
        target: &Rgb,
        mask: &Mask,
        tick: &mut impl FnMut(),
    ) -> Result<Self, EngineError> {
        let prompts = base.encode_prompts(&[""; COUNT])?;
        let guidance = Guidance {
            unconditional: prompts.clone(),
            conditional: prompts,
            scale: 1.0,
        };
        let timestep = Ddim::new(&base.schedule, DDIM_STEPS).timesteps()[0];
        let latent = base.encode_picture(original);
        let [_, channels, height, width] = latent.dims();
        let noise =
            NoiseRng::new(SEED, STREAM).normal([COUNT, channels, height, width], base.device());
        let noisy = base.schedule.add_noise(&latent, &noise, &[timestep; COUNT]);
        let mut variations = Self {
            base,
            guidance,
            noisy,
            goals: Vec::new(),
            inside: mask.inside_weights(),
            missing: 0.0,
        };
        let plain = variations.draw(&LoraStack::none(), tick).await?;
        variations.goals = plain
            .iter()
            .map(|picture| moved(picture, original, target))
            .collect::<Result<_, _>>()?;
        variations.missing = variations.distance(&plain)?;
        Ok(variations)
    }

    /// The multiplier at which the variations come closest to having B's change: golden-section
    /// search over the logarithm of [`RANGE`].
    pub async fn best_strength(
        &self,
        network: &LoraNetwork,
        tick: &mut impl FnMut(),
    ) -> Result<f64, EngineError> {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let (mut low, mut high) = (RANGE.0.ln(), RANGE.1.ln());
        let mut inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
        let mut distance = [
            self.distance_at(network, inner[0].exp(), tick).await?,
            self.distance_at(network, inner[1].exp(), tick).await?,
        ];
        for _ in 0..ROUNDS {
            if distance[0] < distance[1] {
                high = inner[1];
                (inner[1], distance[1]) = (inner[0], distance[0]);
                inner[0] = high - GOLDEN * (high - low);
                distance[0] = self.distance_at(network, inner[0].exp(), tick).await?;
            } else {
                low = inner[0];
                (inner[0], distance[0]) = (inner[1], distance[1]);
                inner[1] = low + GOLDEN * (high - low);
                distance[1] = self.distance_at(network, inner[1].exp(), tick).await?;
            }
        }
        let best = usize::from(distance[1] < distance[0]);
        // Where no strength makes any of the change, strength means nothing: leave it alone.
        Ok(if distance[best] < self.missing {
            inner[best].exp()
        } else {
            1.0
        })
    }

    async fn distance_at(
        &self,
        network: &LoraNetwork,
        strength: f64,
        tick: &mut impl FnMut(),
    ) -> Result<f64, EngineError> {
        let drawn = self
            .draw(&LoraStack::none().with(network, strength), tick)
            .await?;
        self.distance(&drawn)
    }

    async fn draw(
        &self,
        lora: &LoraStack<'_>,
        tick: &mut impl FnMut(),
    ) -> Result<Vec<Rgb>, EngineError> {
        let noisy = self.noisy.clone();
        let latents = denoise(self.base, &self.guidance, noisy, DDIM_STEPS, lora, tick).await;
        self.base.decode(latents).await
    }

    fn distance(&self, pictures: &[Rgb]) -> Result<f64, EngineError> {
        let mut sum = 0.0;
        for (picture, goal) in pictures.iter().zip(&self.goals) {
            sum += mae_weighted(picture.pixels(), goal.pixels(), &self.inside)?;
        }
        Ok(sum)
    }
}

/// `picture + (target - original)`, within what a picture can hold.
fn moved(picture: &Rgb, original: &Rgb, target: &Rgb) -> Result<Rgb, EngineError> {
    let pixels = picture
        .pixels()
        .iter()
        .zip(original.pixels().iter().zip(target.pixels()))
        .map(|(value, (from, to))| {
            let moved = i16::from(*value) + i16::from(*to) - i16::from(*from);
            moved.clamp(0, 255) as u8
        })
        .collect();
    Ok(Rgb::new(picture.width(), picture.height(), pixels)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_adds_the_change_and_stays_a_picture() {
        let grey = |value| Rgb::filled(1, 1, [value; 3]);
        let pixel = |picture, from, to| {
            let moved = moved(&grey(picture), &grey(from), &grey(to)).expect("same sizes");
            moved.pixels()[0]
        };
        assert_eq!(pixel(100, 20, 50), 130, "30 brighter");
        assert_eq!(pixel(250, 20, 50), 255, "no brighter than white");
        assert_eq!(pixel(10, 50, 20), 0, "no darker than black");
    }
}
