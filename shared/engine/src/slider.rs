//! Sliders of two prompts: what they are trained on, all of it drawn by the base.
//!
//! Before training the base draws pictures of the neutral prompt, and what it passes through on the
//! way is kept with what it has to say there under each prompt ([`Slider`]). It also draws one picture
//! without the change and with it, from the same noise. They stand where other jobs have their pair:
//! in the file as what the LoRA shows, and in previews for their size.

mod score;

use burn::tensor::Tensor;
use mimeo_diffusion::Conditioning;
use mimeo_image::{Difference, FittedPair, Mask, Rgb};
use mimeo_protocol::{Recipe, Resolution, SliderRecipe, TimestepRange};
use mimeo_train::NoiseRng;
use mimeo_train::slider::Slider;

use crate::base::Base;
use crate::change::{LEAST, row_sums};
use crate::control::{Control, Within};
use crate::error::EngineError;
use crate::event::{Event, Phase};
use crate::job::{PreparedExample, PreparedJob};
use crate::leak::{self, Cost, Meter, Probe};
use crate::rest::{GivenUp, Rest};
use crate::states::{Said, Walks, ask, walk};

/// Stream of a seed that what is drawn for a slider starts from.
const STREAM: u64 = 0x51;

/// A slider's job, with what the base drew for it.
pub(crate) struct Prompted {
    /// The job, its pair drawn by the base.
    pub job: PreparedJob,
    /// What is trained on.
    pub slider: Slider,
    prompts: Prompts,
}

/// How much is drawn of each prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pictures: usize,
    steps: usize,
}

impl Extent {
    /// What a job trains on.
    pub const WHOLE: Self = Self {
        pictures: SliderRecipe::PICTURES,
        steps: SliderRecipe::DRAWING_STEPS,
    };
    /// Enough for a step whose result nobody wants.
    pub const LEAST: Self = Self {
        pictures: 1,
        steps: SliderRecipe::DRAWING_STEPS,
    };
}

/// Width and height at which a slider is trained and shown: the recipe's, square.
pub fn size(base: &Base, resolution: Option<Resolution>) -> Result<(u32, u32), EngineError> {
    let side = base.native_side();
    let fit = base.sizing(resolution).fit(side, side)?;
    Ok((fit.width(), fit.height()))
}

impl Prompted {
    /// Draws what a job of prompts is trained on.
    ///
    /// # Errors
    /// [`EngineError::SamePictures`] where the base sees no difference between the prompts;
    /// [`EngineError::NoStates`]; [`EngineError`] when a prompt cannot be read or the device fails.
    pub async fn new(
        base: &Base,
        job: &PreparedJob,
        extent: Extent,
        control: &mut impl Control,
    ) -> Result<Self, EngineError> {
        let recipe = &job.recipe;
        recipe.check()?;
        let size = size(base, recipe.resolution)?;
        let prompts = Prompts::new(base, recipe, size).await?;
        let walks = 1 + prompts.keep.len();
        let batches = extent.pictures.div_ceil(prompts.batch);
        let units = extent.steps * (walks * batches + 2);
        control.emit(Event::Phase {
            phase: Phase::Encoding,
            total: Some(units as u32),
        });
        let rest = &mut Within::counted(control);

        let mut rng = NoiseRng::new(recipe.seed, STREAM);
        let [_, channels, height, width] = base.latent_shape(size.0, size.1);
        let mut noise = |pictures| rng.normal([pictures, channels, height, width], base.device());
        let first = noise(1);
        let of = (extent.steps, base.model_size().guidance());
        let original = prompts.draw(base, &first, of, 0.0, rest).await?;
        let target = prompts.draw(base, &first, of, 1.0, rest).await?;
        let (original, target) = (
            base.decode(original, rest).await?,
            base.decode(target, rest).await?,
        );
        let [original, target] = [original, target].map(|mut pictures| pictures.swap_remove(0));
        if Difference::between(&original, &target).is_err() {
            return Err(EngineError::SamePictures {
                original: recipe.slider.original.clone(),
                target: recipe.slider.target.clone(),
            });
        }

        let window = recipe.pass.timesteps;
        let (pictures, steps) = (noise(extent.pictures), extent.steps);
        let empty = &prompts.empty;
        let taught = |own: &_, noisy: &_, timestep| prompts.change(base, own, noisy, timestep);
        let neutral = &prompts.neutral;
        let changed = neutral.states(
            base,
            empty,
            prompts.walks(&pictures, steps, window),
            Some(&taught),
            rest,
        );
        let changed = changed.await?;
        let mut kept = Vec::with_capacity(prompts.keep.len());
        for said in &prompts.keep {
            let pictures = noise(extent.pictures);
            let states = said.states(
                base,
                empty,
                prompts.walks(&pictures, steps, window),
                None,
                rest,
            );
            kept.push(states.await?);
        }
        Ok(Self {
            job: with_pair(job, original, target),
            slider: Slider { changed, kept },
            prompts,
        })
    }
}

impl Prompted {
    /// The leak meter of the job, if it has one: draws its pictures. What is meant is what the prompts'
    /// difference does to what the base takes for the clean picture; nothing is meant for pictures that
    /// are to stay.
    pub async fn meter(
        &self,
        base: &Base,
        control: &mut impl Control,
    ) -> Result<Option<Meter>, EngineError> {
        let (recipe, prompts) = (&self.job.recipe, &self.prompts);
        let asked = leak::timesteps(base);
        let (steps, _) = leak::DRAWING;
        // Guidance asks for the empty prompt as well.
        let drawn = |said: &Said| steps * if said.is_empty { 1 } else { 2 };
        let taught = 2 + usize::from(prompts.original.is_some());
        // The prompts to keep take turns: each picture has one of them beside it.
        let kept = prompts.keep.iter().map(drawn).max();
        let cost = Cost {
            made: drawn(&prompts.neutral)
                + taught * asked.len()
                + kept.map_or(0, |drawn| drawn + asked.len()),
            read: (1 + usize::from(kept.is_some())) * asked.len(),
        };
        let Some(plan) = Meter::plan(recipe, cost, control) else {
            return Ok(None);
        };
        let rest = &mut Within::uncounted(control);
        let mut rng = NoiseRng::new(recipe.seed, leak::STREAM);
        let [_, channels, height, width] = base.latent_shape(self.size().0, self.size().1);
        let mut noise = |rows| rng.normal([rows, channels, height, width], base.device());
        let mut probes = Vec::new();
        // The size of the change at each timestep, for what is kept comes last.
        let mut meant = Vec::with_capacity(asked.len());
        let neutral = Said {
            conditioning: prompts.neutral.conditioning.repeat(plan.pictures),
            is_empty: prompts.neutral.is_empty,
        };
        let keep = prompts.keep.iter().map(|said| said.conditioning.clone());
        let keep: Vec<_> = keep.collect();
        let are_empty = prompts.keep.iter().all(|said| said.is_empty);
        let kept = leak::in_turn(&keep, plan.pictures).into_iter();
        let kept = kept.map(|conditioning| Said {
            conditioning,
            is_empty: are_empty,
        });
        let kept = kept.map(|said| (said, Change::None));
        for (said, change) in [(neutral, Change::Taught)].into_iter().chain(kept) {
            let pictures = said.conditioning.batch();
            let drawn = walk(
                base,
                noise(pictures),
                (steps, 0),
                rest,
                |noisy, timestep| {
                    let own = ask(base, &said.conditioning, noisy, timestep);
                    let guidance = (&prompts.empty, base.model_size().guidance());
                    said.guided(base, guidance, own, (noisy, timestep))
                },
            );
            let drawn = drawn.await?;
            for (index, timestep) in asked.into_iter().enumerate() {
                let rows = vec![timestep; pictures];
                let noisy = base.schedule.add_noise(&drawn, &noise(pictures), &rows);
                let own = ask(base, &said.conditioning, &noisy, timestep);
                let clean = base.schedule.pred_original_sample(&noisy, &own, &rows);
                let along = (change == Change::Taught).then(|| {
                    let taught = own.clone() + prompts.change(base, &own, &noisy, timestep);
                    let taught = base.schedule.pred_original_sample(&noisy, &taught, &rows);
                    let change = taught - clean.clone();
                    meant.push(change.clone().abs().sum() / pictures as f64);
                    let squares = row_sums(change.clone().square());
                    let squares = squares.reshape([pictures, 1, 1, 1]);
                    change / squares.clamp_min(LEAST)
                });
                let elsewhere = (change == Change::None).then(|| {
                    let meant = meant[index].clone().reshape([1, 1, 1, 1]);
                    clean.ones_like() / meant.clamp_min(LEAST)
                });
                probes.push(Probe {
                    noisy,
                    timestep,
                    conditioning: said.conditioning.clone(),
                    clean,
                    along,
                    elsewhere,
                });
                rest.rest().await?;
            }
        }
        Ok(Some(Meter::new(recipe, plan, probes)))
    }

    fn size(&self) -> (u32, u32) {
        let drawn = &self.job.examples[0].pictures.original;
        (drawn.width(), drawn.height())
    }
}

/// The job with a pair in place of the pictures that it has not. There is no mask: the change may
/// show anywhere.
fn with_pair(job: &PreparedJob, original: Rgb, target: Rgb) -> PreparedJob {
    let mask = Mask::full(original.width(), original.height());
    PreparedJob {
        examples: vec![PreparedExample {
            pictures: FittedPair {
                original,
                target,
                mask: Some(mask),
            },
            named: None,
        }],
        ..job.clone()
    }
}

/// Whether the base is asked for the difference of the two prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Taught,
    None,
}

/// The prompts of a slider.
struct Prompts {
    neutral: Said,
    /// None where it is the neutral one.
    original: Option<Conditioning>,
    target: Conditioning,
    keep: Vec<Said>,
    /// The empty prompt.
    empty: Conditioning,
    /// η
    eta: f64,
    /// Rows that are drawn together: as many as are trained, for which there is memory.
    batch: usize,
}

impl Prompts {
    async fn new(base: &Base, recipe: &Recipe, size: (u32, u32)) -> Result<Self, EngineError> {
        let slider = &recipe.slider;
        let said = async |prompt: &str| Said::new(base, recipe, prompt, size).await;
        let original = match slider.neutral() == slider.original {
            true => None,
            false => Some(said(&slider.original).await?.conditioning),
        };
        let mut keep = Vec::with_capacity(slider.keep.len());
        for prompt in &slider.keep {
            keep.push(said(prompt).await?);
        }
        Ok(Self {
            neutral: said(slider.neutral()).await?,
            original,
            target: said(&slider.target).await?.conditioning,
            keep,
            empty: said("").await?.conditioning,
            eta: slider.guidance.get(),
            batch: recipe.pass.batch_size.get() as usize,
        })
    }

    const fn walks<'a>(
        &self,
        noise: &'a Tensor<4>,
        steps: usize,
        window: TimestepRange,
    ) -> Walks<'a> {
        Walks {
            noise,
            steps,
            batch: self.batch,
            window,
        }
    }

    /// `η (ε_θ(x, c₊, t) - ε_θ(x, c₋, t))`.
    ///
    /// - `own`: the base's answer under the neutral prompt
    fn change(
        &self,
        base: &Base,
        own: &Tensor<4>,
        noisy: &Tensor<4>,
        timestep: usize,
    ) -> Tensor<4> {
        let target = ask(base, &self.target, noisy, timestep);
        let original = match &self.original {
            Some(original) => ask(base, original, noisy, timestep),
            None => own.clone(),
        };
        (target - original) * self.eta
    }

    /// A picture of the neutral prompt, with the change at a strength.
    async fn draw(
        &self,
        base: &Base,
        noise: &Tensor<4>,
        (steps, guidance): (usize, f64),
        strength: f64,
        rest: &mut impl Rest,
    ) -> Result<Tensor<4>, GivenUp> {
        let said = &self.neutral;
        walk(base, noise.clone(), (steps, 0), rest, |noisy, timestep| {
            let own = ask(base, &said.conditioning, noisy, timestep);
            let of = (&self.empty, guidance);
            let guided = said.guided(base, of, own.clone(), (noisy, timestep));
            if strength == 0.0 {
                return guided;
            }
            guided + self.change(base, &own, noisy, timestep) * strength
        })
        .await
    }
}
