//! What a running job reports, how it is steered, and what it leaves on its way.

use mimeo_checkpoint::LoraFile;
use mimeo_image::Rgb;
use mimeo_protocol::{PreviewPlan, Strength};
use serde::Serialize;

pub use mimeo_protocol::Phase;

use crate::state::TrainingState;

/// One fact about a running job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A phase began.
    Phase {
        /// Which.
        phase: Phase,
        /// How many units of progress it has, if known.
        total: Option<u32>,
    },
    /// The phase advanced, for phases that do not train.
    Progress {
        /// Units done.
        done: u32,
    },
    /// A pass goes on after these steps, which a saved state holds.
    Resumed {
        /// The pass.
        phase: Phase,
        /// Steps done.
        step: u32,
    },
    /// One optimiser step.
    Step {
        /// The pass it belongs to.
        phase: Phase,
        /// From 1.
        step: u32,
        /// Planned.
        steps: u32,
        /// Loss before the update.
        loss: f32,
        /// How long the step took.
        secs: f64,
    },
    /// How well the copier copies.
    CopyFidelity {
        /// At which step it was measured.
        step: u32,
        /// 1 is a perfect copy, 0 no better than the base.
        fidelity: f64,
    },
    /// Something the user should know, in one sentence.
    Note {
        /// The sentence.
        text: String,
    },
}

/// Receives the events of a job.
pub trait Emit {
    /// Takes one event. Must not block.
    fn emit(&mut self, event: Event);
}

impl<F: FnMut(Event)> Emit for F {
    fn emit(&mut self, event: Event) {
        self(event);
    }
}

/// How far a training pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The pass.
    pub phase: Phase,
    /// Steps done in it.
    pub step: u32,
    /// Steps planned.
    pub steps: u32,
}

/// What to do between two steps.
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
    Lora(Place, LoraFile),
    /// The finished copier.
    Copier(FinishedCopier),
    /// A picture drawn with the LoRA as it was.
    Preview {
        /// When.
        place: Place,
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

/// Steers a job between its steps, and takes what it leaves on its way.
///
/// To pause a job, or to give it up, the future of [`crate::run`] is not polled for a while, or
/// dropped: it yields between steps.
pub trait Control {
    /// What to do now; asked again until it is [`Directive::Step`] or [`Directive::Stop`].
    fn next(&mut self, place: Place) -> Directive;

    /// Whether the user wants the job to end soon, and measuring to be left out.
    fn stop_requested(&self) -> bool;

    /// Takes what was asked for.
    fn keep(&mut self, kept: Kept);
}

/// The simplest control: a flag that ends the job.
impl Control for &std::sync::atomic::AtomicBool {
    fn next(&mut self, _: Place) -> Directive {
        if self.stop_requested() {
            Directive::Stop
        } else {
            Directive::Step
        }
    }

    fn stop_requested(&self) -> bool {
        self.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn keep(&mut self, _: Kept) {}
}
