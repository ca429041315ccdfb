//! The strength at which a LoRA makes the change that the pair shows.
//!
//! Measured on pictures that it was not trained on: A nearly drowned in fresh noise and drawn
//! again, which keeps its composition and changes who is in it, and pictures of the pair's prompt
//! that have nothing of A. A itself needs less strength than any other picture; calibrated on it, a
//! LoRA is too weak for everything else. A LoRA does little up to some strength, then quickly all
//! of the change, and beyond that only damage: wanted is the end of the rise, where the change made
//! less the change made elsewhere is largest.

use burn::tensor::Tensor;
use mimeo_diffusion::{Conditioning, Ddim, Guidance};
use mimeo_image::{Mask, Rgb, mae_weighted};
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::Recipe;
use mimeo_train::NoiseRng;

use crate::base::Base;
use crate::error::EngineError;
use crate::rest::Rest;
use crate::sample::denoise;
use crate::score::{GAINED, progress};

/// DDIM steps of a drawing. The first is at timestep 901 of 1000: that far A is drowned.
const DDIM_STEPS: usize = 10;
/// Pictures drawn, all in one batch.
const COUNT: usize = 8;
/// How many of them begin as A: few, because they take to the change nearly as easily as A itself.
const DROWNED: usize = 2;
/// Strengths tried, √2 apart.
const STRENGTHS: [f64; 8] = [
    0.25,
    0.5 * std::f64::consts::FRAC_1_SQRT_2,
    0.5,
    std::f64::consts::FRAC_1_SQRT_2,
    1.0,
    std::f64::consts::SQRT_2,
    2.0,
    2.0 * std::f64::consts::SQRT_2,
];
/// Worth this much less is as good, and the weaker LoRA is taken: around its largest value the
/// worth hardly changes over a factor of two in strength, but what it weighs up does.
const AS_GOOD: f64 = 0.01;
const SEED: u64 = 8000;
const STREAM: u64 = 5;

/// Pictures to calibrate on, and what each would be with B's change.
pub(crate) struct Calibration<'a> {
    base: &'a Base,
    guidance: Guidance,
    noisy: Tensor<4>,
    without: Vec<Rgb>,
    goals: Vec<Rgb>,
    inside: Vec<f32>,
    outside: Vec<f32>,
    has_outside: bool,
}

impl<'a> Calibration<'a> {
    /// Denoising steps of [`Self::new`] and [`Self::best_strength`].
    pub const STEPS: u32 = ((STRENGTHS.len() + 1) * DDIM_STEPS) as u32;

    /// - `recipe`: whose prompt the pair has
    pub async fn new(
        base: &'a Base,
        (original, target): (&Rgb, &Rgb),
        mask: &Mask,
        recipe: &Recipe,
        rest: &mut impl Rest,
    ) -> Result<Self, EngineError> {
        let prompts = [&recipe.prompt; COUNT];
        let size = (original.width(), original.height());
        let prompts = base.encode_prompts(&prompts, recipe.prompt_syntax, size)?;
        let guidance = Guidance::unguided(Conditioning::cat(prompts));
        let latent = base.encode_picture(original);
        let [_, channels, height, width] = latent.dims();
        let noise =
            NoiseRng::new(SEED, STREAM).normal([COUNT, channels, height, width], base.device());
        let timestep = Ddim::new(&base.schedule, DDIM_STEPS).timesteps()[0];
        let drowned = noise.clone().narrow(0, 0, DROWNED);
        let drowned = base
            .schedule
            .add_noise(&latent, &drowned, &[timestep; DROWNED]);
        let outside = mask.outside_weights();
        let mut calibration = Self {
            base,
            guidance,
            noisy: Tensor::cat(vec![drowned, noise.narrow(0, DROWNED, COUNT - DROWNED)], 0),
            without: Vec::new(),
            goals: Vec::new(),
            inside: mask.inside_weights(),
            has_outside: outside.iter().any(|weight| *weight > 0.0),
            outside,
        };
        calibration.without = calibration.draw(&LoraStack::none(), rest).await?;
        calibration.goals = calibration
            .without
            .iter()
            .map(|picture| moved(picture, original, target))
            .collect::<Result<_, _>>()?;
        Ok(calibration)
    }

    /// The multiplier at which the LoRA is worth most; 1 where no picture takes to the change at any
    /// strength, so that strength means nothing.
    pub async fn best_strength(
        &self,
        network: &LoraNetwork,
        rest: &mut impl Rest,
    ) -> Result<f64, EngineError> {
        let mut made = Vec::with_capacity(STRENGTHS.len());
        for strength in STRENGTHS {
            let stack = LoraStack::none().with(network, strength);
            let drawn = self.draw(&stack, rest).await?;
            made.push(self.made(&drawn)?);
        }
        Ok(worth(&made).map_or(1.0, |worth| end_of_rise(&worth)))
    }

    async fn draw(
        &self,
        lora: &LoraStack<'_>,
        rest: &mut impl Rest,
    ) -> Result<Vec<Rgb>, EngineError> {
        let noisy = self.noisy.clone();
        let latents = denoise(self.base, &self.guidance, noisy, DDIM_STEPS, lora, rest).await?;
        self.base.decode(latents, rest).await
    }

    /// What a LoRA made of each picture.
    fn made(&self, drawn: &[Rgb]) -> Result<Vec<Made>, EngineError> {
        let pictures = drawn.iter().zip(&self.without).zip(&self.goals);
        let made = pictures.map(|((now, without), goal)| {
            let elsewhere = if self.has_outside {
                let meant = mae_weighted(goal.pixels(), without.pixels(), &self.inside)?;
                let elsewhere = mae_weighted(now.pixels(), without.pixels(), &self.outside)?;
                // Where B's change cannot be seen there is no unit to measure in.
                elsewhere / meant.max(1.0)
            } else {
                0.0
            };
            Ok(Made {
                // Farther than all of the change is damage, and counts for no more.
                progress: progress(now, without, goal, without, &self.inside).min(1.0),
                elsewhere,
            })
        });
        made.collect()
    }
}

/// What a LoRA made of one picture.
#[derive(Debug, Clone, Copy)]
struct Made {
    /// How far it went towards B's change, at most 1.
    progress: f64,
    /// Change outside the mask, in units of the change that was meant.
    elsewhere: f64,
}

/// Progress less change elsewhere at each of [`STRENGTHS`], the mean over the pictures that take to
/// the change at all: one that has it already would only ever speak for less strength. None without
/// any.
fn worth(made: &[Vec<Made>]) -> Option<[f64; STRENGTHS.len()]> {
    let takes = |picture: usize| made.iter().any(|made| made[picture].progress >= GAINED);
    let pictures: Vec<usize> = (0..COUNT).filter(|picture| takes(*picture)).collect();
    if pictures.is_empty() {
        return None;
    }
    let mut worth = [0.0; STRENGTHS.len()];
    for (worth, made) in worth.iter_mut().zip(made) {
        let sum: f64 = pictures
            .iter()
            .map(|picture| made[*picture].progress - made[*picture].elsewhere)
            .sum();
        *worth = sum / pictures.len() as f64;
    }
    Some(worth)
}

/// The least strength, between two of [`STRENGTHS`], at which the worth comes within [`AS_GOOD`] of
/// its largest.
fn end_of_rise(worth: &[f64; STRENGTHS.len()]) -> f64 {
    let largest = worth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let enough = largest - AS_GOOD;
    let end = worth.iter().position(|worth| *worth >= enough);
    match end.unwrap_or_default() {
        0 => STRENGTHS[0],
        end => {
            let (from, to) = (worth[end - 1], worth[end]);
            let share = (enough - from) / (to - from);
            let (low, high) = (STRENGTHS[end - 1].ln(), STRENGTHS[end].ln());
            (low + share * (high - low)).exp()
        }
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
    fn the_strength_is_where_the_rise_ends() {
        let rise = end_of_rise(&[0.0, 0.0, 0.1, 0.4, 0.79, 0.79, 0.8, 0.7]);
        assert!((rise - 1.0).abs() < 1e-9, "0.79 is as good as 0.8: {rise}");
        let between = end_of_rise(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.99, 1.0]);
        assert!(
            (between - 2.0).abs() < 1e-9,
            "the largest may be the last: {between}"
        );
        let half_way = end_of_rise(&[0.0, 0.0, 0.0, 0.0, 0.98, 1.0, 0.9, 0.8]);
        let expected = 2.0_f64.powf(0.25);
        assert!(
            (half_way - expected).abs() < 1e-9,
            "between 1 and √2: {half_way}"
        );
        let at_once = end_of_rise(&[0.9; 8]);
        assert!(
            (at_once - 0.25).abs() < 1e-9,
            "nothing weaker was tried: {at_once}"
        );
    }

    #[test]
    fn only_pictures_that_take_to_the_change_count() {
        let made = |progress| Made {
            progress,
            elsewhere: 0.1,
        };
        let at = |progress: f64| {
            let mut pictures = vec![made(0.0); COUNT];
            pictures[1] = made(progress);
            pictures
        };
        let rise = STRENGTHS.map(|strength| at(strength / 4.0)).to_vec();
        let worth = worth(&rise).expect("one picture gains it");
        for (worth, strength) in worth.iter().zip(STRENGTHS) {
            let expected = strength / 4.0 - 0.1;
            assert!((worth - expected).abs() < 1e-12, "{worth} at {strength}");
        }
        let nothing = vec![at(0.1); STRENGTHS.len()];
        assert_eq!(super::worth(&nothing), None, "no picture gains it");
    }

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
