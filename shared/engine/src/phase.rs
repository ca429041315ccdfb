//! The phases of a job, in order.

use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{CopierKind, Graded, Method, Scores};
use mimeo_train::Objective;

use crate::artifact::{Artifact, LoadedLora, Outcome, file_from_network, is_untrained};
use crate::base::Base;
use crate::budget::{Plan, Wanted};
use crate::calibrate::{Calibration, Subjects};
use crate::control::{Control, Directive, PassStep, Within};
use crate::error::EngineError;
use crate::event::{Event, Phase};
use crate::job::PreparedJob;
use crate::leak::Meter;
use crate::memory::told_of;
use crate::pass::{Drawing, TrainedCopier};
use crate::sample::SampleRequest;
use crate::score::{Effort, RoundTrip, SCORE_SEED, TripMade, graded, held_out, levels};
use crate::session::{Scene, Session, Streams};
use crate::slider::{Extent, Prompted};
use crate::state::TrainingState;
use crate::style;

/// Trains one job on a loaded base.
///
/// The future is not to be dropped before its end (see [`crate::rest`]); `control` holds or ends it.
///
/// - `saved`: where to go on; a state of another job is ignored with a note
///
/// # Errors
/// [`EngineError`] when the job cannot be done at all. A run that was stopped, or whose loss broke
/// down, is an [`Artifact`] with that [`Outcome`] and what was trained until then.
pub async fn run(
    base: &Base,
    job: &PreparedJob,
    mut saved: Option<TrainingState>,
    control: &mut impl Control,
) -> Result<Artifact, EngineError> {
    let prompted = prompted(base, job, Extent::WHOLE, control).await?;
    let mut session = match &prompted {
        // What the base drew is no news.
        Some(prompted) => Session::new(base, &prompted.job, &mut |_| ()).await?,
        None => Session::new(base, job, control).await?,
    };
    if let Some(text) = told_of(job.recompute, base.shape().levels()) {
        control.emit(Event::Note { text });
    }
    let recipe = &job.recipe;
    let measured = job.measured_prompts().iter().map(String::as_str);
    let trained = match &prompted {
        Some(_) => recipe.slider.prompts().cloned().collect(),
        None => job.captions(),
    };
    for prompt in trained.iter().map(String::as_str).chain(measured) {
        for text in base.prompt_notes(prompt, recipe.prompt_syntax)? {
            control.emit(Event::Note { text });
        }
    }

    if job.makes_copier() {
        let training = session.train_copier(saved.take(), control);
        let (copier, outcome) = Box::pin(training).await?;
        control.emit(Event::Phase {
            phase: Phase::Saving,
            total: None,
        });
        let outcome = outcome.unwrap_or(Outcome::Finished);
        return session.save_copier_only(copier, outcome).await;
    }
    let mut copier = None;
    if recipe.method == Method::Copier {
        let finished = saved.as_ref().and_then(|saved| session.saved_copier(saved));
        copier = Some(match (&job.copier, finished) {
            (Some(given), _) => TrainedCopier {
                network: LoadedLora::new(base, &given.file, "the copier")?.network,
                steps: given.steps,
                fidelity: given.fidelity,
                trained: false,
            },
            (None, Some(finished)) => finished,
            (None, None) => match Box::pin(session.train_copier(saved.take(), control)).await? {
                (copier, None) => copier,
                (copier, Some(outcome)) => return session.save_copier_only(copier, outcome).await,
            },
        });
    }

    if let Some(copier) = &copier {
        session.prompt_under(&copier.network).await?;
    }

    if recipe.auto_timesteps && !session.scene.is_alone {
        let known = saved
            .as_ref()
            .filter(|saved| saved.phase() == Phase::Training);
        let window = match known.and_then(TrainingState::timesteps) {
            Some(window) => window,
            None => {
                let copier = copier.as_ref().map(|copier| &copier.network);
                let strength = recipe.copier.strength.get();
                let below = copier.map(|network| LoraStack::none().with(network, strength));
                session.respond(&below.unwrap_or_default(), control).await?
            }
        };
        session.recipe.pass.timesteps = window;
    }

    let objective = match (recipe.method, &copier, &prompted) {
        (Method::Copier, Some(copier), _) => Objective::Difference {
            copier: &copier.network,
            strength: recipe.copier.strength.get(),
        },
        (Method::Addift, _, _) => Objective::Addift(&recipe.addift),
        (Method::Slider, _, Some(prompted)) => Objective::Slider(&prompted.slider),
        _ => Objective::Plain,
    };
    let meter = match &prompted {
        Some(prompted) => prompted.meter(base, control).await?,
        None => Meter::of_pair(&session, control).await?,
    };
    let hold = match &prompted {
        // It keeps what its prompts say.
        Some(_) => None,
        None => session.hold(control).await?,
    };
    let held = (objective, hold.as_ref());
    let training = session.train(held, copier.as_ref(), meter, saved, control);
    let mut ended = Box::pin(training).await?;
    let mut network = ended.network;
    // What changes nothing is no result, however it came about.
    if is_untrained(&file_from_network(base, &network).await?) {
        if ended.outcome == Outcome::Finished {
            let reason = untrained(ended.step);
            ended.outcome = Outcome::Diverged { reason };
        }
        if let Some(copier) = copier.filter(|copier| copier.trained) {
            return session.save_copier_only(copier, ended.outcome).await;
        }
        return Err(nothing_to_keep(ended.outcome));
    }

    let mut scores = None;
    if ended.outcome == Outcome::Finished {
        if let Some(prompted) = &prompted {
            scores = Box::pin(prompted.measure(base, &network, control)).await?;
        } else {
            let measured = session.measure(network, copier.as_ref(), control);
            (network, scores) = Box::pin(measured).await?;
        }
    }

    control.emit(Event::Phase {
        phase: Phase::Saving,
        total: None,
    });
    let pass = (&session.recipe.pass, ended.step);
    let lora = session.lora_file(&network, pass, scores.as_ref()).await?;
    let copier = match copier.filter(|copier| copier.trained) {
        Some(copier) => Some(session.copier_file(&copier.network, copier.steps).await?),
        None => None,
    };
    if ended.outcome == Outcome::Finished
        && let Some(plan) = &job.previews
    {
        let place = PassStep {
            phase: Phase::Saving,
            step: ended.step,
            steps: ended.step,
        };
        let drawn = session.preview(place, &network, plan, Drawing::Whole, control);
        Box::pin(drawn).await?;
    }
    Ok(Artifact {
        lora: Some(lora),
        copier,
        scores,
        outcome: ended.outcome,
    })
}

/// What is wrong with a pass that came to its end.
fn untrained(steps: u32) -> String {
    format!(
        "after {steps} steps the LoRA still changes nothing, so it is not kept. Raise the learning rate, or shorten the warm-up."
    )
}

/// What the base draws for a job without pictures; none for one that has them.
pub(crate) async fn prompted(
    base: &Base,
    job: &PreparedJob,
    extent: Extent,
    control: &mut impl Control,
) -> Result<Option<Prompted>, EngineError> {
    if job.recipe.method.takes_pictures() {
        return Ok(None);
    }
    let drawn = Box::pin(Prompted::new(base, job, extent, control));
    drawn.await.map(Some)
}

/// Why a job ends without a result.
fn nothing_to_keep(outcome: Outcome) -> EngineError {
    match outcome {
        Outcome::Diverged { reason } => EngineError::NothingTrained { reason },
        Outcome::Finished | Outcome::Stopped { .. } => EngineError::StoppedBeforeTraining,
    }
}

/// Measures a finished LoRA on a pair, for `mimeo score`, whatever it takes: whoever asks for the
/// scores wants them. None when the user stopped.
///
/// # Errors
/// [`EngineError`] when the LoRA does not fit the base or the pictures cannot be used.
pub async fn score_file(
    base: &Base,
    job: &PreparedJob,
    network: &LoraNetwork,
    control: &mut impl Control,
) -> Result<Option<Scores>, EngineError> {
    if let Some(prompted) = prompted(base, job, Extent::LEAST, control).await? {
        return prompted.measure_fully(base, network, control).await;
    }
    let session = Session::new(base, job, control).await?;
    let copier = job.copier.as_ref();
    let copier = copier.map(|given| LoadedLora::new(base, &given.file, "the copier"));
    let copier = copier.transpose()?.map(|loaded| loaded.network);
    let style = copier.as_ref().map(|copier| (copier, style::Effort::FULL));
    let change = (!session.scene.is_alone).then(|| (Effort::FULL, session.measurable()));
    session.score(network, change, style, control).await
}

/// Calibrates and measures a LoRA as its recipe says, as a job does after training; none when the
/// user stopped.
///
/// # Errors
/// [`EngineError`] when the LoRA does not fit the base or the pictures cannot be used.
pub async fn measure_file(
    base: &Base,
    job: &PreparedJob,
    network: LoraNetwork,
    control: &mut impl Control,
) -> Result<Option<Scores>, EngineError> {
    if let Some(prompted) = prompted(base, job, Extent::LEAST, control).await? {
        return prompted.measure(base, &network, control).await;
    }
    let session = Session::new(base, job, control).await?;
    let (_, scores) = session.measure(network, None, control).await?;
    Ok(scores)
}

impl Session<'_> {
    /// Calibrates the strength and measures the result.
    ///
    /// - `copier`: upon which it was trained
    async fn measure(
        &self,
        mut network: LoraNetwork,
        copier: Option<&TrainedCopier>,
        control: &mut impl Control,
    ) -> Result<(LoraNetwork, Option<Scores>), EngineError> {
        let recipe = &self.recipe;
        let wanted = Wanted {
            calibration: recipe.calibrate,
            prompts: self.job.measured_prompts().len(),
            levels: self.levels(),
        };
        let plan = match self.scene.is_alone {
            true => Plan::NOTHING,
            false => Plan::new(recipe, &wanted),
        };
        let is_style = self.job.copier_kind() == CopierKind::Style;
        let style_copier = copier.filter(|_| is_style).map(|copier| &copier.network);
        let style = style_copier.and_then(|copier| {
            let left = recipe
                .score_calls()
                .map(|calls| calls - plan.calls(&wanted));
            let prompts = self.unnamed_prompts().len();
            Some((copier, style::Effort::within(left, prompts)?))
        });
        let told = match (self.scene.is_alone, style) {
            (true, None) => Some("Nothing was measured and the strength stays as it was trained, because pictures alone show no change.".to_owned()),
            (true, Some(_)) => Some("The strength stays as it was trained, because pictures alone show no change.".to_owned()),
            (false, _) => plan.told_of_small(recipe, &wanted),
        };
        if let Some(text) = told {
            control.emit(Event::Note { text });
        }
        let mut calibrated_strength = 1.0;
        if let Some(effort) = plan.calibration {
            let scenes = self.scenes(plan.examples);
            let parts = effort.parts(scenes.len()) as u32;
            let total = Some(effort.denoising_steps() * parts);
            control.emit(Event::Phase {
                phase: Phase::Calibrating,
                total,
            });
            let mut rest = Within::counted(control);
            let subjects = Subjects {
                prompts: &self.job.held_out_prompts,
                trigger: &recipe.trigger,
                syntax: recipe.prompt_syntax,
            };
            let calibration =
                Calibration::new(self.base, effort, &scenes, subjects, &mut rest).await?;
            calibrated_strength = calibration.best_strength(&network, &mut rest).await?;
            network = network.scaled(calibrated_strength);
        }
        let change = plan.scores.map(|effort| (effort, plan.examples));
        let scores = self.score(&network, change, style, control).await?;
        let scores = scores.map(|scores| Scores {
            copy_fidelity: copier.and_then(|copier| copier.fidelity),
            calibrated_strength,
            ..scores
        });
        Ok((network, scores))
    }

    /// Measures a network at strength 1.
    ///
    /// None when there is nothing to measure, or the user stopped: whoever does has a finished LoRA and
    /// does not want to wait.
    ///
    /// - `change`: how much is drawn for the change, and of how many examples
    /// - `style`: how much for the style, and the copier that draws it
    async fn score(
        &self,
        network: &LoraNetwork,
        change: Option<(Effort, usize)>,
        style: Option<(&LoraNetwork, style::Effort)>,
        control: &mut impl Control,
    ) -> Result<Option<Scores>, EngineError> {
        let nothing = change.is_none() && style.is_none();
        if nothing || control.at_rest(None).await? == Directive::Stop {
            return Ok(None);
        }
        let request = self.held_out_request();
        let mut total = 0;
        if let Some((effort, examples)) = change {
            let levels = levels(&self.scenes(examples)).len();
            total += effort.round_trip_steps()
                + effort.further_trip_steps() * (examples - 1) as u32
                + effort.held_out_steps(self.base, &effort.held_out(request.clone()), levels)?;
        }
        if let Some((_, effort)) = style {
            total += self.style_steps(effort)?;
        }
        control.emit(Event::Phase {
            phase: Phase::Scoring,
            total: Some(total),
        });
        let mut rest = Within::counted(control);
        let mut scores = None;
        if let Some((effort, examples)) = change {
            let request = effort.held_out(request);
            let measured = self.score_change(network, (effort, examples), &request, &mut rest);
            scores = measured.await?;
            if scores.is_none() {
                return Ok(None);
            }
        }
        if let Some((copier, effort)) = style {
            let measured = self.style_leak(network, copier, effort, &mut rest).await?;
            scores = match (scores, measured) {
                (Some(scores), style) => Some(Scores { style, ..scores }),
                (None, style) => style.map(Scores::of_style),
            };
        }
        Ok(scores)
    }

    /// What the LoRA does to the pair and to held-out pictures; none when the user stopped.
    ///
    /// - `request`: by [`Effort::held_out`]
    async fn score_change<C: Control>(
        &self,
        network: &LoraNetwork,
        (effort, examples): (Effort, usize),
        request: &SampleRequest,
        rest: &mut Within<'_, C>,
    ) -> Result<Option<Scores>, EngineError> {
        let (base, scene) = (self.base, &self.scene);
        let scenes = self.scenes(examples);
        let trip = RoundTrip::new(base, scene, effort, rest).await?;
        if rest.stop_requested {
            return Ok(None);
        }
        let redrawn = trip.redraw_strengths(network, rest).await?;
        if rest.stop_requested {
            return Ok(None);
        }
        let mut made = vec![trip.made(&redrawn[trip.at(1.0)])?];
        for scene in &scenes[1..] {
            let trip = RoundTrip::new(base, scene, effort, rest).await?;
            if rest.stop_requested {
                return Ok(None);
            }
            let redrawn = trip.redraw_level(network, rest).await?;
            if rest.stop_requested {
                return Ok(None);
            }
            made.push(trip.made(&redrawn)?);
        }
        let unseen = held_out(base, request, effort, network, &scenes, rest);
        let (held_out, grading) = unseen.await?;
        let graded = graded(
            made.iter()
                .map(|made| (made.level, made.progress))
                .collect(),
        );
        let mean = |of: fn(&TripMade) -> f64| made.iter().map(of).sum::<f64>() / made.len() as f64;
        Ok(Some(Scores {
            edit_gain: mean(|made| made.edit_gain),
            spill: mean(|made| made.spill),
            held_out,
            linearity: trip.linearity(&redrawn)?,
            copy_fidelity: None,
            calibrated_strength: 1.0,
            graded: graded.map(|graded| {
                Box::new(Graded {
                    held_out: grading,
                    ..graded
                })
            }),
            style: None,
        }))
    }

    /// Held-out pictures at the size of the example that is shown.
    fn held_out_request(&self) -> SampleRequest {
        let prompts = self
            .job
            .measured_prompts()
            .iter()
            .cloned()
            .zip(SCORE_SEED..);
        SampleRequest {
            size: self.scene.size(),
            syntax: self.recipe.prompt_syntax,
            ..SampleRequest::new(self.base, prompts.collect())
        }
    }

    /// The copier that the job had finished before it was interrupted.
    fn saved_copier(&self, saved: &TrainingState) -> Option<TrainedCopier> {
        let fresh = self.fresh_network(&self.recipe.copier.pass, Streams::COPIER);
        let (network, steps) = saved.copier(&fresh, self.base.device())?;
        Some(TrainedCopier {
            network,
            steps,
            fidelity: saved.watch().fidelity,
            trained: true,
        })
    }

    /// Examples that can be measured on.
    pub(crate) fn measurable(&self) -> usize {
        1 + self.other_scenes.len()
    }

    /// The level of each of them, in their order.
    fn levels(&self) -> Vec<f64> {
        let scenes = self.scenes(self.measurable());
        scenes.iter().map(|scene| scene.level).collect()
    }

    /// So many of them, the one that is shown first.
    pub(crate) fn scenes(&self, count: usize) -> Vec<&Scene> {
        let all = std::iter::once(&self.scene).chain(&self.other_scenes);
        all.take(count).collect()
    }

    async fn save_copier_only(
        &self,
        copier: TrainedCopier,
        outcome: Outcome,
    ) -> Result<Artifact, EngineError> {
        let steps = copier.steps;
        let copier = self.copier_file(&copier.network, copier.steps).await?;
        if is_untrained(&copier) {
            if outcome == Outcome::Finished {
                let reason = untrained(steps);
                return Err(EngineError::NothingTrained { reason });
            }
            return Err(nothing_to_keep(outcome));
        }
        Ok(Artifact {
            lora: None,
            copier: Some(copier),
            scores: None,
            outcome,
        })
    }
}
