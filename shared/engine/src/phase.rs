//! The phases of a job, in order.

use burn::tensor::{Tensor, TensorData};
use mimeo_image::{
    Difference, FittedPair, LatentMask, Mask, PairWarning, Rgb, composite, fit_pair,
};
use mimeo_lora::LoraNetwork;
use mimeo_protocol::{MaskRecipe, Method, Pass, Recipe, Share};
use mimeo_train::loss::MaskWeights;
use mimeo_train::{NoiseRng, Objective, Pair, TrainError, Trainer};

use crate::artifact::{Artifact, LoadedLora, Outcome, Provenance, describe, file_from_network};
use crate::base::Base;
use crate::calibrate::Calibration;
use crate::error::EngineError;
use crate::event::{Control, Emit, Event, Phase};
use crate::job::TrainJob;
use crate::runtime::{self, Stopwatch};
use crate::sample::{SampleRequest, total_steps};
use crate::score::{
    AT_ONE, CopyFidelity, LINEARITY_STEPS, ROUND_TRIP_STEPS, RoundTrip, Scores, held_out,
};

/// Streams of the seed, so that no part of a job disturbs another's draws.
mod stream {
    pub const COPIER_WEIGHTS: u64 = 1;
    pub const COPIER_NOISE: u64 = 2;
    pub const WEIGHTS: u64 = 3;
    pub const NOISE: u64 = 4;
}

/// Prompts under which copy fidelity is measured: a copier draws A whatever it is asked for.
const UNRELATED_PROMPTS: [&str; 4] = ["a landscape", "a red car", "an old man", "a bowl of fruit"];
/// Seed of the first picture of every measurement; users start at 0.
const SCORE_SEED: u64 = 7000;

/// Trains one job on a loaded base.
///
/// # Errors
/// [`EngineError`] when the job cannot be done at all. A run that was stopped, or whose loss broke
/// down, is an [`Artifact`] with that [`Outcome`] and what was trained until then.
pub async fn run(
    base: &Base,
    job: &TrainJob,
    control: &impl Control,
    emit: &mut impl Emit,
) -> Result<Artifact, EngineError> {
    let scene = encode(base, job, emit)?;
    let recipe = &job.recipe;

    let mut copier = None;
    if recipe.method == Method::Copier {
        copier = Some(match &job.copier {
            Some(file) => Copier::reused(LoadedLora::new(base, file, "the copier")?.network),
            None => match train_copier(base, job, &scene, control, emit).await? {
                (copier, None) => copier,
                (copier, Some(outcome)) => {
                    return save_copier_only(base, job, &scene, copier, outcome).await;
                }
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
    let streams = (stream::WEIGHTS, stream::NOISE);
    let mut trainer = scene.trainer(base, recipe, objective, &recipe.pass, streams);
    let outcome = train(&mut trainer, Phase::Training, &recipe.pass, control, emit).await?;
    let mut network = trainer.network();
    if outcome.step == 0 {
        if let Some(copier) = copier.filter(|copier| copier.trained) {
            return save_copier_only(base, job, &scene, copier, outcome.outcome).await;
        }
        return Err(EngineError::StoppedBeforeTraining);
    }

    let mut scores = None;
    if outcome.outcome == Outcome::Finished {
        let fidelity = copier.as_ref().and_then(|copier| copier.fidelity);
        let measured = measure(base, job, &scene, network, fidelity, control, emit);
        (network, scores) = Box::pin(measured).await?;
    }

    emit.emit(Event::Phase {
        phase: Phase::Saving,
        total: None,
    });
    let size = scene.size();
    let mut lora = file_from_network(base, &network).await?;
    let provenance = Provenance {
        name: &job.name,
        recipe,
        pass: &recipe.pass,
        steps: outcome.step,
        size,
        scores: scores.as_ref(),
    };
    describe(&mut lora, base, &provenance);
    let copier = match copier.filter(|copier| copier.trained) {
        Some(copier) => Some(copier_file(base, job, &scene, &copier).await?),
        None => None,
    };
    Ok(Artifact {
        lora: Some(lora),
        copier,
        scores,
        outcome: outcome.outcome,
    })
}

/// The job's pictures, ready for training and for measuring.
struct Scene {
    /// A and B at the base's size; B as it is trained, so composited where the recipe says so.
    original: Rgb,
    target: Rgb,
    mask: Mask,
    pair: Pair,
    /// Σ (1 - mask) over the latent.
    outside: f64,
}

impl Scene {
    fn size(&self) -> (u32, u32) {
        (self.original.width(), self.original.height())
    }

    fn trainer<'a>(
        &'a self,
        base: &'a Base,
        recipe: &Recipe,
        objective: Objective<'a>,
        pass: &'a Pass,
        (weights, noise): (u64, u64),
    ) -> Trainer<'a> {
        let mut rng = NoiseRng::new(recipe.seed, weights);
        let (rank, alpha) = (pass.rank.get() as usize, pass.alpha.get());
        let network = LoraNetwork::new(base.unet.targets(), rank, alpha, rng.rng(), base.device());
        let noise = NoiseRng::new(recipe.seed, noise);
        let [_, channels, ..] = self.pair.original.dims();
        let weights = MaskWeights::new(&self.pair.mask, channels, self.outside, &recipe.mask);
        Trainer::new(
            base.model(),
            &self.pair,
            objective,
            pass,
            weights,
            network,
            noise,
        )
    }
}

fn encode(base: &Base, job: &TrainJob, emit: &mut impl Emit) -> Result<Scene, EngineError> {
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
    if let Some(warning) = PairWarning::of(&original, &target)? {
        emit.emit(Event::Note {
            text: warning.to_string(),
        });
    }
    let mask = match mask {
        Some(mask) => mask,
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
    Difference::between(&original, &target)?;

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
        conditioning: base.encode_prompts(&[&job.recipe.prompt])?,
    };
    Ok(Scene {
        original,
        target,
        mask,
        pair,
        outside,
    })
}

fn composite_feather(recipe: &MaskRecipe) -> Option<u32> {
    recipe
        .composite
        .then(|| recipe.feather.get().round() as u32)
}

/// A copier, trained by this job or given to it.
struct Copier {
    network: LoraNetwork,
    steps: u32,
    fidelity: Option<f64>,
    trained: bool,
}

impl Copier {
    const fn reused(network: LoraNetwork) -> Self {
        Self {
            network,
            steps: 0,
            fidelity: None,
            trained: false,
        }
    }
}

/// How a pass ended.
struct Ended {
    outcome: Outcome,
    step: u32,
}

/// Pass 1. The outcome is none when the copier is ready to be used.
async fn train_copier(
    base: &Base,
    job: &TrainJob,
    scene: &Scene,
    control: &impl Control,
    emit: &mut impl Emit,
) -> Result<(Copier, Option<Outcome>), EngineError> {
    let recipe = &job.recipe;
    let pass = &recipe.copier.pass;
    let steps = pass.steps.get();
    let streams = (stream::COPIER_WEIGHTS, stream::COPIER_NOISE);
    let mut trainer = scene.trainer(base, recipe, Objective::Copy, pass, streams);
    emit.emit(Event::Phase {
        phase: Phase::Copier,
        total: Some(steps),
    });
    let measure = CopyFidelity::new(base, &scene.original, fidelity_request(base, scene)).await?;

    let goal: Share = recipe.copier.fidelity_goal;
    let mut above = 0;
    let mut last = None;
    for step in 1..=steps {
        if control.stop_requested() {
            let outcome = Outcome::Stopped {
                phase: Phase::Copier,
                step: step - 1,
            };
            let copier = Copier {
                network: trainer.network(),
                steps: step - 1,
                fidelity: last,
                trained: true,
            };
            return Ok((copier, Some(outcome)));
        }
        if let Some(reason) = one_step(&mut trainer, Phase::Copier, steps, emit).await? {
            let outcome = Outcome::Diverged { reason };
            let copier = Copier {
                network: trainer.network(),
                steps: step,
                fidelity: last,
                trained: true,
            };
            return Ok((copier, Some(outcome)));
        }
        if step.is_multiple_of(recipe.copier.check_every.get()) || step == steps {
            let fidelity = measure.of(&trainer.network()).await?;
            emit.emit(Event::CopyFidelity { step, fidelity });
            last = Some(fidelity);
            // Once may be luck; it has to stay there.
            above = if fidelity >= goal.get() { above + 1 } else { 0 };
            if above == 2 || step == steps {
                let copier = Copier {
                    network: trainer.network(),
                    steps: step,
                    fidelity: last,
                    trained: true,
                };
                return Ok((copier, None));
            }
        }
    }
    unreachable!("the last step returns")
}

fn fidelity_request(base: &Base, scene: &Scene) -> SampleRequest {
    let pictures = UNRELATED_PROMPTS.iter().zip(SCORE_SEED..);
    let pictures = pictures.map(|(prompt, seed)| ((*prompt).to_owned(), seed));
    SampleRequest {
        size: scene.size(),
        // The copier is trained without guidance, which would exaggerate what prompts still change.
        guidance: 1.0,
        ..SampleRequest::new(base, pictures.collect())
    }
}

async fn train(
    trainer: &mut Trainer<'_>,
    phase: Phase,
    pass: &Pass,
    control: &impl Control,
    emit: &mut impl Emit,
) -> Result<Ended, EngineError> {
    let steps = pass.steps.get();
    emit.emit(Event::Phase {
        phase,
        total: Some(steps),
    });
    for step in 1..=steps {
        if control.stop_requested() {
            let step = step - 1;
            return Ok(Ended {
                outcome: Outcome::Stopped { phase, step },
                step,
            });
        }
        if let Some(reason) = one_step(trainer, phase, steps, emit).await? {
            return Ok(Ended {
                outcome: Outcome::Diverged { reason },
                step,
            });
        }
    }
    Ok(Ended {
        outcome: Outcome::Finished,
        step: steps,
    })
}

/// One step; the answer is why the loss broke down, if it did.
async fn one_step(
    trainer: &mut Trainer<'_>,
    phase: Phase,
    steps: u32,
    emit: &mut impl Emit,
) -> Result<Option<String>, EngineError> {
    let watch = Stopwatch::start();
    let report = match trainer.step().await {
        Ok(report) => report,
        Err(error @ TrainError::Diverged { .. }) => return Ok(Some(error.to_string())),
        Err(error @ TrainError::Device { .. }) => return Err(error.into()),
    };
    let (step, loss) = (report.step, report.loss);
    emit.emit(Event::Step {
        phase,
        step,
        steps,
        loss,
        secs: watch.secs(),
    });
    runtime::yield_now().await;
    Ok(None)
}

/// Calibrates the strength and measures the result.
async fn measure(
    base: &Base,
    job: &TrainJob,
    scene: &Scene,
    mut network: LoraNetwork,
    copy_fidelity: Option<f64>,
    control: &impl Control,
    emit: &mut impl Emit,
) -> Result<(LoraNetwork, Option<Scores>), EngineError> {
    let wants_scores = !job.held_out_prompts.is_empty();
    if !job.recipe.calibrate && !wants_scores {
        return Ok((network, None));
    }
    let Scene {
        original,
        target,
        mask,
        ..
    } = scene;
    let mut calibrated_strength = 1.0;
    if job.recipe.calibrate {
        let total = Some(Calibration::STEPS);
        emit.emit(Event::Phase {
            phase: Phase::Calibrating,
            total,
        });
        let mut tick = counter(emit);
        let (pair, prompt) = ((original, target), &job.recipe.prompt);
        let calibration = Calibration::new(base, pair, mask, prompt, &mut tick).await?;
        calibrated_strength = calibration.best_strength(&network, &mut tick).await?;
        network = network.scaled(calibrated_strength);
    }
    if !wants_scores {
        return Ok((network, None));
    }
    let scores = score(base, job, scene, &network, control, emit).await?;
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
    base: &Base,
    job: &TrainJob,
    scene: &Scene,
    network: &LoraNetwork,
    control: &impl Control,
    emit: &mut impl Emit,
) -> Result<Option<Scores>, EngineError> {
    if control.stop_requested() {
        return Ok(None);
    }
    let prompts = job.held_out_prompts.iter().cloned().zip(SCORE_SEED..);
    let request = SampleRequest {
        size: scene.size(),
        ..SampleRequest::new(base, prompts.collect())
    };
    let total = ROUND_TRIP_STEPS + LINEARITY_STEPS + 2 * total_steps(&request);
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
    let trip = RoundTrip::new(base, original, target, mask, &mut tick).await?;
    if control.stop_requested() {
        return Ok(None);
    }
    let redrawn = trip.redraw_strengths(network, &mut tick).await?;
    if control.stop_requested() {
        return Ok(None);
    }
    Ok(Some(Scores {
        edit_gain: trip.edit_gain(&redrawn[AT_ONE])?,
        spill: trip.spill(&redrawn[AT_ONE])?,
        held_out: held_out(base, &request, network, (original, target), mask, tick).await?,
        linearity: trip.linearity(&redrawn)?,
        copy_fidelity: None,
        calibrated_strength: 1.0,
    }))
}

/// Measures a finished LoRA on a pair, for `mimeo score`; none when the user stopped.
///
/// # Errors
/// [`EngineError`] when the LoRA does not fit the base or the pictures cannot be used.
pub async fn score_file(
    base: &Base,
    job: &TrainJob,
    network: &LoraNetwork,
    control: &impl Control,
    emit: &mut impl Emit,
) -> Result<Option<Scores>, EngineError> {
    let scene = encode(base, job, emit)?;
    score(base, job, &scene, network, control, emit).await
}

/// Reports one more unit of the phase's progress at every call.
fn counter(emit: &mut impl Emit) -> impl FnMut() {
    let mut done = 0;
    move || {
        done += 1;
        emit.emit(Event::Progress { done });
    }
}

async fn copier_file(
    base: &Base,
    job: &TrainJob,
    scene: &Scene,
    copier: &Copier,
) -> Result<mimeo_checkpoint::LoraFile, EngineError> {
    let mut file = file_from_network(base, &copier.network).await?;
    let provenance = Provenance {
        name: &format!("{}_copy", job.name),
        recipe: &job.recipe,
        pass: &job.recipe.copier.pass,
        steps: copier.steps,
        size: scene.size(),
        scores: None,
    };
    describe(&mut file, base, &provenance);
    Ok(file)
}

async fn save_copier_only(
    base: &Base,
    job: &TrainJob,
    scene: &Scene,
    copier: Copier,
    outcome: Outcome,
) -> Result<Artifact, EngineError> {
    if copier.steps == 0 {
        return Err(EngineError::StoppedBeforeTraining);
    }
    let copier = Some(copier_file(base, job, scene, &copier).await?);
    Ok(Artifact {
        lora: None,
        copier,
        scores: None,
        outcome,
    })
}
