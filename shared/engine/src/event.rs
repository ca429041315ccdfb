//! What a running job reports, and how it is stopped.

use serde::Serialize;

/// A part of a job with its own progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading the base.
    Loading,
    /// Pictures and prompts become latents and conditioning.
    Encoding,
    /// Training the copier: pass 1 of copy machine learning.
    Copier,
    /// Training the LoRA that is kept.
    Training,
    /// Finding the strength that makes the change.
    Calibrating,
    /// Measuring what the LoRA does.
    Scoring,
    /// Writing the file.
    Saving,
}

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

/// Asked between steps whether to go on.
pub trait Control {
    /// Whether the user wants the job to end and keep what was trained.
    fn stop_requested(&self) -> bool;
}

impl Control for std::sync::atomic::AtomicBool {
    fn stop_requested(&self) -> bool {
        self.load(std::sync::atomic::Ordering::Relaxed)
    }
}
