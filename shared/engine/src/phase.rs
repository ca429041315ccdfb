//! The phases of a job, in order.

use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{Method, Scores};
use mimeo_train::Objective;

use crate::artifact::{Artifact, LoadedLora, Outcome, file_from_network, is_untrained};
use crate::base::Base;
use crate::budget::{Plan, Wanted};
use crate::calibrate::Calibration;
use crate::control::{Control, Directive, PassStep, Within};
use crate::error::EngineError;
use crate::event::{Event, Phase};
use crate::job::PreparedJob;
use crate::leak::Meter;
use crate::pass::{Drawing, TrainedCopier};
use crate::sample::SampleRequest;
use crate::score::{Effort, RoundTrip, SCORE_SEED, held_out};
use crate::session::{Session, Streams};
use crate::slider::{Extent, Prompted};
use crate::state::TrainingState;

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
    let with_timesteps;
    let mut session = match &prompted {
        // What the base drew is no news.
        Some(prompted) => Session::new(base, &prompted.job, &mut |_| ())?,
        None => Session::new(base, job, control)?,
    };
    let recipe = &job.recipe;
    let measured = job.held_out_prompts.iter().map(String::as_str);
    let trained = match &prompted {
        Some(_) => recipe.slider.prompts().map(String::as_str).collect(),
        None => vec![session.shown.prompt(recipe)],
    };
    for prompt in trained.into_iter().chain(measured) {
        for text in base.prompt_notes(prompt, recipe.prompt_syntax)? {
            control.emit(Event::Note { text });
        }
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
        session.prompt_under(&copier.network)?;
    }

    if recipe.auto_timesteps {
        let known = saved
            .as_ref()
            .filter(|saved| saved.phase() == Phase::Training);
        let window = match known.and_then(TrainingState::timesteps) {
            Some(window) => window,
            None => {
                let copier = copier.as_ref().map(|copier| &copier.network);
                let below = copier.map(|network| LoraStack::none().with(network, 1.0));
                session.respond(&below.unwrap_or_default(), control).await?
            }
        };
        with_timesteps = job.with_timesteps(window);
        session.job = &with_timesteps;
    }

    let objective = match (recipe.method, &copier, &prompted) {
        (Method::Copier, Some(copier), _) => Objective::Difference {
            copier: &copier.network,
        },
        (Method::Addift, _, _) => Objective::Addift(&recipe.addift),
        (Method::Slider, _, Some(prompted)) => Objective::Slider(&prompted.slider),
        _ => Objective::Plain,
    };
    let meter = match &prompted {
        Some(prompted) => prompted.meter(base, control).await?,
        None => Meter::of_pair(&session, control).await?,
    };
    let training = session.train(objective, copier.as_ref(), meter, saved, control);
    let mut ended = Box::pin(training).await?;
    let mut network = ended.network;
    // What changes nothing is no result, however it came about.
    if is_untrained(&file_from_network(base, &network).await?) {
        if ended.outcome == Outcome::Finished {
            let reason = format!(
                "after {} steps the LoRA still changes nothing, so it is not kept. Raise the learning rate, or shorten the warm-up.",
                ended.step
            );
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
            let fidelity = copier.as_ref().and_then(|copier| copier.fidelity);
            let measured = session.measure(network, fidelity, control);
            (network, scores) = Box::pin(measured).await?;
        }
    }

    control.emit(Event::Phase {
        phase: Phase::Saving,
        total: None,
    });
    let pass = (&session.job.recipe.pass, ended.step);
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
    let session = Session::new(base, job, control)?;
    session.score(network, Effort::FULL, control).await
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
    let session = Session::new(base, job, control)?;
    let (_, scores) = session.measure(network, None, control).await?;
    Ok(scores)
}

impl Session<'_> {
    /// Calibrates the strength and measures the result.
    async fn measure(
        &self,
        mut network: LoraNetwork,
        copy_fidelity: Option<f64>,
        control: &mut impl Control,
    ) -> Result<(LoraNetwork, Option<Scores>), EngineError> {
        let recipe = &self.job.recipe;
        let wanted = Wanted {
            calibration: recipe.calibrate,
            prompts: self.job.held_out_prompts.len(),
        };
        let plan = Plan::new(recipe, wanted);
        if let Some(text) = plan.told_of_small(recipe, wanted) {
            control.emit(Event::Note { text });
        }
        let mut calibrated_strength = 1.0;
        if let Some(effort) = plan.calibration {
            let total = Some(effort.denoising_steps());
            control.emit(Event::Phase {
                phase: Phase::Calibrating,
                total,
            });
            let mut rest = Within::counted(control);
            let prompt = (self.shown.prompt(recipe), recipe.prompt_syntax);
            let calibration =
                Calibration::new(self.base, effort, &self.scene, prompt, &mut rest).await?;
            calibrated_strength = calibration.best_strength(&network, &mut rest).await?;
            network = network.scaled(calibrated_strength);
        }
        let Some(effort) = plan.scores else {
            return Ok((network, None));
        };
        let scores = self.score(&network, effort, control).await?;
        let scores = scores.map(|scores| Scores {
            copy_fidelity,
            calibrated_strength,
            ..scores
        });
        Ok((network, scores))
    }

    /// Measures a network at strength 1.
    ///
    /// None when the user stopped: whoever does has a finished LoRA and does not want to wait.
    async fn score(
        &self,
        network: &LoraNetwork,
        effort: Effort,
        control: &mut impl Control,
    ) -> Result<Option<Scores>, EngineError> {
        if control.at_rest(None).await? == Directive::Stop {
            return Ok(None);
        }
        let (base, scene) = (self.base, &self.scene);
        let prompts = self.job.held_out_prompts.iter().cloned().zip(SCORE_SEED..);
        let request = SampleRequest {
            size: scene.size(),
            syntax: self.job.recipe.prompt_syntax,
            ..SampleRequest::new(base, prompts.collect())
        };
        let request = effort.held_out(request);
        let total = effort.round_trip_steps() + effort.held_out_steps(base, &request)?;
        control.emit(Event::Phase {
            phase: Phase::Scoring,
            total: Some(total),
        });
        let mut rest = Within::counted(control);
        let trip = RoundTrip::new(base, scene, effort, &mut rest).await?;
        if rest.stop_requested {
            return Ok(None);
        }
        let redrawn = trip.redraw_strengths(network, &mut rest).await?;
        if rest.stop_requested {
            return Ok(None);
        }
        let at_one = trip.at(1.0);
        Ok(Some(Scores {
            edit_gain: trip.edit_gain(&redrawn[at_one])?,
            spill: trip.spill(&redrawn[at_one])?,
            held_out: held_out(base, &request, effort, network, scene, &mut rest).await?,
            linearity: trip.linearity(&redrawn)?,
            copy_fidelity: None,
            calibrated_strength: 1.0,
        }))
    }

    /// The copier that the job had finished before it was interrupted.
    fn saved_copier(&self, saved: &TrainingState) -> Option<TrainedCopier> {
        let fresh = self.fresh_network(&self.job.recipe.copier.pass, Streams::COPIER);
        let (network, steps) = saved.copier(&fresh, self.base.device())?;
        Some(TrainedCopier {
            network,
            steps,
            fidelity: saved.watch().fidelity,
            trained: true,
        })
    }

    async fn save_copier_only(
        &self,
        copier: TrainedCopier,
        outcome: Outcome,
    ) -> Result<Artifact, EngineError> {
        let copier = self.copier_file(&copier.network, copier.steps).await?;
        if is_untrained(&copier) {
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
