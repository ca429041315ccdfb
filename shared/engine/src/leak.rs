//! The leak meter: what a LoRA does, while it is trained, to pictures that it is not trained on.
//!
//! Before training the base draws some pictures of held-out prompts, sees them through noise of its own,
//! and says what it takes for the clean picture. A reading asks it the same with the LoRA at strength 1, which is one
//! answer a picture and no drawing. What moved is compared with the change that was meant: along it
//! where it belongs, and anywhere else ([`LeakPoint`]). Later the scores tell the same of finished
//! pictures; the meter tells it in time.
//!
//! Its noise has a stream of its own, so a run that is only watched makes the LoRA that it makes alone.

use burn::tensor::{Tensor, TensorData};
use mimeo_diffusion::{Conditioning, Guidance};
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{LeakPoint, Recipe};
use mimeo_train::NoiseRng;

use crate::base::{Base, read_back};
use crate::change::{LEAST, Meant};
use crate::control::{Control, Within};
use crate::error::EngineError;
use crate::event::{Emit, Event};
use crate::rest::Rest;
use crate::sample::foresee;
use crate::session::Session;

/// Stream of the recipe's seed for the pictures and their noise.
pub(crate) const STREAM: u64 = 0x6c;
/// Where pictures are asked about, of 1000: one where shapes are still open, one where they are not.
const TIMESTEPS: [usize; 2] = [750, 450];
/// How many of so many steps of drawing a picture are done; of the rest is foreseen what they lead to.
pub(crate) const DRAWING: (usize, usize) = (6, 10);
/// Pictures, the most first.
const PICTURES: [usize; 5] = [8, 6, 4, 3, 2];
/// The latent's pixels around the mask in which a change is neither meant nor damage: other pictures
/// have theirs in other places.
const AROUND: usize = 1;

/// After this share of the steps, ...
const EARLY: f64 = 0.25;
/// ... less of the change than this is none.
const NO_EFFECT: f32 = 0.05;
/// Readings with less than this share of the most of the change that was read are too early to be judged:
/// strength cannot make up for more.
const ENOUGH: f32 = 0.5;
/// Of readings that leak hardly more than the one that leaks least, the latest is the best: its learning
/// rate was lower.
const AS_GOOD: f32 = 1.05;
/// A reading that leaks so much more than the one that leaks least is no chance.
const WORSE: f32 = 1.2;
/// So many of them in a row end the pass, if the recipe lets them.
const PATIENCE: usize = 2;

/// How often is measured, and on how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub pictures: usize,
    pub every: u32,
}

/// What a picture takes, in calls of the UNet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Once.
    pub made: usize,
    /// For each reading.
    pub read: usize,
}

impl Cost {
    /// Of a pair's job.
    pub const OF_PAIR: Self = Self {
        made: DRAWING.0 + TIMESTEPS.len(),
        read: TIMESTEPS.len(),
    };
}

impl Plan {
    /// The most that is within what the recipe gives the meter; readings become rarer before there are
    /// fewer than two pictures. None where it is off, or there is too little for one reading.
    pub fn new(recipe: &Recipe, cost: Cost) -> Option<Self> {
        let (every, calls) = (recipe.leak.every?.get(), recipe.leak_calls()?);
        let steps = recipe.pass.steps.get();
        let fits = |plan: &Self| {
            let readings = steps.div_ceil(plan.every) as usize;
            (plan.pictures * (cost.made + readings * cost.read)) as u64 <= calls
        };
        let as_asked = PICTURES.map(|pictures| Self { pictures, every });
        let [.., fewest] = PICTURES;
        let rarer = (1..=steps.div_ceil(every)).map(|times| Self {
            pictures: fewest,
            every: every * times,
        });
        as_asked.into_iter().chain(rarer).find(fits)
    }

    /// What to say about a plan that is not as was asked.
    fn told(plan: Option<Self>, recipe: &Recipe) -> Option<String> {
        let asked = recipe.leak.every?.get();
        match plan {
            None => Some("This training is so short that a tenth of it is too little for the leak meter, so it stays off. Train longer.".to_owned()),
            Some(plan) if plan.every != asked => Some(format!(
                "The leak meter is read every {} steps instead of every {asked}, so that it takes no more than a tenth of the training.",
                plan.every
            )),
            Some(_) => None,
        }
    }
}

/// Pictures seen through one amount of noise, whose prompts are of one length.
pub(crate) struct Probe {
    /// `[pictures, channels, height, width]`
    pub noisy: Tensor<4>,
    pub timestep: usize,
    /// Of every picture.
    pub conditioning: Conditioning,
    /// What the base takes for the clean pictures: like `noisy`.
    pub clean: Tensor<4>,
    /// What a change is multiplied with to find how far it goes the way that was meant, summed up:
    /// of one picture or of each; none where nothing was meant.
    pub along: Option<Tensor<4>>,
    /// The same for the absolute values of change that was not meant, in units of that which was.
    pub elsewhere: Option<Tensor<4>>,
}

/// What the meter has told so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeakWatch {
    pub points: Vec<LeakPoint>,
    /// The weights of the best reading, if they are to be kept: `[values]`.
    pub best: Option<(u32, Tensor<1>)>,
}

/// The leak meter of one pass.
pub(crate) struct Meter {
    probes: Vec<Probe>,
    every: u32,
    steps: u32,
    keeps_best: bool,
    pub watch: LeakWatch,
}

/// Change that was not meant for each of that which was. Calibration sets the strength afterwards, so what
/// counts is not how much either is at this strength.
fn leak(point: &LeakPoint) -> f32 {
    if point.intended > 0.0 {
        point.unintended / point.intended
    } else {
        f32::INFINITY
    }
}

impl LeakWatch {
    /// Readings that can be judged.
    fn judged(points: &[LeakPoint]) -> impl DoubleEndedIterator<Item = &LeakPoint> {
        let most = points.iter().map(|point| point.intended);
        let enough = most.fold(0.0, f32::max) * ENOUGH;
        points.iter().filter(move |point| point.intended >= enough)
    }

    /// What the reading that leaks least leaks.
    fn least(points: &[LeakPoint]) -> f32 {
        Self::judged(points).map(leak).fold(f32::INFINITY, f32::min)
    }

    /// The reading with the best trade-off.
    fn best(points: &[LeakPoint]) -> Option<&LeakPoint> {
        let least = Self::least(points);
        let mut latest = Self::judged(points).rev();
        latest.find(|point| leak(point) <= least * AS_GOOD)
    }

    /// How many of the last readings leak more than the one that leaks least.
    fn falling(points: &[LeakPoint]) -> usize {
        let least = Self::least(points);
        let is_worse = |point: &&LeakPoint| leak(point) > least * WORSE;
        Self::judged(points).rev().take_while(is_worse).count()
    }

    /// What the last reading tells that none before it told.
    fn told(points: &[LeakPoint], steps: u32) -> Option<String> {
        let (last, before) = points.split_last()?;
        let percent = |share: f32| (share * 100.0).round();
        let is_early = |point: &LeakPoint| f64::from(point.step) < f64::from(steps) * EARLY;
        if !is_early(last) && before.iter().all(is_early) && last.intended < NO_EFFECT {
            return Some(format!(
                "No effect yet: after {} of {steps} steps, pictures that the LoRA is not trained on have {} % of the change. If that stays so, raise the learning rate.",
                last.step,
                percent(last.intended)
            ));
        }
        let had_begun = (1..=before.len()).any(|end| Self::falling(&points[..end]) > 0);
        if Self::falling(points) > 0 && !had_begun {
            let best = Self::best(points)?;
            let of_each = |point: &LeakPoint| percent(leak(point));
            return Some(format!(
                "Damage begins: for all of the change that pictures get after step {}, {} % of another comes along, and after step {} it was {} %. More steps may be too many.",
                last.step,
                of_each(last),
                best.step,
                of_each(best)
            ));
        }
        None
    }
}

impl Meter {
    /// The meter of a pair's job, if it has one: draws its pictures.
    pub async fn of_pair(
        session: &Session<'_>,
        control: &mut impl Control,
    ) -> Result<Option<Self>, EngineError> {
        if session.scene.is_alone {
            return Ok(None);
        }
        let recipe = &session.recipe;
        let Some(plan) = Self::plan(recipe, Cost::OF_PAIR, control) else {
            return Ok(None);
        };
        let rest = &mut Within::uncounted(control);
        let probes = probes_of_pair(session, plan.pictures, rest).await?;
        Ok(Some(Self::new(recipe, plan, probes)))
    }

    /// What is measured, and what is to be said about it.
    pub fn plan(recipe: &Recipe, cost: Cost, emit: &mut impl Emit) -> Option<Plan> {
        let plan = Plan::new(recipe, cost);
        if let Some(text) = Plan::told(plan, recipe) {
            emit.emit(Event::Note { text });
        }
        plan
    }

    /// A meter that has told nothing yet.
    pub fn new(recipe: &Recipe, plan: Plan, probes: Vec<Probe>) -> Self {
        Self {
            probes,
            every: plan.every,
            steps: recipe.pass.steps.get(),
            keeps_best: recipe.leak.stop_at_best,
            watch: LeakWatch::default(),
        }
    }

    /// Whether it is read after this step.
    pub const fn is_due(&self, step: u32) -> bool {
        step.is_multiple_of(self.every) || step == self.steps
    }

    /// Whether the recipe lets the pass end here: the best reading is some readings ago.
    pub fn is_past_its_best(&self) -> bool {
        self.keeps_best && LeakWatch::falling(&self.watch.points) >= PATIENCE
    }

    /// Reads it, and tells.
    ///
    /// - `values`: of the LoRA, `[values]`
    pub async fn read(
        &mut self,
        base: &Base,
        step: u32,
        (network, values): (&LoraNetwork, Tensor<1>),
        control: &mut impl Control,
    ) -> Result<(), EngineError> {
        let stack = LoraStack::none().with(network, 1.0);
        let (mut intended, mut unintended) = (Sum::default(), Sum::default());
        let mut rest = Within::uncounted(control);
        for probe in &self.probes {
            let Probe {
                noisy, timestep, ..
            } = probe;
            let [pictures, ..] = noisy.dims();
            let clean = base.pred_original_sample(noisy, *timestep, &probe.conditioning, &stack);
            let changed = clean - probe.clean.clone();
            if let Some(along) = &probe.along {
                intended.add((changed.clone() * along.clone()).sum(), pictures);
            }
            if let Some(elsewhere) = &probe.elsewhere {
                unintended.add((changed.abs() * elsewhere.clone()).sum(), pictures);
            }
            rest.rest().await?;
        }
        let point = LeakPoint {
            step,
            intended: intended.mean().await?,
            unintended: unintended.mean().await?,
        };
        control.emit(Event::Leak { point });
        self.watch.points.push(point);
        let points = &self.watch.points;
        if self.keeps_best && LeakWatch::best(points).is_some_and(|best| best.step == step) {
            self.watch.best = Some((step, values));
        }
        if let Some(text) = LeakWatch::told(points, self.steps) {
            control.emit(Event::Note { text });
        }
        Ok(())
    }
}

/// What pictures of several probes come to.
#[derive(Default)]
struct Sum {
    parts: Vec<Tensor<1>>,
    pictures: usize,
}

impl Sum {
    fn add(&mut self, part: Tensor<1>, pictures: usize) {
        self.parts.push(part);
        self.pictures += pictures;
    }

    /// Of a picture; 0 of none.
    async fn mean(self) -> Result<f32, EngineError> {
        if self.parts.is_empty() {
            return Ok(0.0);
        }
        let sum: f32 = read_back(Tensor::cat(self.parts, 0)).await?.iter().sum();
        Ok(sum / self.pictures as f32)
    }
}

/// Each prompt in turn until there are so many, by those that can be asked together: what is said of
/// them is of one length.
pub(crate) fn in_turn(said: &[Conditioning], count: usize) -> Vec<Conditioning> {
    let mut alike: Vec<Vec<Conditioning>> = Vec::new();
    for one in said.iter().cycle().take(count) {
        let same = |with: &&mut Vec<Conditioning>| with[0].tokens() == one.tokens();
        match alike.iter_mut().find(same) {
            Some(with) => with.push(one.clone()),
            None => alike.push(vec![one.clone()]),
        }
    }
    alike.into_iter().map(Conditioning::cat).collect()
}

/// Held-out pictures, or where no prompts of such are known, pictures of the pair's own prompt that have
/// nothing of A.
async fn probes_of_pair(
    session: &Session<'_>,
    pictures: usize,
    rest: &mut impl Rest,
) -> Result<Vec<Probe>, EngineError> {
    let (base, pair) = (session.base, &session.scene.pair);
    let [_, channels, height, width] = pair.original.dims();
    let mut rng = NoiseRng::new(session.recipe.seed, STREAM);
    let (prompts, syntax) = (session.asked_prompts(), session.recipe.prompt_syntax);
    let (size, own) = (session.scene.size(), LoraStack::none());
    let said = base.encode_prompts(&prompts, syntax, size, &own).await?;
    let (along, elsewhere) = weights(pair, [height, width]).await?;
    let mut probes = Vec::new();
    for conditioning in in_turn(&said, pictures) {
        let shape = [conditioning.batch(), channels, height, width];
        let guidance = Guidance::unguided(conditioning.clone());
        let start = rng.normal(shape, base.device());
        let drawn = foresee(base, &guidance, start, DRAWING, &LoraStack::none(), rest).await?;
        for timestep in timesteps(base) {
            let noise = rng.normal(shape, base.device());
            let rows = vec![timestep; conditioning.batch()];
            let noisy = base.schedule.add_noise(&drawn, &noise, &rows);
            let own = LoraStack::none();
            probes.push(Probe {
                clean: base.pred_original_sample(&noisy, timestep, &conditioning, &own),
                noisy,
                timestep,
                conditioning: conditioning.clone(),
                along: Some(along.clone()),
                elsewhere: elsewhere.clone(),
            });
            rest.rest().await?;
        }
    }
    Ok(probes)
}

impl Session<'_> {
    /// Prompts of pictures that the LoRA is not trained on. Where nobody wants scores, only the recipe may
    /// know some.
    fn asked_prompts(&self) -> Vec<String> {
        let known = [self.job.measured_prompts(), &self.recipe.held_out_prompts];
        let known = known.into_iter().find(|prompts| !prompts.is_empty());
        known.map_or_else(|| vec![self.scene.prompt.clone()], <[String]>::to_vec)
    }
}

/// [`TIMESTEPS`] of a base's schedule.
pub(crate) fn timesteps(base: &Base) -> [usize; TIMESTEPS.len()] {
    TIMESTEPS.map(|timestep| timestep * base.schedule.len() / 1000)
}

/// What weighs a change of a pair: `m Δz / Σ m Δz²`, and `o / Σ o / (Σ m |Δz| / Σ m)` with o what lies
/// outside of the mask and not beside it; none where nothing does.
async fn weights(
    pair: &mimeo_train::Pair,
    [height, width]: [usize; 2],
) -> Result<(Tensor<4>, Option<Tensor<4>>), EngineError> {
    let Meant { along, size } = Meant::of(pair);
    let mask = read_back(pair.mask.clone()).await?;
    let outside = outside(&mask, [height, width]);
    let area: f32 = outside.iter().sum();
    if area == 0.0 {
        return Ok((along, None));
    }
    let outside = TensorData::new(outside, [1, 1, height, width]);
    let outside = Tensor::from_data(outside, &pair.mask.device());
    let elsewhere = outside / (size.clamp_min(LEAST) * f64::from(area));
    Ok((along, Some(elsewhere)))
}

/// `1 - mask`, the mask grown by [`AROUND`] pixels.
pub(crate) fn outside(mask: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let near = |at: usize, side: usize| at.saturating_sub(AROUND)..(at + AROUND + 1).min(side);
    let grown = |row: usize, column: usize| {
        let rows = near(row, height);
        let values =
            rows.flat_map(|row| near(column, width).map(move |column| row * width + column));
        values.map(|index| mask[index]).fold(0.0_f32, f32::max)
    };
    let places = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
    places
        .map(|(row, column)| 1.0 - grown(row, column))
        .collect()
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{Method, ModelSize, Steps};

    use super::*;

    fn recipe(every: u32, steps: u32) -> Recipe {
        let mut recipe = Recipe::preset(Method::Addift, ModelSize::Small);
        recipe.pass.steps = Steps::constant(steps);
        recipe.leak.every = Some(Steps::constant(every));
        recipe
    }

    fn points(readings: &[(f32, f32)]) -> Vec<LeakPoint> {
        let points = readings.iter().zip(1..);
        points
            .map(|((intended, unintended), index)| LeakPoint {
                step: index * 10,
                intended: *intended,
                unintended: *unintended,
            })
            .collect()
    }

    #[test]
    fn the_meter_takes_no_more_than_a_tenth_of_the_training() {
        for (every, steps) in [(1, 120), (10, 120), (40, 120), (10, 60), (5, 5000), (7, 30)] {
            let recipe = recipe(every, steps);
            let Some(plan) = Plan::new(&recipe, Cost::OF_PAIR) else {
                let least = 2 * (Cost::OF_PAIR.made + Cost::OF_PAIR.read);
                assert!(least as u64 > recipe.training_calls() / 10, "{steps} steps");
                continue;
            };
            let readings = steps.div_ceil(plan.every) as usize;
            let cost = plan.pictures * (Cost::OF_PAIR.made + readings * Cost::OF_PAIR.read);
            assert!(cost as u64 * 10 <= recipe.training_calls(), "{plan:?}");
            assert!(
                plan.every.is_multiple_of(every),
                "at steps that were asked for"
            );
        }
        let long = Plan::new(&recipe(50, 5000), Cost::OF_PAIR).expect("a meter");
        assert_eq!((long.pictures, long.every), (8, 50), "as asked");
        assert_eq!(Plan::new(&recipe(10, 20), Cost::OF_PAIR), None, "too short");
    }

    #[test]
    fn no_effect_is_told_once_and_early() {
        let told = |readings: &[(f32, f32)]| LeakWatch::told(&points(readings), 80);
        assert_eq!(told(&[(0.0, 0.0)]), None, "too early to say");
        let words = told(&[(0.0, 0.0), (0.01, 0.0)]).expect("a quarter is over");
        assert!(
            words.starts_with("No effect yet: after 20 of 80 steps"),
            "{words}"
        );
        assert_eq!(told(&[(0.0, 0.0), (0.01, 0.0), (0.01, 0.0)]), None, "once");
        assert_eq!(told(&[(0.0, 0.0), (0.3, 0.0)]), None, "there is one");
    }

    #[test]
    fn damage_is_told_where_it_begins_and_ends_a_pass_where_it_stays() {
        let rising = [(0.2, 0.06), (0.6, 0.09), (0.8, 0.08)];
        let fallen = |more: &[(f32, f32)]| points(&[&rising, more].concat());
        assert_eq!(LeakWatch::told(&fallen(&[]), 80), None, "it grows");
        let words = LeakWatch::told(&fallen(&[(0.8, 0.3)]), 80).expect("damage");
        assert!(words.starts_with("Damage begins"), "{words}");
        assert!(words.contains("after step 40, 38 %"), "now: {words}");
        assert!(
            words.contains("after step 30 it was 10 %"),
            "the best: {words}"
        );
        let twice = fallen(&[(0.8, 0.3), (0.8, 0.4)]);
        assert_eq!(LeakWatch::told(&twice, 80), None, "once");
        assert_eq!(
            LeakWatch::falling(&fallen(&[(0.8, 0.3)])),
            1,
            "once may be chance"
        );
        assert_eq!(LeakWatch::falling(&twice), PATIENCE, "twice is none");
    }

    #[test]
    fn the_best_trade_off_does_not_depend_on_the_strength() {
        // As measured on glasses: the strength settles, the leak does not grow.
        let settled = points(&[(0.57, 0.17), (0.94, 0.18), (0.78, 0.13), (0.68, 0.115)]);
        assert_eq!(LeakWatch::falling(&settled), 0, "weaker is no worse");
        let best = LeakWatch::best(&settled).expect("a reading");
        assert_eq!(best.step, 40, "of two that are as good, the later");
        let early = points(&[(0.02, 0.0), (0.5, 0.1), (0.8, 0.16)]);
        let best = LeakWatch::best(&early).expect("a reading");
        assert_eq!(best.step, 30, "what does nothing leaks nothing");
        let nothing = points(&[(0.0, 0.0), (-0.1, 0.2)]);
        assert_eq!(LeakWatch::falling(&nothing), 0, "there is nothing to lose");
    }

    #[test]
    fn prompts_are_asked_in_turn_and_those_of_one_length_together() {
        let device = burn::tensor::Device::flex();
        let said = [1, 1, 2].map(|tokens| {
            let states = Tensor::<3>::ones([1, tokens, 4], &device);
            Conditioning::from(states)
        });
        let shapes = |count| {
            let alike = in_turn(&said, count);
            let shapes = alike.iter().map(|said| (said.batch(), said.tokens()));
            shapes.collect::<Vec<_>>()
        };
        assert_eq!(shapes(8), [(6, 1), (2, 2)], "three, three and two");
        assert_eq!(shapes(2), [(2, 1)], "no more than asked");
        assert_eq!(in_turn(&[], 8).len(), 0, "nothing to ask");
    }

    #[test]
    fn beside_the_mask_is_not_outside() {
        let mut mask = vec![0.0; 16];
        mask[5] = 1.0;
        let outside = outside(&mask, [4, 4]);
        let expected = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1].map(|far| far as f32);
        assert_eq!(outside, expected, "a pixel around it");
    }
}
