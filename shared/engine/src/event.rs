//! What a running job reports.

use mimeo_protocol::{LeakPoint, ResponseCurve};
use serde::Serialize;

pub use mimeo_protocol::Phase;

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
    /// Which timesteps are trained, as the base has it.
    Response {
        /// How it answers to the change.
        #[serde(flatten)]
        curve: ResponseCurve,
    },
    /// What the LoRA does to pictures that it is not trained on.
    Leak {
        /// As measured.
        #[serde(flatten)]
        point: LeakPoint,
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
