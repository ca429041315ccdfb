//! What a LoRA does, in numbers (`design/method.md`).
//!
//! The round trip inverts A with DDIM under the base and an empty prompt, and draws it again with
//! the LoRA at a strength: what comes out is compared with B where the change was meant, and with
//! the redrawn A everywhere else. Held-out pictures are drawn from prompts never trained on, with
//! and without the LoRA, from the same noise.

use burn::tensor::Tensor;
use mimeo_diffusion::{Conditioning, Guidance};
use mimeo_image::{Rgb, mae, mae_weighted};
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{Graded, HeldOut, HeldOutGrading, Linearity, PromptSyntax};

use crate::base::Base;
use crate::error::EngineError;
use crate::rest::Rest;
use crate::sample::{STEPS, SampleRequest, foresee, invert, sample, sample_foreseen, total_steps};
use crate::session::Scene;

/// Seed of the first picture of every measurement; users start at 0.
pub(crate) const SCORE_SEED: u64 = 7000;
/// Strengths at which linearity is measured.
pub(crate) const STRENGTHS: [f64; 7] = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0];
/// Fewer of them, where there are not enough calls for all.
pub(crate) const FIVE_STRENGTHS: [f64; 5] = [-2.0, -1.0, 0.0, 1.0, 2.0];
pub(crate) const THREE_STRENGTHS: [f64; 3] = [-1.0, 0.0, 1.0];
/// Where all of the change is made, or none can be taken away, drawing again moves progress by so
/// much.
pub const STANDSTILL: f64 = 0.02;
/// A picture gained the change when it went this far from A towards B.
pub(crate) const GAINED: f64 = 0.25;

/// How much the scores draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Effort {
    /// Steps of inversion, and of every redrawing.
    steps: usize,
    /// How many of the steps of a redrawing are done; of the rest is foreseen what they lead to.
    calls: usize,
    /// Strengths of the redrawings.
    strengths: &'static [f64],
    /// Redrawings in one batch.
    rows: usize,
    held_out: HeldOutEffort,
}

/// How much of held-out pictures is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
struct HeldOutEffort {
    /// Pictures at most, each with and without the LoRA.
    pictures: usize,
    /// Steps of each.
    steps: usize,
    /// How many of them are done.
    calls: usize,
    /// Whether with the base's guidance; without, they cost half.
    guided: bool,
}

impl HeldOutEffort {
    /// Two pictures tell nothing of how levels differ.
    const LEAST_GRADED: usize = 6;

    /// Strengths at which they are drawn with the LoRA.
    ///
    /// - `levels`: of the examples that are measured on, how many there are
    fn strengths(self, levels: usize) -> usize {
        if self.pictures >= Self::LEAST_GRADED {
            levels
        } else {
            1
        }
    }
}

impl Effort {
    /// What the scores were before they had a budget, in batches as then: so an old recipe gives the
    /// same file, bit for bit.
    pub const FULL: Self = Self {
        steps: 20,
        calls: 20,
        strengths: &STRENGTHS,
        rows: 1,
        held_out: HeldOutEffort {
            pictures: usize::MAX,
            steps: STEPS,
            calls: STEPS,
            guided: true,
        },
    };

    /// - `strengths`: of the redrawings, each of so many calls of its steps
    /// - `pictures`: held-out ones, each of so many calls
    const fn within(
        (calls, steps): (usize, usize),
        strengths: &'static [f64],
        (pictures, held_out_calls): (usize, usize),
    ) -> Self {
        Self {
            steps,
            calls,
            strengths,
            rows: usize::MAX,
            held_out: HeldOutEffort {
                pictures,
                steps: 10,
                calls: held_out_calls,
                guided: false,
            },
        }
    }

    /// The most first; as many as calibration has.
    pub const ALL: [Self; 6] = [
        Self::FULL,
        Self::within((20, 20), &STRENGTHS, (8, 10)),
        Self::within((10, 10), &FIVE_STRENGTHS, (8, 8)),
        Self::within((10, 10), &THREE_STRENGTHS, (6, 7)),
        Self::within((6, 6), &THREE_STRENGTHS, (2, 5)),
        Self::LEAST,
    ];
    /// The last of [`Self::ALL`].
    pub const LEAST: Self = Self::within((6, 6), &THREE_STRENGTHS, (2, 4));

    /// Calls of the UNet, of one picture each.
    ///
    /// - `examples`: that are measured on, at least one; `levels`: how many they have
    pub fn calls(self, prompts: usize, (examples, levels): (usize, usize)) -> u64 {
        let HeldOutEffort {
            pictures,
            calls,
            guided,
            ..
        } = self.held_out;
        let further = self.further_trip_steps() as usize * (examples - 1);
        let round_trip = self.steps + self.calls * self.strengths.len() + further;
        let answers = if guided { 2 } else { 1 };
        let drawings = 1 + self.held_out.strengths(levels);
        (round_trip + drawings * pictures.min(prompts) * calls * answers) as u64
    }

    /// Denoising steps of the round trip and its redrawings.
    pub fn round_trip_steps(self) -> u32 {
        let batches = (self.strengths.len() - 1).div_ceil(self.rows);
        (self.steps + self.calls * (1 + batches)) as u32
    }

    /// Denoising steps of the round trip of a further example, which is redrawn without the LoRA and at
    /// one strength.
    pub const fn further_trip_steps(self) -> u32 {
        (self.steps + 2 * self.calls) as u32
    }

    /// Denoising steps of the held-out pictures, with and without the LoRA.
    ///
    /// - `levels`: as for [`Self::calls`]
    pub fn held_out_steps(
        self,
        base: &Base,
        request: &SampleRequest,
        levels: usize,
    ) -> Result<u32, EngineError> {
        let drawn = SampleRequest {
            steps: self.held_out.calls,
            ..request.clone()
        };
        let drawings = 1 + self.held_out.strengths(levels) as u32;
        Ok(drawings * total_steps(base, &drawn)?)
    }

    /// The held-out pictures, of so many of these.
    pub fn held_out(self, request: SampleRequest) -> SampleRequest {
        let HeldOutEffort {
            pictures,
            steps,
            guided,
            ..
        } = self.held_out;
        SampleRequest {
            pictures: request.pictures.into_iter().take(pictures).collect(),
            steps,
            guidance: if guided { request.guidance } else { 1.0 },
            ..request
        }
    }
}

/// What a LoRA made of an original, at the strength at which its change is to come.
pub(crate) struct TripMade {
    pub edit_gain: f64,
    pub spill: f64,
    pub progress: f64,
    pub level: f64,
}

/// The round trip of one pair, ready to be redrawn at any strength.
pub(crate) struct RoundTrip<'a> {
    effort: Effort,
    base: &'a Base,
    noise: Tensor<4>,
    guidance: Guidance,
    scene: &'a Scene,
    inside: Vec<f32>,
    outside: Vec<f32>,
    redrawn: Rgb,
}

impl<'a> RoundTrip<'a> {
    /// Inverts the original.
    ///
    /// # Errors
    /// [`EngineError`] when the device fails.
    pub async fn new(
        base: &'a Base,
        scene: &'a Scene,
        effort: Effort,
        rest: &mut impl Rest,
    ) -> Result<Self, EngineError> {
        let own = LoraStack::none();
        let empty = base.encode_prompt("", PromptSyntax::USUAL, scene.size(), &own);
        let guidance = Guidance::unguided(empty.await?);
        let latent = scene.pair.original.clone();
        let noise = invert(base, &guidance, latent, effort.steps, rest).await?;
        let mut trip = Self {
            effort,
            base,
            noise,
            guidance,
            scene,
            inside: scene.mask.inside_weights(),
            outside: scene.mask.outside_weights(),
            redrawn: scene.original.clone(),
        };
        trip.redrawn = trip
            .redraw(1, &LoraStack::none(), rest)
            .await?
            .swap_remove(0);
        Ok(trip)
    }

    /// The original, redrawn with adapters: as many pictures as rows.
    async fn redraw(
        &self,
        rows: usize,
        lora: &LoraStack<'_>,
        rest: &mut impl Rest,
    ) -> Result<Vec<Rgb>, EngineError> {
        let noise = self.noise.clone().repeat_dim(0, rows);
        let guidance = Guidance::unguided(self.conditioning(rows, lora).await?);
        let Effort { steps, calls, .. } = self.effort;
        let of = (calls, steps);
        let latents = foresee(self.base, &guidance, noise, of, lora, rest).await?;
        self.base.decode(latents, rest).await
    }

    /// The empty prompt of each row, as it is said under the adapters.
    async fn conditioning(
        &self,
        rows: usize,
        lora: &LoraStack<'_>,
    ) -> Result<Conditioning, EngineError> {
        if !lora.changes_text() {
            return Ok(self.guidance.conditional.repeat(rows));
        }
        // Each row has a strength of its own.
        let mut said = Vec::with_capacity(rows);
        for row in 0..rows {
            let (base, lora) = (self.base, lora.rows(row, 1));
            let empty = base.encode_prompt("", PromptSyntax::USUAL, self.scene.size(), &lora);
            said.push(empty.await?);
        }
        Ok(Conditioning::cat(said))
    }

    /// `1 - MAE_in(G_s, B) / MAE_in(G_0, B)`
    ///
    /// # Errors
    /// [`EngineError::Image`] when the mask has no inside.
    pub fn edit_gain(&self, redrawn: &Rgb) -> Result<f64, EngineError> {
        let target = self.scene.target.pixels();
        let missed = mae_weighted(redrawn.pixels(), target, &self.inside)?;
        let whole = mae_weighted(self.redrawn.pixels(), target, &self.inside)?;
        Ok(1.0 - missed / whole)
    }

    /// `MAE_out(G_s, G_0) / MAE_in(A, B)`
    ///
    /// # Errors
    /// [`EngineError::Image`] when the mask has no inside.
    pub fn spill(&self, redrawn: &Rgb) -> Result<f64, EngineError> {
        let Scene {
            original, target, ..
        } = self.scene;
        let meant = mae_weighted(original.pixels(), target.pixels(), &self.inside)?;
        if self.outside.iter().all(|weight| *weight == 0.0) {
            return Ok(0.0);
        }
        let spilt = mae_weighted(redrawn.pixels(), self.redrawn.pixels(), &self.outside)?;
        Ok(spilt / meant)
    }

    /// What a LoRA made of the original.
    ///
    /// # Errors
    /// [`EngineError::Image`] when the mask has no inside.
    pub fn made(&self, redrawn: &Rgb) -> Result<TripMade, EngineError> {
        Ok(TripMade {
            edit_gain: self.edit_gain(redrawn)?,
            spill: self.spill(redrawn)?,
            progress: self.progress(redrawn),
            level: self.scene.level,
        })
    }

    /// How far `redrawn` went from the redrawn A (0) to B (1) inside the mask.
    #[must_use]
    pub fn progress(&self, redrawn: &Rgb) -> f64 {
        progress(
            redrawn,
            &self.redrawn,
            &self.scene.target,
            &self.redrawn,
            &self.inside,
        )
    }

    /// Where a strength is among those of [`Self::redraw_strengths`].
    pub fn at(&self, strength: f64) -> usize {
        at(self.effort.strengths, strength)
    }

    /// The original, redrawn at the strength at which its change is to come.
    ///
    /// # Errors
    /// [`EngineError`] when the device fails.
    pub async fn redraw_level(
        &self,
        network: &LoraNetwork,
        rest: &mut impl Rest,
    ) -> Result<Rgb, EngineError> {
        let stack = LoraStack::none().with(network, self.scene.level);
        Ok(self.redraw(1, &stack, rest).await?.swap_remove(0))
    }

    /// The original, redrawn at each strength, in units of that at which its change is to come.
    ///
    /// # Errors
    /// [`EngineError`] when the device fails.
    pub async fn redraw_strengths(
        &self,
        network: &LoraNetwork,
        rest: &mut impl Rest,
    ) -> Result<Vec<Rgb>, EngineError> {
        let Effort {
            strengths, rows, ..
        } = self.effort;
        let (negative, positive) = strengths.split_at(at(strengths, 0.0));
        let with_lora = [negative, &positive[1..]].concat();
        let with_lora: Vec<f64> = with_lora.iter().map(|at| at * self.scene.level).collect();
        let mut pictures = Vec::with_capacity(strengths.len());
        for strengths in with_lora.chunks(rows) {
            let stack = LoraStack::none().with_each(network, strengths.to_vec());
            pictures.extend(self.redraw(strengths.len(), &stack, rest).await?);
        }
        pictures.insert(negative.len(), self.redrawn.clone());
        Ok(pictures)
    }

    /// How the pictures of [`Self::redraw_strengths`] follow the strength.
    ///
    /// # Errors
    /// [`EngineError::Image`] when the mask has no inside.
    pub fn linearity(&self, pictures: &[Rgb]) -> Result<Linearity, EngineError> {
        let edit_gain = pictures
            .iter()
            .map(|picture| self.edit_gain(picture))
            .collect::<Result<_, _>>()?;
        let spill = pictures
            .iter()
            .map(|picture| self.spill(picture))
            .collect::<Result<Vec<f64>, _>>()?;
        let steps = pictures
            .windows(2)
            .map(|pair| mae_weighted(pair[1].pixels(), pair[0].pixels(), &self.inside))
            .collect::<Result<Vec<f64>, _>>()?;
        let progress: Vec<f64> = pictures
            .iter()
            .map(|picture| self.progress(picture))
            .collect();
        let strengths = self.effort.strengths;
        Ok(Linearity {
            edit_gain,
            monotone: progress
                .windows(2)
                .all(|pair| pair[1] > pair[0] - STANDSTILL),
            correlation: correlation(strengths, &progress),
            valid: Some(valid(strengths, &progress, &spill)),
            unevenness: unevenness(strengths, &steps),
            progress,
        })
    }
}

pub(crate) fn at(strengths: &[f64], wanted: f64) -> usize {
    let found = strengths.iter().position(|strength| *strength == wanted);
    found.unwrap_or_default()
}

/// The levels at which held-out pictures can be judged, the lowest first: all that the examples have, if
/// each has one of the size of that which is shown first, else its alone.
///
/// - `scenes`: at least one
pub(crate) fn levels(scenes: &[&Scene]) -> Vec<f64> {
    let sorted = |levels: &mut dyn Iterator<Item = f64>| {
        let mut levels: Vec<f64> = levels.collect();
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        levels
    };
    let all = sorted(&mut scenes.iter().map(|scene| scene.level));
    let is_alike = |scene: &&&Scene| scene.size() == scenes[0].size();
    let alike = scenes.iter().filter(is_alike);
    match sorted(&mut alike.map(|scene| scene.level)) {
        alike if alike == all => all,
        _ => vec![scenes[0].level],
    }
}

/// Draws the held-out pictures without the LoRA and at the level of the example that is shown first, and
/// where the effort allows it at all other levels.
///
/// - `request`: by [`Effort::held_out`]
/// - `scenes`: of the examples that are measured on, at least one; those of its size and level are what
///   pictures are judged by
///
/// # Errors
/// When the device fails.
pub(crate) async fn held_out(
    base: &Base,
    request: &SampleRequest,
    effort: Effort,
    network: &LoraNetwork,
    scenes: &[&Scene],
    rest: &mut impl Rest,
) -> Result<(HeldOut, Option<HeldOutGrading>), EngineError> {
    let (calls, own) = (effort.held_out.calls, LoraStack::none());
    let before = sample_foreseen(base, request, calls, &own, rest).await?;
    let shown = scenes.first().map_or(1.0, |scene| scene.level);
    let levels = levels(scenes);
    let is_graded = levels.len() > 1 && effort.held_out.strengths(levels.len()) > 1;
    let levels = if is_graded { levels } else { vec![shown] };
    let mut of_levels = Vec::with_capacity(levels.len());
    for level in &levels {
        let with = LoraStack::none().with(network, *level);
        let after = sample_foreseen(base, request, calls, &with, rest).await?;
        let scenes = scenes.iter();
        let alike = scenes.filter(|scene| scene.size() == request.size && scene.level == *level);
        let judges: Vec<Judge<'_>> = alike.map(|scene| Judge::new(scene)).collect();
        of_levels.push(judged(&before, &after, &judges)?);
    }
    let grading = is_graded.then(|| {
        let progress: Vec<f64> = of_levels.iter().map(|level| level.progress).collect();
        let deviation = deviation(&progress);
        HeldOutGrading {
            progress,
            deviation,
        }
    });
    Ok((of_levels.swap_remove(at(&levels, shown)), grading))
}

/// An example by whose change pictures are judged.
struct Judge<'a> {
    original: &'a Rgb,
    target: &'a Rgb,
    inside: Vec<f32>,
    outside: Vec<f32>,
}

impl<'a> Judge<'a> {
    fn new(scene: &'a Scene) -> Self {
        Self {
            original: &scene.original,
            target: &scene.target,
            inside: scene.mask.inside_weights(),
            outside: scene.mask.outside_weights(),
        }
    }

    /// How far a picture went the example's way, and what changed outside its mask, of 255.
    fn judge(&self, before: &Rgb, after: &Rgb) -> Result<(f64, f64), EngineError> {
        let progress = progress(after, before, self.target, self.original, &self.inside);
        let elsewhere = match self.outside.iter().any(|weight| *weight > 0.0) {
            true => mae_weighted(after.pixels(), before.pixels(), &self.outside)?,
            false => 0.0,
        };
        Ok((progress, elsewhere))
    }
}

/// Pictures before and after, of each what the judges say on average.
fn judged(before: &[Rgb], after: &[Rgb], judges: &[Judge<'_>]) -> Result<HeldOut, EngineError> {
    let (mut gained, mut sum, mut elsewhere) = (0, 0.0, 0.0);
    let of_all = judges.len().max(1) as f64;
    for (before, after) in before.iter().zip(after) {
        let (mut way, mut aside) = (0.0, 0.0);
        for judge in judges {
            let (progress, elsewhere) = judge.judge(before, after)?;
            way += progress;
            aside += elsewhere;
        }
        gained += usize::from(way / of_all >= GAINED);
        sum += way / of_all;
        elsewhere += aside / of_all;
    }
    let count = before.len().max(1) as f64;
    let inside = judges.first().map(|judge| &judge.inside);
    Ok(HeldOut {
        pictures: before.len(),
        gained: gained as f64 / count,
        progress: sum / count,
        elsewhere: elsewhere / count,
        consistency: inside.and_then(|inside| consistency(before.iter().zip(after), inside)),
    })
}

/// How alike pictures change: the mean cosine of the changes of each two over weighted pixels; one that
/// does not change is like no other. None of fewer than two.
///
/// - `pictures`: of one size, before and after
pub(crate) fn consistency<'a>(
    pictures: impl ExactSizeIterator<Item = (&'a Rgb, &'a Rgb)>,
    weights: &[f32],
) -> Option<f64> {
    let count = pictures.len();
    if count < 2 {
        return None;
    }
    let mut sum = Vec::new();
    let mut changed = 0.0;
    for (before, after) in pictures {
        let channels = before.pixels().len() / weights.len().max(1);
        sum.resize(before.pixels().len(), 0.0);
        let pixels = before.pixels().iter().zip(after.pixels()).enumerate();
        let change = pixels.map(|(index, (before, after))| {
            let weight = f64::from(weights[index / channels]).sqrt();
            weight * (f64::from(*after) - f64::from(*before))
        });
        let change: Vec<f64> = change.collect();
        let norm = change.iter().map(|value| value * value).sum::<f64>().sqrt();
        if norm > 0.0 {
            changed += 1.0;
            for (sum, value) in sum.iter_mut().zip(change) {
                *sum += value / norm;
            }
        }
    }
    // ‖Σ u‖² is the cosine of each with each, and of each that changed with itself.
    let each = sum.iter().map(|value| value * value).sum::<f64>() - changed;
    Some(each / (count * (count - 1)) as f64)
}

/// The lowest and the highest strength, from 0 on, down to and up to which each step goes on with the
/// change, and changes less elsewhere than where it was meant; standing still is no damage.
///
/// - `strengths`: the lowest first, as far down as up
/// - `spill`: at each, as [`RoundTrip::spill`] tells it
pub(crate) fn valid(strengths: &[f64], progress: &[f64], spill: &[f64]) -> [f64; 2] {
    let zero = at(strengths, 0.0);
    let is_good = |from: usize, to: usize| {
        let way = (progress[to] - progress[from]) * strengths[to].signum();
        let aside = spill[to] - spill[from];
        way > -STANDSTILL && aside <= way.abs() + STANDSTILL
    };
    let up = (zero + 1..strengths.len()).take_while(|to| is_good(to - 1, *to));
    let down = (0..zero).rev().take_while(|to| is_good(to + 1, *to));
    [down.last(), up.last()].map(|last| strengths[last.unwrap_or(zero)])
}

/// Coefficient of variation of the steps between neighbouring strengths, each for one unit of strength;
/// none where there are none.
pub(crate) fn unevenness(strengths: &[f64], steps: &[f64]) -> Option<f64> {
    let gaps = strengths.windows(2).map(|pair| pair[1] - pair[0]);
    let steps: Vec<f64> = steps
        .iter()
        .zip(gaps)
        .map(|(step, gap)| step / gap)
        .collect();
    let count = steps.len() as f64;
    let mean = steps.iter().sum::<f64>() / count;
    let variance = steps.iter().map(|step| (step - mean).powi(2)).sum::<f64>() / count;
    (mean > 0.0).then(|| variance.sqrt() / mean)
}

/// Measures how well a copier copies: `1 - MAE(sample, A) / MAE(base sample, A)`, mean over
/// pictures of prompts that have nothing to do with A.
pub(crate) struct CopyFidelity<'a> {
    base: &'a Base,
    asked: Vec<Asked<'a>>,
}

/// Pictures of one size.
struct Asked<'a> {
    request: SampleRequest,
    /// What a copier draws for each.
    originals: Vec<&'a Rgb>,
    /// MAE of each without a copier.
    without: Vec<f64>,
}

impl<'a> CopyFidelity<'a> {
    /// - `asked`: pictures of a size, and what a copier draws for each
    pub async fn new(
        base: &'a Base,
        asked: Vec<(SampleRequest, Vec<&'a Rgb>)>,
        rest: &mut impl Rest,
    ) -> Result<Self, EngineError> {
        let mut measured = Vec::with_capacity(asked.len());
        for (request, originals) in asked {
            let pictures = sample(base, &request, &LoraStack::none(), rest).await?;
            let without = pictures
                .iter()
                .zip(&originals)
                .map(|(picture, original)| mae(picture.pixels(), original.pixels()))
                .collect::<Result<_, _>>()?;
            measured.push(Asked {
                request,
                originals,
                without,
            });
        }
        let asked = measured;
        Ok(Self { base, asked })
    }

    pub async fn of(&self, copier: &LoraNetwork, rest: &mut impl Rest) -> Result<f64, EngineError> {
        let stack = LoraStack::none().with(copier, 1.0);
        let (mut sum, mut count) = (0.0, 0);
        for asked in &self.asked {
            let pictures = sample(self.base, &asked.request, &stack, rest).await?;
            count += pictures.len();
            let compared = asked.originals.iter().zip(&asked.without);
            for (picture, (original, without)) in pictures.iter().zip(compared) {
                sum += 1.0 - mae(picture.pixels(), original.pixels())? / without;
            }
        }
        Ok(sum / count as f64)
    }
}

/// How the change grows with the level; nothing where there is one level.
///
/// - `progress`: of each example that was measured, with its level
pub(crate) fn graded(mut progress: Vec<(f64, f64)>) -> Option<Graded> {
    progress.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let of_level = progress.chunk_by(|(a, _), (b, _)| a == b);
    let mean = |values: &mut dyn ExactSizeIterator<Item = f64>| {
        let count = values.len() as f64;
        values.sum::<f64>() / count
    };
    let (levels, progress): (Vec<f64>, Vec<f64>) = of_level
        .map(|same| {
            (
                same[0].0,
                mean(&mut same.iter().map(|(_, progress)| *progress)),
            )
        })
        .unzip();
    if levels.len() < 2 {
        return None;
    }
    let deviation = deviation(&progress);
    Some(Graded {
        levels,
        progress,
        deviation,
        held_out: None,
    })
}

/// The largest difference from the mean, as a share of it.
fn deviation(progress: &[f64]) -> f64 {
    let mean = progress.iter().sum::<f64>() / progress.len() as f64;
    // Where nothing is done at any level, nothing is in proportion either.
    let unit = mean.abs().max(STANDSTILL);
    let away = progress
        .iter()
        .map(|progress| (progress - mean).abs() / unit);
    away.fold(0.0, f64::max)
}

/// `⟨now - before, goal - start⟩ / ‖goal - start‖²` over weighted pixels: the part of the change
/// from `start` to `goal` that lies between `before` and `now`.
pub(crate) fn progress(now: &Rgb, before: &Rgb, goal: &Rgb, start: &Rgb, weights: &[f32]) -> f64 {
    let channels = now.pixels().len() / weights.len().max(1);
    let (mut along, mut whole) = (0.0, 0.0);
    for (index, (((now, before), goal), start)) in now
        .pixels()
        .iter()
        .zip(before.pixels())
        .zip(goal.pixels())
        .zip(start.pixels())
        .enumerate()
    {
        let weight = f64::from(weights[index / channels]);
        let meant = f64::from(*goal) - f64::from(*start);
        along += weight * (f64::from(*now) - f64::from(*before)) * meant;
        whole += weight * meant * meant;
    }
    if whole > 0.0 { along / whole } else { 0.0 }
}

/// Pearson's correlation; 0 where either side does not vary.
pub(crate) fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        xy += (x - mean_x) * (y - mean_y);
        xx += (x - mean_x).powi(2);
        yy += (y - mean_y).powi(2);
    }
    if xx * yy > 0.0 {
        xy / (xx * yy).sqrt()
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_0_at_the_start_1_at_the_goal_and_grows_beyond() {
        let grey = |value| Rgb::filled(2, 2, [value; 3]);
        let (start, goal) = (grey(100), grey(140));
        let at = |value| progress(&grey(value), &start, &goal, &start, &[1.0; 4]);
        assert_eq!(
            [at(100), at(120), at(140), at(180), at(60)],
            [0.0, 0.5, 1.0, 2.0, -1.0],
            "a line"
        );
    }

    #[test]
    fn held_out_pictures_are_judged_by_several_examples() {
        let row = |values: [u8; 2]| {
            let pixels = values.into_iter().flat_map(|value| [value; 3]).collect();
            Rgb::new(2, 1, pixels).expect("two pixels")
        };
        // One example brightens the left pixel by 40, the other by 80.
        let (original, small, large) = (row([0, 0]), row([40, 0]), row([80, 0]));
        let judge = |target| Judge {
            original: &original,
            target,
            inside: vec![1.0, 0.0],
            outside: vec![0.0, 1.0],
        };
        let (before, after) = ([row([100, 9])], [row([140, 15])]);
        let by = |judges: &[Judge<'_>]| judged(&before, &after, judges).expect("one size");
        let one = by(&[judge(&small)]);
        assert_eq!((one.progress, one.gained, one.elsewhere), (1.0, 1.0, 6.0));
        let both = by(&[judge(&small), judge(&large)]);
        assert_eq!(both.progress, 0.75, "all of one, half of the other");
        assert_eq!((both.gained, both.elsewhere), (1.0, 6.0), "as before");
        let never = row([255, 0]);
        let far = by(&[judge(&never), judge(&never)]);
        assert_eq!(far.gained, 0.0, "40 of 255 is too little");
    }

    #[test]
    fn pictures_that_change_alike_are_consistent() {
        let of = |values: [u8; 3]| Rgb::new(1, 1, values.to_vec()).expect("a pixel");
        let told = |after: &[[u8; 3]]| {
            let before = vec![of([100; 3]); after.len()];
            let after: Vec<Rgb> = after.iter().map(|values| of(*values)).collect();
            consistency(before.iter().zip(&after), &[1.0])
        };
        let is = |told: Option<f64>, wanted: f64, why: &str| {
            let told = told.expect(why);
            assert!((told - wanted).abs() < 1e-12, "{why}: {told}");
        };
        is(
            told(&[[110, 100, 100], [150, 100, 100]]),
            1.0,
            "more or less of it",
        );
        is(
            told(&[[110, 100, 100], [90, 100, 100]]),
            -1.0,
            "the opposite",
        );
        let three = [[110, 100, 100], [100, 110, 100], [110, 110, 100]];
        is(
            told(&three),
            2.0_f64.sqrt() / 3.0,
            "cosines of 0, √½ and √½",
        );
        is(
            told(&[[110, 100, 100], [100; 3]]),
            0.0,
            "one does not change",
        );
        assert_eq!(told(&[[110, 100, 100]]), None, "like what?");
        let before = [row_of(&[0, 0]), row_of(&[0, 0])];
        let after = [row_of(&[9, 3]), row_of(&[9, 200])];
        let inside = consistency(before.iter().zip(&after), &[1.0, 0.0]);
        is(inside, 1.0, "where the change was meant");
    }

    fn row_of(values: &[u8]) -> Rgb {
        let pixels = values.iter().flat_map(|value| [*value; 3]).collect();
        Rgb::new(values.len() as u32, 1, pixels).expect("a row")
    }

    #[test]
    fn a_range_is_valid_until_something_is_damaged() {
        let progress = [-0.5, -0.4, -0.2, 0.0, 0.5, 1.0, 1.8];
        let of = |progress: &[f64], spill: &[f64]| valid(&STRENGTHS, progress, spill);
        let none = [0.0; 7];
        assert_eq!(of(&progress, &none), [-2.0, 2.0], "nothing is");
        let mut falls = progress;
        falls[6] = 0.7;
        let told = of(&falls, &none);
        assert_eq!(told, [-2.0, 1.0], "2 takes back some of the change");
        let spills = [0.1, 0.1, 0.0, 0.0, 0.0, 0.7, 0.8];
        let told = of(&progress, &spills);
        assert_eq!(told, [-2.0, 0.5], "1 changes more elsewhere");
        let below = [0.9, 0.1, 0.0, 0.0, 0.1, 0.2, 0.3];
        assert_eq!(of(&progress, &below), [-1.0, 2.0], "-2 does");
        let at_once = [9.0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0];
        let told = of(&progress, &at_once);
        assert_eq!(told, [0.0, 2.0], "no strength below 0 is without it");
        assert_eq!(of(&none, &none), [-2.0, 2.0], "standing still is no damage");
        let three = valid(&THREE_STRENGTHS, &[-1.0, 0.0, 1.0], &[0.0; 3]);
        assert_eq!(three, [-1.0, 1.0], "as far as was tried");
    }

    #[test]
    fn equal_steps_are_even() {
        let even = [4.0, 2.0, 2.0, 2.0, 2.0, 4.0];
        let told = unevenness(&STRENGTHS, &even).expect("steps");
        assert!(told < 1e-12, "each as large as its gap: {told}");
        let told = unevenness(&THREE_STRENGTHS, &[1.0, 3.0]);
        assert_eq!(told, Some(0.5), "2 on average, give or take 1");
        assert_eq!(unevenness(&STRENGTHS, &[0.0; 6]), None, "there are none");
    }

    #[test]
    fn strength_1_is_where_the_scores_look_for_it() {
        for strengths in [&STRENGTHS[..], &FIVE_STRENGTHS, &THREE_STRENGTHS] {
            assert_eq!(
                strengths[at(strengths, 1.0)],
                1.0,
                "gain and spill are those of strength 1"
            );
            assert_eq!(strengths[at(strengths, 0.0)], 0.0, "where nothing is drawn");
        }
    }

    #[test]
    fn correlation_tells_a_line_from_a_flat_curve() {
        let line: Vec<f64> = STRENGTHS.iter().map(|s| 3.0 * s + 1.0).collect();
        assert!(
            (correlation(&STRENGTHS, &line) - 1.0).abs() < 1e-12,
            "a line"
        );
        assert_eq!(correlation(&STRENGTHS, &[2.0; 7]), 0.0, "no change at all");
    }
}
