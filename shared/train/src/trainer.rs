//! From a loss to optimiser steps.

use burn::tensor::Tensor;
use mimeo_diffusion::{Arithmetic, Recompute, Tape, Tuning};
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{AddiftRecipe, Pass};
use rayon::prelude::*;

use crate::addift::{self, Direction};
use crate::dataset::{Batch, Dataset, Row};
use crate::hold::{self, Hold};
use crate::loss::mean_total;
use crate::noise::{NoisePosition, NoiseRng};
use crate::optimizer::{AdamW, Moments, clip};
use crate::plain::{self, Student};
use crate::scale::LossScale;
use crate::slider::{self, Slider};
use crate::states::Rows;
use crate::{Model, copier, lr};

/// What the trained LoRA is to learn.
#[derive(Debug, Clone, Copy)]
pub enum Objective<'a> {
    /// All of the original: the copier itself.
    Copy,
    /// What the target adds to what a finished copier draws.
    Difference {
        /// The copier, frozen.
        copier: &'a LoraNetwork,
        /// How strongly it acts.
        strength: f64,
    },
    /// The target as it is.
    Plain,
    /// The teacher's difference.
    Addift(&'a AddiftRecipe),
    /// The difference of two prompts; it knows no pictures.
    Slider(&'a Slider),
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u32,
    /// Loss before the update.
    pub loss: f32,
    /// Norm of the gradient before clipping.
    pub grad_norm: f32,
    /// Learning rate of the update.
    pub learning_rate: f64,
}

/// A state that is not one of this pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this state is that of a LoRA with {found} values, and the job's has {expected}.")]
pub struct OtherPass {
    /// Values in the state.
    pub found: usize,
    /// Values of the job's LoRA.
    pub expected: usize,
}

/// Why a pass cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The loss is no number any more, or grew beyond recovery.
    #[error(
        "the loss {what} at step {step}, so training stopped; {kept}. Lower the learning rate.",
        kept = kept(*good_step)
    )]
    Diverged {
        /// What happened to the loss.
        what: &'static str,
        /// Step at which it was seen.
        step: u32,
        /// Step whose weights the trainer now holds; 0: those that nothing was trained into.
        good_step: u32,
    },
    /// The device failed while computing.
    #[error(
        "the device failed while training ({reason}). Free memory on it or choose another device."
    )]
    Device {
        /// What the device said.
        reason: String,
    },
}

fn kept(good_step: u32) -> String {
    match good_step {
        0 => "until then nothing was trained that is worth keeping".to_owned(),
        step => format!("the weights of step {step} are kept"),
    }
}

/// All that decides how a pass goes on: a [`Trainer`] that takes it makes the same steps, bit for
/// bit on the CPU.
#[derive(Debug, Clone)]
pub struct TrainerState {
    /// Steps done.
    pub step: u32,
    /// The LoRA: `[values]`.
    pub values: Tensor<1>,
    /// What the optimiser remembers.
    pub moments: Option<Moments>,
    /// Where the noise is.
    pub noise: NoisePosition,
    /// Timesteps of the last forward direction, which the reverse direction shares; for a slider, the
    /// states.
    pub forward_timesteps: Vec<usize>,
    /// How the loss went.
    pub health: HealthState,
    /// What the loss is multiplied with, where the gradients need it.
    pub loss_scale: Option<LossScale>,
}

/// What watching the loss remembers.
#[derive(Debug, Clone)]
pub struct HealthState {
    /// Running mean of the loss.
    pub mean: f32,
    /// Lowest running mean so far.
    pub lowest: f32,
    /// Step whose weights are kept.
    pub good_step: u32,
    /// The weights to go back to: `[values]`.
    pub good_values: Tensor<1>,
}

/// One pass over one LoRA.
pub struct Trainer<'a> {
    model: Model<'a>,
    dataset: Dataset<'a>,
    objective: Objective<'a>,
    pass: &'a Pass,
    hold: Option<&'a Hold>,
    recompute: Recompute,
    network: LoraNetwork,
    values: Tensor<1>,
    optimizer: AdamW,
    rng: NoiseRng,
    /// Timesteps of the last forward direction, which the reverse direction shares; for a slider, the
    /// states.
    forward_timesteps: Vec<usize>,
    step: u32,
    loss_scale: Option<LossScale>,
    /// Steps left out in a row.
    lost: u32,
    /// Steps whose losses are still on the device, in order.
    unread: Vec<Unread>,
    health: HealthState,
}

/// A step whose loss is still on the device.
struct Unread {
    /// Number of the step.
    step: u32,
    /// Loss and norm of the gradient, `[1]` each.
    numbers: [Tensor<1>; 2],
    learning_rate: f64,
    /// The loss of a model that knows nothing.
    total: f32,
    /// The weights that gave the loss, where they are to be kept if it is healthy.
    values: Option<Tensor<1>>,
}

impl<'a> Trainer<'a> {
    /// A pass that starts from `network`.
    #[must_use]
    pub fn new(
        model: Model<'a>,
        dataset: Dataset<'a>,
        objective: Objective<'a>,
        pass: &'a Pass,
        network: LoraNetwork,
        rng: NoiseRng,
    ) -> Self {
        let values = network.frozen().flatten();
        Self {
            model,
            dataset,
            objective,
            pass,
            hold: None,
            recompute: Recompute::NOTHING,
            optimizer: AdamW::new(pass.weight_decay.get()),
            rng,
            forward_timesteps: Vec::new(),
            step: 0,
            loss_scale: loss_scale(model, &values),
            lost: 0,
            unread: Vec::new(),
            health: HealthState::new(values.clone()),
            network,
            values,
        }
    }

    /// The same pass, held to itself as well.
    #[must_use]
    pub fn held_to(mut self, hold: Option<&'a Hold>) -> Self {
        self.hold = hold;
        self
    }

    /// The same pass, with less memory. It makes the same steps.
    #[must_use]
    pub const fn recomputing(mut self, recompute: Recompute) -> Self {
        self.recompute = recompute;
        self
    }

    /// The LoRA as trained so far.
    #[must_use]
    pub fn network(&self) -> LoraNetwork {
        self.network.with_values(&self.values)
    }

    /// Examples that the whole pass takes; both directions of [`Objective::Addift`] take the same.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let steps = u64::from(self.pass.steps.get());
        let steps = if self.takes_turns() {
            steps.div_ceil(2)
        } else {
            steps
        };
        let per_step =
            u64::from(self.pass.accumulation.get()) * u64::from(self.pass.batch_size.get());
        steps * per_step
    }

    /// Whether every other step trains the reverse direction.
    const fn takes_turns(&self) -> bool {
        matches!(self.objective, Objective::Addift(recipe) if recipe.antisymmetric)
    }

    /// Steps done, read or not.
    #[must_use]
    pub const fn steps_done(&self) -> u32 {
        self.step
    }

    /// Steps that nobody has read yet.
    #[must_use]
    pub const fn unread(&self) -> usize {
        self.unread.len()
    }

    /// What the pass has come to. All of it has to be read before ([`Self::read`]): a state says how the
    /// loss went.
    #[must_use]
    pub fn state(&self) -> TrainerState {
        TrainerState {
            step: self.step,
            values: self.values.clone(),
            moments: self.optimizer.moments(),
            noise: self.rng.position(),
            forward_timesteps: self.forward_timesteps.clone(),
            health: self.health.clone(),
            loss_scale: self.loss_scale.clone(),
        }
    }

    /// Goes on from where a pass of the same job had come to.
    ///
    /// # Errors
    /// [`OtherPass`] when the state is that of a LoRA with another number of values.
    pub fn resume(&mut self, state: TrainerState) -> Result<(), OtherPass> {
        let expected = self.values.dims();
        let moments = state.moments.iter();
        let moments = moments.flat_map(|moments| [&moments.first, &moments.second]);
        let vectors = [&state.values, &state.health.good_values];
        for vector in vectors.into_iter().chain(moments) {
            let ([found], [expected]) = (vector.dims(), expected);
            if found != expected {
                return Err(OtherPass { found, expected });
            }
        }
        self.step = state.step;
        self.values = state.values;
        self.optimizer.remember(state.moments);
        self.rng.seek(state.noise);
        self.forward_timesteps = state.forward_timesteps;
        self.unread.clear();
        self.health = state.health;
        // A state of another arithmetic says nothing of the scale, or what nobody asks.
        if self.loss_scale.is_some() && state.loss_scale.is_some() {
            self.loss_scale = state.loss_scale;
        }
        Ok(())
    }

    /// One optimiser update, read at once.
    ///
    /// # Errors
    /// As [`Self::read`] tells of.
    pub async fn step(&mut self) -> Result<StepReport, TrainError> {
        self.advance();
        let (mut reports, wrong) = self.read().await;
        match wrong {
            Some(wrong) => Err(wrong),
            None => Ok(reports.pop().unwrap_or_else(|| {
                unreachable!("a step was made");
            })),
        }
    }

    /// One optimiser update, without waiting for what it came to: on a GPU the next one can be prepared
    /// meanwhile.
    pub fn advance(&mut self) {
        let learning_rate = lr::learning_rate(self.pass, self.step);
        self.step += 1;

        let passes = self.pass.accumulation.get();
        let mut sum: Option<(Tensor<1>, Tensor<1>)> = None;
        let mut rows = Vec::new();
        for index in 0..passes {
            let (loss, gradient) = match self.objective {
                Objective::Slider(slider) => self.slide(slider),
                _ => {
                    let (direction, drawn) = self.draw(index);
                    let answer = self.loss_and_gradient(direction, &drawn);
                    rows.extend(drawn);
                    answer
                }
            };
            sum = Some(match sum {
                Some((losses, gradients)) => (losses + loss, gradients + gradient),
                None => (loss, gradient),
            });
        }
        let Some((loss, gradient)) = sum else {
            unreachable!("accumulation is at least 1")
        };
        let share = f64::from(passes).recip();
        let (mut loss, mut gradient) = (loss * share, gradient * share);
        if let Some(hold) = self.hold {
            let (held, its_gradient) = self.hold(hold);
            (loss, gradient) = (loss + held, gradient + its_gradient);
        }
        let (gradient, norm) = clip(gradient, self.pass.clip_norm);
        // A slider's loss is a mean already, and has no rows of examples.
        let total = match self.objective {
            Objective::Slider(_) => 1.0,
            _ => mean_total(rows.iter().map(|row| &row.example.weights)),
        } + self.hold.map_or(0.0, |hold| hold.weight as f32);
        self.unread.push(Unread {
            step: self.step,
            numbers: [loss, norm.clone()],
            learning_rate,
            total,
            values: HealthState::keeps(self.step).then(|| self.values.clone()),
        });
        let (values, optimizer) = (self.values.clone(), &mut self.optimizer);
        self.values = match &mut self.loss_scale {
            Some(scale) => {
                let is_lost = LossScale::is_lost(&norm);
                *scale = scale.after(&is_lost);
                optimizer.step_unless(&is_lost, learning_rate, values, gradient)
            }
            None => optimizer.step(learning_rate, values, gradient),
        };
    }

    /// What the steps that nobody has read yet came to, in one readback; and what is wrong, if anything is.
    ///
    /// That is [`TrainError::Diverged`], after which [`Self::network`] is the last good one and
    /// [`Self::steps_done`] the step it is of, or [`TrainError::Device`].
    pub async fn read(&mut self) -> (Vec<StepReport>, Option<TrainError>) {
        let unread = std::mem::take(&mut self.unread);
        let numbers = match numbers(&unread).await {
            Ok(numbers) => numbers,
            Err(reason) => return (Vec::new(), Some(TrainError::Device { reason })),
        };
        let mut reports = Vec::with_capacity(unread.len());
        for (made, [loss, grad_norm]) in unread.into_iter().zip(numbers) {
            let Unread {
                step,
                learning_rate,
                total,
                values,
                ..
            } = made;
            let is_lost = self.loss_scale.is_some() && !grad_norm.is_finite();
            self.lost = if is_lost { self.lost + 1 } else { 0 };
            // The step was left out, so its gradient did no harm.
            let norm = if is_lost && self.lost < LOST {
                0.0
            } else {
                grad_norm
            };
            let checked = self.health.check(step, loss / total, norm, values);
            if let Some(what) = checked {
                (self.step, self.values) = self.health.last_good();
                let good_step = self.step;
                let wrong = TrainError::Diverged {
                    what,
                    step,
                    good_step,
                };
                return (reports, Some(wrong));
            }
            reports.push(StepReport {
                step,
                loss,
                grad_norm,
                learning_rate,
            });
        }
        (reports, None)
    }

    /// The rows of a forward pass.
    ///
    /// - `index`: of the pass among those of the step
    fn draw(&mut self, index: u32) -> (Direction, Vec<Row<'a>>) {
        let batch = self.pass.batch_size.get() as usize;
        let takes_turns = self.takes_turns();
        let reverse = takes_turns && self.step.is_multiple_of(2);
        // Both directions take the same examples.
        let steps_before = u64::from(self.step - 1) >> u32::from(takes_turns);
        let passes_before = steps_before * u64::from(self.pass.accumulation.get());
        let first = (passes_before + u64::from(index)) * batch as u64;
        let rows = (first..).take(batch);
        let mut rows: Vec<Row<'a>> = rows
            .map(|row| self.dataset.row(row, &mut self.rng))
            .collect();
        let direction = if reverse {
            Direction::Reverse
        } else {
            self.forward_timesteps = self.rng.timesteps(self.pass.timesteps, batch);
            Direction::Forward
        };
        for (row, timestep) in rows.iter_mut().zip(&self.forward_timesteps) {
            row.timestep = *timestep;
        }
        (direction, rows)
    }

    /// Loss `[1]` and gradient `[values]` of a slider: of states that are changed, and beside them of as many that are
    /// kept, of each prompt in turn.
    fn slide(&mut self, slider: &Slider) -> (Tensor<1>, Tensor<1>) {
        let batch = self.pass.batch_size.get() as usize;
        let direction = if self.step.is_multiple_of(2) {
            Direction::Reverse
        } else {
            let states = slider.changed.timesteps.len();
            self.forward_timesteps = self.rng.spread(states, batch);
            Direction::Forward
        };
        let changed = Rows {
            states: &slider.changed,
            rows: self.forward_timesteps.clone(),
        };
        let mut wanted = vec![changed];
        if !slider.kept.is_empty() {
            let turn = (self.step - 1) / 2;
            let states = &slider.kept[turn as usize % slider.kept.len()];
            let rows = self.rng.spread(states.timesteps.len(), batch);
            wanted.push(Rows { states, rows });
        }
        let parts = wanted.iter().flat_map(|rows| rows.split(self.at_once()));
        let parts: Vec<_> = parts.collect();
        self.sum_of_parts(&parts, |model, part, lora| {
            let share = part.rows.len() as f64 / batch as f64;
            slider::loss(model, part, direction, lora) * share
        })
    }

    /// Loss `[1]` and gradient `[values]` of what the step is held to, its weight included.
    fn hold(&self, hold: &Hold) -> (Tensor<1>, Tensor<1>) {
        let count = self.pass.batch_size.get() as usize;
        let (rows, strength) = hold.rows(self.step, count);
        let parts: Vec<_> = rows.split(self.at_once()).collect();
        self.sum_of_parts(&parts, |model, part, lora| {
            let share = part.rows.len() as f64 / count as f64;
            hold::loss(model, part, &hold.outside, strength, lora) * (share * hold.weight)
        })
    }

    /// Loss `[1]` and gradient `[values]` of the LoRA as it is, the mean over the rows.
    ///
    /// - `rows`: at least one
    #[must_use]
    pub fn loss_and_gradient(
        &self,
        direction: Direction,
        rows: &[Row<'_>],
    ) -> (Tensor<1>, Tensor<1>) {
        let batches = Batch::of_rows(rows, self.at_once());
        self.sum_of_parts(&batches, |model, batch, lora| {
            let share = batch.draw.timesteps.len() as f64 / rows.len() as f64;
            self.loss(model, batch, direction, lora) * share
        })
    }

    /// Rows that go through the model together at most.
    fn at_once(&self) -> usize {
        Tuning::of(&self.values.device()).rows_per_task
    }

    /// Losses and gradients of parts of a batch, on all cores of a CPU.
    fn sum_of_parts<P: Sync>(
        &self,
        parts: &[P],
        loss: impl Fn(Model<'_>, &P, &LoraNetwork) -> Tensor<1> + Sync,
    ) -> (Tensor<1>, Tensor<1>) {
        let recomputes = self.recompute != Recompute::NOTHING;
        let arithmetic = self.model.unet.arithmetic();
        // One vector is cast instead of every factor.
        let values = arithmetic.of(self.values.clone());
        let part = |part: &P| {
            let lora = self.network.with_values(&values).trainable();
            let tape = recomputes.then(|| Tape::new(self.recompute));
            let model = Model {
                tape: tape.as_ref(),
                ..self.model
            };
            let loss = loss(model, part, &lora);
            let gradient = |loss: &Tensor<1>| {
                Arithmetic::F32.of(lora.flatten_gradients(&model.backward(loss)))
            };
            match &self.loss_scale {
                Some(scale) => {
                    let scaled = loss.clone() * scale.factor.clone();
                    (loss.inner(), gradient(&scaled) / scale.factor.clone())
                }
                None => (loss.clone().inner(), gradient(&loss)),
            }
        };
        let done: Vec<_> = match parts {
            [whole] => vec![part(whole)],
            // On a GPU they would only wait for each other.
            parts if self.at_once() == usize::MAX => parts.iter().map(part).collect(),
            parts => parts.par_iter().map(part).collect(),
        };
        let sum = done
            .into_iter()
            .reduce(|sum, part| (sum.0 + part.0, sum.1 + part.1));
        sum.unwrap_or_else(|| unreachable!("a batch has at least one row"))
    }

    fn loss(
        &self,
        model: Model<'_>,
        batch: &Batch,
        direction: Direction,
        lora: &LoraNetwork,
    ) -> Tensor<1> {
        let Batch {
            pair,
            weights,
            level,
            draw,
        } = batch;
        let gamma = self.pass.min_snr_gamma;
        let below = match self.objective {
            Objective::Difference { copier, strength } => LoraStack::none().with(copier, strength),
            _ => LoraStack::none(),
        };
        let student = Student {
            below: &below,
            lora,
            level: *level,
        };
        match self.objective {
            Objective::Copy => copier::copy_loss(model, pair, draw, lora, weights, gamma),
            Objective::Difference { .. } => {
                copier::difference_loss(model, pair, draw, student, weights, gamma)
            }
            Objective::Plain => {
                let (latent, prompt) = (&pair.target, &pair.conditioning);
                plain::loss(model, latent, prompt, draw, student, weights, gamma)
            }
            Objective::Addift(recipe) => {
                let recipe = (recipe, self.pass.timesteps);
                addift::loss(model, pair, draw, direction, student, weights, recipe)
            }
            Objective::Slider(_) => unreachable!("it has its own draw"),
        }
    }
}

/// The scale of a pass that begins, where the gradients of the model's arithmetic need one.
fn loss_scale(model: Model<'_>, values: &Tensor<1>) -> Option<LossScale> {
    let is_narrow = model.unet.arithmetic().is_narrow();
    is_narrow.then(|| LossScale::new(&values.device()))
}

/// Steps that may be left out in a row: the scale has come down to nothing by then.
const LOST: u32 = 24;

/// Loss and norm of each step, or what the device said.
async fn numbers(unread: &[Unread]) -> Result<Vec<[f32; 2]>, String> {
    if unread.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = unread.iter().flat_map(|made| made.numbers.clone());
    let numbers = Tensor::cat(numbers.collect(), 0).into_data_async().await;
    let numbers = numbers.map_err(|error| error.to_string())?;
    let numbers = numbers.try_to_vec::<f32>();
    let numbers = numbers.map_err(|error| format!("{error:?}"))?;
    let (numbers, _) = numbers.as_chunks();
    match numbers.len() == unread.len() {
        true => Ok(numbers.to_vec()),
        false => Err("two numbers a step were expected".to_owned()),
    }
}

/// Watches the loss, and keeps weights to go back to.
///
/// Noise and answers have unit variance, so a loss of 1 means "knows nothing" for every method. A
/// wrecked model stays there: its group norms bound what it can answer, so the loss never runs away.
impl HealthState {
    /// A running mean above this is that of a model that knows nothing, ...
    const KNOWS_NOTHING: f32 = 0.8;
    /// ... unless it never was much better: the lowest timesteps cost nearly 1 by nature.
    const WORSE: f32 = 3.0;
    /// Below this, weights are worth going back to.
    const HEALTHY: f32 = 0.5;
    /// No single loss counts for more, so that one bad draw is not taken for an explosion.
    const WORST: f32 = 2.0;
    /// Weights are kept every so many steps.
    const KEEP_EVERY: u32 = 10;

    const fn new(values: Tensor<1>) -> Self {
        Self {
            mean: 0.0,
            lowest: f32::INFINITY,
            good_step: 0,
            good_values: values,
        }
    }

    /// Whether the weights of a step may be kept.
    const fn keeps(step: u32) -> bool {
        step % Self::KEEP_EVERY == 1
    }

    /// What is wrong, if anything.
    ///
    /// - `values`: the weights that gave this loss, where they [may be kept](Self::keeps)
    fn check(
        &mut self,
        step: u32,
        loss: f32,
        norm: f32,
        values: Option<Tensor<1>>,
    ) -> Option<&'static str> {
        if !(loss.is_finite() && norm.is_finite()) {
            return Some("became no number");
        }
        let loss = loss.min(Self::WORST);
        // About five steps.
        self.mean = if step == 1 {
            loss
        } else {
            self.mean + (loss - self.mean) * 0.2
        };
        self.lowest = self.lowest.min(self.mean);
        if self.mean > Self::KNOWS_NOTHING && self.mean > self.lowest * Self::WORSE {
            return Some("exploded");
        }
        if let Some(values) = values
            && self.mean < Self::HEALTHY.max(self.lowest * 2.0)
        {
            self.good_step = step - 1;
            self.good_values = values;
        }
        None
    }

    fn last_good(&self) -> (u32, Tensor<1>) {
        (self.good_step, self.good_values.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn weights(value: f32) -> Tensor<1> {
        Tensor::from_floats([value], &Device::flex())
    }

    fn check(
        health: &mut HealthState,
        (step, loss, norm): (u32, f32, f32),
        value: f32,
    ) -> Option<&'static str> {
        let values = HealthState::keeps(step).then(|| weights(value));
        health.check(step, loss, norm, values)
    }

    fn kept(health: &HealthState) -> (u32, f32) {
        let (step, values) = health.last_good();
        (step, values.into_scalar())
    }

    #[test]
    fn a_loss_that_is_no_number_goes_back_to_the_last_good_weights() {
        let mut health = HealthState::new(weights(0.0));
        for step in 1..=25 {
            assert_eq!(
                check(&mut health, (step, 0.1, 1.0), step as f32),
                None,
                "step {step}"
            );
        }
        let wrong = check(&mut health, (26, f32::NAN, 1.0), 26.0);
        assert_eq!(wrong, Some("became no number"), "the loss is NaN");
        assert_eq!(
            kept(&health),
            (20, 21.0),
            "the weights that step 21 was computed with"
        );
    }

    #[test]
    fn a_loss_that_explodes_at_once_says_that_nothing_is_kept() {
        let diverged = |good_step| TrainError::Diverged {
            what: "exploded",
            step: 6,
            good_step,
        };
        assert_eq!(
            diverged(0).to_string(),
            "the loss exploded at step 6, so training stopped; until then nothing was trained that is worth keeping. Lower the learning rate.",
            "step 0 is no result"
        );
        let later = diverged(10).to_string();
        assert!(later.contains("the weights of step 10 are kept"), "{later}");
    }

    #[test]
    fn a_gradient_that_is_no_number_counts_as_well() {
        let mut health = HealthState::new(weights(0.0));
        let wrong = check(&mut health, (1, 0.1, f32::INFINITY), 1.0);
        assert_eq!(
            wrong,
            Some("became no number"),
            "the update would have ruined the weights"
        );
    }

    #[test]
    fn a_loss_that_stays_high_explodes_but_a_single_spike_does_not() {
        let mut health = HealthState::new(weights(0.0));
        for step in 1..=9 {
            assert_eq!(
                check(&mut health, (step, 0.1, 1.0), 1.0),
                None,
                "step {step}"
            );
        }
        assert_eq!(
            check(&mut health, (10, 20.0, 1.0), 2.0),
            None,
            "one bad draw is no explosion"
        );
        let wrong = (11..20).find_map(|step| check(&mut health, (step, 1.5, 1.0), 3.0));
        assert_eq!(
            wrong,
            Some("exploded"),
            "knowing nothing costs 1, this more"
        );
        assert_eq!(
            kept(&health),
            (0, 1.0),
            "weights of a bad loss are never kept"
        );
    }
}
