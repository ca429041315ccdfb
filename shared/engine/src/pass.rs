//! The training passes of a job: the copier, then the LoRA that is kept.

use burn::tensor::Device;
use mimeo_diffusion::{Arithmetic, Tuning};
use mimeo_image::Rgb;
use mimeo_lora::{LoraNetwork, LoraStack};
use mimeo_protocol::{CopierKind, Pass, PreviewPlan, Share};
use mimeo_train::hold::Hold;
use mimeo_train::{NoiseRng, Objective, TrainError, Trainer};

use crate::artifact::Outcome;
use crate::control::{Control, Directive, FinishedCopier, Kept, PassStep, Within};
use crate::error::EngineError;
use crate::event::{Emit, Event, Phase};
use crate::leak::Meter;
use crate::runtime::Stopwatch;
use crate::sample::{SampleRequest, sample};
use crate::score::{CopyFidelity, SCORE_SEED};
use crate::session::{Session, Streams};
use crate::state::{CopierWatch, TrainingState};

/// Prompts under which copy fidelity is measured: a copier draws A whatever it is asked for.
const UNRELATED_PROMPTS: [&str; 4] = ["a landscape", "a red car", "an old man", "a bowl of fruit"];

/// Denoising steps of a preview that is drawn [`Drawing::Quick`].
const PREVIEW_STEPS: usize = 12;

/// How a preview is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drawing {
    /// To show where training goes, which waits for it.
    Quick,
    /// As others will draw with the result.
    Whole,
}

/// A copier, trained by this job or given to it.
pub(crate) struct TrainedCopier {
    pub network: LoraNetwork,
    pub steps: u32,
    pub fidelity: Option<f64>,
    pub trained: bool,
}

/// How a pass ended.
pub(crate) struct Ended {
    pub outcome: Outcome,
    pub step: u32,
    pub network: LoraNetwork,
}

/// A pass under way.
struct Running<'a> {
    phase: Phase,
    pass: &'a Pass,
    trainer: Trainer<'a>,
    watch: CopierWatch,
    /// The copier below it, if this job trained it.
    copier: Option<&'a TrainedCopier>,
    meter: Option<Meter>,
    /// After every so many steps the LoRA is measured, so their losses are read by then.
    measured_every: Option<u32>,
    unread: Unread,
}

/// Steps whose losses are still on the device.
struct Unread {
    /// How many of them there may be.
    most: usize,
    /// How many are read at once where a step takes no time.
    at_once: usize,
    /// What they took so far, in seconds.
    secs: f64,
}

/// Seconds that pass before losses are read: what is shown should not lag behind what is done.
const LAG_SECS: f64 = 1.0;

impl Unread {
    /// For a pass that begins, on a device.
    fn new(device: &Device) -> Self {
        Self {
            // How long a step takes is told by the first one.
            most: 1,
            at_once: Tuning::of(device).losses_at_once,
            secs: 0.0,
        }
    }

    /// So many steps were read; what each of them took, in seconds.
    fn read(&mut self, steps: usize) -> f64 {
        let each = self.secs / steps.max(1) as f64;
        self.secs = 0.0;
        self.most = ((LAG_SECS / each) as usize).clamp(1, self.at_once);
        each
    }
}

impl Session<'_> {
    /// Pass 1. The outcome is none when the copier is ready to be used.
    pub(crate) async fn train_copier(
        &self,
        saved: Option<TrainingState>,
        control: &mut impl Control,
    ) -> Result<(TrainedCopier, Option<Outcome>), EngineError> {
        let recipe = &self.recipe;
        let (phase, pass) = (Phase::Copier, &recipe.copier.pass);
        let mut running = Running {
            phase,
            pass,
            trainer: self.trainer(Objective::Copy, pass, Streams::COPIER)?,
            watch: CopierWatch::default(),
            copier: None,
            meter: None,
            measured_every: Some(recipe.copier.check_every.get()),
            unread: Unread::new(self.base.device()),
        };
        running.begin(self, saved, control);
        // Made when it is needed first, so that the first step does not wait for it.
        let mut measure = None;

        let steps = pass.steps.get();
        let goal: Share = recipe.copier.fidelity_goal;
        let mut outcome = None;
        while running.watch.above < 2 && running.trainer.steps_done() < steps {
            outcome = running.step(self, control).await?;
            if outcome.is_some() {
                break;
            }
            let step = running.trainer.steps_done();
            let is_due = step.is_multiple_of(recipe.copier.check_every.get()) || step == steps;
            // A style is no picture that it could be compared with.
            if is_due && recipe.copier.kind != CopierKind::Style {
                let mut rest = Within::uncounted(control);
                let measure = match &mut measure {
                    Some(measure) => measure,
                    none => {
                        let made = CopyFidelity::new(self.base, self.copied(), &mut rest);
                        none.insert(made.await?)
                    }
                };
                let network = running.trainer.network();
                let fidelity = measure.of(&network, &mut rest).await?;
                control.emit(Event::CopyFidelity { step, fidelity });
                let watch = &mut running.watch;
                watch.fidelity = Some(fidelity);
                // Once may be luck; it has to stay there.
                let reached = fidelity >= goal.get();
                watch.above = if reached { watch.above + 1 } else { 0 };
            }
        }
        let copier = TrainedCopier {
            network: running.trainer.network(),
            steps: running.trainer.steps_done(),
            fidelity: running.watch.fidelity,
            trained: true,
        };
        if outcome.is_none() {
            // After the last step as well.
            control.at_rest(None).await?;
            control.keep(Kept::State(running.state().await?));
            control.keep(Kept::Copier(FinishedCopier {
                file: self.copier_file(&copier.network, copier.steps).await?,
                steps: copier.steps,
                fidelity: copier.fidelity,
            }));
        }
        Ok((copier, outcome))
    }

    /// The pass over the LoRA that is kept.
    pub(crate) async fn train(
        &self,
        (objective, hold): (Objective<'_>, Option<&Hold>),
        copier: Option<&TrainedCopier>,
        meter: Option<Meter>,
        saved: Option<TrainingState>,
        control: &mut impl Control,
    ) -> Result<Ended, EngineError> {
        let (phase, pass) = (Phase::Training, &self.recipe.pass);
        let mut running = Running {
            phase,
            pass,
            trainer: self.trainer(objective, pass, Streams::LORA)?.held_to(hold),
            watch: CopierWatch {
                above: 0,
                fidelity: copier.and_then(|copier| copier.fidelity),
            },
            copier: copier.filter(|copier| copier.trained),
            meter,
            measured_every: None,
            unread: Unread::new(self.base.device()),
        };
        running.begin(self, saved, control);
        let mut outcome = None;
        let mut is_over = running.is_past_its_best();
        while outcome.is_none() && !is_over && running.trainer.steps_done() < pass.steps.get() {
            outcome = running.step(self, control).await?;
            if outcome.is_none() {
                is_over = running.read_meter(self, control).await?;
            }
        }
        if outcome.is_none() {
            // After the last step as well.
            control.at_rest(None).await?;
            control.keep(Kept::State(running.state().await?));
        }
        let network = running.trainer.network();
        let (step, network) = match running.meter.and_then(|meter| meter.watch.best) {
            Some((step, values)) if outcome.is_none() => (step, network.with_values(&values)),
            _ => (running.trainer.steps_done(), network),
        };
        Ok(Ended {
            outcome: outcome.unwrap_or(Outcome::Finished),
            step,
            network,
        })
    }

    pub(crate) fn trainer<'a>(
        &'a self,
        objective: Objective<'a>,
        pass: &'a Pass,
        streams: Streams,
    ) -> Result<Trainer<'a>, EngineError> {
        let network = self.fresh_network(pass, streams);
        let noise = NoiseRng::new(self.recipe.seed, streams.noise);
        let (model, dataset) = (self.base.model(), self.dataset()?);
        let trainer = Trainer::new(model, dataset, objective, pass, network, noise);
        Ok(trainer.recomputing(self.job.recompute))
    }

    /// What a copier is asked for, and what it should draw. One of framings is asked for the caption
    /// among what is unrelated to it, and is to draw that caption's picture all the same.
    fn copied(&self) -> Vec<(SampleRequest, Vec<&Rgb>)> {
        let recipe = &self.recipe;
        let examples = &self.job.examples;
        let least = UNRELATED_PROMPTS.len();
        let count = examples.len().clamp(least, 2 * least);
        let mut asked: Vec<(SampleRequest, Vec<&Rgb>)> = Vec::new();
        for (index, seed) in (0..count).zip(SCORE_SEED..) {
            // Of few examples each in turn, of many some.
            let example = &examples[match examples.len() {
                few if few <= count => index % few,
                many => index * (many - 1) / (count - 1),
            }];
            let unrelated = UNRELATED_PROMPTS[index % least];
            let prompt = match (recipe.copier.kind, example.prompt(recipe)) {
                (CopierKind::Framing, caption) if !caption.is_empty() => {
                    format!("{unrelated}, {caption}")
                }
                _ => unrelated.to_owned(),
            };
            let original = &example.pictures.original;
            let size = (original.width(), original.height());
            match asked.iter_mut().find(|(request, _)| request.size == size) {
                Some((request, originals)) => {
                    request.pictures.push((prompt, seed));
                    originals.push(original);
                }
                None => {
                    let request = SampleRequest {
                        size,
                        // The copier is trained without guidance, which would exaggerate what prompts
                        // still change.
                        guidance: 1.0,
                        ..SampleRequest::new(self.base, vec![(prompt, seed)])
                    };
                    asked.push((request, vec![original]));
                }
            }
        }
        asked
    }

    /// Draws with a LoRA at the plan's strengths.
    pub(crate) async fn preview(
        &self,
        place: PassStep,
        network: &LoraNetwork,
        plan: &PreviewPlan,
        drawing: Drawing,
        control: &mut impl Control,
    ) -> Result<(), EngineError> {
        let (prompt, seed) = (&plan.prompt, plan.seed);
        let mut request = SampleRequest {
            size: self.scene.size(),
            syntax: self.recipe.prompt_syntax,
            ..SampleRequest::new(self.base, vec![(prompt.clone(), seed)])
        };
        if drawing == Drawing::Quick {
            request.steps = PREVIEW_STEPS;
        }
        for &strength in &plan.strengths {
            let lora = LoraStack::none().with(network, strength.get());
            let mut rest = Within::uncounted(control);
            for picture in sample(self.base, &request, &lora, &mut rest).await? {
                control.keep(Kept::Preview {
                    place,
                    strength,
                    prompt: prompt.clone(),
                    seed,
                    picture,
                });
            }
        }
        Ok(())
    }
}

impl Running<'_> {
    fn place(&self) -> PassStep {
        PassStep {
            phase: self.phase,
            step: self.trainer.steps_done(),
            steps: self.pass.steps.get(),
        }
    }

    /// Announces the pass, and goes on from a saved state of it.
    fn begin(&mut self, session: &Session<'_>, saved: Option<TrainingState>, emit: &mut impl Emit) {
        emit.emit(Event::Phase {
            phase: self.phase,
            total: Some(self.pass.steps.get()),
        });
        let rows = self.trainer.rows();
        let examples = session.job.examples.len() as u64;
        if rows < examples {
            let text = format!(
                "This pass takes {rows} examples in all, so it never comes to {} of the {examples}. Give it more steps, or a larger batch.",
                examples - rows
            );
            emit.emit(Event::Note { text });
        }
        let arithmetic = session.base.unet.arithmetic();
        if arithmetic != Arithmetic::F32 && self.copier.is_none() {
            let text = format!(
                "The UNet computes in {arithmetic}; sums, norms, the loss and the LoRA's own values are f32."
            );
            emit.emit(Event::Note { text });
        }
        let (warmup, steps) = (self.pass.warmup.get(), self.pass.steps.get());
        if warmup >= steps {
            let text = format!(
                "The warm-up ({warmup} steps) is not over when this pass ends ({steps} steps), so the learning rate never reaches its peak."
            );
            emit.emit(Event::Note { text });
        }
        let Some(saved) = saved.filter(|saved| saved.phase() == self.phase) else {
            return;
        };
        let state = saved.trainer(session.base.device());
        let resumed = state.is_some_and(|state| self.trainer.resume(state).is_ok());
        if resumed {
            self.watch = saved.watch();
            if let Some(meter) = &mut self.meter {
                meter.watch = saved.leak(session.base.device());
            }
            let PassStep { phase, step, .. } = self.place();
            emit.emit(Event::Resumed { phase, step });
        } else {
            let text = "The saved state is that of another job, so this one starts anew.";
            emit.emit(Event::Note {
                text: text.to_owned(),
            });
        }
    }

    async fn state(&self) -> Result<TrainingState, EngineError> {
        let copier = self.copier.map(|copier| (&copier.network, copier.steps));
        let leak = self.meter.as_ref().map(|meter| &meter.watch);
        let timesteps = self.pass.timesteps;
        // It holds the trainer's state, which is large.
        Box::pin(TrainingState::of(
            self.phase,
            self.trainer.state(),
            self.watch,
            copier,
            leak,
            timesteps,
        ))
        .await
    }

    fn is_past_its_best(&self) -> bool {
        self.meter.as_ref().is_some_and(Meter::is_past_its_best)
    }

    /// Reads the leak meter where it is due; whether the pass ends with that.
    async fn read_meter(
        &mut self,
        session: &Session<'_>,
        control: &mut impl Control,
    ) -> Result<bool, EngineError> {
        let step = self.trainer.steps_done();
        let Some(meter) = self.meter.as_mut().filter(|meter| meter.is_due(step)) else {
            return Ok(false);
        };
        let weights = (&self.trainer.network(), self.trainer.state().values);
        meter.read(session.base, step, weights, control).await?;
        Ok(self.is_past_its_best())
    }

    /// Does what the user wants, then one step; the answer is how the pass ended, if it did.
    async fn step(
        &mut self,
        session: &Session<'_>,
        control: &mut impl Control,
    ) -> Result<Option<Outcome>, EngineError> {
        loop {
            let place = self.place();
            let directive = control.at_rest(Some(place)).await?;
            // Whatever else is wanted is wanted of steps that are known.
            if directive != Directive::Step
                && let Some(outcome) = self.read(control).await?
            {
                return Ok(Some(outcome));
            }
            match directive {
                Directive::Step => break,
                Directive::Stop => {
                    let PassStep { phase, step, .. } = place;
                    return Ok(Some(Outcome::Stopped { phase, step }));
                }
                Directive::SaveState => control.keep(Kept::State(self.state().await?)),
                Directive::SaveLora => {
                    let network = self.trainer.network();
                    let file = match place.phase {
                        Phase::Copier => session.copier_file(&network, place.step).await?,
                        _ => {
                            let pass = (self.pass, place.step);
                            session.lora_file(&network, pass, None).await?
                        }
                    };
                    control.keep(Kept::Lora(place, file));
                }
                Directive::Preview(plan) => {
                    let network = self.trainer.network();
                    let quick = Drawing::Quick;
                    session
                        .preview(place, &network, &plan, quick, control)
                        .await?;
                }
            }
        }

        session.base.put_down_encoders();
        let watch = Stopwatch::start();
        self.trainer.advance();
        self.unread.secs += watch.secs();
        let step = self.trainer.steps_done();
        let is_measured = self
            .measured_every
            .is_some_and(|every| step.is_multiple_of(every))
            || self.meter.as_ref().is_some_and(|meter| meter.is_due(step));
        let is_last = step == self.pass.steps.get();
        if self.trainer.unread() >= self.unread.most || is_measured || is_last {
            return self.read(control).await;
        }
        Ok(None)
    }

    /// Reads the losses that are still on the device, and tells of each; the answer is how the pass ended,
    /// if it did.
    async fn read(&mut self, control: &mut impl Control) -> Result<Option<Outcome>, EngineError> {
        if self.trainer.unread() == 0 {
            return Ok(None);
        }
        let watch = Stopwatch::start();
        let (reports, wrong) = self.trainer.read().await;
        self.unread.secs += watch.secs();
        let secs = self.unread.read(reports.len());
        for report in reports {
            control.emit(Event::Step {
                phase: self.phase,
                step: report.step,
                steps: self.pass.steps.get(),
                loss: report.loss,
                secs,
            });
        }
        match wrong {
            None => Ok(None),
            Some(wrong @ TrainError::Diverged { .. }) => {
                let reason = wrong.to_string();
                Ok(Some(Outcome::Diverged { reason }))
            }
            Some(wrong @ TrainError::Device { .. }) => Err(wrong.into()),
        }
    }
}
