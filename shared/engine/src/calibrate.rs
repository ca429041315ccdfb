//! The strength at which a LoRA makes the change that the pair shows.
//!
//! Measured on pictures that it was not trained on: A nearly drowned in fresh noise and drawn
//! again, which keeps its composition and changes who is in it, and pictures that have nothing of A.
//! They are drawn as they will be where the LoRA is used: of prompts that say who else they show, and
//! guided. A itself needs less strength than any other picture, and so do pictures of the pair's own
//! prompt without guidance; calibrated on them, a LoRA is too weak for everything else. A LoRA does little up to some strength, then quickly all
//! of the change, and beyond that only damage: wanted is the end of the rise, where the change made
//! less the change made elsewhere is largest.

use burn::tensor::Tensor;
use mimeo_diffusion::{Conditioning, Ddim, Guidance};
use mimeo_image::{Rgb, mae_weighted};
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::PromptSyntax;
use mimeo_train::{NoiseRng, Pair};

use crate::base::{Base, read_back};
use crate::change::{LEAST, Meant, row_sums};
use crate::error::EngineError;
use crate::rest::Rest;
use crate::sample::foresee;
use crate::score::{GAINED, progress};
use crate::session::Scene;

/// How much a calibration draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Pictures drawn, all in one batch.
    pictures: usize,
    /// How many of [`DDIM_STEPS`] are done of each; of the rest is foreseen what they would lead to.
    calls: usize,
    search: Search,
    /// Whether each call asks for the empty prompt as well.
    is_guided: bool,
}

/// At which strengths is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// Every one of [`STRENGTHS`], compared as pictures.
    Every,
    /// So many, each where those before leave open where the rise ends; compared as latents.
    Bracket(usize),
}

impl Effort {
    /// What calibration was before it had a budget.
    pub const FULL: Self = Self {
        pictures: COUNT,
        calls: DDIM_STEPS,
        search: Search::Every,
        is_guided: false,
    };

    const fn within(pictures: usize, calls: usize, strengths: usize) -> Self {
        Self {
            pictures,
            calls,
            search: Search::Bracket(strengths),
            is_guided: false,
        }
    }

    /// The same, of pictures that are guided or are not.
    pub const fn guided(self, is_guided: bool) -> Self {
        Self { is_guided, ..self }
    }

    /// The most first; as many as scores have.
    pub const ALL: [Self; 6] = [
        Self::FULL,
        Self::within(8, 10, 6),
        Self::within(8, 6, 4),
        Self::within(4, 6, 4),
        Self::within(4, 6, 3),
        Self::LEAST,
    ];
    /// The last of [`Self::ALL`].
    pub const LEAST: Self = Self::within(2, 4, 3);

    /// How much less a strength may be worth than the best and count as good.
    const fn as_good(self) -> f64 {
        match self.is_guided {
            true => AS_GOOD_GUIDED,
            false => AS_GOOD,
        }
    }

    /// Calls of the UNet, of one picture each.
    pub const fn calls(self) -> u64 {
        (self.denoising_steps() as usize * self.pictures) as u64 * (1 + self.is_guided as u64)
    }

    /// Among how many of so many examples the pictures are shared.
    pub fn parts(self, examples: usize) -> usize {
        examples.min(self.pictures)
    }

    /// What falls to one of several examples, and how many of its pictures begin as A.
    fn share(self, (index, count): (usize, usize)) -> (Self, usize) {
        let of = |pictures: usize| (pictures + count - 1 - index) / count;
        let drowned = of(self.pictures.div_ceil(ONE_DROWNED_IN));
        let pictures = of(self.pictures);
        (Self { pictures, ..self }, drowned)
    }

    /// Denoising steps of each example's drawings in all.
    pub const fn denoising_steps(self) -> u32 {
        let strengths = match self.search {
            Search::Every => STRENGTHS.len(),
            Search::Bracket(strengths) => strengths,
        };
        (self.calls * (1 + strengths)) as u32
    }
}

/// DDIM steps of a drawing. The first is at timestep 901 of 1000: that far A is drowned.
const DDIM_STEPS: usize = 10;
/// Pictures drawn at most.
const COUNT: usize = 8;
/// Every fourth begins as A: few, because they take to the change nearly as easily as A itself.
const ONE_DROWNED_IN: usize = 4;
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
/// The same of guided pictures: guidance makes sharp what it agrees with, so their rise goes on for long and
/// brings hardly any more people the change.
const AS_GOOD_GUIDED: f64 = 0.05;
/// Strengths that are farther apart than two of [`STRENGTHS`].
const FAR: f64 = 1.5;
const SEED: u64 = 8000;
const STREAM: u64 = 5;

/// Pictures to calibrate on, and what each would be with B's change.
pub(crate) struct Calibration<'a> {
    effort: Effort,
    /// Those of each example.
    parts: Vec<Part<'a>>,
}

/// The pictures of one example.
struct Part<'a> {
    drawing: Drawing<'a>,
    without: Without,
    /// The strength at which its change is to come.
    level: f64,
}

/// What the pictures are to show, and how that is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subjects<'a> {
    /// What guided pictures show, in turn; with none, as without guidance, all are of the pair's own prompt.
    pub prompts: &'a [String],
    /// Stands before each.
    pub trigger: &'a str,
    pub syntax: PromptSyntax,
}

/// How the pictures are drawn, with the LoRA and without.
struct Drawing<'a> {
    base: &'a Base,
    effort: Effort,
    asked: Asked,
    size: (u32, u32),
    /// What it is without the LoRA.
    guidance: Guidance,
    noisy: Tensor<4>,
}

impl Drawing<'_> {
    async fn latents(
        &self,
        lora: &LoraStack<'_>,
        rest: &mut impl Rest,
    ) -> Result<Tensor<4>, EngineError> {
        let (base, effort) = (self.base, self.effort);
        let guidance = match lora.changes_text() {
            true => &self.asked.guidance(base, self.size, lora).await?,
            false => &self.guidance,
        };
        let (noisy, of) = (self.noisy.clone(), (effort.calls, DDIM_STEPS));
        Ok(foresee(base, guidance, noisy, of, lora, rest).await?)
    }
}

/// The prompt of each picture, and how it is drawn.
struct Asked {
    prompts: Vec<String>,
    syntax: PromptSyntax,
    is_guided: bool,
}

impl Asked {
    /// - `index`, `own`: the example's number, with which the turn begins, and its prompt
    fn new(
        base: &Base,
        effort: Effort,
        (index, own): (usize, &str),
        subjects: Subjects<'_>,
    ) -> Result<Self, EngineError> {
        let syntax = subjects.syntax;
        let mut prompts = Vec::new();
        if effort.is_guided {
            let called = |prompt: &String| match subjects.trigger {
                "" => prompt.clone(),
                trigger => format!("{trigger}, {prompt}"),
            };
            prompts.extend(subjects.prompts.iter().map(called));
            // They go through the model together.
            let mut chunks = base.count_chunks(&prompts, syntax)?.into_iter();
            prompts.retain(|_| chunks.next() == Some(1));
        }
        let is_guided = !prompts.is_empty();
        if !is_guided {
            prompts.push(own.to_owned());
        }
        let turns = prompts.iter().cycle().skip(index % prompts.len());
        Ok(Self {
            prompts: turns.take(effort.pictures).cloned().collect(),
            syntax,
            is_guided,
        })
    }

    async fn guidance(
        &self,
        base: &Base,
        size: (u32, u32),
        lora: &LoraStack<'_>,
    ) -> Result<Guidance, EngineError> {
        let said = base.encode_prompts(&self.prompts, self.syntax, size, lora);
        let conditional = Conditioning::cat(said.await?);
        if !self.is_guided {
            return Ok(Guidance::unguided(conditional));
        }
        Ok(Guidance {
            conditional,
            unconditional: base.encode_prompt("", self.syntax, size, lora).await?,
            scale: base.model_size().guidance(),
            rescale: base.guidance_rescale(),
        })
    }
}

/// The pictures without the LoRA, and how to tell what it makes of them.
enum Without {
    Pictures {
        without: Vec<Rgb>,
        goals: Vec<Rgb>,
        inside: Vec<f32>,
        outside: Vec<f32>,
    },
    Latents(Box<Latents>),
}

struct Latents {
    /// `[pictures, channels, height, width]`
    without: Tensor<4>,
    /// What a change is multiplied with to find how far it goes towards B's, summed up:
    /// `mask · Δz / Σ mask · Δz²`, `[1, channels, height, width]`
    along: Tensor<4>,
    /// The same for the absolute values of change elsewhere, in units of the change that was meant:
    /// `(1 - mask) / Σ (1 - mask) / (Σ mask · |Δz| / Σ mask)`, `[1, 1, height, width]`
    elsewhere: Tensor<4>,
}

impl<'a> Calibration<'a> {
    /// - `scenes`: the examples that share the pictures, at least one
    pub async fn new(
        base: &'a Base,
        effort: Effort,
        scenes: &[&'a Scene],
        subjects: Subjects<'_>,
        rest: &mut impl Rest,
    ) -> Result<Self, EngineError> {
        let count = effort.parts(scenes.len());
        let mut parts = Vec::with_capacity(count);
        for (index, scene) in scenes.iter().take(count).enumerate() {
            let share = effort.share((index, count));
            parts.push(Part::new(base, share, (index, scene), subjects, rest).await?);
        }
        Ok(Self { effort, parts })
    }

    /// The multiplier at which the LoRA is worth most; 1 where no picture takes to the change at any
    /// strength, so that strength means nothing.
    pub async fn best_strength(
        &self,
        network: &LoraNetwork,
        rest: &mut impl Rest,
    ) -> Result<f64, EngineError> {
        let mut tried = Tried {
            as_good: self.effort.as_good(),
            ..Tried::default()
        };
        match self.effort.search {
            Search::Every => {
                for strength in STRENGTHS {
                    tried.add(strength, self.made(network, strength, rest).await?);
                }
            }
            Search::Bracket(count) => {
                for _ in 0..count {
                    let strength = tried.next();
                    tried.add(strength, self.made(network, strength, rest).await?);
                }
            }
        }
        Ok(tried.end_of_rise().unwrap_or(1.0))
    }

    /// What a LoRA made of each picture.
    async fn made(
        &self,
        network: &LoraNetwork,
        strength: f64,
        rest: &mut impl Rest,
    ) -> Result<Vec<Made>, EngineError> {
        let mut made = Vec::new();
        for part in &self.parts {
            made.extend(part.made(network, strength * part.level, rest).await?);
        }
        Ok(made)
    }
}

impl<'a> Part<'a> {
    /// - `effort`, `drowned`: its share of the pictures, and how many of them begin as A
    async fn new(
        base: &'a Base,
        (effort, drowned): (Effort, usize),
        (index, scene): (usize, &'a Scene),
        subjects: Subjects<'_>,
        rest: &mut impl Rest,
    ) -> Result<Self, EngineError> {
        let pictures = effort.pictures;
        let (pair, size) = (&scene.pair, scene.size());
        let asked = Asked::new(base, effort, (index, &scene.prompt), subjects)?;
        let guidance = asked.guidance(base, size, &LoraStack::none()).await?;
        let [_, channels, height, width] = pair.original.dims();
        let noise = NoiseRng::new(SEED + index as u64, STREAM)
            .normal([COUNT, channels, height, width], base.device());
        let timestep = Ddim::new(&base.schedule, DDIM_STEPS).timesteps()[0];
        let mut noisy = Vec::new();
        if drowned > 0 {
            let noise_of_drowned = noise.clone().narrow(0, 0, drowned);
            let timesteps = vec![timestep; drowned];
            let schedule = &base.schedule;
            noisy.push(schedule.add_noise(&pair.original, &noise_of_drowned, &timesteps));
        }
        if pictures > drowned {
            noisy.push(noise.narrow(0, COUNT / ONE_DROWNED_IN, pictures - drowned));
        }
        let drawing = Drawing {
            base,
            effort,
            asked,
            size,
            guidance,
            noisy: Tensor::cat(noisy, 0),
        };
        let latents = drawing.latents(&LoraStack::none(), rest).await?;
        let without = match effort.search {
            Search::Every => {
                let without = base.decode(latents, rest).await?;
                let goals = without
                    .iter()
                    .map(|picture| moved(picture, &scene.original, &scene.target));
                Without::Pictures {
                    goals: goals.collect::<Result<_, _>>()?,
                    without,
                    inside: scene.mask.inside_weights(),
                    outside: scene.mask.outside_weights(),
                }
            }
            Search::Bracket(_) => Without::Latents(Box::new(Latents::new(latents, pair))),
        };
        let level = scene.level;
        Ok(Self {
            drawing,
            without,
            level,
        })
    }

    /// What a LoRA made of each picture, at a multiplier.
    async fn made(
        &self,
        network: &LoraNetwork,
        multiplier: f64,
        rest: &mut impl Rest,
    ) -> Result<Vec<Made>, EngineError> {
        let stack = LoraStack::none().with(network, multiplier);
        let latents = self.drawing.latents(&stack, rest).await?;
        match &self.without {
            Without::Pictures {
                without,
                goals,
                inside,
                outside,
            } => {
                let drawn = self.drawing.base.decode(latents, rest).await?;
                let pictures = drawn.iter().zip(without.iter().zip(goals));
                pictures
                    .map(|(now, beside)| Made::of_picture(now, beside, inside, outside))
                    .collect()
            }
            Without::Latents(beside) => {
                let Latents {
                    without,
                    along,
                    elsewhere,
                } = &**beside;
                let changed = latents - without.clone();
                let progress = row_sums(changed.clone() * along.clone());
                let spilt = row_sums(changed.abs() * elsewhere.clone());
                let numbers = read_back(Tensor::cat(vec![progress, spilt], 0)).await?;
                let (progress, spilt) = numbers.split_at(self.drawing.effort.pictures);
                let made = progress.iter().zip(spilt).map(|(progress, spilt)| Made {
                    progress: f64::from(*progress).min(1.0),
                    elsewhere: f64::from(*spilt),
                });
                Ok(made.collect())
            }
        }
    }
}

impl Latents {
    fn new(without: Tensor<4>, pair: &Pair) -> Self {
        let outside = pair.mask.clone().neg() + 1.0;
        let area = outside.clone().sum().reshape([1, 1, 1, 1]);
        let Meant { along, size } = Meant::of(pair);
        Self {
            without,
            along,
            elsewhere: outside / (area.clamp_min(1.0) * size.clamp_min(LEAST)),
        }
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

impl Made {
    fn of_picture(
        now: &Rgb,
        (without, goal): (&Rgb, &Rgb),
        inside: &[f32],
        outside: &[f32],
    ) -> Result<Self, EngineError> {
        let elsewhere = if outside.iter().any(|weight| *weight > 0.0) {
            let meant = mae_weighted(goal.pixels(), without.pixels(), inside)?;
            let elsewhere = mae_weighted(now.pixels(), without.pixels(), outside)?;
            // Where B's change cannot be seen there is no unit to measure in.
            elsewhere / meant.max(1.0)
        } else {
            0.0
        };
        Ok(Self {
            // Farther than all of the change is damage, and counts for no more.
            progress: progress(now, without, goal, without, inside).min(1.0),
            elsewhere,
        })
    }
}

/// What a LoRA made of the pictures, at every strength tried, the weakest first.
#[derive(Debug, Default)]
struct Tried {
    /// Worth this much less is as good.
    as_good: f64,
    strengths: Vec<f64>,
    made: Vec<Vec<Made>>,
}

impl Tried {
    fn add(&mut self, strength: f64, made: Vec<Made>) {
        let at = self.strengths.partition_point(|tried| *tried < strength);
        self.strengths.insert(at, strength);
        self.made.insert(at, made);
    }

    fn end_of_rise(&self) -> Option<f64> {
        Some(end_of_rise(
            &self.strengths,
            &worth(&self.made)?,
            self.as_good,
        ))
    }

    /// The strength that tells most about where the rise ends.
    fn next(&self) -> f64 {
        let worth = worth(&self.made).unwrap_or_else(|| vec![0.0; self.made.len()]);
        next_strength(&self.strengths, &worth, self.as_good)
    }
}

/// Progress less change elsewhere at each strength, the mean over the pictures that take to the
/// change at all: one that has it already would only ever speak for less strength. None without any.
fn worth(made: &[Vec<Made>]) -> Option<Vec<f64>> {
    let takes = |picture: &usize| made.iter().any(|made| made[*picture].progress >= GAINED);
    let count = made.first().map_or(0, Vec::len);
    let pictures: Vec<usize> = (0..count).filter(takes).collect();
    if pictures.is_empty() {
        return None;
    }
    let worth = made.iter().map(|made| {
        let sum: f64 = pictures
            .iter()
            .map(|picture| made[*picture].progress - made[*picture].elsewhere)
            .sum();
        sum / pictures.len() as f64
    });
    Some(worth.collect())
}

/// The least strength, between two of those tried, at which the worth comes within `as_good` of its
/// largest.
fn end_of_rise(strengths: &[f64], worth: &[f64], as_good: f64) -> f64 {
    let largest = worth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let enough = largest - as_good;
    let end = worth.iter().position(|worth| *worth >= enough);
    match end.unwrap_or_default() {
        0 => strengths[0],
        end => {
            let (from, to) = (worth[end - 1], worth[end]);
            let share = (enough - from) / (to - from);
            let (low, high) = (strengths[end - 1].ln(), strengths[end].ln());
            (low + share * (high - low)).exp()
        }
    }
}

/// Where to look next for the end of the rise: outwards until it lies between two strengths, then
/// between those.
fn next_strength(strengths: &[f64], worth: &[f64], as_good: f64) -> f64 {
    let (weakest, strongest) = (STRENGTHS[0], STRENGTHS[STRENGTHS.len() - 1]);
    let (Some(first), Some(last)) = (strengths.first(), strengths.last()) else {
        return 1.0;
    };
    let largest = worth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if worth.last() == Some(&largest) && *last < strongest {
        // Of two far apart that are worth the same, neither need be the end: what lies between them may
        // be worth more than both, and what lies beyond is more damage.
        let before = strengths.len().checked_sub(2);
        match before.map(|at| (strengths[at], worth[at])) {
            Some((before, its_worth)) if its_worth >= largest - as_good => {
                if last / before > FAR {
                    return (before * last).sqrt();
                }
            }
            _ => return (last * 2.0).min(strongest),
        }
    }
    let end = worth.iter().position(|worth| *worth >= largest - as_good);
    match end.unwrap_or_default() {
        0 if *first > weakest => (first / 2.0).max(weakest),
        0 => (strengths[0] * strengths[1.min(strengths.len() - 1)]).sqrt(),
        end => (strengths[end - 1] * strengths[end]).sqrt(),
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
        let rise = end_of_rise(
            &STRENGTHS,
            &[0.0, 0.0, 0.1, 0.4, 0.79, 0.79, 0.8, 0.7],
            AS_GOOD,
        );
        assert!((rise - 1.0).abs() < 1e-9, "0.79 is as good as 0.8: {rise}");
        let between = end_of_rise(
            &STRENGTHS,
            &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.99, 1.0],
            AS_GOOD,
        );
        assert!(
            (between - 2.0).abs() < 1e-9,
            "the largest may be the last: {between}"
        );
        let half_way = end_of_rise(
            &STRENGTHS,
            &[0.0, 0.0, 0.0, 0.0, 0.98, 1.0, 0.9, 0.8],
            AS_GOOD,
        );
        let expected = 2.0_f64.powf(0.25);
        assert!(
            (half_way - expected).abs() < 1e-9,
            "between 1 and √2: {half_way}"
        );
        let at_once = end_of_rise(&STRENGTHS, &[0.9; 8], AS_GOOD);
        assert!(
            (at_once - 0.25).abs() < 1e-9,
            "nothing weaker was tried: {at_once}"
        );
    }

    /// Where the search within a budget comes to on a curve, with so many strengths.
    fn bracketed(count: usize, worth: impl Fn(f64) -> f64) -> f64 {
        let mut strengths: Vec<f64> = Vec::new();
        for _ in 0..count {
            let made: Vec<f64> = strengths.iter().map(|strength| worth(*strength)).collect();
            let next = next_strength(&strengths, &made, AS_GOOD);
            assert!(
                (STRENGTHS[0]..=STRENGTHS[7]).contains(&next) && !strengths.contains(&next),
                "{next} after {strengths:?}"
            );
            strengths.push(next);
            strengths.sort_by(f64::total_cmp);
        }
        let made: Vec<f64> = strengths.iter().map(|strength| worth(*strength)).collect();
        end_of_rise(&strengths, &made, AS_GOOD)
    }

    #[test]
    fn the_search_within_a_budget_comes_to_the_end_of_the_rise() {
        for end in [0.3, 0.5, 0.8, 1.0, 1.3, 2.0, 2.6] {
            // Up to its end, then level, then slowly down.
            let worth = |strength: f64| {
                let beyond = (strength / (end * 2.0)).ln().max(0.0);
                (strength / end).min(1.0) - 0.2 * beyond
            };
            for (count, within) in [(3, 0.55), (4, 0.5), (6, 0.05)] {
                let found = bracketed(count, worth);
                let away = (found / end).ln().abs();
                assert!(away < within, "{found} of {end} with {count}");
            }
        }
    }

    #[test]
    fn where_no_strength_is_worth_more_the_weakest_is_taken() {
        assert_eq!(bracketed(4, |_| 0.3), 0.5, "of 1, 2, √2 and 0.5");
    }

    #[test]
    fn between_two_that_are_worth_the_same_the_largest_is_looked_for() {
        // As measured on a beard.
        let (of_one, of_two) = (0.287, 0.296);
        let next = next_strength(&[1.0, 2.0], &[of_one, of_two], AS_GOOD);
        assert!((next - std::f64::consts::SQRT_2).abs() < 1e-12, "{next}");
        let found = end_of_rise(&[1.0, next, 2.0], &[of_one, 0.33, of_two], AS_GOOD);
        assert!(found > 1.2 && found < next, "no longer the first: {found}");
        let rising = next_strength(&[1.0, 2.0], &[0.2, 0.296], AS_GOOD);
        assert_eq!(rising, STRENGTHS[7], "the rise is not over");
        let level = next_strength(&[1.0, next, 2.0], &[of_one, of_one, of_two], AS_GOOD);
        assert_eq!(level, 0.5, "nothing between: it may end before");
    }

    #[test]
    fn examples_share_the_pictures() {
        for effort in Effort::ALL {
            for count in 1..=effort.pictures {
                let shares = (0..count).map(|index| effort.share((index, count)));
                let shares: Vec<(usize, usize)> = shares
                    .map(|(share, drowned)| (share.pictures, drowned))
                    .collect();
                let pictures: usize = shares.iter().map(|share| share.0).sum();
                let drowned: usize = shares.iter().map(|share| share.1).sum();
                assert_eq!(pictures, effort.pictures, "no more for {count}: {shares:?}");
                assert_eq!(
                    drowned,
                    effort.pictures.div_ceil(ONE_DROWNED_IN),
                    "of {count}: {shares:?}"
                );
                assert!(
                    shares.iter().all(|(pictures, drowned)| drowned <= pictures),
                    "{shares:?}"
                );
            }
        }
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
