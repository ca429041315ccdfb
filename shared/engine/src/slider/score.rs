//! What a slider does, in numbers, on prompts and noise that it was not trained on.
//!
//! There is no pair to be compared with; but what the two prompts' difference does to a picture is
//! known: the base draws it with `w η (ε_θ(x, c₊, t) - ε_θ(x, c₋, t))` added to every answer, which is
//! what the student was taught. So progress is 1 where the LoRA takes a picture as far as the prompts
//! themselves do at strength 1, and a good slider is at w for every strength w.

use mimeo_image::{Rgb, mae};
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{HeldOut, Linearity, Recipe, Scores};
use mimeo_train::NoiseRng;

use super::{Prompted, Prompts};
use crate::base::Base;
use crate::control::{Control, Directive, Within};
use crate::error::EngineError;
use crate::event::{Event, Phase};
use crate::rest::Rest;
use crate::sample::{STREAM, SampleRequest, sample, total_steps};
use crate::score::{self, GAINED, SCORE_SEED, STANDSTILL, progress};
use crate::states::Said;

/// Where the prompts themselves change less, of 255, there is nothing to measure by.
const NO_CHANGE: f64 = 1.0;

/// How much is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Effort {
    /// Held-out pictures at most, and as many of those that are to stay.
    pictures: usize,
    /// Steps of each.
    steps: usize,
    strengths: &'static [f64],
    /// Whether with the base's guidance; without, they cost half.
    is_guided: bool,
}

impl Effort {
    const fn guided(pictures: usize, steps: usize) -> Self {
        Self {
            pictures,
            steps,
            strengths: &score::STRENGTHS,
            is_guided: true,
        }
    }

    const fn unguided(pictures: usize, steps: usize, strengths: &'static [f64]) -> Self {
        Self {
            pictures,
            steps,
            strengths,
            is_guided: false,
        }
    }

    /// The most first.
    const ALL: [Self; 6] = [
        Self::guided(usize::MAX, 20),
        Self::guided(8, 12),
        Self::unguided(8, 10, &score::STRENGTHS),
        Self::unguided(6, 10, &score::FIVE_STRENGTHS),
        Self::unguided(4, 8, &score::FIVE_STRENGTHS),
        Self::LEAST,
    ];
    const LEAST: Self = Self::unguided(2, 8, &score::THREE_STRENGTHS);

    /// The most that is within the recipe's budget; none where nothing is.
    pub fn within(recipe: &Recipe, prompts: usize) -> Option<Self> {
        let calls = recipe.score_calls().unwrap_or(u64::MAX);
        let mut efforts = Self::ALL.into_iter();
        efforts.find(|effort| prompts > 0 && effort.calls(recipe, prompts) <= calls)
    }

    /// Calls of the UNet, of one picture each.
    fn calls(self, recipe: &Recipe, prompts: usize) -> u64 {
        let answers = if self.is_guided { 2 } else { 1 };
        let pictures = self.pictures.min(prompts);
        // What is aimed at takes the two prompts as well; and of what is drawn without the LoRA
        // strength 0 is one.
        let drawn = answers * self.strengths.len() + answers + 2;
        let kept = match recipe.slider.keep.is_empty() {
            true => 0,
            false => 2 * answers,
        };
        (pictures * self.steps * (drawn + kept)) as u64
    }

    /// What to say about a budget that is too small for what is wanted; nothing where it is switched
    /// off.
    pub fn told_of_small(recipe: &Recipe, prompts: usize) -> Option<String> {
        if prompts == 0 || !recipe.is_measured() || Self::within(recipe, prompts).is_some() {
            return None;
        }
        let needs = Self::LEAST.calls(recipe, prompts);
        let share = needs as f64 / recipe.training_calls() as f64;
        let share = (share * 100.0).ceil() / 100.0;
        Some(format!(
            "The score budget is too small to measure with. That takes {needs} calls of the UNet: train longer, or give it {share} (--score-budget)."
        ))
    }
}

/// Held-out pictures at every strength, and what the prompts make of them.
struct Drawn {
    /// Without the change.
    before: Vec<Rgb>,
    /// With the prompts' own.
    goals: Vec<Rgb>,
    /// With the LoRA, at each strength.
    after: Vec<Vec<Rgb>>,
}

impl Prompted {
    /// Measures a LoRA as its recipe says; none when nobody asks for it, or the user stopped.
    ///
    /// # Errors
    /// [`EngineError`] when a prompt cannot be read or the device fails.
    pub async fn measure(
        &self,
        base: &Base,
        network: &LoraNetwork,
        control: &mut impl Control,
    ) -> Result<Option<Scores>, EngineError> {
        let (recipe, prompts) = (&self.job.recipe, self.job.measured_prompts().len());
        if let Some(text) = Effort::told_of_small(recipe, prompts) {
            control.emit(Event::Note { text });
        }
        match Effort::within(recipe, prompts) {
            Some(effort) => self.score(base, network, effort, control).await,
            None => Ok(None),
        }
    }

    /// As [`Self::measure`], whatever it takes.
    ///
    /// # Errors
    /// As there.
    pub async fn measure_fully(
        &self,
        base: &Base,
        network: &LoraNetwork,
        control: &mut impl Control,
    ) -> Result<Option<Scores>, EngineError> {
        self.score(base, network, Effort::ALL[0], control).await
    }

    async fn score(
        &self,
        base: &Base,
        network: &LoraNetwork,
        effort: Effort,
        control: &mut impl Control,
    ) -> Result<Option<Scores>, EngineError> {
        if control.at_rest(None).await? == Directive::Stop {
            return Ok(None);
        }
        let keep = &self.job.recipe.slider.keep;
        let prompts = self.job.measured_prompts().iter().take(effort.pictures);
        let pictures: Vec<_> = prompts.cloned().zip(SCORE_SEED..).collect();
        let kept = keep
            .iter()
            .cycle()
            .take(if keep.is_empty() { 0 } else { pictures.len() });
        let kept: Vec<_> = kept.cloned().zip(SCORE_SEED..).collect();
        let steps = |pictures: &Vec<(String, u64)>| {
            total_steps(base, &self.request(base, effort, pictures.clone()))
        };
        let at_strengths = effort.strengths.len() as u32 * steps(&pictures)?;
        let goals = (pictures.len() * effort.steps) as u32;
        control.emit(Event::Phase {
            phase: Phase::Scoring,
            total: Some(at_strengths + goals + 2 * steps(&kept)?),
        });
        let mut rest = Within::counted(control);
        let drawn = self
            .draw_held_out(base, network, effort, pictures, &mut rest)
            .await?;
        if rest.stop_requested {
            return Ok(None);
        }
        let elsewhere = match kept.is_empty() {
            true => 0.0,
            false => {
                let request = self.request(base, effort, kept);
                let without = sample(base, &request, &LoraStack::none(), &mut rest).await?;
                let with = LoraStack::none().with(network, 1.0);
                mean_change(&without, &sample(base, &request, &with, &mut rest).await?)?
            }
        };
        drawn.scores(effort.strengths, elsewhere).map(Some)
    }

    fn request(&self, base: &Base, effort: Effort, pictures: Vec<(String, u64)>) -> SampleRequest {
        let usual = SampleRequest::new(base, pictures);
        SampleRequest {
            size: self.size(),
            syntax: self.job.recipe.prompt_syntax,
            steps: effort.steps,
            guidance: if effort.is_guided {
                usual.guidance
            } else {
                1.0
            },
            ..usual
        }
    }

    async fn draw_held_out(
        &self,
        base: &Base,
        network: &LoraNetwork,
        effort: Effort,
        pictures: Vec<(String, u64)>,
        rest: &mut impl Rest,
    ) -> Result<Drawn, EngineError> {
        let request = self.request(base, effort, pictures);
        let mut after = Vec::with_capacity(effort.strengths.len());
        for strength in effort.strengths {
            let lora = LoraStack::none().with(network, *strength);
            after.push(sample(base, &request, &lora, rest).await?);
        }
        let (width, height) = request.size;
        let shape = base.latent_shape(width, height);
        let mut goals = Vec::with_capacity(request.pictures.len());
        for (prompt, seed) in &request.pictures {
            let prompts = self
                .prompts
                .of(base, prompt, &self.job.recipe, request.size)
                .await?;
            let noise = NoiseRng::new(*seed, STREAM).normal(shape, base.device());
            let guidance = request.guidance;
            let goal = prompts.draw(base, &noise, (effort.steps, guidance), 1.0, rest);
            goals.extend(base.decode(goal.await?, rest).await?);
        }
        Ok(Drawn {
            before: after[score::at(effort.strengths, 0.0)].clone(),
            goals,
            after,
        })
    }
}

impl Prompts {
    /// The same change, of another prompt's pictures.
    async fn of(
        &self,
        base: &Base,
        prompt: &str,
        recipe: &Recipe,
        size: (u32, u32),
    ) -> Result<Self, EngineError> {
        let neutral = self.neutral.conditioning.clone();
        Ok(Self {
            neutral: Said::new(base, recipe, prompt, size).await?,
            original: Some(self.original.clone().unwrap_or(neutral)),
            target: self.target.clone(),
            keep: Vec::new(),
            empty: self.empty.clone(),
            eta: self.eta,
            batch: self.batch,
        })
    }
}

impl Drawn {
    fn scores(&self, strengths: &[f64], elsewhere: f64) -> Result<Scores, EngineError> {
        let every = vec![
            1.0;
            self.before
                .first()
                .map_or(0, |picture| picture.pixels().len() / 3)
        ];
        let mut meant = Vec::new();
        for (before, goal) in self.before.iter().zip(&self.goals) {
            meant.push(mae(before.pixels(), goal.pixels())?);
        }
        // A picture that has the change by itself tells nothing.
        let told: Vec<usize> = (0..meant.len())
            .filter(|index| meant[*index] >= NO_CHANGE)
            .collect();
        let count = told.len().max(1) as f64;
        let (mut gains, mut ways) = (Vec::new(), Vec::new());
        let mut gained = 0;
        for (strength, after) in strengths.iter().zip(&self.after) {
            let (mut gain, mut way) = (0.0, 0.0);
            for index in &told {
                let (before, goal) = (&self.before[*index], &self.goals[*index]);
                let now = &after[*index];
                let went = progress(now, before, goal, before, &every);
                gained += usize::from(*strength == 1.0 && went >= GAINED);
                gain += 1.0 - mae(now.pixels(), goal.pixels())? / meant[*index];
                way += went;
            }
            gains.push(gain / count);
            ways.push(way / count);
        }
        let whole = told.iter().map(|index| meant[*index]).sum::<f64>() / count;
        let mut steps = Vec::new();
        for pair in self.after.windows(2) {
            steps.push(mean_change(&pair[0], &pair[1])?);
        }
        let at_one = score::at(strengths, 1.0);
        let changed = told
            .iter()
            .map(|index| (&self.before[*index], &self.after[at_one][*index]));
        Ok(Scores {
            edit_gain: gains[at_one],
            spill: elsewhere / whole.max(NO_CHANGE),
            held_out: HeldOut {
                pictures: self.before.len(),
                gained: gained as f64 / count,
                progress: ways[at_one],
                elsewhere,
                consistency: score::consistency(changed, &every),
            },
            graded: None,
            style: None,
            linearity: Linearity {
                monotone: ways.windows(2).all(|pair| pair[1] > pair[0] - STANDSTILL),
                correlation: score::correlation(strengths, &ways),
                edit_gain: gains,
                // What else changes is asked of other prompts, at strength 1 only.
                valid: None,
                unevenness: score::unevenness(strengths, &steps),
                progress: ways,
            },
            copy_fidelity: None,
            calibrated_strength: 1.0,
        })
    }
}

/// Of 255, over all pictures.
fn mean_change(before: &[Rgb], after: &[Rgb]) -> Result<f64, EngineError> {
    let mut sum = 0.0;
    for (before, after) in before.iter().zip(after) {
        sum += mae(before.pixels(), after.pixels())?;
    }
    Ok(sum / before.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{Method, ModelSize, ScoreBudget};

    use super::*;

    fn recipe(budget: Option<f64>) -> Recipe {
        let mut recipe = Recipe::preset(Method::Slider, ModelSize::Small);
        recipe.slider.target = "glasses".to_owned();
        recipe.score_budget = budget.map(ScoreBudget::constant);
        recipe
    }

    #[test]
    fn what_is_drawn_is_within_the_budget_and_grows_with_it() {
        let mut last = 0;
        for share in [0.05, 0.1, 0.3, 1.0, 3.0, 100.0] {
            let recipe = recipe(Some(share));
            let calls = Effort::within(&recipe, 8).map_or(0, |effort| effort.calls(&recipe, 8));
            assert!(calls <= recipe.score_calls().expect("a limit"), "{share}");
            assert!(calls >= last, "{calls} after {last}");
            last = calls;
        }
        assert_eq!(
            Effort::within(&recipe(None), 8),
            Some(Effort::ALL[0]),
            "no limit"
        );
        assert_eq!(Effort::within(&recipe(None), 0), None, "no prompts");
        assert!(
            Effort::within(&recipe(Some(0.3)), 8).is_some(),
            "the preset"
        );
    }

    #[test]
    fn a_slider_that_does_what_its_prompts_do_has_all_of_the_progress() {
        let picture = |value: u8| Rgb::filled(4, 4, [value; 3]);
        let drawn = Drawn {
            before: vec![picture(100), picture(50)],
            goals: vec![picture(140), picture(50)],
            after: [60, 100, 140]
                .map(|value| vec![picture(value), picture(50)])
                .to_vec(),
        };
        let scores = drawn
            .scores(&[-1.0, 0.0, 1.0], 10.0)
            .expect("pictures of one size");
        assert_eq!(scores.linearity.progress, [-1.0, 0.0, 1.0], "in proportion");
        assert!(scores.linearity.monotone, "and rising");
        assert_eq!(
            (scores.edit_gain, scores.held_out.gained),
            (1.0, 1.0),
            "all of it"
        );
        assert_eq!(scores.spill, 0.25, "of a change of 40");
        assert_eq!(scores.held_out.pictures, 2, "one of which had it already");
    }
}
