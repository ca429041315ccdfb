//! How a running job is steered, and what it leaves on its way.

use std::sync::atomic::{AtomicBool, Ordering};

use mimeo_checkpoint::LoraFile;
use mimeo_image::Rgb;
use mimeo_protocol::{PreviewPlan, Strength};

use crate::event::{Emit, Event, Phase};
use crate::rest::{GivenUp, Rest};
use crate::state::TrainingState;

/// How far a training pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassStep {
    /// The pass.
    pub phase: Phase,
    /// Steps done in it.
    pub step: u32,
    /// Steps planned.
    pub steps: u32,
}

/// What to do where a job rests.
#[derive(Debug, Clone, PartialEq)]
pub enum Directive {
    /// Go on.
    Step,
    /// End the job and keep what was trained.
    Stop,
    /// Hand over the state from which the job can go on later.
    SaveState,
    /// Hand over the LoRA as it is.
    SaveLora,
    /// Draw with the LoRA as it is.
    Preview(PreviewPlan),
}

/// What a job hands over on its way.
#[derive(Debug)]
pub enum Kept {
    /// From this it can go on later. Also handed over unasked where a pass ends.
    State(TrainingState),
    /// The LoRA (or copier) as it was after a step.
    Lora(PassStep, LoraFile),
    /// The finished copier.
    Copier(FinishedCopier),
    /// A picture drawn with the LoRA as it was.
    Preview {
        /// When.
        place: PassStep,
        /// Strength of the LoRA.
        strength: Strength,
        /// What was asked for.
        prompt: String,
        /// The noise it started from.
        seed: u64,
        /// The picture.
        picture: Rgb,
    },
}

/// A copier that other jobs on the same original can build upon.
#[derive(Debug, Clone)]
pub struct FinishedCopier {
    /// The LoRA.
    pub file: LoraFile,
    /// Steps it was trained for.
    pub steps: u32,
    /// How well it copies, if that was measured.
    pub fidelity: Option<f64>,
}

/// Whoever runs a job: hears of it, steers it, and takes what it leaves on its way.
///
/// All that is wanted of a job goes through one door, [`Self::at_rest`].
pub trait Control: Emit {
    /// What to do now. Asked before each step of a pass until the answer is [`Directive::Step`] or
    /// [`Directive::Stop`]; and wherever something longer is divided, as [`Rest`] tells.
    ///
    /// The job waits for the answer, so a pause lasts as long as the answer takes.
    ///
    /// - `place`: before which step. None elsewhere, where the job can only go on: there
    ///   [`Directive::Stop`] leaves out what is left of measuring, and no other directive is followed
    ///
    /// # Errors
    /// [`GivenUp`] ends the job here and now, with nothing but that.
    fn at_rest(
        &mut self,
        place: Option<PassStep>,
    ) -> impl Future<Output = Result<Directive, GivenUp>>;

    /// Takes what was asked for. The job rests before it goes on.
    fn keep(&mut self, kept: Kept);
}

/// The simplest control: a flag that ends the job.
#[derive(Debug)]
pub struct Stoppable<'a, E> {
    /// Set when the job is to end and to keep what it has.
    pub stop: &'a AtomicBool,
    /// Hears of the job.
    pub emit: &'a mut E,
}

impl<E: Emit> Emit for Stoppable<'_, E> {
    fn emit(&mut self, event: Event) {
        self.emit.emit(event);
    }
}

impl<E: Emit> Control for Stoppable<'_, E> {
    async fn at_rest(&mut self, _: Option<PassStep>) -> Result<Directive, GivenUp> {
        Ok(match self.stop.load(Ordering::Relaxed) {
            true => Directive::Stop,
            false => Directive::Step,
        })
    }

    fn keep(&mut self, _: Kept) {}
}

/// Lets a job be done for its answer alone: it rests, and nobody hears of it or steers it.
#[derive(Debug)]
pub struct Unsteered<'a, R>(pub &'a mut R);

impl<R> Emit for Unsteered<'_, R> {
    fn emit(&mut self, _: Event) {}
}

impl<R: Rest> Control for Unsteered<'_, R> {
    async fn at_rest(&mut self, _: Option<PassStep>) -> Result<Directive, GivenUp> {
        self.0.rest().await?;
        Ok(Directive::Step)
    }

    fn keep(&mut self, _: Kept) {}
}

/// The rests within a phase of a job.
pub(crate) struct Within<'a, C> {
    control: &'a mut C,
    /// Units done, where the phase tells of them.
    units: Option<u32>,
    /// The user wants the job to end soon, and measuring to be left out.
    pub stop_requested: bool,
}

impl<'a, C: Control> Within<'a, C> {
    /// In a phase that tells how far it is.
    pub fn counted(control: &'a mut C) -> Self {
        let units = Some(0);
        Self {
            units,
            ..Self::uncounted(control)
        }
    }

    /// In something that is no unit of the phase.
    pub fn uncounted(control: &'a mut C) -> Self {
        Self {
            control,
            units: None,
            stop_requested: false,
        }
    }
}

impl<C: Control> Rest for Within<'_, C> {
    fn unit_done(&mut self) {
        if let Some(done) = &mut self.units {
            *done += 1;
            let done = *done;
            self.control.emit(Event::Progress { done });
        }
    }

    async fn rest(&mut self) -> Result<(), GivenUp> {
        self.stop_requested = self.control.at_rest(None).await? == Directive::Stop;
        Ok(())
    }
}
