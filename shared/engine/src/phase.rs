//! The phases of a job, in order.

use burn::tensor::{Tensor, TensorData};
use mimeo_checkpoint::LoraFile;
use mimeo_image::{
    Difference, FittedPair, ImageError, LatentMask, Mask, MaskRemedy, MaskView, MaskWarning,
    PairWarning, Rgb, composite, fit_pair,
};
use mimeo_lora::LoraNetwork;
use mimeo_protocol::{MaskRecipe, Method, Pass, Scores};
use mimeo_train::{Objective, Pair};

use crate::artifact::{
    Artifact, LoadedLora, Outcome, Provenance, describe, file_from_network, is_untrained,
};
use crate::base::Base;
use crate::budget::{Plan, Wanted};
use crate::calibrate::Calibration;
use crate::error::EngineError;
use crate::event::{Control, Emit, Event, Phase};
use crate::job::PreparedJob;
use crate::pass::{Copier, Streams};
use crate::sample::SampleRequest;
use crate::score::{Effort, RoundTrip, held_out};
use crate::state::TrainingState;

/// Seed of the first picture of every measurement; users start at 0.
pub(crate) const SCORE_SEED: u64 = 7000;

/// Trains one job on a loaded base.
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
    emit: &mut impl Emit,
) -> Result<Artifact, EngineError> {
    let session = Session::new(base, job, emit)?;
    let recipe = &job.recipe;
    for text in base.prompt_notes(&recipe.prompt, recipe.prompt_syntax)? {
        emit.emit(Event::Note { text });
    }

    let mut copier = None;
    if recipe.method == Method::Copier {
        let finished = saved.as_ref().and_then(|saved| session.saved_copier(saved));
        copier = Some(match (&job.copier, finished) {
            (Some(given), _) => Copier {
                network: LoadedLora::new(base, &given.file, "the copier")?.network,
                steps: given.steps,
                fidelity: given.fidelity,
                trained: false,
            },
            (None, Some(finished)) => finished,
            (None, None) => match Box::pin(session.train_copier(saved.take(), control, emit))
                .await?
            {
                (copier, None) => copier,
                (copier, Some(outcome)) => return session.save_copier_only(copier, outcome).await,
            },
        });
    }

    let objective = match (recipe.method, &copier) {
        (Method::Copier, Some(copier)) => Objective::Difference {
            copier: &copier.network,
        },
        (Method::Addift, _) => Objective::Addift(&recipe.addift),
        _ => Objective::Plain,
    };
    let training = session.train(objective, copier.as_ref(), saved, control, emit);
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
        let fidelity = copier.as_ref().and_then(|copier| copier.fidelity);
        let measured = session.measure(network, fidelity, control, emit);
        (network, scores) = Box::pin(measured).await?;
    }

    emit.emit(Event::Phase {
        phase: Phase::Saving,
        total: None,
    });
    let pass = (&recipe.pass, ended.step);
    let lora = session.lora_file(&network, pass, scores.as_ref()).await?;
    let copier = match copier.filter(|copier| copier.trained) {
        Some(copier) => Some(session.copier_file(&copier.network, copier.steps).await?),
        None => None,
    };
    Ok(Artifact {
        lora: Some(lora),
        copier,
        scores,
        outcome: ended.outcome,
    })
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
    control: &impl Control,
    emit: &mut impl Emit,
) -> Result<Option<Scores>, EngineError> {
    let session = Session::new(base, job, emit)?;
    Box::pin(session.score(network, Effort::FULL, control, emit)).await
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
    control: &impl Control,
    emit: &mut impl Emit,
) -> Result<Option<Scores>, EngineError> {
    let session = Session::new(base, job, emit)?;
    let measured = session.measure(network, None, control, emit);
    let (_, scores) = Box::pin(measured).await?;
    Ok(scores)
}

/// A job on its base, with its pictures encoded.
pub(crate) struct Session<'a> {
    pub base: &'a Base,
    pub job: &'a PreparedJob,
    pub scene: Scene,
}

/// The job's pictures, ready for training and for measuring.
pub(crate) struct Scene {
    /// A and B at the base's size; B as it is trained, so composited where the recipe says so.
    pub original: Rgb,
    pub target: Rgb,
    pub mask: Mask,
    pub pair: Pair,
    /// Σ (1 - mask) over the latent.
    pub outside: f64,
}

impl Scene {
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.original.width(), self.original.height())
    }
}

fn encode(base: &Base, job: &PreparedJob, emit: &mut impl Emit) -> Result<Scene, EngineError> {
    emit.emit(Event::Phase {
        phase: Phase::Encoding,
        total: None,
    });
    let FittedPair {
        original,
        target,
        mask,
    } = fit_pair(
        &job.original,
        &job.target,
        job.mask.as_ref(),
        base.side_multiple(),
        base.native_side(),
    )?;
    let difference = Difference::between(&original, &target)?;
    if let Some(warning) = PairWarning::of(&original, &target, mask.as_ref())? {
        emit.emit(Event::Note {
            text: warning.to_string(),
        });
    }
    let mask = match mask {
        Some(mask) => {
            check_fitted(&mask, job)?;
            let view = MaskView::new(&difference.without_noise(), &mask)?;
            if let Some(text) = told_of_mask(&view) {
                emit.emit(Event::Note { text });
            }
            mask
        }
        None => {
            let mask = difference.suggested_mask();
            let share = mask.coverage() * 100.0;
            let text = format!(
                "No mask was given, so the LoRA learns where the pictures differ: {share:.0} % of them."
            );
            emit.emit(Event::Note { text });
            mask
        }
    };
    let target = match composite_feather(&job.recipe.mask) {
        Some(feather) => composite(&original, &target, &mask, feather)?,
        None => target,
    };
    // Compositing may have removed all that differed.
    Difference::between(&original, &target).map_err(|error| match error {
        ImageError::Identical => ImageError::SameInsideMask,
        other => other,
    })?;

    let latent_mask = LatentMask::new(&mask)?;
    let shape = [
        1,
        1,
        latent_mask.height as usize,
        latent_mask.width as usize,
    ];
    let outside = latent_mask
        .weights
        .iter()
        .map(|weight| 1.0 - f64::from(*weight))
        .sum();
    let pair = Pair {
        original: base.encode_picture(&original),
        target: base.encode_picture(&target),
        mask: Tensor::from_data(TensorData::new(latent_mask.weights, shape), base.device()),
        conditioning: base.encode_prompt(&job.recipe.prompt, job.recipe.prompt_syntax)?,
    };
    Ok(Scene {
        original,
        target,
        mask,
        pair,
        outside,
    })
}

/// A painted mask may be gone at the size of training, which is something else than a black file.
fn check_fitted(mask: &Mask, job: &PreparedJob) -> Result<(), ImageError> {
    let was_painted = job.mask.as_ref().is_some_and(|mask| !mask.is_empty());
    if mask.is_empty() && was_painted {
        let (width, height) = (mask.width(), mask.height());
        return Err(ImageError::MaskVanishes { width, height });
    }
    Ok(())
}

/// What is to be known of a mask before it is trained with; nothing of one that holds the change.
fn told_of_mask(view: &MaskView) -> Option<String> {
    /// Soft edges leave out less.
    const WORTH_TELLING: f64 = 0.05;
    if let Some(warning) = view.warning() {
        return Some(mask_note(&warning));
    }
    let share = view.left_out * 100.0;
    (view.left_out >= WORTH_TELLING)
        .then(|| format!("{share:.0} % of what differs lies outside the mask."))
}

/// What is wrong with a mask, with the option of `mimeo train` that mends it.
pub fn mask_note(warning: &MaskWarning) -> String {
    let option = match warning.remedy() {
        MaskRemedy::Stretch => " (--mask-from stretched)",
        MaskRemedy::Invert => " (--mask-from inverted)",
        MaskRemedy::MaskDifference => " (leave out --mask)",
        MaskRemedy::Grow => "",
    };
    let sentence = warning.to_string();
    format!("{}{option}.", sentence.trim_end_matches('.'))
}

fn composite_feather(recipe: &MaskRecipe) -> Option<u32> {
    recipe
        .composite
        .then(|| recipe.feather.get().round() as u32)
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        base: &'a Base,
        job: &'a PreparedJob,
        emit: &mut impl Emit,
    ) -> Result<Self, EngineError> {
        job.recipe.check()?;
        let scene = encode(base, job, emit)?;
        Ok(Self { base, job, scene })
    }

    /// Calibrates the strength and measures the result.
    async fn measure(
        &self,
        mut network: LoraNetwork,
        copy_fidelity: Option<f64>,
        control: &impl Control,
        emit: &mut impl Emit,
    ) -> Result<(LoraNetwork, Option<Scores>), EngineError> {
        let recipe = &self.job.recipe;
        let wanted = Wanted {
            calibration: recipe.calibrate,
            prompts: self.job.held_out_prompts.len(),
        };
        let plan = Plan::new(recipe, wanted);
        if let Some(text) = plan.told_of_small(recipe, wanted) {
            emit.emit(Event::Note { text });
        }
        let mut calibrated_strength = 1.0;
        if let Some(effort) = plan.calibration {
            let total = Some(effort.denoising_steps());
            emit.emit(Event::Phase {
                phase: Phase::Calibrating,
                total,
            });
            let mut tick = counter(emit);
            let calibration =
                Calibration::new(self.base, effort, &self.scene, recipe, &mut tick).await?;
            calibrated_strength = calibration.best_strength(&network, &mut tick).await?;
            network = network.scaled(calibrated_strength);
        }
        let Some(effort) = plan.scores else {
            return Ok((network, None));
        };
        let scores = Box::pin(self.score(&network, effort, control, emit)).await?;
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
        control: &impl Control,
        emit: &mut impl Emit,
    ) -> Result<Option<Scores>, EngineError> {
        if control.stop_requested() {
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
        emit.emit(Event::Phase {
            phase: Phase::Scoring,
            total: Some(total),
        });
        let mut tick = counter(emit);
        let Scene {
            original,
            target,
            mask,
            ..
        } = scene;
        let trip = RoundTrip::new(base, original, target, mask, effort, &mut tick).await?;
        if control.stop_requested() {
            return Ok(None);
        }
        let redrawn = trip.redraw_strengths(network, &mut tick).await?;
        if control.stop_requested() {
            return Ok(None);
        }
        let (at_one, pair) = (trip.at(1.0), (original, target));
        Ok(Some(Scores {
            edit_gain: trip.edit_gain(&redrawn[at_one])?,
            spill: trip.spill(&redrawn[at_one])?,
            held_out: held_out(base, &request, effort, network, pair, mask, tick).await?,
            linearity: trip.linearity(&redrawn)?,
            copy_fidelity: None,
            calibrated_strength: 1.0,
        }))
    }

    /// The copier that the job had finished before it was interrupted.
    fn saved_copier(&self, saved: &TrainingState) -> Option<Copier> {
        let fresh = self.fresh_network(&self.job.recipe.copier.pass, Streams::COPIER);
        let (network, steps) = saved.copier(&fresh, self.base.device())?;
        Some(Copier {
            network,
            steps,
            fidelity: saved.watch().fidelity,
            trained: true,
        })
    }

    /// The LoRA as a file with its provenance.
    ///
    /// - `pass`: how it was trained, and the steps done
    pub(crate) async fn lora_file(
        &self,
        network: &LoraNetwork,
        pass: (&Pass, u32),
        scores: Option<&Scores>,
    ) -> Result<LoraFile, EngineError> {
        let shows = &self.scene.target;
        self.file(network, &self.job.name, pass, scores, shows)
            .await
    }

    /// The same for the copier, which shows A.
    pub(crate) async fn copier_file(
        &self,
        network: &LoraNetwork,
        steps: u32,
    ) -> Result<LoraFile, EngineError> {
        let name = format!("{}_copy", self.job.name);
        let pass = (&self.job.recipe.copier.pass, steps);
        let shows = &self.scene.original;
        self.file(network, &name, pass, None, shows).await
    }

    async fn file(
        &self,
        network: &LoraNetwork,
        name: &str,
        (pass, steps): (&Pass, u32),
        scores: Option<&Scores>,
        shows: &Rgb,
    ) -> Result<LoraFile, EngineError> {
        let mut file = file_from_network(self.base, network).await?;
        let provenance = Provenance {
            name,
            recipe: &self.job.recipe,
            pass,
            steps,
            size: self.scene.size(),
            scores,
            pair: self.job.pair,
            shows,
        };
        describe(&mut file, self.base, &provenance)?;
        Ok(file)
    }

    async fn save_copier_only(
        &self,
        copier: Copier,
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

/// Reports one more unit of the phase's progress at every call.
fn counter(emit: &mut impl Emit) -> impl FnMut() {
    let mut done = 0;
    move || {
        done += 1;
        emit.emit(Event::Progress { done });
    }
}
